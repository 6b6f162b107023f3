#include "quant/histogram.h"

#include <cmath>

#include "doctest/doctest.h"

namespace skyline::quant {
namespace {

std::vector<float> normal(size_t n, float deviation, uint32_t seed = 1) {
  std::vector<float> x(n);
  uint32_t s = seed;
  const auto real = [&] { return static_cast<double>((s = s * 1664525u + 1013904223u) >> 8) / (1 << 24); };
  for (float& v : x) {
    v = static_cast<float>(deviation * std::sqrt(-2 * std::log(real() + 1e-9)) * std::cos(6.283185 * real()));
  }
  return x;
}

}  // namespace

TEST_CASE("a histogram doubles its range and keeps its counts") {
  Histogram h;
  CHECK(h.empty());
  CHECK(h.add(std::vector<float>{0.5f, -0.25f, 0}));
  CHECK(h.limit() == 0.5);
  CHECK(h.add(std::vector<float>{7, -0.25f}));
  CHECK(h.limit() == 8);
  CHECK(h.min() == -0.25);
  CHECK(h.max() == 7);
  CHECK(h.zeros() == 1);
  double sum = 0, low = 0;
  for (int i = 0; i < Histogram::kBins; ++i) {
    sum += h.counts()[static_cast<size_t>(i)];
    if (h.centre(i) < 0) low += h.counts()[static_cast<size_t>(i)];
  }
  CHECK(sum == 4);
  CHECK(low == 2);
  CHECK_FALSE(h.add(std::vector<float>{1, NAN}));
  CHECK_FALSE(h.add(std::vector<float>{INFINITY}));
  CHECK(h.max() == 7);
}

TEST_CASE("histograms of parts merge into that of the whole") {
  Histogram a, b, both;
  const auto x = normal(3000, 1), y = normal(3000, 5, 9);
  a.add(x), both.add(x);
  b.add(y), both.add(y);
  a.merge(b);
  CHECK(a.limit() == both.limit());
  CHECK(a.total() == both.total());
  CHECK(a.counts() == both.counts());
}

TEST_CASE("methods clip an outlier and spare what is even") {
  Histogram outlier, even;
  auto x = normal(100000, 1);
  x[17] = 100;
  outlier.add(x);
  std::vector<float> ramp(10000);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / 1000 - 3;
  even.add(ramp);
  for (const Method m : {Method::percentile, Method::mse, Method::entropy}) {
    CAPTURE(name(m));
    const auto clipped = range_of(outlier, m, 99.99);
    CHECK(clipped.second < 60);
    CHECK(clipped.first < -2.5);
    const auto kept = range_of(even, m, 99.99);
    CHECK(kept.second > 6.5);
    CHECK(kept.first < -2.7);
  }
  CHECK(range_of(outlier, Method::minmax, 0).second == 100);
}

TEST_CASE("u8 represents zero exactly, whatever the interval") {
  for (const auto& [low, high] :
       std::vector<std::pair<double, double>>{{0, 6}, {-1, 3}, {2, 5}, {-5, -2}, {0, 0}, {-1e-45, 1e-45}}) {
    const Scheme s = asymmetric_u8(low, high);
    CHECK(s.scale > 0);
    CHECK(s.zero >= 0);
    CHECK(s.zero <= 255);
    CHECK(s.scale * static_cast<float>(255 - s.zero) >= high * 0.998 - s.scale);
  }
  CHECK(asymmetric_u8(0, 6).zero == 0);
  CHECK(asymmetric_u8(-3, 0).zero == 255);
}

}  // namespace skyline::quant
