#include "engine/optimize/trade_off.h"

#include <limits>
#include <random>

#include "doctest/doctest.h"

using namespace skyline;

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Whole numbers, so that sums are exact in any order.
struct Maker {
  explicit Maker(uint32_t seed) : random(seed) {}
  int below(int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); }
  std::vector<double> numbers(int n, int most, int forbidden_in = 0) {
    std::vector<double> out;
    for (int i = 0; i < n; ++i)
      out.push_back(forbidden_in && below(forbidden_in) == 0 ? kNever : below(most));
    return out;
  }
  void node(int most = 1000) {
    const int options = 1 + below(3);
    t.add_node(numbers(options, most), numbers(options, most));
  }
  void edge(int a, int b, int forbidden_in = 0) {
    if (a != b) t.add_edge(a, b, numbers(t.options(a) * t.options(b), 300, forbidden_in));
  }
  std::mt19937 random;
  TradeOff t;
};

void check_same(const TradeOff::Frontier& found, const TradeOff::Frontier& right) {
  CHECK(found.exact);
  REQUIRE(found.points.size() == right.points.size());
  for (size_t i = 0; i < right.points.size(); ++i) {
    CHECK(found.points[i].cost == right.points[i].cost);
    CHECK(found.points[i].noise == right.points[i].noise);
  }
}

}  // namespace

TEST_CASE("trade-off: graphs of up to 11 nodes, against trying everything") {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    Maker m(seed);
    const int n = 1 + m.below(seed < 20 ? 11 : 8);
    for (int i = 0; i < n; ++i) m.node(seed % 3 == 0 ? 5 : 1000);  // few values: many ties
    for (int i = 1; i < n; ++i) m.edge(m.below(i), i);
    for (int i = 0, more = m.below(5); i < more; ++i) {
      const int a = m.below(n), b = m.below(n);
      m.edge(a, b);  // either way round, and twice
    }
    check_same(m.t.solve(), m.t.brute_force());
  }
}

TEST_CASE("trade-off: pairs that are forbidden") {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Maker m(seed);
    for (int i = 0; i < 6; ++i) m.t.add_node({1.0 * m.below(9), 5, 3}, {4, 1.0 * m.below(9), 2});
    for (int i = 1; i < 6; ++i) {
      std::vector<double> costs = m.numbers(9, 10, 3);
      costs[0] = 1;  // option 0 always fits
      m.t.add_edge(i, m.below(i), costs);
    }
    check_same(m.t.solve(), m.t.brute_force());
  }
  TradeOff t;
  t.add_node({kNever}, {0});
  CHECK_THROWS(t.solve());
}

TEST_CASE("trade-off: points that no weighted sum finds are on the frontier") {
  TradeOff t;
  t.add_node({10, 6, 0}, {0, 6, 10});  // the middle one lies above the line between the others
  CHECK(t.solve().points.size() == 3);
}

TEST_CASE("trade-off: with few labels the answer is near and says so") {
  Maker m(7);
  for (int i = 0; i < 60; ++i) {
    m.t.add_node({100.0 + m.below(100), 50.0 + m.below(50), 20},
                 {0, 1.0 + m.below(100), 200.0 + m.below(999)});
    if (i > 0) m.t.add_edge(i - 1, i, {0, 9, 9, 9, 0, 9, 9, 9, 0});
  }
  const TradeOff::Frontier good = m.t.solve({.labels = 100000, .ways = 100});
  const TradeOff::Frontier coarse = m.t.solve({.labels = 50, .ways = 100, .bucket = 0.01});
  CHECK_FALSE(coarse.exact);
  REQUIRE(!coarse.points.empty());
  for (const auto& p : coarse.points) {
    const auto same = m.t.evaluate(p.options);
    CHECK(same.cost == p.cost);
    CHECK(same.noise == p.noise);
    double best = kNever;  // what that much noise buys at best
    for (const auto& q : good.points) {
      if (q.noise <= p.noise) best = std::min(best, q.cost);
    }
    CHECK(p.cost <= 1.1 * best);
  }
}

TEST_CASE("trade-off: too many ways to agree") {
  Maker m(3);
  // All nodes stay open until the last one, which sees them all.
  for (int i = 0; i < 9; ++i) m.t.add_node({5, 1.0 + m.below(3), 0}, {0, 1, 3.0 + m.below(5)});
  const int last = m.t.add_node({0}, {0});
  for (int i = 0; i < 9; ++i) m.t.add_edge(i, last, m.numbers(3, 4));
  const TradeOff::Frontier f = m.t.solve({.labels = 1000, .ways = 50});
  CHECK_FALSE(f.exact);
  CHECK(!f.points.empty());
  check_same(m.t.solve({.labels = 1000, .ways = 100000}), m.t.brute_force());
}
