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

// The attention with its K or V in the cache. As K: kv_len rows are all that there are.
std::optional<FusedAttention> reads_cache(const Graph& g, const Use& use, const Rows& rows, int64_t capacity,
                                          bool free) {
  const Node& n = g.node(use.node);
  if (!n.is("FusedAttention") || (use.slot != 1 && use.slot != 2)) return std::nullopt;
  FusedAttention f = ops::parse_fused_attention(n.attrs);
  const bool key = use.slot == 1;
  AttentionView& view = key ? f.k : f.v;
  // The keys are the rows, from the first to the last.
  if (free && (f.kv_len != rows.length || f.mask_mode != ops::AttentionMask::none ||
               view.strides[f.lead.size()] != rows.inner || view.offset % rows.all() >= rows.inner))
    return std::nullopt;
  const auto moved = in_cache(view, f, key ? f.size : f.v_size, rows, capacity);
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

bool fits(const Graph& g, std::span<const GrowingState> states, int64_t capacity, bool free) {
  for (const GrowingState& s : states) {
    const Node* concat = lengthens(g, s);
    const ValueId out = g.outputs()[s.output];
    if (!concat || std::count(g.outputs().begin(), g.outputs().end(), out) != 1 || g.value(out).uses.empty())
      return false;
    const Rows rows = rows_of(g, out, s.axis);
    if (rows.length > capacity || (free && rows.length != capacity)) return false;
    for (const Use& use : g.value(out).uses) {
      if (!reads_cache(g, use, rows, capacity, free)) return false;
      if (free && !whole_attention(g, g.node(use.node), states)) return false;
    }
  }
  return true;
}

}  // namespace

bool keep_states(Graph& g, std::span<const GrowingState> states, int64_t capacity, bool free) {
  if (!fits(g, states, capacity, free)) return false;
  const ValueId length = g.add_input(g.fresh_name("rows_held"), Fact::fixed(DType::i64, {1}));
  std::vector<size_t> gone;
  for (const GrowingState& s : states) {
    const ValueId in = g.inputs()[s.input], out = g.outputs()[s.output];
    const NodeId concat = g.producer(out);
    const ValueId added = g.node(concat).in(1);
    const Rows rows = rows_of(g, out, s.axis);
    const int64_t count = g.fact(added).static_dims()[static_cast<size_t>(s.axis)];
    const ValueId cache = g.add_value(g.fresh_name(g.value(out).name + ".cache"));
    const std::vector<Use> uses = g.value(out).uses;
    for (const Use& use : uses) {
      FusedAttention f = *reads_cache(g, use, rows, capacity, free);
      if (free) f.new_keys = count;
      Node& n = g.node(use.node);
      n.attrs = to_attrs(f);
      g.set_input(use.node, use.slot, cache);
    }
    g.value(in).fact.dims[static_cast<size_t>(s.axis)] = capacity;
    const std::string name = g.node(concat).name;
    gone.push_back(s.output);
    g.replace_uses(out, cache);  // the output, which goes
    g.remove_node(concat);
    infer_node(
        g, g.add_node("Append", name, {in, added, length}, {cache}, {{"axis", int64_t{s.axis}}}, "skyline"));
    if (!free) continue;
    for (const Use& use : uses) {
      Node& n = g.node(use.node);
      while (n.inputs.size() < 5) n.inputs.push_back(kNoValue);
      if (n.in(4) == kNoValue) g.set_input(use.node, 4, length);
    }
  }
  std::sort(gone.begin(), gone.end());
  for (size_t i = gone.size(); i-- > 0;) g.remove_output(gone[i]);
  return true;
}

bool free_of_length(const Graph& g, std::span<const GrowingState> states) {
  const auto fixed = [&](ValueId v) { return v == kNoValue || g.fact(v).is_static(); };
  constexpr std::string_view kAbsorbed[] = {"Transpose", "MatMul", "FusedMatMul", "Mul", "Div", "Softmax"};
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (std::all_of(n.inputs.begin(), n.inputs.end(), fixed) &&
        std::all_of(n.outputs.begin(), n.outputs.end(), fixed))
      continue;
    const bool state = std::any_of(states.begin(), states.end(),
                                   [&](const auto& s) { return g.producer(g.outputs()[s.output]) == id; });
    if (state && n.is("Concat")) continue;
    if (std::none_of(std::begin(kAbsorbed), std::end(kAbsorbed), [&](auto name) { return n.is(name); }))
      return false;
  }
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    const bool state =
        std::any_of(states.begin(), states.end(), [&](const auto& s) { return s.output == i; });
    if (!state && !fixed(g.outputs()[i])) return false;
  }
  return true;
}

}  // namespace skyline::passes
