#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {

using Counts = std::map<std::string, int>;

struct Quantizer {
  Build b;
  DType type = DType::u8;

  ValueId zero(int value, DType t) {
    Tensor z(t, {});
    *static_cast<uint8_t*>(z.mutable_raw()) = static_cast<uint8_t>(value);
    return b.constant(std::move(z));
  }
  ValueId quantize(ValueId x, float scale, int z) {
    return b.node("QuantizeLinear", {x, b.number(scale), zero(z, type)});
  }
  ValueId dequantize(ValueId q, float scale, int z) {
    return b.node("DequantizeLinear", {q, b.number(scale), zero(z, type)});
  }
  // A float tensor that was quantized.
  ValueId rounded(ValueId x, float scale, int z) { return dequantize(quantize(x, scale, z), scale, z); }
  // i8 weights with one scale per index of the axis.
  ValueId weights(Dims dims, int64_t axis) {
    Tensor t(DType::i8, dims);
    for (int64_t i = 0; i < t.size(); ++i)
      t.mutable_data<int8_t>()[i] = static_cast<int8_t>(b.random.below(255) - 127);
    std::vector<float> scales;
    for (int64_t i = 0; i < dims[static_cast<size_t>(axis)]; ++i)
      scales.push_back(0.01f + 0.001f * static_cast<float>(i));
    const ValueId scale = b.numbers({dims[static_cast<size_t>(axis)]}, scales);
    return b.node("DequantizeLinear", {b.constant(std::move(t)), scale}, {{"axis", axis}});
  }
  Counts after(ValueId y, float scale, int z) {
    b.output(dequantize(quantize(y, scale, z), scale, z));
    // One step of the result, where a float sum fell on a tie: scale over the largest magnitude.
    return count_ops(optimized(b.g, {kFuseQuantized, kFoldDequantize}, 0.02));
  }
};

}  // namespace

TEST_CASE("fuse-quantized: convolutions, with bias and what the rounding clips by itself") {
  for (const char* activation : {"", "Relu"}) {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({1, 4, 6, 6}), 0.03f, 120);
    ValueId y =
        q.b.node("Conv", {x, q.weights({5, 4, 3, 3}, 0), q.b.weights({5})}, {{"pads", Dims{1, 1, 1, 1}}});
    if (*activation)
      y = q.b.node("FusedConv", q.b.g.node(q.b.g.producer(y)).inputs,
                   {{"pads", Dims{1, 1, 1, 1}}, {"activation", std::string("relu")}}, "skyline");
    const Counts counts = q.after(y, 0.05f, *activation ? 0 : 100);
    CHECK(counts == Counts{{"QuantizeLinear", 1}, {"QLinearConv", 1}, {"DequantizeLinear", 1}});
  }
}

TEST_CASE("fuse-quantized: a convolution behind a Transpose, and of i8") {
  Quantizer q;
  q.type = DType::i8;
  const ValueId x = q.rounded(q.b.input({1, 6, 6, 4}), 0.03f, -3);
  const ValueId t = q.b.node("Transpose", {x}, {{"perm", Dims{0, 3, 1, 2}}});
  const Counts counts = q.after(q.b.node("Conv", {t, q.weights({3, 4, 1, 1}, 0)}), 0.05f, 4);
  CHECK(counts ==
        Counts{{"QuantizeLinear", 1}, {"Transpose", 1}, {"QLinearConv", 1}, {"DequantizeLinear", 1}});
}

TEST_CASE("fuse-quantized: products, sums, pools and moves") {
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({3, 8}), 0.03f, 120);
    CHECK(q.after(q.b.node("MatMul", {x, q.weights({8, 5}, 1)}), 0.02f, 90).count("QLinearMatMul"));
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({3, 8}), 0.03f, 120);
    const ValueId y = q.b.node("Gemm", {x, q.weights({5, 8}, 0), q.b.weights({5})}, {{"transB", int64_t{1}}});
    CHECK(q.after(y, 0.02f, 90).count("QGemm"));
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 3}), 0.03f, 120), y = q.rounded(q.b.input({3}), 0.04f, 7);
    CHECK(q.after(q.b.node("Add", {x, y}), 0.05f, 90).count("QLinearAdd"));
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 3, 4, 4}), 0.03f, 120);
    CHECK(q.after(q.b.node("GlobalAveragePool", {x}), 0.0217f, 90).count("QLinearGlobalAveragePool"));
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({1, 2, 5, 5}), 0.03f, 120);
    const ValueId y = q.b.node("MaxPool", {x}, {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}});
    CHECK(q.after(y, 0.03f, 120) == Counts{{"QuantizeLinear", 1}, {"MaxPool", 1}, {"DequantizeLinear", 1}});
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120);
    CHECK(q.after(q.b.node("Reshape", {x, q.b.ints({3, 4})}), 0.03f, 120) ==
          Counts{{"QuantizeLinear", 1}, {"Reshape", 1}, {"DequantizeLinear", 1}});
  }
}

TEST_CASE("fuse-quantized does not fire where integers would not mean the same") {
  const auto conv = [](Quantizer& q, ValueId x) { return q.b.node("Conv", {x, q.weights({3, 4, 1, 1}, 0)}); };
  {  // the float result is read elsewhere, too
    Quantizer q;
    const ValueId y = conv(q, q.rounded(q.b.input({1, 4, 3, 3}), 0.03f, 120));
    q.b.output(q.b.node("Neg", {y}));
    CHECK(!q.after(y, 0.05f, 4).count("QLinearConv"));
  }
  {  // float input
    Quantizer q;
    CHECK(!q.after(conv(q, q.b.input({1, 4, 3, 3})), 0.05f, 4).count("QLinearConv"));
  }
  {  // scales along the input channels
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({1, 3, 3, 3}), 0.03f, 120);
    CHECK(!q.after(q.b.node("Conv", {x, q.weights({3, 3, 1, 1}, 1)}), 0.05f, 4).count("QLinearConv"));
  }
  {  // a relu that the rounding does not do: negative integers exist
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({1, 4, 3, 3}), 0.03f, 120);
    const ValueId y = q.b.node("FusedConv", {x, q.weights({3, 4, 1, 1}, 0)},
                               {{"activation", std::string("relu")}}, "skyline");
    CHECK(!q.after(y, 0.05f, 100).count("QLinearConv"));
  }
  {  // a function that takes more than one activation
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120), y = q.rounded(q.b.input({2, 6}), 0.03f, 120);
    CHECK(!q.after(q.b.node("Max", {x, y}), 0.04f, 120).count("Lookup"));
  }
  {  // a constant per element
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120);
    CHECK(!q.after(q.b.node("Mul", {x, q.b.weights({6})}), 0.04f, 120).count("Lookup"));
  }
  {  // a number that makes the result larger
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({6}), 0.03f, 120);
    CHECK(!q.after(q.b.node("Mul", {x, q.b.number(2, {1, 1})}), 0.04f, 120).count("Lookup"));
  }
}

TEST_CASE("fuse-quantized: functions of one element become a table, exactly") {
  const auto table = [](Quantizer& q, ValueId y, float scale, int zero) {
    q.b.output(q.quantize(y, scale, zero));
    CHECK(count_ops(optimized(q.b.g, {kFuseQuantized}, 0)) == Counts{{"QuantizeLinear", 1}, {"Lookup", 1}});
  };
  for (const char* name :
       {"Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Gelu", "Relu", "Neg"}) {
    for (const DType t : {DType::u8, DType::i8}) {
      CAPTURE(name);
      Quantizer q;
      q.type = t;
      const int z = t == DType::u8 ? 120 : -8;
      table(q, q.b.node(name, {q.rounded(q.b.input({2, 3, 5}), 0.05f, z)}), 0.011f, z);
    }
  }
  {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 9}), 0.05f, 120);
    table(q, q.b.node("Clip", {x, q.b.number(-1), q.b.number(2)}), 0.02f, 60);
  }
  {  // several in a row, with the number itself among them
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 9}), 0.05f, 120);
    table(q, q.b.node("Mul", {x, q.b.node("Sigmoid", {q.b.node("Mul", {x, q.b.number(1.702f)})})}), 0.02f,
          60);
  }
  {  // another scale
    Quantizer q;
    table(q, q.rounded(q.b.input({2, 9}), 0.05f, 120), 0.02f, 60);
  }
  Quantizer q;  // the same scale
  q.b.output(q.quantize(q.rounded(q.b.input({2, 9}), 0.05f, 120), 0.05f, 120));
  CHECK(count_ops(optimized(q.b.g, {kFuseQuantized}, 0)) == Counts{{"QuantizeLinear", 1}});
}

TEST_CASE("fuse-quantized: what moves elements moves integers, into another scale by a table") {
  const auto moved = [](Quantizer& q, ValueId y, float scale, int zero, Counts want) {
    q.b.output(q.quantize(y, scale, zero));
    want["QuantizeLinear"] += 1;
    CHECK(count_ops(optimized(q.b.g, {kFuseQuantized}, 0)) == want);
  };
  for (const bool same : {true, false}) {
    const float s = same ? 0.03f : 0.04f;
    const auto with = [&](Counts c) {
      if (!same) c["Lookup"] = 1;
      return c;
    };
    {
      Quantizer q;
      const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120);
      moved(q, q.b.node("Reshape", {x, q.b.ints({3, 4})}), s, 120, with({{"Reshape", 1}}));
    }
    {
      Quantizer q;
      const ValueId x = q.rounded(q.b.input({1, 2, 3, 3}), 0.03f, 120);
      const ValueId y = q.b.node("Resize", {x, kNoValue, q.b.numbers({4}, {1, 1, 2, 2})},
                                 {{"coordinate_transformation_mode", std::string("asymmetric")}});
      moved(q, y, s, 120, with({{"Resize", 1}}));
    }
    {
      Quantizer q;
      const ValueId x = q.rounded(q.b.input({2, 3}), 0.03f, 120);
      moved(q, q.b.node("Pad", {x, q.b.ints({0, 1, 1, 0}), q.b.number(0.6f)}), s, 120, with({{"Pad", 1}}));
    }
    {
      Quantizer q;
      const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120);
      const auto parts = q.b.nodes("Split", {x, q.b.ints({2, 4})}, 2, {{"axis", int64_t{-1}}});
      q.b.output(parts[0]);
      q.b.output(q.quantize(parts[1], s, 120));
      const Counts counts = count_ops(optimized(q.b.g, {kFuseQuantized}, 0));
      CHECK(counts.at("Slice") == 1);
      CHECK(counts.count("Lookup") == !same);
    }
    {
      Quantizer q;
      const ValueId x = q.rounded(q.b.input({2, 3}), 0.03f, 120), y = q.rounded(q.b.input({2, 4}), s, 120);
      q.b.output(q.quantize(q.b.node("Concat", {x, y}, {{"axis", int64_t{1}}}), 0.03f, 120));
      CHECK(count_ops(optimized(q.b.g, {kFuseQuantized}, 0)) ==
            Counts{{"QuantizeLinear", 2}, {same ? "Concat" : "QLinearConcat", 1}});
    }
  }
  Quantizer q;
  const ValueId x = q.rounded(q.b.input({2, 6}), 0.03f, 120);
  q.b.output(q.quantize(q.b.node("Softmax", {x}, {{"axis", int64_t{1}}}), 1.0f / 256, 0));
  CHECK(count_ops(optimized(q.b.g, {kFuseQuantized}, 0.02)) ==
        Counts{{"QuantizeLinear", 1}, {"QLinearSoftmax", 1}});
}

TEST_CASE("fuse-integer-to-float: products whose result stays f32") {
  for (const char* activation : {"", "relu", "gelu"}) {
    Quantizer q;
    const ValueId x = q.rounded(q.b.input({2, 3, 8}), 0.02f, 120);
    Attrs attrs;
    if (*activation) attrs.set("activation", std::string(activation));
    q.b.output(q.b.node("FusedMatMul", {x, q.weights({8, 5}, 1), q.b.weights({5}), q.b.input({2, 3, 5})},
                        attrs, "skyline"));
    const Counts counts =
        count_ops(optimized(q.b.g, {kFuseQuantized, kFuseIntegerToFloat, kFoldDequantize}, 1e-5));
    CHECK(counts.at("MatMulIntegerToFloat") == 1);
    CHECK(counts.at("Add") == 1);
    CHECK(counts.size() == (*activation ? 4 : 3));
  }
  Quantizer q;
  const ValueId x = q.rounded(q.b.input({3, 8}), 0.02f, 120);
  q.b.output(q.b.node("Gemm", {x, q.weights({5, 8}, 0), q.b.weights({5})}, {{"transB", int64_t{1}}}));
  CHECK(count_ops(optimized(q.b.g, {kFuseIntegerToFloat, kFoldDequantize}, 1e-5)) ==
        Counts{{"QuantizeLinear", 1}, {"MatMulIntegerToFloat", 1}});
}

TEST_CASE("fuse-integer-to-float does not fire on other products") {
  Quantizer q;
  const ValueId x = q.rounded(q.b.input({3, 8}), 0.02f, 120), w = q.weights({8, 5}, 1);
  const auto stays = [&](ValueId y) {
    Graph g = q.b.g;
    g.add_output(y, "y");
    CHECK(!count_ops(optimized(g, {kFuseIntegerToFloat}, 1e-5)).contains("MatMulIntegerToFloat"));
  };
  stays(q.b.node("Gemm", {x, w}, {{"alpha", 2.0f}}));
  stays(q.b.node("Gemm", {x, q.b.weights({8, 5})}));
  stays(q.b.node("MatMul", {q.b.input({3, 8}), w}));
  stays(q.b.node("Gemm", {x, w, q.b.input({5})}));
  stays(q.b.node("MatMul", {x, q.weights({8, 5}, 0)}));  // a scale per row
}
