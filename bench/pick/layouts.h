#pragma once
// A whole model under each way of laying out its activations.
#include <string>
#include <vector>

#include "skyline/model.h"
#include "skyline/session.h"

namespace skyline::pick {

struct LayoutTime {
  LayoutPolicy policy;
  double load_ms = 0;
  double ms = 0;  // the least of several runs, in which the policies take turns
};

// The default policy first. Nothing for a model whose input shapes are not fixed, or if the plan is the same
// under all of them. At least `rounds` runs of each policy.
std::vector<LayoutTime> time_layouts(const Model& model, const SessionOptions& options, int rounds);

}  // namespace skyline::pick
