#include "engine/cli/plan.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "engine/cli/inputs.h"
#include "engine/serve/load.h"
#include "graph/onnx/sha1.h"
#include "skyline/optimize.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;

Frontier choice_of(const std::string& plan) {
  Frontier f = load_frontier(plan);
  if (f.points.size() != 1) {
    throw Error(Code::input, "'" + plan + "' holds " + std::to_string(f.points.size()) +
                                 " points, not one plan: choose with `skyline frontier select`");
  }
  return f;
}

void check_model(const std::string& plan, const std::string& made_for, const std::string& sha1,
                 const std::string& model) {
  if (made_for == sha1) return;
  throw Error(Code::input, "'" + plan + "' is for another model: '" + model + "' with SHA-1 " +
                               (made_for.empty() ? "unknown" : made_for) + ", not " + sha1);
}

// What the command line asks for that a plan file has settled; "" if nothing.
std::string disagreement(const SessionFlags& flags, const SessionOptions& plan) {
  const SessionOptions asked = flags.options();
  if (!flags.threads.empty() && asked.threads != 0 && asked.threads != plan.threads)
    return fmt::format("it is for {} threads, not {}", plan.threads, asked.threads);
  if (asked.isa != "native" && isa_level_name(isa_level(asked.isa)) != plan.isa)
    return fmt::format("it is for kernels of {}, not {}", plan.isa, asked.isa);
  if (flags.precision != "model" && asked.precision != plan.precision)
    return fmt::format("it has its own precision, {}", name(plan.precision));
  if (flags.no_optimize || flags.stop_after >= 0 ||
      (flags.layouts != "modelled" && asked.layouts != plan.layouts))
    return "its graph is settled: --layouts, --no-optimize and --stop-after are not for it";
  return "";
}

// What a plan file's choice says, carried out on the model.
Session rebuild(const Frontier& choice, const std::string& model, SessionOptions o) {
  const Point& p = choice.points[0];
  if (!p.choices.empty()) return plan_session(Model::load(model), choice, p, o);
  if (o.threads == 0) o.threads = p.threads;
  o.precision = p.precision;
  o.layouts = p.layouts;
  return Session(Model::load(model), o);
}

// Says what the plan promised, and what a short measurement of what came of it here says.
void measure_again(const Session& session, const Frontier& choice, const std::string& model) {
  const Point& p = choice.points[0];
  const std::vector<Value> inputs = inputs_beside(model, session.inputs(), p.batch, 1, {});
  const serve::Load load = serve::closed_loop(
      session, inputs, {.streams = 1, .examples_each = p.batch, .seconds = 0.5, .warmup = 0.1});
  const auto& promised = p.figure({Axis::latency, Statistic::p50});
  fmt::print(stderr, "skyline: note: rebuilt from {}: p50 {} here{}\n", printable(model),
             format_quantity({Axis::latency}, serve::latency_at(load, 0.5).value),
             promised ? ", " + format_quantity({Axis::latency}, promised->value) + " in the plan" : "");
}

Opened open_plan_file(const SourceFlags& source, const SessionFlags& flags) {
  const PlanFile plan = PlanFile::open(source.plan);
  if (!source.model.empty())
    check_model(source.plan, plan.model_sha1(), file_sha1(source.model), source.model);
  std::string problem = plan.mismatch();
  if (problem.empty()) problem = disagreement(flags, plan.options());
  if (problem.empty()) {
    return {Session(plan), plan.choice(),
            plan.shapes().empty() ? std::vector<Dims>() : plan.shapes().front()};
  }
  if (source.model.empty())
    throw Error(Code::unsupported, "'" + source.plan + "' cannot be used: " + problem +
                                       "; with the ONNX file beside it, it would be rebuilt from that");
  fmt::print(stderr, "skyline: note: '{}' is not used: {}\n", printable(source.plan),
             printable(problem, 500));
  Frontier choice = plan.choice();
  SessionOptions o = flags.options();
  if (flags.threads.empty()) o.threads = 0;
  Session session = rebuild(choice, source.model, o);
  measure_again(session, choice, source.model);
  return {std::move(session), std::move(choice), {}};
}

}  // namespace

std::string file_sha1(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(Code::io, "cannot open '" + path + "'");
  onnx::Sha1 sum;
  std::string piece(size_t{1} << 20, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
    sum.add(piece.data(), static_cast<size_t>(in.gcount()));
  if (in.bad()) throw Error(Code::io, "cannot read '" + path + "'");
  return sum.hex();
}

Frontier read_plan(const std::string& plan, const std::string& model) {
  Frontier f = choice_of(plan);
  check_model(plan, f.info.model_sha1, file_sha1(model), f.info.model);
  const std::string other = machine_difference(f.info.machine, machine_facts());
  if (!other.empty())
    fmt::print(stderr, "skyline: note: the plan was measured on another machine: {}\n", printable(other));
  return f;
}

void SourceFlags::add(CLI::App& command) {
  command.add_option("model", model, "ONNX file; not needed with --plan, if that is a plan file")
      ->type_name("MODEL");
  command
      .add_option("--plan", plan,
                  "Run as this plan says: a plan file (skyline compile), or a .plan.json for the model")
      ->type_name("FILE");
}

Opened open_source(const SourceFlags& source, const SessionFlags& flags, int streams) {
  if (!source.plan.empty() && is_plan_file(source.plan)) return open_plan_file(source, flags);
  if (source.model.empty()) {
    if (source.plan.empty()) throw CLI::RequiredError("model");
    (void)choice_of(source.plan);  // says what is wrong with a file that is no plan at all
    throw CLI::ValidationError("model", "is required: '" + source.plan + "' is a choice for an ONNX file");
  }
  SessionOptions o = flags.options();
  if (!source.plan.empty()) {
    Frontier choice = read_plan(source.plan, source.model);
    if (flags.threads.empty()) o.threads = 0;  // the plan's
    Session session = plan_session(Model::load(source.model), choice, choice.points[0], o);
    return {std::move(session), std::move(choice), {}};
  }
  if (flags.threads.empty()) o.threads = threads_per_stream(o.threads, streams);
  return {Session(Model::load(source.model), o), std::nullopt, {}};
}

std::vector<Value> inputs_beside(const std::string& model, const std::vector<ValueDescription>& ports,
                                 int64_t batch, uint64_t seed, const std::map<std::string, int64_t>& dims) {
  const fs::path set = fs::path(model).parent_path() / "test_data_set_0";
  if (!model.empty() && fs::exists(set / "input_0.pb") && dims.empty()) {
    std::vector<Value> inputs = read_data_set(set.string(), "input", ports);
    return batch > 0 ? with_batch(std::move(inputs), ports, batch) : inputs;
  }
  std::vector<Value> inputs = make_inputs(ports, std::max<int64_t>(batch, 1), seed, dims);
  return batch > 0 ? with_batch(std::move(inputs), ports, batch) : inputs;
}

std::vector<Value> inputs_for(const Opened& opened, const SourceFlags& source, int64_t batch, uint64_t seed,
                              const std::map<std::string, int64_t>& dims) {
  std::vector<ValueDescription> ports = opened.session.inputs();
  const bool prepared = batch == 0 && dims.empty() && opened.shapes.size() == ports.size();
  for (size_t i = 0; prepared && i < ports.size(); ++i) {
    ports[i].fact = Fact::fixed(ports[i].fact.dtype, opened.shapes[i]);
    ports[i].dim_names.resize(opened.shapes[i].size());
  }
  return inputs_beside(source.model.empty() ? source.plan : source.model, ports, batch, seed, dims);
}

bool is_json_name(const std::string& path) {
  return fs::path(path).extension() == ".json";
}

std::vector<ValueDescription> ports_of(const Model& model) {
  std::vector<ValueDescription> out;
  for (const Port& p : model.inputs()) {
    ValueDescription& d = out.emplace_back(ValueDescription{p.name, p.fact, {}});
    for (const Dim dim : p.fact.dims) d.dim_names.push_back(model.graph().dim_name(dim));
  }
  return out;
}

void write_plan(const Model& model, const std::string& model_path, const Frontier& f, size_t point,
                const SessionOptions& options, const std::string& path) {
  if (is_json_name(path)) return save_plan(f, point, path);
  const Point& p = f.points.at(point);
  CompileOptions o;
  o.model_name = f.info.model;
  o.model_sha1 = f.info.model_sha1;
  o.choice = Frontier{f.info, {p}};
  const bool batched = p.batch > 1;
  const std::vector<ValueDescription> ports = ports_of(model);
  o.shapes = {inputs_beside(model_path, ports, batched ? p.batch : 0, 1, {})};
  PlanModel chosen = plan_model(model, f, p, options);
  o.session = std::move(chosen.options);
  compile_plan(chosen.model, o, path);
}

}  // namespace skyline::cli
