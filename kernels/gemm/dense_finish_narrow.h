#pragma once
// For dense kernels of integers on vectors of 128 or 256 bits: how sums become C.
#include "kernels/gemm/dense_place.h"
#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx2)
// What bytes are clamped to before the zero point is added.
struct ByteLimits {
  float low, high;
};
template <class T>
inline ByteLimits byte_limits(const Epilogue& e) {
  const auto z = static_cast<float>(e.zero_point);
  ByteLimits l{(std::is_signed_v<T> ? -128.0f : 0.0f) - z, (std::is_signed_v<T> ? 127.0f : 255.0f) - z};
  if (e.act.fn == Act::relu && l.low < 0) l.low = 0;
  if (e.act.fn == Act::clip) {
    l.low = l.low < e.act.a ? e.act.a : l.low;
    l.high = l.high > e.act.b ? e.act.b : l.high;
  }
  return l;
}

// Rows of 16 bytes. Packing takes lanes of 128 bits apart; the words then go to their places.
template <class T>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  const Epilogue& e = t.epilogue;
  const ByteLimits limits = byte_limits<T>(e);
  const __m256 low = _mm256_set1_ps(limits.low), high = _mm256_set1_ps(limits.high);
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(e.zero_point));
  __m256 scale[2];
  __m256i bias[2];
  for (int v = 0; v < 2; ++v) {
    scale[v] = _mm256_loadu_ps(e.scale_n + p.col + v * kLanes);
    auto* from = reinterpret_cast<const __m256i*>(e.bias_i32 + p.col + v * kLanes);
    bias[v] = e.bias_i32 ? _mm256_loadu_si256(from) : _mm256_setzero_si256();
  }
  const auto rounded = [&](const int32_t* from, int v) {
    const __m256i sum = _mm256_add_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(from)), bias[v]);
    const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[v]);
    return _mm256_cvtps_epi32(_mm256_min_ps(high, _mm256_max_ps(low, x)));
  };
  for (int64_t i = 0; i < p.m; ++i, sums += ld) {
    char* const c = p.template row_of<T>(t, i);
    if (!c) continue;
    const __m256i words = _mm256_packs_epi32(rounded(sums, 0), rounded(sums + kLanes, 1));
    const __m256i moved = _mm256_add_epi16(words, zero);
    const __m256i bytes =
        std::is_signed_v<T> ? _mm256_packs_epi16(moved, moved) : _mm256_packus_epi16(moved, moved);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(c),
                     _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
  }
}
#endif

// sums: rows of p.n values, ld apart, a multiple of kLanes, aligned; whole vectors are readable.
[[maybe_unused]] __attribute__((noinline)) void finish_sums(const DenseTile& t, const Part& p,
                                                            const int32_t* sums, int64_t ld) {
#if defined(SKYLINE_ARCH_avx2)
  if (p.n == 2 * kLanes && t.out == DType::u8) return finish_bytes<uint8_t>(t, p, sums, ld);
  if (p.n == 2 * kLanes && t.out == DType::i8) return finish_bytes<int8_t>(t, p, sums, ld);
#endif
  for (int64_t i = 0; i < p.m; ++i) {
    char* const c = t.row(p.row + i);
    if (!c) continue;
    for (int64_t j = 0; j < p.n; j += kLanes) {
      const int n = static_cast<int>(p.n - j < kLanes ? p.n - j : kLanes);
      store_integers(c, t.out, t.epilogue, I32::load_aligned(sums + i * ld + j), p.col + j, n);
    }
    if (t.out == DType::f32 && t.epilogue.act.fn != Act::none)
      activate_rows(t.epilogue.act, reinterpret_cast<float*>(c) + p.col, 0, 1, p.n);
  }
}

}  // namespace
}  // namespace skyline::kernels
