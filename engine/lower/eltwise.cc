// Elementwise operators: unary, binary with broadcasting, comparisons, where, cast.
#include "kernels/eltwise/eltwise.h"

#include <cmath>
#include <limits>

#include "engine/lower/families.h"

namespace skyline::lower {
namespace {

using namespace kernels;

int64_t count(const Dims& d) {
  return element_count(d);
}

// ---- unary
// -----------------------------------------------------------------------------------------------------

struct UnaryChoice {
  UnaryOp op;
  float alpha = 0, beta = 0;
};

std::optional<Lowered> unary(Lowering& l, UnaryChoice choice) {
  const int64_t n = count(l.out_dims());
  if (l.in_type(0) == DType::f32) {
    const UnaryFn fn = eltwise_kernels(l.isa).unary[static_cast<int>(choice.op)];
    if (!fn) return std::nullopt;
    if (l.in_ld(0) || l.out_ld()) {
      Chain chain{.inputs = 1, .steps = 1};
      chain.step[0] = {.unary = fn, .alpha = choice.alpha, .beta = choice.beta};
      return lower_chain(l, chain);
    }
    return Lowered{.code = step_code([fn, n, choice](const StepArgs& s) {
                     run_unary(fn, s.input<float>(0), s.output<float>(0), n, choice.alpha, choice.beta,
                               s.threads);
                   }),
                   .kernel = "unary_f32",
                   .in_place = 0};
  }
  const CastFn fn = find_unary_other(choice.op, l.in_type(0));
  if (!fn) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0));
  return Lowered{.code = step_code([fn, n, bytes](const StepArgs& s) {
                   run_cast(fn, bytes, bytes, s.in[0], s.out[0], n, s.threads);
                 }),
                 .kernel = "unary_" + std::string(name(l.in_type(0))),
                 .in_place = 0};
}

template <UnaryOp kOp>
std::optional<Lowered> lower_unary(Lowering& l) {
  if (l.out_type() != l.in_type(0)) return std::nullopt;
  return unary(l, {kOp});
}

template <UnaryOp kOp>
std::optional<Lowered> lower_float_unary(Lowering& l) {  // no integer form
  return l.in_type(0) == DType::f32 ? unary(l, {kOp}) : std::nullopt;
}

std::optional<Lowered> lower_leaky_relu(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  return unary(l, {UnaryOp::leaky_relu, l.attrs().real("alpha", 0.01f)});
}
std::optional<Lowered> lower_hard_sigmoid(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  return unary(l, {UnaryOp::hard_sigmoid, l.attrs().real("alpha", 0.2f), l.attrs().real("beta", 0.5f)});
}
std::optional<Lowered> lower_elu(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  return unary(l, {UnaryOp::elu, l.attrs().real("alpha", 1.0f)});
}
std::optional<Lowered> lower_gelu(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  return unary(l, {l.attrs().text("approximate", "none") == "tanh" ? UnaryOp::gelu_tanh : UnaryOp::gelu});
}
std::optional<Lowered> lower_swish(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  const float alpha = l.attrs().real("alpha", 1.0f);
  return unary(l, alpha == 1.0f ? UnaryChoice{UnaryOp::silu} : UnaryChoice{UnaryOp::quick_gelu, alpha});
}

// Bounds that are known only when the step runs.
std::optional<Lowered> clip_to_inputs(Lowering& l) {
  const UnaryFn fn = eltwise_kernels(l.isa).unary[static_cast<int>(UnaryOp::clip)];
  const int64_t n = count(l.out_dims());
  const bool low = l.has(1), high = l.has(2);
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   constexpr float kInf = std::numeric_limits<float>::infinity();
                   run_unary(fn, s.input<float>(0), s.output<float>(0), n, low ? *s.input<float>(1) : -kInf,
                             high ? *s.input<float>(2) : kInf, s.threads);
                 }),
                 .kernel = "clip_f32"};
}

std::optional<Lowered> lower_clip(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  float bounds[2] = {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};
  for (size_t i = 1; i <= 2; ++i) {
    if (!l.has(i)) continue;
    if (l.in_type(i) != DType::f32 || element_count(l.in_dims(i)) != 1) return std::nullopt;
    const Tensor* t = l.constant(i);
    if (!t) return clip_to_inputs(l);
    bounds[i - 1] = *t->data<float>();
  }
  if (std::isnan(bounds[0]) || std::isnan(bounds[1])) return std::nullopt;
  return unary(l, {UnaryOp::clip, bounds[0], bounds[1]});
}

// ---- binary
// ----------------------------------------------------------------------------------------------------

template <BinaryOp kOp>
std::optional<Lowered> lower_binary(Lowering& l) {
  if (l.node.inputs.size() != 2 || !l.has(0) || !l.has(1) || l.in_type(0) != l.in_type(1))
    return std::nullopt;
  const DType type = l.in_type(0);
  if (l.out_type() != (is_compare(kOp) ? DType::boolean : type)) return std::nullopt;
  const SpanFn fn = find_binary(eltwise_kernels(l.isa), kOp, type);
  if (!fn) return std::nullopt;
  if (kOp == BinaryOp::add || kOp == BinaryOp::mul) {
    if (auto columns = lower_column_op(l, kOp == BinaryOp::add ? "Add" : "Mul")) return columns;
  }
  if (l.in_ld(0) || l.in_ld(1) || l.out_ld()) {
    Chain chain{.inputs = 2, .steps = 1};
    chain.step[0] = {.binary = fn, .a = 0, .b = 1};
    return lower_chain(l, chain);
  }
  const Dims a = l.in_dims(0), b = l.in_dims(1), out = l.out_dims();
  NdPlan plan;
  const std::span<const int64_t> shapes[] = {a, b};
  if (!make_broadcast_plan(out, shapes, &plan)) return std::nullopt;
  const size_t in_bytes = size_of(type), out_bytes = size_of(l.out_type());
  const int in_place = in_bytes != out_bytes    ? -1
                       : count(a) == count(out) ? 0
                       : count(b) == count(out) ? 1
                                                : -1;
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   run_binary(fn, plan, in_bytes, out_bytes, s.in[0], s.in[1], s.out[0], nullptr, s.threads);
                 }),
                 .kernel = "binary_" + std::string(name(type)),
                 .in_place = in_place};
}

template <BinaryOp kOp>
std::optional<Lowered> lower_min_max(Lowering& l) {
  if (l.node.inputs.size() == 2) return lower_binary<kOp>(l);
  return lower_variadic(l, kOp == BinaryOp::min ? "Min" : "Max");
}

std::optional<Lowered> lower_mod(Lowering& l) {
  if (l.attrs().integer("fmod", 0)) return lower_binary<BinaryOp::fmod>(l);
  return is_int(l.in_type(0)) ? lower_binary<BinaryOp::mod>(l) : std::nullopt;
}

std::optional<Lowered> lower_prelu(Lowering& l) {
  return l.in_type(0) == DType::f32 ? lower_binary<BinaryOp::prelu>(l) : std::nullopt;
}

std::optional<Lowered> lower_where(Lowering& l) {
  const size_t bytes = size_of(l.out_type());
  if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) return std::nullopt;
  const Dims c = l.in_dims(0), a = l.in_dims(1), b = l.in_dims(2);
  NdPlan plan;
  const std::span<const int64_t> shapes[] = {c, a, b};
  if (!make_broadcast_plan(l.out_dims(), shapes, &plan)) return std::nullopt;
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   run_where(plan, bytes, s.in[0], s.in[1], s.in[2], s.out[0], s.threads);
                 }),
                 .kernel = "where"};
}

// Float to integer stays with the reference: what does not fit is defined there.
std::optional<Lowered> lower_cast(Lowering& l) {
  const DType from = l.in_type(0), to = l.out_type();
  if ((is_float(from) && is_int(to)) || is_small_float(to) || storage_bits(to) < 8 ||
      storage_bits(from) < 8) {
    if (!(from == DType::f32 && (to == DType::i64 || to == DType::i32))) return std::nullopt;
  }
  if (from == to) return Lowered{.kernel = "alias", .alias = 0};
  const CastFn fn = find_cast(eltwise_kernels(l.isa), from, to);
  if (!fn) return std::nullopt;
  const int64_t n = count(l.out_dims());
  const size_t from_bytes = size_of(from), to_bytes = size_of(to);
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   run_cast(fn, from_bytes, to_bytes, s.in[0], s.out[0], n, s.threads);
                 }),
                 .kernel = "cast"};
}

constexpr LowerRow kRows[] = {
    {"Abs", "", lower_unary<UnaryOp::abs>, elements_in_place},
    {"Neg", "", lower_unary<UnaryOp::neg>},
    {"Sign", "", lower_unary<UnaryOp::sign>},
    {"Not", "", lower_unary<UnaryOp::neg>},
    {"Relu", "", lower_float_unary<UnaryOp::relu>, elements_in_place},
    {"Sqrt", "", lower_float_unary<UnaryOp::sqrt>},
    {"Reciprocal", "", lower_float_unary<UnaryOp::reciprocal>},
    {"Floor", "", lower_float_unary<UnaryOp::floor>},
    {"Ceil", "", lower_float_unary<UnaryOp::ceil>},
    {"Round", "", lower_float_unary<UnaryOp::round>},
    {"Exp", "", lower_float_unary<UnaryOp::exp>},
    {"Log", "", lower_float_unary<UnaryOp::log>},
    {"Sigmoid", "", lower_float_unary<UnaryOp::sigmoid>, elements_in_place},
    {"Tanh", "", lower_float_unary<UnaryOp::tanh>, elements_in_place},
    {"Erf", "", lower_float_unary<UnaryOp::erf>},
    {"HardSwish", "", lower_float_unary<UnaryOp::hard_swish>, elements_in_place},
    {"Softplus", "", lower_float_unary<UnaryOp::softplus>},
    {"Softsign", "", lower_float_unary<UnaryOp::softsign>},
    {"Mish", "", lower_float_unary<UnaryOp::mish>},
    {"Sin", "", lower_float_unary<UnaryOp::sin>},
    {"Cos", "", lower_float_unary<UnaryOp::cos>},
    {"LeakyRelu", "", lower_leaky_relu, elements_in_place},
    {"HardSigmoid", "", lower_hard_sigmoid, elements_in_place},
    {"Elu", "", lower_elu},
    {"Gelu", "", lower_gelu},
    {"Gelu", "com.microsoft", lower_gelu},
    {"Swish", "", lower_swish, elements_in_place},
    {"Clip", "", lower_clip},
    {"Add", "", lower_binary<BinaryOp::add>, elements_in_place},
    {"Sub", "", lower_binary<BinaryOp::sub>, elements_in_place},
    {"Mul", "", lower_binary<BinaryOp::mul>, elements_in_place},
    {"Div", "", lower_binary<BinaryOp::div>, elements_in_place},
    {"Min", "", lower_min_max<BinaryOp::min>},
    {"Max", "", lower_min_max<BinaryOp::max>},
    {"Pow", "", lower_binary<BinaryOp::pow>},
    {"Mod", "", lower_mod},
    {"PRelu", "", lower_prelu},
    {"Equal", "", lower_binary<BinaryOp::eq>},
    {"Less", "", lower_binary<BinaryOp::lt>},
    {"LessOrEqual", "", lower_binary<BinaryOp::le>},
    {"Greater", "", lower_binary<BinaryOp::gt>},
    {"GreaterOrEqual", "", lower_binary<BinaryOp::ge>},
    {"And", "", lower_binary<BinaryOp::bit_and>},
    {"Or", "", lower_binary<BinaryOp::bit_or>},
    {"Xor", "", lower_binary<BinaryOp::bit_xor>},
    {"BitwiseAnd", "", lower_binary<BinaryOp::bit_and>},
    {"BitwiseOr", "", lower_binary<BinaryOp::bit_or>},
    {"BitwiseXor", "", lower_binary<BinaryOp::bit_xor>},
    {"Where", "", lower_where},
    {"Cast", "", lower_cast},
    {"CastLike", "", lower_cast},
};

}  // namespace

std::span<const LowerRow> eltwise_rows() {
  return kRows;
}

}  // namespace skyline::lower
