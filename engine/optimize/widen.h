#pragma once
// Models of f16 or bf16: kept so in the file, computed in f32 between kernels.
#include "skyline/graph.h"
#include "skyline/isa.h"

namespace skyline {

// Makes f32 of every tensor of f16 and bf16, but for the graph's inputs and outputs, which one Cast each
// stands at. Contractions with constant weights get the rung of the type that they had, where they have none
// and `isa` has kernels for it: weights are packed in that type. What is computed is at least as exact as the
// file says; what it would have rounded to infinity may stay finite. Does nothing to graphs with bodies or
// sequences, or whose operators do not take f32 in place of the other. Facts must be inferred before, and are
// after.
void widen_halves(Graph& g, IsaSet isa);

}  // namespace skyline
