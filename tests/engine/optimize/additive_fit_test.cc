#include "engine/optimize/additive_fit.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "skyline/status.h"

using namespace skyline;

TEST_CASE("additive fit: without observations it says what was known; one moves parts by their spreads") {
  AdditiveFit f;
  const size_t a = f.add_part(1, 0.1), b = f.add_part(2, 0.2), c = f.add_part(5, 0);
  f.fit();
  CHECK(f.predict({{a, 1}, {b, 2}}) == 5);
  f.observe({{a, 1}, {b, 1}, {c, 1}}, 9, 1e-6);
  f.fit();
  CHECK(f.predict({{a, 1}, {b, 1}, {c, 1}}) == doctest::Approx(9));
  CHECK(f.part(a) == doctest::Approx(1.2));  // variances are as 1 to 4
  CHECK(f.part(b) == doctest::Approx(2.8));
  CHECK(f.part(c) == 5);
  CHECK(f.predict_before({{a, 1}, {b, 1}}) == 3);
  CHECK_THROWS_AS(f.observe({{a, 1}}, 0, 0.1), Error);
}

TEST_CASE("additive fit: sums that it has not seen are predicted better than before, also the held out") {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  AdditiveFit f;
  std::vector<double> truth;
  for (int i = 0; i < 30; ++i) {
    f.add_part(1, 0.3);
    truth.push_back(1 + 0.3 * normal(random));
  }
  const auto sum = [&](const AdditiveFit::Terms& t) {
    double s = 0;
    for (const auto& [p, n] : t) s += truth[p] * n;
    return s;
  };
  const auto some = [&] {
    AdditiveFit::Terms t;
    for (size_t i = 0; i < 30; ++i) {
      if (random() % 2) t.emplace_back(i, 1);
    }
    return t;
  };
  std::vector<double> values;
  for (int i = 0; i < 40; ++i) {
    const auto t = some();
    values.push_back(sum(t));
    f.observe(t, values.back(), 1e-3);
  }
  f.fit();
  double before = 0, after = 0, held_out = 0;
  for (size_t i = 0; i < 40; ++i) {
    const auto t = some();
    before += std::fabs(f.predict_before(t) - sum(t));
    after += std::fabs(f.predict(t) - sum(t));
    held_out += std::fabs(f.held_out(i) - values[i]);
  }
  CHECK(after < 0.3 * before);
  CHECK(held_out < 0.6 * before);
}
