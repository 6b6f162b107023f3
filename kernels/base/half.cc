#include "skyline/half.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skyline {

uint16_t f32_to_f16_bits(float x) noexcept {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (u >> 16) & 0x8000;
  const uint32_t mag = u & 0x7fffffff;
  if (mag > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | ((mag >> 13) & 0x3ff));
  if (mag >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds to 65536 or is infinite
  if (mag < 0x38800000) {                                              // subnormal or zero in binary16
    const float scaled = std::bit_cast<float>(mag) * 16777216.0f;      // 2^24: units of the last place
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(scaled)));
  }
  const uint32_t rebiased = mag - 0x38000000;
  return static_cast<uint16_t>(sign | ((rebiased + 0xfff + ((rebiased >> 13) & 1)) >> 13));
}

float f16_bits_to_f32(uint16_t h) noexcept {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t exponent = (h >> 10) & 0x1f, mantissa = h & 0x3ff;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

namespace {

// The shape of a small float. fn: no infinity; uz: one NaN at 0x80 and no negative zero.
struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool has_infinity, has_nan, unsigned_zero;
};
constexpr Format format(DType t) {
  switch (t) {
    case DType::f8e4m3fn:
      return {4, 3, 7, false, true, false};
    case DType::f8e4m3fnuz:
      return {4, 3, 8, false, true, true};
    case DType::f8e5m2:
      return {5, 2, 15, true, true, false};
    case DType::f8e5m2fnuz:
      return {5, 2, 16, false, true, true};
    default:
      return {2, 1, 1, false, false, false};  // f4e2m1
  }
}

float e8m0_to_f32(uint8_t bits) {
  return bits == 0xff ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, bits - 127);
}

// Round half up in the exponent, as ONNX's default round mode "up" for f8e8m0 casts is handled by the caller;
// this is round to nearest power of two, ties upward.
uint8_t f32_to_e8m0(float x, bool saturate) {
  const uint32_t u = std::bit_cast<uint32_t>(std::fabs(x));
  if (u > 0x7f800000) return 0xff;
  if (u == 0x7f800000) return saturate ? 0xfe : 0xff;
  uint32_t exponent = u >> 23;
  const uint32_t mantissa = u & 0x7fffff;
  if (exponent == 0) return mantissa > 0x400000 ? 1 : 0;
  if (mantissa >= 0x400000) ++exponent;
  return static_cast<uint8_t>(exponent > 254 ? (saturate ? 254 : 255) : exponent);
}

}  // namespace

float small_bits_to_f32(DType t, uint8_t bits) noexcept {
  if (t == DType::f8e8m0) return e8m0_to_f32(bits);
  const Format f = format(t);
  const int total = 1 + f.exponent_bits + f.mantissa_bits;
  const int sign_bit = 1 << (total - 1);
  const bool negative = bits & sign_bit;
  const int magnitude = bits & (sign_bit - 1);
  const int exponent = magnitude >> f.mantissa_bits, mantissa = magnitude & ((1 << f.mantissa_bits) - 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (f.unsigned_zero && negative && magnitude == 0) return nan;
  if (f.has_infinity && exponent == (1 << f.exponent_bits) - 1) {
    const float inf = std::numeric_limits<float>::infinity();
    return mantissa ? nan : (negative ? -inf : inf);
  }
  if (f.has_nan && !f.unsigned_zero && !f.has_infinity && magnitude == sign_bit - 1) return nan;
  const float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), 1 - f.bias - f.mantissa_bits)
                                    : std::ldexp(static_cast<float>(mantissa + (1 << f.mantissa_bits)),
                                                 exponent - f.bias - f.mantissa_bits);
  return negative ? -value : value;
}

uint8_t f32_to_small_bits(DType t, float x, bool saturate) noexcept {
  if (t == DType::f8e8m0) return f32_to_e8m0(x, saturate);
  const Format f = format(t);
  const int sign_bit = 1 << (f.exponent_bits + f.mantissa_bits);
  const bool negative = std::signbit(x);
  const uint8_t sign = negative ? static_cast<uint8_t>(sign_bit) : 0;
  const int top = f.unsigned_zero  ? sign_bit - 1  // all codes are finite
                  : f.has_infinity ? (((1 << f.exponent_bits) - 1) << f.mantissa_bits) - 1
                  : f.has_nan      ? sign_bit - 2
                                   : sign_bit - 1;
  const uint8_t nan = f.unsigned_zero ? 0x80 : static_cast<uint8_t>(sign | (sign_bit - 1));
  if (std::isnan(x)) return f.has_nan ? nan : sign;  // f4e2m1 has no NaN
  const float largest = small_bits_to_f32(t, static_cast<uint8_t>(top));
  const uint8_t overflow = saturate || !f.has_nan ? static_cast<uint8_t>(sign | top)
                           : f.has_infinity       ? static_cast<uint8_t>(sign | (top + 1))
                                                  : nan;
  const float a = std::fabs(x);
  if (std::isinf(x)) return overflow;
  int exponent = 0;
  std::frexp(a, &exponent);                       // a = m * 2^exponent, m in [0.5, 1)
  exponent = std::max(exponent - 1, 1 - f.bias);  // subnormals share the smallest exponent
  const float unit = std::ldexp(1.0f, exponent - f.mantissa_bits);
  const float rounded = std::nearbyint(a / unit) * unit;  // exact: powers of two
  if (rounded > largest) return overflow;
  if (rounded == 0) return f.unsigned_zero ? 0 : sign;
  std::frexp(rounded, &exponent);
  exponent = std::max(exponent - 1, 1 - f.bias);
  const int units = static_cast<int>(std::ldexp(rounded, f.mantissa_bits - exponent));
  const int hidden = 1 << f.mantissa_bits;
  const int code = units < hidden ? units : ((exponent + f.bias) << f.mantissa_bits) + (units - hidden);
  return static_cast<uint8_t>(sign | code);
}

}  // namespace skyline
