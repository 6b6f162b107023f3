#include "engine/optimize/pbqp.h"

#include <random>

#include "doctest/doctest.h"

using namespace skyline;

namespace {

// The least cost, by trying everything.
double least(const Pbqp& p) {
  std::vector<int> states(static_cast<size_t>(p.size()), 0);
  double best = Pbqp::kForbidden;
  for (;;) {
    best = std::min(best, p.cost(states));
    int n = 0;
    while (n < p.size() && ++states[static_cast<size_t>(n)] == p.states(n))
      states[static_cast<size_t>(n++)] = 0;
    if (n == p.size()) return best;
  }
}

struct Maker {
  explicit Maker(uint32_t seed) : random(seed) {}
  int below(int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); }
  std::vector<double> costs(int n, int forbidden_in = 0) {
    std::vector<double> out;
    for (int i = 0; i < n; ++i)
      out.push_back(forbidden_in && below(forbidden_in) == 0 ? Pbqp::kForbidden : below(1000));
    return out;
  }
  void node() { p.add_node(costs(1 + below(3))); }
  void edge(int a, int b) {
    if (a != b) p.add_edge(a, b, costs(p.states(a) * p.states(b)));
  }
  std::mt19937 random;
  Pbqp p;
};

}  // namespace

TEST_CASE("pbqp: trees, cycles and ladders are solved exactly") {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    Maker m(seed);
    const int n = 2 + m.below(10);
    m.node();
    for (int i = 1; i < n; ++i) {
      m.node();
      m.edge(i, m.below(i));
    }
    if (seed % 2) m.edge(0, n - 1);  // one cycle
    const Pbqp::Solution s = m.p.solve();
    CHECK(s.exact);
    CHECK(s.cost == least(m.p));
    CHECK(s.cost == m.p.cost(s.states));
  }
  for (uint32_t seed = 0; seed < 60; ++seed) {  // residual blocks: a chain with jumps over one node, nested
    CAPTURE(seed);
    Maker m(seed);
    for (int i = 0; i < 12; ++i) m.node();
    for (int i = 1; i < 12; ++i) m.edge(i - 1, i);
    for (int i = 0; i + 2 < 12; i += 2) m.edge(i, i + 2);
    m.edge(0, 6);
    m.edge(6, 10);
    const Pbqp::Solution s = m.p.solve();
    CHECK(s.exact);
    CHECK(s.cost == least(m.p));
  }
}

TEST_CASE("pbqp: dense graphs are solved nearly, and never below the least") {
  double found = 0, best = 0;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    Maker m(seed);
    const int n = 4 + m.below(6);
    for (int i = 0; i < n; ++i) m.node();
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < i; ++j) {
        if (m.below(3) > 0) m.edge(i, j);
      }
    }
    const Pbqp::Solution s = m.p.solve();
    const double oracle = least(m.p);
    CHECK(s.cost >= oracle);
    if (s.exact) CHECK(s.cost == oracle);
    found += s.cost;
    best += oracle;
  }
  CHECK(found < 1.1 * best);
}

TEST_CASE("pbqp: forbidden pairs are kept to") {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    Maker m(seed);
    for (int i = 0; i < 10; ++i) {
      m.p.add_node(m.costs(3));
      if (i) {
        const int j = m.below(i);
        m.p.add_edge(i, j, m.costs(9, 3));
      }
    }
    CHECK(m.p.solve().cost == least(m.p));
  }
  Pbqp impossible;
  impossible.add_node({1, 2});
  impossible.add_node({1, 2});
  impossible.add_edge(0, 1, std::vector<double>(4, Pbqp::kForbidden));
  CHECK(impossible.solve().cost == Pbqp::kForbidden);
}

TEST_CASE("pbqp: edges add up, in either direction; nodes with one state count") {
  Pbqp p;
  const int a = p.add_node({0, 0}), b = p.add_node({0, 0, 0}), c = p.add_node({5});
  p.add_edge(a, b, std::vector<double>{1, 2, 3, 4, 5, 6});
  p.add_edge(b, a, std::vector<double>{10, 0, 0, 0, 20, 0});
  p.add_edge(c, a, std::vector<double>{0, 7});
  CHECK(p.cost(std::vector<int>{0, 0, 0}) == 16);
  CHECK(p.cost(std::vector<int>{0, 1, 0}) == 7);
  CHECK(p.cost(std::vector<int>{1, 0, 0}) == 16);
  CHECK(p.solve().states == std::vector<int>{0, 1, 0});
  CHECK(Pbqp().solve().states.empty());
}

TEST_CASE("pbqp: large graphs take no time, and the same answer every time") {
  Maker m(1);
  for (int i = 0; i < 3000; ++i) {
    m.p.add_node(m.costs(4));
    if (i) m.edge(i, i - 1);
    if (i > 20) m.edge(i, i - 1 - m.below(20));
  }
  const Pbqp::Solution s = m.p.solve();
  CHECK(s.states == m.p.solve().states);
}
