#pragma once
// skyline.FusedElementwise: several f32 elementwise operators as one node with one output. Inputs broadcast
// to it.
//
// Values are numbered: inputs 0 .. n - 1, then the result of step i is n + i; the last step's result is the
// output. Attributes, one entry per step unless said otherwise:
//   ops      names of operators of ai.onnx
//   args     two numbers per step: the values that it reads; the second is -1 for a unary operator
//   params   two numbers per step, as the operator's row in kFusible names them; 0 where it has none
#include <string>
#include <string_view>
#include <vector>

#include "graph/ir/op.h"

namespace skyline::ops {

// What may be fused, and where its parameters come from.
struct FusibleOp {
  std::string_view name;
  int inputs;
  std::string_view alpha, beta;  // attributes; Clip's bounds are its inputs 1 and 2
  float alpha_default, beta_default;
};
const FusibleOp* find_fusible(std::string_view name);  // null if the operator may not be fused

struct ElementwiseStep {
  std::string op;
  int a = 0, b = -1;
  float alpha = 0, beta = 0;
};

inline constexpr int kMaxFusedInputs = 8;
inline constexpr int kMaxFusedSteps = 12;

// Error{invalid} unless the steps are well-formed for that many inputs.
std::vector<ElementwiseStep> parse_steps(const Attrs& attrs, size_t inputs);
Attrs steps_to_attrs(const std::vector<ElementwiseStep>& steps);

}  // namespace skyline::ops
