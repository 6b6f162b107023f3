#pragma once
// What several lowerings of fused operators share.
#include <optional>

#include "engine/lower/lowering.h"
#include "graph/ir/precision.h"
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

// That all operands of a contraction of floats are f32, but for the activations and the result of a fused one
// on a rung (graph/ir/precision.h), which may be bf16.
inline bool takes_types(const Lowering& l) {
  const bool mixed = takes_mixed_types(l.node);
  const auto fits = [&](DType t, bool activation) {
    return t == DType::f32 || (mixed && activation && t == DType::bf16);
  };
  for (size_t i = 0; i < l.node.inputs.size(); ++i) {
    if (l.has(i) && !fits(l.in_type(i), i == 0 || i == 3)) return false;
  }
  return fits(l.out_type(), true);
}
inline void set_residual(kernels::Epilogue& e, const void* data, DType type) {
  e.residual = type == DType::f32 ? static_cast<const float*>(data) : nullptr;
  e.residual_bf16 = type == DType::bf16 ? static_cast<const uint16_t*>(data) : nullptr;
}

}  // namespace skyline::lower
