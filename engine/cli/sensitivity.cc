// skyline sensitivity: which product costs how much accuracy on which rung, and buys how much time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/cli/data_flags.h"
#include "engine/optimize/node_costs.h"
#include "skyline/quantize.h"

namespace skyline::cli {
namespace {

struct Flags {
  std::string model, data, metric;
  std::vector<std::string> rungs{"int8"};
  int64_t examples = 16, calibration = 64;
  int rounds = 20;
  bool json = false, no_others = false;
  DataFlags flags;
  SessionFlags session;
};

std::vector<Precision> rungs_of(const Flags& f) {
  std::vector<Precision> out;
  try {
    for (const std::string& r : f.rungs) out.push_back(precision_from_name(r));
  } catch (const Error& e) {
    throw CLI::ValidationError("--rungs", e.message());
  }
  for (Precision p : out) {
    if (p == Precision::f32 || p == Precision::model)
      throw CLI::ValidationError("--rungs", "f32 is what the others are compared with");
  }
  return out;
}

NodeCosts times(const quant::Quantizer& q, const std::vector<Precision>& rungs, const SessionOptions& options,
                const std::vector<Value>& inputs, int rounds) {
  std::vector<Session> sessions{Session(Model(q.graph()), options)};
  for (Precision rung : rungs) {
    quant::Choice all;
    for (const quant::Quantizer::Product& p : q.products()) {
      if (rung != Precision::int8 || p.int8) all[p.name] = rung;
    }
    sessions.emplace_back(Model(q.build(all).graph), options);
  }
  std::vector<std::string> names;
  for (const quant::Quantizer::Product& p : q.products()) names.push_back(p.name);
  std::vector<RungSession> list{{Precision::f32, &sessions[0]}};
  for (size_t r = 0; r < rungs.size(); ++r) list.push_back({rungs[r], &sessions[r + 1]});
  Progress progress("time", rounds);
  return measure_node_costs(names, list, inputs, rounds,
                            [&](int done, int total) { progress.step(rounds * done / std::max(total, 1)); });
}

double decibels(double noise) {
  return noise > 0 ? -10 * std::log10(noise) : INFINITY;
}
std::string show(double db) {
  return std::isinf(db) ? "exact" : fmt::format("{:.1f}", db);
}

Json number(double x) {
  return std::isfinite(x) ? Json(x) : Json();
}

Json to_json(const quant::Sensitivity& s, const NodeCosts& t) {
  Json nodes = Json::array();
  for (size_t i = 0; i < s.nodes.size(); ++i) {
    Json rungs = Json::object();
    for (size_t r = 0; r < s.rungs.size(); ++r) {
      const quant::NodeNoise& n = s.noise[i][r];
      if (!n.possible) continue;
      rungs[std::string(name(s.rungs[r]))] = {{"noise_alone", n.alone},
                                              {"noise_of_others", n.others},
                                              {"divergence", n.divergence},
                                              {"metric", n.metric},
                                              {"us", number(t.seconds[i][r + 1] * 1e6)}};
    }
    nodes.push_back(
        {{"node", s.nodes[i]}, {"op", s.ops[i]}, {"us", t.seconds[i][0] * 1e6}, {"rungs", rungs}});
  }
  return nodes;
}

std::string table(const quant::Sensitivity& s, const NodeCosts& t, size_t r, bool metric, bool others) {
  std::string out =
      fmt::format("{}\n{:32} {:14} {:>9} {:>9} {:>11} {}{:>9} {:>9} {:>9}\n", name(s.rungs[r]), "node", "op",
                  "alone dB", others ? "others dB" : "", "divergence", metric ? "   metric " : "", "f32 us",
                  fmt::format("{} us", name(s.rungs[r])), "saves us");
  std::vector<size_t> order;
  for (size_t i = 0; i < s.nodes.size(); ++i) {
    if (s.noise[i][r].possible) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return s.noise[a][r].alone > s.noise[b][r].alone; });
  for (size_t i : order) {
    const quant::NodeNoise& n = s.noise[i][r];
    const double before = t.seconds[i][0] * 1e6, after = t.seconds[i][r + 1] * 1e6;
    out += fmt::format("{:32} {:14} {:>9} {:>9} {:>11.2e} {}{:>9.1f} {:>9.1f} {:>+9.1f}\n",
                       printable(s.nodes[i], 32), s.ops[i], show(decibels(n.alone)),
                       others ? show(decibels(n.others)) : "", n.divergence,
                       metric ? fmt::format("{:>+9.4f} ", n.metric) : "", before, after, before - after);
  }
  const quant::NodeNoise& all = s.all[r];
  return out + fmt::format("all of them: {} dB, divergence {:.2e}{}, {:.1f} us instead of {:.1f}\n",
                           show(decibels(all.alone)), all.divergence,
                           metric ? fmt::format(", metric {:+.4f} on {:.4f}", all.metric, s.metric) : "",
                           t.total[r + 1] * 1e6, t.total[0] * 1e6);
}

void sensitivity(const Flags& f) {
  const std::vector<Precision> rungs = rungs_of(f);
  std::optional<MetricKind> metric;
  try {
    if (!f.metric.empty()) metric = metric_from_name(f.metric);
  } catch (const Error& e) {
    throw CLI::ValidationError("--metric", e.message());
  }
  if (metric && !needs_labels(*metric))
    throw CLI::ValidationError("--metric", "fidelity is what the table shows already");
  const Model model = Model::load(f.model);
  const SessionOptions options = f.session.options();
  const Dataset data = f.flags.open(f.data, Session(model, options));
  Split parts = split(data.size(), f.flags.seed);
  parts.calibration.resize(std::min(parts.calibration.size(), static_cast<size_t>(f.calibration)));
  if (parts.selection.empty()) parts.selection = parts.calibration;
  parts.selection.resize(std::min(parts.selection.size(), static_cast<size_t>(f.examples)));

  quant::Options q_options;
  std::optional<Progress> bar(std::in_place, "calibrate", static_cast<int64_t>(parts.calibration.size()));
  q_options.progress = [&](int64_t done, int64_t) { bar->step(done); };
  const quant::MakeRunner runner = session_runner(options);
  const quant::Quantizer q(model.graph(), examples_of(data, parts.calibration), runner, q_options);
  bar.reset();

  quant::SensitivityOptions s_options;
  s_options.rungs = rungs;
  s_options.others = !f.no_others;
  s_options.progress = [&](int64_t done, int64_t total) {
    if (!bar) bar.emplace("measure", total);
    bar->step(done);
  };
  if (metric) {
    s_options.metric = [&](int64_t i, std::span<const Value> outputs) {
      Metric m(*metric);
      m.add(data.at(parts.selection[static_cast<size_t>(i)]), outputs);
      return higher_is_better(*metric) ? m.value() : -m.value();
    };
  }
  const quant::Sensitivity s = measure_sensitivity(q, examples_of(data, parts.selection), runner, s_options);
  bar.reset();
  const NodeCosts t = times(q, rungs, options, data.at(parts.selection[0]).inputs, f.rounds);
  if (f.json) {
    const Json json{{"model", f.model},
                    {"data", data.kind()},
                    {"seed", f.flags.seed},
                    {"calibration", parts.calibration},
                    {"examples", parts.selection},
                    {"metric", metric ? Json(s.metric) : Json()},
                    {"nodes", to_json(s, t)},
                    {"machine", fingerprint()}};
    return print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string text = fmt::format("{}: calibrated on {}, measured on {} other, seed {}\n", data.kind(),
                                 parts.calibration.size(), parts.selection.size(), f.flags.seed);
  for (size_t r = 0; r < rungs.size(); ++r) text += "\n" + table(s, t, r, metric.has_value(), !f.no_others);
  print(text);
}

}  // namespace

void add_sensitivity(CLI::App& app) {
  auto f = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "sensitivity", "Which node costs how much accuracy in lower precision, and buys how much time");
  c->add_option("model", f->model, "ONNX file")->required();
  c->add_option("--data", f->data, "Folder or .npz file of examples")->required();
  c->add_option("--rungs", f->rungs, "int8, f16, bf16, bf16x3, bf16x6")
      ->type_name("RUNG")
      ->capture_default_str();
  c->add_option("--metric", f->metric, "Also its loss: top1, top5, mae, sequence")->type_name("NAME");
  c->add_option("--examples", f->examples, "To measure on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  c->add_option("--calibration-examples", f->calibration, "At most so many to calibrate on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  c->add_option("--rounds", f->rounds, "Runs for the times")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  c->add_flag("--no-others", f->no_others, "Half the time: not with all nodes but one in lower precision");
  c->add_flag("--json", f->json, "One JSON object");
  f->flags.add(*c);
  f->session.add(*c, true);
  c->callback([f] { sensitivity(*f); });
}

}  // namespace skyline::cli
