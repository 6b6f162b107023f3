#pragma once
// The three axes of a frontier, turned so that more is better.
#include <span>
#include <vector>

#include "skyline/frontier.h"

namespace skyline::frontier {

struct Goodness {
  double value, low, high;
};

// Of latency, throughput and accuracy those that all points named by `among` have.
std::vector<Quantity> shared_axes(const Frontier& f, std::span<const size_t> among);
// The point must have that figure.
Goodness goodness(const Frontier& f, const Point& p, Quantity q);

}  // namespace skyline::frontier
