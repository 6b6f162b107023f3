#pragma once
// Softmax and log-softmax over one axis of f32, with the largest value subtracted first.
//
// How to use: softmax_kernels(isa).run(x, y, outer, n, inner, log, threads); x[o, r, i], normalised over r. x
// == y is allowed. A row that is all -inf gives NaN, as the definition does.
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

struct SoftmaxTable {
  KernelInfo info;  // the table as a row of all_kernels()
  void (*run)(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, bool log,
              int threads) noexcept;
  // Rows of n: y = softmax(scale * x + mask), where mask (may be null) has rows of n that repeat: row r uses
  // row (r / mask_every) % mask_rows. For attention scores (batch, heads, query, key) with a mask per (query,
  // key): mask_every = 1, mask_rows = queries; with one per batch: mask_every = heads * queries, mask_rows =
  // batch.
  void (*masked)(const float* x, const float* mask, float* y, int64_t rows, int64_t n, float scale,
                 int64_t mask_every, int64_t mask_rows, int threads) noexcept;
};
const SoftmaxTable& softmax_kernels(IsaSet isa) noexcept;
extern const SoftmaxTable softmax_sse2, softmax_avx2, softmax_avx512,
    softmax_neon;  // of this architecture only

}  // namespace skyline::kernels
