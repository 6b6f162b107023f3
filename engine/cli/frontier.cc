// skyline frontier show|select|plot|merge, explain, diff: looking at what an optimizer found, and choosing
// from it.
#include <fmt/format.h>

#include <filesystem>

#include "engine/cli/cli.h"
#include "engine/cli/frontier_text.h"
#include "engine/cli/plan.h"

namespace skyline::cli {
namespace {

struct Flags {
  std::string file, second, third, report, output, point, minimize, maximize, model;
  std::vector<std::string> constraints, files;
  bool json = false, csv = false;

  bool has_objective() const { return !minimize.empty() || !maximize.empty(); }
};

Objective objective_of(const Flags& flags) {
  return usage([&] {
    if (flags.minimize.empty() == flags.maximize.empty())
      throw Error(Code::invalid, "give one of --minimize and --maximize, such as --minimize latency.p99");
    return flags.minimize.empty() ? parse_objective(true, flags.maximize)
                                  : parse_objective(false, flags.minimize);
  });
}

std::vector<Constraint> constraints_of(const Flags& flags) {
  return usage([&] { return parse_constraints(flags.constraints); });
}

Frontier load(const std::string& path) {
  Frontier f = load_frontier(path);
  const std::string other = machine_difference(f.info.machine, machine_facts());
  if (!f.info.machine.empty() && !other.empty())
    fmt::print(stderr, "skyline: note: {} was measured on another machine: {}\n", printable(path),
               printable(other));
  return f;
}

Json json_of(const Frontier& f) {
  return Json::parse(to_json(f));
}
Json json_of(const Frontier& f, size_t point) {
  Frontier one;
  one.info = f.info;
  one.points = {f.points[point]};
  return json_of(one)["points"][0];
}
void print_json(const Json& j) {
  print(j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// The point named, or the only one, or the knee.
size_t point_of(const Frontier& f, const std::string& id) {
  if (!id.empty()) return f.index_of(id);
  if (const auto knee = f.knee()) return *knee;
  throw Error(Code::input, "there are no points");
}

std::string head(const Frontier& f) {
  const FrontierInfo& i = f.info;
  const auto get = [&](const char* key) {
    const auto it = i.machine.find(key);
    return it == i.machine.end() ? std::string("?") : printable(it->second);
  };
  const auto count = [&](PointState s) {
    return std::count_if(f.points.begin(), f.points.end(), [&](const Point& p) { return p.state == s; });
  };
  return fmt::format(
      "{}\n{} points: {} on the frontier, {} dominated, {} predicted only\non {}, {} CPUs\ndata: {} "
      "({} to calibrate, {} to select, {} to report), seed {}\n\n",
      printable(i.model), f.points.size(), count(PointState::measured), count(PointState::dominated),
      count(PointState::predicted), get("cpu"), get("cpus"), printable(i.data.source), i.data.calibration,
      i.data.selection, i.data.report, i.seed);
}

void show(const Flags& flags) {
  const Frontier f = load(flags.file);
  if (flags.csv) return print(to_csv(f));
  const auto knee = f.knee();
  if (flags.json) {
    Json out = json_of(f);
    Json ids = Json::array();
    for (size_t i : f.pareto()) ids.push_back(f.points[i].id);
    out["frontier"] = ids;
    out["knee"] = knee ? Json(f.points[*knee].id) : Json();
    const auto all = to_minimize(f);
    if (!all.empty()) out["hypervolume"] = hypervolume(all, default_reference(all));
    return print_json(out);
  }
  std::string text = head(f) + point_table(f) + "\n" + point_plot(f);
  if (knee) text += fmt::format("\nknee: {}\n", printable(f.points[*knee].id));
  print(text);
}

Json selection_json(const Frontier& f, const Selection& s, const Objective& o) {
  Json checks = Json::array();
  for (const ConstraintCheck& c : s.checks) {
    checks.push_back({{"constraint", to_string(c.constraint)},
                      {"met", c.met},
                      {"bound", c.constraint.bound},
                      {"reached", c.bound_of_point ? Json(*c.bound_of_point) : Json()},
                      {"violation", std::isfinite(c.violation) ? Json(c.violation) : Json()}});
  }
  return {{"feasible", s.feasible},
          {"objective", to_string(o)},
          {"value", s.objective ? Json(*s.objective) : Json()},
          {"constraints", checks},
          {"binding", s.binding ? Json(to_string(s.checks[*s.binding].constraint)) : Json()},
          {"explanation", s.explanation},
          {"point", json_of(f, s.point)},
          {"machine", f.info.machine}};
}

// The plan: the choice alone needs no model.
void write_output(const Frontier& f, size_t point, const Flags& flags) {
  if (is_json_name(flags.output)) return save_plan(f, point, flags.output);
  if (flags.model.empty())
    throw CLI::ValidationError("--output", "a plan file needs --model MODEL.onnx; a .plan.json does not");
  const std::string sha1 = file_sha1(flags.model);
  if (f.info.model_sha1 != sha1)
    throw Error(Code::input,
                "'" + flags.file + "' is the frontier of another model than '" + flags.model + "'");
  write_plan(Model::load(flags.model), flags.model, f, point, SessionOptions::from_environment(),
             flags.output);
}

void select(const Flags& flags) {
  const Objective objective = objective_of(flags);
  const std::vector<Constraint> constraints = constraints_of(flags);
  const Frontier f = load(flags.file);
  const Selection s = f.select(constraints, objective);
  if (s.feasible && !flags.output.empty()) write_output(f, s.point, flags);
  if (flags.json) {
    print_json(selection_json(f, s, objective));
  } else {
    std::string text = point_figures(f, f.points[s.point]) + "\n";
    for (const ConstraintCheck& c : s.checks) {
      const Quantity q = c.constraint.relative ? Quantity{Axis::accuracy} : c.constraint.quantity;
      text += fmt::format("  {:<4} {:<28} {}\n", c.met ? "met" : "NOT", to_string(c.constraint),
                          c.bound_of_point ? (c.constraint.at_most ? "at most " : "at least ") +
                                                 format_quantity(q, *c.bound_of_point, f.info.metric.fraction)
                                           : "not measured");
    }
    print(text + s.explanation + "\n");
  }
  if (!s.feasible) {
    if (!flags.output.empty()) fmt::print(stderr, "skyline: infeasible: no plan written\n");
    throw static_cast<int>(kInfeasible);
  }
}

void plot(const Flags& flags) {
  ReportOptions o;
  o.constraints = constraints_of(flags);
  const Frontier f = load(flags.file);
  o.selected = flags.point;
  if (!flags.point.empty()) (void)f.index_of(flags.point);
  if (flags.has_objective()) {
    const Objective objective = objective_of(flags);
    o.objective = to_string(objective);
    if (flags.point.empty()) o.selected = f.points[f.select(o.constraints, objective).point].id;
  }
  const std::string html = report_html(f, o);
  write_file_whole(flags.report, html);
  if (flags.json) {
    print_json({{"report", flags.report},
                {"bytes", html.size()},
                {"points", f.points.size()},
                {"selected", o.selected}});
  } else {
    fmt::print(stderr, "wrote {} ({} KB)\n", printable(flags.report), html.size() / 1000);
  }
}

void merge(const Flags& flags) {
  Frontier all = load(flags.files.at(0));
  for (size_t i = 1; i < flags.files.size(); ++i) all.merge(load(flags.files[i]));
  save_frontier(all, flags.output);
  if (flags.json) return print_json({{"file", flags.output}, {"points", all.points.size()}});
  print(point_table(all));
}

void explain(const Flags& flags) {
  const Frontier f = load(flags.file);
  const size_t i = point_of(f, flags.point);
  if (flags.json) return print_json(json_of(f, i));
  print(point_figures(f, f.points[i]) + "\n" + choice_table(f.points[i]));
}

// FILE A B: two points of one file. FILE FILE: two plans.
void diff(const Flags& flags) {
  const Frontier fa = load(flags.file);
  const bool two_files = flags.third.empty();
  const Frontier fb = two_files ? load(flags.second) : fa;
  const size_t a = point_of(fa, two_files ? "" : flags.second), b = point_of(fb, flags.third);
  if (fa.info.model_sha1 != fb.info.model_sha1)
    throw Error(Code::input,
                "these are plans of different models: '" + fa.info.model + "' and '" + fb.info.model + "'");
  if (flags.json) {
    Json nodes = Json::array();
    for (const NodeChoice& c : fa.points[a].choices) {
      const NodeChoice* other = fb.points[b].choice(c.node);
      if (choice_text(&c) == choice_text(other)) continue;
      nodes.push_back({{"node", c.node}, {"a", choice_text(&c)}, {"b", choice_text(other)}});
    }
    for (const NodeChoice& c : fb.points[b].choices) {
      if (!fa.points[a].choice(c.node))
        nodes.push_back({{"node", c.node}, {"a", choice_text(nullptr)}, {"b", choice_text(&c)}});
    }
    return print_json({{"a", json_of(fa, a)}, {"b", json_of(fb, b)}, {"nodes", nodes}});
  }
  print(difference(fa, fa.points[a], fb, fb.points[b]));
}

using Shared = std::shared_ptr<Flags>;

void add_goal(CLI::App& c, const Shared& flags) {
  c.add_option(
      "--constraint", flags->constraints,
      "Such as 'latency.p99<=5ms', 'throughput>=800/s', 'accuracy.drop<=0.5pp', 'memory<=200MB'; repeatable");
  auto* least = c.add_option("--minimize", flags->minimize,
                             "latency[.mean|.p50|.p90|.p99], memory, or a product or "
                             "quotient such as latency/throughput");
  c.add_option("--maximize", flags->maximize, "throughput, accuracy, or a product or quotient")
      ->excludes(least);
}

CLI::App* add_command(CLI::App& app, const char* name, const char* what, const Shared& flags,
                      void (*run)(const Flags&)) {
  CLI::App* c = app.add_subcommand(name, what);
  c->add_flag("--json", flags->json, "One JSON object");
  c->callback([flags, run] { run(*flags); });
  return c;
}

CLI::App* add_file_command(CLI::App& app, const char* name, const char* what, const Shared& flags,
                           void (*run)(const Flags&)) {
  CLI::App* c = add_command(app, name, what, flags, run);
  c->add_option("file", flags->file, "A .frontier.json, a .plan.json or a plan file")->required();
  return c;
}

void add_explain_and_diff(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* e = add_file_command(
      app, "explain", "Where each node of a point is on the precision ladder, and why", flags, explain);
  e->add_option("point", flags->point, "Its id; else the knee, or a plan's only point");
  flags = std::make_shared<Flags>();
  CLI::App* d = add_file_command(app, "diff", "Two points side by side: FILE A B, or PLAN PLAN", flags, diff);
  d->add_option("a", flags->second, "A point's id, or the second plan")->required();
  d->add_option("b", flags->third, "The other point's id");
}

}  // namespace

void add_frontier(CLI::App& app) {
  CLI::App* c = app.add_subcommand("frontier", "Look at a frontier, and choose from it");
  c->require_subcommand(1);
  auto flags = std::make_shared<Flags>();
  add_file_command(*c, "show", "The points as a table and a plot", flags, show)
      ->add_flag("--csv", flags->csv, "One row a point, in seconds and bytes");
  flags = std::make_shared<Flags>();
  CLI::App* s = add_file_command(
      *c, "select", "The best point under constraints; status 4 if none meets them", flags, select);
  add_goal(*s, flags);
  s->add_option("-o,--output,--plan-output", flags->output,
                "Write the point as a plan file (with --model), or (.json) the choice alone");
  s->add_option("--model", flags->model, "The ONNX file that the frontier is of")->type_name("MODEL");
  flags = std::make_shared<Flags>();
  CLI::App* p = add_file_command(*c, "plot", "An HTML report that needs no network", flags, plot);
  add_goal(*p, flags);
  p->add_option("--report", flags->report, "The file to write")->required();
  p->add_option("--point", flags->point, "The point to show first; else the one selected, or the knee");
  flags = std::make_shared<Flags>();
  CLI::App* m = add_command(*c, "merge", "Frontiers of one model on one machine joined", flags, merge);
  m->add_option("files", flags->files, "The frontiers")->required();
  m->add_option("-o,--output", flags->output, "The file to write")->required();
  add_explain_and_diff(*c);
  add_explain_and_diff(app);
}

}  // namespace skyline::cli
