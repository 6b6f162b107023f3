// Functions of one tensor that take integers too, predicates, Clip and Dropout.
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

// y = f(x), where f takes and returns Wide<T>.
template <class List, class F>
void map(EvalContext& c, List list, F f) {
  const Tensor& x = c.in(0);
  Tensor y = c.make(x.dtype(), x.dims());
  visit_type(x.dtype(), list, [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < x.size(); ++i) out[i] = narrow<T>(f(widen(in[i])));
  });
  c.out(0, y);
}

// Negation that wraps: the lowest integer is its own negative.
template <class W>
W negate(W x) {
  if constexpr (std::is_integral_v<W>) return static_cast<W>(uint64_t{0} - static_cast<uint64_t>(x));
  return -x;
}

void eval_abs(EvalContext& c) {
  map(c, NumericTypes{}, []<class W>(W x) -> W {
    if constexpr (std::is_integral_v<W>) return x < 0 ? negate(x) : x;
    return std::fabs(x);
  });
}

void eval_neg(EvalContext& c) {
  map(c, NumericTypes{}, []<class W>(W x) { return negate(x); });
}

void eval_sign(EvalContext& c) {
  map(c, NumericTypes{}, []<class W>(W x) -> W { return x > 0 ? W(1) : x < 0 ? W(-1) : x; });
}

void eval_relu(EvalContext& c) {
  map(c, NumericTypes{}, []<class W>(W x) -> W { return x < 0 ? W(0) : x; });
}

void eval_shrink(EvalContext& c) {
  const double bias = c.attrs().real("bias", 0.0f), lambd = c.attrs().real("lambd", 0.5f);
  map(c, NumericTypes{}, [=]<class W>(W x) -> W {
    const double v = static_cast<double>(x);
    const double y = v < -lambd ? v + bias : v > lambd ? v - bias : std::isnan(v) ? v : 0.0;
    if constexpr (std::is_integral_v<W>) return float_to_int<W>(y);
    return y;
  });
}

void eval_not(EvalContext& c) {
  map(c, TypeList<bool>{}, [](bool x) { return !x; });
}

void eval_bitwise_not(EvalContext& c) {
  map(c, IntTypes{}, []<class W>(W x) { return static_cast<W>(~x); });
}

using PredicateTypes =
    TypeList<float, double, Half, BFloat16, SmallFloat<DType::f8e4m3fn>, SmallFloat<DType::f8e4m3fnuz>,
             SmallFloat<DType::f8e5m2>, SmallFloat<DType::f8e5m2fnuz>>;

template <class F>
void map_predicate(EvalContext& c, F f) {
  const Tensor& x = c.in(0);
  Tensor y = c.make(DType::boolean, x.dims());
  bool* out = y.mutable_data<bool>();
  visit_type(x.dtype(), PredicateTypes{}, [&]<class T>() {
    const T* in = x.data<T>();
    for (int64_t i = 0; i < x.size(); ++i) out[i] = f(widen(in[i]));
  });
  c.out(0, y);
}

void eval_is_nan(EvalContext& c) {
  map_predicate(c, [](double x) { return std::isnan(x); });
}

void eval_is_inf(EvalContext& c) {
  const bool negative = c.attrs().integer("detect_negative", 1) != 0;
  const bool positive = c.attrs().integer("detect_positive", 1) != 0;
  map_predicate(c, [=](double x) { return std::isinf(x) && (x > 0 ? positive : negative); });
}

void infer_predicate(InferContext& c) {
  c.out(0, with_dtype(c.in(0), DType::boolean));
}

void infer_bool(InferContext& c) {
  const DType t = c.in(0).dtype;
  if (t != DType::undefined && t != DType::boolean) {
    throw Error(Code::invalid, "takes a bool tensor, given " + std::string(name(t)));
  }
  c.out(0, c.in(0));
}

// ---- Clip
// --------------------------------------------------------------------------------------------------------

void check_bound(const EvalContext& c, size_t i) {
  if (!c.has(i)) return;
  require_same_dtype(c, 0, i);
  if (c.in(i).size() != 1) {
    throw Error(Code::invalid, std::string(i == 1 ? "min" : "max") + " has shape " +
                                   to_string(c.in(i).dims()) + "; a scalar is needed");
  }
}

void eval_clip(EvalContext& c) {
  const Tensor& x = c.in(0);
  check_bound(c, 1);
  check_bound(c, 2);
  Tensor y = c.make(x.dtype(), x.dims());
  visit_type(x.dtype(), NumericTypes{}, [&]<class T>() {
    using W = Wide<T>;
    const bool low = c.has(1), high = c.has(2);
    const W lo = low ? widen(*c.in(1).data<T>()) : W{}, hi = high ? widen(*c.in(2).data<T>()) : W{};
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < x.size(); ++i) {
      W v = widen(in[i]);
      if (low && v < lo) v = lo;
      if (high && v > hi) v = hi;  // after the lower bound: where they cross, max wins
      out[i] = narrow<T>(v);
    }
  });
  c.out(0, y);
}

// ---- Dropout
// -----------------------------------------------------------------------------------------------------

void infer_dropout(InferContext& c) {
  c.out(0, c.in(0));
  c.out(1, with_dtype(c.in(0), DType::boolean));
}

double dropout_ratio(const EvalContext& c) {
  if (!c.has(1)) return 0.5;
  const Tensor& t = c.in(1);
  if (t.size() != 1)
    throw Error(Code::invalid, "ratio has shape " + to_string(t.dims()) + "; a scalar is needed");
  double ratio = 0;
  visit_type(t.dtype(), PredicateTypes{}, [&]<class T>() { ratio = widen(*t.data<T>()); });
  if (!(ratio >= 0 && ratio < 1)) {
    throw Error(Code::invalid, "ratio is " + std::to_string(ratio) + "; [0, 1) is needed");
  }
  return ratio;
}

void eval_dropout(EvalContext& c) {
  const double ratio = dropout_ratio(c);
  bool training = false;
  if (c.has(2)) {
    const Tensor& t = c.in(2);
    if (t.dtype() != DType::boolean || t.size() != 1) {
      throw Error(Code::invalid, "training_mode is " + std::string(name(t.dtype())) + to_string(t.dims()) +
                                     "; a bool scalar is needed");
    }
    training = *t.data<bool>();
  }
  // The dropped elements depend on a random generator that the standard does not define.
  if (training && ratio != 0) throw Error(Code::unsupported, "Dropout in training mode with a ratio above 0");
  const Tensor x = c.in(0);
  if (c.wants(1)) {
    Tensor mask = c.make(DType::boolean, x.dims());
    for (bool& m : mask.mutable_span<bool>()) m = true;
    c.out(1, mask);
  }
  c.out(0, x);
}

constexpr OpDef row(std::string_view name, EvalFn eval, InferFn infer = infer_same_as_first) {
  return {
      .name = name, .min_inputs = 1, .max_inputs = 1, .infer = infer, .eval = eval, .flags = kOpElementwise};
}

constexpr OpDef kOps[] = {
    row("Abs", eval_abs),
    row("Neg", eval_neg),
    row("Sign", eval_sign),
    row("Relu", eval_relu),
    row("Shrink", eval_shrink),
    row("Not", eval_not, infer_bool),
    row("BitwiseNot", eval_bitwise_not),
    row("IsNaN", eval_is_nan, infer_predicate),
    row("IsInf", eval_is_inf, infer_predicate),
    {.name = "Clip",
     .min_inputs = 1,
     .max_inputs = 3,
     .infer = infer_same_as_first,
     .eval = eval_clip,
     .work = work_per_element<2>,
     .flags = kOpElementwise},
    {.name = "Dropout",
     .min_inputs = 1,
     .max_inputs = 3,
     .max_outputs = 2,
     .infer = infer_dropout,
     .eval = eval_dropout},
};

}  // namespace

std::span<const OpDef> unary_ops() {
  return kOps;
}

}  // namespace skyline::ops
