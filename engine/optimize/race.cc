#include "engine/optimize/race.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

double share_of(Statistic s) {
  return s == Statistic::p99 ? 0.99 : s == Statistic::p90 ? 0.9 : 0.5;
}

}  // namespace

double median_of(std::span<const double> samples) {
  std::vector<double> v(samples.begin(), samples.end());
  const auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

size_t Race::add(std::function<void()> run) {
  runners_.push_back({std::move(run), false, {}, {}});
  return runners_.size() - 1;
}

void Race::run(Runner& r, double seconds) {
  if (!r.warm) {
    r.run();
    r.warm = true;
  }
  const size_t first = r.samples.size();
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    r.run();
    r.samples.push_back(seconds_since(begin));
  } while (seconds_since(start) < seconds);
  r.turns.push_back({turn_, median_of(std::span(r.samples).subspan(first))});
}

void Race::turn(std::span<const size_t> who, double seconds) {
  ++turn_;
  for (size_t i = 0; i < who.size(); ++i)
    run(runners_[who[(i + static_cast<size_t>(turn_)) % who.size()]], seconds);
}

Estimate Race::latency(size_t i, Statistic s) const {
  const Runner& r = runners_[i];
  if (s == Statistic::mean) return mean_estimate(r.samples);
  std::vector<double> sorted = r.samples;
  std::sort(sorted.begin(), sorted.end());
  Estimate e = quantile_estimate(sorted, share_of(s));
  if (s != Statistic::p50 || r.turns.size() < 3) return e;
  std::vector<double> medians;
  for (const Turn& t : r.turns) medians.push_back(t.median);
  std::sort(medians.begin(), medians.end());
  const Estimate turns = quantile_estimate(medians, 0.5);
  return {e.value, std::min(e.low, turns.low), std::max(e.high, turns.high)};
}

Estimate Race::ratio(size_t i, size_t base) const {
  std::vector<double> ratios;
  for (const Turn& a : runners_[i].turns) {
    for (const Turn& b : runners_[base].turns) {
      if (a.number == b.number) ratios.push_back(a.median / b.median);
    }
  }
  if (ratios.empty()) return Estimate::exactly(1);
  std::sort(ratios.begin(), ratios.end());
  return quantile_estimate(ratios, 0.5);
}

}  // namespace skyline
