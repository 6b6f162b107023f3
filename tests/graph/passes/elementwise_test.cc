#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {

using Counts = std::map<std::string, int>;

Counts after(Build& b) {
  return count_ops(optimized(b.g, {kFuseElementwise}, 0));
}

}  // namespace

TEST_CASE("fuse-elementwise: chains, trees and diamonds become one node") {
  Build b;
  const ValueId x = b.input({2, 9}), y = b.input({9});
  const ValueId a = b.node("LeakyRelu", {b.node("Add", {x, y})}, {{"alpha", 0.3f}});
  const ValueId left = b.node("Tanh", {a}), right = b.node("Clip", {a, b.number(-0.5f), b.number(0.25f)});
  b.output(b.node("Mul", {left, right}));
  CHECK(after(b) == Counts{{"FusedElementwise", 1}});

  Build square;
  const ValueId v = square.node("Sub", {square.input({5}), square.number(1)});
  square.output(square.node("Mul", {v, v}));
  CHECK(after(square) == Counts{{"FusedElementwise", 1}});
}

TEST_CASE("fuse-elementwise: what must stay") {
  {
    Build b;  // one node is no chain
    b.output(b.node("Relu", {b.input({4})}));
    CHECK(after(b) == Counts{{"Relu", 1}});
  }
  {
    Build b;  // the value is an output, or something else reads it
    const ValueId x = b.input({4}), a = b.node("Exp", {x}), c = b.node("Neg", {x});
    b.output(a);
    b.output(b.node("Abs", {a}));
    b.output(b.node("Abs", {c}));
    b.output(b.node("Softmax", {c}));
    CHECK(after(b) == Counts{{"Abs", 2}, {"Exp", 1}, {"Neg", 1}, {"Softmax", 1}});
  }
  {
    Build b;  // broadcast afterwards: it would be computed again and again
    b.output(b.node("Add", {b.node("Exp", {b.input({9})}), b.input({4, 9})}));
    CHECK(after(b) == Counts{{"Add", 1}, {"Exp", 1}});
  }
  {
    Build b;  // not f32, not static, not for certain
    b.output(b.node("Neg", {b.node("Abs", {b.input({4}, DType::i64)})}));
    b.output(b.node("Neg", {b.node("Abs", {b.input({Dim::unknown()})})}));
    const ValueId bounds = b.input({});
    b.output(b.node("Neg", {b.node("Clip", {b.input({4}), bounds})}));
    CHECK(after(b) == Counts{{"Abs", 2}, {"Clip", 1}, {"Neg", 3}});
  }
}

TEST_CASE("fuse-elementwise: a node whose first output is omitted") {
  Build b;
  const ValueId w = b.weights({1, 4, 2}), r = b.weights({1, 4, 4}), state = b.g.add_value("state");
  b.g.add_node(op("RNN"), "n", {b.input({3, 1, 2}), w, r}, {kNoValue, state});
  infer_graph(b.g);
  b.output(state);
  CHECK(after(b) == Counts{{"RNN", 1}});
}

TEST_CASE("fuse-elementwise: long chains and many operands are split") {
  Build b;
  ValueId v = b.input({3});
  for (int i = 0; i < 30; ++i) v = b.node(i % 2 ? "Neg" : "Abs", {v});
  b.output(v);
  CHECK(after(b)["FusedElementwise"] == 3);

  Build many;
  v = many.input({3});
  for (int i = 0; i < 20; ++i) v = many.node("Add", {v, many.input({3})});
  many.output(v);
  const Counts counts = after(many);
  CHECK(counts.at("FusedElementwise") >= 3);
}

TEST_CASE("fused elementwise: steps that make no sense are refused") {
  const auto code = [](Attrs attrs) {
    Build b;
    const ValueId x = b.input({3}), y = b.g.add_value("y");
    const NodeId n = b.g.add_node(op("FusedElementwise", "skyline"), "n", {x}, {y}, std::move(attrs));
    try {
      infer_node(b.g, n);
    } catch (const Error& e) {
      return e.code();
    }
    return Code::ok;
  };
  using Names = std::vector<std::string>;
  using Reals = std::vector<float>;
  CHECK(code({{"ops", Names{"Neg"}}, {"args", Dims{0, -1}}, {"params", Reals{0, 0}}}) == Code::ok);
  CHECK(code({}) == Code::invalid);
  CHECK(code({{"ops", Names{"Neg"}}, {"args", Dims{1, -1}}, {"params", Reals{0, 0}}}) == Code::invalid);
  CHECK(code({{"ops", Names{"Add"}}, {"args", Dims{0, -1}}, {"params", Reals{0, 0}}}) == Code::invalid);
  CHECK(code({{"ops", Names{"Softmax"}}, {"args", Dims{0, -1}}, {"params", Reals{0, 0}}}) == Code::invalid);
  CHECK(code({{"ops", Names{"Neg"}}, {"args", Dims{0}}, {"params", Reals{0, 0}}}) == Code::invalid);
}
