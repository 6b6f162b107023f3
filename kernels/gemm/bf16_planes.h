#pragma once
// For *_amx.cc files: f32 numbers as sums of bf16 numbers, and sums of products of such where there are
// infinities or NaN. The layouts are those of dense.h.
#include "kernels/gemm/dense.h"
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

constexpr int kInfOrNan = 0x99;  // as vfpclassps numbers the classes

// Sixteen numbers, each bf16 plane the low half of a word. Numbers beyond the largest bf16 become that, and
// the rest the next plane, so that none becomes infinite.
template <int kPlanes>
struct Planes {
  __m512i bits[kPlanes];
  __mmask16 not_finite;

  explicit Planes(__m512 x) {
    not_finite = _mm512_fpclass_ps_mask(x, kInfOrNan);
    const __mmask16 finite = _knot_mask16(not_finite);
    const __m512 most = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f0000));
    const __m512 least = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xff7f0000)));
    __m512 head = _mm512_mask_max_ps(x, finite, x, least);
    head = _mm512_mask_min_ps(head, finite, head, most);
    bits[0] = round(head);
#pragma GCC unroll 3
    for (int q = 1; q < kPlanes; ++q) {
      x = _mm512_maskz_sub_ps(finite, x, _mm512_castsi512_ps(_mm512_slli_epi32(bits[q - 1], 16)));
      bits[q] = round(x);
    }
  }
  static __m512i round(__m512 x) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
};

// Elements `stride` apart, 0 <= n <= 16 of them, the others 0.
inline __m512 load_elements(const void* p, DType type, int64_t stride, int n) {
  if (type == DType::bf16) {
    auto* from = static_cast<const uint16_t*>(p);
    if (stride == 1) {
      const __m256i halves = _mm256_maskz_loadu_epi16(first_lanes(n), from);
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
    alignas(64) uint32_t words[kLanes] = {};
    for (int i = 0; i < n; ++i) words[i] = static_cast<uint32_t>(from[i * stride]) << 16;
    return _mm512_load_ps(words);
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
  return static_cast<const std::byte*>(p) + i * (type == DType::bf16 ? 2 : 4);
}

template <int kPlanes>
bool split(const DenseSplit& s) noexcept {
  unsigned not_finite = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    std::byte* to = s.dst + i * s.stride;
    for (int64_t kk = 0; kk < s.padded; kk += kLanes, to += 2 * kLanes) {
      const int64_t left = s.k - kk, room = s.padded - kk;
      const int n = static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes);
      const void* from = at_element(s.a, s.type, i * s.m_stride + kk * s.k_stride);
      const Planes<kPlanes> x(load_elements(from, s.type, s.k_stride, n));
      not_finite |= x.not_finite;
      const __mmask16 lanes = room < kLanes ? first_lanes(room) : 0xffff;
#pragma GCC unroll 3
      for (int q = 0; q < kPlanes; ++q) _mm512_mask_cvtepi32_storeu_epi16(to + q * s.plane, lanes, x.bits[q]);
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

template <int kPlanes>
bool pack(const BSource& src, const DenseRuns& runs, int64_t n, int64_t b_stride, std::byte* to) noexcept {
  const int64_t steps = ((runs.runs * runs.k + 1) / 2 + 15) / 16 * 16, plane = 16 * b_stride;
  memset(to, 0, static_cast<size_t>(runs.lines * steps * kPlanes * b_stride));
  const __m512 alpha = _mm512_set1_ps(src.alpha);
  unsigned not_finite = 0;
  for (int64_t j = 0; j < n; j += kLanes) {
    const int lanes = static_cast<int>(n - j < kLanes ? n - j : kLanes);
    const auto values = [&](int64_t place) {
      const void* from = at_element(src.b, src.type, place + j * src.n_stride);
      const Planes<kPlanes> x(_mm512_mul_ps(load_elements(from, src.type, src.n_stride, lanes), alpha));
      not_finite |= x.not_finite;
      return x;
    };
    std::byte* line = to + j * 4;
    for (int64_t l = 0; l < runs.lines; ++l, line += steps * kPlanes * b_stride) {
      RunsOfK k(runs, src.k_stride, l * runs.line_stride);
      for (int64_t s = 0; !k.done(); ++s) {
        Planes<kPlanes> step = values(k.next());
        if (!k.done()) {
          const Planes<kPlanes> odd = values(k.next());
          for (int q = 0; q < kPlanes; ++q)
            step.bits[q] = _mm512_or_si512(step.bits[q], _mm512_slli_epi32(odd.bits[q], 16));
        }
        std::byte* const at = line + (s / 16 * kPlanes * 16 + s % 16) * b_stride;
        for (int q = 0; q < kPlanes; ++q) _mm512_storeu_si512(at + q * plane, step.bits[q]);
      }
    }
  }
  return not_finite == 0;
}

// What planes, words of high halves, are the parts of. A sum of two planes may round up past the largest f32.
template <int kPlanes>
inline __m512 join(const __m512i (&planes)[kPlanes]) {
  __m512 x = _mm512_castsi512_ps(planes[kPlanes - 1]);
  for (int q = kPlanes - 1; q-- > 0;) x = _mm512_add_ps(_mm512_castsi512_ps(planes[q]), x);
  const __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(_mm512_castsi512_ps(planes[0]), kInfOrNan));
  const __m512 most = _mm512_set1_ps(0x1.fffffep127f), least = _mm512_set1_ps(-0x1.fffffep127f);
  x = _mm512_mask_max_ps(x, finite, x, least);
  return _mm512_mask_min_ps(x, finite, x, most);
}

// Sums as f32 arithmetic gives them, infinities and NaN included; slow.
template <int kPlanes>
void sum_whole_factors(const DenseTile& t, const Place& p, float* sums, int64_t ld) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
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
            x[q] = _mm512_set1_epi32(static_cast<int>(uint32_t{half} << 16));
            const __m512i pair = _mm512_loadu_si512(words + q * 16 * p.b_stride);
            y[q] = kk % 2 ? _mm512_and_si512(pair, high) : _mm512_slli_epi32(pair, 16);
          }
          sum = _mm512_fmadd_ps(join<kPlanes>(x), join<kPlanes>(y), sum);
        }
      }
      _mm512_storeu_ps(sums + i * ld + j, sum);
    }
  }
}

}  // namespace
}  // namespace skyline::kernels
