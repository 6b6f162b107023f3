// MatMul, Gemm and their fused forms.
#include "kernels/gemm/gemm.h"

#include <algorithm>

#include "engine/lower/families.h"
#include "engine/lower/fused.h"
#include "engine/lower/narrow_weights.h"
#include "graph/ir/precision.h"
#include "kernels/base/memory.h"

namespace skyline::lower {
namespace {

// Bytes. Smaller ones are not worth giving back piece by piece.
constexpr int64_t kLargeWeight = 16 << 20;

using namespace kernels;

// A @ B over broadcast batch dimensions, then bias, residual, activation.
struct MatProduct {
  bool trans_a = false, trans_b = false;
  float alpha = 1;
  std::optional<size_t> bias, residual;  // which inputs
  bool bias_is_residual = false;         // a full matrix rather than one value per column
  bool bias_per_row = false;             // or per row
  bool bias_is_one = false;              // or one for all
  Activation act;
};

// Element offsets of each batch entry of an operand whose leading dims broadcast to `batch`.
std::vector<int64_t> batch_offsets(const Dims& dims, const Dims& batch) {
  const int64_t matrix = dims[dims.size() - 1] * dims[dims.size() - 2];
  const Dims lead(dims.begin(), dims.end() - 2);
  const Dims own = row_major_strides(lead);
  std::vector<int64_t> out;
  Dims index(batch.size(), 0);
  for (int64_t i = 0, n = element_count(batch); i < n; ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < lead.size(); ++d) {
      const size_t axis = batch.size() - lead.size() + d;
      if (lead[d] != 1) at += index[axis] * own[d];
    }
    out.push_back(at * matrix);
    for (size_t axis = batch.size(); axis-- > 0;) {
      if (++index[axis] < batch[axis]) break;
      index[axis] = 0;
    }
  }
  return out;
}

std::optional<Lowered> lower_product(Lowering& l, const MatProduct& p) {
  if (!takes_types(l)) return std::nullopt;
  Dims a = l.in_dims(0), b = l.in_dims(1);
  if (a.size() == 1) a.insert(a.begin(), 1);
  if (b.size() == 1) b.push_back(1);
  const size_t ra = a.size(), rb = b.size();
  GemmProblem problem;
  problem.trans_a = p.trans_a;
  problem.trans_b = p.trans_b;
  problem.alpha = p.alpha;
  problem.precision = precision_of(l.node);
  problem.a = l.in_type(0);
  problem.c = l.out_type();
  problem.m = p.trans_a ? a[ra - 1] : a[ra - 2];
  problem.k = p.trans_a ? a[ra - 2] : a[ra - 1];
  problem.n = p.trans_b ? b[rb - 2] : b[rb - 1];
  if (element_count(l.out_dims()) == 0 || problem.k == 0) return std::nullopt;
  // One B for every row of A: the leading dims of A are more rows.
  if (rb == 2 && !p.trans_a && ra > 2) {
    problem.m = element_count(a) / problem.k;
    a = {problem.m, problem.k};
  }
  Dims batch_a(a.begin(), a.end() - 2), batch_b(b.begin(), b.end() - 2),
      batch(std::max(batch_a.size(), batch_b.size()));
  for (size_t i = 0; i < batch.size(); ++i) {
    const int64_t x = i < batch_a.size() ? batch_a[batch_a.size() - 1 - i] : 1;
    const int64_t y = i < batch_b.size() ? batch_b[batch_b.size() - 1 - i] : 1;
    batch[batch.size() - 1 - i] = x == 1 ? y : x;
  }
  problem.batch = element_count(batch);
  problem.const_b = l.constant(1) && element_count(batch_b) == 1;
  const bool column_bias = !p.bias_is_residual && !p.bias_is_one && !p.bias_per_row;
  if (column_bias && !p.trans_a && p.alpha == 1.0f) {
    if (auto few = lower_halves(l, problem, p.bias, p.residual, p.act)) return few;
  }
  const bool f32 = problem.a == DType::f32 && problem.c == DType::f32;
  const GemmPlan plan = gemm_plan(problem, l.isa, f32 ? l.wanted_gemm() : nullptr);

  GemmArgs args;
  args.lda = a[a.size() - 1];
  args.ldb = b[rb - 1];
  args.ldc = problem.n;
  args.stride_c = problem.m * problem.n;
  args.epilogue.act = p.act;
  std::vector<int64_t> a_offsets, b_offsets;
  if (problem.batch > 1) {
    a_offsets = batch_offsets(a, batch);
    b_offsets = problem.const_b ? std::vector<int64_t>(static_cast<size_t>(problem.batch), 0)
                                : batch_offsets(b, batch);
  }
  std::shared_ptr<const std::byte> packed;
  if (problem.const_b) {
    const std::string form = "gemm:" + std::string(kernel_of(plan).name) + ":" + std::to_string(problem.n) +
                             "x" + std::to_string(problem.k) + (p.trans_b ? "t" : "") +
                             std::to_string(p.alpha);
    packed = l.pack(1, form, plan.packed_b_bytes, [&](std::byte* to) {
      const Tensor& w = *l.constant(1);
      if (w.bytes() < kLargeWeight) return gemm_pack_b(plan, {.b = w.raw(), .ldb = args.ldb}, to);
      const int64_t row = args.ldb * static_cast<int64_t>(size_of(w.dtype()));
      gemm_pack_b(plan, {.b = w.raw(), .ldb = args.ldb}, to,
                  [&](int64_t rows) { l.spent(1, static_cast<size_t>(rows * row)); });
    });
  }
  const auto bias = p.bias, residual = p.residual;
  const DType added_type = residual ? l.in_type(*residual) : DType::f32;
  // Partial sums of a long K wait in the output, so a residual should not be there.
  const bool in_place = residual && (plan.dense || plan.steps <= kSlice) && added_type == l.out_type();
  const bool full_bias = p.bias_is_residual, row_bias = p.bias_per_row, one_bias = p.bias_is_one;
  const size_t workspace = align_up(gemm_workspace_bytes(plan, l.threads));
  const int64_t columns = problem.n;
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   GemmArgs g = args;
                   g.a = s.in[0];
                   g.b = packed ? static_cast<const void*>(packed.get()) : s.in[1];
                   g.c = s.out[0];
                   if (!a_offsets.empty()) {
                     g.a_offsets = a_offsets.data();
                     g.b_offsets = b_offsets.data();
                   }
                   if (bias && one_bias) {
                     auto* repeated = reinterpret_cast<float*>(s.workspace + workspace);
                     std::fill_n(repeated, columns, *s.input<float>(*bias));
                     g.epilogue.bias_n = repeated;
                   } else if (bias && !full_bias) {
                     (row_bias ? g.epilogue.bias_m : g.epilogue.bias_n) = s.input<float>(*bias);
                   }
                   const auto added = bias && full_bias ? bias : residual;
                   if (added) {
                     set_residual(g.epilogue, s.in[*added], added_type);
                     g.epilogue.ldr = g.ldc;
                     g.epilogue.stride_r = g.stride_c;
                   }
                   gemm_run(plan, g, s.workspace, s.threads);
                 }),
                 .kernel = std::string(kernel_of(plan).name),
                 .workspace = workspace + (one_bias ? static_cast<size_t>(columns) * sizeof(float) : 0),
                 .in_place = in_place ? static_cast<int>(*residual) : -1};
}

std::optional<Lowered> lower_matmul(Lowering& l) {
  return lower_product(l, {});
}

std::optional<Lowered> lower_gemm(Lowering& l) {
  MatProduct p;
  p.trans_a = l.attrs().integer("transA", 0) != 0;
  p.trans_b = l.attrs().integer("transB", 0) != 0;
  p.alpha = l.attrs().real("alpha", 1.0f);
  if (l.has(2)) {
    if (l.attrs().real("beta", 1.0f) != 1.0f) return std::nullopt;
    const Dims c = l.in_dims(2), out = l.out_dims();
    const bool per_column = element_count(c) == out[1] && !c.empty() && c.back() == out[1];
    p.bias = 2;
    p.bias_is_one = !per_column && element_count(c) == 1;
    p.bias_per_row = !per_column && !p.bias_is_one && c == Dims{out[0], 1};
    p.bias_is_residual = c == out && !per_column && !p.bias_is_one && !p.bias_per_row;
    if (!per_column && !p.bias_is_one && !p.bias_per_row && !p.bias_is_residual) return std::nullopt;
  }
  return lower_product(l, p);
}

// com.microsoft.FusedMatMul
std::optional<Lowered> lower_fused_matmul_ms(Lowering& l) {
  if (l.attrs().integer("transBatchA", 0) || l.attrs().integer("transBatchB", 0)) return std::nullopt;
  MatProduct p;
  p.trans_a = l.attrs().integer("transA", 0) != 0;
  p.trans_b = l.attrs().integer("transB", 0) != 0;
  p.alpha = l.attrs().real("alpha", 1.0f);
  return lower_product(l, p);
}

// skyline.FusedGemm and skyline.FusedMatMul: A, B, [bias per column], [residual like the output].
std::optional<Lowered> lower_fused(Lowering& l) {
  if (l.attrs().real("beta", 1.0f) != 1.0f) return std::nullopt;
  MatProduct p;
  p.trans_a = l.attrs().integer("transA", 0) != 0;
  p.trans_b = l.attrs().integer("transB", 0) != 0;
  p.alpha = l.attrs().real("alpha", 1.0f);
  p.act = fused_activation(l.attrs());
  const Dims out = l.out_dims();
  if (l.has(2)) {
    const Dims c = l.in_dims(2);
    if (c.empty() || c.back() != out.back() || element_count(c) != out.back() || l.in_dims(1).size() < 2)
      return std::nullopt;
    p.bias = 2;
  }
  if (l.has(3)) {
    if (l.in_dims(3) != out) return std::nullopt;
    p.residual = 3;
  }
  return lower_product(l, p);
}

constexpr LowerRow kRows[] = {
    {"MatMul", "", lower_matmul},
    {"Gemm", "", lower_gemm},
    {"FusedMatMul", "com.microsoft", lower_fused_matmul_ms},
    {"FusedGemm", "skyline", lower_fused},
    {"FusedMatMul", "skyline", lower_fused},
};

}  // namespace

std::span<const LowerRow> gemm_rows() {
  return kRows;
}

}  // namespace skyline::lower
