// The quantizer on small graphs, run by the reference interpreter.
#include <cmath>
#include <limits>

#include "quant/calibrate.h"
#include "quant/prepare.h"
#include "quant/qdq.h"
#include "quant/select.h"
#include "tests/graph/passes/build.h"

namespace skyline::test {
namespace {

using namespace quant;

MakeRunner interpreter() {
  return [](const Graph& g) -> Runner { return [g](std::span<const Value> in) { return interpret(g, in); }; };
}

Examples random_examples(const Graph& g, int64_t count, float scale = 1) {
  return {count, [&g, scale](int64_t i) {
            Random random(static_cast<uint32_t>(i + 1));
            std::vector<Value> out;
            for (ValueId v : g.inputs())
              out.emplace_back(random_tensor(g.fact(v).static_dims(), random, scale));
            return out;
          }};
}

// Signal to noise of the quantized graph's first output, in dB, over fresh examples.
double sqnr(const Graph& a, const Graph& b) {
  const Examples e = random_examples(a, 20);
  double signal = 0, noise = 0;
  for (int64_t i = 0; i < 5; ++i) {
    const auto in = e.at(i + 10);
    const Value x = interpret(a, in)[0], y = interpret(b, in)[0];
    for (int64_t k = 0; k < x.tensor().size(); ++k) {
      const double want = x.tensor().data<float>()[k], got = y.tensor().data<float>()[k];
      signal += want * want;
      noise += (want - got) * (want - got);
    }
  }
  return 10 * std::log10(signal / noise);
}

// conv, relu -> conv, add -> conv: a residual block between two convolutions, and a classifier.
Build residual_net() {
  Build b;
  const ValueId x = b.input({1, 3, 8, 8});
  const ValueId a = b.node(
      "Relu", {b.node("Conv", {x, b.weights({8, 3, 3, 3}), b.weights({8})}, {{"pads", Dims{1, 1, 1, 1}}})});
  const ValueId c = b.node("Conv", {a, b.weights({8, 8, 1, 1}), b.weights({8})});
  const ValueId sum = b.node("Relu", {b.node("Add", {c, a})});
  const ValueId d = b.node("Conv", {sum, b.weights({8, 8, 1, 1}), b.weights({8})});
  const ValueId pooled = b.node("GlobalAveragePool", {b.node("Relu", {d})});
  const ValueId flat = b.node("Flatten", {pooled});
  b.output(b.node("Gemm", {flat, b.weights({8, 5}), b.weights({5})}));
  return b;
}

const Decision& decision(const Result& r, std::string_view op) {
  for (const Decision& d : r.decisions) {
    if (d.op == op) return d;
  }
  FAIL("no decision about " << op);
  return r.decisions[0];
}

}  // namespace

TEST_CASE("int8: a residual block becomes integers, and stays close") {
  const Build b = residual_net();
  for (const Method m : {Method::minmax, Method::percentile, Method::mse, Method::entropy}) {
    CAPTURE(name(m));
    Options o;
    o.method = m;
    const Result r = quantize_int8(b.g, random_examples(b.g, 8), interpreter(), o);
    CHECK(sqnr(b.g, r.graph) > (m == Method::entropy ? 20 : 28));
    auto ops = count_ops(r.graph);
    CHECK(ops["Relu"] == 0);  // rounding to integers whose zero point is 0 does it
    CHECK(ops["QuantizeLinear"] == 7);
    for (const Decision& d : r.decisions) CHECK(d.precision == Precision::int8);
    Graph fused = r.graph;
    run_passes(fused, portable_passes());
    run_passes(fused, target_passes());
    ops = count_ops(fused);
    CHECK(ops["QLinearConv"] == 3);
    CHECK(ops["QLinearAdd"] == 1);
    CHECK(ops["QLinearGlobalAveragePool"] == 1);
    CHECK(ops["Conv"] + ops["FusedConv"] == 0);
  }
}

TEST_CASE("int8: what is kept stays f32") {
  const Build b = residual_net();
  Options o;
  o.keep = {"Gemm", "Add"};
  const Result r = quantize_int8(b.g, random_examples(b.g, 2), interpreter(), o);
  CHECK(decision(r, "Gemm").precision == Precision::f32);
  CHECK(decision(r, "Gemm").reason == "asked for");
  CHECK(decision(r, "Add").precision == Precision::f32);
  CHECK(decision(r, "Conv").precision == Precision::int8);
  o.keep = {"nobody"};
  CHECK_THROWS_WITH_AS(quantize_int8(b.g, random_examples(b.g, 2), interpreter(), o),
                       doctest::Contains("nobody"), Error);
}

TEST_CASE("int8: the last convolution keeps its result") {
  Build b;
  const ValueId x = b.input({1, 3, 4, 4});
  const ValueId y = b.node("Relu", {b.node("Conv", {x, b.weights({4, 3, 1, 1})})});
  b.output(b.node("Sigmoid", {b.node("Conv", {y, b.weights({2, 4, 1, 1})})}));
  const Result r = quantize_int8(b.g, random_examples(b.g, 4), interpreter());
  auto ops = count_ops(r.graph);
  CHECK(ops["QuantizeLinear"] == 2);
  CHECK(r.decisions.at(2).precision == Precision::f32);
}

TEST_CASE("int8: weights are symmetric, biases in units of the product") {
  Build b;
  const ValueId x = b.input({1, 2, 4, 4});
  const ValueId h =
      b.node("Conv", {x, b.numbers({2, 2, 1, 1}, {1, -0.5f, 0, 0}), b.numbers({2}, {0.25f, 3})});
  b.output(b.node("Gemm", {b.node("Flatten", {h}), b.weights({32, 3})}));
  const Result r = quantize_int8(b.g, random_examples(b.g, 4), interpreter());
  const Node& conv = only(r.graph, "Conv");
  const Node& w = r.graph.node(r.graph.producer(conv.in(1)));
  CHECK(r.graph.constant(w.in(0))->data<int8_t>()[0] == 127);
  CHECK(r.graph.constant(w.in(0))->data<int8_t>()[1] == -64);
  CHECK(r.graph.constant(w.in(2))->data<int8_t>()[1] == 0);
  // A channel of zeros is there for its bias.
  const Node& bias = r.graph.node(r.graph.producer(conv.in(2)));
  const double unit = r.graph.constant(bias.in(1))->data<float>()[1];
  CHECK(r.graph.constant(bias.in(0))->data<int32_t>()[1] * unit == doctest::Approx(3).epsilon(1e-6));
}

TEST_CASE("int8: a bias too large for its weights widens their scale") {
  Build b;
  const ValueId x = b.input({1, 1, 4, 4});
  const ValueId h = b.node("Conv", {x, b.numbers({1, 1, 1, 1}, {1e-12f}), b.numbers({1}, {2})});
  b.output(b.node("Gemm", {b.node("Flatten", {h}), b.weights({16, 3})}));
  const Result r = quantize_int8(b.g, random_examples(b.g, 4), interpreter());
  const Node& bias = r.graph.node(r.graph.producer(only(r.graph, "Conv").in(2)));
  const double b0 = r.graph.constant(bias.in(0))->data<int32_t>()[0];
  CHECK(b0 <= (1 << 30) + 256);
  CHECK(b0 * r.graph.constant(bias.in(1))->data<float>()[0] == doctest::Approx(2).epsilon(1e-6));
}

TEST_CASE("int8: errors name what is wrong") {
  Build b = residual_net();
  CHECK_THROWS_WITH_AS(quantize_int8(b.g, {}, interpreter()), doctest::Contains("empty"), Error);

  Build nan;
  const ValueId x = nan.input({1, 1, 2, 2});
  nan.output(nan.node("Conv", {x, nan.numbers({1, 1, 1, 1}, {NAN})}));
  nan.output(nan.node("Conv", {x, nan.numbers({2, 1, 1, 1}, {INFINITY, 1})}));
  CHECK_THROWS_WITH_AS(quantize_int8(nan.g, random_examples(nan.g, 1), interpreter()),
                       doctest::Contains("(Conv)"), Error);

  // An activation that overflows.
  Build big;
  const ValueId y = big.input({1, 1, 2, 2});
  const ValueId h = big.node(
      "Conv", {big.node("Exp", {big.node("Mul", {y, big.number(1e4f)})}), big.numbers({1, 1, 1, 1}, {1})});
  big.output(big.node("Conv", {h, big.numbers({1, 1, 1, 1}, {1})}));
  CHECK_THROWS_WITH_AS(quantize_int8(big.g, random_examples(big.g, 3), interpreter()),
                       doctest::Contains("not finite"), Error);

  Selection s = select_int8(b.g, {});
  std::vector<std::optional<Scheme>> schemes(b.g.value_slots(), Scheme{1, 0});
  schemes[static_cast<size_t>(b.g.inputs()[0])] = Scheme{0, 0};
  CHECK_THROWS_WITH_AS(insert_qdq(b.g, s, schemes), doctest::Contains("scale"), Error);
  schemes[static_cast<size_t>(b.g.inputs()[0])] = Scheme{1, 300};
  CHECK_THROWS_WITH_AS(insert_qdq(b.g, s, schemes), doctest::Contains("zero point"), Error);
}

TEST_CASE("prepare leaves operators that a file can hold") {
  Build b;
  const ValueId x = b.input({2, 6, 8});
  const ValueId h = b.node("Add", {b.node("MatMul", {x, b.weights({8, 4})}), b.weights({4})});
  b.output(b.node("Mul", {h, b.node("Sigmoid", {h})}));
  const Graph g = prepare(b.g);
  for (NodeId id : g.order()) CHECK(g.node(id).op->domain.empty());
  auto ops = count_ops(g);
  CHECK(ops["MatMul"] == 1);
  CHECK(ops["Swish"] == 0);
}

}  // namespace skyline::test
