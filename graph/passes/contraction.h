#pragma once
// What Conv, ConvTranspose, Gemm, MatMul and their fused forms have in common: weights, a bias, output
// channels.
#include "graph/passes/match.h"

namespace skyline::passes {

// A contraction without an activation, whose result one node reads.
struct Contraction {
  enum class Kind { conv, conv_transpose, gemm, matmul };
  const Node* node = nullptr;
  Kind kind = Kind::conv;
  int axis = 0;           // of the output channels in the result
  int rank = 0;           // of the result
  int64_t channels = -1;  // -1: not known, possible for a matmul only
};

// Nothing if v is not the result of one, or of one that adds a residual unless `residual_too`. Types are
// floats; the rank is known.
std::optional<Contraction> find_contraction(const Graph& g, ValueId v, bool residual_too = false);

// scale[c] * (contraction) + shift[c] as the same contraction with other weights and bias, computed in double
// and rounded once. Nothing unless weights and bias are constants and the result is finite.
std::optional<ValueId> scaled(Patch& patch, const Graph& g, const Contraction& c,
                              const std::vector<double>& scale, const std::vector<double>& shift);

// Fused forms.
inline constexpr size_t kBias = 2, kResidual = 3;
// The node's inputs padded with kNoValue to four.
std::vector<ValueId> four_inputs(const Node& n);
// skyline.FusedConv, FusedConvTranspose, FusedGemm or FusedMatMul.
const OpDef* fused_form(const Contraction& c);

}  // namespace skyline::passes
