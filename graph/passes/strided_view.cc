#include "graph/passes/strided_view.h"

#include <algorithm>

#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

// How a node's result lies in its input 0: the strides of its axes there, and where they start.
struct Placement {
  Dims strides;
  int64_t start = 0;
};

std::optional<Placement> of_transpose(const Graph& g, const Node& n, const Dims& from) {
  const auto perm = perm_of(g, n);
  if (!perm || perm->size() != from.size()) return std::nullopt;
  const Dims own = row_major_strides(from);
  Placement p;
  for (int64_t axis : *perm) p.strides.push_back(own[static_cast<size_t>(axis)]);
  return p;
}

std::optional<Placement> of_split(const Graph& g, const Node& n, ValueId v, const Dims& from) {
  const auto rank = static_cast<int64_t>(from.size());
  int64_t axis = n.attrs.integer("axis", 0);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return std::nullopt;
  Placement p{row_major_strides(from)};
  for (ValueId out : n.outputs) {
    if (out == v) return p;
    const int64_t width = out == kNoValue ? -1 : dim_of(g, out, static_cast<int>(axis));
    if (width < 0) return std::nullopt;
    p.start += width * p.strides[static_cast<size_t>(axis)];
  }
  return std::nullopt;
}

std::optional<Placement> of_slice(const Graph& g, const Node& n, const Dims& from) {
  const auto starts = integers(g, n.in(1)), ends = integers(g, n.in(2));
  const auto rank = static_cast<int64_t>(from.size());
  if (!starts || !ends) return std::nullopt;
  Dims axes, steps(starts->size(), 1);
  for (int64_t i = 0; i < static_cast<int64_t>(starts->size()); ++i) axes.push_back(i);
  for (const auto& [slot, list] : {std::pair<size_t, Dims*>{3, &axes}, {4, &steps}}) {
    if (n.in(slot) == kNoValue) continue;
    const auto given = integers(g, n.in(slot));
    if (!given || given->size() != starts->size()) return std::nullopt;
    *list = *given;
  }
  Placement p{row_major_strides(from)};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    if (axis < 0 || axis >= rank || steps[i] < 1) return std::nullopt;
    const int64_t d = from[static_cast<size_t>(axis)];
    const int64_t begin = std::clamp<int64_t>((*starts)[i] < 0 ? (*starts)[i] + d : (*starts)[i], 0, d);
    p.start += begin * p.strides[static_cast<size_t>(axis)];
    p.strides[static_cast<size_t>(axis)] *= steps[i];
  }
  return p;
}

std::optional<Placement> of_gather(const Graph& g, const Node& n, const Dims& from) {
  const auto index = integers(g, n.in(1));
  const auto rank = static_cast<int64_t>(from.size());
  int64_t axis = n.attrs.integer("axis", 0);
  if (axis < 0) axis += rank;
  if (!index || index->size() != 1 || rank_of(g, n.in(1)) != 0 || axis < 0 || axis >= rank)
    return std::nullopt;
  const int64_t d = from[static_cast<size_t>(axis)], at = (*index)[0] < 0 ? (*index)[0] + d : (*index)[0];
  if (at < 0 || at >= d) return std::nullopt;
  Placement p{row_major_strides(from)};
  p.start = at * p.strides[static_cast<size_t>(axis)];
  p.strides.erase(p.strides.begin() + axis);
  return p;
}

std::optional<Placement> of_expand(const Dims& to, const Dims& from) {
  if (from.size() > to.size()) return std::nullopt;
  const Dims own = row_major_strides(from);
  Placement p{Dims(to.size(), 0)};
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != 1) p.strides[to.size() - from.size() + i] = own[i];
  }
  return p;
}

std::optional<Placement> placement_of(const Graph& g, const Node& n, ValueId v, const Dims& to,
                                      const Dims& from) {
  if (n.is("Reshape") || n.is("Flatten") || n.is("Squeeze") || n.is("Unsqueeze") || n.is("Identity"))
    return Placement{row_major_strides(to)};
  if (n.is("Transpose")) return of_transpose(g, n, from);
  if (n.is("Split")) return of_split(g, n, v, from);
  if (n.is("Slice")) return of_slice(g, n, from);
  if (n.is("Gather")) return of_gather(g, n, from);
  if (n.is("Expand")) return of_expand(to, from);
  return std::nullopt;
}

}  // namespace

std::optional<StridedView> whole_view(const Graph& g, ValueId v) {
  const auto dims = v == kNoValue ? std::nullopt : static_dims(g, v);
  if (!dims || element_count(*dims) < 1) return std::nullopt;
  return StridedView{v, 0, *dims, row_major_strides(*dims)};
}

std::optional<StridedView> moved_view(const StridedView& view, const Dims& dims, const Dims& strides,
                                      int64_t start) {
  const Dims own = row_major_strides(dims);
  StridedView out = view;
  out.offset = start;
  Dims last(dims.size());  // the largest index of each axis that is reached
  for (size_t a = 0; a < dims.size(); ++a) {
    last[a] = view.offset / own[a] % dims[a];
    out.offset += last[a] * strides[a];
  }
  for (size_t i = 0; i < view.dims.size(); ++i) {
    const int64_t n = view.dims[i], step = view.strides[i];
    out.strides[i] = 0;
    if (n == 1 || step == 0) continue;
    size_t axis = dims.size();
    for (size_t a = dims.size(); a-- > 0;) {
      if (dims[a] > 1 && step % own[a] == 0 && step / own[a] < dims[a]) axis = a;
    }
    if (axis == dims.size()) return std::nullopt;
    last[axis] += (n - 1) * (step / own[axis]);
    out.strides[i] = step / own[axis] * strides[axis];
  }
  for (size_t a = 0; a < dims.size(); ++a) {
    if (last[a] >= dims[a]) return std::nullopt;
  }
  return out;
}

void trace_back(const Graph& g, StridedView& view) {
  for (;;) {
    const NodeId id = g.producer(view.base);
    if (id == kNoNode || g.constant(view.base)) return;
    const Node& n = g.node(id);
    const ValueId x = n.in(0);
    const auto to = static_dims(g, view.base);
    const auto from = x == kNoValue ? std::nullopt : static_dims(g, x);
    if (!to || !from || element_count(*from) < 1) return;
    const auto p = placement_of(g, n, view.base, *to, *from);
    auto moved = p ? moved_view(view, *to, p->strides, p->start) : std::nullopt;
    if (!moved) return;
    view = std::move(*moved);
    view.base = x;
  }
}

std::optional<StridedView> broadcast_view(StridedView view, const Dims& to) {
  if (view.dims.size() > to.size()) return std::nullopt;
  const size_t pad = to.size() - view.dims.size();
  view.dims.insert(view.dims.begin(), pad, 1);
  view.strides.insert(view.strides.begin(), pad, 0);
  for (size_t i = 0; i < to.size(); ++i) {
    if (view.dims[i] == to[i]) continue;
    if (view.dims[i] != 1) return std::nullopt;
    view.dims[i] = to[i];
    view.strides[i] = 0;
  }
  return view;
}

}  // namespace skyline::passes
