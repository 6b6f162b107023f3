#include "kernels/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quantize/lookup.h"
#include "kernels/quantize/ref.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

std::vector<float> inputs(int64_t n, float range) {
  auto x = test::Random(12).floats(n, -range, range);
  const float special[] = {0.0f,    -0.0f, 0.125f, 0.375f,   0.625f,    -0.125f,
                           -0.375f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN};
  for (int64_t i = 0; i < n && i < 12; ++i) x[i] = special[i];
  return x;
}

template <class T>
void check_type(IsaSet isa, int32_t zero_lo, int32_t zero_hi, float range) {
  const QuantizeTable& t = quantize_kernels(isa);
  const QuantizeFn quantize = find_quantize(t, kDTypeOf<T>);
  const DequantizeFn dequantize = find_dequantize(t, kDTypeOf<T>);
  REQUIRE(bool(quantize != nullptr));
  REQUIRE(bool(dequantize != nullptr));
  const int64_t shapes[][3] = {{1, 1, 1}, {1, 1, 100}, {3, 37, 1}, {2, 5, 23}, {3, 1, 19}};
  for (const auto& [outer, channels, inner] : shapes) {
    const int64_t n = outer * channels * inner;
    test::Random random(n);
    const auto x = inputs(n, range);
    auto scale = random.floats(channels, 0.1f, 0.5f);
    scale[0] = 0.25f;  // makes ties
    const auto zero = random.integers<int32_t>(channels, zero_lo, zero_hi);
    for (const int threads : kThreadCounts) {
      std::vector<T> q(static_cast<size_t>(n));
      std::vector<float> back(q.size());
      quantize(x.data(), q.data(), scale.data(), zero.data(), outer, channels, inner, threads);
      dequantize(q.data(), back.data(), scale.data(), zero.data(), outer, channels, inner, threads);
      for (int64_t i = 0; i < n; ++i) {
        const QuantParams p{scale[i / inner % channels], zero[i / inner % channels]};
        CHECK_MESSAGE(q[i] == ref::quantize<T>(x[i], p), x[i], " / ", p.scale, " + ", p.zero);
        CHECK(back[i] == ref::dequantize<T>(q[i], p));
      }
      quantize(x.data(), q.data(), scale.data(), nullptr, outer, channels, inner, threads);
      for (int64_t i = 0; i < n; ++i) CHECK(q[i] == ref::quantize<T>(x[i], {scale[i / inner % channels], 0}));
    }
  }
}

template <class T>
void check_requantize(IsaSet isa, int which, int32_t zero) {
  test::Random random(5);
  const int64_t rows = 4, channels = 37;
  auto a = random.integers<int32_t>(rows * channels, -40000, 40000);
  a[0] = std::numeric_limits<int32_t>::min();
  a[1] = std::numeric_limits<int32_t>::max();
  const auto m = random.floats(channels, 0.001f, 0.01f);
  std::vector<T> q(a.size());
  for (const bool per_channel : {false, true}) {
    quantize_kernels(isa).requantize[which](a.data(), q.data(), m.data(), per_channel, zero, rows, channels,
                                            2);
    for (size_t i = 0; i < a.size(); ++i) {
      CHECK(q[i] == ref::requantize<T>(a[i], m[per_channel ? i % channels : 0], zero));
    }
  }
}

template <class T>
void check_binary(IsaSet isa, int which) {
  const QBinaryParams p{{0.02f, 3}, {0.05f, -7}, {0.03f, 5}};
  const auto a =
      test::Random(1).integers<T>(301, std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
  const auto b =
      test::Random(2).integers<T>(301, std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
  std::vector<T> y(301);
  for (const bool add : {true, false}) {
    for (const int step : {0, 1}) {
      const QuantizeTable& t = quantize_kernels(isa);
      (add ? t.add : t.mul)[which](a.data(), b.data(), y.data(), 301, 1, step, &p);
      for (size_t i = 0; i < y.size(); ++i) {
        CHECK(y[i] == ref::qlinear<T>(add, a[i], b[i * step], p));
      }
    }
  }
}

}  // namespace

TEST_CASE("quantize and dequantize equal the definition on every ISA") {
  each_level([](IsaSet isa) {
    check_type<uint8_t>(isa, 0, 255, 60);
    check_type<int8_t>(isa, -128, 127, 60);
    check_type<uint16_t>(isa, 0, 65535, 20000);
    check_type<int16_t>(isa, -100, 100, 20000);
  });
  CHECK(bool(find_quantize(quantize_kernels(kIsaNone), DType::f32) == nullptr));
}

TEST_CASE("int32 dequantize, requantize, and the QLinear binary ops") {
  each_level([](IsaSet isa) {
    const int32_t q[] = {-70000, 3, 1 << 30};
    float x[3];
    const float scale = 0.5f;
    find_dequantize(quantize_kernels(isa), DType::i32)(q, x, &scale, nullptr, 1, 1, 3, 1);
    CHECK(x[0] == -35000.0f);
    CHECK(x[2] == static_cast<float>(1 << 29));
    check_requantize<uint8_t>(isa, 0, 100);
    check_requantize<int8_t>(isa, 1, -3);
    check_binary<uint8_t>(isa, 0);
    check_binary<int8_t>(isa, 1);
  });
}

TEST_CASE("dynamic quantization follows ONNX's example") {
  const std::vector<float> x = {0, 2, -3, -2.5f, 1.34f, 0.5f};
  each_level([&](IsaSet isa) {
    std::vector<uint8_t> q(6);
    const QuantParams p = dynamic_quantize_u8(quantize_kernels(isa), x.data(), q.data(), 6, 1);
    CHECK(p.scale == doctest::Approx(0.0196078438));
    CHECK(p.zero == 153);
    CHECK(q == std::vector<uint8_t>{153, 255, 0, 26, 221, 179});
    std::vector<float> zeros(40, 0.0f);
    q.resize(40);
    CHECK(dynamic_quantize_u8(quantize_kernels(isa), zeros.data(), q.data(), 40, 2).scale == 1.0f);
    CHECK(q[39] == 0);
    const auto many = test::Random(3).floats(70000, -2, 5);
    float lo = 0, hi = 0;
    for (const int threads : kThreadCounts) {
      quantize_kernels(isa).min_max(many.data(), 70000, &lo, &hi, threads);
      CHECK(lo == *std::min_element(many.begin(), many.end()));
      CHECK(hi == *std::max_element(many.begin(), many.end()));
    }
  });
}

TEST_CASE("a lookup table is the function between quantizations") {
  const UnaryFn sigmoid = eltwise_kernels(kIsaNone).unary[static_cast<int>(UnaryOp::sigmoid)];
  for (const DType type : {DType::u8, DType::i8}) {
    const bool is_signed = type == DType::i8;
    const QuantParams in{0.05f, is_signed ? -3 : 120}, out{1 / 256.0f, is_signed ? -128 : 0};
    uint8_t table[256], codes[256], y[256];
    make_lookup(sigmoid, 0, 0, type, in, out, table);
    for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
    lookup_u8(lookup_kernel(isa_detected()), codes, y, 256, table, 2);
    for (int i = 0; i < 256; ++i) {
      const int q = is_signed ? static_cast<int8_t>(i) : i;
      float x = static_cast<float>(q - in.zero) * in.scale, s = 0;
      sigmoid(&x, &s, 1, 0, 0);
      const uint8_t want =
          is_signed ? static_cast<uint8_t>(ref::quantize<int8_t>(s, out)) : ref::quantize<uint8_t>(s, out);
      CHECK(y[i] == want);
    }
  }
}

TEST_CASE("lookups: every row, every length, in place") {
  test::Random random(5);
  const auto table = random.integers<uint8_t>(256, 0, 255);
  const auto x = random.integers<uint8_t>(70000, 0, 255);
  for (const KernelInfo* k : all_kernels()) {
    if (k->op != "lookup" || !usable(*k, isa_detected())) continue;
    CAPTURE(std::string(k->name));
    const auto& row = static_cast<const LookupKernel&>(*k);
    for (const int64_t n : {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 200, 256, 70000}) {
      std::vector<uint8_t> y(static_cast<size_t>(n) + 1, 77), want = y;
      for (size_t i = 0; i + 1 < y.size(); ++i) want[i] = table[x[i]];
      row.run(x.data(), y.data(), n, table.data());
      CHECK(y == want);
      std::vector<uint8_t> same(x.begin(), x.begin() + n);
      same.push_back(77);
      for (const int threads : kThreadCounts) {
        std::vector<uint8_t> own = same;
        lookup_u8(row, own.data(), own.data(), n, table.data(), threads);
        CHECK(own == want);
      }
    }
  }
}
