// Graph -> Plan: lowers the nodes, joins aliases, plans memory, lays out the operand table.
#include <algorithm>

#include "engine/runtime/memory_plan.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/views.h"

namespace skyline {

class Plan::Builder {
 public:
  Builder(Plan& plan, PackCache& cache) : p_(plan), g_(plan.graph_), cache_(cache) {}

  void build() {
    order_ = g_.order();
    start();
    views_ = find_row_views(g_, order_, [this](ValueId v) { return planned(v); });
    if (!lower_nodes()) {  // a kernel that takes rows was not found after all
      if (released_) throw Error(Code::internal, "an operand inside a wider tensor has no kernel");
      views_.assign(g_.value_slots(), {});
      start();
      lower_nodes();
    }
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
  // A value's memory is in that of another one, `shift` bytes into it, or it is a root.
  struct Link {
    uint32_t parent;
    int64_t shift = 0;
  };
  Link find(ValueId v) const {
    Link at{static_cast<uint32_t>(v), 0};
    while (links_[at.parent].parent != at.parent) {
      at = {links_[at.parent].parent, at.shift + links_[at.parent].shift};
    }
    return at;
  }
  uint32_t root(ValueId v) const { return find(v).parent; }
  // A root goes into the memory of `whole`.
  void join(uint32_t root, ValueId whole, int64_t shift) {
    const Link to = find(whole);
    links_[root] = {to.parent, to.shift + shift};
  }
  int64_t ld(ValueId v) const { return v == kNoValue ? 0 : views_[static_cast<size_t>(v)].ld; }

  void start() {
    const size_t values = g_.value_slots();
    p_.steps_.clear();
    p_.has_value_steps_ = false;
    in_place_.clear();
    p_.places_.assign(values, {});
    p_.facts_.resize(values);
    links_.resize(values);
    for (uint32_t v = 0; v < values; ++v) {
      links_[v] = {v, 0};
      p_.facts_[v] = g_.fact(ValueId{v});
    }
    place_sources();
    count_uses();
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
      released_ = true;
    }
  }

  // False if a node whose operands are views has no code for them.
  bool lower_nodes() {
    for (NodeId id : order_) {
      const Node& n = g_.node(id);
      check_limit(n);
      const OperandRows rows = share(n);
      if (!rows.placed.empty() &&
          std::all_of(rows.placed.begin(), rows.placed.end(), [](bool b) { return b; }))
        continue;
      Lowered low = lower(n, rows);
      if (low.alias >= 0 && low.code && !p_.options_.writes_inputs) low = {};
      if (low.alias >= 0) {
        join(static_cast<uint32_t>(n.outputs[0]), n.inputs[static_cast<size_t>(low.alias)], 0);
        if (!low.code) continue;
      }
      const auto is_set = [](int64_t ld) { return ld != 0; };
      if (!low.code && (!rows.placed.empty() || std::any_of(rows.in.begin(), rows.in.end(), is_set) ||
                        std::any_of(rows.out.begin(), rows.out.end(), is_set)))
        return false;
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
    return true;
  }

  // Puts the operands of a node that live in one another together, and says where its operands have rows.
  OperandRows share(const Node& n) {
    OperandRows rows;
    if (!p_.options_.kernels) return rows;
    for (ValueId v : n.inputs) rows.in.push_back(ld(v));
    for (ValueId v : n.outputs) rows.out.push_back(ld(v));
    for (ValueId v : n.outputs) {  // a root until now: its producer comes just now
      if (v == kNoValue || views_[static_cast<size_t>(v)].whole == kNoValue) continue;
      const RowView& view = views_[static_cast<size_t>(v)];
      const bool part = n.is("Split") || n.is("Slice");
      // The whole of a part is an operand, and must have memory of the plan's.
      if (part && !in_arena(root(view.whole))) {
        rows.out[static_cast<size_t>(std::find(n.outputs.begin(), n.outputs.end(), v) - n.outputs.begin())] =
            0;
        views_[static_cast<size_t>(v)] = {};
        continue;
      }
      join(static_cast<uint32_t>(v), view.whole, view.offset * static_cast<int64_t>(size_of(fact(v).dtype)));
    }
    if (n.is("Concat")) rows.placed = place_pieces(n);
    if (n.is("Split") || n.is("Slice")) rows.placed = place_parts(n);
    if (std::none_of(rows.placed.begin(), rows.placed.end(), [](bool b) { return b; })) rows.placed.clear();
    return rows;
  }
  // A step makes it, at a place that the plan chooses.
  bool in_arena(uint32_t root) const {
    const ValueId v{root};
    return p_.places_[root].kind == Kind::none && g_.producer(v) != kNoNode && planned(v);
  }
  // Elements between neighbours along `axis` if what lies before that axis is one element.
  std::optional<int64_t> outermost_stride(ValueId v, int axis) const {
    const Dims dims = fact(v).static_dims();
    int64_t before = 1, stride = 1;
    for (int i = 0; i < static_cast<int>(dims.size()); ++i)
      (i < axis ? before : stride) *= dims[static_cast<size_t>(i)];
    if (before != 1 || dims[static_cast<size_t>(axis)] == 0) return std::nullopt;
    return stride / dims[static_cast<size_t>(axis)];
  }
  int axis_of(const Node& n, ValueId v) const {
    const int64_t axis = n.attrs.integer("axis", 0);
    return static_cast<int>(axis < 0 ? axis + fact(v).rank() : axis);
  }

  // `part` is the columns of `whole` from `column` on.
  bool lies_inside(ValueId part, ValueId whole, int64_t column) const {
    const RowView& view = views_[static_cast<size_t>(part)];
    const RowView& of = views_[static_cast<size_t>(whole)];
    const bool nested = of.whole != kNoValue;
    return view.whole == (nested ? of.whole : whole) && view.offset == (nested ? of.offset : 0) + column;
  }

  // Which inputs of a Concat are in its result already.
  std::vector<bool> place_pieces(const Node& n) {
    std::vector<bool> placed(n.inputs.size(), false);
    const ValueId y = n.out(0);
    if (!planned(y) || fact(y).rank() < 1) return placed;
    const int axis = axis_of(n, y);
    const auto stride = ld(y) == 0 ? outermost_stride(y, axis) : std::nullopt;
    int64_t at = 0;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId x = n.inputs[i];
      if (!planned(x)) return placed;
      const uint32_t own = root(x);
      if (ld(x) != 0 && own == root(y)) {
        placed[i] = lies_inside(x, y, at);
      } else if (stride && own != root(y) && in_arena(own) && !is_graph_output(own) &&
                 fact(ValueId{own}).bytes() == fact(x).bytes() && fact(x).bytes() > 0) {
        join(own, y, at * *stride * static_cast<int64_t>(size_of(fact(y).dtype)));
        placed[i] = true;
      }
      at += fact(x).static_dims()[static_cast<size_t>(axis)];
    }
    return placed;
  }

  // Which outputs of a Split or Slice are read where they are in the input.
  std::vector<bool> place_parts(const Node& n) {
    std::vector<bool> placed(n.outputs.size(), false);
    const ValueId x = n.in(0);
    for (ValueId v : n.outputs) {
      if (v == kNoValue || !planned(v)) return placed;
    }
    if (!planned(x) || fact(x).rank() < 1) return placed;
    int axis = 0;
    int64_t at = 0;
    if (n.is("Slice")) {
      const auto range = slice_range(g_, n);
      if (!range) return placed;
      axis = range->axis;
      at = range->first;
    } else {
      axis = axis_of(n, x);
    }
    const auto stride = ld(x) == 0 && in_arena(root(x)) ? outermost_stride(x, axis) : std::nullopt;
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      const ValueId y = n.outputs[i];
      if (ld(y) != 0) {
        placed[i] = lies_inside(y, x, at);
      } else if (stride && !is_graph_output(static_cast<uint32_t>(y)) && g_.use_count(y) > 0 &&
                 fact(y).bytes() > 0 && root(y) == static_cast<uint32_t>(y)) {
        join(static_cast<uint32_t>(y), x, at * *stride * static_cast<int64_t>(size_of(fact(y).dtype)));
        placed[i] = true;
      }
      at += fact(y).static_dims()[static_cast<size_t>(axis)];
    }
    return placed;
  }

  // It, or a value that shares its memory, is returned.
  bool is_graph_output(uint32_t r) const {
    return std::any_of(g_.outputs().begin(), g_.outputs().end(), [&](ValueId v) { return root(v) == r; });
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

  Lowered lower(const Node& n, const OperandRows& rows) {
    if (!p_.options_.kernels) return {};
    for (const auto* list : {&n.inputs, &n.outputs}) {
      for (ValueId v : *list) {
        if (v != kNoValue && !planned(v)) return {};
      }
    }
    const LowerRow* row = find_lowering(*n.op);
    if (!row) return {};
    Lowering l(g_, n, p_.options_.isa, p_.options_.threads, cache_, rows);
    l.own_kernels = p_.options_.own_kernels;
    for (size_t i = 0; p_.options_.owns_constants && i < std::min<size_t>(n.inputs.size(), 64); ++i) {
      if (n.inputs[i] != kNoValue && uses_[static_cast<size_t>(n.inputs[i])] == 1)
        l.last_reads |= uint64_t{1} << i;
    }
    try {
      std::optional<Lowered> low = row->lower(l);
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
      const Link link = find(v);
      Place& p = p_.places_[link.parent];
      if (p.kind == Kind::none && planned(v) && g_.producer(v) != kNoNode && link.shift == 0 &&
          fact(ValueId{link.parent}).bytes() == fact(v).bytes())
        p = {Kind::output, 0, i};
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
        const uint32_t whole = root(v);
        if (whole != static_cast<uint32_t>(v)) {  // the first of its pieces makes the block
          if (block_of[whole] == UINT32_MAX) {
            block_of[whole] = static_cast<uint32_t>(blocks.size());
            blocks.push_back({fact(ValueId{whole}).bytes(), static_cast<int>(s), last_[whole]});
          }
          continue;
        }
        if (block_of[whole] != UINT32_MAX) continue;  // of a Concat whose pieces have come before
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
      if (r == v || p_.places_[v].kind != Kind::none) continue;
      p_.places_[v] = p_.places_[r];
      p_.places_[v].offset += find(ValueId{v}).shift;
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
          if (at.kind == Kind::input && planned(v)) p_.input_patches_.push_back({operand, at.index, 0});
          if (at.kind == Kind::output) p_.output_patches_.push_back({operand, at.index, at.offset});
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
  bool released_ = false;       // some constants are gone: nothing can be lowered again
  std::vector<RowView> views_;  // by value
  std::vector<Link> links_;     // by value: whose memory it shares
  std::vector<int> last_;       // by root: the last step that touches it
  std::vector<int> in_place_;   // per step
};

Plan::Plan(Graph g, const PlanOptions& options, PackCache& cache) : graph_(std::move(g)), options_(options) {
  Builder(*this, cache).build();
}

}  // namespace skyline
