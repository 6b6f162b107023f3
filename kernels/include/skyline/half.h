#pragma once
// 16-bit and smaller floats: storage types that convert to and from f32, rounding to nearest even as IEEE 754
// and the OCP 8-bit format do. No arithmetic: compute in f32. One struct per DType so that templates can
// dispatch on them.
#include <bit>
#include <cstdint>

#include "skyline/dtype.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// f32 <-> binary16, exact in both directions up to the rounding; NaN stays NaN, overflow gives infinity.
uint16_t f32_to_f16_bits(float x) noexcept;
float f16_bits_to_f32(uint16_t h) noexcept;

inline uint16_t f32_to_bf16_bits(float x) noexcept {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40);  // quiet the NaN
  return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
inline float bf16_bits_to_f32(uint16_t h) noexcept {
  return std::bit_cast<float>(uint32_t{h} << 16);
}

// 8-bit and 4-bit floats. saturate: overflow gives the largest finite value instead of NaN / infinity (ONNX
// Cast).
uint8_t f32_to_small_bits(DType t, float x, bool saturate) noexcept;
float small_bits_to_f32(DType t, uint8_t bits) noexcept;

struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float x) noexcept : bits(f32_to_f16_bits(x)) {}
  operator float() const noexcept { return f16_bits_to_f32(bits); }
};
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float x) noexcept : bits(f32_to_bf16_bits(x)) {}
  operator float() const noexcept { return bf16_bits_to_f32(bits); }
};
template <DType T>
struct SmallFloat {
  uint8_t bits = 0;
  SmallFloat() = default;
  explicit SmallFloat(float x) noexcept : bits(f32_to_small_bits(T, x, true)) {}
  operator float() const noexcept { return small_bits_to_f32(T, bits); }
};

template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <DType T>
struct DTypeOf<SmallFloat<T>> {
  static constexpr DType value = T;
};

}  // namespace skyline
#pragma GCC visibility pop
