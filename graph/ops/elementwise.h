#pragma once
// What the elementwise families share: applying a scalar function over one, two or three broadcast tensors.
#include <cmath>
#include <limits>

#include "graph/ops/util.h"

namespace skyline::ops {

// y = f(x) over a float tensor, where f takes and returns double.
template <class F>
void map_float(EvalContext& c, F f) {
  const Tensor& x = c.in(0);
  Tensor y = c.make(x.dtype(), x.dims());
  visit_type(x.dtype(), FloatTypes{}, [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < x.size(); ++i) out[i] = narrow<T>(f(widen(in[i])));
  });
  c.out(0, y);
}

// A row of a broadcast: n elements of the output from `out` on, and for operand k the element at[k] + i *
// step[k].
template <int N>
struct BroadcastRow {
  int64_t out, n;
  int64_t at[N], step[N];
};

// Calls row(BroadcastRow) for every run along the last axis of `to`, in row-major order.
template <int N, class F>
void for_rows(const Dims& to, const Dims (&from)[N], F row) {
  Dims outer = to, strides[N];
  BroadcastRow<N> r{};
  r.n = to.empty() ? 1 : to.back();
  if (!outer.empty()) outer.pop_back();
  for (int k = 0; k < N; ++k) {
    strides[k] = broadcast_strides(from[k], to);
    r.step[k] = to.empty() ? 0 : strides[k].back();
    if (!strides[k].empty()) strides[k].pop_back();
  }
  if (r.n == 0) return;
  for (NdIndex<N> it(outer, strides); !it.done(); it.next(), r.out += r.n) {
    for (int k = 0; k < N; ++k) r.at[k] = it[k];
    row(r);
  }
}

// z = f(x, y), broadcast; f takes A and B elements as they are stored and returns an R.
template <class R, class A, class B, class F>
void map_broadcast(const Tensor& a, const Tensor& b, Tensor& z, F f) {
  const A* pa = a.data<A>();
  const B* pb = b.data<B>();
  R* pz = z.mutable_data<R>();
  const Dims from[2] = {a.dims(), b.dims()};
  for_rows(z.dims(), from, [&](const BroadcastRow<2>& r) {
    for (int64_t i = 0; i < r.n; ++i) {
      pz[r.out + i] = f(pa[r.at[0] + i * r.step[0]], pb[r.at[1] + i * r.step[1]]);
    }
  });
}

// Error{invalid} unless inputs i and j have one dtype.
void require_same_dtype(const EvalContext& c, size_t i, size_t j);

// A float to an integer type without undefined behaviour: toward zero; what does not fit in 64 bits (32 bits
// for the types of at most 32 bits) and NaN become the lowest integer of that width, and narrower types keep
// the low bits, as the conversion instructions of x86 do.
template <class T>
T float_to_int(double x) {
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (x >= 0x1p63 && x < 0x1p64) return static_cast<uint64_t>(x);
  }
  if constexpr (sizeof(T) == 8 || std::is_same_v<T, uint32_t>) {
    const bool fits = x >= -0x1p63 && x < 0x1p63;
    return static_cast<T>(fits ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min());
  } else {
    const bool fits = x > -0x1p31 - 1 && x < 0x1p31;
    return static_cast<T>(fits ? static_cast<int32_t>(x) : std::numeric_limits<int32_t>::min());
  }
}

// Flops = N per output element.
template <int N>
Work work_per_element(const Node&, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = N * out[0].elements()};
}

// One float tensor in, the same shape out; Error{invalid} when the dtype is known not to be a float.
void infer_float_unary(InferContext& c);
// infer_broadcast that first checks that all inputs have one dtype (Error{invalid}).
void infer_broadcast_same(InferContext& c);
void infer_compare(InferContext& c);  // the same, to bool

}  // namespace skyline::ops
