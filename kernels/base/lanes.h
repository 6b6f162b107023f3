#pragma once
// For *.isa.cc files: what xsimd lacks. Partial loads and stores for tails, rounding to integers, narrow
// integers and 16-bit floats as vectors of 32-bit lanes. n is the number of lanes in use, 1..kLanes (0 is
// allowed and does nothing).
#include <string.h>

#include "kernels/base/simd.h"
#include "skyline/kernel.h"

// The expansion of x as text: SKYLINE_TEXT(SKYLINE_TAGGED(norm)) is "norm_avx2".
#define SKYLINE_TEXT_(x) #x
#define SKYLINE_TEXT(x) SKYLINE_TEXT_(x)

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
constexpr IsaSet kLevelBit = kIsaAvx512;
#elif defined(SKYLINE_ARCH_avx2)
constexpr IsaSet kLevelBit = kIsaAvx2;
#elif defined(SKYLINE_ARCH_neon)
constexpr IsaSet kLevelBit = kIsaNeon;
#else
constexpr IsaSet kLevelBit = kIsaSse2;
#endif

// The row of a family that has one table per level.
constexpr KernelInfo table_row(const char* name, const char* op) noexcept {
  return {.name = name, .op = op, .needs = kLevelBit};
}

[[maybe_unused]] inline F32 load(const float* p) noexcept {
  return F32::load_unaligned(p);
}
[[maybe_unused]] inline void store(float* p, const F32& v) noexcept {
  v.store_unaligned(p);
}
[[maybe_unused]] inline I32 load(const int32_t* p) noexcept {
  return I32::load_unaligned(p);
}
[[maybe_unused]] inline void store(int32_t* p, const I32& v) noexcept {
  v.store_unaligned(p);
}

#if defined(SKYLINE_ARCH_avx512)
[[maybe_unused]] inline __mmask16 first_lanes(int64_t n) noexcept {
  return static_cast<__mmask16>((1u << n) - 1);
}
[[maybe_unused]] inline F32 load(const float* p, int64_t n) noexcept {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
[[maybe_unused]] inline void store(float* p, const F32& v, int64_t n) noexcept {
  _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
#elif defined(SKYLINE_ARCH_avx2)
[[maybe_unused]] inline __m256i first_lanes(int64_t n) noexcept {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
[[maybe_unused]] inline F32 load(const float* p, int64_t n) noexcept {
  return _mm256_maskload_ps(p, first_lanes(n));
}
[[maybe_unused]] inline void store(float* p, const F32& v, int64_t n) noexcept {
  _mm256_maskstore_ps(p, first_lanes(n), v);
}
#else
[[maybe_unused]] inline F32 load(const float* p, int64_t n) noexcept {
  alignas(64) float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return F32::load_aligned(lanes);
}
[[maybe_unused]] inline void store(float* p, const F32& v, int64_t n) noexcept {
  alignas(64) float lanes[kLanes];
  v.store_aligned(lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

// Nearest integer, ties to even. Outside the range of int32 the result is unspecified: clamp first.
[[maybe_unused]] inline I32 round_i32(const F32& v) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_cvtps_epi32(v);
#elif defined(SKYLINE_ARCH_avx2)
  return _mm256_cvtps_epi32(v);
#elif defined(SKYLINE_ARCH_neon)
  return vcvtnq_s32_f32(v);
#else
  return _mm_cvtps_epi32(v);
#endif
}

// kLanes narrow integers as 32-bit lanes and back. Stores keep the low bits: clamp to the type's range first.
[[maybe_unused]] inline I32 load_wide(const uint8_t* p) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(SKYLINE_ARCH_avx2)
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  alignas(64) int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = p[i];
  return I32::load_aligned(lanes);
#endif
}
[[maybe_unused]] inline I32 load_wide(const int8_t* p) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(SKYLINE_ARCH_avx2)
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  alignas(64) int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = p[i];
  return I32::load_aligned(lanes);
#endif
}
template <class T>
inline I32 load_wide(const T* p) noexcept {  // int16_t, uint16_t
  alignas(64) int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = p[i];
  return I32::load_aligned(lanes);
}
template <class T>
inline I32 load_wide(const T* p, int64_t n) noexcept {
  T lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_wide(lanes);
}

template <class T>
inline void store_narrow(T* p, const I32& v) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  if constexpr (sizeof(T) == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }
#elif defined(SKYLINE_ARCH_avx2)
  if constexpr (sizeof(T) == 1) {
    const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                          0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i bytes = _mm256_shuffle_epi8(v, pick);
    const int lo = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
    const int hi = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
    memcpy(p, &lo, 4);
    memcpy(p + 4, &hi, 4);
  } else {
    const __m256i pick = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                          0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i words = _mm256_shuffle_epi8(v, pick);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(words));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 4), _mm256_extracti128_si256(words, 1));
  }
#else
  alignas(64) int32_t lanes[kLanes];
  v.store_aligned(lanes);
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<T>(lanes[i]);
#endif
}
template <class T>
inline void store_narrow(T* p, const I32& v, int64_t n) noexcept {
  T lanes[kLanes];
  store_narrow(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// The sum and the largest of all lanes, in a fixed order.
[[maybe_unused]] inline float sum_lanes(const F32& v) noexcept {
  alignas(64) float lanes[kLanes];
  v.store_aligned(lanes);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
[[maybe_unused]] inline float max_lanes(const F32& v) noexcept {  // NaN if any lane is NaN
  alignas(64) float lanes[kLanes];
  v.store_aligned(lanes);
  float m = lanes[0];
  for (int i = 1; i < kLanes; ++i) m = lanes[i] > m || lanes[i] != lanes[i] ? lanes[i] : m;
  return m;
}

// f(i, count) over vectors; count < kLanes in the last one.
template <class F>
inline void for_vectors(int64_t n, F&& f) noexcept {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, int64_t{kLanes});
  if (i < n) f(i, n - i);
}
// A whole vector or the first `count` lanes of one.
[[maybe_unused]] inline F32 get(const float* p, int64_t count) noexcept {
  return count == kLanes ? load(p) : load(p, count);
}
[[maybe_unused]] inline void put(float* p, F32 v, int64_t count) noexcept {
  if (count == kLanes) {
    store(p, v);
  } else {
    store(p, v, count);
  }
}

}  // namespace
}  // namespace skyline::kernels
