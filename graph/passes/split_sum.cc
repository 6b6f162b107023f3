// Sum of several tensors => Adds, the form that residual and elementwise fusion know.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Sum") || n.inputs.size() < 2 || !is_float(g, n.in(0))) return std::nullopt;
  // Half types are rounded after every Add, but once in a Sum.
  const DType t = g.fact(n.in(0)).dtype;
  if (n.inputs.size() > 2 && t != DType::f32 && t != DType::f64) return std::nullopt;
  Patch patch(g);
  ValueId sum = n.in(0);
  for (size_t i = 1; i < n.inputs.size(); ++i) sum = patch.add(op("Add"), {sum, n.in(i)}, {}, n.name);
  patch.replace(n.out(0), sum);
  return patch;
}

}  // namespace

constinit const Pass kSplitSum{"split-sum", Stage::portable, run};

}  // namespace skyline::passes
