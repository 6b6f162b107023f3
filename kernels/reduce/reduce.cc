#include "kernels/reduce/reduce.h"

#include <limits>
#include <type_traits>

#include "kernels/base/levels.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {

const ReduceTable& reduce_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(reduce, isa);
}

bool make_reduce_plan(std::span<const int64_t> shape, std::span<const uint8_t> reduced,
                      ReducePlan* plan) noexcept {
  *plan = ReducePlan{};
  int64_t size[2 * kMaxRank + 1];  // alternating: even groups are kept, odd ones reduced
  int groups = 1;
  size[0] = 1;
  plan->in_size = plan->out_size = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool reduce = d < reduced.size() && reduced[d];
    plan->in_size *= shape[d];
    (reduce ? plan->reduced : plan->out_size) *= shape[d];
    if (shape[d] == 1) continue;
    if (reduce != (groups % 2 == 0)) {
      if (groups == 2 * kMaxRank + 1) return false;
      size[groups++] = 1;
    }
    size[groups - 1] *= shape[d];
  }
  plan->passes = 0;
  int64_t inner = groups % 2 ? size[groups - 1] : 1;
  for (int g = groups % 2 ? groups - 2 : groups - 1; g > 0; g -= 2) {
    int64_t outer = 1;
    for (int before = 0; before < g; ++before) outer *= size[before];
    plan->pass[plan->passes++] = {outer, size[g], inner};
    inner *= size[g - 1];
  }
  if (plan->passes == 0) plan->pass[plan->passes++] = {1, 1, inner};
  return true;
}

size_t ReducePlan::scratch_bytes(size_t element_bytes) const noexcept {
  int64_t elements = 0;  // results go back and forth between two buffers, the first of which are the largest
  for (int i = 0; i < passes - 1 && i < 2; ++i) elements += pass[i].outer * pass[i].inner;
  return static_cast<size_t>(elements) * element_bytes;
}

namespace {

// Runs the passes; first, middle and last are the op as it is for the elements, for partial results, and at
// the end.
template <class T, class Run>
void run_passes(const ReducePlan& plan, const T* x, T* y, void* scratch, Run&& run) noexcept {
  T* buffer[2] = {static_cast<T*>(scratch), static_cast<T*>(scratch)};
  if (plan.passes > 2) buffer[1] += plan.pass[0].outer * plan.pass[0].inner;
  const T* from = x;
  for (int i = 0; i < plan.passes; ++i) {
    const bool last = i == plan.passes - 1;
    T* to = last ? y : buffer[i % 2];
    const ReducePlan::Pass& p = plan.pass[i];
    if (p.outer > 0 && p.inner > 0) run(from, to, p, i == 0, last);
    from = to;
  }
}

// What a pass of a several-pass reduction computes.
ReduceOp op_of_pass(ReduceOp op, bool first, bool last) noexcept {
  if (op == ReduceOp::sumsq || op == ReduceOp::l1) return first ? op : ReduceOp::sum;
  if (op == ReduceOp::logsum) return last ? op : ReduceOp::sum;
  return op;  // max of maxima, mean of equally many means, norm of norms, ...
}

template <class T>
T join(ReduceOp op, T a, T b) noexcept {
  using U = std::make_unsigned_t<T>;
  switch (op) {
    case ReduceOp::max:
      return a < b ? b : a;
    case ReduceOp::min:
      return b < a ? b : a;
    case ReduceOp::prod:
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    default:
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  }
}

template <class T>
void reduce_integers(ReduceOp op, const ReducePlan& plan, const T* x, T* y, void* scratch) noexcept {
  using U = std::make_unsigned_t<T>;
  T start = 0;
  if (op == ReduceOp::max) start = std::numeric_limits<T>::min();
  if (op == ReduceOp::min) start = std::numeric_limits<T>::max();
  if (op == ReduceOp::prod) start = 1;
  run_passes(plan, x, y, scratch,
             [&](const T* from, T* to, const ReducePlan::Pass& p, bool first, bool last) noexcept {
               for (int64_t o = 0; o < p.outer; ++o) {
                 for (int64_t i = 0; i < p.inner; ++i) {
                   T sum = start;
                   for (int64_t r = 0; r < p.n; ++r) {
                     T v = from[(o * p.n + r) * p.inner + i];
                     if (first && op == ReduceOp::sumsq)
                       v = static_cast<T>(static_cast<U>(v) * static_cast<U>(v));
                     if (first && op == ReduceOp::l1 && v < 0) v = static_cast<T>(U{0} - static_cast<U>(v));
                     sum = join(op, sum, v);
                   }
                   if (last && op == ReduceOp::mean && plan.reduced > 0)
                     sum = static_cast<T>(sum / static_cast<T>(plan.reduced));
                   to[o * p.inner + i] = sum;
                 }
               }
             });
}

// Whether v takes the place of the best so far.
template <class T>
bool beats(ArgOptions options, T v, T best) noexcept {
  if (best != best) return options.last && v != v;
  if (v != v) return true;
  if (v == best) return options.last;
  return options.smallest ? v < best : v > best;
}

template <class T>
void arg_reduce(ArgOptions options, const T* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                int threads) noexcept {
  parallel_for(threads, outer * inner, 16384 / (n + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const T* row = x + k / inner * n * inner + k % inner;
      int64_t at = 0;
      T best = row[0];
      for (int64_t r = 1; r < n; ++r) {
        const T v = row[r * inner];
        if (beats(options, v, best)) {
          best = v;
          at = r;
        }
      }
      y[k] = at;
    }
  });
}

template <class T>
void cumsum(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
            bool reverse) noexcept {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      T sum = 0;
      for (int64_t k = 0; k < n; ++k) {
        const int64_t at = (o * n + (reverse ? n - 1 - k : k)) * inner + i;
        const T v = x[at];
        if (exclusive) y[at] = sum;
        if constexpr (std::is_integral_v<T>) {
          sum = join(ReduceOp::sum, sum, v);
        } else {
          sum += v;
        }
        if (!exclusive) y[at] = sum;
      }
    }
  }
}

}  // namespace

void reduce_f32(const ReduceTable& t, ReduceOp op, const ReducePlan& plan, const float* x, float* y,
                void* scratch, int threads) noexcept {
  run_passes(plan, x, y, scratch,
             [&](const float* from, float* to, const ReducePlan::Pass& p, bool first, bool last) noexcept {
               const int row = static_cast<int>(op_of_pass(op, first, last));
               t.run[row](from, to, p.outer, p.n, p.inner, threads);
             });
}

void reduce_i64(ReduceOp op, const ReducePlan& plan, const int64_t* x, int64_t* y, void* scratch) noexcept {
  reduce_integers(op, plan, x, y, scratch);
}
void reduce_i32(ReduceOp op, const ReducePlan& plan, const int32_t* x, int32_t* y, void* scratch) noexcept {
  reduce_integers(op, plan, x, y, scratch);
}

void arg_reduce_f32(ArgOptions options, const float* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept {
  arg_reduce(options, x, y, outer, n, inner, threads);
}
void arg_reduce_i64(ArgOptions options, const int64_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept {
  arg_reduce(options, x, y, outer, n, inner, threads);
}
void arg_reduce_i32(ArgOptions options, const int32_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner,
                    int threads) noexcept {
  arg_reduce(options, x, y, outer, n, inner, threads);
}

void cumsum_f32(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept {
  cumsum(x, y, outer, n, inner, exclusive, reverse);
}
void cumsum_i64(const int64_t* x, int64_t* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept {
  cumsum(x, y, outer, n, inner, exclusive, reverse);
}
void cumsum_i32(const int32_t* x, int32_t* y, int64_t outer, int64_t n, int64_t inner, bool exclusive,
                bool reverse) noexcept {
  cumsum(x, y, outer, n, inner, exclusive, reverse);
}

}  // namespace skyline::kernels
