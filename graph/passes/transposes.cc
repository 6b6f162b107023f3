// Transposes sink towards the outputs, through whatever does not care about the order of axes, until they
// meet their inverse and both vanish.
#include <algorithm>

#include "graph/passes/passes.h"
#include "graph/passes/permuted.h"

namespace skyline::passes {
namespace {

struct Moved {
  const Node* node;
  Dims perm;
};

// The Transpose that makes v, if moving it below a reader of v is wanted. One that has other readers stays
// for them, so it is moved only if it leads out of channels-last, where the others will want the same.
std::optional<Moved> movable(const Graph& g, ValueId v) {
  const Node* t = maker(g, v, "Transpose");
  auto perm = t ? perm_of(g, *t) : std::nullopt;
  if (!perm || keeps_order(g.fact(t->in(0)), *perm)) return std::nullopt;
  if (!used_once(g, v) && (perm->size() < 3 || *perm != to_channels_first(static_cast<int>(perm->size())))) {
    return std::nullopt;
  }
  return Moved{t, *perm};
}

std::optional<Patch> sink(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  for (ValueId v : moved_operands(g, n)) {
    const auto m = movable(g, v);
    if (m) return permuted(g, n, {m->perm, m->node->name});
  }
  return std::nullopt;
}

std::optional<Patch> merge(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Transpose")) return std::nullopt;
  const Node* inner = maker(g, n.in(0), "Transpose");
  const auto p = inner ? perm_of(g, *inner) : std::nullopt, q = perm_of(g, n);
  if (!p || !q) return std::nullopt;
  const Dims both = then(*p, *q);
  Patch patch(g);
  if (std::is_sorted(both.begin(), both.end())) {
    patch.replace(n.out(0), inner->in(0));
  } else {
    patch.replace(n.out(0), patch.add(op("Transpose"), {inner->in(0)}, {{"perm", both}}, n.name));
  }
  return patch;
}

}  // namespace

constinit const Pass kSinkTransposes{"sink-transposes", Stage::portable, sink};
constinit const Pass kMergeTransposes{"merge-transposes", Stage::portable, merge};

}  // namespace skyline::passes
