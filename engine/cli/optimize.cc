// skyline optimize: the frontier of a model on this machine, and the plan that meets the constraints.
#include "skyline/optimize.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "engine/cli/data_flags.h"
#include "engine/cli/frontier_text.h"
#include "engine/cli/plan.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string model, examples, budget = "2m", metric, minimize, maximize, output, report, plan, costs;
  std::vector<std::string> constraints, rungs;
  std::vector<int> streams;
  std::vector<int64_t> batches;
  bool resume = false, json = false;
  DataFlags data;
  SessionFlags session;
};

// The first interrupt ends the search with what it has; the next one ends the command.
std::atomic<bool> interrupted{false};
void interrupt(int) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(SIGINT, SIG_DFL);
}

double seconds_of(const std::string& text) {
  size_t used = 0;
  double n = 0;
  try {
    n = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = used ? text.substr(used) : "";
  const double factor = unit == "s" ? 1 : unit == "m" || unit == "min" ? 60 : unit == "h" ? 3600 : 0;
  if (factor == 0 || !(n * factor > 0) || n * factor > 1e7)
    throw CLI::ValidationError("--budget",
                               "must be a time with a unit, such as 90s, 3m or 1h, not '" + text + "'");
  return n * factor;
}

// "": in the user's cache folder; none: nowhere.
std::string cost_table_path(const std::string& flag) {
  if (flag == "none") return "";
  if (!flag.empty()) return flag;
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache) return (fs::path(cache) / "skyline" / "costs.json").string();
  return home && *home ? (fs::path(home) / ".cache" / "skyline" / "costs.json").string() : "";
}

OptimizeOptions options_of(const Flags& flags) {
  OptimizeOptions o;
  o.budget_seconds = seconds_of(flags.budget);
  o.session = flags.session.options();
  o.session.precision = Precision::model;
  o.seed = flags.data.seed;
  o.streams = flags.streams;
  o.batches = flags.batches;
  for (const int s : flags.streams) {
    if (s < 1 || s > 256) throw CLI::ValidationError("--streams", "must be 1 to 256");
  }
  for (const int64_t b : flags.batches) {
    if (b < 1 || b > 65536) throw CLI::ValidationError("--batches", "must be 1 to 65536");
  }
  o.cost_table = cost_table_path(flags.costs);
  usage([&] {
    o.constraints = parse_constraints(flags.constraints);
    if (!flags.minimize.empty() && !flags.maximize.empty())
      throw Error(Code::invalid, "give one of --minimize and --maximize");
    if (!flags.maximize.empty()) o.objective = parse_objective(true, flags.maximize);
    if (!flags.minimize.empty()) o.objective = parse_objective(false, flags.minimize);
    if (!flags.metric.empty()) o.metric = metric_from_name(flags.metric);
    for (const std::string& r : flags.rungs) o.rungs.push_back(precision_from_name(r));
    return 0;
  });
  return o;
}

// The line of progress on a terminal, redrawn as stages change.
class Status {
 public:
  void show(const std::string& stage, double share) {
    if (!terminal_) return;
    const int bar = static_cast<int>(share * 20);
    fmt::print(stderr, "\r\x1b[K[{:<20}] {:3.0f} %  {}", std::string(static_cast<size_t>(bar), '#'),
               100 * share, printable(stage, 50));
    std::fflush(stderr);
  }
  ~Status() {
    if (terminal_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
};

Json to_json(const OptimizeResult& r, const Objective& objective) {
  Json checks = Json::array(), unseen = Json::array();
  for (const ConstraintCheck& c : r.selection.checks)
    checks.push_back({{"constraint", to_string(c.constraint)}, {"met", c.met}});
  for (const auto& row : r.report) {
    unseen.push_back({{"point", row.point},
                      {"examples", row.examples},
                      {"accuracy", {row.accuracy.value, row.accuracy.low, row.accuracy.high}},
                      {"drop", {row.drop.value, row.drop.low, row.drop.high}}});
  }
  return {{"feasible", r.selection.feasible},
          {"point", r.frontier.points[r.selection.point].id},
          {"objective", to_string(objective)},
          {"value", r.selection.objective ? Json(*r.selection.objective) : Json()},
          {"constraints", checks},
          {"explanation", r.selection.explanation},
          {"unseen", unseen},
          {"latency_residual", r.latency_residual ? Json(*r.latency_residual) : Json()},
          {"additive_residual", r.additive_residual ? Json(*r.additive_residual) : Json()},
          {"noise_correlation", r.noise_correlation ? Json(*r.noise_correlation) : Json()},
          {"accuracy_correlation", r.accuracy_correlation ? Json(*r.accuracy_correlation) : Json()},
          {"losses", r.losses},
          {"losses_resolved", r.losses_resolved},
          {"costs_known", r.costs_known},
          {"costs_measured", r.costs_measured},
          {"grid_points", r.grid_points},
          {"grid_measured", r.grid_measured},
          {"measured_runs", r.measured_runs},
          {"evaluated_examples", r.evaluated_examples},
          {"warnings", r.warnings},
          {"frontier", Json::parse(skyline::to_json(r.frontier))}};
}

std::string to_text(const OptimizeResult& r) {
  const Frontier& f = r.frontier;
  const bool fraction = f.info.metric.fraction;
  std::string out = point_table(f) + "\n" + point_plot(f) + "\n";
  const Point& p = f.points[r.selection.point];
  out += fmt::format("{}: {}\n", r.selection.feasible ? "chosen" : "closest", printable(p.id)) +
         point_figures(f, p) + rungs_of(p) + "\n";
  for (const ConstraintCheck& c : r.selection.checks)
    out +=
        fmt::format("  {:<28} {}{}\n", to_string(c.constraint), c.met ? "met" : "NOT met",
                    c.bound_of_point ? ", by the interval's end at " +
                                           format_quantity(c.constraint.quantity, *c.bound_of_point, fraction)
                                     : "");
  out += r.selection.explanation + "\n";
  for (const auto& row : r.report) {
    out += fmt::format("on {} unseen examples: {} reaches {}, loses {} [{}, {}]\n", row.examples, row.point,
                       format_quantity({Axis::accuracy}, row.accuracy.value, fraction),
                       format_quantity({Axis::accuracy_drop}, row.drop.value, fraction),
                       format_quantity({Axis::accuracy_drop}, row.drop.low, fraction),
                       format_quantity({Axis::accuracy_drop}, row.drop.high, fraction));
  }
  if (r.latency_residual)
    out += fmt::format(
        "predictions of unseen plans: latency off by {:.1f} % in the median ({:.1f} % by products alone)\n",
        100 * *r.latency_residual, 100 * *r.additive_residual);
  if (r.noise_correlation)
    out += fmt::format("noise at the outputs: predicted and measured correlate by {:.2f}\n",
                       *r.noise_correlation);
  if (r.accuracy_correlation)
    out += fmt::format("loss in the metric: by {:.2f}; {} of {} losses are more than the examples' noise\n",
                       *r.accuracy_correlation, r.losses_resolved, r.losses);
  if (r.costs_known + r.costs_measured > 0)
    out += fmt::format("costs of products: {} known, {} measured\n", r.costs_known, r.costs_measured);
  return out;
}

void optimize(const Flags& flags) {
  OptimizeOptions o = options_of(flags);
  const Model model = Model::load(flags.model);
  const std::string sha1 = file_sha1(flags.model);
  const Session plain(model, o.session);
  const Dataset data = flags.data.open(flags.examples, plain);
  if (flags.resume && !flags.output.empty() && fs::exists(flags.output)) {
    o.resume = load_frontier(flags.output);
    if (o.resume->info.model_sha1 != sha1)
      throw Error(Code::input,
                  "'" + flags.output + "' is the frontier of another model; --resume cannot go on");
  }
  Status status;
  o.cancel = &interrupted;
  std::signal(SIGINT, interrupt);
  o.progress = [&](const std::string& stage, double share) { status.show(stage, share); };
  o.model_name = fs::path(flags.model).filename().string();
  o.model_sha1 = sha1;
  o.data_source = flags.examples + ": " + data.kind();
  o.found = [&](const Frontier& f) {
    if (!flags.output.empty()) save_frontier(f, flags.output);
  };
  const OptimizeResult r = skyline::optimize(model, data, o);
  if (!flags.output.empty()) save_frontier(r.frontier, flags.output);
  const Point& chosen = r.frontier.points[r.selection.point];
  if (!flags.plan.empty() && r.selection.feasible) {
    write_plan(model, flags.model, r.frontier, r.selection.point, o.session, flags.plan);
  }
  if (!flags.report.empty()) {
    write_file_whole(flags.report,
                     report_html(r.frontier, {"", chosen.id, o.constraints, to_string(o.objective)}));
  }
  status.show("done", 1);
  for (const std::string& w : r.warnings) fmt::print(stderr, "\nskyline: warning: {}", printable(w));
  if (!r.warnings.empty()) fmt::print(stderr, "\n");
  print(flags.json ? to_json(r, o.objective).dump(2) + "\n" : to_text(r));
  if (!r.selection.feasible) throw static_cast<int>(kInfeasible);
}

}  // namespace

void add_optimize(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "optimize",
      "Find the frontier of latency, throughput and accuracy, and a plan that meets the constraints");
  c->add_option("model", flags->model, "ONNX file")->required()->type_name("MODEL");
  c->add_option("--data", flags->examples, "Examples: a folder or a .npz file (see README)")->required();
  c->add_option(
      "--constraint", flags->constraints,
      "Such as 'latency.p99<=5ms', 'accuracy.drop<=0.5pp', 'throughput>=800/s', 'memory<=200MB'. Met by the "
      "unfavourable end of an interval; that of a drop holds for all plans of the search at once, and "
      "counts what seems to be gained as nothing: a plan that is the best of many by luck breaks no promise");
  c->add_option("--minimize", flags->minimize, "latency, memory or a quotient; default: latency");
  c->add_option("--maximize", flags->maximize, "throughput, accuracy or a quotient");
  c->add_option("--budget", flags->budget, "Time for the search")->capture_default_str();
  c->add_option("--metric", flags->metric, "top1, top5, mae, spearman, sequence, agreement, cosine or sqnr");
  c->add_option("--rungs", flags->rungs,
                "Precisions to choose from besides f32; default: all that this CPU has");
  c->add_option("--streams", flags->streams, "Numbers of concurrent runs to try for throughput");
  c->add_option(
      "--batches", flags->batches,
      "Examples in one run to try for throughput; default: powers of two up to 64 if it is asked for");
  c->add_option("--costs", flags->costs,
                "File of what operators cost on this machine, read and added to; none: measure all. Default: "
                "skyline/costs.json in the user's cache folder");
  c->add_option("-o,--output", flags->output, "Frontier file, written whenever it gets better");
  c->add_option("--report", flags->report, "HTML file of the frontier");
  c->add_option("--plan", flags->plan, "Plan of the chosen point: a plan file, or (.json) the choice alone");
  c->add_flag("--resume", flags->resume, "Go on from the frontier in --output");
  c->add_flag("--json", flags->json, "Machine-readable result");
  flags->data.add(*c);
  flags->session.add(*c, true);
  c->callback([flags] { optimize(*flags); });
}

}  // namespace skyline::cli
