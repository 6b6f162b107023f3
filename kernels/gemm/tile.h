#pragma once
// The micro-kernel contract: one tile of C, m x n with m <= mr and n <= nr, from row pointers into A and one
// panel of B.
//
//   for tap in 0..taps, for kk in 0..k:   C[i][j] += A[tap*m + i][kk] * B[(tap*k + kk)*ldb + j]
//
// A:   taps*m row pointers, each to k contiguous elements, any alignment. Dense GEMM has taps = 1; a
// convolution has one
//      tap per kernel position, and points taps that fall into the padding at a row of zeros. The kernel
//      reads exactly k elements of each row.
// B:   rows of ceil(n / lanes) * lanes elements, ldb apart, any alignment; the caller pads the columns past
// n, whose
//      contents do not matter as long as they can be read.
// C:   the kernel writes exactly m x n elements and never reads C, unless `accumulate` asks to add to it.
// K:   summed in the order above by one chain of fused multiply-adds per element (multiply then add where the
// ISA has
//      no FMA), so the bits of an element depend neither on the tile's shape nor on where the tile lies.
// Epilogue: in the order bias, residual, activation; runs in registers when the activation is cheap.
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

struct GemmTile {
  const float* const* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  int64_t k = 0, taps = 1;
  int64_t ldb = 0, ldc = 0;  // in elements
  int64_t m = 0, n = 0;
  const float* bias_n = nullptr;    // n values, or null
  const float* bias_m = nullptr;    // m values, or null
  const float* residual = nullptr;  // m x n, rows ldr apart, or null; may be c itself
  int64_t ldr = 0;
  Activation act;
  bool accumulate = false;  // start from C instead of from zero
};

struct GemmKernel : KernelInfo {
  void (*run)(const GemmTile&) noexcept;
  int mr, nr, lanes;
};

#if defined(__x86_64__)
extern const GemmKernel gemm_f32_avx512, gemm_f32_avx2, gemm_f32_sse2;
#elif defined(__aarch64__)
extern const GemmKernel gemm_f32_neon;
#endif

}  // namespace skyline::kernels
