#include "skyline/estimate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace skyline {
namespace {

constexpr double kNormal95 = 1.959964;

// Two-sided 95 % quantiles of Student's t for 1 to 19 degrees of freedom.
constexpr double kStudent95[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                 2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093};
constexpr size_t kMostPieces = std::size(kStudent95) + 1;

double mean_of(std::span<const double> x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

}  // namespace

bool operator==(const Estimate& a, const Estimate& b) {
  return a.value == b.value && a.low == b.low && a.high == b.high;
}

Estimate quantile_estimate(std::span<const double> sorted, double q) {
  const auto n = static_cast<double>(sorted.size());
  const auto at = [&](double rank) {
    const double kept = std::clamp(std::ceil(rank), 1.0, n);
    return sorted[static_cast<size_t>(kept) - 1];
  };
  const double spread = kNormal95 * std::sqrt(n * q * (1 - q));
  return {at(n * q), at(n * q - spread), at(n * q + spread + 1)};
}

Estimate mean_estimate(std::span<const double> samples) {
  const double mean = mean_of(samples);
  const size_t pieces = std::min(kMostPieces, samples.size());
  if (pieces < 2) return Estimate::exactly(mean);
  double squares = 0;
  for (size_t i = 0; i < pieces; ++i) {
    const size_t begin = samples.size() * i / pieces, end = samples.size() * (i + 1) / pieces;
    const double d = mean_of(samples.subspan(begin, end - begin)) - mean;
    squares += d * d;
  }
  const auto count = static_cast<double>(pieces);
  const double half = kStudent95[pieces - 2] * std::sqrt(squares / (count - 1) / count);
  return {mean, mean - half, mean + half};
}

Estimate fraction_estimate(long long successes, long long trials) {
  const auto n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double z2 = kNormal95 * kNormal95 / n;
  const double middle = (p + z2 / 2) / (1 + z2);
  const double half = kNormal95 / (1 + z2) * std::sqrt(p * (1 - p) / n + z2 / (4 * n));
  return {p, std::clamp(middle - half, 0.0, p), std::clamp(middle + half, p, 1.0)};
}

}  // namespace skyline
