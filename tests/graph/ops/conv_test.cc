// Convolutions, pools and their attributes.
#include "run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

Tensor ramp(const Dims& dims, float step = 1) {
  Tensor t(DType::f32, dims);
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<float>()[i] = step * static_cast<float>(i % 23 - 7);
  return t;
}

// Channels-first to channels-last.
Tensor to_nhwc(const Tensor& x) {
  const int64_t n = x.dim(0), c = x.dim(1), area = x.size() / (n * c);
  Tensor y(DType::f32, {n, x.dim(2), x.dim(3), c});
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t i = 0; i < area; ++i) {
        y.mutable_data<float>()[(b * area + i) * c + k] = x.data<float>()[(b * c + k) * area + i];
      }
    }
  }
  return y;
}

}  // namespace

TEST_CASE("a 3x3 convolution with padding sums its neighbourhood") {
  const Tensor x = Tensor::of<float>({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Tensor w = Tensor::of<float>({1, 1, 3, 3}, std::vector<float>(9, 1));
  const auto y = run_op("Conv", {x, w}, {{"pads", Dims{1, 1, 1, 1}}});
  CHECK(values<float>(y[0]) == std::vector<float>{12, 21, 16, 27, 45, 33, 24, 39, 28});
}

TEST_CASE("stride, dilation, groups and bias of a 1-D convolution") {
  const Tensor x = Tensor::of<float>({1, 2, 5}, {1, 2, 3, 4, 5, 10, 20, 30, 40, 50});
  const Tensor w = Tensor::of<float>({2, 1, 2}, {1, 1, 1, -1});
  const auto y = run_op("Conv", {x, w, vec<float>({100, 200})},
                        {{"group", int64_t{2}}, {"dilations", Dims{2}}, {"strides", Dims{2}}});
  CHECK(y[0].dims() == Dims{1, 2, 2});
  CHECK(values<float>(y[0]) == std::vector<float>{104, 108, 180, 180});
}

TEST_CASE("a fused convolution is convolution, residual, activation, in both layouts") {
  const Tensor x = ramp({2, 3, 5, 4}), w = ramp({4, 3, 3, 3}, 0.5f), b = vec<float>({1, -2, 3, 4});
  const Attrs conv{{"pads", Dims{1, 1, 1, 1}}, {"strides", Dims{2, 1}}};
  const Tensor plain = run_op("Conv", {x, w, b}, conv)[0];
  const Tensor residual = ramp(plain.dims(), 3);
  Attrs fused = conv;
  fused.set("activation", std::string("clip")).set("activation_params", std::vector<float>{-5, 20});
  const Tensor y = run_op("FusedConv", {x, w, b, residual}, fused, 1, "skyline")[0];
  for (int64_t i = 0; i < y.size(); ++i) {
    const float want = std::min(20.0f, std::max(-5.0f, plain.data<float>()[i] + residual.data<float>()[i]));
    CHECK(y.data<float>()[i] == doctest::Approx(want));
  }
  fused.set("layout", std::string("NHWC"));
  const Tensor last = run_op("FusedConv", {to_nhwc(x), w, b, to_nhwc(residual)}, fused, 1, "skyline")[0];
  CHECK(values<float>(last) == values<float>(to_nhwc(y)));
  fused.set("input_layout", std::string("NCHW"));
  const Tensor mixed = run_op("FusedConv", {x, w, b, to_nhwc(residual)}, fused, 1, "skyline")[0];
  CHECK(values<float>(mixed) == values<float>(to_nhwc(y)));
}

TEST_CASE("pools in NHWC agree with NCHW") {
  const Tensor x = ramp({2, 3, 5, 6});
  const Attrs a{{"kernel_shape", Dims{3, 2}}, {"strides", Dims{2, 2}}, {"pads", Dims{1, 0, 1, 0}}};
  Attrs last = a;
  last.set("layout", std::string("NHWC"));
  for (const char* name : {"MaxPool", "AveragePool", "LpPool"}) {
    CAPTURE(name);
    const Tensor y = run_op(name, {x}, a)[0], z = run_op(name, {to_nhwc(x)}, last, 1, "skyline")[0];
    CHECK(values<float>(z) == values<float>(to_nhwc(y)));
  }
  const Tensor y = run_op("GlobalAveragePool", {x})[0];
  const Tensor z =
      run_op("GlobalAveragePool", {to_nhwc(x)}, {{"layout", std::string("NHWC")}}, 1, "skyline")[0];
  CHECK(z.dims() == Dims{2, 1, 1, 3});
  CHECK(values<float>(z) == values<float>(y));
}

TEST_CASE("a transposed convolution scatters") {
  const Tensor x = Tensor::of<float>({1, 1, 2}, {1, 10});
  const Tensor w = Tensor::of<float>({1, 1, 3}, {1, 2, 3});
  CHECK(values<float>(run_op("ConvTranspose", {x, w}, {{"strides", Dims{2}}})[0]) ==
        std::vector<float>{1, 2, 13, 20, 30});
  CHECK(values<float>(run_op("ConvTranspose", {x, w}, {{"strides", Dims{2}}, {"pads", Dims{1, 1}}})[0]) ==
        std::vector<float>{2, 13, 20});
}

TEST_CASE("max pool reports where, and a last partial window counts in ceil mode") {
  const Tensor x = Tensor::of<float>({1, 1, 5}, {1, 5, 2, 3, 4});
  const Attrs a{{"kernel_shape", Dims{2}}, {"strides", Dims{2}}, {"ceil_mode", int64_t{1}}};
  const auto y = run_op("MaxPool", {x}, a, 2);
  CHECK(values<float>(y[0]) == std::vector<float>{5, 3, 4});
  CHECK(values<int64_t>(y[1]) == std::vector<int64_t>{1, 3, 4});
}

TEST_CASE("bad attributes and shapes are refused before any work") {
  const Tensor x = ramp({1, 4, 5, 5}), w = ramp({4, 4, 3, 3});
  const auto conv = [&](Attrs a) { return fails("Conv", {x, w}, a); };
  CHECK(conv({{"strides", Dims{0, 1}}}) == Code::invalid);
  CHECK(conv({{"dilations", Dims{-1, 1}}}) == Code::invalid);
  CHECK(conv({{"dilations", Dims{int64_t{1} << 40, 1}}}) == Code::invalid);
  CHECK(conv({{"strides", Dims{1}}}) == Code::invalid);
  CHECK(conv({{"pads", Dims{-1, 0, 0, 0}}}) == Code::invalid);
  CHECK(conv({{"group", int64_t{0}}}) == Code::invalid);
  CHECK(conv({{"group", int64_t{3}}}) == Code::invalid);
  CHECK(conv({{"kernel_shape", Dims{2, 2}}}) == Code::invalid);
  CHECK(conv({{"auto_pad", std::string("SAME")}}) == Code::invalid);
  CHECK(conv({{"strides", std::string("1")}}) == Code::invalid);
  CHECK(conv({{"dilations", Dims{4, 4}}}) == Code::invalid);  // no position
  CHECK(fails("Conv", {x, w, vec<float>({1, 2})}) == Code::invalid);
  CHECK(fails("Conv", {x, ramp({4, 3, 3, 3})}) == Code::invalid);
  CHECK(fails("Conv", {ramp({4, 4}), w}) == Code::invalid);
  CHECK(fails("FusedConv", {x, w}, {{"activation", std::string("mish")}}, 1, "skyline") == Code::invalid);
  CHECK(fails("FusedConv", {x, w}, {{"layout", std::string("NCWH")}}, 1, "skyline") == Code::invalid);
  CHECK(fails("MaxPool", {x}) == Code::invalid);  // no kernel_shape
  CHECK(fails("MaxPool", {x}, {{"kernel_shape", Dims{0, 1}}}) == Code::invalid);
  CHECK(fails("AveragePool", {x}, {{"kernel_shape", Dims{9, 9}}}) == Code::invalid);
  CHECK(fails("LpPool", {x}, {{"kernel_shape", Dims{2, 2}}, {"p", int64_t{0}}}) == Code::invalid);
}
