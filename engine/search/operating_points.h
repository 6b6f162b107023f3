#pragma once
// Several requests at a time, and several examples in one: which of it a search tries, and as points.
#include <string>
#include <vector>

#include "engine/search/grid.h"
#include "engine/search/variants.h"
#include "skyline/optimize.h"

namespace skyline {

// Whether a constraint or the objective speaks of throughput.
bool wants_throughput(const OptimizeOptions& options);

// What to try of plans of this model: streams and batches as the options name them, else those that their
// wishes make worth trying. Probes the machine where throughput is wanted (some tenths of a second). x: an
// example; f32: the plain plan.
GridOptions grid_options(const OptimizeOptions& options, const Variants& variants, const Session& f32,
                         const std::vector<Value>& x, std::vector<std::string>& warnings);

// The plan's point as it was measured there.
Point at_operating_point(Point plan, const GridPoint& measured);

}  // namespace skyline
