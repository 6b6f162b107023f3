// A node whose inputs are all constant => constants. Also Shape and Size of values whose shape is known.
#include <algorithm>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

constexpr int64_t kMaxBytes = int64_t{64} << 20;    // of a folded value
constexpr int64_t kSmallBytes = int64_t{64} << 10;  // below this, growth does not matter
constexpr int64_t kMaxGrowth = 8;                   // times the bytes of the inputs
constexpr int64_t kMaxFlops = 1'000'000'000;        // the reference evaluation takes seconds beyond

bool inputs_known(const Graph& g, const Node& n) {
  for (ValueId v : n.inputs) {
    if (v != kNoValue && !g.constant(v)) return false;
  }
  return true;
}

bool shapes_known(const Graph& g, const Node& n) {
  for (ValueId v : n.inputs) {
    if (v != kNoValue && !g.fact(v).is_static()) return false;
  }
  return true;
}

// Refuses by what the facts promise; what they do not know, the evaluation's own limits refuse.
bool affordable(const Graph& g, const Node& n, int64_t input_bytes) {
  std::vector<Fact> in, out;
  bool known = true;
  for (ValueId v : n.inputs) in.push_back(v == kNoValue ? Fact() : g.fact(v));
  for (ValueId v : n.outputs) {
    if (v == kNoValue) {
      out.emplace_back();
      continue;
    }
    out.push_back(g.fact(v));
    if (g.fact(v).kind != Fact::Kind::tensor) return false;
    const int64_t bytes = g.fact(v).bytes();
    known = known && bytes >= 0;
    if (bytes > kMaxBytes || (bytes > kSmallBytes && bytes > kMaxGrowth * input_bytes)) return false;
  }
  return !known || work_of(n, in, out).flops <= kMaxFlops;
}

std::optional<Patch> evaluate(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const bool by_shape = (n.op->flags & kOpShapeOnly) && shapes_known(g, n);
  if (!by_shape && !inputs_known(g, n)) return std::nullopt;
  if (n.op->flags & (kOpNondeterministic | kOpControl)) return std::nullopt;
  std::vector<Value> in;
  int64_t input_bytes = 0;
  for (ValueId v : n.inputs) {
    if (v == kNoValue) {
      in.emplace_back();
    } else if (by_shape) {
      in.emplace_back(Tensor::view(g.fact(v).dtype, g.fact(v).static_dims(), nullptr));
    } else {
      in.emplace_back(*g.constant(v));
      input_bytes += g.constant(v)->bytes();
    }
  }
  if (!affordable(g, n, input_bytes)) return std::nullopt;
  std::vector<Value> out;
  try {
    out = evaluate_node(n, in,
                        {.max_bytes = std::min(kMaxBytes, std::max(kSmallBytes, kMaxGrowth * input_bytes))});
  } catch (const Error&) {
    return std::nullopt;  // too large, or a failure that belongs to the run, if the node is reached at all
  }
  Patch patch(g);
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    if (n.outputs[i] == kNoValue || g.use_count(n.outputs[i]) == 0) continue;
    if (i >= out.size() || !out[i].is_tensor()) return std::nullopt;
    if (!merge_facts(Fact::of(out[i].tensor()), g.fact(n.outputs[i]))) return std::nullopt;
    patch.replace(n.outputs[i], patch.constant(out[i].tensor(), g.value(n.outputs[i]).name));
  }
  return patch;
}

// The elements of a shape that are known, though the shape as a whole is not: Gather or Slice of a Shape.
std::optional<Patch> fold_known_dims(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const Node* shape = maker(g, n.in(0), "Shape");
  if (!shape || shape->attrs.has("start") || shape->attrs.has("end")) return std::nullopt;
  const Fact& f = g.fact(shape->in(0));
  if (!f.ranked) return std::nullopt;
  const int64_t rank = f.rank();
  Dims wanted, dims;
  if (n.is("Gather")) {
    const auto index = integers(g, n.in(1));
    if (!index) return std::nullopt;
    wanted = *index;
    dims = g.constant(n.in(1))->dims();
  } else if (n.is("Slice")) {
    const auto starts = integers(g, n.in(1)), ends = integers(g, n.in(2));
    if (!starts || !ends || starts->size() != 1 || (n.in(4) != kNoValue && !is_uniform(g, n.in(4), 1))) {
      return std::nullopt;
    }
    auto clip = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
    for (int64_t i = clip(starts->front()); i < clip(ends->front()); ++i) wanted.push_back(i);
    dims = {static_cast<int64_t>(wanted.size())};
  } else {
    return std::nullopt;
  }
  for (int64_t& i : wanted) {
    if (i < 0) i += rank;
    if (i < 0 || i >= rank || !f.dims[static_cast<size_t>(i)].known()) return std::nullopt;
    i = f.dims[static_cast<size_t>(i)].value();
  }
  Patch patch(g);
  patch.replace(n.out(0), patch.constant(Tensor::of<int64_t>(dims, wanted), g.value(n.out(0)).name));
  return patch;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  if (g.node(id).is("DequantizeLinear")) return std::nullopt;
  if (auto patch = evaluate(g, id)) return patch;
  return fold_known_dims(g, id);
}

std::optional<Patch> run_dequantize(const Graph& g, NodeId id) {
  if (!g.node(id).is("DequantizeLinear")) return std::nullopt;
  return evaluate(g, id);
}

}  // namespace

constinit const Pass kFoldConstants{"fold-constants", Stage::portable, run};
constinit const Pass kFoldDequantize{"fold-dequantize", Stage::target, run_dequantize};

}  // namespace skyline::passes
