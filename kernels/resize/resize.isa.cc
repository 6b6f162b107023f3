// One axis of a resize: each output row is a weighted sum of a few input rows of `inner` elements.
#include "kernels/resize/resize.h"

#include "kernels/base/lanes.h"

namespace skyline::kernels {
namespace {

void blend_row(const float* x, float* y, const int32_t* index, const float* weight, int taps,
               int64_t inner) noexcept {
  if (taps == 2) {
    const float *a = x + index[0] * inner, *b = x + index[1] * inner;
    const F32 u(weight[0]), v(weight[1]);
    for_vectors(inner, [&](int64_t i, int64_t n) noexcept {
      put(y + i, xsimd::fma(get(a + i, n), u, get(b + i, n) * v), n);
    });
    return;
  }
  for_vectors(inner, [&](int64_t i, int64_t n) noexcept {
    F32 sum(0.0f);
    for (int t = 0; t < taps; ++t) sum = xsimd::fma(get(x + index[t] * inner + i, n), F32(weight[t]), sum);
    put(y + i, sum, n);
  });
}

// inner == 1: neighbours along the row itself.
template <int Taps>
void blend_points(const float* x, float* __restrict y, const int32_t* index, const float* weight, int64_t n,
                  float extrapolation) noexcept {
  for (int64_t j = 0; j < n; ++j, index += Taps, weight += Taps) {
    if (index[0] < 0) {
      y[j] = extrapolation;
      continue;
    }
    float sum = x[index[0]] * weight[0];
    for (int t = 1; t < Taps; ++t) sum += x[index[t]] * weight[t];
    y[j] = sum;
  }
}

void axis(const ResizeTaps& a, const float* x, float* y, int64_t begin, int64_t end, int64_t inner,
          float extrapolation) noexcept {
  const int taps = a.taps;
  if (inner == 1 && (taps == 2 || taps == 4)) {
    const auto points = taps == 2 ? blend_points<2> : blend_points<4>;
    points(x, y + begin, a.index + begin * taps, a.weight + begin * taps, end - begin, extrapolation);
    return;
  }
  for (int64_t j = begin; j < end; ++j) {
    const int32_t* at = a.index + j * taps;
    float* out = y + j * inner;
    if (at[0] < 0) {
      for (int64_t i = 0; i < inner; ++i) out[i] = extrapolation;
    } else if (taps == 1) {
      memcpy(out, x + at[0] * inner, static_cast<size_t>(inner) * sizeof(float));
    } else {
      blend_row(x, out, at, a.weight + j * taps, taps, inner);
    }
  }
}

}  // namespace

constinit const ResizeTable SKYLINE_TAGGED(resize) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(resize)), "resize"), .axis = axis};
}  // namespace skyline::kernels
