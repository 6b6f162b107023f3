#pragma once
// For the dense kernels: a tile of sums becomes C, column by column of vectors. Integers are rounded as
// requantize.h says.
#include "kernels/gemm/dense.h"
#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

// 16 lanes of sums, bias added, to u8 or i8.
template <class T>
inline void store_bytes(T* p, I32 sum, F32 scale, F32 lo, F32 hi, I32 zero, __mmask16 lanes) {
  const F32 x = clip(xsimd::to_float(sum) * scale, lo, hi);
  _mm_mask_storeu_epi8(p, lanes, _mm512_cvtepi32_epi8(round_i32(x) + zero));
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
  const F32 lo(low), hi(high);
  const I32 zero(e.zero_point);
  for (int64_t j = 0; j < t.n; j += kLanes) {
    const int n = static_cast<int>(t.n - j < kLanes ? t.n - j : kLanes);
    const __mmask16 lanes = first_lanes(n);
    const F32 scale = load_first(e.scale_n + j, n);
    const I32 bias = e.bias_i32 ? load_first(e.bias_i32 + j, n) : I32(0);
    const int32_t* s = sums + j;
    for (int64_t i = 0; i < t.m; ++i, s += ld) {
      char* const c = t.row(i);
      if (c)
        store_bytes(reinterpret_cast<T*>(c + j), I32::load_aligned(s) + bias, scale, lo, hi, zero, lanes);
    }
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

inline const float* residual_row(const DenseTile& t, int64_t i) {
  const int64_t row = t.c_offsets ? t.c_offsets[i] / t.c_stride : i;
  return t.epilogue.residual + row * t.epilogue.ldr;
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
      if (e.residual) x += load_first(residual_row(t, i) + j, n);
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
