// skyline quantize: a model in f32 to one in a lower precision.
#include "skyline/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "engine/cli/data_flags.h"

namespace skyline::cli {
namespace {

struct Flags {
  std::string model, calibration, precision = "int8", method, output, metric;
  std::string equalize, dynamic;
  double percentile = 0, most_noise = -1;
  int64_t examples = 0, block = -1;
  int bits = 8, steps = 400;
  std::vector<std::string> keep;
  bool json = false, no_bias_correction = false, no_smooth = false, adaround = false, weights_only = false;
  DataFlags data;
  SessionFlags session;
};

// Two models on the same examples.
struct Comparison {
  double before = 0, after = 0;
  // Of the difference, two-sided 95 %; NaN for metrics that are not means.
  double interval = NAN;
  int64_t count = 0;
};

Comparison compare_models(const Session& before, const Session& after, const Dataset& data,
                          const std::vector<int64_t>& indices, MetricKind kind) {
  Metric a(kind), b(kind);
  Progress progress("evaluate", static_cast<int64_t>(indices.size()));
  for (size_t i = 0; i < indices.size(); ++i) {
    const Example e = data.at(indices[i]);
    const std::vector<Value> x = before.run(e.inputs), y = after.run(e.inputs);
    a.add(e, x, x);
    b.add(e, y, x);
    progress.step(static_cast<int64_t>(i) + 1);
  }
  Comparison c{a.value(), b.value(), NAN, a.count()};
  if (a.each().size() < 2) return c;
  const auto n = static_cast<double>(a.each().size());
  double sum = 0, squares = 0;
  for (size_t i = 0; i < a.each().size(); ++i) {
    const double d = b.each()[i] - a.each()[i];
    sum += d;
    squares += d * d;
  }
  c.interval = 1.96 * std::sqrt(std::max(0.0, squares - sum * sum / n) / (n - 1) / n);
  return c;
}

quant::Options options_of(const Flags& f) {
  quant::Options o;
  try {
    if (!f.method.empty()) o.method = quant::method_from_name(f.method);
  } catch (const Error& e) {
    throw CLI::ValidationError("--method", e.message());
  }
  try {
    if (!f.equalize.empty()) o.equalization = quant::equalization_from_name(f.equalize);
  } catch (const Error& e) {
    throw CLI::ValidationError("--equalize", e.message());
  }
  o.adaround.on = f.adaround;
  o.adaround.seed = f.data.seed;
  o.adaround.iterations = f.steps;
  if (f.percentile > 0) o.percentile = f.percentile;
  if (f.most_noise >= 0) o.most_noise = std::pow(10, -f.most_noise / 10);
  if (f.most_noise == 0) o.most_noise = 0;
  o.keep = f.keep;
  o.correct_bias = !f.no_bias_correction;
  o.smooth = !f.no_smooth;
  return o;
}

struct Parts {
  std::vector<int64_t> calibration, report;
};
Parts parts_of(const Flags& f, const Dataset& data) {
  // Without a report every example may calibrate.
  Parts p;
  if (f.metric.empty()) {
    p.calibration = split(data.size(), f.data.seed, 1.0, 0.0).calibration;
  } else {
    Split s = split(data.size(), f.data.seed, 0.2, 0.0);
    p = {std::move(s.calibration), std::move(s.report)};
    if (!s.selection.empty()) p.report.insert(p.report.begin(), s.selection.begin(), s.selection.end());
  }
  if (f.examples > 0 && static_cast<size_t>(f.examples) < p.calibration.size())
    p.calibration.resize(static_cast<size_t>(f.examples));
  return p;
}

quant::Result lowered(const Flags& f, quant::Options options, const Graph& g, quant::Examples examples,
                      const SessionOptions& session, std::function<void(int64_t, int64_t)> progress) {
  if (f.weights_only) {
    // Sixteen levels are too few for a column.
    const int64_t block = f.block >= 0 ? f.block : f.bits == 4 ? 32 : 0;
    return quant::weights_only(g, {f.bits, block, f.keep});
  }
  if (!f.dynamic.empty()) return quant::dynamic_int8(g, f.dynamic == "token", f.keep);
  options.progress = std::move(progress);
  std::optional<Progress> rounding;
  options.adaround.progress = [&](int64_t done, int64_t total) {
    if (!rounding) rounding.emplace("round", total);
    rounding->step(done);
  };
  if (f.precision == "int8") return quant::quantize_int8(g, examples, session_runner(session), options);
  quant::HalfOptions half;
  half.keep = options.keep;
  half.examples = std::move(examples);
  half.make_runner = session_runner(session);
  half.progress = std::move(options.progress);
  return quant::to_half(g, f.precision == "f16" ? DType::f16 : DType::bf16, half);
}

Json to_json(const quant::Result& r) {
  Json nodes = Json::array();
  for (const quant::Decision& d : r.decisions) {
    Json n{{"node", d.node}, {"op", d.op}, {"precision", name(d.precision)}};
    if (!d.reason.empty()) n["reason"] = d.reason;
    nodes.push_back(std::move(n));
  }
  return nodes;
}

std::string to_text(const quant::Result& r) {
  std::string out;
  size_t lower = 0;
  for (const quant::Decision& d : r.decisions) lower += d.precision != Precision::f32;
  out += fmt::format("{} of {} nodes in lower precision; in f32 stay:\n", lower, r.decisions.size());
  for (const quant::Decision& d : r.decisions) {
    if (d.precision == Precision::f32)
      out += fmt::format("  {:32} {:24} {}\n", printable(d.node, 32), d.op, d.reason);
  }
  return out;
}

void quantize(const Flags& f) {
  const quant::Options given = options_of(f);
  std::optional<MetricKind> metric;
  try {
    if (!f.metric.empty()) metric = metric_from_name(f.metric);
  } catch (const Error& e) {
    throw CLI::ValidationError("--metric", e.message());
  }
  const Model model = Model::load(f.model);
  const SessionOptions session_options = f.session.options();
  const Session before(model, session_options);
  const bool calibrates = !f.weights_only && f.dynamic.empty();
  if (f.calibration.empty()) {
    if (calibrates) throw CLI::RequiredError("--calibration");
    if (metric)
      throw CLI::ValidationError("--metric", "needs --calibration, whose examples it is measured on");
    const quant::Result r = lowered(f, given, model.graph(), {}, session_options, nullptr);
    save_onnx(r.graph, f.output, model.info());
    const Json json{
        {"model", f.model}, {"output", f.output}, {"precision", f.precision}, {"nodes", to_json(r)}};
    return print(f.json ? json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : to_text(r));
  }
  const Dataset data = f.data.open(f.calibration, before);
  const Parts parts = parts_of(f, data);

  Progress progress("calibrate", static_cast<int64_t>(parts.calibration.size()));
  const auto start = std::chrono::steady_clock::now();
  const quant::Result r = lowered(f, given, model.graph(), examples_of(data, parts.calibration),
                                  session_options, [&](int64_t done, int64_t) { progress.step(done); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  save_onnx(r.graph, f.output, model.info());

  Json json{{"model", f.model},    {"output", f.output},  {"precision", f.precision},
            {"data", data.kind()}, {"seed", f.data.seed}, {"calibration", parts.calibration},
            {"seconds", seconds},  {"nodes", to_json(r)}, {"machine", fingerprint()}};
  std::string text = to_text(r) + fmt::format("{}: calibrated on {} of {} with seed {} ({}) in {:.1f} s\n",
                                              f.output, parts.calibration.size(), data.kind(), f.data.seed,
                                              list(parts.calibration), seconds);
  if (metric) {
    const Session after(Model(r.graph), session_options);
    const Comparison c = compare_models(before, after, data, parts.report, *metric);
    json["report"] = {{"metric", f.metric}, {"examples", c.count}, {"f32", c.before}, {f.precision, c.after}};
    if (!std::isnan(c.interval)) json["report"]["interval95"] = c.interval;
    text += fmt::format("{} on {} other examples: f32 {:.4f}, {} {:.4f}, difference {:+.4f}", f.metric,
                        c.count, c.before, f.precision, c.after, c.after - c.before);
    text += std::isnan(c.interval) ? "\n" : fmt::format(" +- {:.4f} (95 %)\n", c.interval);
  }
  print(f.json ? json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : text);
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto f = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand("quantize", "Write a model in a lower precision, calibrated on examples");
  c->add_option("model", f->model, "ONNX file")->required();
  c->add_option("--calibration", f->calibration,
                "Folder or .npz file of examples: images, arrays, test_data_set folders; not needed with "
                "--weights-only and --dynamic");
  c->add_option("-o,--output", f->output, "ONNX file to write")->required();
  c->add_option("--precision", f->precision, "int8, f16 or bf16")
      ->check(CLI::IsMember({"int8", "f16", "bf16"}))
      ->capture_default_str();
  c->add_option("--method", f->method, "Range of an activation: minmax, percentile, mse, entropy")
      ->type_name("NAME");
  c->add_option("--percentile", f->percentile, "Of the values, kept on either side")
      ->check(CLI::Range(50.0, 100.0));
  c->add_option("--keep", f->keep, "Node or operator that stays f32; more than once or several")
      ->type_name("NODE");
  c->add_option(
       "--sqnr", f->most_noise,
       "Keep the noisiest products in f32 until outputs are so many dB above the noise; 0: none; default 17")
      ->check(CLI::Range(0, 100));
  c->add_option("--examples", f->examples, "Calibrate on so many; default: all that are not for the report")
      ->check(CLI::PositiveNumber);
  c->add_option(
       "--metric", f->metric,
       "Keep 4 of 5 examples apart and report f32 and the result on them: top1, top5, mae, spearman, "
       "sequence, agreement, cosine, sqnr")
      ->type_name("NAME");
  c->add_option("--equalize", f->equalize,
                "Scale channels between convolutions: none, weights (by the largest ones), activations")
      ->type_name("NAME");
  c->add_flag("--adaround", f->adaround,
              "Round the weights of each layer together, for the least error of its outputs (slower)");
  c->add_option("--steps", f->steps, "Of --adaround: at most so many for a layer; fewer where they take long")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  auto* weights_only = c->add_flag("--weights-only", f->weights_only,
                                   "Only the weights of matrix products, as integers; all computes in f32");
  c->add_option("--bits", f->bits, "Of --weights-only: 8 or 4")
      ->check(CLI::IsMember({8, 4}))
      ->needs(weights_only)
      ->capture_default_str();
  c->add_option("--block", f->block,
                "Of --weights-only: rows that share a scale; 0: all; default 0, or 32 at 4 bits")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->needs(weights_only);
  c->add_option(
       "--dynamic", f->dynamic,
       "Matrix products on integers, activations quantized as they come: tensor (one scale each; the "
       "default) or token (one for each row)")
      ->expected(0, 1)
      ->default_str("tensor")
      ->check(CLI::IsMember({"tensor", "token"}))
      ->excludes(weights_only);
  c->add_flag("--no-bias-correction", f->no_bias_correction, "Do not correct means");
  c->add_flag("--no-smooth", f->no_smooth, "Do not move the spread of columns into weights");
  c->add_flag("--json", f->json, "One JSON object");
  f->data.add(*c);
  f->session.add(*c, true);
  c->callback([f] { quantize(*f); });
}

}  // namespace skyline::cli
