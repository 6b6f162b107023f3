// Products and convolutions of 8-bit integers, exact in 32 bits: MatMulInteger, ConvInteger, QLinearMatMul,
// QLinearConv, and MatMulIntegerToFloat, DynamicQuantizeMatMul, QGemm of com.microsoft.
#include <algorithm>

#include "engine/lower/conv_shape.h"
#include "engine/lower/families.h"
#include "engine/lower/quantized.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/layout/layout.h"
#include "kernels/quantize/quantize.h"

namespace skyline::lower {
namespace {

using namespace kernels;

// ---- zero points of weights

// Constant zero points of the weights, of their type: one, or one per output. Nothing if they do not fit.
struct WeightZeros {
  std::shared_ptr<const Tensor> tensor;  // null: zeros
  bool per_output = false;
  const void* data() const { return tensor ? tensor->raw() : nullptr; }
  // All 0 (i8) or 128 (u8), so that the weights are i8 without a zero point.
  bool centered(DType of) const {
    const int32_t center = of == DType::u8 ? 128 : 0;
    if (!tensor) return center == 0;
    for (int64_t i = 0; i < tensor->size(); ++i) {
      if (integer_at(tensor->raw(), of, i) != center) return false;
    }
    return true;
  }
  std::string form() const {
    std::string s = ":z";
    for (int64_t i = 0; tensor && i < tensor->size(); ++i)
      s += std::to_string(integer_at(tensor->raw(), tensor->dtype(), i)) + ",";
    return s;
  }
};
std::optional<WeightZeros> weight_zeros(const Lowering& l, size_t i, DType of, int64_t outputs) {
  if (!l.has(i)) return WeightZeros{};
  const Tensor* t = l.constant(i);
  if (!t || t->dtype() != of || t->rank() > 1 || (t->size() != 1 && t->size() != outputs))
    return std::nullopt;
  return WeightZeros{std::make_shared<const Tensor>(*t), t->size() != 1};
}

// ---- matrix products

// Which input is what; an operator without one has SIZE_MAX.
struct MatInputs {
  size_t a = 0, b = 1, a_zero = 2, b_zero = 3;
};

// A [m, k] x B [k, n], or A with leading dims, or the same number of both. Runs with the epilogue that the
// operator fills in.
struct IntegerProduct {
  GemmPlan plan;
  GemmArgs args;
  MatInputs in;
  std::shared_ptr<const std::byte> packed;
  WeightZeros zeros;
  size_t workspace = 0;

  void run(const StepArgs& s, const void* a, int32_t a_zero, const Epilogue& epilogue) const noexcept {
    GemmArgs g = args;
    g.a = a;
    g.a_zero = a_zero;
    g.b = packed ? static_cast<const void*>(packed.get()) : s.in[in.b];
    g.c = s.out[0];
    g.epilogue = epilogue;
    gemm_run(plan, g, s.workspace, s.threads);
  }
};

// a_type: of A as the product reads it (DynamicQuantizeMatMul quantizes it first).
std::optional<IntegerProduct> integer_product(Lowering& l, const MatInputs& in, DType a_type,
                                              bool trans_a = false, bool trans_b = false) {
  const Dims a = l.in_dims(in.a), b = l.in_dims(in.b);
  const DType b_type = l.in_type(in.b);
  if (!is_byte(a_type) || !is_byte(b_type) || a.size() < 2 || b.size() < 2) return std::nullopt;
  if ((trans_a || trans_b) && (a.size() != 2 || b.size() != 2)) return std::nullopt;
  IntegerProduct p;
  p.in = in;
  GemmProblem problem;
  problem.trans_a = trans_a;
  problem.trans_b = trans_b;
  problem.k = trans_a ? a[0] : a.back();
  problem.n = trans_b ? b[0] : b.back();
  if (element_count(l.out_dims()) == 0 || problem.k == 0) return std::nullopt;
  if (b.size() == 2) {
    problem.m = trans_a ? a[1] : element_count(a) / problem.k;
  } else {
    if (a.size() != b.size() || !std::equal(a.begin(), a.end() - 2, b.begin())) return std::nullopt;
    problem.m = a[a.size() - 2];
    problem.batch = element_count(a) / (problem.m * problem.k);
  }
  problem.const_b = l.constant(in.b) && problem.batch == 1;
  problem.a = a_type;
  problem.b = b_type;
  problem.c = l.out_type();
  const auto zeros = weight_zeros(l, in.b_zero, b_type, problem.n);
  if (!zeros) return std::nullopt;
  p.zeros = *zeros;
  problem.centered_b = p.zeros.centered(b_type);
  p.plan = gemm_plan(problem, l.isa);
  p.args.lda = a.back();
  p.args.ldb = b.back();
  p.args.ldc = problem.n;
  p.args.stride_a = problem.m * problem.k;
  p.args.stride_b = problem.k * problem.n;
  p.args.stride_c = problem.m * problem.n;
  const GemmWeights weights{nullptr, b.back(), p.zeros.data(), p.zeros.per_output};
  if (problem.const_b) {
    const std::string form = "gemm:" + std::string(kernel_of(p.plan).name) + ":" + std::to_string(problem.n) +
                             "x" + std::to_string(problem.k) + (trans_b ? "t" : "") +
                             std::string(name(a_type)) + p.zeros.form();
    p.packed = l.pack(in.b, form, p.plan.packed_b_bytes, [&](std::byte* to) {
      GemmWeights w = weights;
      w.b = l.constant(in.b)->raw();
      gemm_pack_b(p.plan, w, to);
    });
  } else {
    p.args.b_info = weights;
  }
  p.workspace = align_up(gemm_workspace_bytes(p.plan, l.threads));
  return p;
}

std::string kernel_name(const IntegerProduct& p) {
  return std::string(kernel_of(p.plan).name);
}

std::optional<Lowered> lower_matmul_integer(Lowering& l) {
  const auto p = integer_product(l, {}, l.in_type(0));
  const auto zero = zero_point(l, 2, l.in_type(0));
  if (!p || !zero) return std::nullopt;
  return Lowered{
      .code = step_code([p = *p, zero = *zero](const StepArgs& s) { p.run(s, s.in[0], zero.read(s), {}); }),
      .kernel = kernel_name(*p),
      .workspace = p->workspace};
}

// alpha * a_scale * b_scale / y_scale for each of n columns, rounded in that order.
std::vector<float> column_scales(float a, const std::vector<float>& b, float y, int64_t n) {
  std::vector<float> out;
  for (int64_t j = 0; j < n; ++j) out.push_back(a * b[b.size() == 1 ? 0 : static_cast<size_t>(j)] / y);
  return out;
}

// Quantized results: the sums plus bias, times a constant scale per column, plus a zero point.
Lowered quantized_result(const IntegerProduct& p, ZeroPoint a_zero, std::vector<float> scales, int32_t y_zero,
                         std::optional<size_t> bias) {
  return Lowered{.code = step_code([=, scales = std::move(scales)](const StepArgs& s) {
                   Epilogue e;
                   e.scale_n = scales.data();
                   e.zero_point = y_zero;
                   e.bias_i32 = bias ? s.input<int32_t>(*bias) : nullptr;
                   p.run(s, s.in[p.in.a], a_zero.read(s), e);
                 }),
                 .kernel = kernel_name(p),
                 .workspace = p.workspace};
}

// (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
std::optional<Lowered> lower_qlinear_matmul(Lowering& l) {
  const auto p = integer_product(l, {0, 3, 2, 5}, l.in_type(0));
  const auto a_zero = zero_point(l, 2, l.in_type(0));
  const auto y_zero = constant_zero(l, 7, l.out_type());
  if (!p || !a_zero || !y_zero || !is_byte(l.out_type())) return std::nullopt;
  const int64_t n = p->plan.problem.n;
  const auto a = constant_scale(l, 1), y = constant_scale(l, 6, false);
  const auto b = constant_scales(l, 4, n, true);
  if (!a || !b || !y) return std::nullopt;
  return quantized_result(*p, *a_zero, column_scales(*a, *b, *y, n), *y_zero, std::nullopt);
}

// (A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero)
std::optional<Lowered> lower_qgemm(Lowering& l) {
  const auto p = integer_product(l, {0, 3, 2, 5}, l.in_type(0), l.attrs().integer("transA", 0) != 0,
                                 l.attrs().integer("transB", 0) != 0);
  const auto a_zero = zero_point(l, 2, l.in_type(0));
  const auto a = constant_scale(l, 1);
  if (!p || !a_zero || !a) return std::nullopt;
  const int64_t n = p->plan.problem.n;
  const auto b = constant_scales(l, 4, n, true);
  if (!b) return std::nullopt;
  std::optional<size_t> bias;
  if (l.has(6)) {
    const Dims c = l.in_dims(6);
    if (l.in_type(6) != DType::i32 || c.empty() || c.back() != n || element_count(c) != n)
      return std::nullopt;
    bias = 6;
  }
  const bool real = l.out_type() == DType::f32;
  if (real != !l.has(7) || (!real && !is_byte(l.out_type()))) return std::nullopt;
  const auto y = real ? std::optional(1.0f) : constant_scale(l, 7, false);
  const auto y_zero = real ? std::optional(0) : constant_zero(l, 8, l.out_type());
  if (!y || !y_zero) return std::nullopt;
  return quantized_result(*p, *a_zero, column_scales(l.attrs().real("alpha", 1.0f) * *a, *b, *y, n), *y_zero,
                          bias);
}

// ---- results in f32: sums times (a_scale * b_scale), plus bias

struct RealProduct {
  IntegerProduct product;
  size_t b_scale = 0;
  bool b_per_column = false;
  std::optional<size_t> bias;
  size_t scales_at = 0;  // in the workspace

  void run(const StepArgs& s, const void* a, float a_scale, int32_t a_zero) const noexcept {
    auto* scales = reinterpret_cast<float*>(s.workspace + scales_at);
    const float* b = s.input<float>(b_scale);
    for (int64_t j = 0; j < product.plan.problem.n; ++j) scales[j] = a_scale * b[b_per_column ? j : 0];
    Epilogue e;
    e.scale_n = scales;
    e.bias_n = bias ? s.input<float>(*bias) : nullptr;
    product.run(s, a, a_zero, e);
  }

  // With a scale for each row of A: kernels know those of columns, so rows are scaled afterwards.
  void run_rows(const StepArgs& s, const void* a, const float* a_scale, int32_t a_zero) const noexcept {
    RealProduct columns = *this;
    columns.bias.reset();
    columns.run(s, a, 1.0f, a_zero);
    const int64_t m = product.plan.problem.m, n = product.plan.problem.n;
    const float* const add = bias ? s.input<float>(*bias) : nullptr;
    parallel_for(s.threads, m, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* const row = s.output<float>(0) + i * n;
        for (int64_t j = 0; j < n; ++j) row[j] *= a_scale[i];
        for (int64_t j = 0; add && j < n; ++j) row[j] += add[j];
      }
    });
  }
};

std::optional<RealProduct> real_product(Lowering& l, const MatInputs& in, DType a_type, size_t b_scale,
                                        size_t bias) {
  const auto p = integer_product(l, in, a_type);
  if (!p || l.out_type() != DType::f32 || l.in_type(b_scale) != DType::f32) return std::nullopt;
  const int64_t n = p->plan.problem.n, scales = element_count(l.in_dims(b_scale));
  if (!constant_scales(l, b_scale, n, true)) return std::nullopt;
  RealProduct r{*p, b_scale, scales != 1, std::nullopt, p->workspace};
  if (l.has(bias)) {
    if (l.in_type(bias) != DType::f32 || l.in_dims(bias) != Dims{n}) return std::nullopt;
    r.bias = bias;
  }
  r.product.workspace += align_up(static_cast<size_t>(n) * 4);
  return r;
}

// (A, B, a_scale, b_scale, a_zero, b_zero, bias)
std::optional<Lowered> lower_matmul_to_float(Lowering& l) {
  const auto r = real_product(l, {0, 1, 4, 5}, l.in_type(0), 3, 6);
  const auto zero = zero_point(l, 4, l.in_type(0));
  if (!r || !zero || l.in_type(2) != DType::f32) return std::nullopt;
  const int64_t rows = element_count(l.in_dims(2));
  if (rows != 1) {
    const GemmProblem& p = r->product.plan.problem;
    if (p.batch != 1 || l.in_dims(2) != Dims{p.m} || l.in_dims(0).size() != 2) return std::nullopt;
    return Lowered{.code = step_code([r = *r, zero = *zero, rows](const StepArgs& s) {
                     const auto* scales = s.input<float>(2);
                     for (int64_t i = 0; i < rows; ++i) {
                       if (!(scales[i] >= 0 && std::isfinite(scales[i])))
                         return s.fail("a_scale is not a finite number above 0");
                     }
                     r.run_rows(s, s.in[0], scales, zero.read(s));
                   }),
                   .kernel = kernel_name(r->product) + "+rows",
                   .workspace = r->product.workspace};
  }
  return Lowered{.code = step_code([r = *r, zero = *zero](const StepArgs& s) {
                   const float scale = *s.input<float>(2);
                   if (!(scale >= 0 && std::isfinite(scale)))
                     return s.fail("a_scale is not a finite number above 0");
                   r.run(s, s.in[0], scale, zero.read(s));
                 }),
                 .kernel = kernel_name(r->product),
                 .workspace = r->product.workspace};
}

// (A, B, b_scale, b_zero, bias): A is quantized to u8 first.
std::optional<Lowered> lower_dynamic_matmul(Lowering& l) {
  const auto r = real_product(l, {0, 1, SIZE_MAX, 3}, DType::u8, 2, 4);
  const int64_t size = element_count(l.in_dims(0));
  if (!r || l.in_type(0) != DType::f32) return std::nullopt;
  const QuantizeTable& table = quantize_kernels(l.isa);
  const size_t codes = r->product.workspace;
  return Lowered{.code = step_code([r = *r, &table, size, codes](const StepArgs& s) {
                   if (!dynamic_range_is_finite(s.input<float>(0), size))
                     return s.fail("dynamic quantization of an infinity or a NaN");
                   auto* a = reinterpret_cast<uint8_t*>(s.workspace + codes);
                   const QuantParams p = dynamic_quantize_u8(table, s.input<float>(0), a, size, s.threads);
                   r.run(s, a, p.scale, p.zero);
                 }),
                 .kernel = kernel_name(r->product),
                 .workspace = codes + align_up(static_cast<size_t>(size))};
}

// ---- convolutions

struct IntegerConv {
  std::shared_ptr<const ConvPlan> plan;
  std::shared_ptr<const std::byte> packed;
  size_t y_bytes = 1;  // of an element
  // Offsets into the workspace: channels-last copies of x and y; SIZE_MAX where both layouts are the same
  // bytes.
  size_t x_at = SIZE_MAX, y_at = SIZE_MAX, workspace = 0;

  void run(const StepArgs& s, int32_t x_zero, const Epilogue& epilogue) const noexcept {
    const ConvProblem& p = plan->problem;
    ConvArgs a;
    a.x = s.in[0];
    a.y = s.out[0];
    a.w = packed.get();
    a.x_zero = x_zero;
    a.epilogue = epilogue;
    if (x_at != SIZE_MAX) {
      transpose_2d(s.in[0], s.workspace + x_at, p.n, p.ic, p.in_pixels(), 1, s.threads);
      a.x = s.workspace + x_at;
    }
    if (y_at != SIZE_MAX) a.y = s.workspace + y_at;
    conv_run(*plan, a, s.workspace, s.threads);
    if (y_at != SIZE_MAX) transpose_2d(a.y, s.out[0], p.n, p.out_pixels(), p.oc, y_bytes, s.threads);
  }
};

std::optional<IntegerConv> integer_conv(Lowering& l, size_t w, size_t w_zero) {
  const DType x_type = l.in_type(0), w_type = l.in_type(w);
  if (!is_byte(x_type) || !is_byte(w_type) || !l.constant(w)) return std::nullopt;
  const auto shape = conv_shape(l, w);
  if (!shape) return std::nullopt;
  ConvProblem p = shape->problem;
  p.a = x_type;
  p.b = w_type;
  p.c = l.out_type();
  const auto zeros = weight_zeros(l, w_zero, w_type, p.oc);
  if (!zeros) return std::nullopt;
  p.centered_b = zeros->centered(w_type);
  IntegerConv c;
  c.plan = std::make_shared<const ConvPlan>(conv_plan(p, l.isa));
  c.packed = l.pack(w, conv_form(*c.plan) + zeros->form() + std::string(name(x_type)), c.plan->packed_bytes,
                    [&](std::byte* to) {
                      conv_pack(*c.plan, {l.constant(w)->raw(), zeros->data(), zeros->per_output}, to);
                    });
  c.y_bytes = size_of(p.c);
  c.workspace = align_up(conv_workspace_bytes(*c.plan, l.threads));
  const auto take = [&](int64_t bytes) {
    const size_t at = c.workspace;
    c.workspace += align_up(static_cast<size_t>(bytes));
    return at;
  };
  if (!shape->last && p.ic > 1 && p.in_pixels() > 1) c.x_at = take(p.n * p.ic * p.in_pixels());
  if (!shape->last && p.oc > 1 && p.out_pixels() > 1)
    c.y_at = take(p.n * p.oc * p.out_pixels() * static_cast<int64_t>(c.y_bytes));
  return c;
}

std::string kernel_name(const IntegerConv& c) {
  return std::string(c.plan->algorithm->name) + "_" + std::string(name(c.plan->problem.a)) +
         (c.x_at != SIZE_MAX || c.y_at != SIZE_MAX ? "+nchw" : "");
}

std::optional<Lowered> lower_conv_integer(Lowering& l) {
  const auto c = integer_conv(l, 1, 3);
  const auto zero = zero_point(l, 2, l.in_type(0));
  if (!c || !zero) return std::nullopt;
  return Lowered{.code = step_code([c = *c, zero = *zero](const StepArgs& s) { c.run(s, zero.read(s), {}); }),
                 .kernel = kernel_name(*c),
                 .workspace = c->workspace};
}

// (x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias)
std::optional<Lowered> lower_qlinear_conv(Lowering& l) {
  const auto c = integer_conv(l, 3, 5);
  const auto zero = zero_point(l, 2, l.in_type(0));
  const auto y_zero = constant_zero(l, 7, l.out_type());
  if (!c || !zero || !y_zero || !is_byte(l.out_type())) return std::nullopt;
  const int64_t oc = c->plan->problem.oc;
  const auto x = constant_scale(l, 1), y = constant_scale(l, 6, false);
  const auto w = constant_scales(l, 4, oc, true);
  if (!x || !y || !w) return std::nullopt;
  const bool bias = l.has(8);
  if (bias && (l.in_type(8) != DType::i32 || l.in_dims(8) != Dims{oc})) return std::nullopt;
  return Lowered{.code = step_code([c = *c, zero = *zero, y_zero = *y_zero, bias,
                                    scales = column_scales(*x, *w, *y, oc)](const StepArgs& s) {
                   Epilogue e;
                   e.scale_n = scales.data();
                   e.zero_point = y_zero;
                   e.bias_i32 = bias ? s.input<int32_t>(8) : nullptr;
                   c.run(s, zero.read(s), e);
                 }),
                 .kernel = kernel_name(*c),
                 .workspace = c->workspace};
}

constexpr LowerRow kRows[] = {
    {"MatMulInteger", "", lower_matmul_integer},
    {"QLinearMatMul", "", lower_qlinear_matmul},
    {"QGemm", "com.microsoft", lower_qgemm},
    {"MatMulIntegerToFloat", "com.microsoft", lower_matmul_to_float},
    {"DynamicQuantizeMatMul", "com.microsoft", lower_dynamic_matmul},
    {"ConvInteger", "", lower_conv_integer},
    {"QLinearConv", "", lower_qlinear_conv},
    {"QLinearConv", "skyline", lower_qlinear_conv},
};

}  // namespace

std::span<const LowerRow> quantized_product_rows() {
  return kRows;
}

}  // namespace skyline::lower
