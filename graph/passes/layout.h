#pragma once
// Layouts of activations as a choice. Some nodes can be computed over [N, spatial..., C] as well as over
// [N, C, spatial...]; whoever knows what each costs (engine/optimize/layout.h) assigns a form to a node by an
// attribute, and the pass kAssignLayout rewrites it, with Transposes around it that meet and cancel.
#include <span>
#include <string_view>
#include <vector>

#include "skyline/graph.h"

namespace skyline::passes {

enum class Layout : uint8_t {
  first,  // as the graph has it: channels are axis 1
  last,   // channels are the last axis
};

struct LayoutForm {
  enum class Kind : uint8_t {
    plain,   // the node as it is
    last,    // everything channels-last
    planes,  // a convolution that reads its input channels-first and writes channels-last
    move,    // a Transpose, whose permutation takes over the moves next to it
  };
  struct Operand {
    ValueId value;
    Layout layout;
  };
  Kind kind = Kind::plain;  // names: "channels_first", "channels_last", "planes"
  std::vector<Operand> reads,
      writes;  // the values whose layout matters; a value that is read twice is once here
};

// Nodes that are computed together, and how they can be. forms[0] is plain.
struct LayoutChoice {
  NodeId node;                 // carries the assignment
  std::vector<NodeId> others;  // a channel shuffle's other two
  std::vector<LayoutForm> forms;
};
LayoutChoice layout_choice(const Graph& g, NodeId id);

// Whether v has a layout at all: a static tensor of rank 3 to 5 that is not constant, whose elements lie in
// another order channels-last.
bool has_layout(const Graph& g, ValueId v);

// "" for a move.
std::string_view name(LayoutForm::Kind kind) noexcept;
LayoutForm::Kind layout_kind_from_name(std::string_view s);  // Error{invalid} listing the known names

// Marks the node for kAssignLayout; plain and moves need no mark.
void assign_layout(Graph& g, NodeId id, LayoutForm::Kind kind);
// Marks every node that can be channels-last.
void assign_channels_last(Graph& g);

}  // namespace skyline::passes
