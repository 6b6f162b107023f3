#pragma once
// For dense kernels of floats on AVX-512: rows and panels of 16-bit numbers made from f32, bf16 or f16, and
// sums of products in f32 arithmetic, where that of the kernel cannot hold them. The layouts are those of
// dense.h.
//
// Factor is how sixteen numbers are stored: from f32 (its constructor) to kPlanes times sixteen `halves`, and
// back (value, from words whose low halves they are); not_finite: the lanes of infinities and NaN.
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

// Elements `stride` apart, 0 <= n <= 16 of them, the others 0.
inline __m512 load_elements(const void* p, DType type, int64_t stride, int n) {
  if (type != DType::f32) {
    auto* halves = static_cast<const uint16_t*>(p);
    alignas(32) uint16_t together[kLanes] = {};
    if (stride != 1) {
      for (int i = 0; i < n; ++i) together[i] = halves[i * stride];
      halves = together;
    }
    const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(n), halves);
    if (type == DType::f16) return _mm512_cvtph_ps(bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  auto* from = static_cast<const float*>(p);
  if (stride == 1) return _mm512_maskz_loadu_ps(first_lanes(n), from);
  if (stride < int64_t{1} << 27) {  // 15 strides fit into 32 bits
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i at = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(stride)));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), first_lanes(n), at, from, 4);
  }
  alignas(64) float values[kLanes] = {};
  for (int i = 0; i < n; ++i) values[i] = from[i * stride];
  return _mm512_load_ps(values);
}

inline const std::byte* at_element(const void* p, DType type, int64_t i) {
  return static_cast<const std::byte*>(p) + i * (type == DType::f32 ? 4 : 2);
}

// Rows that are bf16 already: whether all is finite.
inline bool copy_bf16(const DenseSplit& s) noexcept {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 not_finite = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    auto* const from = static_cast<const uint16_t*>(s.a) + i * s.m_stride;
    auto* const to = reinterpret_cast<uint16_t*>(s.dst + i * s.stride);
    const auto step = [&](int64_t kk, __mmask32 read, __mmask32 written) {
      const __m512i x = _mm512_maskz_loadu_epi16(read, from + kk);
      not_finite |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
      _mm512_mask_storeu_epi16(to + kk, written, x);
    };
    const auto first = [](int64_t n) { return static_cast<__mmask32>((uint64_t{1} << n) - 1); };
    int64_t kk = 0;
    for (; kk + 32 <= s.k; kk += 32) step(kk, ~__mmask32{0}, ~__mmask32{0});
    for (; kk < s.padded; kk += 32) {
      const int64_t left = s.k - kk, room = s.padded - kk;
      step(kk, left > 0 ? first(left) : 0, room < 32 ? first(room) : ~__mmask32{0});
    }
  }
  return not_finite == 0;
}

template <class Factor>
bool split(const DenseSplit& s) noexcept {
  constexpr int kPlanes = Factor::kPlanes;
  if constexpr (kPlanes == 1 && Factor::kBf16) {
    if (s.type == DType::bf16 && s.k_stride == 1) return copy_bf16(s);
  }
  unsigned not_finite = 0;
  const int64_t whole = s.type == DType::f32 && s.k_stride == 1 ? s.k / kLanes * kLanes : 0;
  for (int64_t i = 0; i < s.m; ++i) {
    std::byte* to = s.dst + i * s.stride;
    int64_t kk = 0;
    for (auto* from = static_cast<const float*>(s.a) + i * s.m_stride; kk < whole; kk += kLanes, to += 32) {
      const Factor x(_mm512_loadu_ps(from + kk));
      not_finite |= x.not_finite;
#pragma GCC unroll 3
      for (int q = 0; q < kPlanes; ++q)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + q * s.plane), x.halves[q]);
    }
    for (; kk < s.padded; kk += kLanes, to += 32) {
      const int64_t left = s.k - kk, room = s.padded - kk;
      const int n = static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes);
      const void* from = at_element(s.a, s.type, i * s.m_stride + kk * s.k_stride);
      const Factor x(load_elements(from, s.type, s.k_stride, n));
      not_finite |= x.not_finite;
      const __mmask16 lanes = room < kLanes ? first_lanes(room) : __mmask16{0xffff};
      for (int q = 0; q < kPlanes; ++q) _mm256_mask_storeu_epi16(to + q * s.plane, lanes, x.halves[q]);
    }
  }
  return not_finite == 0;
}

// The values of K of a line, in runs.
struct RunsOfK {
  const DenseRuns& runs;
  int64_t k_stride, at, kk = 0, r = 0;
  RunsOfK(const DenseRuns& runs, int64_t k_stride, int64_t first)
      : runs(runs), k_stride(k_stride), at(first) {}
  bool done() const { return r == runs.runs || runs.k == 0; }
  int64_t next() {  // its place in the source
    const int64_t place = at + kk * k_stride;
    if (++kk == runs.k) {
      kk = 0;
      ++r;
      at += runs.run_stride;
    }
    return place;
  }
};

template <class Factor>
bool pack(const BSource& src, const DenseRuns& runs, int64_t steps, int64_t n, int64_t b_stride,
          std::byte* to) noexcept {
  constexpr int kPlanes = Factor::kPlanes;
  const int64_t plane = 16 * b_stride;
  memset(to, 0, static_cast<size_t>(runs.lines * steps * kPlanes * b_stride));
  const __m512 alpha = _mm512_set1_ps(src.alpha);
  unsigned not_finite = 0;
  for (int64_t j = 0; j < n; j += kLanes) {
    const int lanes = static_cast<int>(n - j < kLanes ? n - j : kLanes);
    const auto values = [&](int64_t place) {
      const void* from = at_element(src.b, src.type, place + j * src.n_stride);
      const Factor x(_mm512_mul_ps(load_elements(from, src.type, src.n_stride, lanes), alpha));
      not_finite |= x.not_finite;
      return x;
    };
    std::byte* line = to + j * 4;
    for (int64_t l = 0; l < runs.lines; ++l, line += steps * kPlanes * b_stride) {
      RunsOfK k(runs, src.k_stride, l * runs.line_stride);
      for (int64_t s = 0; !k.done(); ++s) {
        const Factor even = values(k.next());
        __m512i words[kPlanes];
        for (int q = 0; q < kPlanes; ++q) words[q] = _mm512_cvtepu16_epi32(even.halves[q]);
        if (!k.done()) {
          const Factor odd = values(k.next());
          for (int q = 0; q < kPlanes; ++q)
            words[q] = _mm512_or_si512(words[q], _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd.halves[q]), 16));
        }
        std::byte* const at = line + (s / 16 * kPlanes * 16 + s % 16) * b_stride;
        for (int q = 0; q < kPlanes; ++q) _mm512_storeu_si512(at + q * plane, words[q]);
      }
    }
  }
  return not_finite == 0;
}

// Sums as f32 arithmetic gives them, infinities and NaN included; slow.
template <class Factor>
void sum_whole_factors(const DenseTile& t, const Place& p, float* sums, int64_t ld) {
  constexpr int kPlanes = Factor::kPlanes;
  for (int64_t i = 0; i < p.part.m; ++i) {
    for (int64_t j = 0; j < p.part.n; j += kLanes) {
      __m512 sum = _mm512_setzero_ps();
      const std::byte* b = p.b + j * 4;
      for (int64_t l = 0; l < t.lines; ++l, b += t.steps * kPlanes * p.b_stride) {
        const std::byte* const a = p.a + i * t.a_stride + l * t.line_stride;
        for (int64_t kk = 0; kk < t.k; ++kk) {
          const int64_t s = kk / 2;
          const std::byte* const words = b + (s / 16 * kPlanes * 16 + s % 16) * p.b_stride;
          __m512i x[kPlanes], y[kPlanes];
          for (int q = 0; q < kPlanes; ++q) {
            uint16_t half;
            memcpy(&half, a + q * t.a_plane + 2 * kk, 2);
            x[q] = _mm512_set1_epi32(half);
            const __m512i pair = _mm512_loadu_si512(words + q * 16 * p.b_stride);
            y[q] = kk % 2 ? _mm512_srli_epi32(pair, 16) : _mm512_and_si512(pair, _mm512_set1_epi32(0xffff));
          }
          sum = _mm512_fmadd_ps(Factor::value(x), Factor::value(y), sum);
        }
      }
      _mm512_storeu_ps(sums + i * ld + j, sum);
    }
  }
}

}  // namespace
}  // namespace skyline::kernels
