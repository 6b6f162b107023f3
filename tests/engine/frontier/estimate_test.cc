#include "skyline/estimate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

using namespace skyline;

TEST_CASE("quantiles are samples, and their intervals hold the truth as often as they say") {
  std::vector<double> few{1, 2, 3, 4, 5};
  CHECK(quantile_estimate(few, 0.5).value == 3);
  CHECK(quantile_estimate(few, 0.99).value == 5);
  CHECK(quantile_estimate(std::vector<double>{7}, 0.9) == Estimate::exactly(7));
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  int median = 0, tail = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<double> x(500);
    for (double& v : x) v = uniform(random);
    std::sort(x.begin(), x.end());
    const Estimate m = quantile_estimate(x, 0.5), t = quantile_estimate(x, 0.9);
    CHECK(m.low <= m.value);
    CHECK(m.value <= m.high);
    median += m.low <= 0.5 && 0.5 <= m.high;
    tail += t.low <= 0.9 && 0.9 <= t.high;
  }
  CHECK(median >= 370);
  CHECK(tail >= 370);
}

TEST_CASE("the mean's interval holds the truth, and widens when the machine drifts") {
  std::mt19937_64 random(2);
  std::normal_distribution<double> noise(10, 1);
  int inside = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<double> x(200);
    for (double& v : x) v = noise(random);
    const Estimate m = mean_estimate(x);
    inside += m.low <= 10 && 10 <= m.high;
  }
  CHECK(inside >= 370);
  std::vector<double> drifting(200), shuffled;
  for (size_t i = 0; i < drifting.size(); ++i) drifting[i] = i < 100 ? 1.0 : 2.0;
  shuffled = drifting;
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  const Estimate a = mean_estimate(drifting), b = mean_estimate(shuffled);
  CHECK(a.high - a.low > 1.5 * (b.high - b.low));
  CHECK(mean_estimate(std::vector<double>{3}) == Estimate::exactly(3));
}

TEST_CASE("a fraction's interval stays within 0 and 1 and holds the fraction") {
  for (long long n : {1, 10, 500}) {
    for (long long k = 0; k <= n; k += n == 500 ? 50 : 1) {
      const Estimate f = fraction_estimate(k, n);
      CHECK(f.low >= 0);
      CHECK(f.low <= f.value);
      CHECK(f.value <= f.high);
      CHECK(f.high <= 1);
    }
  }
  const Estimate f = fraction_estimate(350, 500);  // Wilson: 0.658 to 0.739
  CHECK(f.low == doctest::Approx(0.6585).epsilon(1e-3));
  CHECK(f.high == doctest::Approx(0.7385).epsilon(1e-3));
}
