#pragma once
// What the machine can do, measured: the roof that kernels are held against. Loops of known work, one table
// per ISA level, and the code that times them.
//
// How to use:  const ProbeTable* t = find_kernel<ProbeTable>("probe", isa);   (or probe_kernels(isa))
//              double gflops = probe_compute(probe_kernels(isa), Compute::tile, threads);
//              double gbps = probe_traffic(probe_kernels(isa), Traffic::read, bytes_per_thread, threads);
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

// Loops for one thread. The results depend on the work, so that no compiler drops it.
struct ProbeTable {
  KernelInfo info;  // the table as a row of all_kernels()
  // Multiply-adds on registers only: fma_flops floating-point operations a round.
  float (*fma)(int64_t rounds) noexcept;
  int64_t fma_flops;
  // The loop of a matrix product with both operands in L1: b holds tile_depth rows of tile_columns, a
  // tile_depth groups of tile_rows; 2 * depth * rows * columns floating-point operations a round.
  float (*tile)(const float* a, const float* b, int64_t rounds) noexcept;
  int64_t tile_rows, tile_columns, tile_depth;
  // n floats, a multiple of 256; pointers aligned to 64 bytes. copy reads x and writes y.
  int32_t (*read)(const float* x, int64_t n) noexcept;
  void (*write)(float* y, int64_t n) noexcept;
  void (*copy)(const float* x, float* y, int64_t n) noexcept;
  void (*stream)(float* y, int64_t n) noexcept;  // writes past the caches, where the architecture can
};
const ProbeTable& probe_kernels(IsaSet isa) noexcept;
extern const ProbeTable probe_sse2, probe_avx2, probe_avx512, probe_neon;  // of this architecture only

// The same for matrix tiles.
struct TileProbe {
  KernelInfo info;
  void (*bf16)(int64_t rounds) noexcept;
  int64_t bf16_flops;  // a round
  void (*bytes)(int64_t rounds) noexcept;
  int64_t bytes_ops;
};
#if defined(__x86_64__)
extern const TileProbe probe_tiles_amx;
#endif

enum class Compute : uint8_t { fma, tile };
enum class Traffic : uint8_t { read, write, copy, stream };

// Operations per second of `threads` threads together, in 1e9. About 60 ms: the best of several rounds, so
// that a busy neighbour does not lower the roof. 0 when memory is out.
double probe_compute(const ProbeTable& table, Compute what, int threads) noexcept;

// The same for tile products of bf16 or of bytes (in: bf16, u8) on registers only; 0 where `isa` has no
// tiles.
double probe_tile_products(IsaSet isa, DType in, int threads) noexcept;

// Bytes per second of `threads` threads together, in 1e9, each on buffers of its own of `bytes` in all (for
// copy: half is source, and bytes both read and written count). Same time and rules.
double probe_traffic(const ProbeTable& table, Traffic what, int64_t bytes, int threads) noexcept;

}  // namespace skyline::kernels
