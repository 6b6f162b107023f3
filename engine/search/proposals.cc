#include "engine/search/proposals.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/optimize/race.h"

namespace skyline {
namespace {

double time_node(const Graph& g, const Tensor& x, const SessionOptions& options) {
  const std::vector<Value> in{x};
  Context context(Session(Model(g), options), in);
  Race race;
  const size_t me = race.add([&] { context.run(); });
  for (int i = 0; i < 5; ++i) race.turn(std::span(&me, 1), 1e-3);
  return race.latency(me, Statistic::p50).value;
}

}  // namespace

ConversionCosts measure_conversions(const SessionOptions& options) {
  constexpr int64_t kElements = 1 << 17;  // half a megabyte of f32: within L2
  const Tensor scale = Tensor::of<float>({}, {0.02f}), zero = Tensor::of<uint8_t>({}, {128});
  const auto graph = [&](const char* op, DType in) {
    Graph g;
    const ValueId x = g.add_input("x", Fact::fixed(in, {kElements})), y = g.add_value("y");
    g.add_node(op, op, {x, g.add_constant("scale", scale), g.add_constant("zero", zero)}, {y});
    g.add_output(y, "y");
    return g;
  };
  Tensor floats(DType::f32, {kElements}), bytes(DType::u8, {kElements});
  for (int64_t i = 0; i < kElements; ++i) {
    floats.mutable_data<float>()[i] = static_cast<float>(i % 251) * 0.01f;
    bytes.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i % 251);
  }
  constexpr double kBytes = 4.0 * kElements;
  return {time_node(graph("QuantizeLinear", DType::f32), floats, options) / kBytes,
          time_node(graph("DequantizeLinear", DType::u8), bytes, options) / kBytes};
}

Proposals::Proposals(const Variants& variants, NodeCosts costs, std::vector<std::vector<double>> noise,
                     const ConversionCosts& conversions)
    : costs_(std::move(costs)), noise_(std::move(noise)) {
  build(variants, conversions);
  TradeOff::Frontier f = problem_.solve();
  exact_ = f.exact;
  for (const TradeOff::Assignment& a : f.points) {
    Plan p;
    for (size_t i = 0; i < options_.size(); ++i)
      p.rungs.push_back(costs_.rungs[options_[i][static_cast<size_t>(a.options[i])]]);
    p.predicted = predict_raw(p.rungs);
    frontier_.push_back(std::move(p));
  }
}

void Proposals::build(const Variants& variants, const ConversionCosts& conversions) {
  const auto& products = variants.flow().products;
  const auto is_int8 = [&](size_t i, size_t option) {
    return costs_.rungs[options_[i][option]] == Precision::int8;
  };
  for (size_t i = 0; i < products.size(); ++i) {
    std::vector<size_t> can;
    std::vector<double> seconds, noises;
    for (size_t r = 0; r < costs_.rungs.size(); ++r) {
      if (!std::isfinite(costs_.seconds[i][r]) || !std::isfinite(noise_[i][r])) continue;
      const bool quantizes = costs_.rungs[r] == Precision::int8;
      can.push_back(r);
      seconds.push_back(
          costs_.seconds[i][r] +
          (quantizes ? static_cast<double>(products[i].from_outside) * conversions.quantize : 0));
      noises.push_back(noise_[i][r]);
    }
    if (can.empty()) throw Error(Code::internal, "product '" + products[i].name + "' was never measured");
    options_.push_back(std::move(can));
    problem_.add_node(std::move(seconds), std::move(noises));
  }
  // What stands between products is cheaper, or dearer, where both sides are on integers: shared out by
  // bytes.
  double all_bytes = 0, rest = 0;
  for (const Flow::Edge& e : variants.flow().edges) all_bytes += static_cast<double>(e.bytes);
  for (size_t r = 0; r < costs_.rungs.size(); ++r) {
    if (costs_.rungs[r] == Precision::int8) rest = costs_.rest[r] - costs_.rest[0];
  }
  for (const Flow::Edge& e : variants.flow().edges) {
    const auto a = static_cast<size_t>(e.from), b = static_cast<size_t>(e.to);
    const auto bytes = static_cast<double>(e.bytes);
    std::vector<double> costs;
    for (size_t i = 0; i < options_[a].size(); ++i) {
      for (size_t j = 0; j < options_[b].size(); ++j) {
        const bool from = is_int8(a, i), to = is_int8(b, j);
        costs.push_back(from && to ? rest * bytes / std::max(all_bytes, 1.0)
                        : from     ? bytes * conversions.dequantize
                        : to       ? bytes * conversions.quantize
                                   : 0);
      }
    }
    problem_.add_edge(e.from, e.to, std::move(costs));
  }
}

size_t Proposals::index(Precision rung) const {
  const auto at = std::find(costs_.rungs.begin(), costs_.rungs.end(), rung);
  if (at == costs_.rungs.end()) throw Error(Code::internal, "a rung that was not measured");
  return static_cast<size_t>(at - costs_.rungs.begin());
}

Prediction Proposals::predict_raw(const std::vector<Precision>& plan) const {
  std::vector<int> options;
  for (size_t i = 0; i < plan.size(); ++i) {
    const auto at = std::find(options_[i].begin(), options_[i].end(), index(plan[i]));
    if (at == options_[i].end()) return {std::numeric_limits<double>::infinity(), 0};
    options.push_back(static_cast<int>(at - options_[i].begin()));
  }
  const TradeOff::Assignment a = problem_.evaluate(std::move(options));
  return {a.cost + costs_.rest[0], a.noise};
}

Prediction Proposals::predict(const std::vector<Precision>& plan) const {
  Prediction p = predict_raw(plan);
  p.seconds *= scale_;
  return p;
}

}  // namespace skyline
