#include "engine/runtime/executable.h"

#include <algorithm>

#include "engine/optimize/layout.h"
#include "engine/optimize/storage.h"
#include "engine/optimize/widen.h"
#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/passes/passes.h"

namespace skyline {
namespace {

// Plans kept per graph. A decoder that grows its cache by one token a call stays within what it meets in a
// sentence.
constexpr size_t kMaxPlans = 64;

// Forgets what was inferred for other shapes; kinds and dtypes follow again from the inputs.
void forget_facts(Graph& g) {
  for (NodeId id : g.order()) {
    for (ValueId v : g.node(id).outputs) {
      if (v != kNoValue) g.value(v).fact = Fact();
    }
  }
}

// What a run's inputs say of the graph's; where one is neither tensor nor sequence, what the graph says.
std::vector<Fact> facts_of(const Graph& g, std::span<const Value> inputs) {
  std::vector<Fact> facts;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Fact& f = facts.emplace_back(g.fact(g.inputs()[i]));
    if (inputs[i].is_tensor()) {
      f = Fact::of(inputs[i].tensor());
    } else if (inputs[i].is_sequence()) {
      f.kind = Fact::Kind::sequence;
    }
  }
  return facts;
}

PassOptions pass_options(const SessionState& session) {
  return {.stop_after = session.options.stop_after_pass, .log = {}};
}

void append_key(std::vector<int64_t>& key, DType dtype, const Dims& dims) {
  key.push_back(static_cast<int64_t>(dtype));
  key.push_back(static_cast<int64_t>(dims.size()));
  key.insert(key.end(), dims.begin(), dims.end());
}

// The key that inputs of these facts have.
std::vector<int64_t> key_of_facts(const Graph& g) {
  std::vector<int64_t> key;
  for (ValueId v : g.inputs()) append_key(key, g.fact(v).dtype, g.fact(v).static_dims());
  return key;
}

// Inputs and outputs alone, with their facts.
Graph interface_of(const Graph& g) {
  Graph out;
  std::vector<ValueId> at(g.value_slots(), kNoValue);
  const auto put = [&](ValueId v, ValueId as) {
    Fact& f = out.value(as).fact;
    f = g.fact(v);
    for (Dim& d : f.dims) {
      if (d.is_symbol()) d = out.symbol(g.dim_name(d));
    }
    at[static_cast<size_t>(v)] = as;
  };
  for (ValueId v : g.inputs()) put(v, out.add_input(g.value(v).name, {}));
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    const ValueId v = g.outputs()[i];
    if (at[static_cast<size_t>(v)] == kNoValue) put(v, out.add_value(g.value(v).name));
    out.add_output(at[static_cast<size_t>(v)], g.output_names()[i]);
  }
  return out;
}

}  // namespace

bool takes_one_shape(const Graph& g) {
  return std::all_of(g.inputs().begin(), g.inputs().end(), [&](ValueId v) {
    const Fact& f = g.fact(v);
    return f.kind == Fact::Kind::tensor && f.is_static() && f.dtype != DType::string;
  });
}

void optimize_for_any(Graph& g, const SessionState& session) {
  infer_graph(g);
  const SessionOptions& o = session.options;
  if (!o.optimize) return;
  if (o.stop_after_pass < 0) widen_halves(g, session.isa);
  run_passes(g, portable_passes(), pass_options(session));
}

Graph with_facts(Graph g, std::span<const Fact> inputs) {
  forget_facts(g);
  for (size_t i = 0; i < inputs.size(); ++i) g.value(g.inputs()[i]).fact = inputs[i];
  infer_graph(g);
  return g;
}

Graph with_inputs(const Graph& base, std::span<const Value> inputs) {
  return with_facts(base, facts_of(base, inputs));
}

void optimize_for_shapes(Graph& g, const SessionState& session) {
  const SessionOptions& o = session.options;
  if (!o.optimize) return;
  const PassOptions options = pass_options(session);
  run_passes(g, portable_passes(), options);
  run_passes(g, target_passes(), options);
  assign_layouts(g, o.layouts, session.isa, o.threads);
  run_passes(g, layout_passes(), options);
  assign_storage(g, session.isa);
  run_passes(g, final_passes(), options);
}

Executable::Executable(Graph g, SessionState& session, bool body)
    : session_(session), base_(std::move(g)), body_(body) {
  if (body) return;  // its facts come with the first inputs
  optimize_for_any(base_, session);
  if (session.options.optimize && takes_one_shape(base_)) compile_now();
}

Executable::Executable(std::optional<Graph> base, std::vector<Graph> prepared, SessionState& session)
    : session_(session), body_(false) {
  const bool only = !base;
  base_ = only ? interface_of(prepared.at(0)) : std::move(*base);
  for (Graph& g : prepared) {
    if (g.inputs().size() != base_.inputs().size() || g.outputs().size() != base_.outputs().size() ||
        !takes_one_shape(g)) {
      throw Error(Code::invalid, "a prepared graph takes other inputs than the model");
    }
    Key key = key_of_facts(g);
    auto entry = std::make_shared<Entry>();
    entry->plan = lower(std::move(g), only && prepared.size() == 1);
    entries_.emplace(std::move(key), std::move(entry));
  }
}

// The one plan that there will be. It takes the constants, so that it can free those that it packs.
void Executable::compile_now() {
  Key key = key_of_facts(base_);
  Graph g = base_;
  for (uint32_t v = 0; v < base_.value_slots(); ++v) base_.value(ValueId{v}).constant = Tensor();
  optimize_for_shapes(g, session_);
  auto entry = std::make_shared<Entry>();
  entry->plan = lower(std::move(g), true);
  entries_.emplace(std::move(key), std::move(entry));
}

Executable::Key Executable::key_of(std::span<const Value> inputs) {
  Key key;
  key.reserve(inputs.size() * 6);
  for (const Value& v : inputs) {
    if (!v.is_tensor()) {
      key.push_back(v.is_sequence() ? -2 : -1);
      continue;
    }
    append_key(key, v.tensor().dtype(), v.tensor().dims());
  }
  return key;
}

std::shared_ptr<const Plan> Executable::compile(std::span<const Value> inputs) const {
  Graph g = with_inputs(base_, inputs);
  optimize_for_shapes(g, session_);
  return lower(std::move(g), false);
}

std::shared_ptr<const Plan> Executable::lower(Graph g, bool owns_constants, bool writes_inputs) const {
  const SessionOptions& o = session_.options;
  auto plan = std::make_shared<Plan>(std::move(g),
                                     PlanOptions{.isa = session_.isa,
                                                 .threads = o.threads,
                                                 .max_tensor_bytes = o.max_tensor_bytes,
                                                 .kernels = o.optimize,
                                                 .own_kernels = o.kernels,
                                                 .owns_constants = owns_constants,
                                                 .writes_inputs = writes_inputs},
                                     session_.cache);
  plan->bodies = std::make_shared<BodyCache>();
  for (uint32_t v = 0; v < plan->graph().value_slots(); ++v) {
    const Tensor& c = plan->graph().value(ValueId{v}).constant;
    if (c.defined() && session_.cache.is_absent(c))
      throw Error(Code::invalid,
                  "the plan file lacks constant '" + plan->graph().value(ValueId{v}).name + "'");
  }
  return plan;
}

Graph Executable::bound(std::span<const Fact> inputs) const {
  Graph g = with_facts(base_, inputs);
  if (session_.options.optimize) run_passes(g, portable_passes(), pass_options(session_));
  return g;
}

std::shared_ptr<const Plan> Executable::plan_growing(Graph g, const std::function<bool(Graph&)>& keep) const {
  if (!session_.options.optimize) return nullptr;
  optimize_for_shapes(g, session_);
  if (!keep(g)) return nullptr;
  auto plan = lower(std::move(g), false, true);
  return plan->needs_limits() ? nullptr : plan;
}

std::shared_ptr<Executable::Entry> Executable::entry_for(std::span<const Value> inputs, bool must) {
  const Key key = key_of(inputs);
  {
    const std::shared_lock lock(mutex_);
    const auto it = entries_.find(key);
    if (it != entries_.end() && it->second->plan) {
      it->second->used = ++clock_;
      return it->second;
    }
  }
  const std::unique_lock lock(mutex_);
  const bool seen = entries_.contains(key);
  if (!seen && entries_.size() >= kMaxPlans) {
    entries_.erase(std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return a.second->used < b.second->used;
    }));
  }
  std::shared_ptr<Entry>& entry = entries_[key];
  if (!entry) entry = std::make_shared<Entry>();
  entry->used = ++clock_;
  if (!must && !seen) return nullptr;
  if (!entry->plan) {
    try {
      entry->plan = compile(inputs);
    } catch (...) {
      entries_.erase(key);
      throw;
    }
  }
  return entry;
}

std::shared_ptr<const Plan> Executable::plan_for(std::span<const Value> inputs) {
  return entry_for(inputs, true)->plan;
}

EvalLimits Executable::limits(const RunOptions& options, const Plan* plan) {
  EvalLimits l;
  l.max_bytes = session_.options.max_tensor_bytes;
  if (options.deadline || options.cancel) {
    l.check = [options] {
      if (options.cancel && options.cancel->load(std::memory_order_relaxed))
        throw Error(Code::cancelled, "the run was cancelled");
      if (options.deadline && std::chrono::steady_clock::now() > *options.deadline) {
        throw Error(Code::cancelled, "the run's deadline passed");
      }
    };
  }
  BodyCache* cache = plan ? plan->bodies.get() : &bodies_;
  l.run_body = [this, options, cache](const Graph& body, std::span<const Value> in) {
    return run_nested(*cache, body, in, options);
  };
  return l;
}

std::vector<Value> Executable::run_nested(BodyCache& cache, const Graph& body, std::span<const Value> inputs,
                                          const RunOptions& options) {
  Executable* nested = nullptr;
  {
    const std::shared_lock lock(cache.mutex);
    const auto it = cache.entries.find(&body);
    if (it != cache.entries.end()) nested = it->second.get();
  }
  if (!nested) {
    const std::unique_lock lock(cache.mutex);
    auto& place = cache.entries[&body];
    if (!place) place = std::make_unique<Executable>(body, session_, true);
    nested = place.get();
  }
  return nested->run(inputs, options);
}

std::vector<Value> Executable::run(std::span<const Value> inputs, const RunOptions& options,
                                   Profile* profile) {
  const std::shared_ptr<Entry> entry = entry_for(inputs, !body_);
  if (!entry) return interpret(base_, inputs, limits(options, nullptr));
  std::unique_ptr<RunState> state;
  {
    const std::lock_guard lock(entry->mutex);
    if (!entry->idle.empty()) {
      state = std::move(entry->idle.back());
      entry->idle.pop_back();
    }
  }
  const Plan& plan = *entry->plan;
  if (!state) state = plan.make_state();
  plan.bind_inputs(*state, inputs);
  plan.make_outputs(*state);
  plan.execute(
      *state,
      plan.needs_limits() || options.deadline || options.cancel ? limits(options, &plan) : EvalLimits{},
      profile);
  std::vector<Value> out = std::move(state->outputs);
  state->outputs.clear();
  state->outputs.resize(out.size());
  for (Value& v : state->inputs) v = Value();
  const std::lock_guard lock(entry->mutex);
  if (entry->idle.size() < 16) entry->idle.push_back(std::move(state));
  return out;
}

}  // namespace skyline
