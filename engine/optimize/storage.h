#pragma once
// Activations between contractions (and attentions) on a 16-bit rung are kept in 16 bits: half the memory
// traffic. A reader on the rung would round what it reads anyway; a residual is rounded once more.
#include "skyline/graph.h"
#include "skyline/isa.h"

namespace skyline {

// Changes the dtype of values that only such contractions make and read, where the kernels of `isa` can.
// Facts are static; after the layout passes.
void assign_storage(Graph& g, IsaSet isa);

}  // namespace skyline
