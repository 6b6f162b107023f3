// Broadcasting arithmetic: two operands, and the variadic folds.
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

// Two's complement arithmetic that wraps: in 64 unsigned bits, of which every integer type keeps the low
// ones.
struct AddOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_integral_v<W>)
      return static_cast<W>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    return a + b;
  }
};
struct SubOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_integral_v<W>)
      return static_cast<W>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    return a - b;
  }
};
struct MulOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_integral_v<W>)
      return static_cast<W>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    return a * b;
  }
};
// Integers: toward zero; x / 0 is 0, and lowest / -1 wraps to lowest.
struct DivOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_integral_v<W>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<W>) {
        if (b == -1) return SubOp()(W(0), a);
      }
      return static_cast<W>(a / b);
    }
    return a / b;
  }
};
// The remainder with the sign of the dividend (fmod = 1); x mod 0 is 0 for integers.
struct FmodOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_integral_v<W>) {
      if (b == 0) return 0;
      if constexpr (std::is_signed_v<W>) {
        if (b == -1) return 0;
      }
      return static_cast<W>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};
// The remainder with the sign of the divisor (fmod = 0).
struct ModOp {
  template <class W>
  W operator()(W a, W b) const {
    const W r = FmodOp()(a, b);
    if constexpr (std::is_integral_v<W>) {
      return r != 0 && (r < 0) != (b < 0) ? static_cast<W>(r + b) : r;
    } else {
      if (r == 0) return std::copysign(r, b);
      return (r < 0) != (b < 0) ? r + b : r;  // with an infinite b this is b, as the standard asks
    }
  }
};

template <class List, class F>
void binary(EvalContext& c, List list, F f) {
  require_same_dtype(c, 0, 1);
  const Tensor &a = c.in(0), &b = c.in(1);
  Tensor z = c.make(a.dtype(), broadcast_dims(a.dims(), b.dims()));
  visit_type(a.dtype(), list, [&]<class T>() {
    map_broadcast<T, T, T>(a, b, z, [&](T x, T y) { return narrow<T>(f(widen(x), widen(y))); });
  });
  c.out(0, z);
}

template <class F>
void eval_binary(EvalContext& c) {
  binary(c, NumericTypes{}, F{});
}

void infer_mod(InferContext& c) {
  const int64_t mode = c.attrs().integer("fmod", 0);
  if (mode != 0 && mode != 1) {
    throw Error(Code::invalid, "attribute fmod is " + std::to_string(mode) + "; 0 or 1 is needed");
  }
  infer_broadcast_same(c);
}

void eval_mod(EvalContext& c) {
  if (c.attrs().integer("fmod", 0) != 0) return binary(c, NumericTypes{}, FmodOp{});
  binary(c, NumericTypes{}, ModOp{});
}

// ---- Pow: the exponent has a dtype of its own
// ----------------------------------------------------------------------

template <class W>
W integer_power(W base, int64_t exponent) {
  if (exponent < 0) {  // the reciprocal, toward zero; 0 has none
    if (base == 1) return 1;
    if constexpr (std::is_signed_v<W>) {
      if (base == -1) return exponent % 2 ? -1 : 1;
    }
    return 0;
  }
  W out = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) out = MulOp()(out, base);
    base = MulOp()(base, base);
  }
  return out;
}

void eval_pow(EvalContext& c) {
  const Tensor &a = c.in(0), &b = c.in(1);
  using BaseTypes = TypeList<float, double, Half, BFloat16, int32_t, int64_t>;
  Tensor z = c.make(a.dtype(), broadcast_dims(a.dims(), b.dims()));
  // The exponents once as double, and as integers where base and exponent both are: one loop per base type,
  // not one per pair of types.
  const bool whole = is_int(b.dtype());
  Tensor real = c.make(DType::f64, b.dims()), integer = c.make(DType::i64, whole ? b.dims() : Dims{0});
  visit_type(b.dtype(), NumericTypes{}, [&]<class T>() {
    const T* in = b.data<T>();
    double* r = real.mutable_data<double>();
    for (int64_t i = 0; i < b.size(); ++i) r[i] = static_cast<double>(widen(in[i]));
    if constexpr (std::is_integral_v<T>) {
      int64_t* n = integer.mutable_data<int64_t>();
      constexpr uint64_t kTop = std::numeric_limits<int64_t>::max();
      for (int64_t i = 0; i < b.size(); ++i) {
        n[i] = in[i] > 0 && static_cast<uint64_t>(in[i]) > kTop ? std::numeric_limits<int64_t>::max()
                                                                : static_cast<int64_t>(in[i]);
      }
    }
  });
  visit_type(a.dtype(), BaseTypes{}, [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      if (whole) {
        return map_broadcast<T, T, int64_t>(a, integer, z,
                                            [](T x, int64_t y) { return integer_power(x, y); });
      }
      map_broadcast<T, T, double>(
          a, real, z, [](T x, double y) { return float_to_int<T>(std::pow(static_cast<double>(x), y)); });
    } else {
      map_broadcast<T, T, double>(a, real, z, [](T x, double y) { return narrow<T>(std::pow(widen(x), y)); });
    }
  });
  c.out(0, z);
}

// ---- PRelu
// ---------------------------------------------------------------------------------------------------------

void infer_prelu(InferContext& c) {
  infer_broadcast_same(c);
  const Fact &x = c.in(0), &slope = c.in(1);
  if (x.ranked && slope.ranked && slope.rank() > x.rank()) {
    throw Error(Code::invalid, "slope has rank " + std::to_string(slope.rank()) + ", above the input's " +
                                   std::to_string(x.rank()));
  }
  c.out(0, x);
}

void eval_prelu(EvalContext& c) {
  const Tensor &x = c.in(0), &slope = c.in(1);
  if (broadcast_dims(x.dims(), slope.dims()) != x.dims()) {
    throw Error(Code::invalid, "slope of " + to_string(slope.dims()) + " does not broadcast to the input's " +
                                   to_string(x.dims()));
  }
  binary(c, NumericTypes{}, []<class W>(W v, W s) { return v < 0 ? MulOp()(v, s) : v; });
}

// ---- BitShift and the bitwise operators
// ------------------------------------------------------------------------------

bool shifts_left(const Attrs& attrs) {
  const std::string& direction = attrs.text("direction");
  if (direction != "LEFT" && direction != "RIGHT") {
    throw Error(Code::invalid,
                "attribute direction is \"" + direction + "\"; \"LEFT\" or \"RIGHT\" is needed");
  }
  return direction == "LEFT";
}

void infer_bit_shift(InferContext& c) {
  shifts_left(c.attrs());
  infer_broadcast_same(c);
}

void eval_bit_shift(EvalContext& c) {
  const bool left = shifts_left(c.attrs());
  binary(c, IntTypes{}, [=]<class W>(W x, W y) -> W {
    constexpr int kBits = 8 * sizeof(W);
    const bool outside = y < 0 || static_cast<uint64_t>(y) >= kBits;  // what the sign extension alone gives
    if (left) return outside ? W(0) : static_cast<W>(static_cast<uint64_t>(x) << y);
    return outside ? static_cast<W>(x < 0 ? -1 : 0) : static_cast<W>(x >> y);
  });
}

void eval_bitwise_and(EvalContext& c) {
  binary(c, IntTypes{}, []<class W>(W a, W b) { return static_cast<W>(a & b); });
}
void eval_bitwise_or(EvalContext& c) {
  binary(c, IntTypes{}, []<class W>(W a, W b) { return static_cast<W>(a | b); });
}
void eval_bitwise_xor(EvalContext& c) {
  binary(c, IntTypes{}, []<class W>(W a, W b) { return static_cast<W>(a ^ b); });
}

// ---- Min, Max, Sum, Mean: any number of operands
// ---------------------------------------------------------------------

Dims fold_dims(const EvalContext& c) {
  Dims dims = c.in(0).dims();
  for (size_t i = 1; i < c.inputs(); ++i) {
    require_same_dtype(c, 0, i);
    dims = broadcast_dims(dims, c.in(i).dims());
  }
  return dims;
}

// acc = f(acc, operand), broadcast.
template <class A, class T, class F>
void fold_into(Tensor& acc, const Tensor& operand, F f) {
  A* pa = acc.mutable_data<A>();
  const T* pb = operand.data<T>();
  const Dims from[1] = {operand.dims()};
  for_rows(acc.dims(), from, [&](const BroadcastRow<1>& r) {
    for (int64_t i = 0; i < r.n; ++i) pa[r.out + i] = f(pa[r.out + i], pb[r.at[0] + i * r.step[0]]);
  });
}

template <bool kMax>
void eval_extreme(EvalContext& c) {
  Tensor out = c.make(c.in(0).dtype(), fold_dims(c));
  visit_type(out.dtype(), NumericTypes{}, [&]<class T>() {
    fold_into<T, T>(out, c.in(0), [](T, T x) { return x; });
    for (size_t k = 1; k < c.inputs(); ++k) {
      fold_into<T, T>(out, c.in(k), [](T best, T x) {
        const Wide<T> a = widen(best), b = widen(x);
        if (a != a) return best;  // a NaN stays
        return (kMax ? b > a : b < a) || b != b ? x : best;
      });
    }
  });
  c.out(0, out);
}

template <bool kMean>
void eval_sum(EvalContext& c) {
  const Dims dims = fold_dims(c);
  Tensor acc = c.make(DType::f64, dims), out = c.make(c.in(0).dtype(), dims);
  const double scale = kMean ? static_cast<double>(c.inputs()) : 1.0;
  visit_type(out.dtype(), FloatTypes{}, [&]<class T>() {
    double* total = acc.mutable_data<double>();
    fold_into<double, T>(acc, c.in(0), [](double, T x) { return widen(x); });
    for (size_t k = 1; k < c.inputs(); ++k) {
      fold_into<double, T>(acc, c.in(k), [](double sum, T x) { return sum + widen(x); });
    }
    T* y = out.mutable_data<T>();
    for (int64_t i = 0; i < out.size(); ++i) y[i] = narrow<T>(kMean ? total[i] / scale : total[i]);
  });
  c.out(0, out);
}

Work work_variadic(const Node& node, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = static_cast<int64_t>(node.inputs.size()) * out[0].elements()};
}

constexpr OpDef two(std::string_view name, EvalFn eval, uint32_t flags = 0,
                    InferFn infer = infer_broadcast_same, WorkFn work = nullptr) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .infer = infer,
          .eval = eval,
          .work = work,
          .flags = kOpElementwise | flags};
}
constexpr OpDef many(std::string_view name, EvalFn eval) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = kMany,
          .infer = infer_broadcast_same,
          .eval = eval,
          .work = work_variadic,
          .flags = kOpElementwise | kOpCommutative};
}

constexpr OpDef kOps[] = {
    two("Add", eval_binary<AddOp>, kOpCommutative),
    two("Sub", eval_binary<SubOp>),
    two("Mul", eval_binary<MulOp>, kOpCommutative),
    two("Div", eval_binary<DivOp>),
    two("Mod", eval_mod, 0, infer_mod, work_per_element<4>),
    two("Pow", eval_pow, 0, infer_broadcast, work_per_element<20>),
    two("PRelu", eval_prelu, 0, infer_prelu, work_per_element<2>),
    two("BitShift", eval_bit_shift, 0, infer_bit_shift),
    two("BitwiseAnd", eval_bitwise_and, kOpCommutative),
    two("BitwiseOr", eval_bitwise_or, kOpCommutative),
    two("BitwiseXor", eval_bitwise_xor, kOpCommutative),
    many("Min", eval_extreme<false>),
    many("Max", eval_extreme<true>),
    many("Sum", eval_sum<false>),
    many("Mean", eval_sum<true>),
};

}  // namespace

std::span<const OpDef> arithmetic_ops() {
  return kOps;
}

}  // namespace skyline::ops
