#pragma once
// What the lowerings of quantized operators share.
#include <cmath>

#include "engine/lower/lowering.h"

namespace skyline::lower {

inline bool is_byte(DType t) {
  return t == DType::u8 || t == DType::i8;
}

// Constant scale `i`: finite, above 0 (or 0 too, if zero_is_fine), one or `count` of them. Nothing otherwise:
// the reference then says what is wrong.
inline std::optional<std::vector<float>> constant_scales(const Lowering& l, size_t i, int64_t count,
                                                         bool zero_is_fine) {
  const Tensor* t = l.constant(i);
  if (!t || t->dtype() != DType::f32 || (t->size() != 1 && t->size() != count) || t->rank() > 1)
    return std::nullopt;
  for (float s : t->span<float>()) {
    if (!std::isfinite(s) || s < 0 || (s == 0 && !zero_is_fine)) return std::nullopt;
  }
  return std::vector<float>(t->data<float>(), t->data<float>() + t->size());
}
inline std::optional<float> constant_scale(const Lowering& l, size_t i, bool zero_is_fine = true) {
  const auto s = constant_scales(l, i, 1, zero_is_fine);
  return s ? std::optional((*s)[0]) : std::nullopt;
}

// Integers of up to 16 bits, or i32, as i32. The type must be one of those.
inline int32_t integer_at(const void* p, DType t, int64_t i) noexcept {
  switch (t) {
    case DType::u8:
      return static_cast<const uint8_t*>(p)[i];
    case DType::i8:
      return static_cast<const int8_t*>(p)[i];
    case DType::u16:
      return static_cast<const uint16_t*>(p)[i];
    case DType::i16:
      return static_cast<const int16_t*>(p)[i];
    default:
      return static_cast<const int32_t*>(p)[i];
  }
}

// No infinity and no NaN among the n; in quantize.cc.
bool dynamic_range_is_finite(const float* x, int64_t n) noexcept;

// A zero point of one element, read when the step runs; input `i` may be missing.
struct ZeroPoint {
  size_t input = 0;
  DType type = DType::undefined;  // undefined: there is none, it is 0
  int32_t read(const StepArgs& s) const noexcept {
    return type == DType::undefined ? 0 : integer_at(s.in[input], type, 0);
  }
};
inline std::optional<ZeroPoint> zero_point(const Lowering& l, size_t i, DType of) {
  if (!l.has(i)) return ZeroPoint{};
  if (l.in_type(i) != of || element_count(l.in_dims(i)) != 1) return std::nullopt;
  return ZeroPoint{i, of};
}
inline std::optional<int32_t> constant_zero(const Lowering& l, size_t i, DType of) {
  if (!l.has(i)) return 0;
  const Tensor* t = l.constant(i);
  if (!t || t->dtype() != of || t->size() != 1) return std::nullopt;
  return integer_at(t->raw(), of, 0);
}

}  // namespace skyline::lower
