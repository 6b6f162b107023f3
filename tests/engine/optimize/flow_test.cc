#include "engine/optimize/flow.h"

#include <doctest/doctest.h>

#include "engine/optimize/node_costs.h"
#include "engine/optimize/race.h"
#include "graph/ir/infer.h"
#include "skyline/model.h"

using namespace skyline;

namespace {

// x -> a -> Relu -> b -> (+ the Relu) -> c, all products of 4x4.
Graph residual() {
  Graph g;
  const Tensor w = Tensor::of<float>({4, 4}, std::vector<float>(16, 0.5f));
  const ValueId x = g.add_input("x", Fact(DType::f32, {2, 4}));
  const auto product = [&](const char* name, ValueId in) {
    const ValueId y = g.add_value(std::string(name) + ".y");
    g.add_node("MatMul", name, {in, g.add_constant(std::string(name) + ".w", w)}, {y});
    return y;
  };
  const ValueId r = g.add_value("r"), s = g.add_value("s");
  g.add_node("Relu", "relu", {product("a", x)}, {r});
  g.add_node("Add", "add", {product("b", r), r}, {s});
  g.add_output(product("c", s), "y");
  infer_graph(g);
  return g;
}

}  // namespace

TEST_CASE("flow: products, what they take from outside, and what flows between them") {
  const Graph g = residual();
  const Flow f = flow_of(g);
  REQUIRE(f.products.size() == 3);
  CHECK(f.products[0].name == "a");
  CHECK(f.products[0].from_outside == 32);
  CHECK(f.products[1].from_outside == 0);
  CHECK(f.products[2].flops == 64);
  REQUIRE(f.edges.size() == 3);
  const auto is = [&](size_t i, int from, int to) {
    return f.edges[i].from == from && f.edges[i].to == to && f.edges[i].bytes == 32;
  };
  CHECK(is(0, 0, 1));
  CHECK(is(1, 0, 2));
  CHECK(is(2, 1, 2));
}

TEST_CASE(
    "node costs: every product has a time on every rung, joined steps are shared out, the rest is apart") {
  const Model model(residual());
  const Session one(model, {.threads = 1}), plain(model, {.threads = 1, .optimize = false});
  Tensor x(DType::f32, {2, 4});
  const NodeCosts c = measure_node_costs({"a", "b", "c", "ghost"},
                                         {{Precision::f32, &one}, {Precision::bf16, &plain}}, {x}, 5);
  for (size_t n = 0; n < 3; ++n) {
    for (size_t r = 0; r < 2; ++r) {
      CHECK(c.seconds[n][r] > 0);
      CHECK(c.seconds[n][r] < 1);
    }
  }
  CHECK(c.seconds[3][0] > 1e300);
  CHECK(c.rest[1] > 0);  // Relu and Add stand alone there
  CHECK(c.total[1] >= c.rest[1]);
}

TEST_CASE("race: takes turns, counts all but the first run, orders the fast before the slow") {
  Race race;
  std::vector<size_t> order;
  volatile double sink = 0;
  const auto work = [&](size_t index, int n) {
    order.push_back(index);
    for (int i = 0; i < n; ++i) sink = sink + i;
  };
  const size_t fast = race.add([&] { work(0, 1000); }), slow = race.add([&] { work(1, 100000); });
  const size_t both[] = {fast, slow};
  for (int i = 0; i < 5; ++i) race.turn(both, 0.002);
  CHECK(race.turns(slow) == 5);
  CHECK(race.samples(fast) + race.samples(slow) + 2 == order.size());
  CHECK(race.latency(fast, Statistic::p50).value < race.latency(slow, Statistic::p50).value);
  CHECK(race.latency(slow, Statistic::p99).value >= race.latency(slow, Statistic::p50).value);
  const Estimate ratio = race.ratio(slow, fast);
  CHECK(ratio.low > 2);
  CHECK(ratio.low <= ratio.value);
  CHECK(race.ratio(fast, fast).value == 1);
}
