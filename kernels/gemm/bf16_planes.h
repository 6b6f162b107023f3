#pragma once
// For *_amx.cc files: f32 numbers as sums of bf16 numbers.
#include "kernels/base/lanes.h"

namespace skyline::kernels {
namespace {

constexpr int kInfOrNan = 0x99;  // as vfpclassps numbers the classes

// Sixteen numbers. Those beyond the largest bf16 become that, and
// the rest the next plane, so that none becomes infinite.
template <int kCount>
struct Planes {
  static constexpr int kPlanes = kCount;
  static constexpr bool kBf16 = true;
  __m256i halves[kPlanes];
  __mmask16 not_finite;

  explicit Planes(__m512 x) {
    not_finite = _mm512_fpclass_ps_mask(x, kInfOrNan);
    const __mmask16 finite = _knot_mask16(not_finite);
    const __m512 most = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f0000));
    const __m512 least = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xff7f0000)));
    __m512 head = _mm512_mask_max_ps(x, finite, x, least);
    head = _mm512_mask_min_ps(head, finite, head, most);
    halves[0] = round(head);
#pragma GCC unroll 3
    for (int q = 1; q < kPlanes; ++q) {
      const __m512i above = _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves[q - 1]), 16);
      x = _mm512_maskz_sub_ps(finite, x, _mm512_castsi512_ps(above));
      halves[q] = round(x);
    }
  }
  // A sum of two planes may round up past the largest f32.
  static __m512 value(const __m512i (&words)[kPlanes]) {
    const auto plane = [&](int q) { return _mm512_castsi512_ps(_mm512_slli_epi32(words[q], 16)); };
    __m512 x = plane(kPlanes - 1);
    for (int q = kPlanes - 1; q-- > 0;) x = _mm512_add_ps(plane(q), x);
    const __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(plane(0), kInfOrNan));
    const __m512 most = _mm512_set1_ps(0x1.fffffep127f), least = _mm512_set1_ps(-0x1.fffffep127f);
    x = _mm512_mask_max_ps(x, finite, x, least);
    return _mm512_mask_min_ps(x, finite, x, most);
  }
  static __m256i round(__m512 x) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
  }
};

}  // namespace
}  // namespace skyline::kernels
