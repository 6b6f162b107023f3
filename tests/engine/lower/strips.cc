#include "graph/ir/infer.h"
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

TEST_CASE("lower: Strips, with a residual that is its own input and one that is another") {
  Random random(5);
  Graph body;
  const ValueId x = body.add_input("x", Fact::fixed(DType::f32, {2, 19, 17, 4}));
  const ValueId w1 = body.add_input("w1", Fact::fixed(DType::f32, {12, 4, 1, 1}));
  const ValueId w2 = body.add_input("w2", Fact::fixed(DType::f32, {12, 1, 3, 3}));
  const ValueId b2 = body.add_input("b2", Fact::fixed(DType::f32, {12}));
  const ValueId r2 = body.add_input("r2", Fact::fixed(DType::f32, {2, 19, 17, 12}));
  const ValueId w3 = body.add_input("w3", Fact::fixed(DType::f32, {4, 12, 1, 1}));
  const ValueId a = body.add_value("a"), b = body.add_value("b"), y = body.add_value("y");
  const std::string last = "NHWC";
  body.add_node("FusedConv", "expand", {x, w1}, {a}, {{"layout", last}, {"activation", std::string("relu")}},
                "skyline");
  body.add_node("FusedConv", "depthwise", {a, w2, b2, r2}, {b},
                {{"layout", last}, {"group", int64_t{12}}, {"pads", Dims{1, 1, 1, 1}}}, "skyline");
  body.add_node("FusedConv", "project", {b, w3, kNoValue, x}, {y}, {{"layout", last}}, "skyline");
  body.add_output(y, "y");
  infer_graph(body);
  check_sweep({.op = "Strips",
               .operands = {input(random.f32({2, 19, 17, 4})), constant(random.f32({12, 4, 1, 1})),
                            constant(random.f32({12, 1, 3, 3})), constant(random.f32({12})),
                            input(random.f32({2, 19, 17, 12})), constant(random.f32({4, 12, 1, 1}))},
               .attrs = {{"body", std::make_shared<const Graph>(body)}},
               .domain = "skyline"});
}
