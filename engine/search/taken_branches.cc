#include "engine/search/taken_branches.h"

#include "quant/prepare.h"
#include "skyline/model.h"

namespace skyline {
namespace {

// A branch may hold further ones: so many rounds are enough for what exporters write.
constexpr int kMostDepth = 16;

// What values are for the example.
std::vector<Value> evaluate(const Graph& g, const std::vector<ValueId>& values,
                            std::span<const Value> example, const SessionOptions& options) {
  Graph probe = g;
  while (!probe.outputs().empty()) probe.remove_output(0);
  for (size_t i = 0; i < values.size(); ++i) probe.add_output(values[i], "taken" + std::to_string(i));
  probe.remove_dead_nodes();
  return Session(Model(std::move(probe)), options).run(example);
}

}  // namespace

Graph with_taken_branches(Graph g, std::span<const Value> example, const SessionOptions& options) {
  SessionOptions plain;
  plain.threads = options.threads;
  plain.isa = options.isa;
  for (int depth = 0; depth < kMostDepth; ++depth) {
    std::vector<NodeId> branches;
    std::vector<ValueId> conditions;
    for (NodeId id : g.order()) {
      if (!g.node(id).is("If") || g.constant(g.node(id).in(0))) continue;
      branches.push_back(id);
      conditions.push_back(g.node(id).in(0));
    }
    if (branches.empty()) break;
    const std::vector<Value> taken = evaluate(g, conditions, example, plain);
    for (size_t i = 0; i < branches.size(); ++i)
      g.set_input(branches[i], 0, g.add_constant(g.fresh_name("taken"), taken[i].tensor().clone()));
    g = quant::prepare(g);
  }
  return g;
}

}  // namespace skyline
