#pragma once
#include "skyline/frontier.h"

namespace skyline::frontier {

inline constexpr size_t kMostPoints = 10000;    // all pairs are compared
inline constexpr size_t kMostChoices = 100000;  // of one point
inline constexpr size_t kMostText = 65536;      // bytes of a name or a reason

// Error{invalid} naming the place of the first thing that no frontier holds: a number that is not finite or
// out of its range, an interval beside its value, a name twice. What passes can be saved and loaded again.
void check(const Frontier& f);

}  // namespace skyline::frontier
