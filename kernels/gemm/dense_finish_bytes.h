#pragma once
// For the dense kernels on vectors of 512 bits: sums become bytes, rounded as requantize.h says.
#include "kernels/gemm/dense_store.h"

namespace skyline::kernels {
namespace {

// What there is to do besides scaling, and how: packing with saturation may do all the clamping.
enum class ByteForm : uint8_t { plain, zero, clamped, codes_last, codes_first };
constexpr bool takes_codes(ByteForm f) {
  return f >= ByteForm::codes_last;
}

struct ByteScaling {
  __m512 low, high;
  __m512i zero;
  __m512 up, down, own, other, fixed;  // for sums with codes, see kRounder
  // From a byte of C to that of the codes: they start here, C there.
  const char *codes, *c;
  const char* codes_at(const char* to) const { return to ? codes + (to - c) : kNone; }
  static constexpr char kNone[32] = {};
};
// The other codes of a row, widened.
struct ByteCodes {
  __m512i left, right;
};
// Of a vector of columns.
struct ByteColumns {
  __m512 scale;
  __m512i bias;
};

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

// For columns [col, col + n) of the block.
template <class T>
inline ByteForm byte_form(const Epilogue& e, int64_t col, int64_t n) {
  const Sum sum = sum_of(e);
  if (sum != Sum::none) return sum == Sum::codes_last ? ByteForm::codes_last : ByteForm::codes_first;
  const ByteLimits l = byte_limits<T>(e);
  const auto z = static_cast<float>(e.zero_point);
  if (l.low != kLowest<T> - z || l.high != kHighest<T> - z || !scales_are_small(e, col, n))
    return ByteForm::clamped;
  return e.zero_point ? ByteForm::zero : ByteForm::plain;
}

template <class T>
inline ByteScaling byte_scaling(const DenseTile& t) {
  const Epilogue& e = t.epilogue;
  const ByteLimits l = byte_limits<T>(e);
  ByteScaling s;
  s.low = _mm512_set1_ps(l.low);
  s.high = _mm512_set1_ps(l.high);
  s.zero = _mm512_set1_epi16(static_cast<short>(e.zero_point));
  s.up = _mm512_set1_ps(kRounder);
  s.down = _mm512_set1_ps(kRounder - static_cast<float>(e.zero_point));
  s.own = _mm512_set1_ps(e.sum.own);
  s.other = _mm512_set1_ps(e.sum.other);
  s.fixed = _mm512_set1_ps(e.sum.fixed);
  s.codes = reinterpret_cast<const char*>(e.codes);
  s.c = static_cast<const char*>(t.c);
  return s;
}

// A vector of sums as integers: codes but for the zero point, or with other codes all that they are.
template <ByteForm kForm>
inline __m512i rounded(const ByteScaling& s, const ByteColumns& by, const int32_t* sums, __m512i codes) {
  __m512 x = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(sums), by.bias));
  x = _mm512_mul_ps(x, by.scale);
  if constexpr (kForm >= ByteForm::clamped) x = _mm512_min_ps(_mm512_max_ps(x, s.low), s.high);
  if constexpr (takes_codes(kForm)) {
    const __m512 c = _mm512_sub_ps(_mm512_add_ps(x, s.up), s.down), r = _mm512_cvtepi32_ps(codes);
    x = kForm == ByteForm::codes_first ? _mm512_fmadd_ps(c, s.own, _mm512_fmadd_ps(r, s.other, s.fixed))
                                       : _mm512_fmadd_ps(r, s.other, _mm512_fmadd_ps(c, s.own, s.fixed));
  }
  return _mm512_cvtps_epi32(x);
}

template <class T>
inline __m512i widened(__m128i codes) {
  return std::is_signed_v<T> ? _mm512_cvtepi8_epi32(codes) : _mm512_cvtepu8_epi32(codes);
}

// Rows of up to 32 bytes, in pairs: of a pair's four vectors packing makes one, in lanes of 128 bits whose
// words then go to their places. With one vector of columns the pair's second half is not stored.
template <class T, ByteForm kForm, int kVectors, bool kWhole>
struct ByteRows {
  const ByteScaling& s;
  const ByteColumns left, right;
  __mmask32 lanes;  // unless kWhole

  ByteCodes codes(const char* to) const {
    if constexpr (!takes_codes(kForm)) return {_mm512_setzero_si512(), _mm512_setzero_si512()};
    const char* const from = s.codes_at(to);
    const auto* const halves = reinterpret_cast<const __m128i*>(from);
    if constexpr (kWhole)
      return {widened<T>(_mm_loadu_si128(halves)), widened<T>(_mm_loadu_si128(halves + 1))};
    const __m256i both = _mm256_maskz_loadu_epi8(lanes, from);
    return {widened<T>(_mm256_castsi256_si128(both)), widened<T>(_mm256_extracti128_si256(both, 1))};
  }
  __m512i words(const int32_t* sums, const ByteCodes& r) const {
    const __m512i a = rounded<kForm>(s, left, sums, r.left);
    const __m512i b = kVectors == 2 ? rounded<kForm>(s, right, sums + kLanes, r.right) : a;
    const __m512i both = _mm512_packs_epi32(a, b);
    return kForm == ByteForm::zero || kForm == ByteForm::clamped ? _mm512_adds_epi16(both, s.zero) : both;
  }
  void store(char* to, __m256i bytes) const {
    if (!to) return;
    if constexpr (kWhole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    } else {
      _mm256_mask_storeu_epi8(to, lanes, bytes);
    }
  }

  // at(i): where row i goes, or null. Behind an odd last row's sums there may be nothing.
  template <class At>
  __attribute__((always_inline)) void run(int64_t rows, const int32_t* sums, int64_t ld, At&& at) const {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int64_t i = 0; i < rows; i += 2, sums += 2 * ld) {
      const bool pair = i + 1 < rows;
      char *const first = at(i), *const second = pair ? at(i + 1) : nullptr;
      const __m512i one = words(sums, codes(first)), two = words(pair ? sums + ld : sums, codes(second));
      const __m512i bytes = _mm512_permutexvar_epi32(
          order, std::is_signed_v<T> ? _mm512_packs_epi16(one, two) : _mm512_packus_epi16(one, two));
      store(first, _mm512_castsi512_si256(bytes));
      store(second, _mm512_extracti64x4_epi64(bytes, 1));
    }
  }
};

template <class T, ByteForm kForm>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  const ByteScaling s = byte_scaling<T>(t);
  const auto columns = [&](int64_t j) -> ByteColumns {
    const __mmask16 lanes = j < p.n ? p.lanes(j) : __mmask16{0};
    const int32_t* const bias = t.epilogue.bias_i32;
    return {_mm512_maskz_loadu_ps(lanes, t.epilogue.scale_n + p.col + j),
            bias ? _mm512_maskz_loadu_epi32(lanes, bias + p.col + j) : _mm512_setzero_si512()};
  };
  const auto lanes = static_cast<__mmask32>(p.n == 32 ? ~uint32_t{0} : (uint32_t{1} << p.n) - 1);
  const auto at = [&](int64_t i) { return p.template row_of<T>(t, i); };
  if (p.n <= kLanes) {
    const ByteColumns one = columns(0);
    ByteRows<T, kForm, 1, false>{s, one, one, lanes}.run(p.m, sums, ld, at);
  } else {
    ByteRows<T, kForm, 2, false>{s, columns(0), columns(kLanes), lanes}.run(p.m, sums, ld, at);
  }
}
template <class T>
inline void finish_bytes(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  switch (byte_form<T>(t.epilogue, p.col, p.n)) {
    case ByteForm::plain:
    case ByteForm::zero:
      return finish_bytes<T, ByteForm::zero>(t, p, sums, ld);
    case ByteForm::clamped:
      return finish_bytes<T, ByteForm::clamped>(t, p, sums, ld);
    case ByteForm::codes_last:
      return finish_bytes<T, ByteForm::codes_last>(t, p, sums, ld);
    case ByteForm::codes_first:
      return finish_bytes<T, ByteForm::codes_first>(t, p, sums, ld);
  }
}

// How whole rows of 32 columns of a block are finished, made for a block once and called between the tile
// products of another tile. That is to be inlined: as functions, the same code cost a quarter of the speed of
// all (Xeon, model 143).
template <class T, ByteForm kForm>
struct FinishBytes {
  Rows c;
  const float* scale;
  const int32_t* bias;
  ByteScaling s;
  explicit FinishBytes(const DenseTile& t)
      : c(t), scale(t.epilogue.scale_n), bias(t.epilogue.bias_i32), s(byte_scaling<T>(t)) {}

  ByteColumns columns(int64_t col) const {
    return {_mm512_loadu_ps(scale + col), bias ? _mm512_loadu_si512(bias + col) : _mm512_setzero_si512()};
  }
  __attribute__((always_inline)) void operator()(int64_t row, int64_t col, int64_t rows,
                                                 const std::byte* from) {
    auto* const sums = reinterpret_cast<const int32_t*>(from);
    const ByteRows<T, kForm, 2, true> to_bytes{s, columns(col), columns(col + kLanes), 0};
    char* const to = c.c + col;
    if (c.offsets) {
      const int64_t* const offsets = c.offsets + row;
      to_bytes.run(rows, sums, 32, [=](int64_t i) { return offsets[i] < 0 ? nullptr : to + offsets[i]; });
    } else {
      const int64_t stride = c.c_stride;
      char* const first = to + row * stride;
      to_bytes.run(rows, sums, 32, [=](int64_t i) { return first + i * stride; });
    }
  }
};

}  // namespace
}  // namespace skyline::kernels
