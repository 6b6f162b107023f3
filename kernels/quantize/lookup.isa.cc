// A table of 256 is sixteen of 16, which shuffles of bytes index. Which of them a code means is its high
// half: code - 16 k is below 16 for one k only, and adding 0x70 with saturation sets the top bit of all
// others, which makes a shuffle give 0.
#include "kernels/quantize/lookup.h"

#include "kernels/base/lanes.h"

#if defined(SKYLINE_ARCH_avx2) || defined(SKYLINE_ARCH_avx512)
#include <immintrin.h>
#elif defined(SKYLINE_ARCH_neon)
#include <arm_neon.h>
#endif

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
inline int64_t whole(const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table) noexcept {
  __m512i parts[16];
  for (int k = 0; k < 16; ++k) {
    parts[k] = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * k)));
  }
  const __m512i sixteen = _mm512_set1_epi8(16), top = _mm512_set1_epi8(0x70);
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512i code = _mm512_loadu_si512(x + i), found = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) {
      found = _mm512_or_si512(found, _mm512_shuffle_epi8(parts[k], _mm512_adds_epu8(code, top)));
      code = _mm512_sub_epi8(code, sixteen);
    }
    _mm512_storeu_si512(y + i, found);
  }
  return i;
}
#elif defined(SKYLINE_ARCH_avx2)
inline int64_t whole(const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table) noexcept {
  const __m256i sixteen = _mm256_set1_epi8(16), top = _mm256_set1_epi8(0x70);
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {  // two at a time share the loads of the table
    __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i)),
            b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i + 32));
    __m256i u = _mm256_setzero_si256(), v = u;
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) {
      const __m256i part =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * k)));
      u = _mm256_or_si256(u, _mm256_shuffle_epi8(part, _mm256_adds_epu8(a, top)));
      v = _mm256_or_si256(v, _mm256_shuffle_epi8(part, _mm256_adds_epu8(b, top)));
      a = _mm256_sub_epi8(a, sixteen);
      b = _mm256_sub_epi8(b, sixteen);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), u);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i + 32), v);
  }
  return i;
}
#elif defined(SKYLINE_ARCH_neon)
// Of 64 entries each; codes beyond a part leave what is there.
inline int64_t whole(const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table) noexcept {
  uint8x16x4_t parts[4];
  for (int k = 0; k < 4; ++k) parts[k] = vld1q_u8_x4(table + 64 * k);
  const uint8x16_t step = vdupq_n_u8(64);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    uint8x16_t code = vld1q_u8(x + i);
    uint8x16_t found = vqtbl4q_u8(parts[0], code);
    for (int k = 1; k < 4; ++k) {
      code = vsubq_u8(code, step);
      found = vqtbx4q_u8(found, parts[k], code);
    }
    vst1q_u8(y + i, found);
  }
  return i;
}
#else
inline int64_t whole(const uint8_t*, uint8_t*, int64_t, const uint8_t*) noexcept {
  return 0;
}
#endif

void run(const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table) noexcept {
  for (int64_t i = whole(x, y, n, table); i < n; ++i) y[i] = table[x[i]];
}

}  // namespace

constinit const LookupKernel SKYLINE_TAGGED(lookup) = {{.name = SKYLINE_TEXT(SKYLINE_TAGGED(lookup)),
                                                        .op = "lookup",
                                                        .needs = kLevelBit,
                                                        .in = DType::u8,
                                                        .out = DType::u8},
                                                       run};

}  // namespace skyline::kernels
