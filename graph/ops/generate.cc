// Operators that make tensors from little: constants, ranges, diagonals.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- ConstantOfShape
// ---------------------------------------------------------------------------------------------

const Tensor* shape_value(const Attrs& attrs) {
  if (!attrs.has("value")) return nullptr;
  const Tensor& value = attrs.tensor("value");
  if (value.size() != 1) fail("value has shape " + to_string(value.dims()) + ", expected one element");
  return &value;
}

void infer_constant_of_shape(InferContext& c) {
  const Tensor* value = shape_value(c.attrs());
  const DType t = value ? value->dtype() : DType::f32;
  if (const auto shape = c.constant_ints(0)) return c.out(0, Fact(t, fixed_dims(*shape, "shape")));
  const int64_t n = list_length(c, 0);
  c.out(0, n >= 0 ? Fact(t, unknown_dims(n)) : Fact::unranked(t));
}

void eval_constant_of_shape(EvalContext& c) {
  const Tensor* value = shape_value(c.attrs());
  require_rank(c.in(0), 1, "shape");
  Tensor y = c.make(value ? value->dtype() : DType::f32, c.ints(0));
  fill(y, value);
  c.out(0, std::move(y));
}

// ---- Constant
// ----------------------------------------------------------------------------------------------------

template <class T>
Tensor list_tensor(const std::vector<T>& v) {
  return Tensor::of<T>({static_cast<int64_t>(v.size())}, v);
}

// The single value_* attribute as a tensor.
Tensor constant_value(const Attrs& attrs) {
  if (attrs.has("value")) return attrs.tensor("value");
  if (attrs.has("value_float")) return Tensor::scalar<float>(attrs.real("value_float"));
  if (attrs.has("value_int")) return Tensor::scalar<int64_t>(attrs.integer("value_int"));
  if (attrs.has("value_string")) return Tensor::scalar<std::string>(attrs.text("value_string"));
  if (attrs.has("value_floats")) return list_tensor(attrs.reals("value_floats", {}));
  if (attrs.has("value_ints")) return list_tensor(attrs.integers("value_ints"));
  if (attrs.has("value_strings")) return list_tensor(attrs.texts("value_strings", {}));
  if (attrs.has("sparse_value")) throw Error(Code::unsupported, "sparse_value");
  fail("has no value attribute");
}

void infer_constant(InferContext& c) {
  c.out(0, Fact::of(constant_value(c.attrs())));
}
void eval_constant(EvalContext& c) {
  c.out(0, constant_value(c.attrs()));
}

// ---- Range
// -------------------------------------------------------------------------------------------------------

using RangeTypes = TypeList<float, double, Half, BFloat16, int16_t, int32_t, int64_t>;

// ceil((limit - start) / delta), at least 0. Error{limit} when no tensor could hold that.
int64_t range_count(const Tensor& start, const Tensor& limit, const Tensor& delta) {
  for (const Tensor* t : {&start, &limit, &delta}) {
    require_dtype(*t, start.dtype(), "start, limit and delta");
    if (t->size() != 1) fail("start, limit and delta must be scalars, one has shape " + to_string(t->dims()));
  }
  constexpr double kMost = 1e18;
  if (is_float(start.dtype())) {
    const double a = to_doubles(start)[0], b = to_doubles(limit)[0], d = to_doubles(delta)[0];
    if (d == 0 || std::isnan(d)) fail("delta is " + std::to_string(d));
    const double n = std::ceil((b - a) / d);
    if (!(n < kMost)) throw Error(Code::limit, "range of " + std::to_string(n) + " elements");
    return n > 0 ? static_cast<int64_t>(n) : 0;
  }
  using Big = __int128;
  const Big a = one_int(start, "start"), b = one_int(limit, "limit"), d = one_int(delta, "delta");
  require(d != 0, "delta is 0");
  const Big span = d > 0 ? b - a : a - b, step = d > 0 ? d : -d;
  const Big n = span <= 0 ? 0 : (span + step - 1) / step;
  if (n > static_cast<Big>(kMost)) throw Error(Code::limit, "range of more than 1e18 elements");
  return static_cast<int64_t>(n);
}

void infer_range(InferContext& c) {
  const Tensor *a = c.constant(0), *b = c.constant(1), *d = c.constant(2);
  c.out(0, Fact(c.in(0).dtype, {a && b && d ? Dim(range_count(*a, *b, *d)) : Dim::unknown()}));
}

void eval_range(EvalContext& c) {
  const int64_t n = range_count(c.in(0), c.in(1), c.in(2));
  Tensor y = c.make(c.in(0).dtype(), {n});
  visit_type(y.dtype(), RangeTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    const auto start = widen(c.in(0).data<T>()[0]), delta = widen(c.in(2).data<T>()[0]);
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_integral_v<T>) {
        // The count keeps every value in range of T; the unsigned product only wraps on its way there.
        out[i] = static_cast<T>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(i) * static_cast<uint64_t>(delta));
      } else {
        out[i] = narrow<T>(start + static_cast<double>(i) * delta);
      }
    }
  });
  c.out(0, std::move(y));
}

// ---- EyeLike
// -----------------------------------------------------------------------------------------------------

DType eye_dtype(const Attrs& attrs, DType input) {
  return attrs.has("dtype") ? static_cast<DType>(attrs.integer("dtype")) : input;
}

void infer_eye_like(InferContext& c) {
  c.out(0, with_dtype(c.in(0), eye_dtype(c.attrs(), c.in(0).dtype)));
}

void eval_eye_like(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_rank(x, 2, "input");
  const int64_t rows = x.dim(0), cols = x.dim(1);
  const int64_t k = std::clamp(c.attrs().integer("k", 0), -rows - 1, cols + 1);
  Tensor y = c.make(eye_dtype(c.attrs(), x.dtype()), x.dims());
  fill(y);
  const auto diagonal = [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t r = 0; r < rows; ++r) {
      if (r + k >= 0 && r + k < cols) out[r * cols + r + k] = narrow<T>(1);
    }
  };
  if (y.dtype() == DType::boolean) {
    diagonal.operator()<bool>();
  } else {
    visit_type(y.dtype(), NumericTypes{}, diagonal);
  }
  c.out(0, std::move(y));
}

// ---- OneHot
// ------------------------------------------------------------------------------------------------------

int64_t one_hot_depth(const Tensor& t) {
  const double depth = one_real(t, "depth");
  if (!(depth >= 1 && depth < 1e15)) fail("depth is " + std::to_string(depth));
  return static_cast<int64_t>(depth);
}

void infer_one_hot(InferContext& c) {
  const Fact& x = c.in(0);
  const DType t = c.in(2).dtype;
  if (!x.ranked) return c.out(0, Fact::unranked(t));
  const Tensor* depth = c.constant(1);
  SymDims dims = x.dims;
  const Dim d = depth ? Dim(one_hot_depth(*depth)) : Dim::unknown();
  dims.insert(dims.begin() + normalize_axis(c.attrs().integer("axis", -1), x.rank() + 1), d);
  c.out(0, Fact(t, std::move(dims)));
}

void eval_one_hot(EvalContext& c) {
  const Tensor &x = c.in(0), &values = c.in(2);
  const int64_t depth = one_hot_depth(c.in(1));
  if (values.size() != 2) fail("values has shape " + to_string(values.dims()) + ", expected [2]");
  const int axis = normalize_axis(c.attrs().integer("axis", -1), x.rank() + 1);
  Dims dims = x.dims();
  dims.insert(dims.begin() + axis, depth);
  Tensor y = c.make(values.dtype(), dims);
  int64_t inner = 1;
  for (int i = axis; i < x.rank(); ++i) inner *= x.dim(i);
  const std::vector<double> index = to_doubles(x);
  visit_size(y.dtype(), [&]<class T>() {
    const T* value = static_cast<const T*>(values.raw());
    T* out = static_cast<T*>(y.mutable_raw());
    std::fill(out, out + y.size(), value[0]);
    for (int64_t i = 0; i < x.size(); ++i) {
      // An index outside [-depth, depth) is legal: all of its values are "off".
      double d = std::trunc(index[static_cast<size_t>(i)]);
      if (d < 0) d += static_cast<double>(depth);
      if (d >= 0 && d < static_cast<double>(depth))
        out[(i / inner * depth + static_cast<int64_t>(d)) * inner + i % inner] = value[1];
    }
  });
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "ConstantOfShape",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_constant_of_shape,
     .eval = eval_constant_of_shape,
     .work = no_flops},
    {.name = "Constant",
     .min_inputs = 0,
     .max_inputs = 0,
     .infer = infer_constant,
     .eval = eval_constant,
     .work = no_flops},
    {.name = "Range", .min_inputs = 3, .max_inputs = 3, .infer = infer_range, .eval = eval_range},
    {.name = "EyeLike",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_eye_like,
     .eval = eval_eye_like,
     .work = no_flops},
    {.name = "OneHot",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_one_hot,
     .eval = eval_one_hot,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> generate_ops() {
  return kOps;
}

}  // namespace skyline::ops
