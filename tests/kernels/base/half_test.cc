#include "skyline/half.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace skyline;

TEST_CASE("every binary16 value survives the trip through f32") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto h = static_cast<uint16_t>(bits);
    const float f = f16_bits_to_f32(h);
    if (std::isnan(f)) {
      CHECK(std::isnan(f16_bits_to_f32(f32_to_f16_bits(f))));
    } else {
      CHECK(f32_to_f16_bits(f) == h);
    }
  }
}

TEST_CASE("binary16 rounds to nearest even and overflows to infinity") {
  CHECK(f32_to_f16_bits(1.0f + 0x1p-11f) == 0x3c00);      // tie to even, down
  CHECK(f32_to_f16_bits(1.0f + 3 * 0x1p-11f) == 0x3c02);  // tie to even, up
  CHECK(f32_to_f16_bits(65504.0f) == 0x7bff);
  CHECK(f32_to_f16_bits(65519.9f) == 0x7bff);
  CHECK(f32_to_f16_bits(65520.0f) == 0x7c00);
  CHECK(f32_to_f16_bits(0x1p-25f) == 0);  // tie with zero: even
  CHECK(f32_to_f16_bits(0x1.8p-25f) == 1);
  CHECK(f32_to_f16_bits(-0.0f) == 0x8000);
}

TEST_CASE("bfloat16 rounds to nearest even") {
  CHECK(f32_to_bf16_bits(1.0f) == 0x3f80);
  CHECK(f32_to_bf16_bits(1.0f + 0x1p-8f) == 0x3f80);
  CHECK(f32_to_bf16_bits(1.0f + 3 * 0x1p-8f) == 0x3f82);
  CHECK(std::isnan(bf16_bits_to_f32(f32_to_bf16_bits(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("every small float survives the trip through f32, and overflow saturates on request") {
  for (DType t :
       {DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f8e8m0, DType::f4e2m1}) {
    CAPTURE(name(t));
    for (int bits = 0; bits < (t == DType::f4e2m1 ? 16 : 256); ++bits) {
      const float f = small_bits_to_f32(t, static_cast<uint8_t>(bits));
      if (std::isnan(f)) {
        CHECK(std::isnan(small_bits_to_f32(t, f32_to_small_bits(t, f, true))));
      } else {
        CHECK(f32_to_small_bits(t, f, false) == bits);
      }
    }
  }
  CHECK(small_bits_to_f32(DType::f8e4m3fn, f32_to_small_bits(DType::f8e4m3fn, 1e6f, true)) == 448.0f);
  CHECK(std::isnan(small_bits_to_f32(DType::f8e4m3fn, f32_to_small_bits(DType::f8e4m3fn, 1e6f, false))));
  CHECK(std::isinf(small_bits_to_f32(DType::f8e5m2, f32_to_small_bits(DType::f8e5m2, 1e6f, false))));
  CHECK(small_bits_to_f32(DType::f4e2m1, f32_to_small_bits(DType::f4e2m1, 100.0f, true)) == 6.0f);
}
