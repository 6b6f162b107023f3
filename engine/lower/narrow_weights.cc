// Products of f32 with weights that stay narrow in memory: of few rows in bf16 or f16, where the precision
// permits, and MatMulNBits of com.microsoft.
#include "engine/lower/narrow_weights.h"

#include <algorithm>
#include <bit>

#include "engine/lower/families.h"
#include "engine/lower/fused.h"
#include "graph/ir/precision.h"
#include "kernels/gemm/gemv.h"

namespace skyline::lower {
namespace {

using namespace kernels;

// ---- MatMulNBits: (A, codes u8 [N, blocks, bytes], scales, zero points, group index, bias)

struct NBits {
  int64_t k, n, bits, block, blocks;
  const Tensor *codes, *scales, *zeros;

  int middle() const { return 1 << (bits - 1); }
  int at(const uint8_t* row, int64_t i) const {
    return row[i * bits / 8] >> (i * bits % 8) & ((1 << bits) - 1);
  }
  int zero(int64_t j, int64_t b) const {
    if (!zeros) return middle();
    return at(static_cast<const uint8_t*>(zeros->raw()) + j * ((blocks * bits + 7) / 8), b);
  }
};

std::optional<NBits> n_bits(const Lowering& l) {
  NBits s{};
  s.k = l.attrs().integer("K", 0);
  s.n = l.attrs().integer("N", 0);
  s.bits = l.attrs().integer("bits", 4);
  s.block = l.attrs().integer("block_size", 0);
  if (s.k < 1 || s.n < 1 || s.block < 16 || (s.bits != 4 && s.bits != 8) || l.has(4)) return std::nullopt;
  s.blocks = (s.k + s.block - 1) / s.block;
  s.codes = l.constant(1);
  s.scales = l.constant(2);
  s.zeros = l.has(3) ? l.constant(3) : nullptr;
  if (!s.codes || !s.scales || (l.has(3) && !s.zeros)) return std::nullopt;
  if (s.codes->dtype() != DType::u8 || s.codes->dims() != Dims{s.n, s.blocks, s.block * s.bits / 8})
    return std::nullopt;
  if (s.scales->dtype() != DType::f32 || s.scales->size() != s.n * s.blocks) return std::nullopt;
  if (s.zeros && (s.zeros->dtype() != DType::u8 || s.zeros->size() != s.n * ((s.blocks * s.bits + 7) / 8)))
    return std::nullopt;
  return s;
}

// Codes less the middle of their range, [n][k], and what makes numbers of them, [blocks][n].
struct Numbers {
  std::vector<int8_t> codes;
  std::vector<float> scale, shift;
};
Numbers numbers_of(const NBits& s) {
  Numbers out;
  out.codes.resize(static_cast<size_t>(s.n * s.k));
  out.scale.resize(static_cast<size_t>(s.n * s.blocks));
  out.shift.resize(out.scale.size());
  const int64_t row = s.blocks * s.block * s.bits / 8;
  for (int64_t j = 0; j < s.n; ++j) {
    const uint8_t* from = static_cast<const uint8_t*>(s.codes->raw()) + j * row;
    for (int64_t k = 0; k < s.k; ++k)
      out.codes[static_cast<size_t>(j * s.k + k)] = static_cast<int8_t>(s.at(from, k) - s.middle());
    for (int64_t b = 0; b < s.blocks; ++b) {
      const auto to = static_cast<size_t>(b * s.n + j);
      out.scale[to] = s.scales->data<float>()[j * s.blocks + b];
      out.shift[to] = static_cast<float>(s.middle() - s.zero(j, b)) * out.scale[to];
    }
  }
  return out;
}

// Rows from which on it pays to make f32 of all weights first.
constexpr int64_t kManyRows = 48;

std::optional<Lowered> lower_n_bits(Lowering& l) {
  const auto s = n_bits(l);
  const DType type = s && s->bits == 4 ? DType::i4 : DType::i8;
  if (!s || !gemv_has(l.isa, type) || l.in_type(0) != DType::f32 || l.out_type() != DType::f32)
    return std::nullopt;
  if (l.has(5) && (l.in_type(5) != DType::f32 || l.in_dims(5) != Dims{s->n})) return std::nullopt;
  const int64_t m = element_count(l.in_dims(0)) / s->k;
  if (m == 0) return std::nullopt;
  const GemvPlan plan = gemv_plan({.n = s->n,
                                   .k = s->k,
                                   .weights = type,
                                   .block = std::min(s->block, s->k),
                                   .shifted = s->zeros != nullptr},
                                  l.isa);
  const auto packed =
      l.pack(1, "gemv:" + std::string(plan.kernel->name), plan.packed_bytes, [&](std::byte* to) {
        const Numbers w = numbers_of(*s);
        gemv_pack(plan,
                  {.codes = w.codes.data(),
                   .k_stride = 1,
                   .n_stride = s->k,
                   .scale = w.scale.data(),
                   .shift = w.shift.data()},
                  to);
      });
  const std::optional<size_t> bias = l.has(5) ? std::optional<size_t>(5) : std::nullopt;
  const int64_t n = s->n, k = s->k;
  if (m < kManyRows) {
    return Lowered{.code = step_code([=](const StepArgs& a) {
                     GemvArgs g{a.input<float>(0), m, k, packed.get(), a.output<float>(0), n, {}};
                     g.epilogue.bias_n = bias ? a.input<float>(*bias) : nullptr;
                     gemv_run(plan, g, a.threads);
                   }),
                   .kernel = std::string(plan.kernel->name)};
  }
  const GemmPlan product = gemm_plan({.m = m, .n = n, .k = k}, l.isa);
  const size_t workspace = align_up(gemm_workspace_bytes(product, l.threads));
  return Lowered{.code = step_code([=](const StepArgs& a) {
                   auto* const b = reinterpret_cast<float*>(a.workspace + workspace);
                   gemv_unpack(plan, packed.get(), b, a.threads);
                   GemmArgs g{.a = a.in[0], .lda = k, .b = b, .ldb = n, .c = a.out[0], .ldc = n};
                   g.epilogue.bias_n = bias ? a.input<float>(*bias) : nullptr;
                   gemm_run(product, g, a.workspace, a.threads);
                 }),
                 .kernel = std::string(plan.kernel->name) + "+" + std::string(kernel_of(product).name),
                 .workspace = workspace + static_cast<size_t>(n * k) * sizeof(float)};
}

constexpr LowerRow kRows[] = {{"MatMulNBits", "com.microsoft", lower_n_bits}};

}  // namespace

std::optional<Lowered> lower_halves(Lowering& l, const GemmProblem& p, std::optional<size_t> bias,
                                    std::optional<size_t> residual, const Activation& act) {
  const DType type = p.precision == Precision::bf16  ? DType::bf16
                     : p.precision == Precision::f16 ? DType::f16
                                                     : DType::undefined;
  if (type == DType::undefined || !p.const_b || p.batch != 1 || p.m > kGemvRows || !gemv_has(l.isa, type))
    return std::nullopt;
  for (size_t i = 0; i < l.node.inputs.size(); ++i) {
    if (l.has(i) && l.in_type(i) != DType::f32) return std::nullopt;
  }
  if (l.out_type() != DType::f32) return std::nullopt;
  const GemvPlan plan = gemv_plan({.n = p.n, .k = p.k, .weights = type}, l.isa);
  const bool turned = p.trans_b;
  const auto packed = l.pack(1, "gemv:" + std::string(plan.kernel->name) + (turned ? ":t" : ""),
                             plan.packed_bytes, [&](std::byte* to) {
                               gemv_pack(plan,
                                         {.floats = l.constant(1)->data<float>(),
                                          .k_stride = turned ? 1 : p.n,
                                          .n_stride = turned ? p.k : 1},
                                         to);
                             });
  const int64_t m = p.m, n = p.n, k = p.k;
  return Lowered{.code = step_code([=](const StepArgs& a) {
                   GemvArgs g{a.input<float>(0), m, k, packed.get(), a.output<float>(0), n, {}};
                   g.epilogue.act = act;
                   g.epilogue.bias_n = bias ? a.input<float>(*bias) : nullptr;
                   g.epilogue.residual = residual ? a.input<float>(*residual) : nullptr;
                   g.epilogue.ldr = n;
                   gemv_run(plan, g, a.threads);
                 }),
                 .kernel = std::string(plan.kernel->name),
                 .in_place = residual ? static_cast<int>(*residual) : -1};
}

std::span<const LowerRow> narrow_weight_rows() {
  return kRows;
}

}  // namespace skyline::lower
