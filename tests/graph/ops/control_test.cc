// If, Loop, Scan, recurrent layers, attention.
#include "run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

Tensor boolean(bool b) {
  Tensor t(DType::boolean, {});
  *t.mutable_data<bool>() = b;
  return t;
}

// round, cond, x, y -> cond, x + y, x: y is captured.
GraphPtr adding_body() {
  auto g = std::make_shared<Graph>();
  g->add_input("round", Fact(DType::i64, {}));
  const ValueId cond = g->add_input("cond", Fact(DType::boolean, {}));
  const ValueId x = g->add_input("x", Fact::unranked(DType::f32));
  const ValueId y = g->add_input("y", Fact::unranked(DType::f32));
  const ValueId sum = g->add_value("sum"), same = g->add_value("same");
  g->add_node(op("Add"), "add", {x, y}, {sum});
  g->add_node(op("Identity"), "same", {cond}, {same});
  g->add_output(same, "same");
  g->add_output(sum, "sum");
  g->add_output(x, "seen");
  return g;
}

GraphPtr unary_body(const char* name) {
  auto g = std::make_shared<Graph>();
  const ValueId x = g->add_input("x", Fact::unranked(DType::f32)), y = g->add_value("y");
  g->add_node(op(name), "n", {x}, {y});
  g->add_output(y, "y");
  return g;
}

}  // namespace

TEST_CASE("a loop carries state, stacks what it sees and reads its capture") {
  const Tensor x = vec<float>({1, 2}), y = vec<float>({10, 20});
  const Attrs a{{"body", adding_body()}, {"captures", int64_t{1}}};
  const auto out = run_op("Loop", {Tensor::scalar<int64_t>(3), boolean(true), x, y}, a, 2);
  CHECK(values<float>(out[0]) == std::vector<float>{31, 62});
  CHECK(out[1].dims() == Dims{3, 2});
  CHECK(values<float>(out[1]) == std::vector<float>{1, 2, 11, 22, 21, 42});
}

TEST_CASE("a loop of no rounds gives its state back and empty scan outputs") {
  const Tensor x = vec<float>({1, 2}), y = vec<float>({10, 20});
  const Attrs a{{"body", adding_body()}, {"captures", int64_t{1}}};
  for (const auto& [trips, cond] : {std::pair{int64_t{0}, true}, {int64_t{-5}, true}, {int64_t{4}, false}}) {
    const auto out = run_op("Loop", {Tensor::scalar<int64_t>(trips), boolean(cond), x, y}, a, 2);
    CHECK(values<float>(out[0]) == std::vector<float>{1, 2});
    CHECK(out[1].dims() == Dims{0, 2});
  }
}

TEST_CASE("an endless loop is stopped by the limits' check") {
  Node n;
  n.op = &op("Loop");
  n.inputs = {kNoValue, kNoValue, ValueId{0}, ValueId{1}};
  n.outputs = {ValueId{2}};
  n.attrs = {{"body", adding_body()}, {"captures", int64_t{1}}};
  int rounds = 0;
  EvalLimits limits;
  limits.check = [&] {
    if (++rounds > 1000) throw Error(Code::cancelled, "stopped");
  };
  const std::vector<Value> in{Value(), Value(), vec<float>({0}), vec<float>({1})};
  CHECK_THROWS_AS(evaluate_node(n, in, limits), Error);
  CHECK(rounds == 1001);
}

TEST_CASE("scan outputs over the memory limit are refused") {
  Node n;
  n.op = &op("Loop");
  n.inputs = {ValueId{4}, kNoValue, ValueId{0}, ValueId{1}};
  n.outputs = {ValueId{2}, ValueId{3}};
  n.attrs = {{"body", adding_body()}, {"captures", int64_t{1}}};
  EvalLimits limits;
  limits.max_bytes = 1000;
  const std::vector<Value> in{Tensor::scalar<int64_t>(int64_t{1} << 40), Value(), vec<float>({0}),
                              vec<float>({1})};
  CHECK_THROWS_WITH(evaluate_node(n, in, limits), doctest::Contains("memory limit"));
}

TEST_CASE("If runs the branch that its condition says") {
  const Attrs a{
      {"then_branch", unary_body("Neg")}, {"else_branch", unary_body("Abs")}, {"captures", int64_t{1}}};
  CHECK(values<float>(run_op("If", {boolean(true), vec<float>({-2})}, a)[0]) == std::vector<float>{2});
  CHECK(values<float>(run_op("If", {boolean(false), vec<float>({2})}, a)[0]) == std::vector<float>{2});
  CHECK(fails("If", {vec<float>({1}), vec<float>({2})}, a) == Code::invalid);
  CHECK(fails("If", {boolean(true)}, a) == Code::invalid);
}

TEST_CASE("Scan runs backwards and stacks along any axis") {
  auto g = std::make_shared<Graph>();
  const ValueId s = g->add_input("s", Fact::unranked(DType::f32)),
                x = g->add_input("x", Fact::unranked(DType::f32));
  const ValueId sum = g->add_value("sum"), copy = g->add_value("copy");
  g->add_node(op("Add"), "add", {s, x}, {sum});
  g->add_node(op("Identity"), "copy", {sum}, {copy});
  g->add_output(sum, "sum");
  g->add_output(copy, "copy");
  const Tensor x0 = Tensor::of<float>({2, 3}, {1, 2, 3, 10, 20, 30});
  Attrs a{{"body", GraphPtr(g)},
          {"num_scan_inputs", int64_t{1}},
          {"scan_input_axes", Dims{1}},
          {"scan_input_directions", Dims{1}},
          {"scan_output_axes", Dims{-1}}};
  const auto y = run_op("Scan", {vec<float>({0, 0}), x0}, a, 2);
  CHECK(values<float>(y[0]) == std::vector<float>{6, 60});
  CHECK(y[1].dims() == Dims{2, 3});
  CHECK(values<float>(y[1]) == std::vector<float>{3, 5, 6, 30, 50, 60});
  a.set("scan_input_axes", Dims{2});
  CHECK(fails("Scan", {vec<float>({0, 0}), x0}, a, 2) == Code::invalid);
  a.set("num_scan_inputs", int64_t{9});
  CHECK(fails("Scan", {vec<float>({0, 0}), x0}, a, 2) == Code::invalid);
}

TEST_CASE("a recurrent layer stops at each sequence's length, in both directions") {
  // One feature, one hidden unit, W = R = 1, activation x: the state is a running sum.
  const Tensor x = Tensor::of<float>({3, 2, 1}, {1, 10, 2, 20, 3, 30});
  const Tensor w = Tensor::of<float>({2, 1, 1}, {1, 1});
  Tensor lengths = vec<int32_t>({3, 2});
  const Attrs a{{"hidden_size", int64_t{1}},
                {"direction", std::string("bidirectional")},
                {"activations", std::vector<std::string>{"Affine", "Affine"}},
                {"activation_alpha", std::vector<float>{1, 1}}};
  const auto y = run_op("RNN", {x, w, w, {}, lengths}, a, 2);
  CHECK(values<float>(y[0]) == std::vector<float>{1, 10, 6, 30, 3, 30, 5, 20, 6, 0, 3, 0});
  CHECK(values<float>(y[1]) == std::vector<float>{6, 30, 6, 30});
  CHECK(fails("RNN", {x, w, w, {}, vec<int32_t>({4, 2})}, a, 2) == Code::input);
  CHECK(fails("LSTM", {x, w, w}, {{"hidden_size", int64_t{1}}}) == Code::invalid);
  CHECK(fails("RNN", {x, w, w}, {{"direction", std::string("up")}}) == Code::invalid);
}

TEST_CASE("attention of a masked query is zero, and causal queries see the past only") {
  const Tensor q = Tensor::of<float>({1, 1, 2, 1}, {0, 0}), v = Tensor::of<float>({1, 1, 2, 1}, {2, 4});
  CHECK(values<float>(run_op("Attention", {q, q, v}, {{"is_causal", int64_t{1}}})[0]) ==
        std::vector<float>{2, 3});
  Tensor mask(DType::boolean, {2, 2});
  for (int i = 0; i < 4; ++i) mask.mutable_data<bool>()[i] = i >= 2;
  CHECK(values<float>(run_op("Attention", {q, q, v, mask})[0]) == std::vector<float>{0, 3});
  CHECK(fails("Attention", {q, q, v, {}, {}, {}, vec<int64_t>({3})}) == Code::input);
  CHECK(fails("Attention", {vec<float>({1}), q, v}) == Code::invalid);
}
