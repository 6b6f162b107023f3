#include "engine/runtime/machine.h"

#include "kernels/probe/probe.h"

namespace skyline {

Peaks measure_peaks(IsaSet isa, int threads) {
  using namespace kernels;
  constexpr int64_t kBytes = int64_t{256}
                             << 20;  // of all threads: far beyond L2, and beyond a fair share of L3
  const ProbeTable& probe = probe_kernels(isa);
  return {.f32_fma_gflops = probe_compute(probe, Compute::fma, threads),
          .f32_gflops = probe_compute(probe, Compute::tile, threads),
          .read_gbps = probe_traffic(probe, Traffic::read, kBytes / threads, threads),
          .threads = threads};
}

}  // namespace skyline
