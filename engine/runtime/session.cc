#include "skyline/session.h"

#include <cstdlib>
#include <set>

#include "engine/plan_file/content.h"
#include "engine/runtime/session_impl.h"
#include "graph/ir/precision.h"
#include "graph/passes/layout.h"
#include "kernels/base/cpu.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemv.h"
#include "skyline/isa.h"

namespace skyline {

namespace {
constexpr std::string_view kLayoutPolicies[] = {"modelled", "measured", "channels_first", "channels_last"};
}

std::string_view name(LayoutPolicy p) noexcept {
  return kLayoutPolicies[static_cast<size_t>(p)];
}

LayoutPolicy layout_policy_from_name(std::string_view s) {
  std::string known;
  for (size_t i = 0; i < std::size(kLayoutPolicies); ++i) {
    if (s == kLayoutPolicies[i]) return static_cast<LayoutPolicy>(i);
    known += (i ? ", " : "") + std::string(kLayoutPolicies[i]);
  }
  throw Error(Code::invalid, "unknown layout policy '" + std::string(s) + "'; known: " + known);
}

SessionOptions SessionOptions::from_environment() {
  SessionOptions o;
  if (const char* isa = std::getenv("SKYLINE_ISA")) o.isa = isa;
  if (const char* threads = std::getenv("SKYLINE_THREADS")) {
    char* end = nullptr;
    const long n = std::strtol(threads, &end, 10);
    if (end == threads || *end || n < 0 || n > 1024) {
      throw Error(Code::invalid, "SKYLINE_THREADS must be 0 to 1024, not '" + std::string(threads) + "'");
    }
    o.threads = static_cast<int>(n);
  }
  return o;
}

namespace {

constexpr int kMaxThreads = 1024;

ValueDescription describe_value(const Graph& g, std::string name, const Fact& f) {
  ValueDescription d{std::move(name), f, {}};
  for (Dim dim : f.dims) d.dim_names.push_back(g.dim_name(dim));
  return d;
}

std::string show(const ValueDescription& d) {
  std::string s(name(d.fact.dtype));
  if (!d.fact.ranked) return s + "[...]";
  s += "[";
  for (size_t i = 0; i < d.dim_names.size(); ++i) s += (i ? "," : "") + d.dim_names[i];
  return s + "]";
}

// That the model computes in f32 only, if the caller insists on f32.
void check_f32(const Graph& g) {
  for (NodeId id : g.order()) {
    for (ValueId v : g.node(id).outputs) {
      if (v == kNoValue) continue;
      const DType t = g.fact(v).dtype;
      const bool lower =
          t == DType::f16 || t == DType::bf16 || is_small_float(t) || t == DType::u8 || t == DType::i8;
      if (lower) {
        throw Error(Code::unsupported, describe(g.node(id)) + " computes in " + std::string(name(t)) +
                                           ": this model cannot be run as f32; use precision 'model'");
      }
    }
  }
}

void check_rung(Precision p, IsaSet isa) {
  if (p == Precision::model || p == Precision::f32) return;
  if (p == Precision::int8) {
    throw Error(
        Code::unsupported,
        "precision int8 needs ranges of activations: make a quantized model with `skyline quantize` and "
        "run that in precision 'model'");
  }
  const bool few_rows = (p == Precision::bf16 && kernels::gemv_has(isa, DType::bf16)) ||
                        (p == Precision::f16 && kernels::gemv_has(isa, DType::f16));
  if (!few_rows &&
      !kernels::choose_dense({.m = 16, .n = 16, .k = 16, .const_b = true, .precision = p}, isa)) {
    throw Error(Code::unsupported, "no kernel computes in precision " + std::string(name(p)) + " on " +
                                       isa_to_string(isa) + "; use model or f32");
  }
}

void check_input(const ValueDescription& d, const Value& v) {
  if (d.fact.kind == Fact::Kind::optional) return;
  if (d.fact.kind == Fact::Kind::sequence) {
    if (!v.is_sequence()) throw Error(Code::input, "input '" + d.name + "' must be a sequence");
    return;
  }
  if (!v.is_tensor()) throw Error(Code::input, "input '" + d.name + "' is missing: expected " + show(d));
  const Tensor& t = v.tensor();
  const std::string got = std::string(name(t.dtype())) + to_string(t.dims());
  if (d.fact.dtype != DType::undefined && t.dtype() != d.fact.dtype) {
    throw Error(Code::input, "input '" + d.name + "' has type " + got + ", expected " + show(d));
  }
  if (t.size() > 0 && !t.raw()) throw Error(Code::input, "input '" + d.name + "' has no memory");
  if (t.size() > 0 && t.dtype() != DType::string &&
      reinterpret_cast<uintptr_t>(t.raw()) % std::min<size_t>(size_of(t.dtype()), 8) != 0) {
    throw Error(Code::input, "input '" + d.name + "' is not aligned to its element size");
  }
  if (!d.fact.ranked) return;
  if (t.rank() != d.fact.rank()) {
    throw Error(Code::input, "input '" + d.name + "' has shape " + got + ", expected " + show(d));
  }
  for (int i = 0; i < t.rank(); ++i) {
    const Dim want = d.fact.dims[static_cast<size_t>(i)];
    if (want.known() && want.value() != t.dim(i)) {
      throw Error(Code::input, "input '" + d.name + "' has shape " + got + ", expected " + show(d));
    }
  }
}

}  // namespace

void Session::Impl::check(size_t i, const Value& v) const {
  check_input(inputs[i], v);
}

void Session::Impl::check(std::span<const Value> in) const {
  if (in.size() != inputs.size()) {
    throw Error(Code::input, "the model takes " + std::to_string(inputs.size()) + " inputs, got " +
                                 std::to_string(in.size()));
  }
  for (size_t i = 0; i < in.size(); ++i) check_input(inputs[i], in[i]);
}

namespace {

// The graph itself if nobody else holds it, else a copy (which shares the constants).
Graph graph_of(Model&& model) {
  std::shared_ptr<const Graph> graph = model.shared_graph();
  { const Model gone = std::move(model); }
  if (graph.use_count() > 1) return *graph;
  return std::move(const_cast<Graph&>(*graph));  // made as a Graph, by Model
}

}  // namespace

Session::Session(const Model& model, const SessionOptions& options)
    : Session(Graph(model.graph()), options) {}
Session::Session(Model&& model, const SessionOptions& options)
    : Session(graph_of(std::move(model)), options) {}

void set_up(SessionState& state, Graph& g, const SessionOptions& options) {
  state.options = options;
  if (options.threads < 0 || options.threads > kMaxThreads) {
    throw Error(Code::invalid, "threads must be 0 to " + std::to_string(kMaxThreads) + ", not " +
                                   std::to_string(options.threads));
  }
  if (options.threads == 0) state.options.threads = kernels::cpu_info().usable_cpus;
  state.isa = isa_level(options.isa);
  state.options.isa = std::string(isa_level_name(state.isa));
  check_rung(options.precision, state.isa);
  for (const auto& [node, rung] : options.node_precision) check_rung(rung, state.isa);
  assign_precision(g, options.precision, options.node_precision);
  assign_kernels(g, options.node_kernels);
  for (const auto& [node, form] : options.node_layouts) (void)passes::layout_kind_from_name(form);
  assign_wanted_layouts(g, options.node_layouts);
}

void Session::Impl::describe() {
  const Graph& g = executable->graph();
  for (ValueId v : g.inputs()) inputs.push_back(describe_value(g, g.value(v).name, g.fact(v)));
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    outputs.push_back(describe_value(g, g.output_names()[i], g.fact(g.outputs()[i])));
  }
}

Session::Session(Graph graph, const SessionOptions& options) {
  auto impl = std::make_shared<Impl>();
  set_up(impl->state, graph, options);
  impl->executable = std::make_unique<Executable>(std::move(graph), impl->state);
  if (options.precision == Precision::f32) check_f32(impl->executable->graph());
  impl->describe();
  impl_ = std::move(impl);
}

Session::Session(const PlanFile& plan) {
  if (!plan.mismatch().empty()) throw Error(Code::unsupported, plan.mismatch());
  auto impl = std::make_shared<Impl>();
  Graph none;
  set_up(impl->state, none, plan.options());
  try {
    plan_file::Loaded loaded = plan_file::load(plan.content(), impl->state.cache);
    impl->executable =
        std::make_unique<Executable>(std::move(loaded.base), std::move(loaded.prepared), impl->state);
  } catch (Error& e) {
    throw e.in("file " + plan.content().path);
  }
  impl->describe();
  impl_ = std::move(impl);
}

const std::vector<ValueDescription>& Session::inputs() const {
  return impl_->inputs;
}
const std::vector<ValueDescription>& Session::outputs() const {
  return impl_->outputs;
}
const SessionOptions& Session::options() const {
  return impl_->state.options;
}

void Session::check_inputs(std::span<const Value> inputs) const {
  impl_->check(inputs);
}

std::vector<Value> Session::run(std::span<const Value> inputs, const RunOptions& options) const {
  impl_->check(inputs);
  return impl_->executable->run(inputs, options);
}

std::vector<Value> Session::run_profiled(std::span<const Value> inputs, Profile& profile) const {
  impl_->check(inputs);
  profile.clear();
  return impl_->executable->run(inputs, {}, &profile);
}

ValueMap Session::run(const ValueMap& inputs, const RunOptions& options) const {
  std::vector<Value> in;
  for (const ValueDescription& d : impl_->inputs) {
    const auto it = inputs.find(d.name);
    if (it == inputs.end() && d.fact.kind != Fact::Kind::optional) {
      throw Error(Code::input, "input '" + d.name + "' is missing: expected " + show(d));
    }
    in.push_back(it == inputs.end() ? Value() : it->second);
  }
  for (const auto& [key, value] : inputs) {
    bool known = false;
    std::string names;
    for (const ValueDescription& d : impl_->inputs) {
      known |= d.name == key;
      names += (names.empty() ? "'" : ", '") + d.name + "'";
    }
    if (!known) throw Error(Code::input, "the model has no input '" + key + "'; it has " + names);
  }
  std::vector<Value> out = run(in, options);
  ValueMap results;
  for (size_t i = 0; i < out.size(); ++i) results.emplace(impl_->outputs[i].name, std::move(out[i]));
  return results;
}

std::string Session::explain_plan(std::span<const Value> inputs) const {
  impl_->check(inputs);
  return impl_->executable->plan_for(inputs)->explain();
}

Session::MemoryUse Session::memory_use(std::span<const Value> inputs) const {
  impl_->check(inputs);
  MemoryUse use = impl_->executable->plan_for(inputs)->memory();
  use.constants += impl_->state.cache.bytes();
  return use;
}

struct Context::Impl {
  std::shared_ptr<const Session::Impl> session;
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<RunState> state;
  std::vector<Value> inputs;
};

Context::Context(const Session& session, std::span<const Value> inputs) : impl_(std::make_unique<Impl>()) {
  session.impl_->check(inputs);
  impl_->session = session.impl_;
  impl_->plan = session.impl_->executable->plan_for(inputs);
  impl_->state = impl_->plan->make_state();
  impl_->inputs.assign(inputs.begin(), inputs.end());
  impl_->plan->bind_inputs(*impl_->state, impl_->inputs);
  impl_->plan->make_outputs(*impl_->state);
}
Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

void Context::set_input(size_t i, const Tensor& t) {
  if (i >= impl_->inputs.size()) throw Error(Code::input, "the model has no input " + std::to_string(i));
  const Value& old = impl_->inputs[i];
  if (!old.is_tensor() || t.dtype() != old.tensor().dtype() || t.dims() != old.tensor().dims()) {
    throw Error(Code::input, "input " + std::to_string(i) + " of a context keeps its type and shape");
  }
  check_input(impl_->session->inputs[i], t);
  impl_->inputs[i] = t;
  impl_->plan->bind_inputs(*impl_->state, impl_->inputs);
}

void Context::run(const RunOptions& options) {
  const bool plain = !impl_->plan->needs_limits() && !options.deadline && !options.cancel;
  impl_->plan->execute(*impl_->state,
                       plain ? EvalLimits{} : impl_->session->executable->limits(options, impl_->plan.get()),
                       nullptr);
}

const Value& Context::output(size_t i) const {
  if (i >= impl_->state->outputs.size())
    throw Error(Code::input, "the model has no output " + std::to_string(i));
  return impl_->state->outputs[i];
}
size_t Context::outputs() const {
  return impl_->state->outputs.size();
}

}  // namespace skyline
