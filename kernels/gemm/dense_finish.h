#pragma once
// For the dense kernels: a tile of sums becomes C, column by column of vectors. Integers are rounded as
// requantize.h says.
#include <limits>

#include "kernels/gemm/dense_place.h"
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
template <class T, bool kBounded, int kVectors, class At>
inline void finish_rows(At&& at, int64_t m, __mmask32 lanes, const int32_t* sums, int64_t ld,
                        const ByteScaling& s) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int64_t i = 0; i < m; i += 2, sums += 2 * ld) {
    const int32_t* const second = i + 1 < m ? sums + ld : sums;
    const __m512i a = scaled<kBounded>(s, 0, sums), c = scaled<kBounded>(s, 0, second);
    const __m512i b = kVectors == 2 ? scaled<kBounded>(s, 1, sums + kLanes) : a,
                  d = kVectors == 2 ? scaled<kBounded>(s, 1, second + kLanes) : c;
    const __m512i bytes = _mm512_permutexvar_epi32(
        order, pack_bytes<T>(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d), s.zero));
    if (char* const to = at(i)) _mm256_mask_storeu_epi8(to, lanes, _mm512_castsi512_si256(bytes));
    if (i + 1 == m) break;
    if (char* const to = at(i + 1)) _mm256_mask_storeu_epi8(to, lanes, _mm512_extracti64x4_epi64(bytes, 1));
  }
}

// The clamping that the output's type, its zero point and the activation ask for.
template <class T>
inline bool set_limits(const Epilogue& e, ByteScaling& s) {
  constexpr float kLow = std::is_signed_v<T> ? -128.0f : 0.0f, kHigh = std::is_signed_v<T> ? 127.0f : 255.0f;
  const auto z = static_cast<float>(e.zero_point);
  float low = kLow - z, high = kHigh - z;
  if (e.act.fn == Act::relu) low = low < 0 ? 0 : low;
  if (e.act.fn == Act::clip) {
    low = low < e.act.a ? e.act.a : low;
    high = high > e.act.b ? e.act.b : high;
  }
  s.low = _mm512_set1_ps(low);
  s.high = _mm512_set1_ps(high);
  s.zero = _mm512_set1_epi16(static_cast<short>(e.zero_point));
  return low == kLow - z && high == kHigh - z;
}
// Where sums times scales stay below 2^31, so do the integers that are packed.
inline bool scales_are_small(const Epilogue& e, int64_t col, int64_t n) {
  unsigned large = 0;
  for (int64_t j = 0; j < n; j += kLanes) {
    const __mmask16 lanes = n - j < kLanes ? first_lanes(n - j) : __mmask16{0xffff};
    const __m512 scale = _mm512_maskz_loadu_ps(lanes, e.scale_n + col + j);
    large |= _mm512_cmp_ps_mask(scale, _mm512_set1_ps(0.99f), _CMP_NLT_UQ);
  }
  return large == 0;
}
inline void set_columns(const Epilogue& e, const Part& p, ByteScaling& s) {
  for (int v = 0; v * kLanes < p.n; ++v) {
    const __mmask16 lanes = p.lanes(v * kLanes);
    s.scale[v] = _mm512_maskz_loadu_ps(lanes, e.scale_n + p.col + v * kLanes);
    s.bias[v] = e.bias_i32 ? _mm512_maskz_loadu_epi32(lanes, e.bias_i32 + p.col + v * kLanes)
                           : _mm512_setzero_si512();
  }
}

template <class T>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  ByteScaling s;
  const bool bounded = set_limits<T>(t.epilogue, s) && scales_are_small(t.epilogue, p.col, p.n);
  set_columns(t.epilogue, p, s);
  const auto lanes = static_cast<__mmask32>(p.n == 32 ? ~uint32_t{0} : (uint32_t{1} << p.n) - 1);
  const auto at = [&](int64_t i) { return p.template row_of<T>(t, i); };
  if (p.n <= kLanes) {
    bounded ? finish_rows<T, true, 1>(at, p.m, lanes, sums, ld, s)
            : finish_rows<T, false, 1>(at, p.m, lanes, sums, ld, s);
  } else {
    bounded ? finish_rows<T, true, 2>(at, p.m, lanes, sums, ld, s)
            : finish_rows<T, false, 2>(at, p.m, lanes, sums, ld, s);
  }
}

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

inline void finish_words(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  for (int64_t i = 0; i < p.m; ++i) {
    char* const c = t.row(p.row + i);
    if (!c) continue;
    for (int64_t j = 0; j < p.n; j += kLanes) {
      const int n = static_cast<int>(p.n - j < kLanes ? p.n - j : kLanes);
      store_integers(c, t.out, t.epilogue, I32::load_aligned(sums + i * ld + j), p.col + j, n);
    }
    if (t.epilogue.act.fn != Act::none)
      activate_rows(t.epilogue.act, reinterpret_cast<float*>(c) + p.col, 0, 1, p.n);
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
    finish_words(t, p, sums, ld);
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

// How whole rows of 32 columns of a block are finished, made for a block once and called between the tile
// products of another tile. That is to be inlined: as functions, the same code cost a quarter of the speed of
// all (Xeon, model 143).
// `row` of a block, 32 columns of T from `col` on; null if not wanted.
struct Rows {
  char* const c;
  const int64_t c_stride;
  const int64_t* const offsets;
  explicit Rows(const DenseTile& t)
      : c(static_cast<char*>(t.c)), c_stride(t.c_stride), offsets(t.c_offsets) {}
  char* at(int64_t row, int64_t col_bytes) const {
    if (!offsets) return c + row * c_stride + col_bytes;
    return offsets[row] < 0 ? nullptr : c + offsets[row] + col_bytes;
  }
};

// Sums become bytes. kBounded as for ByteScaling; kZero: there is a zero point.
template <class T, bool kBounded, bool kZero>
struct FinishBytes {
  Rows c;
  const float* scale;
  const int32_t* bias;
  ByteScaling s;
  explicit FinishBytes(const DenseTile& t) : c(t), scale(t.epilogue.scale_n), bias(t.epilogue.bias_i32) {
    set_limits<T>(t.epilogue, s);
  }

  struct Columns {
    __m512 scale;
    __m512i bias;
  };
  Columns columns(int64_t col) const {
    return {_mm512_loadu_ps(scale + col), bias ? _mm512_loadu_si512(bias + col) : _mm512_setzero_si512()};
  }
  template <class At>
  __attribute__((always_inline)) void pairs(int64_t rows, const int32_t* sums, const Columns& left,
                                            const Columns& right, At&& at) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const auto rounded = [&](const int32_t* from, const Columns& by) {
      __m512 x = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(from), by.bias));
      x = _mm512_mul_ps(x, by.scale);
      if constexpr (!kBounded) x = _mm512_min_ps(s.high, _mm512_max_ps(s.low, x));
      return _mm512_cvtps_epi32(x);
    };
    // An odd last row's neighbour is room that holds anything.
    for (int64_t i = 0; i < rows; i += 2, sums += 64) {
      __m512i one = _mm512_packs_epi32(rounded(sums, left), rounded(sums + 16, right)),
              two = _mm512_packs_epi32(rounded(sums + 32, left), rounded(sums + 48, right));
      if constexpr (kZero) {
        one = _mm512_adds_epi16(one, s.zero);
        two = _mm512_adds_epi16(two, s.zero);
      }
      const __m512i bytes = _mm512_permutexvar_epi32(
          order, std::is_signed_v<T> ? _mm512_packs_epi16(one, two) : _mm512_packus_epi16(one, two));
      if (char* const to = at(i))
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
      if (i + 1 == rows) break;
      if (char* const to = at(i + 1))
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_extracti64x4_epi64(bytes, 1));
    }
  }
  __attribute__((always_inline)) void operator()(int64_t row, int64_t col, int64_t rows,
                                                 const std::byte* from) {
    auto* const sums = reinterpret_cast<const int32_t*>(from);
    const Columns left = columns(col), right = columns(col + kLanes);
    char* const to = c.c + col;
    if (c.offsets) {
      const int64_t* const offsets = c.offsets + row;
      pairs(rows, sums, left, right, [=](int64_t i) { return offsets[i] < 0 ? nullptr : to + offsets[i]; });
    } else {
      const int64_t stride = c.c_stride;
      char* const first = to + row * stride;
      pairs(rows, sums, left, right, [=](int64_t i) { return first + i * stride; });
    }
  }
};

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
