// If, Loop, Scan. Their bodies are closed: see control.h.
#include "graph/ops/control.h"

#include <algorithm>
#include <limits>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/ops/families.h"
#include "graph/ops/move.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

Fact input_fact(const InferContext& c, size_t i) {
  return c.has(i) ? c.in(i) : Fact();
}
const Tensor* input_constant(const InferContext& c, size_t i) {
  return c.has(i) ? c.constant(i) : nullptr;
}

// ---- If: cond, captures
// -------------------------------------------------------------------------------------------------

// A branch that these very shapes make invalid is one that a run with them does not take.
std::optional<std::vector<Fact>> infer_branch(const Graph& branch, const std::vector<Fact>& in,
                                              const std::vector<const Tensor*>& constants) {
  try {
    return infer_body(branch, in, constants);
  } catch (const Error& e) {
    if (e.code() != Code::invalid) throw;
    return std::nullopt;
  }
}

void infer_if(InferContext& c) {
  const size_t captures = capture_count(c.node, 1);
  if (1 + captures != c.inputs()) reject("If takes a condition and its captures only");
  const Graph* branches[] = {&c.attrs().graph("then_branch"), &c.attrs().graph("else_branch")};
  std::vector<Fact> in;
  std::vector<const Tensor*> constants;
  for (size_t i = 1; i < c.inputs(); ++i) {
    in.push_back(input_fact(c, i));
    constants.push_back(input_constant(c, i));
  }
  for (const Graph* b : branches) require_body(*b, captures, c.outputs());
  const Tensor* cond = c.constant(0);
  if (cond) {
    const std::vector<Fact> taken =
        infer_body(*branches[scalar_bool(*cond, "condition") ? 0 : 1], in, constants);
    for (size_t i = 0; i < taken.size(); ++i) c.out(i, taken[i]);
    return;
  }
  const auto a = infer_branch(*branches[0], in, constants), b = infer_branch(*branches[1], in, constants);
  if (!a && !b) infer_body(*branches[0], in, constants);  // throws
  for (size_t i = 0; i < c.outputs(); ++i) {
    c.out(i, a && b ? join_facts((*a)[i], (*b)[i]) : a ? (*a)[i] : (*b)[i]);
  }
}

void eval_if(EvalContext& c) {
  const size_t captures = capture_count(c.node, 1);
  if (1 + captures != c.inputs()) reject("If takes a condition and its captures only");
  const Graph& body = c.attrs().graph(scalar_bool(c.in(0), "condition") ? "then_branch" : "else_branch");
  require_body(body, captures, c.outputs());
  std::vector<Value> in;
  for (size_t i = 1; i < c.inputs(); ++i) in.push_back(c.has(i) ? c.value(i) : Value());
  std::vector<Value> out = run_body(body, in, c.limits);
  for (size_t i = 0; i < out.size(); ++i) c.out(i, std::move(out[i]));
}

// ---- Loop: [M], [cond], states, captures; body: round, cond, states, captures -> cond, states, scan outputs
// ----------------

struct LoopShape {
  const Graph* body = nullptr;
  size_t captures = 0, states = 0, scans = 0;
};

LoopShape loop_shape(const Node& node) {
  LoopShape s;
  s.body = &node.attrs.graph("body");
  s.captures = capture_count(node, 2);
  const size_t given = std::max<size_t>(2, node.inputs.size());
  const size_t inputs = s.body->inputs().size(), outputs = s.body->outputs().size();
  if (inputs < 2 + s.captures || outputs < 1)
    reject("the body of a Loop takes a round and a condition, and gives one");
  s.states = inputs - 2 - s.captures;
  // Trailing omitted states were trimmed, so the node may give fewer; never more.
  if (given > inputs)
    reject("Loop has " + std::to_string(given) + " inputs, its body takes " + std::to_string(inputs));
  if (given < inputs && s.captures > 0) reject("Loop gives fewer inputs than its body takes");
  if (outputs < 1 + s.states) reject("the body of a Loop has fewer outputs than states");
  s.scans = outputs - 1 - s.states;
  if (node.outputs.size() > s.states + s.scans) reject("Loop has more outputs than its body");
  return s;
}

// How often the body runs, if that is certain: M is constant and nothing ends the loop early.
Dim loop_trips(const InferContext& c, const Graph& body) {
  const Tensor* m = input_constant(c, 0);
  if (!m || m->dtype() != DType::i64 || m->size() != 1) return Dim::unknown();
  if (c.has(1)) {
    const Tensor* cond = c.constant(1);
    if (!cond) return Dim::unknown();
    if (!scalar_bool(*cond, "condition")) return 0;
  }
  const ValueId cond_in = body.inputs()[1];
  ValueId cond_out = body.outputs()[0];
  for (NodeId p = body.producer(cond_out); p != kNoNode && body.node(p).is("Identity");
       p = body.producer(cond_out)) {
    cond_out = body.node(p).in(0);
  }
  const Tensor* always = body.constant(cond_out);
  const bool goes_on = cond_out == cond_in || (always && scalar_bool(*always, "condition"));
  return goes_on ? Dim(std::max<int64_t>(0, m->data<int64_t>()[0])) : Dim::unknown();
}

Fact stacked(Fact f, Dim n, size_t axis) {
  if (f.ranked && axis <= f.dims.size()) f.dims.insert(f.dims.begin() + static_cast<int64_t>(axis), n);
  return f;
}

// The facts that hold in every round, for the body's inputs; and of its outputs.
std::vector<Fact> infer_loop_body(const InferContext& c, const LoopShape& s, std::vector<Fact>& in) {
  std::vector<const Tensor*> constants(2 + s.states);
  in = {Fact(DType::i64, {}), Fact(DType::boolean, {})};
  // Both may be declared as [1], which many exporters do.
  for (size_t i = 0; i < 2; ++i) {
    const Fact& declared = s.body->fact(s.body->inputs()[i]);
    if (declared.ranked && declared.rank() == 1) in[i] = Fact(in[i].dtype, {Dim(1)});
  }
  for (size_t i = 0; i < s.states + s.captures; ++i) in.push_back(input_fact(c, 2 + i));
  for (size_t i = 0; i < s.captures; ++i) constants.push_back(input_constant(c, 2 + s.states + i));
  return infer_rounds(*s.body, in, constants, 2, 1, s.states);
}

void infer_loop(InferContext& c) {
  const LoopShape s = loop_shape(c.node);
  std::vector<Fact> in;
  const std::vector<Fact> out = infer_loop_body(c, s, in);
  const Dim trips = loop_trips(c, *s.body);
  for (size_t i = 0; i < s.states; ++i) c.out(i, join_facts(in[2 + i], out[1 + i]));
  for (size_t i = 0; i < s.scans; ++i) c.out(s.states + i, stacked(out[1 + s.states + i], trips, 0));
}

// Values of one scan output, collected over the rounds.
class Collector {
 public:
  Collector(const EvalContext& c, size_t axis, bool reverse) : c_(c), axis_(axis), reverse_(reverse) {}
  void add(const Tensor& t) {
    if (!parts_.empty() && (parts_[0].dtype() != t.dtype() || dims_ != t.dims())) {
      reject("a scan output changes from " + to_string(dims_) + " to " + to_string(t.dims()));
    }
    dims_ = t.dims();
    bytes_ += t.bytes();
    if (bytes_ > c_.limits.max_bytes) throw Error(Code::limit, "a scan output grows over the memory limit");
    if (axis_ > dims_.size()) reject("scan output axis " + std::to_string(axis_) + " is outside the output");
    Dims d = dims_;
    d.insert(d.begin() + static_cast<int64_t>(axis_), 1);
    parts_.push_back(t.reshaped(d));
  }
  bool empty() const { return parts_.empty(); }
  Tensor finish() {
    if (reverse_) std::reverse(parts_.begin(), parts_.end());
    return concat(c_, parts_, static_cast<int64_t>(axis_));
  }

 private:
  const EvalContext& c_;
  size_t axis_;
  bool reverse_;
  std::vector<Tensor> parts_;
  Dims dims_;
  int64_t bytes_ = 0;
};

// A scan output of no rounds: its other dims from inference, 0 where they are not known.
Tensor no_rounds(const EvalContext& c, const Fact& f, size_t axis) {
  Dims d;
  for (Dim x : f.dims) d.push_back(x.known() ? x.value() : 0);
  if (axis > d.size()) axis = d.size();
  d.insert(d.begin() + static_cast<int64_t>(axis), 0);
  if (f.dtype == DType::undefined) refuse("a scan output of unknown dtype over no rounds");
  return c.make(f.dtype, d);
}

void require_same_kind(const Value& before, const Value& now, size_t state) {
  if (before.is_tensor() && now.is_tensor() && before.tensor().dtype() != now.tensor().dtype()) {
    reject("state " + std::to_string(state) + " changes its dtype");
  }
  if (before.is_tensor() != now.is_tensor() && !before.is_none()) {
    reject("state " + std::to_string(state) + " changes between tensor and sequence");
  }
}

// A tensor for the body's round number or condition, in the rank that the body declares.
template <class T>
Tensor as_declared(const Graph& body, size_t input, T value) {
  const Fact& f = body.fact(body.inputs()[input]);
  return f.ranked && f.rank() == 1 ? Tensor::of<T>({1}, {value}) : Tensor::scalar<T>(value);
}

template <>
Tensor as_declared(const Graph& body, size_t input, bool value) {
  const Fact& f = body.fact(body.inputs()[input]);
  Tensor t(DType::boolean, f.ranked && f.rank() == 1 ? Dims{1} : Dims{});
  *t.mutable_data<bool>() = value;
  return t;
}

void eval_loop(EvalContext& c) {
  const LoopShape s = loop_shape(c.node);
  const int64_t most = c.has(0) ? one_int(c.in(0), "trip count") : std::numeric_limits<int64_t>::max();
  bool go_on = !c.has(1) || scalar_bool(c.in(1), "condition");
  std::vector<Value> in(s.body->inputs().size());
  for (size_t i = 2; i < in.size(); ++i) in[i] = c.has(i) ? c.value(i) : Value();
  std::vector<Collector> scans;
  for (size_t i = 0; i < s.scans; ++i) scans.emplace_back(c, 0, false);
  for (int64_t round = 0; go_on && round < most; ++round) {
    poll(c.limits);
    in[0] = as_declared<int64_t>(*s.body, 0, round);
    in[1] = as_declared<bool>(*s.body, 1, go_on);
    std::vector<Value> out = run_body(*s.body, in, c.limits);
    go_on = scalar_bool(out[0].tensor(), "condition of the body");
    for (size_t i = 0; i < s.states; ++i) {
      require_same_kind(in[2 + i], out[1 + i], i);
      in[2 + i] = std::move(out[1 + i]);
    }
    for (size_t i = 0; i < s.scans; ++i) scans[i].add(out[1 + s.states + i].tensor());
  }
  std::vector<Fact> facts;
  if (s.scans > 0 && scans[0].empty()) {
    std::vector<Fact> known;
    for (const Value& v : in) known.push_back(fact_of(v));
    known[0] = fact_of(as_declared<int64_t>(*s.body, 0, 0));
    known[1] = fact_of(as_declared<bool>(*s.body, 1, true));
    facts = infer_body(*s.body, known, {});
  }
  for (size_t i = 0; i < s.states; ++i) c.out(i, in[2 + i]);
  for (size_t i = 0; i < s.scans; ++i) {
    c.out(s.states + i, facts.empty() ? scans[i].finish() : no_rounds(c, facts[1 + s.states + i], 0));
  }
}

// ---- Scan: states, scan inputs, captures; body: states, slices, captures -> states, scan outputs
// ----------------------------

struct ScanShape {
  const Graph* body = nullptr;
  size_t captures = 0, states = 0, scan_in = 0, scan_out = 0;
  Dims in_axes, in_directions, out_axes,
      out_directions;  // one each per scan input or output; axes may be negative
};

Dims per_scan(const Attrs& a, std::string_view name, size_t n, bool direction) {
  Dims d = a.integers(name, Dims(n, 0));
  if (d.size() != n)
    reject("attribute " + std::string(name) + " has " + std::to_string(d.size()) + " entries");
  for (int64_t v : d) {
    if (direction && v != 0 && v != 1) reject("attribute " + std::string(name) + " has " + std::to_string(v));
  }
  return d;
}

ScanShape scan_shape(const Node& node) {
  ScanShape s;
  s.body = &node.attrs.graph("body");
  s.captures = capture_count(node, 0);
  const int64_t n = node.attrs.integer("num_scan_inputs");
  const size_t given = node.inputs.size() - s.captures;
  if (n < 1 || static_cast<size_t>(n) > given) reject("attribute num_scan_inputs is " + std::to_string(n));
  s.scan_in = static_cast<size_t>(n);
  s.states = given - s.scan_in;
  if (s.body->outputs().size() < s.states) reject("the body of a Scan has fewer outputs than states");
  s.scan_out = s.body->outputs().size() - s.states;
  require_body(*s.body, node.inputs.size(), s.states + s.scan_out);
  if (node.outputs.size() > s.states + s.scan_out) reject("Scan has more outputs than its body");
  s.in_axes = per_scan(node.attrs, "scan_input_axes", s.scan_in, false);
  s.in_directions = per_scan(node.attrs, "scan_input_directions", s.scan_in, true);
  s.out_axes = per_scan(node.attrs, "scan_output_axes", s.scan_out, false);
  s.out_directions = per_scan(node.attrs, "scan_output_directions", s.scan_out, true);
  return s;
}

void infer_scan(InferContext& c) {
  const ScanShape s = scan_shape(c.node);
  std::vector<Fact> in;
  std::vector<const Tensor*> constants(s.states + s.scan_in);
  Dim rounds;
  for (size_t i = 0; i < c.inputs(); ++i) {
    Fact f = input_fact(c, i);
    if (i >= s.states && i < s.states + s.scan_in && f.ranked) {
      const int axis = normalize_axis(s.in_axes[i - s.states], f.rank(), "scan input axis");
      rounds = agree(rounds, f.dims[static_cast<size_t>(axis)], "number of rounds");
      f.dims.erase(f.dims.begin() + axis);
    }
    in.push_back(std::move(f));
  }
  for (size_t i = 0; i < s.captures; ++i) constants.push_back(input_constant(c, s.states + s.scan_in + i));
  const std::vector<Fact> out = infer_rounds(*s.body, in, constants, 0, 0, s.states);
  for (size_t i = 0; i < s.states; ++i) c.out(i, join_facts(in[i], out[i]));
  for (size_t i = 0; i < s.scan_out; ++i) {
    const Fact& f = out[s.states + i];
    const int axis = f.ranked ? normalize_axis(s.out_axes[i], f.rank() + 1, "scan output axis") : 0;
    c.out(s.states + i, stacked(f, rounds, static_cast<size_t>(axis)));
  }
}

void eval_scan(EvalContext& c) {
  const ScanShape s = scan_shape(c.node);
  std::vector<Value> in(c.inputs());
  for (size_t i = 0; i < in.size(); ++i) in[i] = c.has(i) ? c.value(i) : Value();
  std::vector<size_t> axes;
  int64_t rounds = -1;
  for (size_t i = 0; i < s.scan_in; ++i) {
    const Tensor& t = c.in(s.states + i);
    axes.push_back(static_cast<size_t>(normalize_axis(s.in_axes[i], t.rank(), "scan input axis")));
    const int64_t n = t.dims()[axes[i]];
    if (rounds >= 0 && n != rounds)
      reject("scan inputs of " + std::to_string(rounds) + " and " + std::to_string(n));
    rounds = n;
  }
  // The rank of a scan output is known after one round; until then a negative axis waits in the facts.
  std::vector<Fact> known;
  for (size_t i = 0; i < in.size(); ++i) {
    known.push_back(fact_of(in[i]));
    if (i >= s.states && i < s.states + s.scan_in) {
      SymDims& d = known.back().dims;
      d.erase(d.begin() + static_cast<int64_t>(axes[i - s.states]));
    }
  }
  std::vector<Collector> scans;
  const std::vector<Fact> facts = rounds == 0 ? infer_body(*s.body, known, {}) : std::vector<Fact>();
  for (int64_t round = 0; round < rounds; ++round) {
    poll(c.limits);
    for (size_t i = 0; i < s.scan_in; ++i) {
      const Tensor& whole = c.in(s.states + i);
      Dims d = whole.dims();
      d.erase(d.begin() + static_cast<int64_t>(axes[i]));
      const int64_t at = s.in_directions[i] == 1 ? rounds - 1 - round : round;
      in[s.states + i] = cut(c, whole, axes[i], at, 1).reshaped(d);
    }
    std::vector<Value> out = run_body(*s.body, in, c.limits);
    for (size_t i = 0; i < s.scan_out; ++i) {
      const Tensor& t = out[s.states + i].tensor();
      if (round == 0) {
        const int axis = normalize_axis(s.out_axes[i], t.rank() + 1, "scan output axis");
        scans.emplace_back(c, static_cast<size_t>(axis), s.out_directions[i] == 1);
      }
      scans[i].add(t);
    }
    for (size_t i = 0; i < s.states; ++i) {
      require_same_kind(in[i], out[i], i);
      in[i] = std::move(out[i]);
    }
  }
  for (size_t i = 0; i < s.states; ++i) c.out(i, in[i]);
  for (size_t i = 0; i < s.scan_out; ++i) {
    if (rounds > 0) {
      c.out(s.states + i, scans[i].finish());
    } else {
      const Fact& f = facts[s.states + i];
      const int axis = f.ranked ? normalize_axis(s.out_axes[i], f.rank() + 1, "scan output axis") : 0;
      c.out(s.states + i, no_rounds(c, f, static_cast<size_t>(axis)));
    }
  }
}

constexpr OpDef kOps[] = {
    {.name = "If",
     .min_inputs = 1,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_if,
     .eval = eval_if,
     .flags = kOpControl},
    {.name = "Loop",
     .min_inputs = 0,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_loop,
     .eval = eval_loop,
     .flags = kOpControl},
    {.name = "Scan",
     .min_inputs = 1,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_scan,
     .eval = eval_scan,
     .flags = kOpControl},
};

}  // namespace

std::span<const OpDef> control_ops() {
  return kOps;
}

}  // namespace skyline::ops
