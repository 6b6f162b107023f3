// Concat([a, b, c]) beside Concat([a, b]) => Concat([Concat([a, b]), c]): DenseNet's blocks as PyTorch writes
// them. A tensor can live inside one other only, so that of several Concats of it all but one would copy it.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Concat") || n.inputs.size() < 3) return std::nullopt;
  // The longest of the others that begins like this one.
  const Node* best = nullptr;
  for (const Use& u : g.value(n.in(0)).uses) {
    const Node& other = g.node(u.node);
    if (u.slot != 0 || u.node == id || !other.is("Concat") || other.inputs.size() < 2 ||
        other.inputs.size() >= n.inputs.size() ||
        other.attrs.integer("axis", 0) != n.attrs.integer("axis", 0) ||
        !std::equal(other.inputs.begin(), other.inputs.end(), n.inputs.begin())) {
      continue;
    }
    if (!best || other.inputs.size() > best->inputs.size()) best = &other;
  }
  if (!best) return std::nullopt;
  std::vector<ValueId> in{best->out(0)};
  in.insert(in.end(), n.inputs.begin() + static_cast<std::ptrdiff_t>(best->inputs.size()), n.inputs.end());
  Patch patch(g);
  patch.replace(n.out(0), patch.add(*n.op, std::move(in), n.attrs, n.name));
  return patch;
}

}  // namespace

constinit const Pass kMergeConcats{"merge-concats", Stage::portable, run};

}  // namespace skyline::passes
