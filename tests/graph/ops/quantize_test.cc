#include "graph/ops/quantize.h"

#include <limits>

#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr const char* kMs = "com.microsoft";

Tensor f32(float v) {
  return Tensor::scalar(v);
}
Tensor u8(int v) {
  return Tensor::scalar<uint8_t>(static_cast<uint8_t>(v));
}
Tensor i8(int v) {
  return Tensor::scalar<int8_t>(static_cast<int8_t>(v));
}

}  // namespace

TEST_CASE("quantizing rounds half to even and saturates") {
  const Tensor x = vec<float>({1, 3, 5, -1, 1000, -1000, std::numeric_limits<float>::quiet_NaN()});
  CHECK(values<uint8_t>(run_op("QuantizeLinear", {x, f32(2), u8(128)})[0]) ==
        std::vector<uint8_t>{128, 130, 130, 128, 255, 0, 0});
  CHECK(values<int8_t>(run_op("QuantizeLinear", {x, f32(2), i8(0)})[0]) ==
        std::vector<int8_t>{0, 2, 2, 0, 127, -128, -128});
  CHECK(run_op("QuantizeLinear", {x, f32(2)})[0].dtype() == DType::u8);
  const Attrs i4{{"output_dtype", static_cast<int64_t>(DType::i4)}};
  CHECK(values<int8_t>(run_op("QuantizeLinear", {x, f32(0.25f)}, i4)[0]) ==
        std::vector<int8_t>{4, 7, 7, -4, 7, -8, -8});
}

TEST_CASE("scales per axis and per block") {
  const Tensor x = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor rows = vec<float>({1, 2});
  CHECK(values<uint8_t>(run_op("QuantizeLinear", {x, rows}, {{"axis", int64_t{0}}})[0]) ==
        std::vector<uint8_t>{1, 2, 3, 2, 2, 3});
  const Tensor blocks = Tensor::of<float>({2, 2}, {1, 3, 2, 6});
  const Attrs blocked{{"axis", int64_t{-1}}, {"block_size", int64_t{2}}};
  const Tensor q = run_op("QuantizeLinear", {x, blocks}, blocked)[0];
  CHECK(values<uint8_t>(q) == std::vector<uint8_t>{1, 2, 1, 2, 2, 1});
  CHECK(values<float>(run_op("DequantizeLinear", {q, blocks}, blocked)[0]) ==
        std::vector<float>{1, 2, 3, 4, 4, 6});
  CHECK(fails("QuantizeLinear", {x, rows}, {{"axis", int64_t{1}}}) == Code::invalid);
  CHECK(fails("QuantizeLinear", {x, rows}, {{"axis", int64_t{2}}}) == Code::invalid);
  CHECK(fails("QuantizeLinear", {x, blocks}, {{"axis", int64_t{1}}, {"block_size", int64_t{3}}}) ==
        Code::invalid);
  CHECK(fails("QuantizeLinear", {x, blocks}, {{"axis", int64_t{1}}, {"block_size", int64_t{-1}}}) ==
        Code::invalid);
}

TEST_CASE("bad scales and zero points") {
  const Tensor x = vec<float>({1});
  for (float bad :
       {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    CHECK(fails("QuantizeLinear", {x, f32(bad)}) == Code::invalid);
  }
  CHECK(fails("DequantizeLinear", {vec<uint8_t>({1}), f32(-1)}) == Code::invalid);
  CHECK(fails("DequantizeLinear", {vec<uint8_t>({1}), f32(1), i8(0)}) == Code::invalid);
  CHECK(fails("QuantizeLinear", {x, f32(1), i8(0)}, {{"output_dtype", int64_t{2}}}) == Code::invalid);
  CHECK(fails("QuantizeLinear", {x, f32(1)}, {{"output_dtype", int64_t{1}}}) == Code::invalid);
}

TEST_CASE("half precision divides in half precision") {
  const Tensor x = Tensor::of<Half>({1}, {Half(2049.0f)});  // 2048 in binary16
  CHECK(values<uint8_t>(run_op("QuantizeLinear", {x, Tensor::scalar(Half(16.0f))})[0])[0] == 128);
}

TEST_CASE("dynamic quantization covers zero") {
  const auto y = run_op("DynamicQuantizeLinear", {vec<float>({2, 4, 255})}, {}, 3);
  CHECK(values<uint8_t>(y[0]) == std::vector<uint8_t>{2, 4, 255});
  CHECK(y[1].data<float>()[0] == 1);
  CHECK(y[2].data<uint8_t>()[0] == 0);
  CHECK(run_op("DynamicQuantizeLinear", {vec<float>({0, 0})}, {}, 3)[1].data<float>()[0] == 1);
  CHECK(fails("DynamicQuantizeLinear", {vec<float>({std::numeric_limits<float>::infinity()})}, {}, 3) ==
        Code::input);
}

TEST_CASE("integer products with zero points per row and column") {
  const Tensor a = Tensor::of<uint8_t>({2, 2}, {1, 2, 3, 4}), b = Tensor::of<int8_t>({2, 2}, {1, -1, 2, 0});
  CHECK(values<int32_t>(run_op("MatMulInteger", {a, b})[0]) == std::vector<int32_t>{5, -1, 11, -3});
  const Tensor za = vec<uint8_t>({1, 3}), zb = vec<int8_t>({1, -1});
  CHECK(values<int32_t>(run_op("MatMulInteger", {a, b, za, zb})[0]) == std::vector<int32_t>{1, 1, 1, 1});
  CHECK(fails("MatMulInteger", {a, b, vec<uint8_t>({1, 2, 3})}) == Code::invalid);
  CHECK(fails("MatMulInteger", {a, b, vec<int8_t>({1, 2})}) == Code::invalid);
  CHECK(fails("MatMulInteger", {a, vec<float>({1, 2})}) == Code::invalid);
  CHECK(fails("MatMulInteger", {a, Tensor::of<int8_t>({3, 1}, {1, 2, 3})}) == Code::invalid);
}

TEST_CASE("sums beyond 32 bits do not wrap before they are scaled") {
  const int64_t k = 70000;
  const Tensor a = Tensor::of<uint8_t>({1, k}, std::vector<uint8_t>(70000, 255));
  const Tensor b = Tensor::of<uint8_t>({k, 1}, std::vector<uint8_t>(70000, 255));
  const Tensor y =
      run_op("QLinearMatMul", {a, f32(1), u8(0), b, f32(1), u8(0), f32(70000.0f * 255), u8(0)})[0];
  CHECK(y.data<uint8_t>()[0] == 255);
}

TEST_CASE("quantized convolution: padding is the zero point, scales per channel") {
  const Tensor x = Tensor::of<uint8_t>({1, 1, 2, 2}, {11, 12, 13, 14});
  const Tensor w = Tensor::of<int8_t>({2, 1, 3, 3}, {0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  const Attrs same{{"pads", Dims{1, 1, 1, 1}}};
  const Tensor bias = vec<int32_t>({0, 5});
  const std::vector<Tensor> in{x, f32(1), u8(10), w, vec<float>({1, 2}), i8(0), f32(1), u8(3), bias};
  CHECK(values<uint8_t>(run_op("QLinearConv", in, same)[0]) ==
        std::vector<uint8_t>{4, 5, 6, 7, 33, 33, 33, 33});
  CHECK(values<int32_t>(run_op("ConvInteger", {x, w, u8(10)}, same)[0]) ==
        std::vector<int32_t>{1, 2, 3, 4, 10, 10, 10, 10});
  CHECK(fails("QLinearConv", in, {{"group", int64_t{2}}}) == Code::invalid);
  CHECK(fails("QLinearConv", in, {{"group", int64_t{0}}}) == Code::invalid);
  CHECK(fails("QLinearConv", in, {{"strides", Dims{0, 1}}}) == Code::invalid);
  CHECK(fails("QLinearConv", in) == Code::invalid);  // the kernel does not fit without padding
  auto broken = in;
  broken[8] = vec<int32_t>({1});
  CHECK(fails("QLinearConv", broken, same) == Code::invalid);
  broken = in;
  broken[6] = f32(0);
  CHECK(fails("QLinearConv", broken, same) == Code::invalid);
}

TEST_CASE("grouped, strided and dilated integer convolution equals the definition") {
  const Dims xd{2, 4, 7, 6}, wd{6, 2, 3, 2};
  Tensor x(DType::i8, xd), w(DType::i8, wd);
  for (int64_t i = 0; i < x.size(); ++i)
    x.mutable_data<int8_t>()[i] = static_cast<int8_t>(i * 37 % 251 - 125);
  for (int64_t i = 0; i < w.size(); ++i)
    w.mutable_data<int8_t>()[i] = static_cast<int8_t>(i * 53 % 241 - 120);
  const Attrs attrs{
      {"group", int64_t{2}}, {"strides", Dims{2, 1}}, {"dilations", Dims{1, 2}}, {"pads", Dims{1, 0, 2, 1}}};
  const Tensor y = run_op("ConvInteger", {x, w}, attrs)[0];
  REQUIRE(y.dims() == Dims{2, 6, 4, 5});
  int64_t at = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t m = 0; m < 6; ++m) {
      for (int64_t oy = 0; oy < 4; ++oy) {
        for (int64_t ox = 0; ox < 5; ++ox, ++at) {
          int32_t sum = 0;
          for (int64_t ch = 0; ch < 2; ++ch) {
            for (int64_t ky = 0; ky < 3; ++ky) {
              for (int64_t kx = 0; kx < 2; ++kx) {
                const int64_t iy = oy * 2 + ky - 1, ix = ox + kx * 2;
                if (iy < 0 || iy >= 7 || ix >= 6) continue;
                sum += x.data<int8_t>()[((n * 4 + m / 3 * 2 + ch) * 7 + iy) * 6 + ix] *
                       w.data<int8_t>()[((m * 2 + ch) * 3 + ky) * 2 + kx];
              }
            }
          }
          CHECK(y.data<int32_t>()[at] == sum);
        }
      }
    }
  }
}

TEST_CASE("QLinear operators of com.microsoft") {
  const Tensor x = vec<uint8_t>({10, 20, 30});
  CHECK(values<uint8_t>(run_op("QLinearAdd", {x, f32(1), u8(10), x, f32(2), u8(10), f32(1), u8(1)}, {}, 1,
                               kMs)[0]) == std::vector<uint8_t>{1, 31, 61});
  CHECK(values<uint8_t>(run_op("QLinearMul", {x, f32(1), u8(10), x, f32(1), u8(10), f32(4), u8(0)}, {}, 1,
                               kMs)[0]) == std::vector<uint8_t>{0, 25, 100});
  const Tensor plane = Tensor::of<int8_t>({1, 1, 1, 3}, {1, 2, 6});
  CHECK(run_op("QLinearGlobalAveragePool", {plane, f32(1), i8(0), f32(0.5f), i8(1)}, {}, 1, kMs)[0]
            .data<int8_t>()[0] == 7);
  const Attrs pool{{"kernel_shape", Dims{1, 2}}, {"pads", Dims{0, 1, 0, 0}}};
  CHECK(values<int8_t>(run_op("QLinearAveragePool", {plane, f32(1), i8(0), f32(0.5f), i8(0)}, pool, 1,
                              kMs)[0]) == std::vector<int8_t>{2, 3, 8});
  const Tensor row = Tensor::of<uint8_t>({1, 3}, {10, 20, 30});
  CHECK(values<uint8_t>(run_op("QLinearConcat", {f32(2), u8(0), row, f32(1), u8(10), row, f32(2), u8(0)},
                               {{"axis", int64_t{1}}}, 1, kMs)[0]) ==
        std::vector<uint8_t>{0, 5, 10, 10, 20, 30});
  CHECK(fails("QLinearConcat", {f32(2), u8(0), row, f32(1)}, {{"axis", int64_t{1}}}, 1, kMs) ==
        Code::invalid);
  CHECK(fails("QLinearConcat", {f32(2), u8(0), row, f32(1), u8(0)}, {{"axis", int64_t{2}}}, 1, kMs) ==
        Code::invalid);
  CHECK(fails("QLinearAdd", {x, f32(1), u8(0), x, f32(1), u8(0), f32(0), u8(0)}, {}, 1, kMs) ==
        Code::invalid);
  CHECK(values<uint8_t>(
            run_op("QLinearSigmoid", {x, f32(1), u8(20), f32(1.0f / 256), u8(0)}, {}, 1, kMs)[0])[1] == 128);
}

TEST_CASE("random tensors follow their seed, dtype and range") {
  const Attrs seeded{{"shape", Dims{1000}}, {"seed", 7.0f}, {"low", -2.0f}, {"high", 3.0f}};
  const Tensor a = run_op("RandomUniform", {}, seeded)[0];
  CHECK(values<float>(a) == values<float>(run_op("RandomUniform", {}, seeded)[0]));
  double sum = 0;
  for (float v : a.span<float>()) {
    CHECK(v >= -2);
    CHECK(v <= 3);
    sum += v;
  }
  CHECK(sum / 1000 == doctest::Approx(0.5).epsilon(0.3));
  const Tensor n = run_op("RandomNormal", {}, {{"shape", Dims{1000}}, {"seed", 1.0f}, {"scale", 2.0f}})[0];
  double squares = 0;
  for (float v : n.span<float>()) squares += static_cast<double>(v) * v;
  CHECK(squares / 1000 == doctest::Approx(4.0).epsilon(0.2));
  CHECK(run_op("RandomNormalLike", {vec<double>({1, 2})})[0].dtype() == DType::f64);
  const Tensor p = Tensor::of<float>({3}, {0, 1, 0});
  CHECK(values<float>(run_op("Bernoulli", {p})[0]) == std::vector<float>{0, 1, 0});
  const Tensor logits = Tensor::of<float>({1, 3}, {-1000, 5, -1000});
  CHECK(values<int32_t>(run_op("Multinomial", {logits}, {{"sample_size", int64_t{4}}})[0]) ==
        std::vector<int32_t>{1, 1, 1, 1});
  CHECK(fails("RandomUniform", {}, {{"shape", Dims{-1}}}) == Code::invalid);
  CHECK(fails("RandomUniform", {}) == Code::invalid);
  CHECK(fails("RandomNormalLike", {vec<int32_t>({1})}) == Code::invalid);
  CHECK(fails("Multinomial", {logits}, {{"sample_size", int64_t{0}}}) == Code::invalid);
}
