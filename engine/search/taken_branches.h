#pragma once
// What a search sees of a model with branches: those that its data take.
#include <span>

#include "skyline/graph.h"
#include "skyline/session.h"

namespace skyline {

// The graph with every If, where it is not inside of a Loop or Scan, replaced by the branch that it takes for
// this example: a graph to measure products in, not one to answer with. Nodes keep their names. `prepared` is
// of quant::prepare(), with the example's shapes.
Graph with_taken_branches(Graph prepared, std::span<const Value> example, const SessionOptions& options);

}  // namespace skyline
