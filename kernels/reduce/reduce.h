#pragma once
// Reductions over any set of axes, argmax / argmin, cumulative sums.
//
// How to use: make_reduce_plan(shape, axes) once; give scratch of plan.scratch_bytes(op); reduce_f32(table,
// op, plan, ...). The output is contiguous, in the order of the kept axes (keepdims is the caller's
// business). The order of summation depends on the shape and the ISA level, never on the number of threads.
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/nd.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

enum class ReduceOp : uint8_t { sum, mean, max, min, prod, sumsq, l1, l2, logsum, logsumexp, count };

struct ReduceTable {
  KernelInfo info;  // the table as a row of all_kernels()
  // y[o, i] = op over r of x[o, r, i]: finished (mean divides by n, l2 takes the root, ...). n == 0 gives the
  // op's neutral element (mean: NaN). outer > 0 and inner > 0.
  void (*run[static_cast<int>(ReduceOp::count)])(const float* x, float* y, int64_t outer, int64_t n,
                                                 int64_t inner, int threads) noexcept;
};
const ReduceTable& reduce_kernels(IsaSet isa) noexcept;
extern const ReduceTable reduce_sse2, reduce_avx2, reduce_avx512, reduce_neon;  // of this architecture only

// Axes merged into alternating kept and reduced groups, run innermost reduced group first.
struct ReducePlan {
  struct Pass {
    int64_t outer, n, inner;
  };
  int passes = 1;
  Pass pass[kMaxRank] = {};
  int64_t in_size = 0, out_size = 0, reduced = 1;  // reduced: elements that go into one result
  // Bytes of scratch for intermediate results; 0 when one pass does.
  size_t scratch_bytes(size_t element_bytes = 4) const noexcept;
};
// reduced[d] != 0: axis d is reduced. False if there are over kMaxRank reduced groups.
bool make_reduce_plan(std::span<const int64_t> shape, std::span<const uint8_t> reduced,
                      ReducePlan* plan) noexcept;

void reduce_f32(const ReduceTable& t, ReduceOp op, const ReducePlan& plan, const float* x, float* y,
                void* scratch, int threads) noexcept;
// sum, mean (truncates), max, min, prod, sumsq, l1; anything else gives the sum. Sums wrap.
void reduce_i64(ReduceOp op, const ReducePlan& plan, const int64_t* x, int64_t* y, void* scratch) noexcept;
void reduce_i32(ReduceOp op, const ReducePlan& plan, const int32_t* x, int32_t* y, void* scratch) noexcept;

// y[o, i] = index over r in [0, n) of the largest (smallest) x[o, r, i]; of equal ones the first, or the
// last. n >= 1. A NaN is larger (smaller) than all, as in numpy.
struct ArgOptions {
  bool smallest = false, last = false;
};
void arg_reduce_f32(ArgOptions options, const float* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept;
void arg_reduce_i64(ArgOptions options, const int64_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept;
void arg_reduce_i32(ArgOptions options, const int32_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept;

// y[o, r, i] = sum of x[o, 0..r, i]; exclusive leaves x[o, r, i] itself out; reverse runs from the end.
void cumsum_f32(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept;
void cumsum_i64(const int64_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept;
void cumsum_i32(const int32_t* x, int32_t* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept;

}  // namespace skyline::kernels
