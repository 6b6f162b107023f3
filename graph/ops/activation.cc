// Activations with attributes.
#include <numbers>

#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

bool tanh_gelu(const Attrs& attrs) {
  const std::string mode = attrs.text("approximate", "none");
  if (mode != "none" && mode != "tanh") {
    throw Error(Code::invalid, "attribute approximate is \"" + mode + "\"; \"none\" or \"tanh\" is needed");
  }
  return mode == "tanh";
}

void infer_gelu(InferContext& c) {
  tanh_gelu(c.attrs());
  infer_float_unary(c);
}

void eval_gelu(EvalContext& c) {
  if (tanh_gelu(c.attrs())) {
    const double k = std::sqrt(2 / std::numbers::pi);
    map_float(c, [=](double x) { return 0.5 * x * (1 + std::tanh(k * (x + 0.044715 * x * x * x))); });
  } else {
    map_float(c, [](double x) { return 0.5 * x * std::erfc(-x * std::numbers::sqrt2 / 2); });
  }
}

void eval_swish(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.0f);
  map_float(c, [=](double x) { return x * sigmoid(alpha * x); });
}

void eval_elu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.0f);
  map_float(c, [=](double x) { return x < 0 ? alpha * std::expm1(x) : x; });
}

void eval_selu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.67326319217681884765625f);
  const double gamma = c.attrs().real("gamma", 1.05070102214813232421875f);
  map_float(c, [=](double x) { return gamma * (x <= 0 ? alpha * std::expm1(x) : x); });
}

void eval_celu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.0f);
  if (alpha == 0) throw Error(Code::invalid, "attribute alpha is 0");
  map_float(c, [=](double x) {
    if (std::isnan(x)) return x;
    return std::fmax(0.0, x) + std::fmin(0.0, alpha * std::expm1(x / alpha));
  });
}

void eval_thresholded_relu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.0f);
  map_float(c, [=](double x) { return x <= alpha ? 0.0 : x; });
}

void eval_hard_sigmoid(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 0.2f), beta = c.attrs().real("beta", 0.5f);
  map_float(c, [=](double x) {
    const double y = alpha * x + beta;
    return y < 0 ? 0.0 : y > 1 ? 1.0 : y;
  });
}

void eval_leaky_relu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 0.01f);
  map_float(c, [=](double x) { return x < 0 ? alpha * x : x; });
}

constexpr OpDef row(std::string_view name, EvalFn eval, WorkFn work, InferFn infer = infer_float_unary) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .infer = infer,
          .eval = eval,
          .work = work,
          .flags = kOpElementwise};
}

constexpr OpDef kOps[] = {
    row("Gelu", eval_gelu, work_per_element<16>, infer_gelu),
    row("Swish", eval_swish, work_per_element<12>),
    row("Elu", eval_elu, work_per_element<10>),
    row("Selu", eval_selu, work_per_element<10>),
    row("Celu", eval_celu, work_per_element<12>),
    row("ThresholdedRelu", eval_thresholded_relu, work_per_element<1>),
    row("HardSigmoid", eval_hard_sigmoid, work_per_element<4>),
    row("LeakyRelu", eval_leaky_relu, work_per_element<2>),
};

}  // namespace

std::span<const OpDef> activation_ops() {
  return kOps;
}

}  // namespace skyline::ops
