// Google Benchmark over every row of the kernel registry that this CPU can run, at every ISA level:
//   bench_micro [--benchmark_filter=REGEX] [--benchmark_format=json] ...
// A kernel whose result is wrong is an error, not a fast kernel. Counters: GFLOP/s, GB/s, percent of the roof
// of the row's own level (kernels/trial/measure.h), error in units of what is allowed.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "kernels/trial/measure.h"
#include "skyline/isa.h"

namespace {

using namespace skyline;
using namespace skyline::kernels;

const Roof& roof_of(IsaSet level) {
  static std::map<IsaSet, Roof> roofs;
  auto [at, is_new] = roofs.try_emplace(level);
  if (is_new) at->second = measure_roof(level);
  return at->second;
}

// known: the trial's error, after the first call; the library calls this several times to find how often to
// run.
void run(benchmark::State& state, const Trial& trial, std::optional<double>& known) {
  if (!known) known = trial.error();
  const double error = *known;
  state.counters["error"] = error;
  if (!(error <= 1)) {
    state.SkipWithError(("wrong: " + std::to_string(error) + " times the allowed error").c_str());
    return;
  }
  for (auto _ : state) {
    trial.run();
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  const auto runs = static_cast<double>(state.iterations());
  const Roof& roof = roof_of(trial.kernel->needs);
  // Rates are per second of the loop above; a percentage is the share of the roof's rate, which bounds the
  // time.
  if (trial.flops > 0) state.counters["GFLOP/s"] = Counter(1e-9 * trial.flops * runs, Counter::kIsRate);
  state.counters["GB/s"] = Counter(1e-9 * trial.bytes * runs, Counter::kIsRate);
  state.counters["roof%"] =
      Counter(1e-7 * std::max(trial.flops / roof.gflops, trial.bytes / roof.gbps) * runs, Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const KernelInfo* row : all_kernels()) {
    if (!usable(*row, isa_detected())) continue;
    for (const Trial& trial : make_trials(*row)) {
      const std::string name = std::string(row->name) + "/" + trial.name;
      benchmark::RegisterBenchmark(name.c_str(), [trial, error = std::make_shared<std::optional<double>>()](
                                                     benchmark::State& s) { run(s, trial, *error); });
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
