#include "engine/runtime/plan.h"

#include <chrono>
#include <cstring>

#include "graph/ir/interpret.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// Of a result that is being made.
std::byte* mutable_bytes(const Value& v) {
  return static_cast<std::byte*>(const_cast<void*>(v.tensor().raw()));
}

// A value that a reference evaluation returned may share memory that we only lent to it: such memory is
// copied.
Value owned(const Value& v) {
  if (v.is_tensor()) return v.tensor().owner() ? v : Value(v.tensor().clone());
  if (!v.is_sequence()) return v;
  std::vector<Value> items;
  for (const Value& item : v.items()) items.push_back(owned(item));
  return Value::sequence(std::move(items), v.element_type());
}

}  // namespace

std::unique_ptr<RunState> Plan::make_state() const {
  auto s = std::make_unique<RunState>();
  s->arena = kernels::aligned_alloc_bytes(static_cast<size_t>(memory_.arena));
  s->workspace = kernels::aligned_alloc_bytes(static_cast<size_t>(memory_.workspace));
  if (!s->arena || !s->workspace) {
    throw Error(Code::oom,
                "cannot allocate " + std::to_string(memory_.arena + memory_.workspace) + " bytes for a run");
  }
  s->threads = options_.threads;
  s->inputs.resize(graph_.inputs().size());
  s->outputs.resize(graph_.outputs().size());
  s->dynamic.resize(dynamic_slots_);
  s->pointers.assign(operands_.size(), nullptr);
  for (size_t i = 0; i < operands_.size(); ++i) {
    const Place& p = operands_[i];
    if (p.kind == Place::Kind::arena) s->pointers[i] = s->arena.get() + p.offset;
    if (p.kind == Place::Kind::constant) {
      s->pointers[i] = const_cast<void*>(graph_.value(ValueId{p.index}).constant.raw());
    }
  }
  return s;
}

void Plan::bind_inputs(RunState& s, std::span<const Value> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) s.inputs[i] = inputs[i];
  for (const Patch& p : input_patches_)
    s.pointers[p.operand] = const_cast<void*>(s.inputs[p.index].tensor().raw());
}

void Plan::make_outputs(RunState& s) const {
  for (size_t i = 0; i < graph_.outputs().size(); ++i) {
    const ValueId v = graph_.outputs()[i];
    const Place& p = places_[static_cast<size_t>(v)];
    if (p.kind != Place::Kind::output || p.index != i) continue;
    const Fact& f = facts_[static_cast<size_t>(v)];
    s.outputs[i] = Tensor(f.dtype, f.static_dims());
  }
  for (const Patch& p : output_patches_) s.pointers[p.operand] = mutable_bytes(s.outputs[p.index]) + p.offset;
}

Value Plan::load(ValueId v, const RunState& s) const {
  if (v == kNoValue) return {};
  const auto index = static_cast<size_t>(v);
  const Place& p = places_[index];
  switch (p.kind) {
    case Place::Kind::none:
      return {};
    case Place::Kind::constant:
      return graph_.value(v).constant;
    case Place::Kind::input: {
      const Value& in = s.inputs[p.index];
      // Reached through an alias the dims may differ from the caller's.
      return in.is_tensor() && facts_[index].is_static()
                 ? Value(in.tensor().reshaped(facts_[index].static_dims()))
                 : in;
    }
    case Place::Kind::output:
      return Tensor::view(facts_[index].dtype, facts_[index].static_dims(),
                          mutable_bytes(s.outputs[p.index]) + p.offset);
    case Place::Kind::arena:
      return Tensor::view(facts_[index].dtype, facts_[index].static_dims(), s.arena.get() + p.offset);
    case Place::Kind::dynamic:
      return s.dynamic[p.index];
  }
  return {};
}

void Plan::store(ValueId v, Value value, RunState& s) const {
  if (v == kNoValue) return;
  const auto index = static_cast<size_t>(v);
  const Place& p = places_[index];
  if (p.kind == Place::Kind::none) return;
  if (p.kind == Place::Kind::dynamic) {
    s.dynamic[p.index] = owned(value);
    return;
  }
  const Tensor& t = value.tensor();
  const Fact& f = facts_[index];
  if (t.dtype() != f.dtype || t.dims() != f.static_dims()) {
    throw Error(Code::internal, "'" + graph_.value(v).name + "' was planned as " + to_string(graph_, f) +
                                    " but came out as " + to_string(graph_, Fact::of(t)));
  }
  std::byte* to =
      p.kind == Place::Kind::arena ? s.arena.get() + p.offset : mutable_bytes(s.outputs[p.index]) + p.offset;
  if (t.bytes()) std::memmove(to, t.raw(), static_cast<size_t>(t.bytes()));
}

void Plan::value_step(const Step& step, RunState& s, const EvalLimits& limits) const {
  const Node& n = graph_.node(step.node);
  std::vector<Value> in;
  in.reserve(n.inputs.size());
  for (ValueId v : n.inputs) in.push_back(load(v, s));
  std::vector<Value> out = evaluate_node(n, in, limits);
  for (size_t i = 0; i < n.outputs.size() && i < out.size(); ++i) store(n.outputs[i], std::move(out[i]), s);
}

void Plan::run_code(const Step& step, RunState& s) const {
  void* const* operands = s.pointers.data() + step.first_operand;
  const char* problem = nullptr;
  step.code->run({operands, operands + step.inputs, s.workspace.get(), s.threads, &problem});
  if (problem) throw Error(Code::input, problem).in(describe(graph_.node(step.node)));
}

void Plan::execute(RunState& s, const EvalLimits& limits, Profile* profile) const {
  const bool careful = profile || has_value_steps_ || limits.check;
  if (!careful) {
    for (const Step& step : steps_) run_code(step, s);
  } else {
    const auto begin = Clock::now();
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (limits.check) limits.check();
      const auto start = profile ? Clock::now() : Clock::time_point();
      if (step.code) {
        run_code(step, s);
      } else {
        value_step(step, s, limits);
      }
      for (ValueId v : dying_[i]) s.dynamic[places_[static_cast<size_t>(v)].index] = Value();
      if (!profile) continue;
      const Node& n = graph_.node(step.node);
      profile->push_back({n.name, std::string(n.op->name), step.kernel, microseconds(start - begin),
                          microseconds(Clock::now() - start), step.work.flops, step.work.bytes});
    }
  }
  for (size_t i = 0; i < graph_.outputs().size(); ++i) {  // outputs that no step wrote in place
    const ValueId v = graph_.outputs()[i];
    const Place& p = places_[static_cast<size_t>(v)];
    if (p.kind == Place::Kind::output && p.index == i) continue;
    Value out = load(v, s);
    s.outputs[i] = p.kind == Place::Kind::dynamic || !out.is_tensor() ? out : Value(out.tensor().clone());
  }
}

std::string Plan::explain() const {
  auto place = [&](ValueId v) -> std::string {
    if (v == kNoValue) return "_";
    const Place& p = places_[static_cast<size_t>(v)];
    switch (p.kind) {
      case Place::Kind::none:
        return "none";
      case Place::Kind::constant:
        return "const " + graph_.value(v).name;
      case Place::Kind::arena:
        return "@" + std::to_string(p.offset);
      case Place::Kind::input:
        return "in" + std::to_string(p.index);
      case Place::Kind::output:
        return "out" + std::to_string(p.index) + (p.offset ? "+" + std::to_string(p.offset) : "");
      case Place::Kind::dynamic:
        return "dyn" + std::to_string(p.index);
    }
    return "?";
  };
  std::string out;
  for (const Step& step : steps_) {
    const Node& n = graph_.node(step.node);
    out += std::string(n.op->name) + " [" + step.kernel + "] " + n.name + ": ";
    for (size_t i = 0; i < n.inputs.size(); ++i) out += (i ? ", " : "") + place(n.inputs[i]);
    out += " -> ";
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      out += (i ? ", " : "") + place(n.outputs[i]);
      if (n.outputs[i] != kNoValue) out += " " + to_string(graph_, graph_.fact(n.outputs[i]));
    }
    out += "\n";
  }
  return out;
}

}  // namespace skyline
