#pragma once
// A graph that can be run with any input shapes: optimizes once, specialises and caches a plan per shape.
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "engine/runtime/plan.h"
#include "skyline/session.h"

namespace skyline {

// What the executables of one session share.
struct SessionState {
  SessionOptions options;  // resolved
  IsaSet isa = 0;
  PackCache cache;
};

// Resolves the options into `state` and gives the graph's contractions their precision. Errors as of Session.
void set_up(SessionState& state, Graph& g, const SessionOptions& options);
// What a graph goes through on the way to a plan: passes for any shapes, then shapes, then all passes for
// them.
void optimize_for_any(Graph& g, const SessionState& session);
Graph with_inputs(const Graph& base, std::span<const Value> inputs);
void optimize_for_shapes(Graph& g, const SessionState& session);
// All that a run may be given has one shape.
bool takes_one_shape(const Graph& g);

class Executable;

// The graph with these facts for its inputs, all others inferred anew.
Graph with_facts(Graph g, std::span<const Fact> inputs);

// Executables of the bodies of one graph, by address: whoever owns the graph owns this.
struct BodyCache {
  std::shared_mutex mutex;
  std::unordered_map<const Graph*, std::unique_ptr<Executable>> entries;
};

class Executable {
 public:
  // body: of If, Loop or Scan. It specialises a shape only when it meets it for the second time, since a loop
  // may grow a tensor at every turn; until then it interprets.
  Executable(Graph g, SessionState& session, bool body = false);
  // From graphs that have been through all passes, with facts, each for the shapes of its inputs; and one for
  // other shapes. Without that, the first one's are the only shapes there are.
  Executable(std::optional<Graph> base, std::vector<Graph> prepared, SessionState& session);

  std::vector<Value> run(std::span<const Value> inputs, const RunOptions& options,
                         Profile* profile = nullptr);
  // The plan for the shapes of these inputs, compiled if need be.
  std::shared_ptr<const Plan> plan_for(std::span<const Value> inputs);
  // The graph with these facts for its inputs, inferred and with the portable passes.
  Graph bound(std::span<const Fact> inputs) const;
  // A plan of a bound graph on which, when the passes are through, `keep` (graph/passes/keep_states.h)
  // succeeds; null if it does not. The plan may write into its inputs.
  std::shared_ptr<const Plan> plan_growing(Graph g, const std::function<bool(Graph&)>& keep) const;
  // For a run of `plan`, or for interpreting if it is null.
  EvalLimits limits(const RunOptions& options, const Plan* plan);
  // Without its constants, if the plan for its one combination of shapes has taken them over.
  const Graph& graph() const { return base_; }

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    std::mutex mutex;
    std::vector<std::unique_ptr<RunState>> idle;  // states of finished runs, for the next ones
    uint64_t used = 0;                            // for eviction: when it was last asked for
  };
  using Key = std::vector<int64_t>;  // dtype, rank, dims of each input
  struct KeyHash {
    size_t operator()(const Key& k) const {
      size_t h = 1469598103934665603u;
      for (int64_t x : k) h = (h ^ static_cast<size_t>(x)) * 1099511628211u;
      return h;
    }
  };

  static Key key_of(std::span<const Value> inputs);
  std::shared_ptr<Entry> entry_for(std::span<const Value> inputs, bool compile);
  std::shared_ptr<const Plan> compile(std::span<const Value> inputs) const;
  std::shared_ptr<const Plan> lower(Graph g, bool owns_constants, bool writes_inputs = false) const;
  void compile_now();
  std::vector<Value> run_nested(BodyCache& cache, const Graph& body, std::span<const Value> inputs,
                                const RunOptions& options);

  SessionState& session_;
  Graph base_;
  bool body_;
  std::shared_mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<Entry>, KeyHash> entries_;
  BodyCache bodies_;  // of base_
  std::atomic<uint64_t> clock_{0};
};

}  // namespace skyline
