#include "graph/ops/cast.h"

#include <limits>

#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Tensor cast(const Tensor& x, DType to, Attrs more = {}) {
  more.set("to", static_cast<int64_t>(to));
  return run_op("Cast", {x}, more)[0];
}

std::vector<uint8_t> bytes(const Tensor& t) {
  const auto* p = static_cast<const uint8_t*>(t.raw());
  return {p, p + t.bytes()};
}

}  // namespace

TEST_CASE("floats to integers never overflow") {
  const Tensor x = vec<float>({1.9f, -1.9f, kNan, 1e20f, -1e20f});
  const auto low32 = std::numeric_limits<int32_t>::min();
  const auto low64 = std::numeric_limits<int64_t>::min();
  CHECK(values<int32_t>(cast(x, DType::i32)) == std::vector<int32_t>{1, -1, low32, low32, low32});
  CHECK(values<int64_t>(cast(x, DType::i64)) == std::vector<int64_t>{1, -1, low64, low64, low64});
  CHECK(values<uint8_t>(cast(vec<float>({300, -1, kNan}), DType::u8)) == std::vector<uint8_t>{44, 255, 0});
  CHECK(values<uint64_t>(cast(vec<double>({0x1p63}), DType::u64))[0] == uint64_t{1} << 63);
  CHECK(values<bool>(cast(x, DType::boolean)) == std::vector<bool>(5, true));
  CHECK(values<bool>(cast(vec<float>({-0.0f, 0.1f}), DType::boolean)) == std::vector<bool>{false, true});
}

TEST_CASE("integers keep the low bits") {
  CHECK(values<int8_t>(cast(vec<int16_t>({200, -129}), DType::i8)) == std::vector<int8_t>{-56, 127});
  CHECK(bytes(cast(vec<int32_t>({-9, 8, 7}), DType::i4)) == std::vector<uint8_t>{7, 0xf8, 7});
  CHECK(bytes(cast(vec<int32_t>({-1, 17}), DType::u4)) == std::vector<uint8_t>{15, 1});
  CHECK(bytes(cast(vec<float>({-3, 2, 3}), DType::i2)) == std::vector<uint8_t>{1, 0xfe, 0xff});
  CHECK(values<float>(cast(vec<uint64_t>({std::numeric_limits<uint64_t>::max()}), DType::f32))[0] == 0x1p64f);
}

TEST_CASE("narrowing from double rounds once") {
  // Just above the tie of two binary16 numbers, by less than an f32 can tell: two roundings would go to even.
  const double x = 1 + 0x1p-11 + 0x1p-40;
  CHECK(values<Half>(cast(vec<double>({x}), DType::f16))[0].bits == 0x3c01);
  CHECK(values<BFloat16>(cast(vec<double>({1 + 0x1p-8 + 0x1p-40}), DType::bf16))[0].bits == 0x3f81);
  CHECK(skyline::ops::round_to_odd(1e300) == kInf);
}

TEST_CASE("small floats saturate or overflow as asked") {
  const Tensor x = vec<float>({1e6f, -kInf, kNan});
  CHECK(bytes(cast(x, DType::f8e4m3fn)) == std::vector<uint8_t>{0x7e, 0xfe, 0x7f});
  CHECK(bytes(cast(x, DType::f8e4m3fn, {{"saturate", int64_t{0}}})) ==
        std::vector<uint8_t>{0x7f, 0xff, 0x7f});
  CHECK(bytes(cast(x, DType::f8e5m2, {{"saturate", int64_t{0}}})) == std::vector<uint8_t>{0x7c, 0xfc, 0x7f});
  const Tensor e = vec<float>({1.1f, 1.5f, 3.0f, 4.0f});
  CHECK(bytes(cast(e, DType::f8e8m0)) == std::vector<uint8_t>{128, 128, 129, 129});
  CHECK(bytes(cast(e, DType::f8e8m0, {{"round_mode", std::string("down")}})) ==
        std::vector<uint8_t>{127, 127, 128, 129});
  CHECK(bytes(cast(e, DType::f8e8m0, {{"round_mode", std::string("nearest")}})) ==
        std::vector<uint8_t>{127, 128, 129, 129});
}

TEST_CASE("strings") {
  const Tensor s = vec<std::string>({"1e3", " +2.5 ", "-inf", "NaN"});
  const auto f = values<float>(cast(s, DType::f32));
  CHECK(f[0] == 1000);
  CHECK(f[1] == 2.5f);
  CHECK(f[2] == -kInf);
  CHECK(std::isnan(f[3]));
  CHECK(values<int64_t>(cast(vec<std::string>({"9007199254740993", "-7.9"}), DType::i64)) ==
        std::vector<int64_t>{9007199254740993, -7});
  CHECK(values<std::string>(cast(vec<float>({0.039187793f, -kInf, 5}), DType::string)) ==
        std::vector<std::string>{"0.039187793", "-INF", "5"});
  CHECK(fails("Cast", {vec<std::string>({"Hello"})}, {{"to", int64_t{1}}}) == Code::invalid);
  CHECK(fails("Cast", {vec<std::string>({""})}, {{"to", int64_t{1}}}) == Code::invalid);
  CHECK(values<float>(cast(vec<std::string>({"1e999", "-1e-999"}), DType::f32)) ==
        std::vector<float>{kInf, 0});
}

TEST_CASE("reinterpreting bits") {
  const Attrs to_i32{{"to", static_cast<int64_t>(DType::i32)}};
  CHECK(values<int32_t>(run_op("BitCast", {vec<float>({1.0f})}, to_i32)[0])[0] == 0x3f800000);
  CHECK(fails("BitCast", {vec<double>({1.0})}, to_i32) == Code::invalid);
  CHECK(fails("BitCast", {vec<std::string>({"a"})}, to_i32) == Code::invalid);
}

TEST_CASE("bad cast attributes") {
  const Tensor x = vec<float>({1});
  CHECK(fails("Cast", {x}) == Code::invalid);
  CHECK(fails("Cast", {x}, {{"to", int64_t{0}}}) == Code::invalid);
  CHECK(fails("Cast", {x}, {{"to", int64_t{-5}}}) == Code::invalid);
  CHECK(fails("Cast", {x}, {{"to", int64_t{200}}}) == Code::unsupported);
  CHECK(fails("Cast", {x}, {{"to", int64_t{1} << 40}}) == Code::invalid);
  CHECK(fails("Cast", {x}, {{"to", static_cast<int64_t>(DType::c64)}}) == Code::unsupported);
  CHECK(fails("Cast", {x}, {{"to", int64_t{24}}, {"round_mode", std::string("odd")}}) == Code::invalid);
}
