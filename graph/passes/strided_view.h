#pragma once
// Reading a value in place: where its elements lie in the tensor that it was moved, sliced or broadcast from.
#include "graph/passes/match.h"

namespace skyline::passes {

// Element `index` of dims is at offset + index . strides of `base`, in elements.
struct StridedView {
  ValueId base = kNoValue;
  int64_t offset = 0;
  Dims dims, strides;
};

// All of v; nothing unless its dims are known and it has elements.
std::optional<StridedView> whole_view(const Graph& g, ValueId v);

// Moves the base towards the sources, through Reshape, Transpose, Split, Slice, Gather of one index and
// Expand, as far as strides can say it.
void trace_back(const Graph& g, StridedView& view);

// The same view when `dims` are broadcast to `to`; nothing if they are not.
std::optional<StridedView> broadcast_view(StridedView view, const Dims& to);

// Offset and strides over a tensor of `dims` as those over another, in which axis i has stride strides[i] and
// index 0 is at `start`; nothing if a dim of the view runs over several axes.
std::optional<StridedView> moved_view(const StridedView& view, const Dims& dims, const Dims& strides,
                                      int64_t start);

}  // namespace skyline::passes
