// Several elementwise steps in one pass over memory: FusedElementwise, and the variadic Max, Min, Sum and
// Mean.
#include "engine/lower/families.h"
#include "graph/ops/fused_elementwise.h"
#include "kernels/eltwise/eltwise.h"

namespace skyline::lower {
namespace {

using namespace kernels;

struct Names {
  std::string_view name;
  UnaryOp unary;
  BinaryOp binary;  // count: it is unary
};
constexpr Names unary(std::string_view name, UnaryOp op) {
  return {name, op, BinaryOp::count};
}
constexpr Names binary(std::string_view name, BinaryOp op) {
  return {name, UnaryOp::count, op};
}
constexpr Names kNames[] = {
    unary("Neg", UnaryOp::neg),
    unary("Abs", UnaryOp::abs),
    unary("Sqrt", UnaryOp::sqrt),
    unary("Reciprocal", UnaryOp::reciprocal),
    unary("Floor", UnaryOp::floor),
    unary("Ceil", UnaryOp::ceil),
    unary("Relu", UnaryOp::relu),
    unary("LeakyRelu", UnaryOp::leaky_relu),
    unary("Elu", UnaryOp::elu),
    unary("Exp", UnaryOp::exp),
    unary("Log", UnaryOp::log),
    unary("Sigmoid", UnaryOp::sigmoid),
    unary("Tanh", UnaryOp::tanh),
    unary("Erf", UnaryOp::erf),
    unary("HardSigmoid", UnaryOp::hard_sigmoid),
    unary("HardSwish", UnaryOp::hard_swish),
    unary("Swish", UnaryOp::quick_gelu),
    unary("Softplus", UnaryOp::softplus),
    unary("Clip", UnaryOp::clip),
    binary("Add", BinaryOp::add),
    binary("Sub", BinaryOp::sub),
    binary("Mul", BinaryOp::mul),
    binary("Div", BinaryOp::div),
    binary("Min", BinaryOp::min),
    binary("Max", BinaryOp::max),
    binary("Pow", BinaryOp::pow),
};

// The kernel of one step; false if there is none.
bool bind(const EltwiseTable& table, const ops::ElementwiseStep& s, ChainStep* to) {
  for (const Names& n : kNames) {
    if (n.name != s.op) continue;
    to->a = s.a;
    to->alpha = s.alpha;
    to->beta = s.beta;
    if (n.binary != BinaryOp::count) {
      to->binary = find_binary(table, n.binary, DType::f32);
      to->b = s.b;
      return to->binary != nullptr;
    }
    const UnaryOp op = n.unary == UnaryOp::quick_gelu && s.alpha == 1.0f ? UnaryOp::silu : n.unary;
    to->unary = table.unary[static_cast<int>(op)];
    return to->unary != nullptr;
  }
  return false;
}

// Strides of an operand along the axes of a result of that rank: 0 where it repeats.
Dims broadcast(const Dims& dims, const Dims& strides, size_t rank) {
  Dims out(rank, 0);
  const size_t lead = rank - dims.size();
  for (size_t i = 0; i < dims.size(); ++i) out[lead + i] = dims[i] == 1 ? 0 : strides[i];
  return out;
}

std::optional<Lowered> lower_steps(Lowering& l, const std::vector<ops::ElementwiseStep>& steps) {
  const size_t inputs = l.node.inputs.size();
  if (!l.all_inputs(DType::f32) || l.out_type() != DType::f32 || inputs > static_cast<size_t>(kMaxOperands) ||
      steps.size() > static_cast<size_t>(kMaxChainSteps))
    return std::nullopt;
  Chain chain;
  chain.inputs = static_cast<int>(inputs);
  chain.steps = static_cast<int>(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!bind(eltwise_kernels(l.isa), steps[i], &chain.step[i])) return std::nullopt;
  }
  return lower_chain(l, chain);
}

// ---- rows times and plus a number per column ----

// Which input is which in relu(x * scale + shift + other); -1: there is none.
struct AffineInputs {
  int x = -1, scale = -1, shift = -1, other = -1;
  bool relu = false;
};

// Input v has one number for each column of the result, for all rows the same.
bool is_column_vector(const Lowering& l, size_t v) {
  const Dims x = l.in_dims(v), y = l.out_dims();
  return !x.empty() && x.size() <= y.size() && x.back() == y.back() && element_count(x) == y.back() &&
         l.in_ld(v) == 0;
}

// Of operands inside wider tensors, too short to be worth what a chain takes for each (yolox_nano: 16
// columns, 310 us where 40 do).
constexpr int64_t kShortRow = 128;
bool has_short_rows(const Lowering& l) {
  bool inside = l.out_ld() != 0;
  for (size_t i = 0; i < l.node.inputs.size(); ++i) inside = inside || l.in_ld(i) != 0;
  return inside && l.out_dims().back() <= kShortRow;
}

std::optional<AffineInputs> affine_inputs(const Lowering& l, const std::vector<ops::ElementwiseStep>& steps) {
  const int inputs = static_cast<int>(l.node.inputs.size());
  AffineInputs a;
  for (int s = 0; s < static_cast<int>(steps.size()); ++s) {
    const ops::ElementwiseStep& step = steps[static_cast<size_t>(s)];
    const int before = inputs + s - 1;  // the result of the step before
    if (step.op == "Relu" && s > 0 && step.a == before && s + 1 == static_cast<int>(steps.size())) {
      a.relu = true;
      continue;
    }
    if ((step.op != "Mul" && step.op != "Add") || step.b < 0 || step.a == step.b) return std::nullopt;
    int v = step.b;
    if (s == 0) {
      a.x = step.a;
      if (step.a < inputs && is_column_vector(l, static_cast<size_t>(step.a))) std::swap(a.x, v);
    } else if (step.a != before) {
      if (step.b != before) return std::nullopt;
      v = step.a;
    }
    if (v >= inputs || a.x >= inputs) return std::nullopt;
    const bool column = is_column_vector(l, static_cast<size_t>(v));
    if (step.op == "Mul") {
      if (!column || s > 0) return std::nullopt;
      a.scale = v;
    } else if (column && a.shift < 0 && a.other < 0) {
      a.shift = v;
    } else if (a.other < 0 && l.in_dims(static_cast<size_t>(v)) == l.out_dims()) {
      a.other = v;
    } else {
      return std::nullopt;
    }
  }
  if (a.scale < 0 && a.shift < 0 && !has_short_rows(l)) return std::nullopt;
  if (a.x < 0 || l.in_dims(static_cast<size_t>(a.x)) != l.out_dims()) return std::nullopt;
  return a;
}

// Rows that are short cost a chain more than their elements do (DenseNet-121's batch normalizations, 64
// columns: 340 us of which 40 are needed).
std::optional<Lowered> lower_affine(Lowering& l, const std::vector<ops::ElementwiseStep>& steps) {
  if (!l.all_inputs(DType::f32) || l.out_type() != DType::f32 || l.out_dims().size() < 2 ||
      element_count(l.out_dims()) == 0)
    return std::nullopt;
  const auto a = affine_inputs(l, steps);
  if (!a) return std::nullopt;
  const int64_t n = l.out_dims().back(), rows = element_count(l.out_dims()) / n;
  const auto distance = [n](int64_t ld) { return ld ? ld : n; };
  const int64_t ldx = distance(l.in_ld(static_cast<size_t>(a->x))), ldy = distance(l.out_ld());
  const int64_t ldo = a->other < 0 ? 0 : distance(l.in_ld(static_cast<size_t>(a->other)));
  return Lowered{.code = step_code([=, in = *a, fn = eltwise_kernels(l.isa).affine_rows](const StepArgs& s) {
                   const auto input = [&](int i) {
                     return i < 0 ? nullptr : s.input<float>(static_cast<size_t>(i));
                   };
                   run_affine_rows(fn,
                                   {.x = input(in.x),
                                    .scale = input(in.scale),
                                    .shift = input(in.shift),
                                    .other = input(in.other),
                                    .y = s.output<float>(0),
                                    .ldx = ldx,
                                    .ldo = ldo,
                                    .ldy = ldy,
                                    .n = n,
                                    .relu = in.relu},
                                   rows, s.threads);
                 }),
                 .kernel = "affine_rows_f32",
                 .in_place = a->x};
}

std::optional<Lowered> lower_fused_elementwise(Lowering& l) {
  if (auto affine = lower_affine(l, ops::parse_steps(l.attrs(), l.node.inputs.size()))) return affine;
  return lower_steps(l, ops::parse_steps(l.attrs(), l.node.inputs.size()));
}

}  // namespace

std::optional<Lowered> lower_column_op(Lowering& l, std::string_view op) {
  return lower_affine(l, {{std::string(op), 0, 1, 0, 0}});
}

std::optional<Lowered> lower_chain(Lowering& l, const Chain& steps) {
  auto chain = std::make_shared<Chain>(steps);
  const auto inputs = static_cast<size_t>(chain->inputs);
  const Dims out = l.out_dims();
  chain->outputs = 1;
  chain->output[0] = chain->inputs + chain->steps - 1;
  if (l.out_ld()) {
    chain->out_width = out.back();
    chain->out_ld = l.out_ld();
  }
  if (!finish_chain(chain.get())) return std::nullopt;
  std::vector<Dims> dims;
  bool dense = true;
  for (size_t i = 0; i < inputs; ++i) {
    dims.push_back(l.in_dims(i));
    dense = dense && l.in_ld(i) == 0;
  }
  NdPlan plan;
  if (dense) {
    const std::vector<std::span<const int64_t>> shapes(dims.begin(), dims.end());
    if (!make_broadcast_plan(out, shapes, &plan)) return std::nullopt;
  } else {
    std::vector<Dims> strides;
    std::vector<const int64_t*> pointers;
    pointers.reserve(inputs);
    for (size_t i = 0; i < inputs; ++i) strides.push_back(broadcast(dims[i], l.in_strides(i), out.size()));
    for (const Dims& s : strides) pointers.push_back(s.data());
    if (!make_nd_plan(out, pointers, &plan)) return std::nullopt;
  }
  // The last step writes a block after all others read theirs: an input as large as the result may be under
  // it.
  int in_place = -1;
  for (size_t i = 0; i < inputs && in_place < 0; ++i) {
    if (element_count(dims[i]) == element_count(out) && !l.constant(i)) in_place = static_cast<int>(i);
  }
  return Lowered{.code = step_code([chain, plan](const StepArgs& s) {
                   const float* in[kMaxOperands];
                   for (int i = 0; i < chain->inputs; ++i) in[i] = s.input<float>(static_cast<size_t>(i));
                   float* const result[] = {s.output<float>(0)};
                   run_chain(*chain, plan, in, result, s.threads);
                 }),
                 .kernel = "chain_f32",
                 .in_place = in_place};
}

// An operand whose rows are as long as the result's.
bool elements_in_place(const Graph& g, const Node& n, Side side, size_t index) {
  const Fact& y = g.fact(n.out(0));
  if (y.dtype != DType::f32 || y.rank() > kernels::kMaxRank || (side == Side::out && index > 0)) return false;
  for (ValueId v : n.inputs) {
    if (v != kNoValue && g.fact(v).dtype != DType::f32) return false;
  }
  if (side == Side::out) return true;
  const Fact& x = g.fact(n.in(index));
  return x.rank() >= 2 && x.rank() <= y.rank() && x.dims.back() == y.dims.back();
}

std::optional<Lowered> lower_variadic(Lowering& l, std::string_view op) {
  const int n = static_cast<int>(l.node.inputs.size());
  if (n == 1 && l.in_type(0) == l.out_type()) return Lowered{.kernel = "alias", .alias = 0};
  std::vector<ops::ElementwiseStep> steps;
  for (int i = 1; i < n; ++i) steps.push_back({std::string(op), i == 1 ? 0 : n + i - 2, i, 0, 0});
  return lower_steps(l, steps);
}

namespace {

std::optional<Lowered> lower_sum(Lowering& l) {
  return lower_variadic(l, "Add");
}

constexpr LowerRow kRows[] = {
    {"FusedElementwise", "skyline", lower_fused_elementwise, elements_in_place},
    {"Sum", "", lower_sum},
};

}  // namespace

std::span<const LowerRow> chain_rows() {
  return kRows;
}

}  // namespace skyline::lower
