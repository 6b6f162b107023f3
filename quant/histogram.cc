#include "quant/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace skyline::quant {
namespace {

struct Extremes {
  float low = 0, high = 0;
  bool finite = true;
};

// In lanes, so that a compiler that may not reorder floats can still use vectors.
Extremes extremes(std::span<const float> x) {
  constexpr size_t kLanes = 16;  // three sets of them fit the registers of the baseline
  std::array<float, kLanes> low, high, bad{};
  low.fill(x[0]);
  high.fill(x[0]);
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) {
      const float v = x[i + k];
      low[k] = v < low[k] ? v : low[k];
      high[k] = v > high[k] ? v : high[k];
      bad[k] += v * 0.0f;  // NaN for NaN and infinity
    }
  }
  for (; i < x.size(); ++i) {
    low[0] = std::min(low[0], x[i]);
    high[0] = std::max(high[0], x[i]);
    bad[0] += x[i] * 0.0f;
  }
  Extremes e{low[0], high[0], true};
  for (size_t k = 0; k < kLanes; ++k) {
    e.low = std::min(e.low, low[k]);
    e.high = std::max(e.high, high[k]);
    e.finite = e.finite && bad[k] == 0;
  }
  return e;
}

// Sums over the bins below an edge: what the error of clipping anywhere follows from.
struct Moments {
  std::vector<double> count, first, second;  // [kBins + 1]

  explicit Moments(const Histogram& h)
      : count(Histogram::kBins + 1), first(Histogram::kBins + 1), second(Histogram::kBins + 1) {
    for (int i = 0; i < Histogram::kBins; ++i) {
      const auto k = static_cast<size_t>(i);
      const double c = h.counts()[k], x = h.centre(i);
      count[k + 1] = count[k] + c;
      first[k + 1] = first[k] + c * x;
      second[k + 1] = second[k] + c * x * x;
    }
  }
  // Sum of (x - to)^2 over bins [from, end).
  double squares(size_t from, size_t end, double to) const {
    return second[end] - second[from] - 2 * to * (first[end] - first[from]) +
           to * to * (count[end] - count[from]);
  }
};

size_t edge(const Histogram& h, double x) {
  return static_cast<size_t>(
      std::clamp(std::lround((x + h.limit()) / h.width()), 0L, static_cast<long>(Histogram::kBins)));
}

// Shares of the extremes that are tried as bounds.
constexpr int kSteps = 100;
constexpr double kLeastShare = 0.2;
double share(int i) {
  return 1 - (1 - kLeastShare) * i / kSteps;
}

std::pair<double, double> least_error(const Histogram& h, double min, double max, int levels) {
  const Moments m(h);
  double best = std::numeric_limits<double>::infinity();
  std::pair<double, double> range{min, max};
  for (int a = 0; a <= (min < 0 ? kSteps : 0); ++a) {
    for (int b = 0; b <= (max > 0 ? kSteps : 0); ++b) {
      const double low = min * share(a), high = max * share(b);
      const size_t from = edge(h, low), end = edge(h, high);
      const double step = (high - low) / levels;
      const double error = m.squares(0, from, low) + m.squares(end, Histogram::kBins, high) +
                           (m.count[end] - m.count[from]) * step * step / 12;
      if (error < best) {
        best = error;
        range = {low, high};
      }
    }
  }
  return range;
}

std::pair<double, double> by_percentile(const Histogram& h, double min, double max, double percentile) {
  const double out = h.total() * (1 - percentile / 100);
  double low = min, high = max, sum = 0;
  for (int i = 0; i < Histogram::kBins / 2; ++i) {
    if ((sum += h.counts()[static_cast<size_t>(i)]) > out) {
      low = std::max(min, h.centre(i) - h.width() / 2);
      break;
    }
    low = 0;
  }
  sum = 0;
  for (int i = Histogram::kBins - 1; i >= Histogram::kBins / 2; --i) {
    if ((sum += h.counts()[static_cast<size_t>(i)]) > out) {
      high = std::min(max, h.centre(i) + h.width() / 2);
      break;
    }
    high = 0;
  }
  return low == high ? std::pair{min, max} : std::pair{low, high};
}

// Divergence of the counts, with what lies outside [low, high] moved to its ends, from the same spread
// evenly over each of the steps that they are rounded to.
double divergence(const Histogram& h, double low, double high, int levels) {
  const size_t from = edge(h, low), end = std::max(edge(h, high), from + 1);
  std::vector<double> p(h.counts().begin() + static_cast<std::ptrdiff_t>(from),
                        h.counts().begin() + static_cast<std::ptrdiff_t>(end));
  const std::vector<double> inside = p;
  for (size_t i = 0; i < from; ++i) p.front() += h.counts()[i];
  for (size_t i = end; i < h.counts().size(); ++i) p.back() += h.counts()[i];
  std::vector<double> q(p.size());
  const double per_step = static_cast<double>(p.size()) / levels;
  for (int s = 0; s < levels; ++s) {
    const auto a = static_cast<size_t>(s * per_step);
    const auto b = std::min(p.size(), static_cast<size_t>((s + 1) * per_step));
    double sum = 0, filled = 0;
    for (size_t i = a; i < b; ++i) {
      sum += inside[i];
      filled += p[i] > 0;
    }
    for (size_t i = a; i < b; ++i) q[i] = p[i] > 0 ? sum / filled : 0;
  }
  double p_sum = 0, q_sum = 0, d = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    p_sum += p[i];
    q_sum += q[i];
  }
  if (q_sum == 0) return std::numeric_limits<double>::infinity();
  constexpr double kFloor = 1e-9;  // of a bin that rounding has emptied
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] > 0) d += p[i] / p_sum * std::log(p[i] / p_sum / std::max(q[i] / q_sum, kFloor));
  }
  return d;
}

std::pair<double, double> least_divergence(const Histogram& h, double min, double max, int levels) {
  double best = std::numeric_limits<double>::infinity();
  std::pair<double, double> range{min, max};
  for (int i = 0; i <= kSteps; ++i) {
    // One side's bound relative to the other's: the longer tail is what costs.
    const double bound = std::max(-min, max) * share(i);
    const double low = std::max(min, -bound), high = std::min(max, bound);
    const double d = divergence(h, low, high, levels);
    if (d < best) {
      best = d;
      range = {low, high};
    }
  }
  return range;
}

}  // namespace

bool Histogram::add(std::span<const float> x, bool extremes_only) {
  if (x.empty()) return true;
  const Extremes e = extremes(x);
  if (!e.finite) return false;
  min_ = empty() ? e.low : std::min<double>(min_, e.low);
  max_ = empty() ? e.high : std::max<double>(max_, e.high);
  grow(std::max(std::fabs(min_), std::fabs(max_)));
  if (extremes_only) return true;
  // Runs of a cache line: what costs is to fetch one. An odd step meets every column of the usual powers of
  // two.
  constexpr size_t kRun = 16;
  const size_t step = x.size() <= kSample ? 1 : (x.size() / kSample) | 1;
  const double weight = static_cast<double>(step), scale = kBins / 2 / limit_;
  for (size_t from = 0; from < x.size(); from += kRun * step) {
    for (size_t i = from; i < std::min(from + kRun, x.size()); ++i) {
      total_ += weight;
      if (x[i] == 0) {
        zeros_ += weight;
        continue;
      }
      const int bin = static_cast<int>((x[i] + limit_) * scale);
      counts_[static_cast<size_t>(std::min(bin, kBins - 1))] += weight;
    }
  }
  return true;
}

void Histogram::grow(double magnitude) {
  if (counts_.empty()) {
    counts_.assign(kBins, 0);
    limit_ = std::exp2(std::ceil(std::log2(std::max(magnitude, 1e-30))));
  }
  while (limit_ < magnitude) {
    // Two bins become one, towards the middle.
    std::vector<double> wide(kBins);
    for (int i = 0; i < kBins; ++i) {
      wide[static_cast<size_t>(kBins / 4 + i / 2)] += counts_[static_cast<size_t>(i)];
    }
    counts_ = std::move(wide);
    limit_ *= 2;
  }
}

void Histogram::merge(const Histogram& other) {
  if (other.empty()) return;
  if (empty()) {
    *this = other;
    return;
  }
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  Histogram h = other;
  grow(h.limit_);
  h.grow(limit_);
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += h.counts_[i];
  total_ += other.total_;
  zeros_ += other.zeros_;
}

std::pair<double, double> range_of(const Histogram& h, Method method, double percentile, int levels) {
  const double min = std::min(h.min(), 0.0), max = std::max(h.max(), 0.0);
  if (h.empty() || min == max) return {min, max};
  switch (method) {
    case Method::minmax:
      return {min, max};
    case Method::percentile:
      return by_percentile(h, min, max, percentile);
    case Method::mse:
      return least_error(h, min, max, levels);
    case Method::entropy:
      return least_divergence(h, min, max, levels);
  }
  return {min, max};
}

Scheme asymmetric_u8(double low, double high) {
  low = std::min(low, 0.0);
  high = std::max(high, 0.0);
  const auto scale = static_cast<float>((high - low) / 255);
  if (!(scale >= std::numeric_limits<float>::min())) return {};  // nothing but zeros
  const double zero = std::nearbyint(-low / scale);
  return {scale, static_cast<int32_t>(std::clamp(zero, 0.0, 255.0))};
}

std::string_view name(Method m) noexcept {
  constexpr std::string_view kNames[] = {"minmax", "percentile", "mse", "entropy"};
  return kNames[static_cast<size_t>(m)];
}
Method method_from_name(std::string_view s) {
  for (const Method m : {Method::minmax, Method::percentile, Method::mse, Method::entropy}) {
    if (name(m) == s) return m;
  }
  throw Error(Code::invalid,
              "no method '" + std::string(s) + "'; there are minmax, percentile, mse, entropy");
}

}  // namespace skyline::quant
