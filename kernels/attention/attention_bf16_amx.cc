// Rows of scores and keys in bf16.
#include <math.h>

#include "kernels/attention/attention.h"
#include "kernels/gemm/bf16_planes.h"
#include "kernels/gemm/dense.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kPair = 2 * kLanes;  // numbers of bf16 in a vector

inline __mmask16 lanes_of(int64_t n) {
  return n >= kLanes ? __mmask16{0xffff} : n <= 0 ? __mmask16{0} : first_lanes(n);
}

// Up to 32 numbers, the others 0; what is not finite is told.
inline __m512i numbers(const void* p, DType type, int64_t n, bool& finite) {
  if (type == DType::bf16) {
    const __mmask32 lanes = n >= kPair ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
    const __m512i x = _mm512_maskz_loadu_epi16(lanes, p), exponent = _mm512_set1_epi16(0x7f80);
    finite &= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent) == 0;
    return x;
  }
  auto* from = static_cast<const float*>(p);
  const Planes<1> low(_mm512_maskz_loadu_ps(lanes_of(n), from)),
      high(_mm512_maskz_loadu_ps(lanes_of(n - kLanes), n > kLanes ? from + kLanes : from));
  finite &= (low.not_finite | high.not_finite) == 0;
  return _mm512_inserti64x4(_mm512_castsi256_si512(low.halves[0]), high.halves[0], 1);
}

// Sixteen rows of sixteen words each: rows become columns.
inline void transpose(__m512i (&x)[kLanes]) {
  __m512i y[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  // x[4 * q + c]: column c of each four, of rows 4q to 4q + 3.
#pragma GCC unroll 4
  for (int q = 0; q < 16; q += 4) {
    x[q] = _mm512_unpacklo_epi64(y[q], y[q + 2]);
    x[q + 1] = _mm512_unpackhi_epi64(y[q], y[q + 2]);
    x[q + 2] = _mm512_unpacklo_epi64(y[q + 1], y[q + 3]);
    x[q + 3] = _mm512_unpackhi_epi64(y[q + 1], y[q + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even = _mm512_shuffle_i32x4(x[c], x[4 + c], 0x88),
                  odd = _mm512_shuffle_i32x4(x[c], x[4 + c], 0xdd),
                  even2 = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0x88),
                  odd2 = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0xdd);
    y[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
    y[8 + c] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    y[4 + c] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    y[12 + c] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
  }
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

// Two numbers that lie side by side in a row of K are a word of B.
bool keys(const void* k, DType type, int64_t row, int64_t n, int64_t size, const PanelShape& shape,
          std::byte* to) noexcept {
  bool finite = true;
  const int64_t bytes = type == DType::f32 ? 4 : 2;
  const auto* from = static_cast<const std::byte*>(k);
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t panel = j / shape.nr, stride = shape.stride(panel);
    std::byte* column = to + shape.offset(panel) + j % shape.nr * 4;
    for (int64_t kk = 0; kk < shape.steps * 2; kk += kPair) {
      __m512i x[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const int64_t left = j + i < n && kk < size ? size - kk : 0;
        x[i] = left > 0 ? numbers(from + ((j + i) * row + kk) * bytes, type, left, finite)
                        : _mm512_setzero_si512();
      }
      transpose(x);
      for (int i = 0; i < kLanes; ++i, column += stride) _mm512_storeu_si512(column, x[i]);
    }
  }
  return finite;
}

// Rows of V in pairs: a word of B is a number of each.
bool values(const void* v, DType type, int64_t row, int64_t n, int64_t size, const PanelShape& shape,
            std::byte* to) noexcept {
  bool finite = true;
  const int64_t bytes = type == DType::f32 ? 4 : 2;
  const auto* from = static_cast<const std::byte*>(v);
  // Lane 2i takes number i of the first row, lane 2i + 1 that of the second.
  const __m512i even_lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i low =
      _mm512_or_si512(even_lanes, _mm512_slli_epi32(_mm512_add_epi32(even_lanes, _mm512_set1_epi32(32)), 16));
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(kLanes));
  for (int64_t j = 0; j < size; j += shape.nr) {
    const int64_t panel = j / shape.nr, stride = shape.stride(panel);
    std::byte* step = to + shape.offset(panel);
    for (int64_t kk = 0; kk < shape.steps * 2; kk += 2, step += stride) {
      const auto at = [&](int64_t i) {
        return i < n ? numbers(from + (i * row + j) * bytes, type, size - j, finite) : _mm512_setzero_si512();
      };
      const __m512i even = at(kk), odd = at(kk + 1);
      _mm512_storeu_si512(step, _mm512_permutex2var_epi16(even, low, odd));
      if (stride > 64) _mm512_storeu_si512(step + 64, _mm512_permutex2var_epi16(even, high, odd));
    }
  }
  return finite;
}

// exp(x) within 1e-4 of itself; 0 below 2^-126.
inline __m512 rough_exp(__m512 x) {
  const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f));
  const __m512 whole = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(t, whole);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(0.0551716243f), _mm512_set1_ps(0.242611119f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693260994f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999928074f));
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(t, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ), p, whole);
}

float exponentials(float* s, int64_t n, float m) noexcept {
  const __m512 shift = _mm512_set1_ps(m), none = _mm512_set1_ps(-INFINITY);
  __m512 a = _mm512_setzero_ps(), b = a;
  auto* to = reinterpret_cast<std::byte*>(s);
  const auto step = [&](int64_t i, __mmask16 left, __mmask16 right) {
    const __m512 e = rough_exp(_mm512_sub_ps(_mm512_mask_loadu_ps(none, left, s + i), shift)),
                 f = rough_exp(_mm512_sub_ps(_mm512_mask_loadu_ps(none, right, s + i + kLanes), shift));
    a = _mm512_add_ps(a, e);
    b = _mm512_add_ps(b, f);
    _mm512_storeu_si512(to + 2 * i, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(f, e)));
  };
  int64_t i = 0;
  for (; i + kPair <= n; i += kPair) step(i, 0xffff, 0xffff);
  if (i < n) step(i, lanes_of(n - i), lanes_of(n - i - kLanes));
  return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}

void scale(const float* x, uint16_t* y, int64_t n, float by) noexcept {
  const __m512 f = _mm512_set1_ps(by);
  for (int64_t i = 0; i < n; i += kLanes) {
    const __mmask16 lanes = lanes_of(n - i);
    _mm256_mask_storeu_epi16(y + i, lanes,
                             Planes<1>(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), f)).halves[0]);
  }
}

}  // namespace

constinit const AttentionBf16 attention_bf16_amx = {{.name = "attention_bf16_amx",
                                                     .op = "attention_bf16",
                                                     .needs = kIsaAvx512 | kIsaBf16 | kIsaAmxBf16,
                                                     .in = DType::f32,
                                                     .weights = DType::bf16,
                                                     .acc = DType::f32,
                                                     .out = DType::f32},
                                                    &dense_bf16_amx,
                                                    keys,
                                                    values,
                                                    exponentials,
                                                    scale};

}  // namespace skyline::kernels
