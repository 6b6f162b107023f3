#pragma once
// The activation that a fused operator ends with: attribute `activation` and its numbers,
// `activation_params`.
//
//   none | relu | sigmoid | silu | tanh | hard_swish | gelu | gelu_tanh    no numbers
//   clip [min, max]   leaky_relu [alpha = 0.01]   hard_sigmoid [alpha = 0.2, beta = 0.5]
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "skyline/graph.h"

namespace skyline::ops {

enum class ActivationKind {
  none,
  relu,
  clip,
  leaky_relu,
  hard_sigmoid,
  hard_swish,
  sigmoid,
  silu,
  tanh,
  gelu,
  gelu_tanh
};

struct Activation {
  ActivationKind kind = ActivationKind::none;
  float a = 0, b = 0;
};

// By name; Error{invalid} for an unknown name, a wrong number of params, or clip with min > max.
Activation make_activation(const std::string& name, const std::vector<float>& params);
// From a node's attributes `activation` and `activation_params`.
Activation parse_activation(const Attrs& attrs);
// Work per element.
int64_t activation_flops(ActivationKind kind);

inline double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
inline double gelu_erf(double x) {
  return 0.5 * x * (1 + std::erf(x * 0.70710678118654752440));
}
inline double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

// NaN stays NaN in every one of them.
inline double apply(const Activation& f, double x) {
  switch (f.kind) {
    case ActivationKind::none:
      return x;
    case ActivationKind::relu:
      return x < 0 ? 0 : x;
    case ActivationKind::clip:
      return x < f.a ? f.a : x > f.b ? f.b : x;
    case ActivationKind::leaky_relu:
      return x < 0 ? x * f.a : x;
    case ActivationKind::hard_sigmoid:
      return std::clamp(f.a * x + f.b, 0.0, 1.0);
    case ActivationKind::hard_swish:
      return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case ActivationKind::sigmoid:
      return sigmoid(x);
    case ActivationKind::silu:
      return x * sigmoid(x);
    case ActivationKind::tanh:
      return std::tanh(x);
    case ActivationKind::gelu:
      return gelu_erf(x);
    case ActivationKind::gelu_tanh:
      return gelu_tanh(x);
  }
  return x;
}

}  // namespace skyline::ops
