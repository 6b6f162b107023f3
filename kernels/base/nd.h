#pragma once
// Iterating a contiguous output of any rank against operands with strides: broadcasting, slices, transposes.
//
// How to use: make an NdPlan once per shape (it merges dimensions that every operand walks alike, so most
// plans end with rank 1 or 2), then hand it to a kernel driver, or walk it with for_rows.
#include <cstdint>
#include <span>

namespace skyline::kernels {

inline constexpr int kMaxRank = 8;      // after merging
inline constexpr int kMaxOperands = 8;  // inputs of one fused step

struct NdPlan {
  int rank = 1;  // >= 1
  int operands = 0;
  int64_t size = 0;                              // elements of the output
  int64_t dims[kMaxRank] = {};                   // outermost first; all >= 1 unless size is 0
  int64_t strides[kMaxOperands][kMaxRank] = {};  // in elements; 0 repeats, negative walks backwards
};

// Operand i has strides[i][d], in elements, along dimension d of `dims` (any rank). False if the merged rank
// is over kMaxRank or there are over kMaxOperands operands. Dimensions of size 1 vanish.
bool make_nd_plan(std::span<const int64_t> dims, std::span<const int64_t* const> strides,
                  NdPlan* plan) noexcept;

// Contiguous operands of the given shapes, broadcast to `out` by ONNX's (numpy's) rules: shapes are
// right-aligned and each dimension equals out's or is 1. False as above, for ranks over 32, or where a shape
// does not broadcast to out.
bool make_broadcast_plan(std::span<const int64_t> out, std::span<const std::span<const int64_t>> shapes,
                         NdPlan* plan) noexcept;

// Calls row(at, offsets, count) for each piece of an innermost row inside the output's linear range [begin,
// end): `at` is the piece's first output element, offsets[i] operand i's element there (it moves by
// strides[i][rank - 1]).
template <class F>
inline void for_rows(const NdPlan& p, int64_t begin, int64_t end, F&& row) noexcept {
  int64_t index[kMaxRank], offsets[kMaxOperands] = {};
  int64_t rest = begin;
  for (int d = p.rank - 1; d >= 0; --d) {
    index[d] = rest % p.dims[d];
    rest /= p.dims[d];
    for (int i = 0; i < p.operands; ++i) offsets[i] += index[d] * p.strides[i][d];
  }
  const int last = p.rank - 1;
  for (int64_t at = begin; at < end;) {
    const int64_t left = p.dims[last] - index[last];
    const int64_t count = left < end - at ? left : end - at;
    row(at, static_cast<const int64_t*>(offsets), count);
    at += count;
    index[last] += count;
    for (int i = 0; i < p.operands; ++i) offsets[i] += count * p.strides[i][last];
    for (int d = last; d > 0 && index[d] == p.dims[d]; --d) {
      index[d] = 0;
      ++index[d - 1];
      for (int i = 0; i < p.operands; ++i) offsets[i] += p.strides[i][d - 1] - p.dims[d] * p.strides[i][d];
    }
  }
}

}  // namespace skyline::kernels
