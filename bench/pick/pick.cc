// Is the engine's choice the best one? For every f32 product and convolution of the given models, each
// algorithm and kernel that accepts it is timed, in turns; it is an error if the engine's choice lags the
// best by more than the tolerance, twice. And of the layouts of activations: each model as a whole is timed
// with those that the engine chooses by its cost model, with those that it would choose by measuring, and
// with one layout everywhere.
//   bench_pick MODEL... [--threads N] [--isa LEVEL] [--tolerance PERCENT] [--seconds S] [--chosen]
//   [--layouts]
//              [--json]
// --chosen times the engine's choice only, --layouts the layouts only. Exit status: 0, 1 if a choice lags, 2
// usage, 3 a model cannot be read.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "bench/pick/layouts.h"
#include "bench/pick/problems.h"
#include "skyline/isa.h"
#include "skyline/status.h"

namespace {

using namespace skyline;
using namespace skyline::pick;
using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> models;
  std::string isa = "native";
  int threads = 1;
  double tolerance = 5, seconds = 0.004;
  bool json = false, chosen = false, layouts = false;
};

double milliseconds(const std::function<void()>& run, int64_t runs) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < runs; ++i) run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() /
         static_cast<double>(runs);
}

// The least time of each candidate over rounds in which they take turns.
std::vector<double> measure(const std::vector<Candidate>& candidates, const Options& o, int rounds) {
  std::vector<double> best;
  std::vector<int64_t> runs;
  for (const Candidate& c : candidates) {
    c.run();
    best.push_back(milliseconds(c.run, 1));
    runs.push_back(std::clamp<int64_t>(static_cast<int64_t>(1e3 * o.seconds / best.back()), 1, 1 << 20));
  }
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < candidates.size(); ++i)
      best[i] = std::min(best[i], milliseconds(candidates[i].run, runs[i]));
  }
  return best;
}

double lag_percent(const std::vector<double>& times) {
  return 100 * (times[0] / *std::min_element(times.begin(), times.end()) - 1);
}

Json describe(const kernels::ConvProblem& p) {
  return {{"n", p.n},
          {"ic", p.ic},
          {"oc", p.oc},
          {"groups", p.groups},
          {"in", p.in},
          {"kernel", p.kernel},
          {"stride", p.stride},
          {"dilation", p.dilation},
          {"pad_begin", p.pad_begin},
          {"pad_end", p.pad_end}};
}

struct Outcome {
  Json rows = Json::array();
  Json layouts = Json::object();  // of the model as a whole; empty: there is nothing to choose
  int lagging = 0;
  double total_ms = 0, best_ms = 0;  // of the model: each problem as often as it is there
};

double layout_lag(const std::vector<LayoutTime>& times) {
  std::vector<double> ms;
  for (const LayoutTime& t : times) ms.push_back(t.ms);
  return lag_percent(ms);
}

void check_layouts(const Model& model, const Options& o, Outcome& out) {
  SessionOptions session;
  session.isa = o.isa;
  session.threads = o.threads;
  std::vector<LayoutTime> times = time_layouts(model, session, 15);
  if (times.empty()) return;
  if (layout_lag(times) > o.tolerance) {  // perhaps noise: again, longer
    const std::vector<LayoutTime> again = time_layouts(model, session, 40);
    if (layout_lag(again) < layout_lag(times)) times = again;
  }
  const bool lags = layout_lag(times) > o.tolerance;
  out.lagging += lags;
  for (const LayoutTime& t : times)
    out.layouts[std::string(name(t.policy))] = {{"ms", t.ms}, {"load_ms", t.load_ms}};
  out.layouts["lag_percent"] = layout_lag(times);
  out.layouts["lags"] = lags;
}

Outcome check(const std::string& path, const Options& o, IsaSet isa) {
  Outcome out;
  const Model model = Model::load(path);
  if (!o.chosen) check_layouts(model, o, out);
  if (o.layouts) return out;
  for (const Problem& p : problems_of(model)) {
    const std::vector<Candidate> candidates = candidates_of(p, isa, o.threads, o.chosen);
    std::vector<double> times = measure(candidates, o, 5);
    if (lag_percent(times) > o.tolerance) {  // perhaps noise: again, longer
      const std::vector<double> again = measure(candidates, o, 20);
      if (lag_percent(again) < lag_percent(times)) times = again;
    }
    const auto best = static_cast<size_t>(std::min_element(times.begin(), times.end()) - times.begin());
    const bool lags = lag_percent(times) > o.tolerance;
    out.lagging += lags;
    out.total_ms += times[0] * p.count;
    out.best_ms += times[best] * p.count;
    Json row{{"problem", p.name},
             {"count", p.count},
             {"chosen", candidates[0].name},
             {"ms", times[0]},
             {"gflops", 1e-6 * p.flops / times[0]},
             {"best", candidates[best].name},
             {"best_ms", times[best]},
             {"lag_percent", lag_percent(times)},
             {"lags", lags}};
    for (size_t i = 0; i < times.size(); ++i) row["candidates"][candidates[i].name] = times[i];
    if (p.is_conv) row["conv"] = describe(p.conv);
    out.rows.push_back(std::move(row));
  }
  return out;
}

std::string text(const std::string& path, const Outcome& out) {
  std::string s = path + ":";
  if (!out.rows.empty()) {
    s += fmt::format(" {:.3f} ms as chosen, {:.3f} ms at best, {} of {} choices lag", out.total_ms,
                     out.best_ms, out.lagging, out.rows.size());
  }
  s += "\n";
  if (!out.layouts.empty()) {
    s += "  layouts";
    for (const auto& [policy, t] : out.layouts.items()) {
      if (t.is_object())
        s += fmt::format("  {} {:.3f} ms (load {:.0f})", policy, t["ms"].get<double>(),
                         t["load_ms"].get<double>());
    }
    if (out.layouts["lags"].get<bool>())
      s += fmt::format("  LAGS by {:.0f} %", out.layouts["lag_percent"].get<double>());
    s += "\n";
  }
  for (const Json& r : out.rows) {
    s += fmt::format("  {:<52} x{:<3} {:9.4f} ms {:7.1f} GFLOP/s  {}", r["problem"].get<std::string>(),
                     r["count"].get<int>(), r["ms"].get<double>(), r["gflops"].get<double>(),
                     r["chosen"].get<std::string>());
    if (r["lags"].get<bool>())
      s += fmt::format("  LAGS {:.0f} % behind {}", r["lag_percent"].get<double>(),
                       r["best"].get<std::string>());
    s += "\n";
  }
  return s;
}

int run(const Options& o) {
  const IsaSet isa = isa_level(o.isa);
  Json all = Json::array();
  int lagging = 0;
  for (const std::string& path : o.models) {
    Outcome out = check(path, o, isa);
    lagging += out.lagging;
    if (!o.json) fmt::print("{}", text(path, out));
    all.push_back({{"model", path},
                   {"threads", o.threads},
                   {"ms", out.total_ms},
                   {"best_ms", out.best_ms},
                   {"layouts", out.layouts},
                   {"problems", std::move(out.rows)}});
  }
  if (o.json) fmt::print("{}\n", all.dump(1));
  return lagging > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Is the engine's choice of algorithm and kernel the best one?", "bench_pick"};
  Options o;
  app.add_option("models", o.models, "ONNX files")->required();
  app.add_option("--isa", o.isa, "Highest instruction set")->capture_default_str();
  app.add_option("--threads", o.threads, "Threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--tolerance", o.tolerance, "Percent that a choice may lag")->capture_default_str();
  app.add_option("--seconds", o.seconds, "For each turn of each candidate")->capture_default_str();
  app.add_flag("--chosen", o.chosen, "Time the engine's choice only");
  app.add_flag("--layouts", o.layouts, "Check the choice of layouts only");
  app.add_flag("--json", o.json, "One JSON array");
  try {
    app.parse(argc, argv);
    return run(o);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const Error& e) {
    fmt::print(stderr, "bench_pick: {}\n", e.what());
    return e.code() == Code::invalid ? 2 : 3;
  }
}
