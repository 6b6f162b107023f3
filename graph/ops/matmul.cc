// MatMul, Gemm, and their fused forms.
#include "graph/ir/precision.h"
#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/product.h"

namespace skyline::ops {
namespace {

// c [m, n] += a [m, k] * b [k, n], all row-major. Unsigned integers wrap.
template <class T>
void multiply(const T* a, const T* b, T* c, int64_t m, int64_t k, int64_t n) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t l = 0; l < k; ++l) {
      const T x = a[i * k + l];
      const T* row = b + l * n;
      T* out = c + i * n;
      for (int64_t j = 0; j < n; ++j) out[j] += x * row[j];
    }
  }
}

Dims swap_last(Dims d, bool swap) {
  if (swap && d.size() >= 2) std::swap(d[d.size() - 1], d[d.size() - 2]);
  return d;
}

// The stack of matrices with the last two axes swapped.
template <class T>
std::vector<T> transposed(const std::vector<T>& x, const Dims& dims) {
  const auto rows = static_cast<size_t>(dims[dims.size() - 2]), cols = static_cast<size_t>(dims.back());
  std::vector<T> out(x.size());
  const size_t matrix = rows * cols;
  for (size_t base = 0; matrix > 0 && base < x.size(); base += matrix) {
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j) out[base + j * rows + i] = x[base + i * cols + j];
    }
  }
  return out;
}

template <class T>
std::vector<T> matmul(const Product& p, const std::vector<T>& a, const std::vector<T>& b,
                      const EvalLimits& limits) {
  std::vector<T> y(static_cast<size_t>(span_count(p.batch, 0, static_cast<int>(p.batch.size())) * p.m * p.n));
  T* out = y.data();
  for (NdIndex<2> it(p.batch, {p.a_strides, p.b_strides}); !it.done(); it.next()) {
    poll(limits);
    multiply(a.data() + it[0] * p.m * p.k, b.data() + it[1] * p.k * p.n, out, p.m, p.k, p.n);
    out += p.m * p.n;
  }
  return y;
}

std::vector<double> operand(const Tensor& t, bool transpose) {
  std::vector<double> v = to_doubles(t);
  return transpose && t.rank() >= 2 ? transposed(v, t.dims()) : v;
}

// ---- inference
// -----------------------------------------------------------------------------------------------------

Fact infer_product(Fact a, const Fact& b, bool trans_a, bool trans_b, const Node* mixed = nullptr) {
  if (mixed && takes_mixed_types(*mixed)) {
    a.dtype = stored_as(*mixed, b.dtype);
  } else if (a.dtype != DType::undefined && b.dtype != DType::undefined && a.dtype != b.dtype) {
    reject("factors of dtype " + std::string(name(a.dtype)) + " and " + std::string(name(b.dtype)));
  }
  if (!a.ranked || !b.ranked) return Fact::unranked(a.dtype);
  if (a.dims.empty() || b.dims.empty()) reject("a factor is a scalar");
  SymDims ad = a.dims, bd = b.dims;
  if (trans_a && ad.size() > 1) std::swap(ad[ad.size() - 1], ad[ad.size() - 2]);
  if (trans_b && bd.size() > 1) std::swap(bd[bd.size() - 1], bd[bd.size() - 2]);
  const bool vector_a = ad.size() == 1, vector_b = bd.size() == 1;
  if (vector_a) ad.insert(ad.begin(), Dim(1));
  if (vector_b) bd.push_back(Dim(1));
  agree(bd[bd.size() - 2], ad.back(), "inner dimension");
  SymDims out = broadcast_dims(SymDims(ad.begin(), ad.end() - 2), SymDims(bd.begin(), bd.end() - 2));
  if (!vector_a) out.push_back(ad[ad.size() - 2]);
  if (!vector_b) out.push_back(bd.back());
  return Fact(a.dtype, out);
}

// Bias and residual must broadcast to the product without growing it.
void check_addend(const Fact& f, const Fact& product, std::string_view what) {
  if (!f.ranked || !product.ranked) return;
  if (f.rank() > product.rank()) reject(std::string(what) + " has more axes than the product");
  const size_t lead = product.dims.size() - f.dims.size();
  for (size_t i = 0; i < f.dims.size(); ++i) {
    if (f.dims[i] != Dim(1)) agree(f.dims[i], product.dims[lead + i], what);
  }
}

void infer_matmul(InferContext& c) {
  c.out(0, infer_product(c.in(0), c.in(1), false, false));
}

void infer_fused_matmul(InferContext& c) {
  parse_activation(c.attrs());
  require_float(c.in(0).dtype, "factor");
  const Fact y =
      infer_product(c.in(0), c.in(1), flag(c.attrs(), "transA"), flag(c.attrs(), "transB"), &c.node);
  if (c.has(2)) check_addend(c.in(2), y, "bias");
  if (c.has(3)) check_addend(c.in(3), y, "residual");
  c.out(0, y);
}

void require_matrix(const Fact& f, std::string_view what) {
  if (f.ranked && f.rank() != 2)
    reject(std::string(what) + " of rank " + std::to_string(f.rank()) + ", expected 2");
}

void infer_gemm(InferContext& c) {
  require_matrix(c.in(0), "A");
  require_matrix(c.in(1), "B");
  Fact y = infer_product(c.in(0), c.in(1), flag(c.attrs(), "transA"), flag(c.attrs(), "transB"), &c.node);
  if (!y.ranked) y = Fact(y.dtype, SymDims(2));
  if (c.has(2)) check_addend(c.in(2), y, "C");
  c.out(0, y);
}

void infer_fused_gemm(InferContext& c) {
  parse_activation(c.attrs());
  infer_gemm(c);
  if (c.has(3) && c.outputs() > 0) check_addend(c.in(3), c.facts()[0], "residual");
}

// ---- evaluation
// ----------------------------------------------------------------------------------------------------

void require_same_dtype(EvalContext& c) {
  if (takes_mixed_types(c.node)) return;
  for (size_t i = 1; i < c.inputs(); ++i) {
    if (c.has(i) && c.in(i).dtype() != c.in(0).dtype()) reject("inputs differ in dtype");
  }
}

// y += beta * t, t broadcast to dims.
void add_broadcast(std::vector<double>& y, const Dims& dims, const Tensor& t, double beta,
                   std::string_view what) {
  if (broadcast_dims(t.dims(), dims) != dims)
    reject(std::string(what) + " does not broadcast to " + to_string(dims));
  const std::vector<double> v = to_doubles(t);
  size_t i = 0;
  for (NdIndex<1> it(dims, {broadcast_strides(t.dims(), dims)}); !it.done(); it.next()) {
    y[i++] += beta * v[static_cast<size_t>(it[0])];
  }
}

void eval_integer_matmul(EvalContext& c) {
  const Tensor &a = c.in(0), &b = c.in(1);
  const Product p = make_product(a.dims(), b.dims());
  Tensor y = c.make(a.dtype(), p.out);
  visit_type(a.dtype(), IntTypes{}, [&]<class T>() {
    // Modulo 2^64, which is right modulo every smaller power too.
    const std::vector<uint64_t> av(a.span<T>().begin(), a.span<T>().end()),
        bv(b.span<T>().begin(), b.span<T>().end());
    const std::vector<uint64_t> out = matmul(p, av, bv, c.limits);
    T* to = y.mutable_data<T>();
    for (size_t i = 0; i < out.size(); ++i) to[i] = static_cast<T>(out[i]);
  });
  c.out(0, y);
}

// act(alpha * op(A) op(B) + beta * C + residual)
void eval_product(EvalContext& c, bool trans_a, bool trans_b, double alpha, double beta,
                  const Activation& act) {
  require_float(c.in(0).dtype(), "factor");
  require_same_dtype(c);
  const Tensor &a = c.in(0), &b = c.in(1);
  const Product p = make_product(swap_last(a.dims(), trans_a), swap_last(b.dims(), trans_b));
  Tensor y = c.make(takes_mixed_types(c.node) ? stored_as(c.node, b.dtype()) : a.dtype(), p.out);
  std::vector<double> v = matmul(p, operand(a, trans_a), operand(b, trans_b), c.limits);
  for (double& x : v) x *= alpha;
  if (c.has(2)) add_broadcast(v, p.out, c.in(2), beta, "bias");
  if (c.has(3)) add_broadcast(v, p.out, c.in(3), 1, "residual");
  for (double& x : v) x = apply(act, x);
  from_doubles(v, y);
  c.out(0, y);
}

void eval_matmul(EvalContext& c) {
  require_same_dtype(c);
  if (is_int(c.in(0).dtype())) return eval_integer_matmul(c);
  eval_product(c, false, false, 1, 1, {});
}

void eval_fused_matmul(EvalContext& c) {
  eval_product(c, flag(c.attrs(), "transA"), flag(c.attrs(), "transB"), c.attrs().real("alpha", 1), 1,
               parse_activation(c.attrs()));
}

// com.microsoft names the same activations as the operators; empty is none.
Activation microsoft_activation(const Attrs& a) {
  const std::string given = a.text("activation", "");
  const float alpha = a.real("activation_alpha", 0.01f), beta = a.real("activation_beta", 0);
  if (given.empty()) return {};
  if (given == "Relu") return make_activation("relu", {});
  if (given == "Tanh") return make_activation("tanh", {});
  if (given == "Sigmoid") return make_activation("sigmoid", {});
  if (given == "LeakyRelu") return make_activation("leaky_relu", {alpha});
  if (given == "HardSigmoid") return make_activation("hard_sigmoid", {alpha, beta});
  refuse("activation " + given);
}

void infer_microsoft_matmul(InferContext& c) {
  if (flag(c.attrs(), "transBatchA") || flag(c.attrs(), "transBatchB"))
    refuse("FusedMatMul with transBatchA or B");
  infer_fused_matmul(c);
}

void eval_microsoft_matmul(EvalContext& c) {
  if (flag(c.attrs(), "transBatchA") || flag(c.attrs(), "transBatchB"))
    refuse("FusedMatMul with transBatchA or B");
  eval_fused_matmul(c);
}

void infer_microsoft_gemm(InferContext& c) {
  microsoft_activation(c.attrs());
  infer_gemm(c);
}

void require_matrices(EvalContext& c) {
  if (c.in(0).rank() != 2 || c.in(1).rank() != 2) reject("A and B must be matrices");
}

void eval_gemm_with(EvalContext& c, const Activation& act) {
  require_matrices(c);
  const bool trans_a = flag(c.attrs(), "transA"), trans_b = flag(c.attrs(), "transB");
  const float alpha = c.attrs().real("alpha", 1), beta = c.attrs().real("beta", 1);
  eval_product(c, trans_a, trans_b, alpha, beta, act);
}

void eval_gemm(EvalContext& c) {
  eval_gemm_with(c, {});
}
void eval_fused_gemm(EvalContext& c) {
  eval_gemm_with(c, parse_activation(c.attrs()));
}

void eval_microsoft_gemm(EvalContext& c) {
  eval_gemm_with(c, microsoft_activation(c.attrs()));
}

Work work_product(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const SymDims& a = in[0].dims;
  const bool trans = a.size() > 1 && node.attrs.integer("transA", 0) != 0;
  const int64_t k = a[a.size() - (trans ? 2 : 1)].value();
  int64_t extra = 0;
  for (size_t i = 2; i < node.inputs.size(); ++i) extra += node.in(i) != kNoValue ? 1 : 0;
  if (node.op->domain == "skyline") extra += activation_flops(parse_activation(node.attrs).kind);
  return {.flops = out[0].elements() * (2 * k + extra)};
}

constexpr OpDef kOps[] = {
    {.name = "MatMul",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_matmul,
     .eval = eval_matmul,
     .work = work_product},
    {.name = "Gemm",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_gemm,
     .eval = eval_gemm,
     .work = work_product},
    {.name = "FusedMatMul",
     .domain = "skyline",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_fused_matmul,
     .eval = eval_fused_matmul,
     .work = work_product},
    {.name = "FusedGemm",
     .domain = "skyline",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_fused_gemm,
     .eval = eval_fused_gemm,
     .work = work_product},
    {.name = "FusedMatMul",
     .domain = "com.microsoft",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_microsoft_matmul,
     .eval = eval_microsoft_matmul,
     .work = work_product},
    {.name = "FusedGemm",
     .domain = "com.microsoft",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_microsoft_gemm,
     .eval = eval_microsoft_gemm,
     .work = work_product},
};

}  // namespace

std::span<const OpDef> matmul_ops() {
  return kOps;
}

}  // namespace skyline::ops
