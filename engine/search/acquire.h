#pragma once
// Which plan to measure next, where the frontier as a whole is wanted.
#include <optional>
#include <span>
#include <vector>

#include "engine/search/proposals.h"

namespace skyline {

// A plan as a point of the plane that searches without constraints look at.
struct TimeAndNoise {
  double ratio = 1;  // time as a share of f32's
  double noise = 0;
};

// Volume below 1.1 times f32's time and noise 1, in decades of noise; noises below `least_noise` count as
// that.
double frontier_volume(std::span<const TimeAndNoise> points, double least_noise);

// Of the predicted frontier and the neighbours of the measured one, the plan that would add most to the
// volume of what was measured, if it is what is predicted of it; where none would, if it is as good as it may
// well be, or three times as far from what is expected. `measured` holds the figures of `plans`, f32 first.
// Absent if none adds more than 0.2 %.
std::optional<std::vector<Precision>> most_promising(const Proposals& proposals, double f32_seconds,
                                                     std::span<const TimeAndNoise> measured,
                                                     std::span<const std::vector<Precision>> plans);

}  // namespace skyline
