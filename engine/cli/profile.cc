// skyline profile: where the time of a run goes, and how far each step is from the machine's roof.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cli/cli.h"
#include "engine/cli/plan.h"
#include "engine/runtime/machine.h"
#include "graph/onnx/file.h"
#include "skyline/isa.h"

namespace skyline::cli {
namespace {

struct Flags {
  SourceFlags source;
  std::string trace;
  int64_t batch = 0;
  int runs = 20, top = 0;
  bool json = false, steps = false;
  SessionFlags session;
};

// The median duration of each step over the runs, in the order of the plan.
Profile median_profile(const std::vector<Profile>& runs) {
  Profile out = runs.front();
  double at = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    std::vector<double> d;
    d.reserve(runs.size());
    for (const Profile& p : runs) d.push_back(p[i].duration_us);
    std::nth_element(d.begin(), d.begin() + static_cast<std::ptrdiff_t>(d.size() / 2), d.end());
    out[i].duration_us = d[d.size() / 2];
    out[i].start_us = at;
    at += out[i].duration_us;
  }
  return out;
}

// The share of the roof: the time that flops or bytes need at the measured peaks, over the time taken.
double roofline(const StepRecord& r, const Peaks& peaks) {
  if (r.duration_us <= 0) return 0;
  const double compute = static_cast<double>(r.flops) / (peaks.f32_gflops * 1e3);
  const double memory = static_cast<double>(r.bytes) / (peaks.read_gbps * 1e3);
  return 100 * std::max(compute, memory) / r.duration_us;
}

void write_trace(const std::string& path, const Profile& profile) {
  Json events = Json::array();
  for (const StepRecord& r : profile) {
    events.push_back({{"name", r.node.empty() ? r.op : r.node},
                      {"cat", r.op},
                      {"ph", "X"},
                      {"ts", r.start_us},
                      {"dur", r.duration_us},
                      {"pid", 1},
                      {"tid", 1},
                      {"args", {{"kernel", r.kernel}, {"flops", r.flops}, {"bytes", r.bytes}}}});
  }
  onnx::write_file(
      path, Json{{"traceEvents", events}, {"displayTimeUnit", "ms"}, {"otherData", fingerprint()}}.dump(
                1, ' ', false, Json::error_handler_t::replace));
}

void profile(const Flags& flags) {
  const Opened opened = open_source(flags.source, flags.session);
  const Session& session = opened.session;
  const std::vector<Value> inputs = inputs_for(opened, flags.source, flags.batch);
  if (flags.steps) return print(session.explain_plan(inputs));
  std::vector<Profile> runs;
  for (int i = 0; i < 3; ++i) (void)session.run(inputs);
  for (int i = 0; i < flags.runs; ++i) {
    runs.emplace_back();
    (void)session.run_profiled(inputs, runs.back());
  }
  const Profile steps = median_profile(runs);
  const SessionOptions& o = session.options();
  const Peaks peaks = measure_peaks(isa_level(o.isa), o.threads);
  if (!flags.trace.empty()) write_trace(flags.trace, steps);
  double total = 0;
  int64_t flops = 0;
  for (const StepRecord& r : steps) {
    total += r.duration_us;
    flops += r.flops;
  }
  std::vector<size_t> order(steps.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (flags.top > 0) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return steps[a].duration_us > steps[b].duration_us; });
    order.resize(std::min(order.size(), static_cast<size_t>(flags.top)));
  }
  const Session::MemoryUse memory = session.memory_use(inputs);
  if (flags.json) {
    Json list = Json::array();
    for (size_t i : order) {
      const StepRecord& r = steps[i];
      list.push_back({{"step", i},
                      {"node", r.node},
                      {"op", r.op},
                      {"kernel", r.kernel},
                      {"us", r.duration_us},
                      {"flops", r.flops},
                      {"bytes", r.bytes},
                      {"gflops", r.duration_us > 0 ? static_cast<double>(r.flops) / r.duration_us / 1e3 : 0},
                      {"roofline_percent", roofline(r, peaks)}});
    }
    const Json out{{"model", flags.source.model},
                   {"total_us", total},
                   {"flops", flops},
                   {"threads", o.threads},
                   {"isa", o.isa},
                   {"peak_gflops", peaks.f32_gflops},
                   {"read_gbps", peaks.read_gbps},
                   {"memory",
                    {{"arena", memory.arena},
                     {"arena_lower_bound", memory.arena_lower_bound},
                     {"workspace", memory.workspace},
                     {"constants", memory.constants}}},
                   {"steps", list},
                   {"machine", fingerprint()}};
    return print(out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string text = fmt::format("{:>4} {:>10} {:>6} {:>9} {:>6}  {:<22} {:<22} {}\n", "step", "us", "%",
                                 "GFLOP/s", "roof%", "op", "kernel", "node");
  for (size_t i : order) {
    const StepRecord& r = steps[i];
    text += fmt::format("{:4} {:10.2f} {:6.1f} {:9.1f} {:6.1f}  {:<22} {:<22} {}\n", i, r.duration_us,
                        100 * r.duration_us / total,
                        r.duration_us > 0 ? static_cast<double>(r.flops) / r.duration_us / 1e3 : 0,
                        roofline(r, peaks), r.op, r.kernel, printable(r.node, 60));
  }
  std::map<std::string, std::pair<int, double>> by_op;
  for (const StepRecord& r : steps) {
    auto& [count, us] = by_op[r.op + " [" + r.kernel + "]"];
    ++count;
    us += r.duration_us;
  }
  std::vector<std::pair<std::string, std::pair<int, double>>> sums(by_op.begin(), by_op.end());
  std::sort(sums.begin(), sums.end(),
            [](const auto& a, const auto& b) { return a.second.second > b.second.second; });
  text += "\n";
  for (const auto& [key, sum] : sums)
    text += fmt::format("{:10.2f} us {:5.1f} %  {:4} x {}\n", sum.second, 100 * sum.second / total, sum.first,
                        key);
  text += fmt::format(
      "\n{} steps, {:.3f} ms, {:.1f} GFLOP/s of {:.1f} (loop of a GEMM in L1, {} threads), {:.1f} GB/s read "
      "from "
      "memory\n",
      steps.size(), total / 1e3, static_cast<double>(flops) / total / 1e3, peaks.f32_gflops, o.threads,
      peaks.read_gbps);
  text += fmt::format(
      "memory: arena {:.2f} MB (lower bound {:.2f}), workspace {:.2f} MB, constants {:.2f} MB\n",
      memory.arena / 1e6, memory.arena_lower_bound / 1e6, memory.workspace / 1e6, memory.constants / 1e6);
  print(text);
}

}  // namespace

void add_profile(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand("profile", "Time, GFLOP/s and share of the roofline of every step");
  flags->source.add(*c);
  c->add_option("--trace", flags->trace, "Write a Chrome trace (chrome://tracing, Perfetto) to this file");
  c->add_option("--batch", flags->batch, "Examples per run")->check(CLI::Range(1, 1 << 20));
  c->add_option("--runs", flags->runs, "Runs to take the medians of")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  c->add_option("--top", flags->top, "Only the slowest so many")->check(CLI::Range(1, 1 << 20));
  c->add_flag("--steps", flags->steps, "Print the steps instead: kernels and places in memory");
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { profile(*flags); });
}

}  // namespace skyline::cli
