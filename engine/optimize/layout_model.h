#pragma once
// Layout costs without measuring: a few rates, so that the same model gets the same layouts on every machine,
// at every load and for every number of threads.
#include "engine/optimize/layout.h"

namespace skyline {

class LayoutModel : public LayoutCosts {
 public:
  double node(const Graph& g, const passes::LayoutChoice& choice, const passes::LayoutForm& form) override;
  double move(const Fact& fact, passes::Layout from) override;
};

// Of a Transpose, by the moves of `costs`: none if the layouts at its ends make it superfluous.
double transpose_cost(const Graph& g, const passes::LayoutChoice& choice, const passes::LayoutForm& form,
                      LayoutCosts& costs);

// Of what a channels-first convolution does besides convolving (engine/lower/conv.cc): it moves its operands
// to channels-last and its result back.
double moves_around(const Graph& g, const passes::LayoutForm& form, LayoutCosts& costs);
bool is_convolution(const Node& n);

// What of a Concat, Split or Slice is left to do in that form, since pieces lie in place
// (engine/runtime/views.h).
struct Copying {
  double share = 1;    // of the bytes, that are copied; 1 for other nodes
  double in_rows = 0;  // seconds that the neighbours pay for rows that are short
};
Copying copying_of(const Graph& g, NodeId id, const passes::LayoutForm& form);

}  // namespace skyline
