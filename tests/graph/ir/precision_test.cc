#include "graph/ir/precision.h"

#include <doctest/doctest.h>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/passes/passes.h"
#include "skyline/half.h"
#include "skyline/status.h"

using namespace skyline;

namespace {

// y = relu(x @ w) @ w, the second product in both branches of an If.
Graph two_products() {
  Graph g;
  const Tensor w = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
  const auto branch = [&](bool relu) {
    Graph b;
    const ValueId x = b.add_input("x", Fact(DType::f32, {2, 2})), y = b.add_value("y"), z = b.add_value("z");
    b.add_node("MatMul", "second", {x, b.add_constant("w", w)}, {y});
    b.add_node(relu ? "Relu" : "Neg", "after", {y}, {z});
    b.add_output(z, "z");
    return GraphPtr(std::make_shared<const Graph>(std::move(b)));
  };
  const ValueId x = g.add_input("x", Fact(DType::f32, {2, 2})),
                c = g.add_input("c", Fact(DType::boolean, {}));
  const ValueId y = g.add_value("y"), r = g.add_value("r"), z = g.add_value("z");
  g.add_node("MatMul", "first", {x, g.add_constant("w", w)}, {y});
  g.add_node("Relu", "relu", {y}, {r});
  g.add_node("If", "if", {c, r}, {z},
             {{"then_branch", branch(true)}, {"else_branch", branch(false)}, {"captures", int64_t{1}}});
  g.add_output(z, "z");
  return g;
}

Node& named(const Graph& g, std::string_view name) {
  for (NodeId id : g.order()) {
    if (g.node(id).name == name) return const_cast<Node&>(g.node(id));
  }
  throw Error(Code::internal, "no such node");
}

}  // namespace

TEST_CASE("a rung goes to every contraction, bodies included, and to nothing else") {
  Graph g = two_products();
  const GraphPtr before = std::get<GraphPtr>(*named(g, "if").attrs.find("then_branch"));
  assign_precision(g, Precision::bf16x3);
  CHECK(precision_of(named(g, "first")) == Precision::bf16x3);
  CHECK(precision_of(named(named(g, "if").attrs.graph("then_branch"), "second")) == Precision::bf16x3);
  CHECK(precision_of(named(named(g, "if").attrs.graph("else_branch"), "second")) == Precision::bf16x3);
  CHECK_FALSE(named(g, "relu").attrs.has("precision"));
  CHECK(precision_of(named(*before, "second")) == Precision::f32);  // it may be another model's too

  assign_precision(g, Precision::model);
  CHECK(precision_of(named(g, "first")) == Precision::bf16x3);
  assign_precision(g, Precision::f32, {{"second", Precision::f16}});
  CHECK(precision_of(named(g, "first")) == Precision::f32);
  CHECK(precision_of(named(named(g, "if").attrs.graph("then_branch"), "second")) == Precision::f16);
}

TEST_CASE("a rung outlives fusion") {
  Graph g = two_products();
  assign_precision(g, Precision::model, {{"first", Precision::bf16}});
  infer_graph(g);
  run_passes(g, portable_passes());
  const Node& first = named(g, "first");
  CHECK(first.is("FusedMatMul"));
  CHECK(first.attrs.text("activation") == "relu");
  CHECK(precision_of(first) == Precision::bf16);
}

TEST_CASE("a rung for a node that is not there, or multiplies nothing, is an error that names it") {
  for (const char* name : {"third", "relu", ""}) {
    Graph g = two_products();
    CHECK_THROWS_WITH_AS(assign_precision(g, Precision::model, {{name, Precision::bf16}}),
                         doctest::Contains(("'" + std::string(name) + "'").c_str()), Error);
  }
  Graph g = two_products();
  named(g, "first");
  Node& n = g.node(g.order()[0]);
  n.attrs.set("precision", std::string("f8"));
  CHECK_THROWS_WITH_AS((void)precision_of(n), doctest::Contains("f8"), Error);
}

TEST_CASE(
    "a fused product on a rung reads activations in 16 bits, and its result is rounded as it is stored") {
  Graph g;
  const Tensor w = Tensor::of<float>({2, 2}, {1, 2, 3, 4.03125f});
  const ValueId x = g.add_input("x", Fact(DType::bf16, {1, 2})), y = g.add_value("y");
  g.add_node("FusedMatMul", "product", {x, g.add_constant("w", w)}, {y}, {{"precision", std::string("bf16")}},
             "skyline");
  g.add_output(y, "y");
  Tensor in(DType::bf16, {1, 2});
  in.mutable_data<BFloat16>()[0] = BFloat16(1.0f);
  in.mutable_data<BFloat16>()[1] = BFloat16(64.0f);
  infer_graph(g);
  CHECK(g.fact(y).dtype == DType::f32);
  const std::vector<Value> inputs{in};
  CHECK(interpret(g, inputs, {})[0].tensor().span<float>()[1] == 260.0f);
  store_as(named(g, "product"), DType::bf16);
  g.value(y).fact = Fact();
  infer_graph(g);
  CHECK(g.fact(y).dtype == DType::bf16);
  CHECK(static_cast<float>(interpret(g, inputs, {})[0].tensor().span<BFloat16>()[0]) == 193.0f);
  CHECK(static_cast<float>(interpret(g, inputs, {})[0].tensor().span<BFloat16>()[1]) == 260.0f);
}
