#include "graph/ir/patch.h"

#include <algorithm>

#include "graph/ir/infer.h"

namespace skyline {

ValueId Patch::constant(Tensor t, std::string stem) {
  const ValueId id = fresh();
  items_.push_back({false, constants_.size()});
  constants_.push_back({id, std::move(t), std::move(stem)});
  return id;
}

std::vector<ValueId> Patch::add_multi(const OpDef& op, std::vector<ValueId> inputs, size_t outputs,
                                      Attrs attrs, std::string name) {
  std::vector<ValueId> out;
  for (size_t i = 0; i < outputs; ++i) out.push_back(fresh());
  items_.push_back({true, nodes_.size()});
  nodes_.push_back({&op, std::move(inputs), out, std::move(attrs), std::move(name)});
  return out;
}

ValueId Patch::add(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string name) {
  return add_multi(op, std::move(inputs), 1, std::move(attrs), std::move(name))[0];
}

void Patch::replace(ValueId old, ValueId now) {
  replacements_.emplace_back(old, now);
}

namespace {

bool same_dim(Dim a, Dim b) {
  return a == b || (!a.known() && !b.known() && !a.is_symbol() && !b.is_symbol());
}

bool same_fact(const Fact& a, const Fact& b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.ranked == b.ranked &&
         std::equal(a.dims.begin(), a.dims.end(), b.dims.begin(), b.dims.end(), same_dim);
}

// Infers the nodes again, and what is downstream of those whose outputs got better known. Ends because facts
// only ever gain knowledge.
void infer_again(Graph& g, std::vector<NodeId> work) {
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    if (!g.alive(id)) continue;
    std::vector<Fact> before;
    for (ValueId v : g.node(id).outputs) before.push_back(v == kNoValue ? Fact() : g.fact(v));
    infer_node(g, id);
    for (size_t i = 0; i < before.size(); ++i) {
      const ValueId v = g.node(id).outputs[i];
      if (v == kNoValue || same_fact(before[i], g.fact(v))) continue;
      for (const Use& use : g.value(v).uses) work.push_back(use.node);
    }
  }
}

}  // namespace

void Patch::rewire(Graph& g, ValueId old, ValueId now, std::string_view pass,
                   std::vector<NodeId>& touched) const {
  const Fact before = g.fact(old);
  auto contradiction = [&](const char* what) {
    return Error(Code::internal, "pass " + std::string(pass) + " changes " + what + " of '" +
                                     g.value(old).name + "' from " + to_string(g, before) + " to " +
                                     to_string(g, g.fact(now)));
  };
  if (before.dtype != DType::undefined && g.fact(now).dtype != DType::undefined &&
      before.dtype != g.fact(now).dtype) {
    throw contradiction("the dtype");
  }
  auto merged = merge_facts(g.fact(now), before);
  if (!merged) throw contradiction("the shape");
  std::vector<NodeId> again;
  if (!same_fact(*merged, g.fact(now))) {
    for (const Use& use : g.value(now).uses) again.push_back(use.node);
  }
  const bool better = !same_fact(*merged, before) || g.constant(now);
  for (const Use& use : g.value(old).uses) {
    touched.push_back(use.node);
    if (better) again.push_back(use.node);
  }
  g.value(now).fact = std::move(*merged);
  g.replace_uses(old, now);
  infer_again(g, std::move(again));
}

void Patch::remove_orphans(Graph& g) const {
  // Only what this patch orphaned can have died: walk up from there.
  std::vector<NodeId> work;
  for (auto [old, now] : replacements_) {
    if (g.producer(old) != kNoNode) work.push_back(g.producer(old));
  }
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    if (!g.alive(id)) continue;
    bool dead = true;
    for (ValueId v : g.node(id).outputs) dead = dead && (v == kNoValue || g.use_count(v) == 0);
    if (!dead) continue;
    const std::vector<ValueId> inputs = g.node(id).inputs;
    g.remove_node(id);
    for (ValueId v : inputs) {
      if (v == kNoValue) continue;
      if (g.producer(v) != kNoNode) {
        work.push_back(g.producer(v));
      } else if (g.use_count(v) == 0) {
        g.value(v).constant = Tensor();  // at once: rewritten weights would otherwise be in memory twice
      }
    }
  }
}

std::vector<NodeId> Patch::apply(Graph& g, std::string_view pass) && {
  if (g.value_slots() != base_)
    throw Error(Code::internal, "patch of pass " + std::string(pass) + " is stale");
  // The patch's ids were dealt in order of creation, so that creating in the same order gives the same
  // numbers.
  std::vector<ValueId> created;
  created.reserve(issued_);
  std::vector<NodeId> touched;
  auto real = [&](ValueId v) {
    return v == kNoValue || static_cast<size_t>(v) < base_ ? v : created[static_cast<size_t>(v) - base_];
  };
  for (const Item& item : items_) {
    if (!item.is_node) {
      NewConstant& c = constants_[item.index];
      created.push_back(g.add_constant(g.fresh_name(c.stem), std::move(c.tensor)));
      continue;
    }
    NewNode& n = nodes_[item.index];
    for (ValueId& v : n.inputs) v = real(v);
    std::vector<ValueId> outputs;
    for (size_t i = 0; i < n.outputs.size(); ++i) outputs.push_back(g.add_value(g.fresh_name(n.name)));
    created.insert(created.end(), outputs.begin(), outputs.end());
    touched.push_back(g.add_node(*n.op, n.name, std::move(n.inputs), std::move(outputs), std::move(n.attrs)));
    infer_node(g, touched.back());
  }
  for (auto [old, now] : replacements_) rewire(g, old, real(now), pass, touched);
  remove_orphans(g);
  return touched;
}

}  // namespace skyline
