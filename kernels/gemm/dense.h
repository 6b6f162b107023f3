#pragma once
// Products on dot-product and tile instructions, which take 4 bytes of a row of A at once (a step: four 8-bit
// integers, or two bf16) and rows that lie evenly spaced: the micro-kernel's contract and the loops around
// it.
//
//   for l in 0..lines, s in 0..steps, r in 0..values:
//     C[i][j] += A[i][l * line_stride + values*s + r] * B[l*steps + s][j][r]
//
// 8-bit integers: sums are exact in 32 bits. B is i8, packed as pack.h says, then n sums of its columns;
// where it was u8, 128 is taken off. So a product with zero points a_zero and b_zero is sum - a_zero *
// column_sum, if b_zero is 0 (i8) or 128 (u8): GemmProblem::centered_b says so. A is read as stored where its
// type and stride suit, else it is copied: i8 becomes u8 by adding 128, or u8 i8 by taking it off, and so
// does its zero point.
//
// f16: rounded to f16, and so are sums of short runs, which are then added up in f32; where f16 overflows the
// sum is computed in f32.
//
// bf16: a factor is a sum of `planes` bf16 numbers, each the rest that the ones before leave, rounded to
// nearest even; of their products the largest 1, 3 or 6 are summed in f32. What is smaller than 2^-126 counts
// as 0, in a factor, its planes and a sum. An infinity or NaN is its first plane alone; as it would make NaN
// of the zeros behind, a tile that may hold one says so (finite) and is computed with whole factors. In
// packed B the planes of 16 steps follow each other: a panel has planes * steps rows; behind all panels is a
// word that is 0 if every number is finite. Planes of A are a_plane bytes apart.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/base/memory.h"
#include "kernels/gemm/dense_pairs.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

// A block of C, m x n, that a kernel cuts into tiles of its size: all panels for some rows before the next
// rows.
struct DenseTile {
  const std::byte* a = nullptr;
  int64_t a_stride = 0;  // bytes between rows; readable are 4 * steps bytes of each line of each, and rows up
                         // to a multiple of row_block. What is behind K may be any integer or finite number:
                         // B is zero there
  int64_t a_plane = 0;   // floats: bytes between planes
  int64_t lines = 1, line_stride = 0;  // bytes between lines: runs of K that lie apart, as a convolution's do
  const std::byte* b = nullptr;        // panels side by side
  int64_t steps = 0;                   // of a line; a multiple of step_block
  int64_t k = 0;                       // floats: values of a line that count
  // A part of the sums, by kernels that cut K (lines is 1): steps [first, first + count), a multiple of
  // step_block; count 0 is all. Sums of parts before (add), and after (more) where no C is made yet, wait in
  // `partial`: mr x nr words for each tile, in the order in which the kernel takes them.
  int64_t first = 0, count = 0;
  bool add = false, more = false;
  std::byte* partial = nullptr;
  bool finite = true;  // floats: false if A or B may hold an infinity or NaN
  bool cold = true;    // B may have to come from beyond L2 for the first rows
  void* c = nullptr;
  int64_t c_stride = 0;  // bytes
  // Bytes from c to each row, or -1: not wanted. Multiples of c_stride if there is a residual, whose rows
  // they choose likewise.
  const int64_t* c_offsets = nullptr;
  int64_t m = 0, n = 0;
  DType out = DType::i32;  // i32, f32, u8 or i8; of floats f32 or bf16
  Epilogue epilogue;       // its pointers moved to this block's first row and column

  char* row(int64_t i) const {  // null if not wanted
    auto* first = static_cast<char*>(c);
    if (!c_offsets) return first + i * c_stride;
    return c_offsets[i] < 0 ? nullptr : first + c_offsets[i];
  }
};

struct DenseSplit;

struct DenseKernel : KernelInfo {
  void (*run)(const DenseTile&) noexcept;
  int mr, nr, lanes;
  int row_block = 1, step_block = 1;  // 16 and 16 for AMX tiles
  int rate = 1;                       // multiply-adds per cycle, relative to f32 at the same vector length
  // Called by a thread before and after a run of tiles, where given: tile configuration.
  void (*enter)() noexcept = nullptr;
  void (*leave)() noexcept = nullptr;
  // Floats. split: see there; returns whether all is finite. pack: one panel of n columns, `steps` in
  // a line, like dense_pack.
  int planes = 1, values = 4;  // values of K in a step
  int64_t cut = 0;             // steps in a part of K that rows of a tile stay in L1 for; 0: never cuts
  bool (*split)(const DenseSplit&) noexcept = nullptr;
  bool (*pack)(const BSource& src, const struct DenseRuns& runs, int64_t steps, int64_t n, int64_t b_stride,
               std::byte* to) noexcept = nullptr;

  // Integers. both_signs: takes rows of the other signedness, too, as a copy that adds or takes off 128.
  // pairs: weights are bounded and the rest is apart, see dense_pairs.h.
  bool both_signs = false, pairs = false;

  bool floats() const { return values == 2; }
  bool takes(DType a) const { return a == in || both_signs || in == DType::u8; }
  // What the copy adds to a value of type a.
  int shift(DType a) const { return a == in || floats() ? 0 : in == DType::u8 ? 128 : -128; }
  // Even parts of a line.
  int64_t part_steps(int64_t steps) const {
    const int64_t parts = cut ? std::max<int64_t>(1, (steps + cut - 1) / cut) : 1;
    return (steps / step_block + parts - 1) / parts * step_block;
  }
  int64_t element() const { return 4 / values; }  // bytes of a value in a plane
  // Rows of A in bytes, and B's panels, for sums of k values.
  int64_t steps(int64_t k) const {
    return ((k + values - 1) / values + step_block - 1) / step_block * step_block;
  }
  PanelShape shape(int64_t n, int64_t k) const {
    return {n, pairs ? pair_rows(steps(k)) : planes * steps(k), nr, lanes, values};
  }
  size_t packed_bytes(int64_t n, int64_t k) const {
    return align_up(static_cast<size_t>(shape(n, k).bytes())) + align_up(static_cast<size_t>(n * 4));
  }
  // Behind the panels: sums of columns, or of floats whether any is not finite.
  const int32_t* column_sums(const std::byte* packed, int64_t n, int64_t k) const {
    return reinterpret_cast<const int32_t*>(packed + align_up(static_cast<size_t>(shape(n, k).bytes())));
  }
};

#if defined(__x86_64__)
extern const DenseKernel dense_u8_amx, dense_i8_amx, dense_u8_avx512vnni, dense_u8_avxvnni;
extern const DenseKernel dense_u8_avx512, dense_u8_avx2;
extern const DenseKernel dense_f16_avx512fp16;
extern const DenseKernel dense_bf16_amx, dense_bf16x3_amx, dense_bf16x6_amx;
#elif defined(__aarch64__)
extern const DenseKernel dense_i8_dotprod;
#endif

// Where K comes from: lines, each of runs of k values that lie side by side in packed B, and then zeros up to
// whole steps. The kk-th value of run r of line l is at src.b + l * line_stride + r * run_stride + kk *
// src.k_stride, in elements.
struct DenseRuns {
  int64_t lines = 1, runs = 1, k = 0;
  int64_t line_stride = 0, run_stride = 0;
  // As if all were one line: the k that DenseKernel's functions take.
  int64_t padded(const DenseKernel& kernel) const {
    return lines == 1 ? runs * k : lines * kernel.steps(runs * k) * kernel.values;
  }
};
// Packs B of n columns, src.n_stride apart: bytes, which are summed by columns (the zero point of src is not
// used), or f32 or bf16 times src.alpha. to: kernel.packed_bytes(n, runs.padded(kernel)).
void dense_pack(const DenseKernel& kernel, const BSource& src, const DenseRuns& runs, int64_t n,
                std::byte* to) noexcept;

// Copies rows of k bytes for the kernel: kernel.shift(type) added, zeros up to dst_stride.
void dense_rows(const DenseKernel& kernel, DType type, const std::byte* a, int64_t m, int64_t k,
                int64_t m_stride, int64_t k_stride, std::byte* dst, int64_t dst_stride) noexcept;

// Rows of floats as bf16 planes: element (i, kk) of type f32 or bf16 is at a[i * m_stride + kk * k_stride];
// plane q of it goes to dst + q * plane + i * stride + 2 * kk, then zeros up to `padded` values.
struct DenseSplit {
  const void* a = nullptr;
  DType type = DType::f32;
  int64_t m = 0, k = 0, m_stride = 0, k_stride = 1;
  std::byte* dst = nullptr;
  int64_t stride = 0, plane = 0;  // bytes
  int64_t padded = 0;             // k or more
};

// Bytes between rows of a copy: rows a multiple of 512 apart would share cache sets.
inline int64_t dense_stride(int64_t steps) {
  const int64_t bytes = steps * 4;
  return bytes % 512 == 0 ? bytes + static_cast<int64_t>(kAlignment) : bytes;
}
// Rows copied at a time, a multiple of kernel.mr: about 256 KB, an eighth of the L2 of the Xeon (model 143)
// that this was tuned on, beside panels of B.
inline int64_t dense_chunk(const DenseKernel& kernel, int64_t steps, int64_t least = 1) {
  const int64_t rows = (256 << 10) / (dense_stride(steps) * kernel.planes);
  return std::max<int64_t>(1, std::max(rows, least) / kernel.mr) * kernel.mr;
}

// Tiles whose sums wait while K is cut: a quarter of the L2 of that Xeon.
inline constexpr int64_t kPartialTiles = 128;

// A product as the loops see it.
struct DenseProduct {
  const DenseKernel* kernel = nullptr;
  PanelShape shape;
  const std::byte* b = nullptr;  // panels side by side
  std::byte* c = nullptr;
  int64_t c_stride = 0;  // bytes
  DType out = DType::i32;
  Epilogue epilogue;
  // Floats: see DenseTile. finite is what is known of B.
  int64_t a_plane = 0, k = 0;
  bool finite = true;
  int64_t steps() const {  // of a row of A
    return kernel->pairs ? shape.steps / 2 : shape.steps / kernel->planes;
  }
  std::byte* partial = nullptr;  // room for kPartialTiles, or for all if they are fewer; null: K is not cut
};

// Makes the bias take off what the zero point of A (its type, as stored) adds to sums of k values. room: of
// shape.n i32, used only if there is something to take off.
void take_zero_off(DenseProduct& g, int64_t k, DType a, int32_t zero, int32_t* room) noexcept;

// Rows [m0, m1) by panels [p0, p1). a: row m0, a_stride bytes between rows.
void dense_block(const DenseProduct& g, const std::byte* a, int64_t a_stride, int64_t m0, int64_t m1,
                 int64_t p0, int64_t p1) noexcept;

}  // namespace skyline::kernels
