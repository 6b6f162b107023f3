// Graph -> Plan: lowers the nodes, joins aliases, plans memory, lays out the operand table.
#include <algorithm>
#include <numeric>

#include "engine/runtime/memory_plan.h"
#include "engine/runtime/plan.h"

namespace skyline {

class Plan::Builder {
 public:
  Builder(Plan& plan, PackCache& cache) : p_(plan), g_(plan.graph_), cache_(cache) {}

  void build() {
    const size_t values = g_.value_slots();
    p_.places_.resize(values);
    p_.facts_.resize(values);
    root_.resize(values);
    std::iota(root_.begin(), root_.end(), 0u);
    for (uint32_t v = 0; v < values; ++v) p_.facts_[v] = g_.fact(ValueId{v});
    order_ = g_.order();
    place_sources();
    count_uses();
    lower_nodes();
    place_outputs();
    find_lifetimes();
    place_arena();
    place_aliases();
    lay_out_operands();
    account();
  }

 private:
  using Kind = Place::Kind;

  Place& place(ValueId v) { return p_.places_[static_cast<size_t>(v)]; }
  const Fact& fact(ValueId v) const { return p_.facts_[static_cast<size_t>(v)]; }
  uint32_t root(ValueId v) {
    uint32_t r = static_cast<uint32_t>(v);
    while (root_[r] != r) r = root_[r] = root_[root_[r]];
    return r;
  }
  // Lives at a planned place: its bytes are known before the run.
  bool planned(ValueId v) const { return fact(v).is_static() && fact(v).dtype != DType::string; }

  void place_sources() {
    for (uint32_t v = 0; v < g_.value_slots(); ++v) {
      if (g_.value(ValueId{v}).constant.defined()) p_.places_[v] = {Kind::constant, 0, v};
    }
    for (uint32_t i = 0; i < g_.inputs().size(); ++i) place(g_.inputs()[i]) = {Kind::input, 0, i};
  }

  void count_uses() {
    uses_.assign(g_.value_slots(), 0);
    for (NodeId id : order_) {
      for (ValueId v : g_.node(id).inputs) {
        if (v != kNoValue) ++uses_[static_cast<size_t>(v)];
      }
    }
    for (ValueId v : g_.outputs()) ++uses_[static_cast<size_t>(v)];
  }

  // Frees constants that were only ever packed.
  void release_packed(const Node& n, const Lowering& l) {
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (!l.packed(i) || --uses_[static_cast<size_t>(n.inputs[i])] > 0) continue;
      Tensor& constant = p_.graph_.value(n.inputs[i]).constant;
      cache_.forget(constant);
      constant = Tensor();
    }
  }

  void lower_nodes() {
    for (NodeId id : order_) {
      const Node& n = g_.node(id);
      Lowered low = lower(n);
      if (low.alias >= 0) {
        root_[static_cast<size_t>(n.outputs[0])] = root(n.inputs[static_cast<size_t>(low.alias)]);
        continue;
      }
      Step step;
      step.node = id;
      step.code = std::move(low.code);
      step.kernel = step.code ? low.kernel : "reference";
      step.workspace = low.workspace;
      step.inputs = static_cast<uint32_t>(n.inputs.size());
      step.outputs = static_cast<uint32_t>(n.outputs.size());
      std::vector<Fact> in, out;
      for (ValueId v : n.inputs) in.push_back(v == kNoValue ? Fact() : fact(v));
      for (ValueId v : n.outputs) out.push_back(v == kNoValue ? Fact() : fact(v));
      const auto fixed = [](const Fact& f) { return f.is_static(); };
      if (std::all_of(out.begin(), out.end(), fixed) && std::all_of(in.begin(), in.end(), fixed))
        step.work = work_of(n, in, out);
      p_.has_value_steps_ |= !step.code;
      in_place_.push_back(low.in_place);
      p_.steps_.push_back(std::move(step));
    }
  }

  // What is planned is allocated before its step runs, by whatever code: the limit is checked here for all of
  // them.
  void check_limit(const Node& n) const {
    for (ValueId v : n.outputs) {
      if (v == kNoValue || !planned(v) || fact(v).bytes() <= p_.options_.max_tensor_bytes) continue;
      throw Error(Code::limit, "'" + g_.value(v).name + "' would take " + std::to_string(fact(v).bytes()) +
                                   " bytes, above the limit of " +
                                   std::to_string(p_.options_.max_tensor_bytes))
          .in(describe(n));
    }
  }

  Lowered lower(const Node& n) {
    check_limit(n);
    if (!p_.options_.kernels) return {};
    for (const auto* list : {&n.inputs, &n.outputs}) {
      for (ValueId v : *list) {
        if (v != kNoValue && !planned(v)) return {};
      }
    }
    const LowerFn fn = find_lowering(*n.op);
    if (!fn) return {};
    Lowering l(g_, n, p_.options_.isa, p_.options_.threads, cache_);
    try {
      std::optional<Lowered> low = fn(l);
      if (low && low->code && p_.options_.owns_constants) release_packed(n, l);
      return low ? std::move(*low) : Lowered{};
    } catch (Error& e) {
      throw e.in(describe(n));
    }
  }

  // A result is written straight into the caller's tensor if a step makes it and it is not listed twice.
  void place_outputs() {
    for (uint32_t i = 0; i < g_.outputs().size(); ++i) {
      const ValueId v = g_.outputs()[i];
      Place& p = p_.places_[root(v)];
      if (p.kind == Kind::none && planned(v) && g_.producer(v) != kNoNode) p = {Kind::output, 0, i};
    }
  }

  void find_lifetimes() {
    const int steps = static_cast<int>(p_.steps_.size());
    last_.assign(g_.value_slots(), -1);
    for (int s = 0; s < steps; ++s) {
      const Node& n = g_.node(p_.steps_[static_cast<size_t>(s)].node);
      for (const auto* list : {&n.inputs, &n.outputs}) {
        for (ValueId v : *list) {
          if (v == kNoValue) continue;
          last_[root(v)] = std::max(last_[root(v)], s);
        }
      }
    }
    for (ValueId v : g_.outputs()) last_[root(v)] = steps;
  }

  void place_arena() {
    std::vector<Interval> blocks;
    std::vector<uint32_t> block_of(g_.value_slots(), UINT32_MAX);
    p_.dying_.resize(p_.steps_.size());
    for (size_t s = 0; s < p_.steps_.size(); ++s) {
      const Node& n = g_.node(p_.steps_[s].node);
      for (size_t i = 0; i < n.outputs.size(); ++i) {
        const ValueId v = n.outputs[i];
        if (v == kNoValue || place(v).kind != Kind::none || p_.places_[root(v)].kind != Kind::none) continue;
        if (!planned(v)) {
          place(v) = {Kind::dynamic, 0, p_.dynamic_slots_++};
          const int last = last_[root(v)];
          if (last < static_cast<int>(p_.steps_.size())) p_.dying_[static_cast<size_t>(last)].push_back(v);
          continue;
        }
        if (i == 0 && in_place_[s] >= 0 &&
            reuse(n, static_cast<size_t>(in_place_[s]), v, static_cast<int>(s), blocks, block_of))
          continue;
        block_of[root(v)] = static_cast<uint32_t>(blocks.size());
        blocks.push_back(
            {fact(v).bytes(), static_cast<int>(s), std::max(last_[root(v)], static_cast<int>(s))});
      }
    }
    const MemoryPlan plan = plan_memory(blocks);
    p_.memory_.arena = plan.total;
    p_.memory_.arena_lower_bound = plan.lower_bound;
    for (uint32_t v = 0; v < block_of.size(); ++v) {
      if (block_of[v] != UINT32_MAX) p_.places_[v] = {Kind::arena, plan.offsets[block_of[v]], 0};
    }
  }

  // Lets output v live in the block of input `slot` of step s, if that block ends here and is as large.
  bool reuse(const Node& n, size_t slot, ValueId v, int s, std::vector<Interval>& blocks,
             std::vector<uint32_t>& block_of) {
    const ValueId from = n.in(slot);
    if (from == kNoValue) return false;
    const uint32_t block = block_of[root(from)];
    if (block == UINT32_MAX || blocks[block].last != s || last_[root(from)] != s ||
        blocks[block].bytes != fact(v).bytes())
      return false;
    for (size_t i = 0; i < n.inputs.size(); ++i) {  // another operand on the same memory would see it change
      if (i != slot && n.inputs[i] != kNoValue && block_of[root(n.inputs[i])] == block) return false;
    }
    block_of[root(v)] = block;
    blocks[block].last = std::max(last_[root(v)], s);
    return true;
  }

  void place_aliases() {
    for (uint32_t v = 0; v < g_.value_slots(); ++v) {
      const uint32_t r = root(ValueId{v});
      if (r != v && p_.places_[v].kind == Kind::none) p_.places_[v] = p_.places_[r];
    }
  }

  void lay_out_operands() {
    for (Step& step : p_.steps_) {
      const Node& n = g_.node(step.node);
      step.first_operand = static_cast<uint32_t>(p_.operands_.size());
      for (const auto* list : {&n.inputs, &n.outputs}) {
        for (ValueId v : *list) {
          const Place at = v == kNoValue ? Place{} : place(v);
          const auto operand = static_cast<uint32_t>(p_.operands_.size());
          if (at.kind == Kind::input && planned(v)) p_.input_patches_.push_back({operand, at.index});
          if (at.kind == Kind::output) p_.output_patches_.push_back({operand, at.index});
          p_.operands_.push_back(at);
        }
      }
    }
  }

  void account() {
    for (const Step& step : p_.steps_) {
      p_.memory_.workspace = std::max(p_.memory_.workspace, static_cast<int64_t>(step.workspace));
    }
    for (uint32_t v = 0; v < g_.value_slots(); ++v) {
      const Tensor& c = g_.value(ValueId{v}).constant;
      if (c.defined()) p_.memory_.constants += c.bytes();
    }
  }

  Plan& p_;
  const Graph& g_;
  PackCache& cache_;
  std::vector<NodeId> order_;
  std::vector<int> uses_;       // of values, by steps still to come or that read them as they are
  std::vector<uint32_t> root_;  // union-find over values that share memory
  std::vector<int> last_;       // by root: the last step that touches it
  std::vector<int> in_place_;   // per step
};

Plan::Plan(Graph g, const PlanOptions& options, PackCache& cache) : graph_(std::move(g)), options_(options) {
  Builder(*this, cache).build();
}

}  // namespace skyline
