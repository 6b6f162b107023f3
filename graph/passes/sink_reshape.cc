// A Reshape between a contraction and what follows it element by element moves behind: biases and activations
// then reach the contraction's epilogue.
#include "graph/passes/contraction.h"
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

bool renames_shape(const Node& n) {
  return n.is("Reshape") || n.is("Flatten") || n.is("Squeeze") || n.is("Unsqueeze");
}

// Dims under which a constant of dims `own` broadcasts over `from` as it does over `to`, which has the same
// elements in the same order. Nothing if an axis along which it varies is none of `from`.
std::optional<Dims> dims_before(const Dims& own, const Dims& from, const Dims& to) {
  if (own.size() > to.size()) return std::nullopt;
  const Dims stride_from = row_major_strides(from), stride_to = row_major_strides(to);
  Dims dims(from.size(), 1);
  for (size_t i = 0; i < own.size(); ++i) {
    const size_t axis = to.size() - own.size() + i;
    if (own[i] == 1) continue;
    if (own[i] != to[axis]) return std::nullopt;
    size_t b = 0;
    while (b < from.size() && !(from[b] == to[axis] && stride_from[b] == stride_to[axis])) ++b;
    if (b == from.size()) return std::nullopt;
    dims[b] = own[i];
  }
  return dims;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!(n.op->flags & kOpElementwise) || n.outputs.size() != 1 || !g.fact(n.out(0)).is_static())
    return std::nullopt;
  ValueId moved = kNoValue;
  for (ValueId v : n.inputs) {
    if (v == kNoValue || g.constant(v)) continue;
    if (moved != kNoValue) return std::nullopt;
    moved = v;
  }
  if (moved == kNoValue || !used_once(g, moved) || !same_dims(g.fact(moved), g.fact(n.out(0))))
    return std::nullopt;
  const NodeId made = g.producer(moved);
  if (made == kNoNode || !renames_shape(g.node(made))) return std::nullopt;
  const ValueId x = g.node(made).in(0);
  if (!find_contraction(g, x)) return std::nullopt;
  const auto from = static_dims(g, x), to = static_dims(g, moved);
  if (!from || !to || element_count(*from) < 1) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in;
  for (ValueId v : n.inputs) {
    if (v == moved) {
      in.push_back(x);
    } else if (v == kNoValue || g.constant(v)->rank() == 0) {
      in.push_back(v);
    } else {
      const Tensor& c = *g.constant(v);
      const auto dims = dims_before(c.dims(), *from, *to);
      if (!dims) return std::nullopt;
      in.push_back(patch.constant(c.reshaped(*dims), g.value(v).name));
    }
  }
  const ValueId y = patch.add(*n.op, in, n.attrs, n.name);
  patch.replace(n.out(0), add_reshape(patch, y, *to, g.node(made).name));
  return patch;
}

}  // namespace

constinit const Pass kSinkReshapes{"sink-reshapes", Stage::portable, run};

}  // namespace skyline::passes
