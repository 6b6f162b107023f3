// Softmax in three passes over a row that stays in cache: largest, exponentials and their sum, scaling.
#include "kernels/softmax/softmax.h"

#include <math.h>

#include "kernels/base/lanes.h"
#include "kernels/base/parallel.h"
#include "kernels/base/vecmath.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGrain = 4096;  // elements worth a thread

inline F32 larger(F32 a, F32 b) noexcept {
  return xsimd::select(xsimd::isnan(a), a, xsimd::max(a, b));
}

inline F32 load_padded(const float* x, int64_t n) noexcept {  // -inf beyond n: no part of any sum
  alignas(64) float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < n ? x[i] : -INFINITY;
  return F32::load_aligned(lanes);
}

float largest(const float* x, int64_t n) noexcept {
  F32 a(-INFINITY), b(-INFINITY);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a = larger(a, load(x + i));
    b = larger(b, load(x + i + kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) a = larger(a, load(x + i));
  if (i < n) b = larger(b, load_padded(x + i, n - i));
  return max_lanes(larger(a, b));
}

// y = exp(x - m) (unless y is null); returns the sum.
template <bool Store>
float exponentials(const float* x, float* y, int64_t n, float m) noexcept {
  const F32 shift(m);
  F32 a(0.0f), b(0.0f);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const F32 e = vec::exp(load(x + i) - shift), f = vec::exp(load(x + i + kLanes) - shift);
    a += e;
    b += f;
    if constexpr (Store) {
      store(y + i, e);
      store(y + i + kLanes, f);
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    const F32 e = vec::exp(load(x + i) - shift);
    a += e;
    if constexpr (Store) store(y + i, e);
  }
  if (i < n) {
    const F32 e = vec::exp(load_padded(x + i, n - i) - shift);
    b += e;
    if constexpr (Store) store(y + i, e, n - i);
  }
  return sum_lanes(a + b);
}

template <class F>
inline void each(const float* x, float* y, int64_t n, F&& f) noexcept {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store(y + i, f(load(x + i, n - i)), n - i);
}

void row(const float* x, float* y, int64_t n, bool log) noexcept {
  const float m = largest(x, n);
  if (log) {
    const F32 shift(m), rest(logf(exponentials<false>(x, y, n, m)));
    each(x, y, n, [&](F32 v) noexcept { return (v - shift) - rest; });
  } else {
    const F32 scale(1.0f / exponentials<true>(x, y, n, m));
    each(y, y, n, [&](F32 v) noexcept { return v * scale; });
  }
}

// One vector of columns; n rows, `inner` apart.
void columns(const float* x, float* y, int64_t n, int64_t inner, int64_t count, bool log) noexcept {
  F32 m(-INFINITY), sum(0.0f);
  for (int64_t r = 0; r < n; ++r) m = larger(m, load(x + r * inner, count));
  for (int64_t r = 0; r < n; ++r) {
    const F32 e = vec::exp(load(x + r * inner, count) - m);
    sum += e;
    if (!log) store(y + r * inner, e, count);
  }
  const F32 rest = log ? vec::log(sum) : F32(1.0f) / sum;
  for (int64_t r = 0; r < n; ++r) {
    float* out = y + r * inner;
    store(out, log ? (load(x + r * inner, count) - m) - rest : load(out, count) * rest, count);
  }
}

// Short rows, kLanes of them side by side: a row alone would leave most lanes of every vector empty.
constexpr int64_t kShort = 2 * kLanes;
void short_rows(const float* x, float* y, int64_t rows, int64_t n, bool log) noexcept {
  alignas(64) float block[kShort * kLanes];
  for (int64_t r = 0; r < rows; r += kLanes, x += n * kLanes, y += n * kLanes) {
    const int64_t count = rows - r < kLanes ? rows - r : kLanes;
    for (int64_t k = 0; k < kLanes; ++k) {
      const float* from = x + (k < count ? k : 0) * n;
      for (int64_t i = 0; i < n; ++i) block[i * kLanes + k] = from[i];
    }
    columns(block, block, n, kLanes, kLanes, log);
    for (int64_t k = 0; k < count; ++k) {
      for (int64_t i = 0; i < n; ++i) y[k * n + i] = block[i * kLanes + k];
    }
  }
}

void run(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, bool log, int threads) noexcept {
  if (n <= 0) return;
  if (inner == 1 && n <= kShort && outer > 1) {
    parallel_for(threads, outer, kGrain / n + 1, [&](int64_t begin, int64_t end) noexcept {
      short_rows(x + begin * n, y + begin * n, end - begin, n, log);
    });
    return;
  }
  if (inner == 1) {
    parallel_for(threads, outer, kGrain / n + 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t o = begin; o < end; ++o) row(x + o * n, y + o * n, n, log);
    });
    return;
  }
  const int64_t tiles = (inner + kLanes - 1) / kLanes;
  parallel_for(threads, outer * tiles, kGrain / (n * kLanes) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t from = k % tiles * kLanes, at = k / tiles * n * inner + from;
      columns(x + at, y + at, n, inner, inner - from < kLanes ? inner - from : kLanes, log);
    }
  });
}

void masked(const float* x, const float* mask, float* y, int64_t rows, int64_t n, float scale,
            int64_t mask_every, int64_t mask_rows, int threads) noexcept {
  if (n <= 0) return;
  const F32 by(scale);
  parallel_for(threads, rows, kGrain / n + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t r = begin; r < end; ++r) {
      const float* in = x + r * n;
      float* out = y + r * n;
      if (mask) {
        const float* add = mask + r / mask_every % mask_rows * n;
        int64_t i = 0;
        for (; i + kLanes <= n; i += kLanes) store(out + i, load(in + i) * by + load(add + i));
        if (i < n) store(out + i, load(in + i, n - i) * by + load(add + i, n - i), n - i);
      } else {
        each(in, out, n, [&](F32 v) noexcept { return v * by; });
      }
      row(out, out, n, false);
    }
  });
}

}  // namespace

constinit const SoftmaxTable SKYLINE_TAGGED(softmax) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(softmax)), "softmax"), .run = run, .masked = masked};
}  // namespace skyline::kernels
