// Chains and trees of f32 elementwise operators => one FusedElementwise, so that what is between them stays
// in cache and small models pay for one step. Two nodes at a time; the driver does the rest.
#include <algorithm>
#include <cmath>

#include "graph/ops/fused_elementwise.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

using ops::ElementwiseStep;

// A node as a program over its inputs.
struct Program {
  std::vector<ValueId> inputs;
  std::vector<ElementwiseStep> steps;
};

std::optional<Program> single(const Graph& g, const Node& n) {
  if (!n.op->domain.empty()) return std::nullopt;
  const ops::FusibleOp* row = ops::find_fusible(n.op->name);
  if (!row) return std::nullopt;
  ElementwiseStep s{std::string(row->name), 0, -1, 0, 0};
  if (!row->alpha.empty()) s.alpha = n.attrs.real(row->alpha, row->alpha_default);
  if (!row->beta.empty()) s.beta = n.attrs.real(row->beta, row->beta_default);
  if (row->name == "Clip") {
    const auto low = n.in(1) == kNoValue ? std::optional<double>(-INFINITY) : uniform(g, n.in(1));
    const auto high = n.in(2) == kNoValue ? std::optional<double>(INFINITY) : uniform(g, n.in(2));
    if (!low || !high || !(*low <= *high)) return std::nullopt;
    s.alpha = static_cast<float>(*low);
    s.beta = static_cast<float>(*high);
    return Program{{n.in(0)}, {s}};
  }
  if (static_cast<int>(n.inputs.size()) != row->inputs) return std::nullopt;
  Program p{n.inputs, {s}};
  if (row->inputs == 2) {
    p.steps[0].b = n.in(1) == n.in(0) ? 0 : 1;
    if (n.in(1) == n.in(0)) p.inputs.pop_back();
  }
  return p;
}

// Nothing unless every operand is a static f32 tensor of few dims.
std::optional<Program> program_of(const Graph& g, const Node& n) {
  if (n.outputs.size() != 1) return std::nullopt;
  for (ValueId v : n.inputs) {
    if (v == kNoValue) continue;
    const Fact& f = g.fact(v);
    if (!f.is_static() || f.dtype != DType::f32 || f.rank() > ops::kMaxFusedInputs) return std::nullopt;
  }
  if (!g.fact(n.out(0)).is_static() || g.fact(n.out(0)).dtype != DType::f32) return std::nullopt;
  if (n.is("FusedElementwise")) return Program{n.inputs, ops::parse_steps(n.attrs, n.inputs.size())};
  return single(g, n);
}

// `first` makes the value that `then` reads as input `slot`.
std::optional<Program> join(const Program& first, const Program& then, size_t slot) {
  Program p;
  p.inputs = first.inputs;
  const size_t steps = first.steps.size() + then.steps.size();
  const int made = static_cast<int>(then.inputs.size());
  std::vector<int> place(then.inputs.size(), -1);  // of then's inputs among the joint ones
  for (size_t i = 0; i < then.inputs.size(); ++i) {
    if (i == slot) continue;
    const auto it = std::find(p.inputs.begin(), p.inputs.end(), then.inputs[i]);
    place[i] = static_cast<int>(it - p.inputs.begin());
    if (it == p.inputs.end()) p.inputs.push_back(then.inputs[i]);
  }
  if (p.inputs.size() > ops::kMaxFusedInputs || steps > ops::kMaxFusedSteps) return std::nullopt;
  const int n = static_cast<int>(p.inputs.size()), before = static_cast<int>(first.inputs.size());
  const auto early = [&](int v) { return v < before ? v : v - before + n; };
  const auto late = [&](int v) {
    if (v < 0) return v;
    if (v >= made) return n + static_cast<int>(first.steps.size()) + v - made;
    return static_cast<size_t>(v) == slot ? n + static_cast<int>(first.steps.size()) - 1
                                          : place[static_cast<size_t>(v)];
  };
  for (ElementwiseStep s : first.steps) {
    s.a = early(s.a);
    s.b = early(s.b);
    p.steps.push_back(s);
  }
  for (ElementwiseStep s : then.steps) {
    s.a = late(s.a);
    s.b = late(s.b);
    p.steps.push_back(s);
  }
  return p;
}

std::optional<Patch> fuse(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const auto then = program_of(g, n);
  if (!then) return std::nullopt;
  for (size_t slot = 0; slot < then->inputs.size(); ++slot) {
    const ValueId v = then->inputs[slot];
    const NodeId from = g.producer(v);
    if (from == kNoNode || g.constant(v)) continue;
    // Nothing else may need the value, and its elements are those of the result: a smaller one would be
    // computed again for each row that it is broadcast to.
    const auto& uses = g.value(v).uses;
    if (g.is_output(v) ||
        !std::all_of(uses.begin(), uses.end(), [&](const Use& u) { return u.node == id; }) ||
        g.fact(v).elements() != g.fact(n.out(0)).elements())
      continue;
    const auto first = program_of(g, g.node(from));
    const auto joint = first ? join(*first, *then, slot) : std::nullopt;
    if (!joint) continue;
    Patch patch(g);
    patch.replace(n.out(0), patch.add(op("FusedElementwise", "skyline"), joint->inputs,
                                      ops::steps_to_attrs(joint->steps), n.name));
    return patch;
  }
  return std::nullopt;
}

}  // namespace

constinit const Pass kFuseElementwise{"fuse-elementwise", Stage::target, fuse};

}  // namespace skyline::passes
