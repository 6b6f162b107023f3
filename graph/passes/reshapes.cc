// Chains of nodes that only rename the shape => one Reshape.
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

bool renames_shape(const Node& n) {
  return n.is("Reshape") || n.is("Flatten") || n.is("Squeeze") || n.is("Unsqueeze");
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const ValueId x = n.in(0), y = n.out(0);
  if (x == kNoValue || y == kNoValue || !g.fact(y).ranked) return std::nullopt;
  const auto target = reshape_target(g.fact(y).dims);
  if (!target) return std::nullopt;
  Patch patch(g);
  if (n.is("Transpose")) {
    // Moves axes of size 1 only.
    const auto perm = perm_of(g, n);
    if (!perm || !keeps_order(g.fact(x), *perm)) return std::nullopt;
    patch.replace(y, add_reshape(patch, x, *target, n.name));
    return patch;
  }
  if (!renames_shape(n) || g.producer(x) == kNoNode) return std::nullopt;
  const Node& before = g.node(g.producer(x));
  if (!renames_shape(before)) return std::nullopt;
  patch.replace(y, add_reshape(patch, before.in(0), *target, n.name));
  return patch;
}

}  // namespace

constinit const Pass kMergeReshapes{"merge-reshapes", Stage::portable, run};

}  // namespace skyline::passes
