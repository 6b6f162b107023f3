#pragma once
// Products of 8-bit integers on dot-product and tile instructions, which take four values of K at once and
// rows of A that lie evenly spaced: the micro-kernel's contract and the loops around it.
//
//   for l in 0..lines, s in 0..steps, r in 0..4:
//     C[i][j] += A[i][l * line_stride + 4*s + r] * B[l*steps + s][j][r]
//
// Sums are exact in 32 bits. B is i8, packed as pack.h says, then n sums of its columns; where it was u8, 128
// is taken off. So a product with zero points a_zero and b_zero is sum - a_zero * column_sum, if b_zero is 0
// (i8) or 128 (u8): GemmProblem::centered_b says so. A is read as stored where its type and stride suit, else
// it is copied: i8 becomes u8 by adding 128, and so does its zero point.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/base/memory.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

// One tile of C, m x n with 1 <= m <= mr and 1 <= n <= nr.
struct DenseTile {
  const std::byte* a = nullptr;
  int64_t a_stride = 0;  // bytes between rows; readable are 4 * steps bytes of each line of each, and rows up
                         // to a multiple of row_block. What is behind K may be anything: B is zero there
  int64_t lines = 1, line_stride = 0;  // bytes between lines: runs of K that lie apart, as a convolution's do
  const std::byte* b = nullptr;
  int64_t b_stride = 0;  // bytes between steps of the panel
  int64_t steps = 0;     // of a line; a multiple of step_block
  void* c = nullptr;
  int64_t c_stride = 0;                // bytes
  const int64_t* c_offsets = nullptr;  // in place of c_stride: bytes from c to each row, or -1: not wanted
  int64_t m = 0, n = 0;
  DType out = DType::i32;  // i32, f32, u8 or i8
  Epilogue epilogue;       // its pointers moved to this tile's first row and column

  char* row(int64_t i) const {  // null if not wanted
    auto* first = static_cast<char*>(c);
    if (!c_offsets) return first + i * c_stride;
    return c_offsets[i] < 0 ? nullptr : first + c_offsets[i];
  }
};

struct DenseKernel : KernelInfo {
  void (*run)(const DenseTile&) noexcept;
  int mr, nr, lanes;
  int row_block = 1, step_block = 1;  // 16 and 16 for AMX tiles
  int rate = 1;                       // multiply-adds per cycle, relative to f32 at the same vector length
  // Called by a thread before and after a run of tiles, where given: tile configuration.
  void (*enter)() noexcept = nullptr;
  void (*leave)() noexcept = nullptr;

  // Rows of A in bytes, and B's panels, for sums of k values.
  int64_t steps(int64_t k) const { return ((k + 3) / 4 + step_block - 1) / step_block * step_block; }
  PanelShape shape(int64_t n, int64_t k) const { return {n, steps(k), nr, lanes, 4}; }
  size_t packed_bytes(int64_t n, int64_t k) const {
    return align_up(static_cast<size_t>(shape(n, k).bytes())) + align_up(static_cast<size_t>(n * 4));
  }
  const int32_t* column_sums(const std::byte* packed, int64_t n, int64_t k) const {
    return reinterpret_cast<const int32_t*>(packed + align_up(static_cast<size_t>(shape(n, k).bytes())));
  }
};

#if defined(__x86_64__)
extern const DenseKernel dense_u8_amx, dense_i8_amx, dense_u8_avx512vnni;
#endif

// Where K comes from: lines, each of runs of k values that lie side by side in packed B, and then zeros up to
// whole steps. The kk-th value of run r of line l is at src.b + l * line_stride + r * run_stride + kk *
// src.k_stride, in elements.
struct DenseRuns {
  int64_t lines = 1, runs = 1, k = 0;
  int64_t line_stride = 0, run_stride = 0;
  // As if all were one line: the k that DenseKernel's functions take.
  int64_t padded(const DenseKernel& kernel) const {
    return lines == 1 ? runs * k : lines * kernel.steps(runs * k) * 4;
  }
};
// Packs B of n columns, src.n_stride apart, and sums them; the zero point of src is not used. to:
// kernel.packed_bytes(n, runs.padded(kernel)).
void dense_pack(const DenseKernel& kernel, const BSource& src, const DenseRuns& runs, int64_t n,
                std::byte* to) noexcept;

// Copies rows of k bytes for the kernel: 128 added to i8 where the kernel takes u8, zeros up to dst_stride.
void dense_rows(const DenseKernel& kernel, DType type, const std::byte* a, int64_t m, int64_t k,
                int64_t m_stride, int64_t k_stride, std::byte* dst, int64_t dst_stride) noexcept;

// Bytes between rows of a copy: rows a multiple of 512 apart would share cache sets.
inline int64_t dense_stride(int64_t steps) {
  const int64_t bytes = steps * 4;
  return bytes % 512 == 0 ? bytes + static_cast<int64_t>(kAlignment) : bytes;
}
// Rows copied at a time, a multiple of kernel.mr: about 256 KB, an eighth of the L2 of the Xeon (model 143)
// that this was tuned on, beside panels of B.
inline int64_t dense_chunk(const DenseKernel& kernel, int64_t steps) {
  return std::max<int64_t>(1, (256 << 10) / dense_stride(steps) / kernel.mr) * kernel.mr;
}

// A product as the loops see it.
struct DenseProduct {
  const DenseKernel* kernel = nullptr;
  PanelShape shape;
  const std::byte* b = nullptr;
  std::byte* c = nullptr;
  int64_t c_stride = 0;  // bytes
  DType out = DType::i32;
  Epilogue epilogue;
};

// Makes the bias take off what the zero point of A (its type, as stored) adds to sums of k values. room: of
// shape.n i32, used only if there is something to take off.
void take_zero_off(DenseProduct& g, int64_t k, DType a, int32_t zero, int32_t* room) noexcept;

// Rows [m0, m1) by panels [p0, p1). a: row m0, `readable` rows of a_stride bytes from there on.
void dense_block(const DenseProduct& g, const std::byte* a, int64_t a_stride, int64_t m0, int64_t m1,
                 int64_t p0, int64_t p1) noexcept;

}  // namespace skyline::kernels
