#pragma once
// Permutations of axes, as Transpose has them: axis i of the result is axis perm[i] of the input.
#include "graph/passes/match.h"

namespace skyline::passes {

Dims inverse(const Dims& perm);
// First p, then q.
Dims then(const Dims& p, const Dims& q);
Dims to_channels_last(int rank);
Dims to_channels_first(int rank);
// Of a Transpose node; nothing if the rank is not known.
std::optional<Dims> perm_of(const Graph& g, const Node& n);
// Whether only axes of size 1 move, so that the elements stay in order.
bool keeps_order(const Fact& f, const Dims& perm);

// A shape for Reshape that gives exactly these dims: numbers, with -1 for at most one unknown. Nothing if
// more are unknown, or if an unknown one meets a 0.
std::optional<Dims> reshape_target(const SymDims& dims);
ValueId add_reshape(Patch& patch, ValueId x, const Dims& target, const std::string& name);
// Transpose of v, whose fact is f; a Reshape where that is the same.
ValueId add_transpose(Patch& patch, ValueId v, const Fact& f, const Dims& perm, const std::string& name);

}  // namespace skyline::passes
