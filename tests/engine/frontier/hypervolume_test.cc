#include <doctest/doctest.h>

#include <random>

#include "skyline/frontier.h"
#include "tests/engine/frontier/random_frontier.h"

using namespace skyline;

namespace {

// By inclusion and exclusion over all subsets: boxes intersect in the box of their largest coordinates.
template <size_t N>
double by_subsets(const std::vector<std::array<double, N>>& points, const std::array<double, N>& reference) {
  double sum = 0;
  for (unsigned subset = 1; subset < 1u << points.size(); ++subset) {
    std::array<double, N> corner;
    corner.fill(-1e300);
    for (size_t i = 0; i < points.size(); ++i) {
      for (size_t k = 0; k < N && (subset >> i & 1); ++k) corner[k] = std::max(corner[k], points[i][k]);
    }
    double box = 1;
    for (size_t k = 0; k < N; ++k) box *= std::max(0.0, reference[k] - corner[k]);
    sum += __builtin_popcount(subset) % 2 ? box : -box;
  }
  return sum;
}

template <size_t N>
void compare(unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> small(0, 6);  // ties, twins, and points beyond the reference
  std::vector<std::array<double, N>> points(1 + random() % 10);
  for (auto& p : points) {
    for (double& x : p) x = small(random);
  }
  std::array<double, N> reference;
  reference.fill(5);
  CHECK(hypervolume(points, reference) == by_subsets(points, reference));
}

}  // namespace

TEST_CASE("hypervolumes are exact") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    compare<2>(seed);
    compare<3>(seed);
  }
  CHECK(hypervolume(std::vector<std::array<double, 2>>{}, {1, 1}) == 0);
  CHECK(hypervolume(std::vector<std::array<double, 3>>{{0, 0, 0}}, {2, 3, 4}) == 24);
}

TEST_CASE("a frontier's volume grows with every point that is not dominated") {
  Frontier f;
  f.points = {test::point("a", 1, 10, 0.6), test::point("b", 2, 12, 0.7)};
  const auto all = to_minimize(f);
  const auto reference = default_reference(all);
  CHECK(reference[0] == doctest::Approx(2.2));
  CHECK(reference[1] == 0);
  CHECK(reference[2] == doctest::Approx(-0.59));
  const double both = hypervolume(all, reference);
  f.points.pop_back();
  CHECK(hypervolume(to_minimize(f), reference) < both);
  f.points.push_back(test::point("c", 3, 5, 0.5));
  f.points.push_back(test::point("b", 2, 12, 0.7));
  CHECK(hypervolume(to_minimize(f), reference) == doctest::Approx(both));
  CHECK(to_minimize_latency_accuracy(f).size() == 3);
  CHECK(hypervolume(to_minimize_latency_accuracy(f), default_reference(to_minimize_latency_accuracy(f))) > 0);
}
