// Quantized operators against their reference: the same integers on every ISA.
#include <algorithm>

#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {

Operand scale(float s) {
  return constant(Tensor::scalar(s));
}
template <class T>
Operand zero(int64_t z) {
  return constant(Tensor::scalar<T>(static_cast<T>(z)));
}
template <class T>
constexpr int64_t kLow = std::is_signed_v<T> ? -128 : 0;
template <class T>
constexpr int64_t kHigh = kLow<T> + 255;

template <class T>
Operand codes(Random& random, const Dims& d) {
  return input(random.ints<T>(d, kLow<T>, kHigh<T>));
}
template <class T>
Operand weights(Random& random, const Dims& d) {
  return constant(random.ints<T>(d, kLow<T>, kHigh<T>));
}
Operand scales(Random& random, int64_t n, float low = 0.001f, float high = 0.01f) {
  return constant(random.f32({n}, low, high));
}

template <class T>
void check_quantize(Random& random) {
  check_sweep({.op = "QuantizeLinear",
               .operands = {input(random.f32({3, 5, 17}, -40, 40)), scale(0.13f), zero<T>(3)}});
  check_sweep(
      {.op = "DequantizeLinear", .operands = {codes<T>(random, {3, 5, 17}), scale(0.13f), zero<T>(3)}});
  for (int64_t axis : {0, 1, 2}) {
    const Dims x = {3, 5, 17};
    const int64_t n = x[static_cast<size_t>(axis)];
    const Operand zeros = constant(random.ints<T>({n}, 0, 9));
    check_sweep({.op = "QuantizeLinear",
                 .operands = {input(random.f32(x, -40, 40)), scales(random, n, 0.1f, 0.4f), zeros},
                 .attrs = {{"axis", axis}}});
    check_sweep({.op = "DequantizeLinear",
                 .operands = {codes<T>(random, x), scales(random, n), zeros},
                 .attrs = {{"axis", axis}}});
  }
}

template <class T>
void check_qlinear_elementwise(Random& random) {
  for (const auto& [a, b] : {std::pair<Dims, Dims>{{4, 33}, {4, 33}}, {{4, 33}, {33}}, {{1}, {2, 70}}}) {
    for (const char* name : {"QLinearAdd", "QLinearMul"}) {
      check_sweep({.op = name,
                   .operands = {codes<T>(random, a), scale(0.021f), zero<T>(5), codes<T>(random, b),
                                scale(0.017f), zero<T>(11), scale(0.033f), zero<T>(7)},
                   .domain = "com.microsoft"});
    }
  }
  check_sweep({.op = "Lookup",
               .operands = {codes<T>(random, {2, 5, 33})},
               .attrs = {{"table", random.ints<uint8_t>({256}, 0, 255)}},
               .domain = "skyline"});
  for (const char* name : {"QLinearSigmoid", "QLinearLeakyRelu"}) {
    check_sweep({.op = name,
                 .operands = {codes<T>(random, {300}), scale(0.04f), zero<T>(9), scale(0.004f), zero<T>(1)},
                 .domain = "com.microsoft"});
  }
  for (const int64_t axis : {0, 1, -1}) {
    for (const int64_t opset : {12, 13}) {
      check_sweep(
          {.op = "QLinearSoftmax",
           .operands = {codes<T>(random, {6, 7, 5}), scale(0.05f), zero<T>(9), scale(1.0f / 256), zero<T>(0)},
           .attrs = {{"axis", axis}, {"opset", opset}},
           .domain = "com.microsoft"});
    }
  }
  check_sweep({.op = "QLinearConcat",
               .operands = {scale(0.02f), zero<T>(3), codes<T>(random, {2, 5, 3}), scale(0.02f), zero<T>(3),
                            codes<T>(random, {2, 4, 3}), scale(0.05f), zero<T>(9)},
               .attrs = {{"axis", int64_t{1}}},
               .domain = "com.microsoft"});
  for (int64_t last : {0, 1}) {
    // More pixels than sums of 16 bits hold, and more channels than are added up at a time.
    for (const Dims& dims : {Dims{2, 7, 5, 9}, Dims{2, 20, 15, 70}}) {
      check_sweep({.op = "QLinearGlobalAveragePool",
                   .operands = {codes<T>(random, dims), scale(0.02f), zero<T>(3), scale(0.013f), zero<T>(12)},
                   .attrs = {{"channels_last", last}},
                   .domain = "com.microsoft"});
    }
  }
}

template <class A, class B>
void check_products(Random& random) {
  for (const auto& [a, b] : {std::pair<Dims, Dims>{{5, 37}, {37, 19}},
                             {{2, 3, 16}, {16, 40}},
                             {{2, 4, 9}, {2, 9, 5}},
                             {{1, 64}, {64, 33}}}) {
    const int64_t n = b.back();
    for (bool packed : {true, false}) {
      Operand right = packed ? weights<B>(random, b) : codes<B>(random, b);
      const Operand left = codes<A>(random, a);
      check_sweep({.op = "MatMulInteger", .operands = {left, right}});
      check_sweep(
          {.op = "MatMulInteger", .operands = {left, right, input(Tensor::scalar<A>(7)), zero<B>(3)}});
      check_sweep({.op = "QLinearMatMul",
                   .operands = {left, scale(0.02f), zero<A>(9), right, scale(0.005f), zero<B>(4), scale(0.4f),
                                zero<A>(20)}});
      if (b.size() != 2) continue;
      const Operand zeros = constant(random.ints<B>({n}, 0, 9));
      check_sweep({.op = "MatMulInteger", .operands = {left, right, zero<A>(7), zeros}});
      check_sweep({.op = "QLinearMatMul",
                   .operands = {left, scale(0.02f), zero<A>(9), right, scales(random, n), zeros, scale(0.4f),
                                zero<A>(20)}});
      // The sweep negates f32 inputs: the scale is 0.02.
      check_sweep({.op = "MatMulIntegerToFloat",
                   .operands = {left, right, input(Tensor::scalar(-0.02f)), scales(random, n),
                                input(Tensor::scalar<A>(7)), zero<B>(3), constant(random.f32({n}))},
                   .domain = "com.microsoft",
                   .tolerance = 0});
    }
  }
  for (int i = 0; i < 8; ++i) {
    const bool ta = i & 1, tb = i & 2;
    const int64_t m = 6, k = 21, n = 35;
    std::vector<Operand> in = {
        codes<A>(random, ta ? Dims{k, m} : Dims{m, k}),   scale(0.02f),      zero<A>(5),
        weights<B>(random, tb ? Dims{n, k} : Dims{k, n}), scales(random, n), zero<B>(2),
        constant(random.ints<int32_t>({n}, -900, 900))};
    if (i & 4) in.insert(in.end(), {scale(0.3f), zero<A>(9)});
    check_sweep({.op = "QGemm",
                 .operands = in,
                 .attrs = {{"transA", int64_t{ta}}, {"transB", int64_t{tb}}, {"alpha", 0.7f}},
                 .domain = "com.microsoft",
                 .tolerance = 0});
  }
}

template <class A, class B>
void check_convolutions(Random& random) {
  struct Shape {
    int64_t ic, oc, groups, size, kernel, stride, pad;
  };
  for (const Shape& s : {Shape{3, 8, 1, 9, 3, 2, 1},
                         {8, 5, 1, 7, 1, 1, 0},
                         {6, 6, 6, 8, 3, 1, 1},
                         {4, 8, 2, 7, 3, 1, 1},
                         {16, 33, 1, 4, 3, 1, 1},
                         {1, 1, 1, 5, 2, 1, 0}}) {
    const Attrs attrs{{"group", s.groups}, {"strides", Dims{s.stride, s.stride}}, {"pads", Dims(4, s.pad)}};
    const Operand x = codes<A>(random, {2, s.ic, s.size, s.size});
    const Operand w = weights<B>(random, {s.oc, s.ic / s.groups, s.kernel, s.kernel});
    const Operand zeros = constant(random.ints<B>({s.oc}, 0, 9));
    check_sweep({.op = "ConvInteger", .operands = {x, w}, .attrs = attrs});
    check_sweep(
        {.op = "ConvInteger", .operands = {x, w, input(Tensor::scalar<A>(100)), zero<B>(3)}, .attrs = attrs});
    check_sweep({.op = "QLinearConv",
                 .operands = {x, scale(0.02f), zero<A>(17), w, scales(random, s.oc), zeros, scale(0.3f),
                              zero<A>(40), constant(random.ints<int32_t>({s.oc}, -3000, 3000))},
                 .attrs = attrs});
    check_sweep(
        {.op = "QLinearConv",
         .operands = {x, scale(0.02f), zero<A>(17), w, scale(0.004f), zero<B>(0), scale(0.3f), zero<A>(40)},
         .attrs = attrs});
    Dims last = x.tensor.dims();  // [N, C, spatial...] -> [N, spatial..., C]
    std::rotate(last.begin() + 1, last.begin() + 2, last.end());
    Attrs nhwc = attrs;
    nhwc.set("layout", std::string("NHWC"));
    check_sweep(
        {.op = "QLinearConv",
         .operands = {codes<A>(random, last), scale(0.02f), zero<A>(17), w, scales(random, s.oc), zeros,
                      scale(0.3f), zero<A>(40), constant(random.ints<int32_t>({s.oc}, -3000, 3000))},
         .attrs = nhwc,
         .domain = "skyline"});
  }
}

}  // namespace

TEST_CASE("quantize and dequantize") {
  Random random(41);
  check_quantize<uint8_t>(random);
  check_quantize<int8_t>(random);
  check_quantize<int16_t>(random);
  check_sweep({.op = "DynamicQuantizeLinear",
               .operands = {input(random.f32({7, 31}, -3, 9))},
               .outputs = {true, true, true}});
  check_sweep({.op = "DynamicQuantizeLinear",
               .operands = {input(Tensor::zeros(DType::f32, {5}))},
               .outputs = {true, true, true}});
}

TEST_CASE("dynamic quantization of an infinity is an error") {
  std::vector<Value> inputs;
  const Model model = sweep_model({.op = "DynamicQuantizeLinear",
                                   .operands = {input(Tensor::of<float>({2}, {1, INFINITY}))},
                                   .outputs = {true, true, true}},
                                  inputs);
  CHECK_THROWS_AS(Session(model, {.threads = 1}).run(inputs), const Error&);
}

TEST_CASE("qlinear elementwise operators") {
  Random random(42);
  check_qlinear_elementwise<uint8_t>(random);
  check_qlinear_elementwise<int8_t>(random);
}

TEST_CASE("integer products") {
  Random random(43);
  check_products<uint8_t, int8_t>(random);
  check_products<uint8_t, uint8_t>(random);
  check_products<int8_t, int8_t>(random);
}

TEST_CASE("integer convolutions") {
  Random random(44);
  check_convolutions<uint8_t, int8_t>(random);
  check_convolutions<uint8_t, uint8_t>(random);
  check_convolutions<int8_t, int8_t>(random);
}

TEST_CASE("dynamic quantized product") {
  Random random(45);
  check_sweep({.op = "DynamicQuantizeMatMul",
               .operands = {input(random.f32({5, 37}, -2, 3)), weights<int8_t>(random, {37, 19}),
                            scales(random, 19), zero<int8_t>(2), constant(random.f32({19}))},
               .domain = "com.microsoft",
               .tolerance = 0});
}
