// Normalisations: a row is read for its mean, again for its variance, and once more to be scaled; it stays in
// cache.
#include "kernels/norm/norm.h"

#include <math.h>

#include "kernels/base/lanes.h"
#include "kernels/base/parallel.h"
#include "kernels/base/vecmath.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGrain = 8192;  // elements worth a thread

// Sum over a row of f(x[i]), in two vectors of lanes; f of the padding is masked away.
template <class F>
inline float sum_of(const float* x, int64_t n, F&& f) noexcept {
  F32 a(0.0f), b(0.0f);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a += f(load(x + i));
    b += f(load(x + i + kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) a += f(load(x + i));
  if (i < n) {
    alignas(64) float lanes[kLanes] = {};
    store(lanes, f(load(x + i, n - i)), n - i);
    b += F32::load_aligned(lanes);
  }
  return sum_lanes(a + b);
}
inline float sum(const float* x, int64_t n) noexcept {
  return sum_of(x, n, [](F32 v) noexcept { return v; });
}
inline float sum_of_squares(const float* x, int64_t n, float mean) noexcept {
  const F32 m(mean);
  return sum_of(x, n, [m](F32 v) noexcept {
    const F32 d = v - m;
    return d * d;
  });
}

// The row to normalise: x itself, or x + residual + bias written to `sum` (or to y, where there is none).
const float* summed_row(const RowNormArgs& a, int64_t r) noexcept {
  const float* x = a.x + r * a.n;
  if (!a.residual && !a.bias && !a.sum) return x;
  float* out = (a.sum ? a.sum : a.y) + r * a.n;
  const float* residual = a.residual ? a.residual + r * a.n : nullptr;
  for_vectors(a.n, [&](int64_t i, int64_t count) noexcept {
    F32 v = get(x + i, count);
    if (residual) v += get(residual + i, count);
    if (a.bias) v += get(a.bias + i, count);
    put(out + i, v, count);
  });
  return out;
}

void scale_row(const RowNormArgs& a, const float* x, float* y, float mean, float inv) noexcept {
  const F32 m(mean), s(inv);
  for_vectors(a.n, [&](int64_t i, int64_t count) noexcept {
    F32 v = (get(x + i, count) - m) * s;
    if (a.gamma && a.beta) {
      v = xsimd::fma(v, get(a.gamma + i, count), get(a.beta + i, count));
    } else if (a.gamma) {
      v *= get(a.gamma + i, count);
    } else if (a.beta) {
      v += get(a.beta + i, count);
    }
    put(y + i, v, count);
  });
}

template <bool Centered>
void rows(const RowNormArgs& a, int threads) noexcept {
  if (a.n <= 0) return;
  const float n = static_cast<float>(a.n);
  parallel_for(threads, a.rows, kGrain / a.n + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = summed_row(a, r);
      const float mean = Centered ? sum(x, a.n) / n : 0.0f;
      const float inv = 1.0f / sqrtf(sum_of_squares(x, a.n, mean) / n + a.eps);
      if (Centered && a.mean) a.mean[r] = mean;
      if (a.inv_std) a.inv_std[r] = inv;
      scale_row(a, x, a.y + r * a.n, mean, inv);
    }
  });
}

void group_first(const GroupNormArgs& a, int threads) noexcept {
  const int64_t per = a.channels / a.groups, n = per * a.spatial;
  parallel_for(threads, a.batch * a.groups, kGrain / n + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const float *x = a.x + k * n, count = static_cast<float>(n);
      const float mean = sum(x, n) / count;
      const float inv = 1.0f / sqrtf(sum_of_squares(x, n, mean) / count + a.eps);
      const F32 m(mean);
      for (int64_t j = 0; j < per; ++j) {
        const int64_t c = k % a.groups * per + j;
        const F32 scale((a.gamma ? a.gamma[c] : 1.0f) * inv), shift(a.beta ? a.beta[c] : 0.0f);
        const float* in = x + j * a.spatial;
        float* out = a.y + k * n + j * a.spatial;
        for_vectors(a.spatial, [&](int64_t i, int64_t lanes) noexcept {
          put(out + i, xsimd::fma(get(in + i, lanes) - m, scale, shift), lanes);
        });
      }
    }
  });
}

// Channels last: the channels of a group lie together at each position.
void group_last(const GroupNormArgs& a, int threads) noexcept {
  const int64_t per = a.channels / a.groups, image = a.spatial * a.channels;
  const float count = static_cast<float>(per * a.spatial);
  const auto moments = [&](const float* x, float mean, bool squares) noexcept {
    F32 lanes(0.0f);
    const F32 m(mean);
    for (int64_t s = 0; s < a.spatial; ++s, x += a.channels) {
      for_vectors(per, [&](int64_t i, int64_t n) noexcept {
        alignas(64) float tail[kLanes] = {};
        F32 v = get(x + i, n) - m;
        if (squares) v *= v;
        if (n < kLanes) {
          store(tail, v, n);
          v = F32::load_aligned(tail);
        }
        lanes += v;
      });
    }
    return sum_lanes(lanes);
  };
  parallel_for(threads, a.batch * a.groups, kGrain / (per * a.spatial) + 1,
               [&](int64_t begin, int64_t end) noexcept {
                 for (int64_t k = begin; k < end; ++k) {
                   const int64_t c = k % a.groups * per, at = k / a.groups * image + c;
                   const float mean = moments(a.x + at, 0.0f, false) / count;
                   const F32 m(mean), inv(1.0f / sqrtf(moments(a.x + at, mean, true) / count + a.eps));
                   for (int64_t s = 0; s < a.spatial; ++s) {
                     const float* x = a.x + at + s * a.channels;
                     float* y = a.y + at + s * a.channels;
                     for_vectors(per, [&](int64_t i, int64_t n) noexcept {
                       const F32 scale = a.gamma ? get(a.gamma + c + i, n) * inv : inv;
                       const F32 shift = a.beta ? get(a.beta + c + i, n) : F32(0.0f);
                       put(y + i, xsimd::fma(get(x + i, n) - m, scale, shift), n);
                     });
                   }
                 }
               });
}

// Channels last, each channel a group of its own: columns, a vector of channels at a time.
void instance_last(const GroupNormArgs& a, int threads) noexcept {
  const int64_t tiles = (a.channels + kLanes - 1) / kLanes;
  const F32 count(static_cast<float>(a.spatial)), eps(a.eps);
  parallel_for(
      threads, a.batch * tiles, kGrain / (a.spatial * kLanes) + 1, [&](int64_t begin, int64_t end) noexcept {
        for (int64_t k = begin; k < end; ++k) {
          const int64_t c = k % tiles * kLanes, n = a.channels - c < kLanes ? a.channels - c : kLanes;
          const float* x = a.x + k / tiles * a.spatial * a.channels + c;
          float* y = a.y + k / tiles * a.spatial * a.channels + c;
          F32 total(0.0f), squares(0.0f);
          for (int64_t s = 0; s < a.spatial; ++s) total += get(x + s * a.channels, n);
          const F32 mean = total / count;
          for (int64_t s = 0; s < a.spatial; ++s) {
            const F32 d = get(x + s * a.channels, n) - mean;
            squares += d * d;
          }
          const F32 inv = F32(1.0f) / xsimd::sqrt(squares / count + eps);
          const F32 scale = a.gamma ? get(a.gamma + c, n) * inv : inv,
                    shift = a.beta ? get(a.beta + c, n) : F32(0.0f);
          for (int64_t s = 0; s < a.spatial; ++s) {
            put(y + s * a.channels, xsimd::fma(get(x + s * a.channels, n) - mean, scale, shift), n);
          }
        }
      });
}

void group(const GroupNormArgs& a, int threads) noexcept {
  if (a.batch <= 0 || a.channels <= 0 || a.spatial <= 0) return;
  if (!a.channels_last) return group_first(a, threads);
  if (a.groups == a.channels) return instance_last(a, threads);
  group_last(a, threads);
}

void scale_shift(const float* x, const float* scale, const float* shift, float* y, int64_t outer,
                 int64_t channels, int64_t inner, bool relu, int threads) noexcept {
  const F32 zero(0.0f);
  if (inner == 1) {
    parallel_for(threads, outer, kGrain / (channels + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t o = begin; o < end; ++o) {
        const float* in = x + o * channels;
        float* out = y + o * channels;
        for_vectors(channels, [&](int64_t i, int64_t n) noexcept {
          F32 v = xsimd::fma(get(in + i, n), get(scale + i, n), get(shift + i, n));
          if (relu) v = xsimd::max(zero, v);
          put(out + i, v, n);
        });
      }
    });
    return;
  }
  parallel_for(threads, outer * channels, kGrain / (inner + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const F32 s(scale[k % channels]), b(shift[k % channels]);
      const float* in = x + k * inner;
      float* out = y + k * inner;
      for_vectors(inner, [&](int64_t i, int64_t n) noexcept {
        F32 v = xsimd::fma(get(in + i, n), s, b);
        if (relu) v = xsimd::max(zero, v);
        put(out + i, v, n);
      });
    }
  });
}

void lp(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int p, int threads) noexcept {
  if (inner == 1) {
    parallel_for(threads, outer, kGrain / (n + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t o = begin; o < end; ++o) {
        const float* in = x + o * n;
        const float norm = p == 1 ? sum_of(in, n, [](F32 v) noexcept { return xsimd::abs(v); })
                                  : sqrtf(sum_of_squares(in, n, 0.0f));
        const F32 by(norm == 0.0f ? 1.0f : norm);
        for_vectors(n, [&](int64_t i, int64_t lanes) noexcept {
          put(y + o * n + i, get(in + i, lanes) / by, lanes);
        });
      }
    });
    return;
  }
  const int64_t tiles = (inner + kLanes - 1) / kLanes;
  parallel_for(
      threads, outer * tiles, kGrain / (n * kLanes + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
        for (int64_t k = begin; k < end; ++k) {
          const int64_t from = k % tiles * kLanes, lanes = inner - from < kLanes ? inner - from : kLanes;
          const int64_t at = k / tiles * n * inner + from;
          F32 total(0.0f);
          for (int64_t r = 0; r < n; ++r) {
            const F32 v = get(x + at + r * inner, lanes);
            total += p == 1 ? xsimd::abs(v) : v * v;
          }
          if (p != 1) total = xsimd::sqrt(total);
          const F32 by = xsimd::select(total == F32(0.0f), F32(1.0f), total);
          for (int64_t r = 0; r < n; ++r) put(y + at + r * inner, get(x + at + r * inner, lanes) / by, lanes);
        }
      });
}

// d^-beta for d > 0. The powers that models use take no logarithm.
struct InversePower {
  float beta;
  F32 operator()(F32 d) const noexcept {
    if (beta == 1.0f) return F32(1.0f) / d;
    if (beta == 0.5f || beta == 0.75f) {
      const F32 r = F32(1.0f) / xsimd::sqrt(d);
      return beta == 0.5f ? r : r * xsimd::sqrt(r);
    }
    return vec::exp(F32(-beta) * vec::log(d));
  }
};

constexpr int64_t kLrnBlock = 512;  // channels whose squares are kept at a time

// One row of contiguous channels.
void lrn_row(const LrnArgs& a, const float* x, float* y, const InversePower& power) noexcept {
  alignas(64) float squares[kLrnBlock + kMaxLrnSize + kLanes];
  const int64_t before = (a.size - 1) / 2;
  const F32 alpha(a.alpha / static_cast<float>(a.size)), bias(a.bias);
  for (int64_t from = 0; from < a.channels; from += kLrnBlock) {
    const int64_t n = a.channels - from < kLrnBlock ? a.channels - from : kLrnBlock;
    for (int64_t i = 0; i < n + a.size - 1; ++i) {
      const int64_t c = from - before + i;
      const float v = c >= 0 && c < a.channels ? x[c] : 0.0f;
      squares[i] = v * v;
    }
    for_vectors(n, [&](int64_t i, int64_t lanes) noexcept {
      F32 total = get(squares + i, lanes);
      for (int64_t k = 1; k < a.size; ++k) total += get(squares + i + k, lanes);
      put(y + from + i, get(x + from + i, lanes) * power(mul_add(total, alpha, bias)), lanes);
    });
  }
}

void lrn(const LrnArgs& a, int threads) noexcept {
  const InversePower power{a.beta};
  if (a.inner == 1) {
    return parallel_for(threads, a.outer, kGrain / a.channels + 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t o = begin; o < end; ++o) lrn_row(a, a.x + o * a.channels, a.y + o * a.channels, power);
    });
  }
  const int64_t before = (a.size - 1) / 2, after = a.size - 1 - before;
  const F32 alpha(a.alpha / static_cast<float>(a.size)), bias(a.bias);
  parallel_for(threads, a.outer * a.channels, kGrain / a.inner + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t c = row % a.channels;
      const int64_t low = c < before ? -c : -before;
      const int64_t high = a.channels - 1 - c < after ? a.channels - 1 - c : after;
      const float* x = a.x + row * a.inner;
      float* y = a.y + row * a.inner;
      for_vectors(a.inner, [&](int64_t i, int64_t lanes) noexcept {
        F32 total(0.0f);
        for (int64_t k = low; k <= high; ++k) {
          const F32 v = get(x + k * a.inner + i, lanes);
          total += v * v;
        }
        put(y + i, get(x + i, lanes) * power(mul_add(total, alpha, bias)), lanes);
      });
    }
  });
}

}  // namespace

constinit const NormTable SKYLINE_TAGGED(norm) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(norm)), "norm"),
    .layer = rows<true>,
    .rms = rows<false>,
    .group = group,
    .scale_shift = scale_shift,
    .lp = lp,
    .lrn = lrn};

}  // namespace skyline::kernels
