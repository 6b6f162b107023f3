// skyline bench: latency and throughput of one model.
#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Flags {
  std::string model, scenario = "single-stream";
  int64_t batch = 0;
  double duration = 3, warmup = 0.3;
  uint64_t seed = 1;
  std::map<std::string, int64_t> dims;
  std::vector<std::string> dim_texts;
  bool json = false;
  SessionFlags session;
};

double milliseconds(Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

double peak_rss_mb() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_maxrss) / 1024;
}

std::vector<Value> bench_inputs(const Flags& flags, const Session& session) {
  const fs::path set = fs::path(flags.model).parent_path() / "test_data_set_0";
  const int64_t batch = std::max<int64_t>(flags.batch, 1);
  const bool recorded = fs::exists(set / "input_0.pb") && flags.dims.empty();
  std::vector<Value> inputs = recorded ? read_data_set(set.string(), "input", session.inputs())
                                       : make_inputs(session.inputs(), batch, flags.seed, flags.dims);
  return flags.batch > 0 ? with_batch(std::move(inputs), session.inputs(), flags.batch) : inputs;
}

int64_t examples_of(const std::vector<Value>& inputs, const Flags& flags) {
  if (flags.batch > 0) return flags.batch;
  return !inputs.empty() && inputs[0].is_tensor() && inputs[0].tensor().rank() > 1
             ? std::max<int64_t>(inputs[0].tensor().dim(0), 1)
             : 1;
}

void bench(Flags flags) {
  for (const std::string& text : flags.dim_texts) {
    const size_t eq = text.find('=');
    const int64_t n = eq == std::string::npos ? 0 : std::atoll(text.c_str() + eq + 1);
    if (n <= 0) throw CLI::ValidationError("--dim", "must be NAME=N with N >= 1, not '" + text + "'");
    flags.dims[text.substr(0, eq)] = n;
  }
  const auto begin = Clock::now();
  const Session session(Model::load(flags.model), flags.session.options());
  const double model_ms = milliseconds(Clock::now() - begin);
  const std::vector<Value> inputs = bench_inputs(flags, session);
  const auto prepare = Clock::now();
  Context context(session, inputs);  // loading is done when the plan for these shapes stands
  const double load_ms = model_ms + milliseconds(Clock::now() - prepare);

  const auto run_for = [&](double seconds, std::vector<double>* samples) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    do {
      const auto start = Clock::now();
      context.run();
      if (samples) samples->push_back(milliseconds(Clock::now() - start));
    } while (Clock::now() < end);
  };
  run_for(flags.warmup, nullptr);
  std::vector<double> samples;
  samples.reserve(1 << 16);
  const auto start = Clock::now();
  run_for(flags.duration, &samples);
  const double seconds = milliseconds(Clock::now() - start) / 1000;
  const Statistics s = statistics(samples);
  const int64_t examples = examples_of(inputs, flags);
  const double throughput = static_cast<double>(examples) * static_cast<double>(samples.size()) / seconds;
  const SessionOptions& o = session.options();
  if (flags.json) {
    const Json out{
        {"model", flags.model},
        {"scenario", flags.scenario},
        {"latency_ms", {{"mean", s.mean}, {"p50", s.p50}, {"p90", s.p90}, {"p99", s.p99}, {"min", s.min}}},
        {"throughput_per_s", throughput},
        {"runs", samples.size()},
        {"load_ms", load_ms},
        {"peak_rss_mb", peak_rss_mb()},
        {"threads", o.threads},
        {"batch", examples},
        {"precision", name(o.precision)},
        {"isa", o.isa},
        {"machine", fingerprint()}};
    print(out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  print(fmt::format(
      "{}\n  latency     mean {:.4f} ms   p50 {:.4f}   p90 {:.4f}   p99 {:.4f}   min {:.4f}   ({} runs)\n"
      "  throughput  {:.1f} per second at batch {}\n  load        {:.1f} ms\n  peak RSS    {:.1f} MB\n"
      "  {} threads, precision {}, isa {}\n",
      printable(flags.model), s.mean, s.p50, s.p90, s.p99, s.min, samples.size(), throughput, examples,
      load_ms, peak_rss_mb(), o.threads, name(o.precision), o.isa));
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand("bench", "Measure latency and throughput");
  c->add_option("model", flags->model,
                "ONNX file; inputs come from test_data_set_0 beside it, else they are made up")
      ->required();
  c->add_option("--batch", flags->batch, "Examples per run, where the model's first dimension is open")
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--duration", flags->duration, "Seconds to measure")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  c->add_option("--warmup", flags->warmup, "Seconds to warm up")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  c->add_option("--scenario", flags->scenario, "single-stream: one run after the other")
      ->check(CLI::IsMember({"single-stream"}))
      ->capture_default_str();
  c->add_option("--dim", flags->dim_texts, "NAME=N, the size of a dynamic dimension (with made-up inputs)");
  c->add_option("--seed", flags->seed, "Of made-up inputs")->capture_default_str();
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { bench(*flags); });
}

}  // namespace skyline::cli
