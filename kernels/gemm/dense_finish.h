#pragma once
// For the dense kernels: a tile of integer sums becomes C, column by column of vectors, as requantize.h
// rounds.
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

}  // namespace
}  // namespace skyline::kernels
