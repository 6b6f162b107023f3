#include "graph/ir/pass.h"

#include "graph/ir/infer.h"

namespace skyline {

int64_t run_passes(Graph& g, std::span<const Pass> passes, const PassOptions& options) {
  // A rewrite that undoes another would go round for ever; the bound turns that bug into an error.
  const int64_t bound = 1000 + 50 * static_cast<int64_t>(g.node_count());
  int64_t applied = 0;
  for (bool again = true; again;) {
    again = false;
    for (const Pass& pass : passes) {
      for (bool fired = true; fired;) {
        fired = false;
        for (NodeId n : g.order()) {
          if (!g.alive(n)) continue;
          if (options.stop_after >= 0 && applied >= options.stop_after) return applied;
          std::optional<Patch> patch = pass.run(g, n);
          if (!patch || patch->empty()) continue;
          const std::string where = describe(g.node(n));
          try {
            std::move(*patch).apply(g, pass.name);
          } catch (Error& e) {
            throw e.in("pass " + std::string(pass.name) + " at " + where);
          }
          if (options.log) options.log(pass.name, where);
          fired = again = true;
          if (++applied > bound) {
            throw Error(Code::internal, "passes do not come to rest; the last was " + std::string(pass.name) +
                                            " at " + where);
          }
        }
      }
    }
  }
  g.remove_dead_nodes();
  verify_graph(g, true);
  return applied;
}

}  // namespace skyline
