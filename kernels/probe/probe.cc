#include "kernels/probe/probe.h"

#include <algorithm>
#include <chrono>

#include "kernels/base/levels.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {
namespace {

constexpr int kTrials = 8;
constexpr double kTrialSeconds = 6e-3;

double seconds(auto&& work) noexcept {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Units of work per second, all threads together. body(thread, rounds) does rounds * unit.
double best_rate(int threads, double unit, auto&& body) noexcept {
  const auto run = [&](int64_t rounds) noexcept {
    parallel_for(threads, threads, 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t t = begin; t < end; ++t) body(t, rounds);
    });
  };
  int64_t rounds = 1;  // found on one thread: on a busy machine, starting several takes longer than a trial
  while (rounds < (int64_t{1} << 40) && seconds([&] { body(int64_t{0}, rounds); }) < kTrialSeconds)
    rounds *= 2;
  double best = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const double s = seconds([&] { run(rounds); });
    best = std::max(best, threads * unit * static_cast<double>(rounds) / s);
  }
  return best;
}

volatile float f32_sink;
volatile int32_t i32_sink;

// One block of `floats` for each thread, touched first by the thread that will use it.
struct Blocks {
  Blocks(int threads, int64_t floats) noexcept
      : stride(floats),
        memory(
            aligned_alloc_bytes(static_cast<size_t>(threads) * static_cast<size_t>(floats) * sizeof(float))) {
    if (!memory) return;
    parallel_for(threads, threads, 1,
                 [&](int64_t begin, int64_t end) noexcept { std::fill((*this)[begin], (*this)[end], 1.0f); });
  }
  float* operator[](int64_t thread) const noexcept {
    return reinterpret_cast<float*>(memory.get()) + thread * stride;
  }
  int64_t stride;
  AlignedBuffer memory;
};

}  // namespace

const ProbeTable& probe_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(probe, isa);
}

double probe_compute(const ProbeTable& table, Compute what, int threads) noexcept {
  if (what == Compute::fma) {
    return 1e-9 * best_rate(threads, static_cast<double>(table.fma_flops),
                            [&](int64_t, int64_t rounds) noexcept { f32_sink = table.fma(rounds); });
  }
  const int64_t a_floats = table.tile_rows * table.tile_depth;
  const int64_t b_floats = table.tile_columns * table.tile_depth;
  const Blocks blocks(threads, (a_floats + b_floats + 15) / 16 * 16);
  if (!blocks.memory) return 0;
  const double unit = 2.0 * static_cast<double>(table.tile_rows * b_floats);
  return 1e-9 * best_rate(threads, unit, [&](int64_t t, int64_t rounds) noexcept {
           f32_sink = table.tile(blocks[t] + b_floats, blocks[t], rounds);
         });
}

double probe_tile_products(IsaSet isa, DType in, int threads) noexcept {
  const auto* row = find_kernel<KernelInfo>("probe_tiles", isa);
  if (!row) return 0;
  const auto& table = *reinterpret_cast<const TileProbe*>(row);  // the row is its first member
  const bool bf16 = in == DType::bf16;
  const auto loop = bf16 ? table.bf16 : table.bytes;
  return 1e-9 * best_rate(threads, static_cast<double>(bf16 ? table.bf16_flops : table.bytes_ops),
                          [&](int64_t, int64_t rounds) noexcept { loop(rounds); });
}

double probe_traffic(const ProbeTable& table, Traffic what, int64_t bytes, int threads) noexcept {
  constexpr int64_t kMultiple = 512;  // each half of a copy is a multiple of 256 floats
  const int64_t n = std::max<int64_t>(bytes / static_cast<int64_t>(sizeof(float)) / kMultiple, 1) * kMultiple;
  const Blocks blocks(threads, n);
  if (!blocks.memory) return 0;
  return 1e-9 *
         best_rate(threads, static_cast<double>(n) * sizeof(float), [&](int64_t t, int64_t rounds) noexcept {
           float* p = blocks[t];
           for (int64_t r = 0; r < rounds; ++r) {
             switch (what) {
               case Traffic::read:
                 i32_sink = table.read(p, n);
                 break;
               case Traffic::write:
                 table.write(p, n);
                 break;
               case Traffic::copy:
                 table.copy(p, p + n / 2, n / 2);
                 break;
               case Traffic::stream:
                 table.stream(p, n);
                 break;
             }
           }
         });
}

}  // namespace skyline::kernels
