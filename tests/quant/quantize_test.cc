// The quantizer on small graphs, run by the reference interpreter.
#include <cmath>
#include <limits>
#include <tuple>

#include "quant/adaround.h"
#include "quant/calibrate.h"
#include "quant/equalize.h"
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

TEST_CASE("int8: functions, Concat and moves between products run on integers") {
  Build b;
  const ValueId x = b.input({1, 3, 8, 8});
  const ValueId a = b.node("HardSwish", {b.node("Conv", {x, b.weights({4, 3, 1, 1}), b.weights({4})})});
  const ValueId c = b.node("Conv", {a, b.weights({4, 4, 1, 1}), b.weights({4})});
  const auto parts = b.nodes("Split", {c, b.ints({2, 2})}, 2, {{"axis", int64_t{1}}});
  const ValueId gate =
      b.node("Sigmoid", {b.node("Conv", {b.node("GlobalAveragePool", {a}), b.weights({4, 4, 1, 1})})});
  const ValueId joined =
      b.node("Concat", {b.node("Mul", {a, gate}), parts[0], parts[1]}, {{"axis", int64_t{1}}});
  const ValueId up = b.node("Resize", {joined, kNoValue, b.numbers({4}, {1, 1, 2, 2})},
                            {{"coordinate_transformation_mode", std::string("asymmetric")}});
  const ValueId padded = b.node("Pad", {up, b.ints({0, 0, 1, 0, 0, 0, 0, 1})});
  const ValueId d = b.node("Conv", {padded, b.weights({4, 8, 2, 2}), b.weights({4})});
  b.output(b.node("Gemm", {b.node("Flatten", {b.node("GlobalAveragePool", {d})}), b.weights({4, 5})}));
  const Result r = quantize_int8(b.g, random_examples(b.g, 8), interpreter());
  for (const Decision& e : r.decisions) {
    CAPTURE(e.op);
    CHECK(e.precision == Precision::int8);
  }
  CHECK(sqnr(b.g, r.graph) > 25);
  Graph fused = r.graph;
  run_passes(fused, portable_passes());
  run_passes(fused, target_passes());
  auto ops = count_ops(fused);
  CHECK(ops["Lookup"] == 2);
  CHECK(ops["QLinearConcat"] == 1);
  CHECK(ops["QLinearMul"] == 1);
  CHECK(ops["QuantizeLinear"] == 1);
  CHECK(ops["DequantizeLinear"] <= 1);
  CHECK(sqnr(b.g, fused) > 25);
}

TEST_CASE("equalization changes ranges and nothing else") {
  for (const auto which : {Equalization::weights, Equalization::activations}) {
    for (const char* between : {"", "Relu", "Clip"}) {
      for (const int64_t group : {1, 8}) {
        CAPTURE(name(which));
        CAPTURE(std::string(between));
        Build b;
        const ValueId x = b.input({1, 3, 6, 6});
        std::vector<float> w(24);
        for (size_t i = 0; i < w.size(); ++i)  // channels a hundredfold apart
          w[i] = b.random.real() * (i / 3 % 2 ? 0.02f : 1.5f);
        ValueId h = b.node("Conv", {x, b.numbers({8, 3, 1, 1}, w), b.weights({8}, 0.02f)});
        if (*between == 'R') h = b.node("Relu", {h});
        if (*between == 'C') h = b.node("Clip", {h, b.number(0), b.number(2)});
        h = b.node("Conv", {h, b.weights({8, 8 / group, 3, 3})}, {{"group", group}});
        b.output(b.node("Gemm", {b.node("Flatten", {h}), b.weights({128, 3})}));
        Graph g = prepare(b.g);
        CHECK(equalize(g, which, random_examples(b.g, 8), interpreter()) == (*between == 'C' ? 0 : 1));
        CHECK(sqnr(b.g, g) > 100);
        Options plain, with;
        with.equalization = which;
        const double before =
                         sqnr(b.g, quantize_int8(b.g, random_examples(b.g, 8), interpreter(), plain).graph),
                     after =
                         sqnr(b.g, quantize_int8(b.g, random_examples(b.g, 8), interpreter(), with).graph);
        CHECK(after > before - 2);
      }
    }
  }
  // A Clip whose bound is out of reach for one channel: inputs are at most 1, its weights add up to 0.5.
  Build c;
  const auto clip = [&](ValueId v, float most) { return c.node("Clip", {v, c.number(0), c.number(most)}); };
  ValueId v = clip(c.node("Conv", {c.input({1, 2, 4, 4}), c.weights({2, 2, 1, 1})}), 1);
  v = clip(c.node("Conv", {v, c.numbers({2, 2, 1, 1}, {0.25f, 0.25f, 30, 30})}), 6);
  v = c.node("Conv", {v, c.weights({2, 1, 3, 3})}, {{"group", int64_t{2}}});
  c.output(c.node("Gemm", {c.node("Flatten", {v}), c.weights({8, 3})}));
  for (const auto which : {Equalization::weights, Equalization::activations}) {
    Graph g = prepare(c.g);
    CHECK(equalize(g, which, random_examples(c.g, 8), interpreter()) == 1);
    CHECK(sqnr(c.g, g) > 100);
  }
  const Build b = residual_net();  // what lies between is read twice
  Graph g = prepare(b.g);
  CHECK(equalize(g, Equalization::weights, random_examples(b.g, 4), interpreter()) == 0);
  CHECK_THROWS_WITH_AS(equalization_from_name("best"), doctest::Contains("activations"), Error);
}

TEST_CASE("AdaRound: correlated inputs, whose errors cancel") {
  RoundingProblem p{
      2, 4, {3.3f, 1.45f, -2.2f, 0.48f, 126.9f, 127.0f, -127.0f, 0.5f}, std::vector<float>(16, 1.0f)};
  const auto plain = [&](const std::vector<float>& e) { return times_moments(p, e); };
  const std::vector<int8_t> q = round_together(p, 500, plain);
  // All inputs are the same number: what counts is the sum of the errors, 1.03 to the nearest.
  double sum = 0;
  for (size_t i = 0; i < 4; ++i) {
    CHECK(std::fabs(q[i] - p.real[i]) < 1);
    sum += q[i] - p.real[i];
  }
  CHECK(std::fabs(sum) < 0.5);
  CHECK(q[5] == 127);
  CHECK(q[6] == -127);
  CHECK(round_together(p, 500, plain) == q);
}

TEST_CASE("AdaRound on a network: less noise, the same for the same seed") {
  Build b;
  const ValueId x = b.input({4, 1, 8, 8});
  const ValueId a = b.node("Relu", {b.node("Conv", {x, b.weights({8, 1, 3, 3}), b.weights({8})})});
  const ValueId c =
      b.node("Relu", {b.node("Conv", {a, b.weights({8, 4, 3, 3}), b.weights({8})}, {{"group", int64_t{2}}})});
  b.output(b.node("Gemm", {b.node("Flatten", {c}), b.weights({3, 128})}, {{"transB", int64_t{1}}}));
  Options o;
  o.most_noise = 0;
  const double nearest = sqnr(b.g, quantize_int8(b.g, random_examples(b.g, 12), interpreter(), o).graph);
  o.adaround.on = true;
  o.adaround.iterations = 200;
  int64_t steps = 0, total = -1;
  o.adaround.progress = [&](int64_t done, int64_t all) { steps = done, total = all; };
  const Result r = quantize_int8(b.g, random_examples(b.g, 12), interpreter(), o);
  CHECK(steps == total);
  CHECK(sqnr(b.g, r.graph) > nearest - 1);
  const auto weights_of = [](const Graph& g) {
    std::vector<int8_t> all;
    for (NodeId id : g.order()) {
      const Tensor* t = g.node(id).is("DequantizeLinear") ? g.constant(g.node(id).in(0)) : nullptr;
      if (t && t->dtype() == DType::i8)
        all.insert(all.end(), t->span<int8_t>().begin(), t->span<int8_t>().end());
    }
    return all;
  };
  CHECK(weights_of(r.graph) ==
        weights_of(quantize_int8(b.g, random_examples(b.g, 12), interpreter(), o).graph));
  o.adaround.most_bytes = 1;  // no room for any layer: the nearest
  CHECK(sqnr(b.g, quantize_int8(b.g, random_examples(b.g, 12), interpreter(), o).graph) ==
        doctest::Approx(nearest));
}

TEST_CASE("weights only, and dynamic: products keep their values, others stay") {
  Build b;
  const ValueId x = b.input({2, 5, 40});
  const ValueId h =
      b.node("Relu", {b.node("Add", {b.node("MatMul", {x, b.weights({40, 24})}), b.weights({24})})});
  const ValueId flat = b.node("Reshape", {h, b.ints({10, 24})});
  const ValueId y = b.node("Gemm", {flat, b.weights({6, 24}), b.weights({6})}, {{"transB", int64_t{1}}});
  b.output(b.node("MatMul", {y, b.node("Transpose", {y}, {{"perm", Dims{1, 0}}})}));
  for (const auto& [bits, block, least] :
       {std::tuple{8, 0, 35.0}, {8, 16, 38.0}, {4, 32, 13.0}, {4, 0, 11.0}, {4, 8, 15.0}}) {
    CAPTURE(bits);
    CAPTURE(block);
    const Result r = weights_only(b.g, {bits, block, {}});
    auto ops = count_ops(r.graph);
    CHECK(ops["DequantizeLinear"] == 2);
    CHECK(ops["QuantizeLinear"] == 0);
    CHECK(sqnr(b.g, r.graph) > least);
    CHECK(r.decisions.size() == 3);
    CHECK(r.decisions[2].reason == "both factors are activations");
    Graph fused = r.graph;
    run_passes(fused, target_passes());
    CHECK(sqnr(b.g, fused) > least);
  }
  for (const bool token : {false, true}) {
    const Result r = dynamic_int8(b.g, token);
    auto ops = count_ops(r.graph);
    CHECK(ops["MatMulInteger"] == 2);
    CHECK(ops["DynamicQuantizeLinear"] == (token ? 0 : 2));
    CHECK(sqnr(b.g, r.graph) > 30);
  }
  CHECK(count_ops(weights_only(b.g, {8, 0, {"Gemm"}}).graph)["DequantizeLinear"] == 1);
  CHECK_THROWS_WITH_AS(weights_only(b.g, {3, 0, {}}), doctest::Contains("8 or 4"), Error);
  CHECK_THROWS_WITH_AS(weights_only(b.g, {8, 1, {}}), doctest::Contains("block"), Error);
  CHECK_THROWS_WITH_AS(dynamic_int8(b.g, false, {"nobody"}), doctest::Contains("nobody"), Error);
}

}  // namespace skyline::test
