#pragma once
// Nodes over operands whose axes are in another order: what sinks Transposes, and what chooses layouts.
#include <string>

#include "graph/passes/permutation.h"

namespace skyline::passes {

struct AxisMove {
  Dims perm;            // a Transpose by it leads from the order before to that of the node's operands
  std::string name;     // of the Transposes behind the node
  bool copies = false;  // an operand that does not come out of such a Transpose is moved by one of its own;
                        // otherwise there is no form if that would take a copy
};

// The operands that a move of the node's axes is about: any one of them being moved already makes it worth
// thinking of. Empty if the node is none that can be moved.
std::vector<ValueId> moved_operands(const Graph& g, const Node& n);

// The node over its operands as they are before the move, its outputs moved afterwards. Nothing if its
// operator cares about the order of axes in a way that no attribute tells.
std::optional<Patch> permuted(const Graph& g, const Node& n, const AxisMove& m);

// Reshape [N, g, k, ...], Transpose of g and k, Reshape back, by its last node.
struct ChannelShuffle {
  const Node *split, *swap;
};
std::optional<ChannelShuffle> channel_shuffle(const Graph& g, const Node& n);

}  // namespace skyline::passes
