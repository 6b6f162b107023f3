#include <algorithm>
#include <cmath>

#include "engine/frontier/axes.h"

namespace skyline {
namespace {

// Points that dominate the reference, in ascending order of the first coordinate.
template <size_t N>
std::vector<std::array<double, N>> inside(std::span<const std::array<double, N>> points,
                                          const std::array<double, N>& reference) {
  std::vector<std::array<double, N>> out;
  for (const auto& p : points) {
    bool within = true;
    for (size_t i = 0; i < N; ++i) within &= p[i] < reference[i];
    if (within) out.push_back(p);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Of sorted points: a sweep that adds the rectangle by which each goes below all before it.
double area(std::span<const std::array<double, 2>> sorted, const std::array<double, 2>& reference) {
  double sum = 0, lowest = reference[1];
  for (const auto& p : sorted) {
    if (p[1] >= lowest) continue;
    sum += (reference[0] - p[0]) * (lowest - p[1]);
    lowest = p[1];
  }
  return sum;
}

template <size_t N>
std::array<double, N> reference_of(std::span<const std::array<double, N>> points) {
  std::array<double, N> worst, best;
  worst.fill(-INFINITY);
  best.fill(INFINITY);
  for (const auto& p : points) {
    for (size_t i = 0; i < N; ++i) {
      worst[i] = std::max(worst[i], p[i]);
      best[i] = std::min(best[i], p[i]);
    }
  }
  if (points.empty()) {
    worst.fill(0);
    return worst;
  }
  worst[0] *= 1.1;
  if (N == 3) worst[1] = 0;
  worst[N - 1] += std::max(0.001, 0.1 * (worst[N - 1] - best[N - 1]));
  return worst;
}

template <size_t N>
std::vector<std::array<double, N>> coordinates(const Frontier& f, const std::array<Quantity, N>& axes) {
  std::vector<std::array<double, N>> out;
  for (size_t i : f.candidates()) {
    const Point& p = f.points[i];
    if (!std::all_of(axes.begin(), axes.end(), [&](Quantity q) { return p.figure(q).has_value(); })) continue;
    std::array<double, N>& row = out.emplace_back();
    for (size_t k = 0; k < N; ++k) row[k] = -frontier::goodness(f, p, axes[k]).value;
  }
  return out;
}

}  // namespace

double hypervolume(std::span<const std::array<double, 2>> points, const std::array<double, 2>& reference) {
  return area(inside(points, reference), reference);
}

// Slices between neighbouring third coordinates: in each, the area of the points at or below it.
double hypervolume(std::span<const std::array<double, 3>> points, const std::array<double, 3>& reference) {
  std::vector<std::array<double, 3>> rest = inside(points, reference);
  std::sort(rest.begin(), rest.end(), [](const auto& a, const auto& b) { return a[2] < b[2]; });
  std::vector<std::array<double, 2>> below;
  double volume = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    const std::array<double, 2> p{rest[i][0], rest[i][1]};
    below.insert(std::upper_bound(below.begin(), below.end(), p), p);
    const double top = i + 1 < rest.size() ? rest[i + 1][2] : reference[2];
    if (top > rest[i][2]) volume += area(below, {reference[0], reference[1]}) * (top - rest[i][2]);
  }
  return volume;
}

std::vector<std::array<double, 3>> to_minimize(const Frontier& f) {
  return coordinates<3>(f, {Quantity{Axis::latency}, Quantity{Axis::throughput}, Quantity{Axis::accuracy}});
}
std::vector<std::array<double, 2>> to_minimize_latency_accuracy(const Frontier& f) {
  return coordinates<2>(f, {Quantity{Axis::latency}, Quantity{Axis::accuracy}});
}

std::array<double, 3> default_reference(std::span<const std::array<double, 3>> points) {
  return reference_of(points);
}
std::array<double, 2> default_reference(std::span<const std::array<double, 2>> points) {
  return reference_of(points);
}

}  // namespace skyline
