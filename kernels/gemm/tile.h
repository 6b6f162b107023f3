#pragma once
// The micro-kernel contract: one tile of C, m x n with 1 <= m <= mr and 1 <= n <= nr, from row pointers into
// A and one panel of B.
//
//   for tap in 0..taps, for s in 0..steps, for r in 0..kr:
//     C[i][j] += A[tap*m + i][s*kr + r] * B[(tap*steps + s)][j][r]
//
// A step is kr consecutive values of K that one instruction multiplies: 1 f32, or 2 i16. It takes 4 bytes of
// a row of A and 4 bytes of each column of B, whatever the types, so that packing and drivers need not know
// them.
//
// A: taps*m row pointers, each to steps*4 bytes, any alignment; nothing past them is read. Dense GEMM has
//    taps = 1; a convolution has one tap per kernel position, or per run of positions that lie side by side,
//    and points what falls into the padding at zeros. Or (interleaved, taps = 1) one pointer to steps x m
//    values: the m of a step lie side by side.
// B: taps*steps rows of ceil(n / lanes) * lanes columns, b_stride bytes apart, any alignment. Whoever packs
//    pads the columns past n; what is in them does not matter.
// C: exactly m x n elements are written, rows c_stride bytes apart; C is never read, unless as the residual,
//    or (add) because it holds the sums of earlier steps.
// K: each element is a sum of chains of multiply-adds in the order above, fused where the ISA has FMA, cut
//    after a fixed number of steps; the bias comes last. Its bits depend neither on the tile's shape nor on
//    where the tile lies.
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

struct GemmTile {
  const void* const* a = nullptr;
  bool interleaved = false;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t steps = 0, taps = 1;
  int64_t b_stride = 0, c_stride = 0;  // bytes
  int64_t m = 0, n = 0;
  // A sum in several calls, each of a multiple of kChain steps but for the last: the bits are those of one
  // call.
  bool add = false;        // C holds the sum of what came before
  bool more = false;       // what is stored is such a sum: no epilogue
  DType out = DType::f32;  // of C; integer kernels store i32, f32, u8 or i8
  Epilogue epilogue;       // its pointers moved to this tile's first row and column
  // What a later tile will read: at step s (of all taps) the kernel may ask for the line at fetch + s *
  // fetch_step to be brought into L2. Null: nothing.
  const std::byte* fetch = nullptr;
  int64_t fetch_step = 0;  // bytes
  // Several full panels (kernels with cuts_k), each panel_stride bytes after the one before; C and what the
  // epilogue has for each column go on by n columns from one to the next. For run_row n is that of all.
  int64_t panels = 1, panel_stride = 0;
};

struct GemmKernel : KernelInfo {
  void (*run)(const GemmTile&) noexcept;
  int mr, nr, lanes, kr;
  int max_n = 0;        // made for products of at most so many columns; 0: of any number
  bool cuts_k = false;  // knows interleaved, add, more and panels
  // interleave_rows of pack.h for mr rows, where this level does it faster; may be null.
  void (*interleave)(const float* a, int64_t k, int64_t m_stride, float* to) noexcept = nullptr;
  // A row (taps = 1, neither add nor more) by up to row_panels panels at a time; `fetch` not null asks to
  // bring into L2 what it reads. May be null.
  void (*run_row)(const GemmTile&) noexcept = nullptr;
  int row_panels = 1;
};
// Steps in one chain of multiply-adds of f32. Longer sums are cut into such chains, which are then added up:
// the rounding error of a chain grows with its length.
inline constexpr int64_t kChain = 384;
// Steps in one call: the rows of a tile must stay in L1 while those of a panel of B stream by (24 KB of 48
// for 8 rows). Half of it cost 2 to 6 % on a Xeon with AVX-512: calls, and sums that go through C.
inline constexpr int64_t kSlice = 2 * kChain;
inline constexpr int kMaxMr = 16;
inline constexpr int64_t kStepBytes = 4;

#if defined(__x86_64__)
extern const GemmKernel gemm_f32_avx512, gemm_f32_narrow_avx512, gemm_f32_square_avx512, gemm_f32_wide_avx512;
extern const GemmKernel gemm_f32_avx2, gemm_f32_sse2;
extern const GemmKernel gemm_i16_avx512, gemm_i16_avx2, gemm_i16_sse2;
#elif defined(__aarch64__)
extern const GemmKernel gemm_f32_neon, gemm_i16_neon;
#endif

}  // namespace skyline::kernels
