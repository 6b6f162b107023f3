#pragma once
// The layout of every activation, chosen for the whole graph: each node has forms (graph/passes/layout.h)
// that cost what they cost, and where two nodes do not agree on the value between them, that value is moved,
// once for all its readers. The least sum is found as a Pbqp.
#include "graph/passes/layout.h"
#include "skyline/isa.h"
#include "skyline/session.h"

namespace skyline {

// Seconds, on whatever scale: only sums are compared.
class LayoutCosts {
 public:
  virtual ~LayoutCosts() = default;
  // Of the nodes of the choice in one of its forms, without the moves around it.
  virtual double node(const Graph& g, const passes::LayoutChoice& choice, const passes::LayoutForm& form) = 0;
  // Of moving a value to the other layout, from the one that it is in.
  virtual double move(const Fact& fact, passes::Layout from) = 0;
};

struct LayoutAssignment {
  std::vector<std::pair<NodeId, passes::LayoutForm::Kind>> forms;  // of the nodes that are not plain
  double cost = 0;                                                 // as the costs have it
  double cost_first = 0, cost_last = 0;  // of all nodes channels-first; and of all that can be, channels-last
  bool exact = true;                     // certainly the least
};
// Nodes whose form was wished for (wanted_layout) and that have it are not asked.
LayoutAssignment choose_layouts(const Graph& g, LayoutCosts& costs);

// Marks the nodes of `g` as their wishes or else the policy say; layout_passes() do the rest. Portable and
// target passes have run.
void assign_layouts(Graph& g, LayoutPolicy policy, IsaSet isa, int threads);

}  // namespace skyline
