#pragma once
// For dense kernels of integers on vectors of 128 or 256 bits: how sums become C.
#include "kernels/gemm/dense_store.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx2)
// Rows of 16 bytes. Packing takes lanes of 128 bits apart; the words then go to their places.
template <class T, Sum kSum>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  const Epilogue& e = t.epilogue;
  const ByteLimits limits = byte_limits<T>(e);
  const __m256 low = _mm256_set1_ps(limits.low), high = _mm256_set1_ps(limits.high);
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(e.zero_point));
  const __m256 up = _mm256_set1_ps(kRounder),
               down = _mm256_set1_ps(kRounder - static_cast<float>(e.zero_point));
  const __m256 own = _mm256_set1_ps(e.sum.own), other = _mm256_set1_ps(e.sum.other),
               fixed = _mm256_set1_ps(e.sum.fixed);
  __m256 scale[2];
  __m256i bias[2];
  for (int v = 0; v < 2; ++v) {
    scale[v] = _mm256_loadu_ps(e.scale_n + p.col + v * kLanes);
    auto* from = reinterpret_cast<const __m256i*>(e.bias_i32 + p.col + v * kLanes);
    bias[v] = e.bias_i32 ? _mm256_loadu_si256(from) : _mm256_setzero_si256();
  }
  const auto rounded = [&](const int32_t* from, int v, const T* codes) {
    const __m256i sum = _mm256_add_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)), bias[v]);
    const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[v]);
    const __m256 bounded = _mm256_min_ps(_mm256_max_ps(x, low), high);
    if constexpr (kSum == Sum::none) return _mm256_cvtps_epi32(bounded);
    const __m256 c = _mm256_sub_ps(_mm256_add_ps(bounded, up), down);
    const __m256 r = _mm256_cvtepi32_ps(load_wide(codes + v * kLanes));
    const __m256 y = kSum == Sum::codes_first ? _mm256_fmadd_ps(c, own, _mm256_fmadd_ps(r, other, fixed))
                                              : _mm256_fmadd_ps(r, other, _mm256_fmadd_ps(c, own, fixed));
    return _mm256_cvtps_epi32(y);
  };
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
  for (int64_t i = 0; i < p.m; ++i, sums += ld) {
    char* const c = p.template row_of<T>(t, i);
    if (!c) continue;
    const T* const codes =
        kSum == Sum::none ? nullptr : reinterpret_cast<const T*>(e.codes) + (c - static_cast<char*>(t.c));
    __m256i words = _mm256_packs_epi32(rounded(sums, 0, codes), rounded(sums + kLanes, 1, codes));
    if constexpr (kSum == Sum::none) words = _mm256_adds_epi16(words, zero);
    const __m256i bytes =
        std::is_signed_v<T> ? _mm256_packs_epi16(words, words) : _mm256_packus_epi16(words, words);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(c),
                     _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
  }
}
template <class T>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  const Sum sum = sum_of(t.epilogue);
  if (sum == Sum::none) return finish_bytes<T, Sum::none>(t, p, sums, ld);
  sum == Sum::codes_last ? finish_bytes<T, Sum::codes_last>(t, p, sums, ld)
                         : finish_bytes<T, Sum::codes_first>(t, p, sums, ld);
}
#endif

// sums: rows of p.n values, ld apart, a multiple of kLanes, aligned; whole vectors are readable.
[[maybe_unused]] __attribute__((noinline)) void finish_sums(const DenseTile& t, const Part& p,
                                                            const int32_t* sums, int64_t ld) {
#if defined(SKYLINE_ARCH_avx2)
  if (p.n == 2 * kLanes && t.out == DType::u8) return finish_bytes<uint8_t>(t, p, sums, ld);
  if (p.n == 2 * kLanes && t.out == DType::i8) return finish_bytes<int8_t>(t, p, sums, ld);
#endif
  store_rows(t, p, sums, ld);
}

}  // namespace
}  // namespace skyline::kernels
