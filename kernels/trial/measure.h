#pragma once
// Trials timed and held against the machine's roof.
#include "kernels/trial/trial.h"

namespace skyline::kernels {

// What one thread can do at a level: the f32 loop of a matrix product in L1, and copying within L2, where the
// trials' data is.
struct Roof {
  double gflops = 0, gbps = 0;
};
Roof measure_roof(IsaSet level) noexcept;

struct Rate {
  double ns = 0;  // of one run
  double gflops = 0, gbps = 0;
  double percent = 0;  // of the roof: the time that its work needs there, over the time that it took
};
Rate rate_of(const Trial& trial, const Roof& roof, double ns) noexcept;

// The fastest of several batches of runs that take about `seconds` in all.
Rate measure_rate(const Trial& trial, const Roof& roof, double seconds);

}  // namespace skyline::kernels
