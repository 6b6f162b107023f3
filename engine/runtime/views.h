#pragma once
// Values that live inside a wider tensor, so that nobody has to copy them there or out of there: the pieces
// of a Concat along the last axis, and the parts of a Split or Slice of it. (Pieces that are contiguous in
// the whole need no stride; the plan builder joins those by itself.)
#include <functional>
#include <span>
#include <vector>

#include "skyline/graph.h"

namespace skyline {

struct RowView {
  ValueId whole = kNoValue;  // kNoValue: the value has memory of its own
  int64_t offset = 0;        // of its first element in `whole`, in elements
  int64_t ld = 0;            // elements between rows
};

// By value. A value becomes a view if its producer can write rows, all its readers can read them
// (LowerRow::rows), and `planned` says that its place is known before the run. Constants, inputs and outputs
// of the graph never do.
std::vector<RowView> find_row_views(const Graph& g, std::span<const NodeId> order,
                                    const std::function<bool(ValueId)>& planned);

// The part of its first input that a Slice takes, if it is a range of one axis with step 1.
struct Range {
  int axis = 0;
  int64_t first = 0;  // along the axis
};
std::optional<Range> slice_range(const Graph& g, const Node& slice);

}  // namespace skyline
