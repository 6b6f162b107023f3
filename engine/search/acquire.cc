#include "engine/search/acquire.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "skyline/frontier.h"

namespace skyline {
namespace {

// Plans of the predicted frontier that are looked at: neighbours among thousands hardly differ.
constexpr size_t kMostPlans = 300;
// Models of so many products are searched by pairs of flips, up to so many of them.
constexpr size_t kSmallModel = 12, kMostFlips = 2000;

std::array<double, 2> coordinates(const TimeAndNoise& p, double least_noise) {
  return {p.ratio, std::log10(std::max(p.noise, least_noise))};
}

using Plan = std::vector<Precision>;

bool beaten(const TimeAndNoise& p, std::span<const TimeAndNoise> by) {
  return std::any_of(by.begin(), by.end(), [&](const TimeAndNoise& o) {
    return o.ratio <= p.ratio && o.noise <= p.noise && (o.ratio < p.ratio || o.noise < p.noise);
  });
}

// The predicted frontier, and what is one product away (of small models two) from the measured one.
std::set<Plan> candidates_of(const Proposals& proposals, std::span<const TimeAndNoise> measured,
                             std::span<const Plan> plans) {
  std::set<Plan> pool;
  const auto& frontier = proposals.frontier();
  const size_t step = frontier.size() / kMostPlans + 1;
  for (size_t i = 0; i < frontier.size(); i += step) pool.insert(frontier[i].rungs);
  const auto flip = [&](const Plan& from, auto&& then) {
    for (size_t i = 0; i < from.size(); ++i) {
      for (const Precision r : proposals.rungs_of(i)) {
        if (r == from[i]) continue;
        Plan p = from;
        p[i] = r;
        then(p);
      }
    }
  };
  for (size_t k = 0; k < measured.size(); ++k) {
    if (beaten(measured[k], measured)) continue;
    const bool small = plans[k].size() <= kSmallModel && pool.size() < kMostFlips;
    flip(plans[k], [&](const Plan& once) {
      pool.insert(once);
      if (small) flip(once, [&](const Plan& twice) { pool.insert(twice); });
    });
  }
  for (const Plan& p : plans) pool.erase(p);
  return pool;
}

}  // namespace

double frontier_volume(std::span<const TimeAndNoise> points, double least_noise) {
  std::vector<std::array<double, 2>> all;
  for (const TimeAndNoise& p : points) all.push_back(coordinates(p, least_noise));
  return hypervolume(all, std::array<double, 2>{1.1, 0.0});
}

std::optional<std::vector<Precision>> most_promising(const Proposals& proposals, double f32_seconds,
                                                     std::span<const TimeAndNoise> measured,
                                                     std::span<const std::vector<Precision>> plans) {
  double least = 1;
  for (const auto& p : proposals.frontier()) {
    if (p.predicted.noise > 0) least = std::min(least, p.predicted.noise);
  }
  for (const TimeAndNoise& p : measured) {
    if (p.noise > 0) least = std::min(least, p.noise);
  }
  least /= 2;
  const double have = frontier_volume(measured, least);
  std::vector<TimeAndNoise> with(measured.begin(), measured.end());
  with.emplace_back();
  std::set<Plan> pool = candidates_of(proposals, measured, plans);
  // First what is expected to be better, then what could be, and at last what would be a surprise.
  for (const double hope : {0.0, 1.0, 2.0, 3.0}) {
    const Plan* best = nullptr;
    double most = 2e-3 * have;
    for (const Plan& plan : pool) {
      const Prediction p = hope > 0 ? proposals.optimistic(plan, hope) : proposals.predict(plan);
      with.back() = {p.seconds / f32_seconds, p.noise};
      const double gain = frontier_volume(with, least) - have;
      if (gain <= most) continue;
      most = gain;
      best = &plan;
    }
    if (best) return *best;
  }
  return std::nullopt;
}

}  // namespace skyline
