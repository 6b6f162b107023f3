#pragma once
// What the reference evaluations and shape inferences of several families share.
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "graph/ir/op.h"

namespace skyline::ops {

// ---- element types
// ---------------------------------------------------------------------------------------------

template <class... Ts>
struct TypeList {};

using FloatTypes = TypeList<float, double, Half, BFloat16>;
using IntTypes = TypeList<int64_t, int32_t, int8_t, uint8_t, int16_t, uint16_t, uint32_t, uint64_t>;
using NumericTypes = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int8_t, uint8_t, int16_t,
                              uint16_t, uint32_t, uint64_t>;

[[noreturn]] void unsupported_type(DType t);  // Error{unsupported}, "dtype f8e5m2"

// Calls f.template operator()<T>() for the T of the list whose dtype is t; Error{unsupported} if none is.
template <class... Ts, class F>
decltype(auto) visit_type(DType t, TypeList<Ts...>, F&& f) {
  bool done = false;
  (void)((t == kDTypeOf<Ts> ? (f.template operator()<Ts>(), done = true) : false) || ...);
  if (!done) unsupported_type(t);
}

// Calls f.template operator()<T>() with an unsigned integer, std::string or 16-byte type of the element's
// size: for ops that only move elements. T is one of uint8_t, uint16_t, uint32_t, uint64_t, Bytes16,
// std::string.
struct Bytes16 {
  uint64_t lo, hi;
};
template <class F>
void visit_size(DType t, F&& f) {
  if (t == DType::string) return f.template operator()<std::string>();
  switch (size_of(t)) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    case 8:
      return f.template operator()<uint64_t>();
    case 16:
      return f.template operator()<Bytes16>();
    default:
      unsupported_type(t);
  }
}

// The type that a reference computes in: double for every float (so that the oracle is better than what it
// checks), the type itself for integers.
template <class T>
using Wide = std::conditional_t<std::is_integral_v<T>, T, double>;

template <class T>
inline Wide<T> widen(T x) {
  if constexpr (std::is_same_v<T, double> || std::is_integral_v<T>) {
    return x;
  } else {
    return static_cast<double>(static_cast<float>(x));
  }
}
// To the element type, rounding once (binary16 and bfloat16 go through f32).
template <class T, class W>
inline T narrow(W x) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(x);
  } else {
    return T(static_cast<float>(x));
  }
}

// ---- shapes
// ------------------------------------------------------------------------------------------------------

// axis in [-rank, rank) -> [0, rank); otherwise Error{invalid} naming `what`.
int normalize_axis(int64_t axis, int rank, std::string_view what = "axis");
// The same for a list, which must have no duplicates; sorted is up to the caller.
std::vector<int> normalize_axes(const Dims& axes, int rank, std::string_view what = "axes");

// NumPy broadcasting. Error{invalid} naming both shapes.
Dims broadcast_dims(const Dims& a, const Dims& b);
SymDims broadcast_dims(const SymDims& a, const SymDims& b);
// Strides, in elements, with which a tensor of dims `from` is read when broadcast to `to`: 0 along broadcast
// axes.
Dims broadcast_strides(const Dims& from, const Dims& to);

// Walks a row-major index space, keeping one running offset per operand.
//   for (NdIndex<2> it(dims, {strides_a, strides_b}); !it.done(); it.next()) use(it[0], it[1]);
template <int N>
class NdIndex {
 public:
  NdIndex(const Dims& dims, const Dims (&strides)[N]) : dims_(dims), index_(dims.size(), 0) {
    for (int k = 0; k < N; ++k) strides_[k] = strides[k];
    for (int64_t d : dims) done_ = done_ || d == 0;
  }
  bool done() const { return done_; }
  int64_t operator[](int k) const { return offset_[k]; }
  const Dims& index() const { return index_; }
  void next() {
    for (size_t axis = dims_.size(); axis-- > 0;) {
      for (int k = 0; k < N; ++k) offset_[k] += strides_[k][axis];
      if (++index_[axis] < dims_[axis]) return;
      for (int k = 0; k < N; ++k) offset_[k] -= strides_[k][axis] * dims_[axis];
      index_[axis] = 0;
    }
    done_ = true;
  }

 private:
  Dims dims_, index_;
  Dims strides_[N];
  int64_t offset_[N] = {};
  bool done_ = false;
};

// ---- inference helpers
// ---------------------------------------------------------------------------------------------

void infer_same_as_first(InferContext& c);   // one output like input 0
void infer_broadcast(InferContext& c);       // dtype of input 0, shapes broadcast over all inputs
void infer_broadcast_bool(InferContext& c);  // the same with dtype bool
Fact with_dtype(Fact f, DType t);
Dim mul(Dim a, Dim b);  // known if both are
Dim product(std::span<const Dim> dims);

}  // namespace skyline::ops
