#include "graph/passes/keep_states.h"

#include <algorithm>

#include "graph/ir/infer.h"
#include "graph/ops/fused_attention.h"
#include "graph/ops/util.h"
#include "graph/passes/match.h"

namespace skyline::passes {
namespace {

using ops::AttentionView;
using ops::FusedAttention;

// Both in elements: where a row index grows by one, and all of the rows.
struct Rows {
  int64_t inner = 1, length = 0;
  int64_t all() const { return inner * length; }
};

// The Concat that lengthens a state and nothing else.
const Node* lengthens(const Graph& g, const GrowingState& s) {
  const ValueId in = g.inputs()[s.input], out = g.outputs()[s.output];
  const Node* n = maker(g, out, "Concat");
  if (!n || n->inputs.size() != 2 || n->in(0) != in || n->in(1) == in || !used_once(g, in) ||
      !g.fact(out).is_static() || !g.fact(in).is_static())
    return nullptr;
  const int rank = g.fact(out).rank();
  return ops::normalize_axis(n->attrs.integer("axis"), rank) == s.axis ? n : nullptr;
}

Rows rows_of(const Graph& g, ValueId v, int axis) {
  const Dims dims = g.fact(v).static_dims();
  Rows r{1, dims[static_cast<size_t>(axis)]};
  for (size_t i = static_cast<size_t>(axis) + 1; i < dims.size(); ++i) r.inner *= dims[i];
  return r;
}

// The view of a tensor whose rows are `capacity` apart from one outer index to the next.
std::optional<AttentionView> in_cache(const AttentionView& v, const FusedAttention& f, int64_t columns,
                                      const Rows& rows, int64_t capacity) {
  if (rows.all() == 0) return std::nullopt;
  const auto moved = [&](int64_t x) { return x / rows.all() * rows.inner * capacity + x % rows.all(); };
  // Linear in the cache too if what is left of the strides never carries into an outer index.
  Dims extents = f.lead;
  extents.push_back(f.kv_len);
  extents.push_back(columns);
  int64_t inside = v.offset % rows.all();
  AttentionView out{moved(v.offset), v.strides};
  for (size_t i = 0; i < v.strides.size(); ++i) {
    inside += v.strides[i] % rows.all() * (extents[i] - 1);
    out.strides[i] = moved(v.strides[i]);
  }
  return inside < rows.all() ? std::optional(out) : std::nullopt;
}

// What is to be done: masks is null where every length has a graph of its own.
struct Wish {
  std::span<const GrowingState> states;
  int64_t capacity;
  const std::vector<ValueId>* masks;
  bool any_length() const { return masks != nullptr; }
};

// Keys of a mask that grows are its last axis; one that does not is the same for all keys.
bool mask_follows(const Node& n, const FusedAttention& f, const Wish& wish) {
  if (f.mask_mode == ops::AttentionMask::none) return true;
  const Dims& strides = f.mask.strides;
  if (std::count(wish.masks->begin(), wish.masks->end(), n.in(3)) == 0) return strides.back() == 0;
  return strides.back() == 1 && f.mask.offset == 0 &&
         std::all_of(strides.begin(), strides.end() - 1, [&](int64_t s) { return s % wish.capacity == 0; });
}

// The attention with its K or V in the cache.
std::optional<FusedAttention> reads_cache(const Graph& g, const Use& use, const Rows& rows,
                                          const Wish& wish) {
  const Node& n = g.node(use.node);
  if (!n.is("FusedAttention") || (use.slot != 1 && use.slot != 2)) return std::nullopt;
  FusedAttention f = ops::parse_fused_attention(n.attrs);
  const bool key = use.slot == 1;
  AttentionView& view = key ? f.k : f.v;
  // The keys are the rows, from the first to the last.
  if (wish.any_length() &&
      (f.kv_len != rows.length || !mask_follows(n, f, wish) || view.strides[f.lead.size()] != rows.inner ||
       view.offset % rows.all() >= rows.inner))
    return std::nullopt;
  const auto moved = in_cache(view, f, key ? f.size : f.v_size, rows, wish.capacity);
  if (!moved) return std::nullopt;
  view = *moved;
  return f;
}

// Whether both K and V are caches, so that the keys in use are those of both.
bool whole_attention(const Graph& g, const Node& n, std::span<const GrowingState> states) {
  const auto is_state = [&](ValueId v) {
    return std::any_of(states.begin(), states.end(),
                       [&](const auto& s) { return g.outputs()[s.output] == v; });
  };
  return is_state(n.in(1)) && is_state(n.in(2)) && !is_state(n.in(0));
}

bool fits(const Graph& g, const Wish& wish) {
  for (const GrowingState& s : wish.states) {
    const Node* concat = lengthens(g, s);
    const ValueId out = g.outputs()[s.output];
    if (!concat || std::count(g.outputs().begin(), g.outputs().end(), out) != 1 || g.value(out).uses.empty())
      return false;
    const Rows rows = rows_of(g, out, s.axis);
    if (rows.length > wish.capacity || (wish.any_length() && rows.length != wish.capacity)) return false;
    for (const Use& use : g.value(out).uses) {
      if (!reads_cache(g, use, rows, wish)) return false;
      if (wish.any_length() && !whole_attention(g, g.node(use.node), wish.states)) return false;
    }
  }
  if (!wish.any_length()) return true;
  return std::all_of(wish.masks->begin(), wish.masks->end(), [&](ValueId v) {
    const auto& uses = g.value(v).uses;
    return !g.is_output(v) && std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
      const Node& n = g.node(u.node);
      return n.is("FusedAttention") && u.slot == 3 && whole_attention(g, n, wish.states);
    });
  });
}

// One state becomes a cache. `held`: the rows in it.
void keep(Graph& g, const GrowingState& s, const Wish& wish, ValueId held) {
  const ValueId in = g.inputs()[s.input], out = g.outputs()[s.output];
  const NodeId concat = g.producer(out);
  const ValueId added = g.node(concat).in(1);
  const Rows rows = rows_of(g, out, s.axis);
  const int64_t count = g.fact(added).static_dims()[static_cast<size_t>(s.axis)];
  const ValueId cache = g.add_value(g.fresh_name(g.value(out).name + ".cache"));
  for (const Use& use : std::vector<Use>(g.value(out).uses)) {
    FusedAttention f = *reads_cache(g, use, rows, wish);
    Node& n = g.node(use.node);
    if (wish.any_length()) {
      f.new_keys = count;
      while (n.inputs.size() < 5) n.inputs.push_back(kNoValue);
      g.set_input(use.node, 4, held);
    }
    n.attrs = to_attrs(f);
    g.set_input(use.node, use.slot, cache);
  }
  g.value(in).fact.dims[static_cast<size_t>(s.axis)] = wish.capacity;
  const std::string name = g.node(concat).name;
  g.replace_uses(out, cache);  // the output, which goes
  g.remove_node(concat);
  infer_node(g,
             g.add_node("Append", name, {in, added, held}, {cache}, {{"axis", int64_t{s.axis}}}, "skyline"));
}

bool keep_all(Graph& g, const Wish& wish) {
  if (!fits(g, wish)) return false;
  const ValueId held = g.add_input(g.fresh_name("rows_held"), Fact::fixed(DType::i64, {1}));
  std::vector<size_t> gone;
  for (const GrowingState& s : wish.states) {
    keep(g, s, wish, held);
    gone.push_back(s.output);
  }
  std::sort(gone.begin(), gone.end());
  for (size_t i = gone.size(); i-- > 0;) g.remove_output(gone[i]);
  return true;
}

// Whether each value follows from constants and the states' lengths, and is no constant.
std::vector<bool> of_lengths(const Graph& g, std::span<const GrowingState> states) {
  std::vector<bool> derived(g.value_slots(), false);
  const auto is_state = [&](ValueId v) {
    return std::any_of(states.begin(), states.end(), [&](const auto& s) { return g.inputs()[s.input] == v; });
  };
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    bool all = (n.op->flags & (kOpNondeterministic | kOpControl)) == 0, any = false;
    for (ValueId v : n.inputs) {
      if (v == kNoValue || g.constant(v)) continue;
      const bool here = derived[static_cast<size_t>(v)] || ((n.op->flags & kOpShapeOnly) != 0 && is_state(v));
      all = all && here;
      any = any || here;
    }
    for (ValueId v : n.outputs) {
      if (v != kNoValue) derived[static_cast<size_t>(v)] = all && any;
    }
  }
  return derived;
}

// Shapes must be known to specialise; they follow from the dims of the states anyway.
bool is_shape_operand(const Node& n, uint32_t slot) {
  return slot == 1 && (n.is("Reshape") || n.is("Expand"));
}

}  // namespace

bool keep_states(Graph& g, std::span<const GrowingState> states, int64_t capacity) {
  return keep_all(g, {states, capacity, nullptr});
}

bool keep_states_of_any_length(Graph& g, std::span<const GrowingState> states, int64_t capacity,
                               std::span<const size_t> masks) {
  std::vector<ValueId> inputs;
  for (size_t i : masks) inputs.push_back(g.inputs()[i]);
  return keep_all(g, {states, capacity, &inputs});
}

LengthSplit split_lengths(const Graph& g, std::span<const GrowingState> states) {
  LengthSplit split{g, g};
  const std::vector<bool> derived = of_lengths(g, states);
  const auto is_derived = [&](ValueId v) { return v != kNoValue && derived[static_cast<size_t>(v)]; };
  for (size_t i = split.values.outputs().size(); i-- > 0;) split.values.remove_output(i);
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    const ValueId v{i};
    if (!is_derived(v)) continue;
    ValueId input = kNoValue;
    for (const Use& use : g.value(v).uses) {
      const Node& n = g.node(use.node);
      if (is_derived(n.out(0)) || is_shape_operand(n, use.slot)) continue;
      if (input == kNoValue) {
        input = split.body.add_input(split.body.fresh_name(g.value(v).name), g.fact(v));
        split.values.add_output(v, g.value(v).name);
      }
      split.body.set_input(use.node, use.slot, input);
    }
  }
  split.body.remove_dead_nodes();
  split.values.remove_dead_nodes();
  return split;
}

bool free_of_length(const Graph& g, std::span<const GrowingState> states) {
  const auto grows = [&](ValueId v) { return v != kNoValue && !g.fact(v).is_static(); };
  // What attention is recognised from. Shape operands say how an input of unknown size is arranged.
  constexpr std::string_view kAbsorbed[] = {"Transpose", "MatMul",    "FusedMatMul", "Mul",
                                            "Div",       "Softmax",   "Add",         "Where",
                                            "Reshape",   "Unsqueeze", "Expand",      "Squeeze"};
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    const bool reads = std::any_of(n.inputs.begin(), n.inputs.end(), grows);
    if (!reads && std::none_of(n.outputs.begin(), n.outputs.end(), grows)) continue;
    const bool state = std::any_of(states.begin(), states.end(),
                                   [&](const auto& s) { return g.producer(g.outputs()[s.output]) == id; });
    if (state && n.is("Concat")) continue;
    // Made longer by nothing but what is longer.
    if (!reads ||
        std::none_of(std::begin(kAbsorbed), std::end(kAbsorbed), [&](auto name) { return n.is(name); }))
      return false;
  }
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    const bool state =
        std::any_of(states.begin(), states.end(), [&](const auto& s) { return s.output == i; });
    if (!state && grows(g.outputs()[i])) return false;
  }
  return true;
}

}  // namespace skyline::passes
