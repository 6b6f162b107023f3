// skyline compile: an ONNX file made ready to run, as a plan file.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "engine/cli/inputs.h"
#include "engine/cli/plan.h"
#include "skyline/optimize.h"

namespace skyline::cli {
namespace {

struct Flags {
  std::string model, choice, output;
  std::vector<int64_t> batches;
  std::vector<std::string> dim_texts;
  bool json = false;
  SessionFlags session;
};

void compile(const Flags& flags) {
  const std::map<std::string, int64_t> dims = read_dims(flags.dim_texts);
  CompileOptions o;
  o.session = flags.session.options();
  o.model_name = std::filesystem::path(flags.model).filename().string();
  o.model_sha1 = file_sha1(flags.model);
  Model model = Model::load(flags.model);
  std::vector<int64_t> batches = flags.batches;
  if (batches.empty()) batches = {0};  // as recorded, or 1
  for (int64_t batch : batches)
    o.shapes.push_back(inputs_beside(flags.model, ports_of(model), batch, 1, dims));
  if (!flags.choice.empty()) {
    o.choice = read_plan(flags.choice, flags.model);
    const Point& p = o.choice->points[0];
    if (flags.session.threads.empty()) o.session.threads = 0;  // the plan's
    if (!p.choices.empty()) {
      PlanModel chosen = plan_model(model, *o.choice, p, o.session);
      model = std::move(chosen.model);
      o.session = std::move(chosen.options);
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  compile_plan(model, o, flags.output);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const PlanFile plan = PlanFile::open(flags.output);
  if (flags.json) {
    return print(Json{{"model", flags.model},
                      {"plan", flags.output},
                      {"bytes", plan.bytes()},
                      {"packed_bytes", plan.packed_bytes()},
                      {"threads", plan.options().threads},
                      {"isa", plan.options().isa},
                      {"compile_s", seconds},
                      {"machine", fingerprint()}}
                     .dump(2, ' ', false, Json::error_handler_t::replace) +
                 "\n");
  }
  fmt::print(stderr, "wrote {}: {:.1f} MB, of which {:.1f} MB are packed weights, for {} threads on {}\n",
             printable(flags.output), static_cast<double>(plan.bytes()) / 1e6,
             static_cast<double>(plan.packed_bytes()) / 1e6, plan.options().threads, plan.options().isa);
}

}  // namespace

void add_compile(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "compile", "Write a plan file: the model ready to run on this machine, loaded without its ONNX file");
  c->add_option("model", flags->model, "ONNX file")->required()->type_name("MODEL");
  c->add_option("-o,--output", flags->output, "The plan file")->required()->type_name("FILE");
  c->add_option("--choice", flags->choice, "Carry out this .plan.json; else the model as it is")
      ->type_name("FILE");
  c->add_option("--batch", flags->batches,
                "Prepare it for so many examples per run, where the model leaves that open; repeatable")
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--dim", flags->dim_texts, "NAME=N, the size of a dynamic dimension");
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { compile(*flags); });
}

}  // namespace skyline::cli
