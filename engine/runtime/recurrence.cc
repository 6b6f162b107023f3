#include "skyline/recurrence.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/runtime/session_impl.h"
#include "graph/ir/interpret.h"
#include "graph/passes/keep_states.h"

namespace skyline {
namespace {

using passes::GrowingState;

// Plans for one length each: a length comes once in a sequence.
constexpr size_t kMaxPlans = 8;

// The axis along which the output is longer, or nothing if the state keeps its size: a named dim that is not
// the output's, and that no other input has (as all have the batch).
std::optional<int> growing_axis(const Session& s, std::span<const Carry> carries, const ValueDescription& in,
                                const ValueDescription& out) {
  const auto is_common = [&](Dim d) {
    return std::any_of(s.inputs().begin(), s.inputs().end(), [&](const ValueDescription& other) {
      const bool carried =
          std::any_of(carries.begin(), carries.end(), [&](const Carry& c) { return c.input == other.name; });
      return !carried &&
             std::find(other.fact.dims.begin(), other.fact.dims.end(), d) != other.fact.dims.end();
    });
  };
  if (in.fact.kind != Fact::Kind::tensor || out.fact.kind != Fact::Kind::tensor || !in.fact.ranked) {
    throw Error(Code::invalid, "input '" + in.name + "' is no tensor of known rank and cannot be carried");
  }
  if (in.fact.dtype != out.fact.dtype) {
    throw Error(Code::invalid, "output '" + out.name + "' has type " + std::string(name(out.fact.dtype)) +
                                   ", but input '" + in.name + "' " + std::string(name(in.fact.dtype)));
  }
  std::optional<int> axis;
  for (int i = 0; i < in.fact.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    const Dim have = in.fact.dims[at];
    if (!have.is_symbol() || is_common(have)) continue;
    if (out.fact.ranked && out.fact.rank() == in.fact.rank() && out.fact.dims[at] == have) continue;
    if (axis) {
      throw Error(Code::invalid, "input '" + in.name + "' could grow along axis " + std::to_string(*axis) +
                                     " or " + std::to_string(i) + ": give the model dims that tell");
    }
    axis = i;
  }
  return axis;
}

// Copies `rows` rows of each outer index between tensors that have more of them.
struct Span {
  int64_t outer = 1, inner = 1;  // inner in bytes
  Span(const Dims& dims, int axis, DType t) : inner(static_cast<int64_t>(size_of(t))) {
    for (size_t i = 0; i < dims.size(); ++i) {
      if (static_cast<int>(i) != axis) (static_cast<int>(i) < axis ? outer : inner) *= dims[i];
    }
  }
  void copy(const Tensor& from, int64_t from_rows, Tensor& to, int64_t to_rows, int64_t rows) const {
    const auto* x = static_cast<const std::byte*>(from.raw());
    auto* y = static_cast<std::byte*>(const_cast<void*>(to.raw()));
    if (rows * inner == 0) return;
    for (int64_t i = 0; i < outer; ++i)
      std::memcpy(y + i * to_rows * inner, x + i * from_rows * inner, static_cast<size_t>(rows * inner));
  }
};

bool replace_first(std::string& s, std::string_view from, std::string_view to) {
  const size_t at = s.find(from);
  if (at == std::string::npos) return false;
  s.replace(at, from.size(), to);
  return true;
}

}  // namespace

std::vector<Carry> find_carries(const Session& session) {
  const auto is_input = [&](const std::string& name) {
    return std::any_of(session.inputs().begin(), session.inputs().end(),
                       [&](const ValueDescription& d) { return d.name == name; });
  };
  std::vector<Carry> found;
  for (const ValueDescription& out : session.outputs()) {
    constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
        {"present_key_values", "past_key_values"},
        {"present", "past_key_values"},
        {"present", "past"},
        {"_out", "_in"},
        {"_out", ""},
        {"_next", ""}};
    const auto add = [&](const std::string& in) {
      const bool fits = in != out.name && is_input(in);
      if (fits) found.push_back({out.name, in});
      return fits;
    };
    bool done = out.name.ends_with("N") && add(out.name.substr(0, out.name.size() - 1));
    for (const auto& [from, to] : kRenamed) {
      std::string in = out.name;
      if (!done && replace_first(in, from, to)) done = add(in);
    }
  }
  return found;
}

namespace {

// What a plan for all lengths takes in that follows from the length alone, evaluated anew at each.
struct Followers {
  Graph values;               // passes::LengthSplit::values
  std::vector<Fact> facts;    // of its outputs where the caches are full
  std::vector<bool> grows;    // along the last axis
  std::vector<Tensor> masks;  // of those that grow: as large as when full, with the part that counts in front
};

// Of two lengths' results: nothing if they differ in more than their last axis, by the difference in length.
std::optional<Followers> followers_of(Graph values, std::span<const Value> full, std::span<const Value> less,
                                      int64_t capacity, int64_t difference) {
  Followers f{std::move(values), {}, {}, {}};
  for (size_t i = 0; i < full.size(); ++i) {
    Dims a = full[i].tensor().dims(), b = less[i].tensor().dims();
    const bool grows = a != b;
    if (grows) {
      if (a.empty() || a.size() != b.size() || a.back() != capacity) return std::nullopt;
      b.back() += difference;
      if (a != b) return std::nullopt;
    }
    f.facts.push_back(Fact::of(full[i].tensor()));
    f.grows.push_back(grows);
    f.masks.push_back(grows ? Tensor::zeros(full[i].tensor().dtype(), a) : Tensor());
  }
  return f;
}

}  // namespace

struct Recurrence::Impl {
  struct State {
    size_t input, output;  // of the session
    int axis = -1;         // -1: keeps its size
    Tensor value;          // growing: a cache of `capacity` rows
    Dims dims;             // with the rows in use along axis
    Span span() const { return {value.dims(), axis, value.dtype()}; }
  };
  struct Entry {
    std::shared_ptr<const Plan> plan;  // null: through the session, with copies
    std::unique_ptr<RunState> state;
    std::shared_ptr<Followers> follow;  // of a plan for all lengths
    int64_t added = 0;
    uint64_t used = 0;
  };

  std::shared_ptr<const Session::Impl> session;
  std::vector<State> states;
  std::vector<GrowingState> growing;
  std::vector<size_t> free_inputs, free_outputs;  // what is not carried
  std::vector<ValueDescription> inputs, outputs;
  int64_t capacity = 0, length = 0;
  bool in_place = false;
  bool bound_to_lengths = false;  // a plan for all lengths met one that it was wrong for
  size_t plans_made = 0;
  uint64_t clock = 0;
  std::map<std::vector<int64_t>, Entry> entries;  // by dims of the free inputs and the length (-1: any)

  void add(const Session& s, std::span<const Carry> carries, const Carry& c);
  void start(State& s);
  Dims full_dims(const State& s) const;
  std::vector<Fact> facts_of(std::span<const Value> in, Dim rows) const;
  std::vector<Value> values_at(const Graph& values, std::span<const Value> in, int64_t rows) const;
  Entry any_length(std::span<const Value> in, int64_t added) const;
  Entry make_entry(std::span<const Value> in) const;
  bool follow(Entry& e, std::span<const Value> in, std::span<Value> to) const;
  Entry& entry_for(std::span<const Value> in);
  std::vector<Value> run_plan(Entry& e, std::span<const Value> in);
  std::vector<Value> run_copied(std::span<const Value> in);
};

void Recurrence::Impl::add(const Session& s, std::span<const Carry> carries, const Carry& c) {
  const auto find = [](const auto& list, const std::string& name, const char* what) {
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i].name == name) return i;
    }
    std::string names;
    for (const ValueDescription& d : list) names += (names.empty() ? "'" : ", '") + d.name + "'";
    throw Error(Code::invalid, "the model has no " + std::string(what) + " '" + name + "'; it has " + names);
  };
  State state;
  state.input = find(s.inputs(), c.input, "input");
  state.output = find(s.outputs(), c.output, "output");
  for (const State& other : states) {
    if (other.input == state.input || other.output == state.output)
      throw Error(Code::invalid, "'" + c.input + "' or '" + c.output + "' is carried twice");
  }
  const auto axis = growing_axis(s, carries, s.inputs()[state.input], s.outputs()[state.output]);
  state.axis = axis.value_or(-1);
  if (axis) growing.push_back({state.input, state.output, *axis});
  start(state);
  states.push_back(std::move(state));
}

void Recurrence::Impl::start(State& s) {
  const Fact& f = session->inputs[s.input].fact;
  s.dims.clear();
  for (int i = 0; i < f.rank(); ++i) {
    const Dim d = f.dims[static_cast<size_t>(i)];
    s.dims.push_back(i == s.axis ? 0 : d.known() ? d.value() : 1);
  }
  const Dims full = full_dims(s);
  s.value = s.axis < 0 ? Tensor::zeros(f.dtype, full) : Tensor(f.dtype, full);
}

// Of the tensor that holds a state. Error{limit} for a cache that would be too large.
Dims Recurrence::Impl::full_dims(const State& s) const {
  Dims full = s.dims;
  if (s.axis >= 0) full[static_cast<size_t>(s.axis)] = capacity;
  int64_t bytes = static_cast<int64_t>(size_of(session->inputs[s.input].fact.dtype));
  for (int64_t d : full) {
    if (__builtin_mul_overflow(bytes, d, &bytes) || bytes > session->state.options.max_tensor_bytes) {
      throw Error(Code::limit, "the cache of '" + session->inputs[s.input].name + "' with " +
                                   std::to_string(capacity) + " rows would be above the limit of " +
                                   std::to_string(session->state.options.max_tensor_bytes) + " bytes");
    }
  }
  return full;
}

// Of all inputs of the session, with `rows` along the growing axes.
std::vector<Fact> Recurrence::Impl::facts_of(std::span<const Value> in, Dim rows) const {
  std::vector<Fact> facts(session->inputs.size());
  for (size_t i = 0; i < free_inputs.size(); ++i) {
    facts[free_inputs[i]] =
        in[i].is_tensor() ? Fact::of(in[i].tensor()) : session->inputs[free_inputs[i]].fact;
  }
  for (const State& s : states) {
    Fact& f = facts[s.input];
    f = Fact::fixed(s.value.dtype(), s.dims);
    if (s.axis >= 0) f.dims[static_cast<size_t>(s.axis)] = rows;
  }
  return facts;
}

namespace {

// Rows that a run adds to each cache of the plan; -1 if to some more than to others.
int64_t rows_added(const Plan& p) {
  const Graph& g = p.graph();
  int64_t rows = -1;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (!n.is("Append")) continue;
    const int64_t here = g.fact(n.in(1)).static_dims()[static_cast<size_t>(n.attrs.integer("axis"))];
    if (rows >= 0 && rows != here) return -1;
    rows = here;
  }
  return rows;
}

}  // namespace

// What follows from the length if the states have so many rows.
std::vector<Value> Recurrence::Impl::values_at(const Graph& values, std::span<const Value> in,
                                               int64_t rows) const {
  std::vector<Value> all(session->inputs.size());
  for (size_t i = 0; i < free_inputs.size(); ++i) all[free_inputs[i]] = in[i];
  for (const State& s : states) {
    Dims dims = s.dims;
    if (s.axis >= 0) dims[static_cast<size_t>(s.axis)] = rows;
    all[s.input] = Tensor::view(s.value.dtype(), dims, s.value.raw());  // read for its dims
  }
  return interpret(values, all,
                   {.max_bytes = session->state.options.max_tensor_bytes, .check = {}, .run_body = {}});
}

// A plan that serves all lengths, made for full caches; no plan if there is none.
Recurrence::Impl::Entry Recurrence::Impl::any_length(std::span<const Value> in, int64_t added) const {
  const int64_t most = capacity - added;
  if (most < 1) return {};
  const Executable& x = *session->executable;
  std::vector<Fact> facts = facts_of(in, Dim::unknown());
  passes::LengthSplit split = passes::split_lengths(x.bound(facts), growing);
  const int64_t other = length < most ? length : most - 1;
  std::optional<Followers> f = followers_of(split.values, values_at(split.values, in, most),
                                            values_at(split.values, in, other), capacity, most - other);
  if (!f) return {};
  std::vector<size_t> masks;
  for (size_t i = 0; i < f->facts.size(); ++i) {
    if (f->grows[i]) masks.push_back(facts.size());
    facts.push_back(f->facts[i]);
    if (f->grows[i]) facts.back().dims.back() = Dim::unknown();
  }
  if (!passes::free_of_length(with_facts(split.body, facts), growing)) return {};
  facts = facts_of(in, most);
  facts.insert(facts.end(), f->facts.begin(), f->facts.end());
  Entry e;
  e.plan = x.plan_growing(with_facts(std::move(split.body), facts), [&](Graph& g) {
    return passes::keep_states_of_any_length(g, growing, capacity, masks);
  });
  if (!e.plan || rows_added(*e.plan) != added) return {};
  e.follow = std::make_shared<Followers>(std::move(*f));
  return e;
}

Recurrence::Impl::Entry Recurrence::Impl::make_entry(std::span<const Value> in) const {
  const Executable& x = *session->executable;
  const bool tensors = std::all_of(in.begin(), in.end(), [](const Value& v) { return v.is_tensor(); });
  if (growing.empty() || !tensors) return {};
  Entry e;
  e.plan = x.plan_growing(x.bound(facts_of(in, length)),
                          [&](Graph& g) { return passes::keep_states(g, growing, capacity); });
  if (!e.plan) return {};
  e.added = rows_added(*e.plan);
  if (e.added < 0) return {};
  if (!bound_to_lengths) {
    try {
      if (Entry any = any_length(in, e.added); any.plan) {
        any.added = e.added;
        e = std::move(any);
      }
    } catch (
        const Error&) {  // no such inputs with full caches: a mask as long as now, a table that ends before
    }
  }
  e.state = e.plan->make_state();
  return e;
}

// Puts what follows from the present length among the plan's inputs. False if it is not of the shape that was
// expected.
bool Recurrence::Impl::follow(Entry& e, std::span<const Value> in, std::span<Value> to) const {
  Followers& f = *e.follow;
  const std::vector<Value> now = values_at(f.values, in, length);
  for (size_t i = 0; i < now.size(); ++i) {
    const Tensor& t = now[i].tensor();
    Dims want = f.facts[i].static_dims();
    if (f.grows[i]) want.back() = length + e.added;
    if (t.dims() != want || t.dtype() != f.facts[i].dtype) return false;
    to[i] = f.grows[i] ? f.masks[i] : t;
    if (!f.grows[i]) continue;
    const int last = t.rank() - 1;
    Span(want, last, t.dtype()).copy(t, want.back(), f.masks[i], capacity, want.back());
  }
  return true;
}

Recurrence::Impl::Entry& Recurrence::Impl::entry_for(std::span<const Value> in) {
  std::vector<int64_t> key;
  for (const Value& v : in) {
    const bool tensor = v.is_tensor();
    key.push_back(tensor ? v.tensor().rank() : -1);
    if (tensor) key.insert(key.end(), v.tensor().dims().begin(), v.tensor().dims().end());
  }
  for (int64_t rows : {int64_t{-1}, length}) {
    key.push_back(rows);
    const auto it = entries.find(key);
    if (it != entries.end()) {
      it->second.used = ++clock;
      return it->second;
    }
    key.pop_back();
  }
  Entry e = make_entry(in);
  ++plans_made;
  e.used = ++clock;
  if (entries.size() >= kMaxPlans) {
    entries.erase(std::min_element(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    }));
  }
  key.push_back(e.follow ? -1 : length);
  return entries[key] = std::move(e);
}

std::vector<Value> Recurrence::Impl::run_plan(Entry& e, std::span<const Value> in) {
  if (length + e.added > capacity) {
    throw Error(Code::limit, "the caches hold " + std::to_string(length) + " of " + std::to_string(capacity) +
                                 " rows, and the run adds " + std::to_string(e.added));
  }
  const size_t followers = e.follow ? e.follow->facts.size() : 0;
  std::vector<Value> all(session->inputs.size() + followers + 1);
  for (size_t i = 0; i < free_inputs.size(); ++i) all[free_inputs[i]] = in[i];
  for (const State& s : states) all[s.input] = s.value;
  all.back() = Tensor::vector({length});
  if (e.follow && !follow(e, in, std::span(all).subspan(session->inputs.size(), followers))) {
    bound_to_lengths = true;  // no more of these
    entries.clear();
    Entry& other = entry_for(in);
    return other.plan ? run_plan(other, in) : run_copied(in);
  }
  RunState& r = *e.state;
  e.plan->bind_inputs(r, all);
  e.plan->make_outputs(r);
  e.plan->execute(r, {}, nullptr);
  std::vector<Value> made = std::exchange(r.outputs, std::vector<Value>(r.outputs.size()));
  for (Value& v : r.inputs) v = Value();
  // The outputs of growing states have left the plan; the others keep their order.
  std::vector<Value> out;
  size_t at = 0;
  for (size_t o = 0; o < session->outputs.size(); ++o) {
    const auto s = std::find_if(states.begin(), states.end(), [&](const State& x) { return x.output == o; });
    if (s != states.end() && s->axis >= 0) continue;
    if (s != states.end()) {
      s->value = made[at++].tensor();
    } else {
      out.push_back(std::move(made[at++]));
    }
  }
  length += e.added;
  in_place = true;
  return out;
}

std::vector<Value> Recurrence::Impl::run_copied(std::span<const Value> in) {
  std::vector<Value> all(session->inputs.size());
  for (size_t i = 0; i < free_inputs.size(); ++i) all[free_inputs[i]] = in[i];
  for (const State& s : states) {
    if (s.axis < 0) {
      all[s.input] = s.value;
      continue;
    }
    Tensor t(s.value.dtype(), s.dims);
    s.span().copy(s.value, capacity, t, length, length);
    all[s.input] = std::move(t);
  }
  std::vector<Value> made = session->executable->run(all, {});
  int64_t rows = -1;
  for (const State& s : states) {  // all is checked before anything changes
    const Tensor& t = made[s.output].tensor();
    Dims want = s.dims;
    if (s.axis >= 0 && t.rank() == static_cast<int>(want.size()))
      want[static_cast<size_t>(s.axis)] = t.dim(s.axis);
    if (t.dims() != want || t.dtype() != s.value.dtype()) {
      throw Error(Code::input, "output '" + session->outputs[s.output].name + "' came out as " +
                                   to_string(t.dims()) + ", which input '" + session->inputs[s.input].name +
                                   "' cannot take");
    }
    if (s.axis < 0) continue;
    if (rows >= 0 && rows != t.dim(s.axis))
      throw Error(Code::unsupported, "growing states came out with different numbers of rows");
    rows = t.dim(s.axis);
  }
  if (rows > capacity) {
    throw Error(Code::limit, "the caches have room for " + std::to_string(capacity) + " rows, not for " +
                                 std::to_string(rows));
  }
  std::vector<Value> out;
  for (size_t o : free_outputs) out.push_back(std::move(made[o]));
  for (State& s : states) {
    const Tensor& t = made[s.output].tensor();
    if (s.axis < 0) {
      s.value = t;
    } else {
      s.span().copy(t, rows, s.value, capacity, rows);
      s.dims[static_cast<size_t>(s.axis)] = rows;
    }
  }
  length = std::max<int64_t>(rows, 0);
  in_place = false;
  return out;
}

Recurrence::Recurrence(const Session& session, std::vector<Carry> carries, int64_t capacity)
    : impl_(std::make_unique<Impl>()) {
  if (capacity < 0) throw Error(Code::invalid, "the capacity is " + std::to_string(capacity));
  impl_->session = session.impl_;
  impl_->capacity = capacity;
  for (const Carry& c : carries) impl_->add(session, carries, c);
  for (size_t i = 0; i < session.inputs().size(); ++i) {
    if (std::any_of(impl_->states.begin(), impl_->states.end(), [&](const auto& s) { return s.input == i; }))
      continue;
    impl_->free_inputs.push_back(i);
    impl_->inputs.push_back(session.inputs()[i]);
  }
  for (size_t i = 0; i < session.outputs().size(); ++i) {
    if (std::any_of(impl_->states.begin(), impl_->states.end(), [&](const auto& s) { return s.output == i; }))
      continue;
    impl_->free_outputs.push_back(i);
    impl_->outputs.push_back(session.outputs()[i]);
  }
}
Recurrence::~Recurrence() = default;
Recurrence::Recurrence(Recurrence&&) noexcept = default;
Recurrence& Recurrence::operator=(Recurrence&&) noexcept = default;

const std::vector<ValueDescription>& Recurrence::inputs() const {
  return impl_->inputs;
}
const std::vector<ValueDescription>& Recurrence::outputs() const {
  return impl_->outputs;
}

std::vector<Value> Recurrence::run(std::span<const Value> inputs) {
  Impl& r = *impl_;
  if (inputs.size() != r.free_inputs.size()) {
    throw Error(Code::input, "the model takes " + std::to_string(r.free_inputs.size()) +
                                 " inputs besides what is carried, got " + std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) r.session->check(r.free_inputs[i], inputs[i]);
  Impl::Entry& e = r.entry_for(inputs);
  std::vector<Value> out = e.plan ? r.run_plan(e, inputs) : r.run_copied(inputs);
  for (Impl::State& s : r.states) {
    if (s.axis >= 0) s.dims[static_cast<size_t>(s.axis)] = r.length;
  }
  return out;
}

int64_t Recurrence::length() const {
  return impl_->length;
}

void Recurrence::truncate(int64_t length) {
  if (length < 0 || length > impl_->length) {
    throw Error(Code::input, "the caches hold " + std::to_string(impl_->length) +
                                 " rows and cannot be cut to " + std::to_string(length));
  }
  impl_->length = length;
  for (Impl::State& s : impl_->states) {
    if (s.axis >= 0) s.dims[static_cast<size_t>(s.axis)] = length;
  }
}

Tensor Recurrence::state(size_t carry) const {
  if (carry >= impl_->states.size()) throw Error(Code::input, "there is no state " + std::to_string(carry));
  const Impl::State& s = impl_->states[carry];
  if (s.axis < 0) return s.value.clone();
  Tensor t(s.value.dtype(), s.dims);
  s.span().copy(s.value, impl_->capacity, t, impl_->length, impl_->length);
  return t;
}

void Recurrence::set_states(std::span<const Tensor> states) {
  if (states.size() != impl_->states.size()) {
    throw Error(Code::input, std::to_string(impl_->states.size()) + " states are carried, got " +
                                 std::to_string(states.size()));
  }
  int64_t rows = 0;
  bool first = true;
  for (size_t i = 0; i < states.size(); ++i) {
    const Impl::State& s = impl_->states[i];
    impl_->session->check(s.input, states[i]);
    if (s.axis < 0) continue;
    const int64_t here = states[i].dim(s.axis);
    if (here > impl_->capacity || (!first && here != rows)) {
      throw Error(Code::input, "state '" + impl_->session->inputs[s.input].name + "' has " +
                                   std::to_string(here) + " rows, where " +
                                   (first ? "at most " + std::to_string(impl_->capacity) + " fit"
                                          : "others have " + std::to_string(rows)));
    }
    rows = here;
    first = false;
  }
  for (size_t i = 0; i < states.size(); ++i) {
    Impl::State& s = impl_->states[i];
    s.dims = states[i].dims();
    if (s.axis < 0) {
      s.value = states[i].clone();
      continue;
    }
    if (Dims full = impl_->full_dims(s); full != s.value.dims()) s.value = Tensor(s.value.dtype(), full);
    s.span().copy(states[i], rows, s.value, impl_->capacity, rows);
  }
  impl_->length = rows;
  impl_->entries.clear();  // other dims of the states may have changed
}

bool Recurrence::in_place() const {
  return impl_->in_place;
}
size_t Recurrence::plans() const {
  return impl_->plans_made;
}

}  // namespace skyline
