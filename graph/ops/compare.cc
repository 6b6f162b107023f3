// Comparisons, boolean logic and Where.
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

using EqualTypes = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int8_t, uint8_t, int16_t,
                            uint16_t, uint32_t, uint64_t, bool, std::string>;

template <class T>
decltype(auto) comparable(const T& x) {
  if constexpr (std::is_same_v<T, std::string>) {
    return (x);
  } else {
    return widen(x);
  }
}

template <class List, class F>
void compare(EvalContext& c, List list, F f) {
  require_same_dtype(c, 0, 1);
  const Tensor &a = c.in(0), &b = c.in(1);
  Tensor z = c.make(DType::boolean, broadcast_dims(a.dims(), b.dims()));
  visit_type(a.dtype(), list, [&]<class T>() {
    map_broadcast<bool, T, T>(a, b, z,
                              [&](const T& x, const T& y) { return f(comparable(x), comparable(y)); });
  });
  c.out(0, z);
}

void eval_equal(EvalContext& c) {
  compare(c, EqualTypes{}, [](const auto& a, const auto& b) { return a == b; });
}
void eval_greater(EvalContext& c) {
  compare(c, NumericTypes{}, [](auto a, auto b) { return a > b; });
}
void eval_less(EvalContext& c) {
  compare(c, NumericTypes{}, [](auto a, auto b) { return a < b; });
}
void eval_greater_or_equal(EvalContext& c) {
  compare(c, NumericTypes{}, [](auto a, auto b) { return a >= b; });
}
void eval_less_or_equal(EvalContext& c) {
  compare(c, NumericTypes{}, [](auto a, auto b) { return a <= b; });
}

using Boolean = TypeList<bool>;

void eval_and(EvalContext& c) {
  compare(c, Boolean{}, [](bool a, bool b) { return a && b; });
}
void eval_or(EvalContext& c) {
  compare(c, Boolean{}, [](bool a, bool b) { return a || b; });
}
void eval_xor(EvalContext& c) {
  compare(c, Boolean{}, [](bool a, bool b) { return a != b; });
}

// ---- Where: any dtype
// ------------------------------------------------------------------------------------------------

void check_condition(DType t) {
  if (t != DType::boolean && t != DType::undefined) {
    throw Error(Code::invalid, "the condition is " + std::string(name(t)) + "; bool is needed");
  }
}

void infer_where(InferContext& c) {
  const Fact &condition = c.in(0), &x = c.in(1), &y = c.in(2);
  check_condition(condition.dtype);
  if (x.dtype != y.dtype && x.dtype != DType::undefined && y.dtype != DType::undefined) {
    throw Error(Code::invalid, "the alternatives have dtypes " + std::string(name(x.dtype)) + " and " +
                                   std::string(name(y.dtype)) + "; one is needed");
  }
  const DType t = x.dtype != DType::undefined ? x.dtype : y.dtype;
  if (!condition.ranked || !x.ranked || !y.ranked) return c.out(0, Fact::unranked(t));
  c.out(0, Fact(t, broadcast_dims(broadcast_dims(condition.dims, x.dims), y.dims)));
}

void eval_where(EvalContext& c) {
  const Tensor &condition = c.in(0), &x = c.in(1), &y = c.in(2);
  check_condition(condition.dtype());
  require_same_dtype(c, 1, 2);
  Tensor z = c.make(x.dtype(), broadcast_dims(broadcast_dims(condition.dims(), x.dims()), y.dims()));
  const bool* pick = condition.data<bool>();
  visit_size(x.dtype(), [&]<class T>() {
    const T *px = static_cast<const T*>(x.raw()), *py = static_cast<const T*>(y.raw());
    T* pz = static_cast<T*>(z.mutable_raw());
    const Dims from[3] = {condition.dims(), x.dims(), y.dims()};
    for_rows(z.dims(), from, [&](const BroadcastRow<3>& r) {
      for (int64_t i = 0; i < r.n; ++i) {
        pz[r.out + i] =
            pick[r.at[0] + i * r.step[0]] ? px[r.at[1] + i * r.step[1]] : py[r.at[2] + i * r.step[2]];
      }
    });
  });
  c.out(0, z);
}

constexpr OpDef row(std::string_view name, EvalFn eval, uint32_t flags = 0) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .infer = infer_compare,
          .eval = eval,
          .flags = kOpElementwise | flags};
}

constexpr OpDef kOps[] = {
    row("Equal", eval_equal, kOpCommutative),
    row("Greater", eval_greater),
    row("Less", eval_less),
    row("GreaterOrEqual", eval_greater_or_equal),
    row("LessOrEqual", eval_less_or_equal),
    row("And", eval_and, kOpCommutative),
    row("Or", eval_or, kOpCommutative),
    row("Xor", eval_xor, kOpCommutative),
    {.name = "Where",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_where,
     .eval = eval_where,
     .flags = kOpElementwise},
};

}  // namespace

std::span<const OpDef> compare_ops() {
  return kOps;
}

}  // namespace skyline::ops
