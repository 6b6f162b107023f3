#pragma once
// For the dense kernels: a tile of sums becomes C, column by column of vectors. Integers are rounded as
// requantize.h says.
#include "kernels/gemm/dense.h"
#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

// How sums become bytes. kBounded: packing with saturation is all the clamping there is to do.
struct ByteScaling {
  __m512 scale[2], low, high;
  __m512i bias[2], zero;
};

template <bool kBounded>
inline __m512i scaled(const ByteScaling& s, int v, const int32_t* sums) {
  __m512 x = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(sums), s.bias[v]));
  x = _mm512_mul_ps(x, s.scale[v]);
  if constexpr (!kBounded) x = _mm512_min_ps(s.high, _mm512_max_ps(s.low, x));
  return _mm512_cvtps_epi32(x);
}

template <class T>
inline __m512i pack_bytes(__m512i a, __m512i b, __m512i zero) {
  a = _mm512_adds_epi16(a, zero);
  b = _mm512_adds_epi16(b, zero);
  return std::is_signed_v<T> ? _mm512_packs_epi16(a, b) : _mm512_packus_epi16(a, b);
}

// Rows in pairs: of a pair's four vectors packing makes one, in lanes of 128 bits whose words then go to
// their places. With one column of vectors the pair's second half is not stored.
template <class T, bool kBounded, int kVectors>
inline void finish_rows(const DenseTile& t, const int32_t* sums, int64_t ld, const ByteScaling& s) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto lanes = static_cast<__mmask32>(t.n == 32 ? ~uint32_t{0} : (uint32_t{1} << t.n) - 1);
  for (int64_t i = 0; i < t.m; i += 2, sums += 2 * ld) {
    const int32_t* const second = i + 1 < t.m ? sums + ld : sums;
    const __m512i a = scaled<kBounded>(s, 0, sums), c = scaled<kBounded>(s, 0, second);
    const __m512i b = kVectors == 2 ? scaled<kBounded>(s, 1, sums + kLanes) : a,
                  d = kVectors == 2 ? scaled<kBounded>(s, 1, second + kLanes) : c;
    const __m512i bytes = _mm512_permutexvar_epi32(
        order, pack_bytes<T>(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d), s.zero));
    if (char* const to = t.row(i)) _mm256_mask_storeu_epi8(to, lanes, _mm512_castsi512_si256(bytes));
    if (i + 1 == t.m) break;
    if (char* const to = t.row(i + 1))
      _mm256_mask_storeu_epi8(to, lanes, _mm512_extracti64x4_epi64(bytes, 1));
  }
}

template <class T>
inline void finish_bytes(const DenseTile& t, const int32_t* sums, int64_t ld) {
  constexpr float kLow = std::is_signed_v<T> ? -128.0f : 0.0f, kHigh = std::is_signed_v<T> ? 127.0f : 255.0f;
  const Epilogue& e = t.epilogue;
  const auto z = static_cast<float>(e.zero_point);
  float low = kLow - z, high = kHigh - z;
  if (e.act.fn == Act::relu) low = low < 0 ? 0 : low;
  if (e.act.fn == Act::clip) {
    low = low < e.act.a ? e.act.a : low;
    high = high > e.act.b ? e.act.b : high;
  }
  ByteScaling s;
  s.low = _mm512_set1_ps(low);
  s.high = _mm512_set1_ps(high);
  s.zero = _mm512_set1_epi16(static_cast<short>(e.zero_point));
  // Where sums times scales stay below 2^31, so do the integers that are packed.
  bool bounded = low == kLow - z && high == kHigh - z;
  for (int v = 0; v * kLanes < t.n; ++v) {
    const __mmask16 lanes =
        first_lanes(static_cast<int>(t.n - v * kLanes < kLanes ? t.n - v * kLanes : kLanes));
    s.scale[v] = _mm512_maskz_loadu_ps(lanes, e.scale_n + v * kLanes);
    s.bias[v] =
        e.bias_i32 ? _mm512_maskz_loadu_epi32(lanes, e.bias_i32 + v * kLanes) : _mm512_setzero_si512();
    bounded &= _mm512_cmp_ps_mask(s.scale[v], _mm512_set1_ps(0.99f), _CMP_LT_OQ) == 0xffff;
  }
  if (t.n <= kLanes) {
    bounded ? finish_rows<T, true, 1>(t, sums, ld, s) : finish_rows<T, false, 1>(t, sums, ld, s);
  } else {
    bounded ? finish_rows<T, true, 2>(t, sums, ld, s) : finish_rows<T, false, 2>(t, sums, ld, s);
  }
}

inline void finish_words(const DenseTile& t, const int32_t* sums, int64_t ld) {
  for (int64_t i = 0; i < t.m; ++i) {
    char* const c = t.row(i);
    if (!c) continue;
    for (int64_t j = 0; j < t.n; j += kLanes) {
      const int n = static_cast<int>(t.n - j < kLanes ? t.n - j : kLanes);
      store_integers(c, t.out, t.epilogue, I32::load_aligned(sums + i * ld + j), j, n);
    }
    if (t.out == DType::f32 && t.epilogue.act.fn != Act::none)
      activate_rows(t.epilogue.act, reinterpret_cast<float*>(c), 0, 1, t.n);
  }
}

// sums: t.m rows of t.n values, ld apart, a multiple of 16, aligned; whole vectors are readable.
inline void finish_sums(const DenseTile& t, const int32_t* sums, int64_t ld) {
  if (t.out == DType::u8) {
    finish_bytes<uint8_t>(t, sums, ld);
  } else if (t.out == DType::i8) {
    finish_bytes<int8_t>(t, sums, ld);
  } else {
    finish_words(t, sums, ld);
  }
}

// Nearest even; NaN stays NaN.
inline void store_bf16(uint16_t* p, F32 x, __mmask16 lanes) {
  const __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm512_mask_cvtepi32_storeu_epi16(p, lanes, _mm512_srli_epi32(rounded, 16));
}

// What the residual adds to the n columns from j on of row i.
inline F32 residual_of(const DenseTile& t, int64_t i, int64_t j, int n) {
  const int64_t at = (t.c_offsets ? t.c_offsets[i] / t.c_stride : i) * t.epilogue.ldr + j;
  if (t.epilogue.residual) return load_first(t.epilogue.residual + at, n);
  const __m256i halves = _mm256_maskz_loadu_epi16(first_lanes(n), t.epilogue.residual_bf16 + at);
  return F32(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16)));
}

// store(row, column, the row of C, 16 finished numbers, which of them count)
template <Act F, class Store>
inline void finish_floats(const DenseTile& t, const float* sums, int64_t ld, Store&& store) {
  const Epilogue& e = t.epilogue;
  for (int64_t j = 0; j < t.n; j += kLanes) {
    const int n = static_cast<int>(t.n - j < kLanes ? t.n - j : kLanes);
    const F32 bias = e.bias_n ? load_first(e.bias_n + j, n) : F32(0.0f);
    for (int64_t i = 0; i < t.m; ++i) {
      char* const c = t.row(i);
      if (!c) continue;
      F32 x = F32::load_aligned(sums + i * ld + j) + bias;
      if (e.bias_m) x += F32(e.bias_m[i]);
      if (e.residual || e.residual_bf16) x += residual_of(t, i, j, n);
      store(i, j, c, activate<F>(x, 0, 0), first_lanes(n));
    }
  }
}

template <class Store>
inline void finish_floats(const DenseTile& t, float* sums, int64_t ld, Store&& store) {
  const Activation act = t.epilogue.act;
  if (act.fn == Act::none) return finish_floats<Act::none>(t, sums, ld, store);
  if (act.fn == Act::relu) return finish_floats<Act::relu>(t, sums, ld, store);
  finish_floats<Act::none>(t, sums, ld, [&](int64_t i, int64_t j, char*, F32 x, __mmask16) {
    x.store_aligned(sums + i * ld + j);
  });
  activate_rows(act, sums, ld, t.m, t.n);
  DenseTile plain = t;
  plain.epilogue = {};
  finish_floats<Act::none>(plain, sums, ld, store);
}

// Sums of floats, laid out as for finish_sums; they are lost.
inline void finish_floats(const DenseTile& t, float* sums, int64_t ld) {
  if (t.out == DType::bf16) {
    finish_floats(t, sums, ld, [](int64_t, int64_t j, char* c, F32 x, __mmask16 lanes) {
      store_bf16(reinterpret_cast<uint16_t*>(c) + j, x, lanes);
    });
  } else {
    finish_floats(t, sums, ld, [](int64_t, int64_t j, char* c, F32 x, __mmask16 lanes) {
      _mm512_mask_storeu_ps(reinterpret_cast<float*>(c) + j, lanes, x);
    });
  }
}

}  // namespace
}  // namespace skyline::kernels
