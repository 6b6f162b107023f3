// Functions of one float without attributes: algebra, trigonometry, and the activations that are a formula.
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}
// Halves go to the even neighbour: the default rounding mode, which nothing in the library changes.
double round_even(double x) {
  return std::nearbyint(x);
}
double reciprocal(double x) {
  return 1 / x;
}
double softsign(double x) {
  return x / (1 + std::fabs(x));
}
double mish(double x) {
  return x * std::tanh(softplus(x));
}
double hard_swish(double x) {
  return x * std::fmax(0.0, std::fmin(1.0, x / 6 + 0.5));
}

using Fn = double (*)(double);

template <Fn F>
void eval(EvalContext& c) {
  map_float(c, F);
}

template <Fn F, int kFlops = 1>
constexpr OpDef row(std::string_view name) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .infer = infer_float_unary,
          .eval = eval<F>,
          .work = work_per_element<kFlops>,
          .flags = kOpElementwise};
}

// Flops of the transcendental functions are the usual counts of a polynomial evaluation.
constexpr OpDef kOps[] = {
    row<std::sqrt>("Sqrt"),          row<std::exp, 8>("Exp"),      row<std::log, 8>("Log"),
    row<std::ceil>("Ceil"),          row<std::floor>("Floor"),     row<round_even>("Round"),
    row<reciprocal>("Reciprocal"),   row<std::sin, 8>("Sin"),      row<std::cos, 8>("Cos"),
    row<std::tan, 10>("Tan"),        row<std::asin, 10>("Asin"),   row<std::acos, 10>("Acos"),
    row<std::atan, 10>("Atan"),      row<std::sinh, 10>("Sinh"),   row<std::cosh, 10>("Cosh"),
    row<std::tanh, 10>("Tanh"),      row<std::asinh, 10>("Asinh"), row<std::acosh, 10>("Acosh"),
    row<std::atanh, 10>("Atanh"),    row<std::erf, 12>("Erf"),     row<sigmoid, 10>("Sigmoid"),
    row<softplus, 12>("Softplus"),   row<softsign, 3>("Softsign"), row<mish, 24>("Mish"),
    row<hard_swish, 4>("HardSwish"),
};

}  // namespace

std::span<const OpDef> unary_float_ops() {
  return kOps;
}

}  // namespace skyline::ops
