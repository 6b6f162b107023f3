// Mean of several tensors => Sum, divided by how many they are: both are sums that the elementwise kernels
// know.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Mean") || n.inputs.size() < 2 || !is_float(g, n.out(0))) return std::nullopt;
  Patch patch(g);
  const ValueId sum = patch.add(op("Sum"), n.inputs, {}, n.name);
  const Tensor count = tensor_of(g.fact(n.out(0)).dtype, {}, {static_cast<double>(n.inputs.size())});
  patch.replace(n.out(0), patch.add(op("Div"), {sum, patch.constant(count, n.name + ".count")}, {}, n.name));
  return patch;
}

}  // namespace

constinit const Pass kSplitMean{"split-mean", Stage::portable, run};

}  // namespace skyline::passes
