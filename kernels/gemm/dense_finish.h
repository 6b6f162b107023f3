#pragma once
// For the dense kernels on vectors of 512 bits: a tile of sums becomes C, column by column of vectors.
#include "kernels/gemm/dense_finish_bytes.h"

namespace skyline::kernels {
namespace {

// Sums as they are, plus the bias.
inline void finish_plain(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  for (int64_t j = 0; j < p.n; j += kLanes) {
    const __mmask16 lanes = p.lanes(j);
    const int32_t* const from = t.epilogue.bias_i32;
    const __m512i bias = from ? _mm512_maskz_loadu_epi32(lanes, from + p.col + j) : _mm512_setzero_si512();
    for (int64_t i = 0; i < p.m; ++i) {
      auto* const c = reinterpret_cast<int32_t*>(p.row_of<int32_t>(t, i));
      if (!c) continue;
      const __m512i x = _mm512_add_epi32(_mm512_load_si512(sums + i * ld + j), bias);
      _mm512_mask_storeu_epi32(c + j, lanes, x);
    }
  }
}

// sums: rows of p.n values, ld apart, a multiple of 16, aligned; whole vectors are readable. p is at most 32
// wide.
[[maybe_unused]] __attribute__((noinline)) void finish_sums(const DenseTile& t, const Part& p,
                                                            const int32_t* sums, int64_t ld) {
  if (t.out == DType::u8) {
    finish_bytes<uint8_t>(t, p, sums, ld);
  } else if (t.out == DType::i8) {
    finish_bytes<int8_t>(t, p, sums, ld);
  } else if (t.out == DType::i32) {
    finish_plain(t, p, sums, ld);
  } else {
    store_rows(t, p, sums, ld);
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

// Element `at` of the residual and the 15 behind it, in the type that it has.
inline F32 residual_at(const float* floats, const uint16_t* halves, int64_t at, __mmask16 lanes) {
  if (floats) return F32(_mm512_maskz_loadu_ps(lanes, floats + at));
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, halves + at));
  return F32(_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)));
}
inline bool has_residual(const Epilogue& e) {
  return e.residual || e.residual_bf16;
}

struct StoreF32 {
  using Type = float;
  static void store(char* c, int64_t j, F32 x, __mmask16 lanes) {
    _mm512_mask_storeu_ps(reinterpret_cast<float*>(c) + j, lanes, x);
  }
};
struct StoreBf16 {
  using Type = uint16_t;
  static void store(char* c, int64_t j, F32 x, __mmask16 lanes) {
    store_bf16(reinterpret_cast<uint16_t*>(c) + j, x, lanes);
  }
};

struct StoreF16 {
  using Type = uint16_t;
  static void store(char* c, int64_t j, F32 x, __mmask16 lanes) {
    const __m256i halves = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(reinterpret_cast<uint16_t*>(c) + j, lanes, halves);
  }
};

// copy: where the rows go, 32 numbers apart, in place of C.
template <class Store, Act F, bool kBias>
inline void finish_rows(const DenseTile& t, const Part& p, const float* sums, int64_t ld,
                        float* copy = nullptr) {
  const Epilogue& e = t.epilogue;
  for (int64_t j = 0; j < p.n; j += kLanes) {
    const __mmask16 lanes = p.lanes(j);
    F32 bias(0.0f);
    if (kBias && e.bias_n) bias = _mm512_maskz_loadu_ps(lanes, e.bias_n + p.col + j);
    for (int64_t i = 0; i < p.m; ++i) {
      char* c = p.template row_of<typename Store::Type>(t, i);
      if (!c) continue;
      if (copy) c = reinterpret_cast<char*>(copy + i * 32);
      F32 x = F32::load_aligned(sums + i * ld + j);
      if constexpr (kBias) {
        x += bias;
        if (e.bias_m) x += F32(e.bias_m[p.row + i]);
        if (has_residual(e)) {
          const int64_t row = t.c_offsets ? t.c_offsets[p.row + i] / t.c_stride : p.row + i;
          x += residual_at(e.residual, e.residual_bf16, row * e.ldr + p.col + j, lanes);
        }
      }
      Store::store(c, j, activate<F>(x, 0, 0), lanes);
    }
  }
}

// With an activation that is better applied to rows: through a copy.
template <class Store>
__attribute__((noinline)) void finish_activated(const DenseTile& t, const Part& p, const float* sums,
                                                int64_t ld) {
  constexpr int64_t kWidth = 32;
  alignas(64) float rows[32 * kWidth] = {};  // those that are not wanted, too, are activated
  finish_rows<StoreF32, Act::none, true>(t, p, sums, ld, rows);
  activate_rows(t.epilogue.act, rows, kWidth, p.m, p.n);
  finish_rows<Store, Act::none, false>(t, p, rows, kWidth);
}

template <class Store>
inline void finish_floats(const DenseTile& t, const Part& p, const float* sums, int64_t ld) {
  const Act fn = t.epilogue.act.fn;
  if (fn == Act::none) return finish_rows<Store, Act::none, true>(t, p, sums, ld);
  if (fn == Act::relu) return finish_rows<Store, Act::relu, true>(t, p, sums, ld);
  finish_activated<Store>(t, p, sums, ld);
}

// Sums of floats, laid out as for finish_sums; p is of up to 32 rows and columns.
[[maybe_unused]] __attribute__((noinline)) void finish_floats(const DenseTile& t, const Part& p,
                                                              const float* sums, int64_t ld) {
  if (t.out == DType::bf16) return finish_floats<StoreBf16>(t, p, sums, ld);
  if (t.out == DType::f16) return finish_floats<StoreF16>(t, p, sums, ld);
  finish_floats<StoreF32>(t, p, sums, ld);
}

// The same as FinishBytes for i32.
struct FinishWords {
  Rows c;
  const int32_t* bias;
  explicit FinishWords(const DenseTile& t) : c(t), bias(t.epilogue.bias_i32) {}
  __attribute__((always_inline)) void operator()(int64_t row, int64_t col, int64_t rows,
                                                 const std::byte* from) {
    const __m512i left = bias ? _mm512_loadu_si512(bias + col) : _mm512_setzero_si512(),
                  right = bias ? _mm512_loadu_si512(bias + col + kLanes) : _mm512_setzero_si512();
    for (int64_t i = 0; i < rows; ++i, from += 128) {
      char* const to = c.at(row + i, col * 4);
      if (!to) continue;
      _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_load_si512(from), left));
      _mm512_storeu_si512(to + 64, _mm512_add_epi32(_mm512_load_si512(from + 64), right));
    }
  }
};

}  // namespace
}  // namespace skyline::kernels
