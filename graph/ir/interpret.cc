#include "graph/ir/interpret.h"

#include "graph/ir/infer.h"

namespace skyline {

std::vector<Value> evaluate_node(const Node& node, std::span<const Value> inputs, const EvalLimits& limits) {
  try {
    const auto count = static_cast<int>(inputs.size());
    if (count < node.op->min_inputs || count > node.op->max_inputs) {
      throw Error(Code::invalid, "takes " + std::to_string(node.op->min_inputs) + " to " +
                                     std::to_string(node.op->max_inputs) + " inputs, got " +
                                     std::to_string(count));
    }
    EvalContext c(node, inputs, limits);
    node.op->eval(c);
    return std::move(c.values());
  } catch (Error& e) {
    throw e.in(describe(node));
  }
}

std::vector<Value> interpret(const Graph& g, std::span<const Value> inputs, const EvalLimits& limits) {
  if (inputs.size() != g.inputs().size()) {
    throw Error(Code::input, "the graph takes " + std::to_string(g.inputs().size()) + " inputs, got " +
                                 std::to_string(inputs.size()));
  }
  std::vector<Value> values(g.value_slots());
  std::vector<size_t> left(g.value_slots());  // uses to come; a value is let go after its last
  for (uint32_t v = 0; v < values.size(); ++v) {
    values[v] = g.value(ValueId{v}).constant.defined() ? Value(g.value(ValueId{v}).constant) : Value();
    left[v] = g.use_count(ValueId{v});
  }
  for (size_t i = 0; i < inputs.size(); ++i) values[static_cast<size_t>(g.inputs()[i])] = inputs[i];
  for (NodeId id : g.order()) {
    if (limits.check) limits.check();
    const Node& n = g.node(id);
    std::vector<Value> in(n.inputs.size());
    for (size_t i = 0; i < in.size(); ++i) {
      if (n.inputs[i] != kNoValue) in[i] = values[static_cast<size_t>(n.inputs[i])];
    }
    std::vector<Value> out = evaluate_node(n, in, limits);
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] != kNoValue && i < out.size())
        values[static_cast<size_t>(n.outputs[i])] = std::move(out[i]);
    }
    in.clear();
    for (ValueId v : n.inputs) {
      if (v != kNoValue && --left[static_cast<size_t>(v)] == 0) values[static_cast<size_t>(v)] = Value();
    }
  }
  std::vector<Value> results;
  for (ValueId v : g.outputs()) results.push_back(values[static_cast<size_t>(v)]);
  return results;
}

std::vector<Value> run_body(const Graph& body, std::span<const Value> inputs, const EvalLimits& limits) {
  return limits.run_body ? limits.run_body(body, inputs) : interpret(body, inputs, limits);
}

}  // namespace skyline
