#pragma once
// For *.isa.cc files: the first n lanes of a vector from and to memory, 1 <= n <= lanes; no byte past them is
// touched. Lanes past n load as zero. n == lanes takes the plain path where masks cost something.
#include "kernels/base/simd.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
inline F32 load_first(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(0xffffu >> (16 - n)), p);
}
inline void store_first(float* p, F32 v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(0xffffu >> (16 - n)), v);
}
#elif defined(SKYLINE_ARCH_avx2)
inline __m256i lane_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline F32 load_first(const float* p, int n) {
  return n == kLanes ? F32::load_unaligned(p) : F32(_mm256_maskload_ps(p, lane_mask(n)));
}
inline void store_first(float* p, F32 v, int n) {
  if (n == kLanes) {
    v.store_unaligned(p);
  } else {
    _mm256_maskstore_ps(p, lane_mask(n), v);
  }
}
#else
inline F32 load_first(const float* p, int n) {
  if (n == kLanes) return F32::load_unaligned(p);
  alignas(16) float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return F32::load_aligned(lanes);
}
inline void store_first(float* p, F32 v, int n) {
  if (n == kLanes) {
    v.store_unaligned(p);
    return;
  }
  alignas(16) float lanes[kLanes];
  v.store_aligned(lanes);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

}  // namespace
}  // namespace skyline::kernels
