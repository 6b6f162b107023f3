#pragma once
// The reference interpreter: runs a graph node by node through the operators' reference evaluation.
#include "graph/ir/op.h"

namespace skyline {

// Evaluates one node; checks arity; errors carry the node's name.
std::vector<Value> evaluate_node(const Node& node, std::span<const Value> inputs, const EvalLimits& limits);
// Runs a whole graph; `inputs` in the order of g.inputs(). Returns the outputs in order.
// A body inside such a graph is run by limits.run_body if that is set.
std::vector<Value> interpret(const Graph& g, std::span<const Value> inputs, const EvalLimits& limits = {});

// For control operators: limits.run_body, or interpret().
std::vector<Value> run_body(const Graph& body, std::span<const Value> inputs, const EvalLimits& limits);

}  // namespace skyline
