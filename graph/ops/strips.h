#pragma once
// Strips: a chain of channels-last convolutions as one operator, which kernels compute a few rows at a time.
// The attribute `body` is a closed graph of FusedConv nodes in order; its inputs are the node's, and its one
// output is the node's. Input 0 is the first convolution's.
#include "graph/ir/op.h"

namespace skyline::ops {

// The convolutions of a Strips node, or of a FusedConv itself: each as a node of `graph` (which outlives the
// view), where constants of the outer graph are constants.
struct Chain {
  Graph graph;
  std::vector<NodeId> convs;
};
Chain open_chain(const Graph& outer, const Node& strips);

}  // namespace skyline::ops
