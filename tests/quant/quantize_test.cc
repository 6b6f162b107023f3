// The quantizer on small graphs, run by the reference interpreter.
#include <cmath>
#include <limits>

#include "quant/calibrate.h"
#include "quant/prepare.h"
#include "quant/qdq.h"
#include "quant/select.h"
#include "quant/smooth.h"
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
  Calibrated c{std::vector<std::optional<Scheme>>(b.g.value_slots(), Scheme{1, 0})};
  c.schemes[static_cast<size_t>(b.g.inputs()[0])] = Scheme{0, 0};
  CHECK_THROWS_WITH_AS(insert_qdq(b.g, s, c), doctest::Contains("scale"), Error);
  c.schemes[static_cast<size_t>(b.g.inputs()[0])] = Scheme{1, 300};
  CHECK_THROWS_WITH_AS(insert_qdq(b.g, s, c), doctest::Contains("zero point"), Error);
}

TEST_CASE("a calibrated model is written with any product on any rung") {
  const Build b = residual_net();
  const Quantizer q(b.g, random_examples(b.g, 8), interpreter());
  REQUIRE(q.products().size() == 4);
  CHECK(q.everything().size() == 4);
  auto ops = count_ops(q.build({}).graph);
  CHECK(ops["QuantizeLinear"] == 0);
  const std::string first = q.products()[0].name, third = q.products()[2].name;
  const Result r = q.build({{first, Precision::int8}, {third, Precision::bf16}});
  CHECK(count_ops(r.graph)["QuantizeLinear"] == 2);
  int on_rung = 0;
  for (NodeId id : r.graph.order()) on_rung += r.graph.node(id).attrs.text("precision", "") == "bf16";
  CHECK(on_rung == 1);
  for (const Decision& d : r.decisions) {
    if (d.node == first) CHECK(d.precision == Precision::int8);
    if (d.node == third) CHECK(d.precision == Precision::bf16);
  }
  CHECK_THROWS_WITH_AS(q.build({{"nobody", Precision::int8}}), doctest::Contains("nobody"), Error);
  // Any subset of the products can be written.
  for (unsigned bits = 0; bits < 16; ++bits) {
    Choice c;
    for (size_t i = 0; i < 4; ++i) {
      if (bits >> i & 1) c[q.products()[i].name] = Precision::int8;
    }
    CHECK(sqnr(b.g, q.build(c).graph) > 28);
  }
}

TEST_CASE("sensitivity: one that is rounded coarsely is noisier, and all together noisiest") {
  const Build b = residual_net();
  const Quantizer q(b.g, random_examples(b.g, 8), interpreter());
  SensitivityOptions o;
  int64_t steps = 0, total = 0;
  o.progress = [&](int64_t done, int64_t all) { steps = done, total = all; };
  o.metric = [](int64_t, std::span<const Value> outputs) { return outputs[0].tensor().data<float>()[0]; };
  const Sensitivity s = measure_sensitivity(q, random_examples(b.g, 3), interpreter(), o);
  CHECK(steps == total);
  REQUIRE(s.nodes.size() == 4);
  double sum = 0;
  for (const auto& n : s.noise) {
    CHECK(n[0].possible);
    CHECK(n[0].alone > 0);
    CHECK(n[0].alone < 0.01);
    CHECK(n[0].others > 0);
    CHECK(n[0].divergence >= 0);
    sum += n[0].alone;
  }
  CHECK(s.all[0].alone < 10 * sum);
  CHECK(s.all[0].alone > sum / 10);
  CHECK_THROWS_AS(measure_sensitivity(q, {}, interpreter(), o), Error);
}

TEST_CASE("biases take up the mean error of rounded weights") {
  Build b;
  const ValueId x = b.input({1, 1, 4, 4});
  // 1.4 of a step is left out of the second weight, the mean of the input is 2.
  const ValueId h = b.node("Conv", {x, b.numbers({1, 1, 1, 2}, {127, 0.4f})});
  b.output(b.node("Gemm", {b.node("Flatten", {h}), b.weights({12, 3})}));
  const Examples around_two{16, [](int64_t i) {
                              Random random(static_cast<uint32_t>(i + 1));
                              return std::vector<Value>{random_tensor({1, 1, 4, 4}, random, 0.1f, 2)};
                            }};
  const auto bias_of = [&](bool correct) {
    Options o;
    o.correct_bias = correct;
    const Result r = quantize_int8(b.g, around_two, interpreter(), o);
    const Node& conv = only(r.graph, "Conv");
    if (conv.in(2) == kNoValue) return 0.0;
    const Node& bias = r.graph.node(r.graph.producer(conv.in(2)));
    return static_cast<double>(r.graph.constant(bias.in(0))->data<int32_t>()[0]) *
           r.graph.constant(bias.in(1))->data<float>()[0];
  };
  CHECK(bias_of(false) == 0);
  CHECK(bias_of(true) == doctest::Approx(0.8).epsilon(0.05));
}

TEST_CASE("smoothing moves the spread of columns into the weights and changes nothing else") {
  for (const bool spelled : {false, true}) {
    Build b;
    const ValueId x = b.input({4, 16});
    std::vector<float> gamma(16, 1.0f);
    gamma[3] = 100;
    const ValueId scale = b.numbers({16}, gamma), shift = b.weights({16});
    const ValueId n = spelled ? b.node("Add", {b.node("Mul", {b.node("Tanh", {x}), scale}), shift})
                              : b.node("LayerNormalization", {x, scale, shift});
    const ValueId h = b.node("MatMul", {n, b.weights({16, 8})});
    b.output(b.node("Add", {h, b.node("Gemm", {n, b.weights({8, 16})}, {{"transB", int64_t{1}}})}));
    Graph g = prepare(b.g);
    CHECK(smooth(g, random_examples(b.g, 4), interpreter()) == 1);
    CHECK(sqnr(b.g, g) > 100);
    Options plain;
    plain.smooth = false;
    const Result without = quantize_int8(b.g, random_examples(b.g, 8), interpreter(), plain),
                 with = quantize_int8(b.g, random_examples(b.g, 8), interpreter());
    CHECK(sqnr(b.g, with.graph) > sqnr(b.g, without.graph) - 0.5);
  }
  // Somebody else reads the input.
  Build b;
  const ValueId n = b.node("LayerNormalization", {b.input({4, 16}), b.weights({16}), b.weights({16})});
  b.output(b.node("Add", {n, b.node("MatMul", {n, b.weights({16, 16})})}));
  Graph g = prepare(b.g);
  CHECK(smooth(g, random_examples(b.g, 4), interpreter()) == 0);
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
