// Bodies of If under many plans: each plan has its own, and takes them with it.
#include <doctest/doctest.h>

#include "graph/ir/op.h"
#include "skyline/session.h"

using namespace skyline;

namespace {

// x -> op(x), with an Identity that the passes take out, so that every plan has bodies of its own.
GraphPtr branch(std::string_view name) {
  auto g = std::make_shared<Graph>();
  const ValueId x = g->add_input("x", Fact::unranked(DType::f32));
  const ValueId same = g->add_value("same"), y = g->add_value("y");
  g->add_node(op("Identity"), "same", {x}, {same});
  g->add_node(op(name), std::string(name), {same}, {y});
  g->add_output(y, "y");
  return g;
}

}  // namespace

TEST_CASE("more shapes than plans are kept: a branch is never taken for another's") {
  Graph g;
  const ValueId cond = g.add_input("cond", Fact(DType::boolean, {})),
                x = g.add_input("x", Fact(DType::f32, {Dim::unknown()}));
  const ValueId y = g.add_value("y"), z = g.add_value("z");
  g.add_node(op("If"), "first", {cond, x}, {y},
             {{"then_branch", branch("Neg")}, {"else_branch", branch("Abs")}, {"captures", int64_t{1}}});
  g.add_node(op("If"), "second", {cond, y}, {z},
             {{"then_branch", branch("Floor")}, {"else_branch", branch("Ceil")}, {"captures", int64_t{1}}});
  g.add_output(z, "z");
  const Session session(Model(std::move(g)), {.threads = 1});
  for (int64_t n = 1; n <= 150; ++n) {
    for (bool taken : {true, false, true, false}) {
      Tensor c(DType::boolean, {});
      *c.mutable_data<bool>() = taken;
      const std::vector<Value> in = {
          c, Tensor::of<float>({n}, std::vector<float>(static_cast<size_t>(n), -1.5f))};
      const std::vector<Value> out = session.run(in);
      REQUIRE(out[0].tensor().dims() == Dims{n});
      CHECK(out[0].tensor().span<float>().back() == (taken ? 1.0f : 2.0f));
    }
  }
}
