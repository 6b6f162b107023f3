#include "graph/ir/pass.h"

#include <deque>

#include "graph/ir/infer.h"

namespace skyline {
namespace {

class Driver {
 public:
  Driver(std::span<const Pass> passes, const PassOptions& options) : passes_(passes), options_(options) {}

  void run(Graph& g) {
    // A rewrite that undoes another would go round for ever; the bound turns that bug into an error.
    const int64_t bound = applied_ + 1000 + 50 * static_cast<int64_t>(g.node_count());
    std::vector<NodeId> order;
    int64_t order_of = -1, before_round = -1;  // values of applied_
    while (before_round != applied_ && !stopped()) {
      before_round = applied_;
      for (const Pass& pass : passes_) {
        if (order_of != applied_) order = g.order();
        order_of = applied_;
        run_pass(g, pass, order, bound);
      }
    }
    run_bodies(g);
    g.remove_dead_nodes();
    verify_graph(g, true);
  }
  int64_t applied() const { return applied_; }

 private:
  bool stopped() const { return options_.stop_after >= 0 && applied_ >= options_.stop_after; }

  // Visits every node, and again whatever a patch has touched. What matches deeper than that is found by the
  // next round.
  void run_pass(Graph& g, const Pass& pass, const std::vector<NodeId>& order, int64_t bound) {
    std::deque<NodeId> queue(order.begin(), order.end());
    for (; !queue.empty() && !stopped(); queue.pop_front()) {
      const NodeId n = queue.front();
      if (!g.alive(n)) continue;
      std::optional<Patch> patch = pass.run(g, n);
      if (!patch || patch->empty()) continue;
      const std::string where = describe(g.node(n));
      try {
        const std::vector<NodeId> touched = std::move(*patch).apply(g, pass.name);
        queue.insert(queue.end(), touched.begin(), touched.end());
      } catch (Error& e) {
        throw e.in("pass " + std::string(pass.name) + " at " + where);
      }
      if (options_.log) options_.log(pass.name, where);
      if (++applied_ > bound) {
        throw Error(Code::internal,
                    "passes do not come to rest; the last was " + std::string(pass.name) + " at " + where);
      }
    }
  }

  void run_bodies(Graph& g) {
    for (NodeId id : g.order()) {
      if (!(g.node(id).op->flags & kOpControl)) continue;
      std::vector<std::pair<std::string, GraphPtr>> changed;
      for (const auto& [key, attr] : g.node(id).attrs) {
        const auto* body = std::get_if<GraphPtr>(&attr);
        if (!body || !*body) continue;
        auto copy = std::make_shared<Graph>(**body);
        const int64_t before = applied_;
        run(*copy);
        if (applied_ != before) changed.emplace_back(key, std::move(copy));
      }
      for (auto& [key, body] : changed) g.node(id).attrs.set(key, std::move(body));
    }
  }

  std::span<const Pass> passes_;
  const PassOptions& options_;
  int64_t applied_ = 0;
};

}  // namespace

int64_t run_passes(Graph& g, std::span<const Pass> passes, const PassOptions& options) {
  Driver driver(passes, options);
  driver.run(g);
  return driver.applied();
}

}  // namespace skyline
