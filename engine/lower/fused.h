#pragma once
// What several lowerings of fused operators share.
#include <optional>

#include "graph/ops/activation.h"
#include "kernels/gemm/epilogue.h"

namespace skyline::lower {

// The kernel's form of a fused operator's `activation` attribute.
inline kernels::Activation fused_activation(const Attrs& attrs) {
  using K = ops::ActivationKind;
  using A = kernels::Act;
  const ops::Activation f = ops::parse_activation(attrs);
  constexpr std::pair<K, A> kPairs[] = {
      {K::none, A::none},
      {K::relu, A::relu},
      {K::clip, A::clip},
      {K::leaky_relu, A::leaky_relu},
      {K::hard_sigmoid, A::hard_sigmoid},
      {K::hard_swish, A::hard_swish},
      {K::sigmoid, A::sigmoid},
      {K::silu, A::silu},
      {K::tanh, A::tanh},
      {K::gelu, A::gelu_erf},
      {K::gelu_tanh, A::gelu_tanh},
  };
  for (const auto& [from, to] : kPairs) {
    if (from == f.kind) return {to, f.a, f.b};
  }
  throw Error(Code::internal, "an activation without a kernel");
}

}  // namespace skyline::lower
