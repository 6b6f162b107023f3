#include "kernels/trial/measure.h"

#include <algorithm>
#include <chrono>

#include "kernels/probe/probe.h"

namespace skyline::kernels {
namespace {

double seconds_of(const Trial& trial, int64_t runs) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < runs; ++i) trial.run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Roof measure_roof(IsaSet level) noexcept {
  constexpr int64_t kBytes = 256 << 10;
  const ProbeTable& probe = probe_kernels(level);
  return {probe_compute(probe, Compute::tile, 1), probe_traffic(probe, Traffic::copy, kBytes, 1)};
}

Rate rate_of(const Trial& trial, const Roof& roof, double ns) noexcept {
  Rate r{.ns = ns, .gflops = trial.flops / ns, .gbps = trial.bytes / ns};
  r.percent = 100 * std::max(r.gflops / roof.gflops, r.gbps / roof.gbps);
  return r;
}

Rate measure_rate(const Trial& trial, const Roof& roof, double seconds) {
  constexpr int kBatches = 10;
  int64_t runs = 1;
  double best = seconds_of(trial, 1);
  while (best * kBatches < seconds && runs < (int64_t{1} << 30)) best = seconds_of(trial, runs *= 2);
  for (int i = 1; i < kBatches; ++i) best = std::min(best, seconds_of(trial, runs));
  return rate_of(trial, roof, 1e9 * best / static_cast<double>(runs));
}

}  // namespace skyline::kernels
