// Rows of scores, and products with one query.
#include "kernels/attention/attention.h"

#include <math.h>

#include "kernels/base/lanes.h"
#include "kernels/base/vecmath.h"

namespace skyline::kernels {
namespace {

inline F32 larger(F32 a, F32 b) noexcept {  // NaN stays
  return xsimd::select(xsimd::isnan(a), a, xsimd::max(a, b));
}

inline float total(const F32& v) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_reduce_add_ps(v);
#else
  return sum_lanes(v);
#endif
}

// The first n lanes of v, -inf behind.
inline F32 first_of(F32 v, int64_t n) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_mask_blend_ps(first_lanes(n), _mm512_set1_ps(-INFINITY), v);
#else
  alignas(64) float lanes[kLanes];
  v.store_aligned(lanes);
  for (int64_t i = n; i < kLanes; ++i) lanes[i] = -INFINITY;
  return F32::load_aligned(lanes);
#endif
}

// a where the byte is not 0, else b.
inline F32 by_bytes(const uint8_t* mask, int64_t n, F32 a, F32 b) noexcept {
  alignas(64) float set[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) set[i] = i < n && mask[i] ? 1.0f : 0.0f;
  return xsimd::select(F32::load_aligned(set) != F32(0.0f), a, b);
}

template <MaskKind Kind, bool Cap>
float scores_of(float* s, int64_t n, const ScoreRow& row) noexcept {
  const F32 scale(row.scale), cap(Cap ? row.softcap : 1.0f), other(row.masked_value);
  auto* add = static_cast<const float*>(row.mask);
  auto* bytes = static_cast<const uint8_t*>(row.mask);
  constexpr bool kBytes = Kind == MaskKind::keep || Kind == MaskKind::drop;
  const F32 shift(Kind == MaskKind::add && !row.mask_varies ? *add : 0.0f);
  const bool all = kBytes && !row.mask_varies && (*bytes != 0) == (Kind == MaskKind::keep);
  const auto score = [&](int64_t i, int64_t count) noexcept {
    F32 v = get(s + i, count) * scale;
    if constexpr (Cap) v = cap * vec::tanh(v / cap);
    if constexpr (Kind == MaskKind::add) v += row.mask_varies ? get(add + i, count) : shift;
    if constexpr (kBytes) {
      if (row.mask_varies) {
        v = Kind == MaskKind::keep ? by_bytes(bytes + i, count, v, other)
                                   : by_bytes(bytes + i, count, other, v);
      } else if (!all) {
        v = other;
      }
    }
    put(s + i, v, count);
    return v;
  };
  F32 a(-INFINITY), b(-INFINITY);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a = larger(a, score(i, kLanes));
    b = larger(b, score(i + kLanes, kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) a = larger(a, score(i, kLanes));
  if (i < n) b = larger(b, first_of(score(i, n - i), n - i));
  return max_lanes(larger(a, b));
}

template <bool Cap>
float scores_by_mask(float* s, int64_t n, const ScoreRow& row) noexcept {
  switch (row.kind) {
    case MaskKind::none:
      break;
    case MaskKind::add:
      return scores_of<MaskKind::add, Cap>(s, n, row);
    case MaskKind::keep:
      return scores_of<MaskKind::keep, Cap>(s, n, row);
    case MaskKind::drop:
      return scores_of<MaskKind::drop, Cap>(s, n, row);
  }
  return scores_of<MaskKind::none, Cap>(s, n, row);
}
float scores(float* s, int64_t n, const ScoreRow& row) noexcept {
  return row.softcap > 0 ? scores_by_mask<true>(s, n, row) : scores_by_mask<false>(s, n, row);
}

float exponentials(float* s, int64_t n, float m) noexcept {
  const F32 shift(m);
  F32 a(0.0f), b(0.0f);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const F32 e = vec::exp(load(s + i) - shift), f = vec::exp(load(s + i + kLanes) - shift);
    store(s + i, e);
    store(s + i + kLanes, f);
    a += e;
    b += f;
  }
  for (; i < n; i += kLanes) {
    const int64_t count = n - i < kLanes ? n - i : kLanes;
    const F32 e = vec::exp(first_of(get(s + i, count), count) - shift);
    put(s + i, e, count);
    a += e;
  }
  return total(a + b);
}

void scale(const float* x, float* y, int64_t n, float by) noexcept {
  const F32 f(by);
  for_vectors(n, [&](int64_t i, int64_t count) noexcept { put(y + i, get(x + i, count) * f, count); });
}

// Four keys at a time, so that their sums hide each other's latency.
void dots(const float* q, const float* k, int64_t stride, int64_t n, int64_t size, float* s) noexcept {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4, k += 4 * stride) {
    F32 a(0.0f), b(0.0f), c(0.0f), d(0.0f);
    for_vectors(size, [&](int64_t i, int64_t count) noexcept {
      const F32 x = get(q + i, count);
      a = mul_add(x, get(k + i, count), a);
      b = mul_add(x, get(k + stride + i, count), b);
      c = mul_add(x, get(k + 2 * stride + i, count), c);
      d = mul_add(x, get(k + 3 * stride + i, count), d);
    });
    s[j] = total(a);
    s[j + 1] = total(b);
    s[j + 2] = total(c);
    s[j + 3] = total(d);
  }
  for (; j < n; ++j, k += stride) {
    F32 a(0.0f);
    for_vectors(size, [&](int64_t i, int64_t count) noexcept {
      a = mul_add(get(q + i, count), get(k + i, count), a);
    });
    s[j] = total(a);
  }
}

// Columns of NV vectors; the last has `last` lanes. Two chains for each: even and odd keys.
template <int NV>
void weigh_columns(const float* p, const float* v, int64_t stride, int64_t n, float* y, int64_t last,
                   bool first) noexcept {
  F32 even[NV], odd[NV];
  for (int c = 0; c < NV; ++c) even[c] = odd[c] = F32(0.0f);
  const auto column = [&](const float* row, int c) noexcept {
    return c == NV - 1 ? get(row + c * kLanes, last) : load(row + c * kLanes);
  };
  int64_t j = 0;
  for (; j + 2 <= n; j += 2, v += 2 * stride) {
    const F32 a(p[j]), b(p[j + 1]);
#pragma GCC unroll 8
    for (int c = 0; c < NV; ++c) {
      even[c] = mul_add(a, column(v, c), even[c]);
      odd[c] = mul_add(b, column(v + stride, c), odd[c]);
    }
  }
  if (j < n) {
    const F32 a(p[j]);
    for (int c = 0; c < NV; ++c) even[c] = mul_add(a, column(v, c), even[c]);
  }
  for (int c = 0; c < NV; ++c) {
    F32 sum = even[c] + odd[c];
    const int64_t count = c == NV - 1 ? last : kLanes;
    if (!first) sum += get(y + c * kLanes, count);
    put(y + c * kLanes, sum, count);
  }
}

void weigh(const float* p, const float* v, int64_t stride, int64_t n, int64_t size, float* y,
           bool first) noexcept {
  for (; size > 4 * kLanes; size -= 4 * kLanes, v += 4 * kLanes, y += 4 * kLanes) {
    weigh_columns<4>(p, v, stride, n, y, kLanes, first);
  }
  const int64_t whole = (size - 1) / kLanes, last = size - whole * kLanes;
  if (whole == 3) return weigh_columns<4>(p, v, stride, n, y, last, first);
  if (whole == 2) return weigh_columns<3>(p, v, stride, n, y, last, first);
  if (whole == 1) return weigh_columns<2>(p, v, stride, n, y, last, first);
  weigh_columns<1>(p, v, stride, n, y, last, first);
}

}  // namespace

constinit const AttentionTable SKYLINE_TAGGED(attention) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(attention)), "attention"),
    .scores = scores,
    .exponentials = exponentials,
    .scale = scale,
    .dots = dots,
    .weigh = weigh};

}  // namespace skyline::kernels
