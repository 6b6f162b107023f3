#include "engine/optimize/flow.h"

#include <algorithm>

#include "graph/ir/op.h"
#include "graph/ir/precision.h"

namespace skyline {
namespace {

constexpr size_t kMostSources = 4;

// Products that have a part in a value, ascending; and whether the graph's inputs have.
struct Sources {
  std::vector<int> products;
  bool outside = false;

  void add(const Sources& other) {
    products.insert(products.end(), other.products.begin(), other.products.end());
    std::sort(products.begin(), products.end());
    products.erase(std::unique(products.begin(), products.end()), products.end());
    if (products.size() > kMostSources)
      products.erase(products.begin(), products.end() - static_cast<std::ptrdiff_t>(kMostSources));
    outside |= other.outside;
  }
};

int64_t flops_of(const Graph& g, const Node& n) {
  std::vector<Fact> in, out;
  for (ValueId v : n.inputs) in.push_back(v == kNoValue ? Fact() : g.fact(v));
  for (ValueId v : n.outputs) out.push_back(v == kNoValue ? Fact() : g.fact(v));
  return work_of(n, in, out).flops;
}

}  // namespace

Flow flow_of(const Graph& g, const std::function<bool(const Node&)>& choosable) {
  Flow flow;
  std::vector<Sources> sources(g.value_slots());
  const auto at = [&](ValueId v) -> Sources& { return sources[static_cast<size_t>(v)]; };
  for (ValueId v : g.inputs()) at(v).outside = true;
  std::vector<int64_t> made;  // bytes, by product
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    Sources in;
    for (ValueId v : n.inputs) {
      if (v != kNoValue) in.add(at(v));
    }
    if (has_precision(n) && g.constant(n.in(1)) && (!choosable || choosable(n))) {
      const int index = static_cast<int>(flow.products.size());
      for (int from : in.products) flow.edges.push_back({from, index, made[static_cast<size_t>(from)]});
      const int64_t outside =
          in.outside && in.products.empty() ? std::max<int64_t>(g.fact(n.in(0)).bytes(), 0) : 0;
      flow.products.push_back({id, n.name, std::string(n.op->name), flops_of(g, n), outside});
      made.push_back(std::max<int64_t>(g.fact(n.out(0)).bytes(), 0));
      in = Sources{{index}, false};
    }
    for (ValueId v : n.outputs) {
      if (v != kNoValue) at(v) = in;
    }
  }
  return flow;
}

}  // namespace skyline
