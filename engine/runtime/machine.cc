#include "engine/runtime/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/gemm.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

double gemm_gflops(IsaSet isa, int threads) {
  using namespace kernels;
  constexpr int64_t kSize = 256;
  const GemmPlan plan = gemm_plan({.m = kSize, .n = kSize, .k = kSize, .const_b = true}, isa);
  const AlignedBuffer packed = aligned_alloc_bytes(plan.packed_b_bytes),
                      work = aligned_alloc_bytes(gemm_workspace_bytes(plan, threads));
  const std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f);
  std::vector<float> c(kSize * kSize);
  gemm_pack_b(plan, {.b = b.data(), .ldb = kSize}, packed.get());
  const GemmArgs args{.a = a.data(), .lda = kSize, .b = packed.get(), .c = c.data(), .ldc = kSize};
  double best = 0;
  for (int round = 0; round < 12; ++round) {
    constexpr int kRuns = 30;
    const auto start = Clock::now();
    for (int i = 0; i < kRuns; ++i) gemm_run(plan, args, work.get(), threads);
    best = std::max(best, kRuns * 2e-9 * kSize * kSize * kSize / seconds_since(start));
  }
  return best;
}

double read_gbps(int threads) {
  constexpr int64_t kBytes = int64_t{256} << 20;
  const kernels::AlignedBuffer buffer = kernels::aligned_alloc_bytes(kBytes);
  if (!buffer) return 0;
  auto* words = reinterpret_cast<uint64_t*>(buffer.get());
  constexpr int64_t kWords = kBytes / 8;
  kernels::parallel_for(threads, kWords, 1 << 16,
                        [&](int64_t begin, int64_t end) { std::fill(words + begin, words + end, 1u); });
  double best = 0;
  volatile uint64_t sink = 0;
  for (int round = 0; round < 4; ++round) {
    const auto start = Clock::now();
    kernels::parallel_for(threads, kWords, 1 << 16, [&](int64_t begin, int64_t end) {
      uint64_t sum[8] = {};
      for (int64_t i = begin; i + 8 <= end; i += 8) {
        for (int k = 0; k < 8; ++k) sum[k] += words[i + k];
      }
      for (uint64_t s : sum) sink = sink + s;
    });
    best = std::max(best, 1e-9 * kBytes / seconds_since(start));
  }
  return best;
}

}  // namespace

Peaks measure_peaks(IsaSet isa, int threads) {
  return {gemm_gflops(isa, threads), read_gbps(threads), threads};
}

}  // namespace skyline
