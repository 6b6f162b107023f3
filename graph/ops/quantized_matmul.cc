// Products of 8-bit matrices: MatMulInteger, QLinearMatMul, and QGemm, MatMulIntegerToFloat,
// DynamicQuantizeMatMul of com.microsoft. Zero points go first, so what is multiplied is a plain integer
// product.
#include "graph/ops/cast.h"
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"
#include "graph/ops/product.h"
#include "graph/ops/quantize.h"

namespace skyline::ops {
namespace {

Fact infer_product(DType t, const Fact& a, const Fact& b) {
  if (!a.ranked || !b.ranked) return Fact::unranked(t);
  SymDims x = a.dims, y = b.dims;
  if (x.empty() || y.empty()) throw Error(Code::invalid, "a factor is a scalar");
  const bool vector_a = x.size() == 1, vector_b = y.size() == 1;
  if (vector_a) x.insert(x.begin(), 1);
  if (vector_b) y.push_back(1);
  const Dim ka = x.back(), kb = y[y.size() - 2];
  if (ka.known() && kb.known() && ka != kb) {
    throw Error(Code::invalid, "factors have " + std::to_string(ka.value()) + " columns and " +
                                   std::to_string(kb.value()) + " rows");
  }
  SymDims out = broadcast_dims(SymDims(x.begin(), x.end() - 2), SymDims(y.begin(), y.end() - 2));
  if (!vector_a) out.push_back(x[x.size() - 2]);
  if (!vector_b) out.push_back(y.back());
  return Fact(t, out);
}

// The parameters of rows of A (or columns of B): one for all, one per row, or one per row of every matrix.
class PerLine {
 public:
  PerLine(const Tensor& t, int64_t lines, int64_t matrices, std::string_view what) : t_(t) {
    per_line_ = t.size() != 1;
    per_matrix_ = per_line_ && t.size() != lines;
    lines_ = lines;
    if (per_matrix_ && t.size() != lines * matrices) {
      throw Error(Code::invalid, std::string(what) + " has shape " + to_string(t.dims()) + "; a scalar or " +
                                     std::to_string(lines) + " elements are needed");
    }
  }
  template <class T>
  T at(int64_t matrix, int64_t line) const {
    return t_.data<T>()[per_line_ ? (per_matrix_ ? matrix * lines_ : 0) + line : 0];
  }

 private:
  Tensor t_;
  bool per_line_ = false, per_matrix_ = false;
  int64_t lines_ = 1;
};

// A byte tensor of shape [..., rows, columns] as i32, less its zero points.
Tensor centered(const EvalContext& c, const Tensor& x, int64_t rows, int64_t columns, size_t zero_input,
                bool per_row) {
  require_byte(x.dtype(), "a factor");
  Tensor out = c.make(DType::i32, x.dims());
  const int64_t matrices = rows * columns == 0 ? 0 : x.size() / (rows * columns);
  const Tensor zeros = zero_points(c, zero_input, x.dtype());
  const PerLine zero(zeros, per_row ? rows : columns, matrices, "a zero point");
  visit_type(x.dtype(), TypeList<int8_t, uint8_t>{}, [&]<class T>() {
    const T* in = x.data<T>();
    int32_t* to = out.mutable_data<int32_t>();
    for (int64_t b = 0; b < matrices; ++b) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) *to++ = *in++ - zero.at<int32_t>(b, per_row ? i : j);
      }
    }
  });
  return out;
}

// One row of a product. Sums of more than this many products of 9-bit differences may leave 32 bits.
constexpr int64_t kMaxDepth32 = std::numeric_limits<int32_t>::max() / (255 * 255);

template <class Acc>
void multiply_row(const int32_t* a, const int32_t* b, int64_t k, int64_t n, Acc* sum) {
  std::fill(sum, sum + n, Acc{0});
  for (int64_t l = 0; l < k; ++l) {
    const Acc x = a[l];
    const int32_t* row = b + l * n;
    for (int64_t j = 0; j < n; ++j) sum[j] += x * row[j];
  }
}

// Calls row(matrix of A, matrix of B, row, first output element, sums) with the n exact sums of each output
// row.
template <class F>
void for_product_rows(const EvalContext& c, const Product& s, const Tensor& a, const Tensor& b, F row) {
  const bool narrow = s.k <= kMaxDepth32;
  Tensor sums = c.make(narrow ? DType::i32 : DType::i64, {s.n});
  int64_t at = 0;
  for (NdIndex<2> it(s.batch, {s.a_strides, s.b_strides}); !it.done(); it.next()) {
    const int32_t* pb = b.data<int32_t>() + it[1] * s.k * s.n;
    for (int64_t i = 0; i < s.m; ++i, at += s.n) {
      const int32_t* pa = a.data<int32_t>() + (it[0] * s.m + i) * s.k;
      if (narrow) {
        int32_t* sum = sums.mutable_data<int32_t>();
        multiply_row(pa, pb, s.k, s.n, sum);
        row(it[0], it[1], i, at, sum);
      } else {
        int64_t* sum = sums.mutable_data<int64_t>();
        multiply_row(pa, pb, s.k, s.n, sum);
        row(it[0], it[1], i, at, sum);
      }
      if (c.limits.check) c.limits.check();
    }
  }
}

int64_t matrices_of(const Tensor& t) {
  int64_t n = 1;
  for (int i = 0; i + 2 < t.rank(); ++i) n *= t.dim(i);
  return n;
}

// A scale as f32, checked.
PerLine scale_lines(const EvalContext& c, size_t i, int64_t lines, int64_t matrices, std::string_view what) {
  check_scales(c.in(i), what, true);
  return PerLine(cast_tensor(c, c.in(i), DType::f32), lines, matrices, what);
}

// ---- MatMulInteger
// ---------------------------------------------------------------------------------------------------

void infer_matmul_integer(InferContext& c) {
  require_byte(c.in(0).dtype, "A");
  require_byte(c.in(1).dtype, "B");
  c.out(0, infer_product(DType::i32, c.in(0), c.in(1)));
}

void eval_matmul_integer(EvalContext& c) {
  const Product s = make_product(c.in(0).dims(), c.in(1).dims());
  Tensor y = c.make(DType::i32, s.out);
  const Tensor a = centered(c, c.in(0), s.m, s.k, 2, true), b = centered(c, c.in(1), s.k, s.n, 3, false);
  int32_t* out = y.mutable_data<int32_t>();
  for_product_rows(c, s, a, b, [&](int64_t, int64_t, int64_t, int64_t at, const auto* sum) {
    for (int64_t j = 0; j < s.n; ++j) out[at + j] = static_cast<int32_t>(sum[j]);
  });
  c.out(0, y);
}

// ---- QLinearMatMul
// ---------------------------------------------------------------------------------------------------

// (a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point)
void infer_qlinear_matmul(InferContext& c) {
  c.out(0, infer_product(c.in(7).dtype, c.in(0), c.in(3)));
}

void eval_qlinear_matmul(EvalContext& c) {
  const DType t = c.in(7).dtype();
  for (size_t i : {size_t{0}, size_t{3}, size_t{7}}) {
    if (is_small_float(c.in(i).dtype())) unsupported_type(c.in(i).dtype());
  }
  require_byte(t, "the result's zero point");
  const Product s = make_product(c.in(0).dims(), c.in(3).dims());
  Tensor y = c.make(t, s.out);
  const Tensor a = centered(c, c.in(0), s.m, s.k, 2, true), b = centered(c, c.in(3), s.k, s.n, 5, false);
  const PerLine a_scale = scale_lines(c, 1, s.m, matrices_of(a), "a_scale");
  const PerLine b_scale = scale_lines(c, 4, s.n, matrices_of(b), "b_scale");
  const float y_scale = single_scale(c.in(6), "y_scale", false);
  const auto zero = static_cast<float>(single_zero_point(c, 7, t));
  const auto range = range_of(t);
  const auto low = static_cast<float>(range.low), high = static_cast<float>(range.high);
  uint8_t* out = static_cast<uint8_t*>(y.mutable_raw());
  for_product_rows(c, s, a, b, [&](int64_t ma, int64_t mb, int64_t i, int64_t at, const auto* sum) {
    for (int64_t j = 0; j < s.n; ++j) {
      const float scale = a_scale.at<float>(ma, i) * b_scale.at<float>(mb, j) / y_scale;
      const float v = static_cast<float>(sum[j]) * scale;
      out[at + j] = static_cast<uint8_t>(quantize(v, zero, low, high));
    }
  });
  c.out(0, y);
}

// ---- com.microsoft: MatMulIntegerToFloat, DynamicQuantizeMatMul
// --------------------------------------------------------

// y = sums * (a_scale * b_scale) + bias, as f32, then in the dtype asked for.
Tensor scaled_product(EvalContext& c, const Product& s, const Tensor& a, const Tensor& b,
                      const PerLine& a_scale, const PerLine& b_scale, size_t bias_input) {
  Tensor y = c.make(DType::f32, s.out);
  Tensor bias;
  if (c.has(bias_input)) {
    bias = cast_tensor(c, c.in(bias_input), DType::f32);
    if (bias.dims() != Dims{s.n}) {
      throw Error(Code::invalid,
                  "bias has shape " + to_string(bias.dims()) + "; [" + std::to_string(s.n) + "] is needed");
    }
  }
  const float* add = bias.defined() ? bias.data<float>() : nullptr;
  float* out = y.mutable_data<float>();
  for_product_rows(c, s, a, b, [&](int64_t ma, int64_t mb, int64_t i, int64_t at, const auto* sum) {
    for (int64_t j = 0; j < s.n; ++j) {
      const float v = static_cast<float>(sum[j]) * (a_scale.at<float>(ma, i) * b_scale.at<float>(mb, j));
      out[at + j] = add ? v + add[j] : v;
    }
  });
  return y;
}

// (A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)
void infer_matmul_to_float(InferContext& c) {
  require_byte(c.in(0).dtype, "A");
  require_byte(c.in(1).dtype, "B");
  c.out(0, infer_product(c.in(2).dtype, c.in(0), c.in(1)));
}

void eval_matmul_to_float(EvalContext& c) {
  const Product s = make_product(c.in(0).dims(), c.in(1).dims());
  const Tensor a = centered(c, c.in(0), s.m, s.k, 4, true), b = centered(c, c.in(1), s.k, s.n, 5, false);
  const PerLine a_scale = scale_lines(c, 2, s.m, matrices_of(a), "a_scale");
  const PerLine b_scale = scale_lines(c, 3, s.n, matrices_of(b), "b_scale");
  c.out(0, cast_tensor(c, scaled_product(c, s, a, b, a_scale, b_scale, 6), c.in(2).dtype()));
}

// (A, B, b_scale, b_zero_point, bias)
void infer_dynamic_matmul(InferContext& c) {
  require_byte(c.in(1).dtype, "B");
  c.out(0, infer_product(DType::f32, c.in(0), c.in(1)));
}

void eval_dynamic_matmul(EvalContext& c) {
  const Tensor& x = c.in(0);
  if (x.dtype() != DType::f32) unsupported_type(x.dtype());
  const Product s = make_product(x.dims(), c.in(1).dims());
  const DynamicScale d = dynamic_scale(x.span<float>());
  Tensor a = c.make(DType::i32, x.dims());
  int32_t* to = a.mutable_data<int32_t>();
  const float* from = x.data<float>();
  for (int64_t i = 0; i < x.size(); ++i) {
    to[i] = quantize(from[i] / d.scale, d.zero_point, 0.0f, 255.0f) - d.zero_point;
  }
  const Tensor b = centered(c, c.in(1), s.k, s.n, 3, false);
  const PerLine a_scale(Tensor::scalar<float>(d.scale), s.m, 1, "a_scale");
  const PerLine b_scale = scale_lines(c, 2, s.n, matrices_of(b), "b_scale");
  c.out(0, scaled_product(c, s, a, b, a_scale, b_scale, 4));
}

// ---- com.microsoft QGemm
// -----------------------------------------------------------------------------------------------

// (A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point)
void infer_qgemm(InferContext& c) {
  const Fact &a = c.in(0), &b = c.in(3);
  require_byte(a.dtype, "A");
  require_byte(b.dtype, "B");
  const DType t = c.has(8) ? c.in(8).dtype : c.has(7) ? a.dtype : DType::f32;
  if (!a.ranked || !b.ranked) return c.out(0, Fact::unranked(t));
  if (a.rank() != 2 || b.rank() != 2) throw Error(Code::invalid, "the factors are not matrices");
  const bool ta = c.attrs().integer("transA", 0) != 0, tb = c.attrs().integer("transB", 0) != 0;
  c.out(0, Fact(t, {a.dims[ta ? 1 : 0], b.dims[tb ? 0 : 1]}));
}

Tensor transposed(const EvalContext& c, const Tensor& x) {
  Tensor y = c.make(x.dtype(), {x.dim(1), x.dim(0)});
  const uint8_t* in = static_cast<const uint8_t*>(x.raw());
  uint8_t* out = static_cast<uint8_t*>(y.mutable_raw());
  for (int64_t i = 0; i < x.dim(0); ++i) {
    for (int64_t j = 0; j < x.dim(1); ++j) out[j * x.dim(0) + i] = in[i * x.dim(1) + j];
  }
  return y;
}

Tensor gemm_factor(const EvalContext& c, size_t i, bool transpose) {
  const Tensor& x = c.in(i);
  require_byte(x.dtype(), i == 0 ? "A" : "B");
  if (x.rank() != 2)
    throw Error(Code::invalid, "factor of shape " + to_string(x.dims()) + " is not a matrix");
  return transpose ? transposed(c, x) : x;
}

void eval_qgemm(EvalContext& c) {
  const Tensor qa = gemm_factor(c, 0, c.attrs().integer("transA", 0) != 0);
  const Tensor qb = gemm_factor(c, 3, c.attrs().integer("transB", 0) != 0);
  const Product s = make_product(qa.dims(), qb.dims());
  const Tensor a = centered(c, qa, s.m, s.k, 2, true), b = centered(c, qb, s.k, s.n, 5, false);
  const float a_scale = single_scale(c.in(1), "a_scale"), alpha = c.attrs().real("alpha", 1.0f);
  const PerLine b_scale = scale_lines(c, 4, s.n, 1, "b_scale");
  Tensor bias = c.has(6) ? cast_tensor(c, c.in(6), DType::i32) : Tensor::scalar<int32_t>(0);
  if (broadcast_dims(s.out, bias.dims()) != s.out) {
    throw Error(Code::invalid,
                "C of " + to_string(bias.dims()) + " does not broadcast to " + to_string(s.out));
  }
  const Dims bias_strides = broadcast_strides(bias.dims(), s.out);
  const bool real = !c.has(7);
  const DType t = real ? DType::f32 : c.has(8) ? c.in(8).dtype() : qa.dtype();
  if (!real) require_byte(t, "the result's zero point");
  const float y_scale = real ? 1.0f : single_scale(c.in(7), "y_scale", false);
  const auto zero = static_cast<float>(real ? 0 : single_zero_point(c, 8, t));
  const Range range = real ? Range{} : range_of(t);
  Tensor y = c.make(t, s.out);
  for_product_rows(c, s, a, b, [&](int64_t, int64_t, int64_t i, int64_t at, const auto* sum) {
    for (int64_t j = 0; j < s.n; ++j) {
      const int64_t total = int64_t{sum[j]} + bias.data<int32_t>()[i * bias_strides[0] + j * bias_strides[1]];
      float scale = alpha * a_scale * b_scale.at<float>(0, j);
      if (!real) scale /= y_scale;
      const float v = static_cast<float>(total) * scale;
      if (real) {
        y.mutable_data<float>()[at + j] = v;
      } else {
        static_cast<uint8_t*>(y.mutable_raw())[at + j] = static_cast<uint8_t>(
            quantize(v, zero, static_cast<float>(range.low), static_cast<float>(range.high)));
      }
    }
  });
  c.out(0, y);
}

template <int kFactor>
Work work_product(const Node&, std::span<const Fact> in, std::span<const Fact> out) {
  const Fact& a = in[kFactor];
  const int64_t k = a.dims.empty() ? 1 : a.dims.back().value();
  return {.flops = 2 * k * out[0].elements()};
}

Work work_qgemm(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const bool transposed_a = node.attrs.integer("transA", 0) != 0;
  return {.flops = 2 * in[0].dims[transposed_a ? 0 : 1].value() * out[0].elements()};
}

constexpr OpDef kOps[] = {
    quantized_row("", "MatMulInteger", 2, 4, infer_matmul_integer, eval_matmul_integer, work_product<0>),
    quantized_row("", "QLinearMatMul", 8, 8, infer_qlinear_matmul, eval_qlinear_matmul, work_product<0>),
    quantized_row("com.microsoft", "MatMulIntegerToFloat", 4, 7, infer_matmul_to_float, eval_matmul_to_float,
                  work_product<0>),
    quantized_row("com.microsoft", "DynamicQuantizeMatMul", 3, 5, infer_dynamic_matmul, eval_dynamic_matmul,
                  work_product<0>),
    quantized_row("com.microsoft", "QGemm", 6, 9, infer_qgemm, eval_qgemm, work_qgemm),
};

}  // namespace

std::span<const OpDef> quantized_matmul_ops() {
  return kOps;
}

}  // namespace skyline::ops
