#include "engine/search/grid.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "skyline/model.h"

using namespace skyline;

namespace {

Session digits(int threads) {
  return Session(Model::load(std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx"),
                 {.threads = threads});
}
std::vector<Value> picture() {
  return {Value(Tensor::zeros(DType::f32, {1, 1, 16, 16}))};
}

}  // namespace

TEST_CASE("grid: batches where the first axis is open; points whose bound is too low are not measured") {
  REQUIRE(can_batch(digits(1), picture()));
  CHECK(repeated(picture(), 3)[0].tensor().dims() == Dims{3, 1, 16, 16});
  GridOptions o;
  o.threads = 1;
  o.streams = {1, 2};
  o.batches = {1, 2, 4, 8};
  o.seconds = 0.005;
  const auto make = [](int threads) { return digits(threads); };
  const GridResult pruned = search_grid(make, picture(), o);
  CHECK(pruned.points == 8);
  REQUIRE(!pruned.measured.empty());
  CHECK(pruned.measured[0].throughput.value > 0);
  CHECK(pruned.measured[0].load.examples_each == pruned.measured[0].at.batch);
  o.prune = false;
  const GridResult all = search_grid(make, picture(), o);
  CHECK(all.measured.size() == all.points);
  // A roof that everything reaches leaves one point.
  o.prune = true;
  o.peak = 1;
  o.work = 1e9;
  CHECK(search_grid(make, picture(), o).measured.size() == 1);
}

TEST_CASE("grid: models with a fixed first axis take no batches; errors of streams reach the caller") {
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {1, 4})), y = g.add_value("y");
  g.add_node("Relu", "relu", {x}, {y});
  g.add_output(y, "y");
  const std::vector<Value> in{Value(Tensor::zeros(DType::f32, {1, 4}))};
  CHECK_FALSE(can_batch(Session(Model(std::move(g)), {.threads = 1}), in));
  const auto fails = [](int) -> Session { throw Error(Code::oom, "no memory"); };
  GridOptions o;
  o.streams = {1, 2};
  CHECK_THROWS_AS(search_grid(fails, in, o), Error);
}
