// If with a constant condition => the nodes of its branch.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("If")) return std::nullopt;
  const Tensor* condition = g.constant(n.in(0));
  if (!condition || condition->dtype() != DType::boolean || condition->size() != 1) return std::nullopt;
  const bool taken = *static_cast<const bool*>(condition->raw());
  const Graph& body = n.attrs.graph(taken ? "then_branch" : "else_branch");
  if (body.outputs().size() < n.outputs.size() || body.inputs().size() + 1 < n.inputs.size())
    return std::nullopt;

  Patch patch(g);
  std::vector<ValueId> mapped(body.value_slots(), kNoValue);
  auto at = [&](ValueId v) -> ValueId& { return mapped[static_cast<size_t>(v)]; };
  for (size_t i = 0; i < body.inputs().size(); ++i) at(body.inputs()[i]) = n.in(i + 1);
  auto use = [&](ValueId v) {
    if (v == kNoValue) return v;
    if (at(v) == kNoValue && body.constant(v)) at(v) = patch.constant(*body.constant(v), body.value(v).name);
    return at(v);
  };
  for (NodeId inner : body.order()) {
    const Node& m = body.node(inner);
    std::vector<ValueId> in;
    for (ValueId v : m.inputs) in.push_back(use(v));
    const std::vector<ValueId> out = patch.add_multi(*m.op, in, m.outputs.size(), m.attrs, m.name);
    for (size_t i = 0; i < out.size(); ++i) {
      if (m.outputs[i] != kNoValue) at(m.outputs[i]) = out[i];
    }
  }
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    if (n.outputs[i] == kNoValue) continue;
    const ValueId now = use(body.outputs()[i]);
    if (now == kNoValue) return std::nullopt;
    patch.replace(n.outputs[i], now);
  }
  return patch;
}

}  // namespace

constinit const Pass kInlineIf{"inline-if", Stage::portable, run};

}  // namespace skyline::passes
