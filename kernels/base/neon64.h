#pragma once
// For simd.h only. xsimd 8.1 divides and takes square roots of f32 by estimates with two Newton steps, as
// 32-bit NEON must: off in the last place, and NaN for sqrt(inf). AArch64 has both instructions.
#include <xsimd/xsimd.hpp>

namespace xsimd {

template <>
inline batch<float, neon64>& batch<float, neon64>::operator/=(const batch<float, neon64>& other) noexcept {
  return *this = vdivq_f32(*this, other);
}
template <>
inline batch<float, neon64> sqrt(const batch<float, neon64>& x) noexcept {
  return vsqrtq_f32(x);
}

}  // namespace xsimd
