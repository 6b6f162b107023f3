#pragma once
// Figures that were measured, and how sure they are.
#include <span>

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// A value and its 95 % confidence interval; low <= value <= high, all finite.
struct Estimate {
  double value = 0, low = 0, high = 0;
  static Estimate exactly(double x) { return {x, x, x}; }
};
bool operator==(const Estimate& a, const Estimate& b);

// The q-quantile (0 < q < 1) of samples in ascending order, by nearest rank: a sample that really occurred.
// The interval is that of the order statistics around it (binomial, no assumption about the distribution);
// with fewer than about 10 / (1 - q) samples its upper end is only the largest seen. Samples must not be
// empty.
Estimate quantile_estimate(std::span<const double> sorted, double q);

// The mean of samples in the order in which they were taken. The interval comes from the means of up to 20
// successive pieces, so that slow drifts of the machine widen it as they should. Samples must not be empty.
Estimate mean_estimate(std::span<const double> samples);

// `successes` of `trials` as a fraction, with Wilson's interval. trials >= 1.
Estimate fraction_estimate(long long successes, long long trials);

}  // namespace skyline
#pragma GCC visibility pop
