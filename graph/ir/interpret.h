#pragma once
// The reference interpreter: runs a graph node by node through the operators' reference evaluation.
#include "graph/ir/op.h"

namespace skyline {

// Evaluates one node; checks arity; errors carry the node's name.
std::vector<Value> evaluate_node(const Node& node, std::span<const Value> inputs, const EvalLimits& limits);
// Runs a whole graph; `inputs` in the order of g.inputs(). Returns the outputs in order.
std::vector<Value> interpret(const Graph& g, std::span<const Value> inputs, const EvalLimits& limits = {});

}  // namespace skyline
