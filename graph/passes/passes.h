#pragma once
// The ordered lists of passes. See ADD_A_PASS.md.
#include <span>

#include "graph/ir/pass.h"

namespace skyline {

// Rewrites that make any graph simpler, whatever it runs on.
std::span<const Pass> portable_passes();
// Rewrites towards what our kernels run best; on graphs with static shapes, after the portable ones.
std::span<const Pass> target_passes();

}  // namespace skyline
