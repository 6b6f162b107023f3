#pragma once
// Moving elements without looking at them: transposes, strided copies, gathers, padding, tiling. Built once,
// for the baseline: these are bound by memory, and 128-bit tiles already reach that bound.
//
// How to use: make a plan from the shapes (at compile of a session), then run it. `bytes` is the size of one
// element: 1, 2, 4, 8 (any other size works, slower). Source and destination do not overlap.
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/nd.h"

namespace skyline::kernels {

// y[i0, i1, ...] = x at the position where x's dimension perm[d] is i_d: ONNX Transpose.
struct TransposePlan {
  size_t bytes = 0;  // of what moves as one: an element, or the contiguous run that perm leaves together
  int rank = 1;      // of the merged output
  int64_t size = 0;  // units of `bytes`
  int64_t dims[kMaxRank] = {};     // merged output dimensions
  int64_t strides[kMaxRank] = {};  // of x along each, in units
  int fast = 0;                    // output dimension along which x is contiguous (rank - 1: plain rows)
};
// False if the merged rank is over kMaxRank.
bool make_transpose_plan(std::span<const int64_t> x_shape, std::span<const int> perm, size_t bytes,
                         TransposePlan* plan) noexcept;
void run_transpose(const TransposePlan& plan, const void* x, void* y, int threads) noexcept;

// x [batch, rows, columns] -> y [batch, columns, rows]. NCHW to NHWC is rows = C, columns = HW; back is the
// reverse.
void transpose_2d(const void* x, void* y, int64_t batch, int64_t rows, int64_t columns, size_t bytes,
                  int threads) noexcept;

// y[i...] = x[i...] with strides of their own, in elements; x or y already point at the first element. A plan
// from make_nd_plan(dims, {x_strides, y_strides}). Slices (any step), concat, split, expand (stride 0), depth
// to space.
void copy_strided(const NdPlan& plan, size_t bytes, const void* x, void* y, int threads) noexcept;
// n elements of y set to the one at `value`.
void fill(void* y, const void* value, size_t bytes, int64_t n, int threads) noexcept;

// y[o, j, :] = x[o, index[j], :], rows of row_bytes: ONNX Gather with x [outer, axis, row]. Negative indices
// count from the end. False, with y unspecified, if an index is outside [-axis, axis).
bool gather_rows(const void* x, void* y, int64_t outer, int64_t axis, size_t row_bytes, const int64_t* index,
                 int64_t count, int threads) noexcept;
bool gather_rows(const void* x, void* y, int64_t outer, int64_t axis, size_t row_bytes, const int32_t* index,
                 int64_t count, int threads) noexcept;

// y[i0, i1, ...] = x[map[0][i0], map[1][i1], ...], or *fill where any map is negative. Pad in every mode,
// nearest resize, tile and roll are tables of this. rank <= kMaxRank.
struct MapPlan {
  int rank = 0;
  int64_t x_dims[kMaxRank] = {}, y_dims[kMaxRank] = {};
  const int32_t* map[kMaxRank] = {};  // [y_dims[d]], each < x_dims[d]; null: identity (the dims are equal)
};
void copy_mapped(const MapPlan& plan, size_t bytes, const void* x, void* y, const void* fill,
                 int threads) noexcept;

// A map for one axis of ONNX Pad: begin and end may be negative (cropping). y has in + begin + end elements;
// `map` has room for them. For reflect in must be >= 1.
enum class PadMode : uint8_t { constant, reflect, edge, wrap };
void make_pad_map(PadMode mode, int64_t in, int64_t begin, int64_t end, int32_t* map) noexcept;

}  // namespace skyline::kernels
