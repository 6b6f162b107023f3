#include "engine/search/conversions.h"

#include <cstdint>

#include "engine/optimize/race.h"
#include "skyline/model.h"

namespace skyline {
namespace {

constexpr int64_t kElements[] = {int64_t{1} << 10, int64_t{1} << 13, int64_t{1} << 16, int64_t{1} << 19,
                                 int64_t{1} << 22};
constexpr int kTurns = 5;
constexpr double kTurnSeconds = 1e-3;

double bytes_of(size_t size) {
  return 4.0 * static_cast<double>(kElements[size]);
}

double time_of(const char* op, int64_t elements, const SessionOptions& options) {
  const bool quantize = std::string_view(op) == "QuantizeLinear";
  Graph g;
  Tensor x(quantize ? DType::f32 : DType::u8, {elements});
  for (int64_t i = 0; i < elements; ++i) {
    if (quantize) x.mutable_data<float>()[i] = static_cast<float>(i % 251) * 0.01f;
    if (!quantize) x.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i % 251);
  }
  const ValueId in = g.add_input("x", Fact::of(x)), y = g.add_value("y");
  const ValueId scale = g.add_constant("scale", Tensor::of<float>({}, {0.02f}));
  const ValueId zero = g.add_constant("zero", Tensor::of<uint8_t>({}, {128}));
  g.add_node(op, op, {in, scale, zero}, {y});
  g.add_output(y, "y");
  SessionOptions o = options;
  o.node_precision.clear();
  o.node_kernels.clear();
  o.node_layouts.clear();
  const std::vector<Value> inputs{x};
  Context context(Session(Model(std::move(g)), o), inputs);
  Race race;
  const size_t me = race.add([&] { context.run(); });
  for (int i = 0; i < kTurns; ++i) race.turn(std::span(&me, 1), kTurnSeconds);
  return race.latency(me, Statistic::p50).value;
}

std::vector<double> times_of(const char* op, const SessionOptions& options, CostTable* table) {
  std::vector<double> out;
  for (const int64_t elements : kElements) {
    const std::string key = "convert " + std::string(op) + " " + std::to_string(elements) + "|" +
                            options.isa + "|t" + std::to_string(options.threads);
    const auto known = table ? table->find(key) : std::nullopt;
    out.push_back(known ? *known : time_of(op, elements, options));
    if (table) table->put(key, out.back());
  }
  return out;
}

}  // namespace

ConversionCosts::ConversionCosts(const SessionOptions& options, CostTable* table)
    : quantize_(times_of("QuantizeLinear", options, table)),
      dequantize_(times_of("DequantizeLinear", options, table)) {}

double ConversionCosts::at(const std::vector<double>& seconds, double bytes) {
  if (bytes <= bytes_of(0)) return seconds[0] * bytes / bytes_of(0);
  for (size_t i = 1; i < seconds.size(); ++i) {
    if (bytes > bytes_of(i)) continue;
    const double share = (bytes - bytes_of(i - 1)) / (bytes_of(i) - bytes_of(i - 1));
    return seconds[i - 1] + share * (seconds[i] - seconds[i - 1]);
  }
  return seconds.back() * bytes / bytes_of(seconds.size() - 1);
}

}  // namespace skyline
