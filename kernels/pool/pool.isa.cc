// Pooling. Channels last: vectors of channels, the window in registers. Channels first: rows of the window
// are first joined into one row of the input's width (vectors again), then that row is joined along the
// width.
#include "kernels/pool/pool.h"

#include <math.h>
#include <string.h>

#include "kernels/base/lanes.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGrain = 8192;    // elements worth a thread
constexpr int64_t kByteTile = 256;  // channels of integer sums at a time

// The part of a window along one axis that lies in the input: taps [first, last) at in = start + tap *
// dilation; `counted` is how many taps the divisor of an average has.
struct Window {
  int64_t start, first, last, counted;
};
inline Window window(const PoolShape& s, int axis, int64_t out) noexcept {
  const int64_t kernel = s.kernel[axis], step = s.dilation[axis], in = s.in[axis];
  Window w;
  w.start = out * s.stride[axis] - s.pad_begin[axis];
  w.first = w.start >= 0 ? 0 : (-w.start + step - 1) / step;
  if (w.first > kernel) w.first = kernel;
  w.last = w.start >= in ? 0 : (in - w.start + step - 1) / step;
  if (w.last > kernel) w.last = kernel;
  if (w.last < w.first) w.last = w.first;
  const int64_t padded = in + s.pad_end[axis];
  int64_t reach = w.start >= padded ? 0 : (padded - w.start + step - 1) / step;
  if (reach > kernel) reach = kernel;
  w.counted = s.count_include_pad ? reach : w.last - w.first;
  return w;
}

struct Max {
  static constexpr float kStart = -INFINITY;
  static F32 join(F32 a, F32 v) noexcept { return xsimd::select(xsimd::isnan(a), a, xsimd::max(a, v)); }
  static float join(float a, float v) noexcept { return v > a || v != v ? v : a; }
};
struct Sum {
  static constexpr float kStart = 0;
  static F32 join(F32 a, F32 v) noexcept { return a + v; }
  static float join(float a, float v) noexcept { return a + v; }
};

// The windows of one output position of a channels-last image; calls tap(x) with the first channel of each
// position.
template <class T, class F>
inline void for_taps(const PoolShape& s, const Window& d, const Window& h, const Window& w, const T* image,
                     F&& tap) noexcept {
  const int64_t pitch = s.ldx ? s.ldx : s.channels;
  for (int64_t i = d.first; i < d.last; ++i) {
    for (int64_t j = h.first; j < h.last; ++j) {
      const int64_t row =
          ((d.start + i * s.dilation[0]) * s.in[1] + h.start + j * s.dilation[1]) * s.in[2] + w.start;
      const T* x = image + (row + w.first * s.dilation[2]) * pitch;
      for (int64_t k = w.first; k < w.last; ++k, x += s.dilation[2] * pitch) tap(x);
    }
  }
}

// Calls row(n, od, oh, flat output row) for every row of outputs.
template <class F>
inline void for_rows_of(const PoolShape& s, int64_t planes, int64_t row_cost, int threads, F&& row) noexcept {
  const int64_t rows = planes * s.out[0] * s.out[1];
  parallel_for(threads, rows, kGrain / (row_cost + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t r = begin; r < end; ++r)
      row(r / s.out[1] / s.out[0], r / s.out[1] % s.out[0], r % s.out[1], r);
  });
}

// count channels (at most 4 vectors) of one output position.
template <class J, bool Mean, int Vectors>
inline void pixel(const PoolShape& s, const Window& d, const Window& h, const Window& w, const float* image,
                  float* y, F32 divisor) noexcept {
  F32 acc[Vectors];
  for (F32& a : acc) a = F32(J::kStart);
  for_taps(s, d, h, w, image, [&](const float* x) noexcept {
    for (int v = 0; v < Vectors; ++v) acc[v] = J::join(acc[v], load(x + v * kLanes));
  });
  for (int v = 0; v < Vectors; ++v) store(y + v * kLanes, Mean ? acc[v] / divisor : acc[v]);
}

template <class J, bool Mean>
void channels_last(const PoolShape& s, const float* x, float* y, int threads) noexcept {
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2],
                image = s.in[0] * s.in[1] * s.in[2] * (s.ldx ? s.ldx : s.channels),
                pitch = s.ldy ? s.ldy : s.channels;
  for_rows_of(s, s.batch, s.out[2] * s.channels * taps, threads,
              [&](int64_t n, int64_t od, int64_t oh, int64_t r) noexcept {
                const Window d = window(s, 0, od), h = window(s, 1, oh);
                for (int64_t ow = 0; ow < s.out[2]; ++ow) {
                  const Window w = window(s, 2, ow);
                  const F32 divisor(static_cast<float>(d.counted * h.counted * w.counted));
                  const float* in = x + n * image;
                  float* out = y + (r * s.out[2] + ow) * pitch;
                  int64_t c = 0;
                  for (; c + 4 * kLanes <= s.channels; c += 4 * kLanes) {
                    pixel<J, Mean, 4>(s, d, h, w, in + c, out + c, divisor);
                  }
                  for (; c + kLanes <= s.channels; c += kLanes) {
                    pixel<J, Mean, 1>(s, d, h, w, in + c, out + c, divisor);
                  }
                  if (c == s.channels) continue;
                  F32 acc(J::kStart);
                  for_taps(s, d, h, w, in + c,
                           [&](const float* p) noexcept { acc = J::join(acc, load(p, s.channels - c)); });
                  store(out + c, Mean ? acc / divisor : acc, s.channels - c);
                }
              });
}

// out[o] = join(out[o], row[o * stride + at]) for o in [lo, hi); strides 1 and 2 as constants, so that they
// vectorise.
template <class Join, class T>
inline void join_strided(T* __restrict out, const T* __restrict row, int64_t lo, int64_t hi, int64_t stride,
                         int64_t at, Join&& join) noexcept {
  const T* in = row + at;
  if (stride == 1) {
    for (int64_t o = lo; o < hi; ++o) out[o] = join(out[o], in[o]);
  } else if (stride == 2) {
    for (int64_t o = lo; o < hi; ++o) out[o] = join(out[o], in[o * 2]);
  } else {
    for (int64_t o = lo; o < hi; ++o) out[o] = join(out[o], in[o * stride]);
  }
}

// Joins a row of the input's width into out along the width. out starts as the join's neutral element.
template <class Join, class T>
inline void join_width(const PoolShape& s, const T* row, T* out, Join&& join) noexcept {
  const int64_t stride = s.stride[2], in = s.in[2];
  for (int64_t k = 0; k < s.kernel[2]; ++k) {
    const int64_t at = k * s.dilation[2] - s.pad_begin[2];  // tap k of output o reads o * stride + at
    const int64_t lo = at >= 0 ? 0 : (-at + stride - 1) / stride;
    int64_t hi = at >= in ? 0 : (in - at + stride - 1) / stride;
    if (hi > s.out[2]) hi = s.out[2];
    if (lo < hi) join_strided(out, row, lo, hi, stride, at, join);
  }
}

template <class J, bool Mean>
void channels_first(const PoolShape& s, const float* x, float* y, float* scratch, int threads) noexcept {
  const int64_t width = s.in[2], plane = s.in[0] * s.in[1] * width;
  const int64_t cost = (s.kernel[0] * s.kernel[1] * width + s.kernel[2] * s.out[2]);
  for_rows_of(
      s, s.batch * s.channels, cost, threads, [&](int64_t p, int64_t od, int64_t oh, int64_t r) noexcept {
        float* row = scratch + parallel_index() * width;
        const Window d = window(s, 0, od), h = window(s, 1, oh);
        for (int64_t i = 0; i < width; ++i) row[i] = J::kStart;
        for (int64_t a = d.first; a < d.last; ++a) {
          for (int64_t b = h.first; b < h.last; ++b) {
            const float* in = x + p * plane +
                              ((d.start + a * s.dilation[0]) * s.in[1] + h.start + b * s.dilation[1]) * width;
            int64_t i = 0;
            for (; i + kLanes <= width; i += kLanes) store(row + i, J::join(load(row + i), load(in + i)));
            for (; i < width; ++i) row[i] = J::join(row[i], in[i]);
          }
        }
        float* out = y + r * s.out[2];
        for (int64_t o = 0; o < s.out[2]; ++o) out[o] = J::kStart;
        join_width(s, row, out, [](float u, float v) noexcept { return J::join(u, v); });
        if (!Mean) return;
        for (int64_t o = 0; o < s.out[2]; ++o) {
          out[o] /= static_cast<float>(d.counted * h.counted * window(s, 2, o).counted);
        }
      });
}

template <class J, bool Mean>
void pool_f32(const PoolShape& s, const float* x, float* y, void* scratch, int threads) noexcept {
  if (s.channels_last) return channels_last<J, Mean>(s, x, y, threads);
  channels_first<J, Mean>(s, x, y, static_cast<float*>(scratch), threads);
}

// Spans of bytes in functions of their own: a byte may alias anything, which would keep these loops from
// being vectors.
template <class T>
inline void raise(T* __restrict y, const T* __restrict x, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] < x[i] ? x[i] : y[i];
}
template <class T>
inline void accumulate(int32_t* __restrict sum, const T* __restrict x, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) sum[i] += x[i];
}

// kBytes channels of one output position, in registers.
constexpr int64_t kBytes = kLanes * 4;
template <class T, int Least>
inline void largest_bytes(const PoolShape& s, const Window& d, const Window& h, const Window& w,
                          const T* image, T* y) noexcept {
  using Bytes [[gnu::vector_size(kBytes)]] = T;
  Bytes most = Bytes{} + static_cast<T>(Least);
  for_taps(s, d, h, w, image, [&](const T* p) noexcept {
    Bytes v;
    memcpy(&v, p, kBytes);
    most = most < v ? v : most;
  });
  memcpy(y, &most, kBytes);
}

template <class T, int Least>
void max_bytes(const PoolShape& s, const T* x, T* y, void* scratch, int threads) noexcept {
  const auto larger = [](T a, T b) noexcept { return a < b ? b : a; };
  const int64_t channels = s.channels;
  const int64_t width = s.in[2], plane = s.in[0] * s.in[1] * width;
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  if (s.channels_last) {
    const int64_t image = plane * (s.ldx ? s.ldx : channels), pitch = s.ldy ? s.ldy : channels;
    for_rows_of(s, s.batch, s.out[2] * s.channels * taps, threads,
                [&](int64_t n, int64_t od, int64_t oh, int64_t r) noexcept {
                  const Window d = window(s, 0, od), h = window(s, 1, oh);
                  for (int64_t ow = 0; ow < s.out[2]; ++ow) {
                    const Window w = window(s, 2, ow);
                    T* out = y + (r * s.out[2] + ow) * pitch;
                    int64_t c = 0;
                    for (; c + kBytes <= channels; c += kBytes)
                      largest_bytes<T, Least>(s, d, h, w, x + n * image + c, out + c);
                    for (int64_t i = c; i < channels; ++i) out[i] = static_cast<T>(Least);
                    if (c == channels) continue;
                    for_taps(s, d, h, w, x + n * image + c,
                             [&](const T* p) noexcept { raise(out + c, p, channels - c); });
                  }
                });
    return;
  }
  for_rows_of(s, s.batch * s.channels, width * taps, threads,
              [&](int64_t p, int64_t od, int64_t oh, int64_t r) noexcept {
                T* row = static_cast<T*>(scratch) + parallel_index() * width;
                const Window d = window(s, 0, od), h = window(s, 1, oh);
                for (int64_t i = 0; i < width; ++i) row[i] = static_cast<T>(Least);
                for (int64_t a = d.first; a < d.last; ++a) {
                  for (int64_t b = h.first; b < h.last; ++b) {
                    const T* in =
                        x + p * plane +
                        ((d.start + a * s.dilation[0]) * s.in[1] + h.start + b * s.dilation[1]) * width;
                    raise(row, in, width);
                  }
                }
                T* out = y + r * s.out[2];
                for (int64_t o = 0; o < s.out[2]; ++o) out[o] = static_cast<T>(Least);
                join_width(s, row, out, larger);
              });
}

// bf16 in the order of integers: -inf is the least, and NaN of either sign the largest, since what is below
// -inf wraps around.
constexpr int16_t kNaNs = 127;
template <class T>
inline T in_order(T x) noexcept {
  return static_cast<T>((x ^ ((x >> 15) & 0x7fff)) - kNaNs);
}
template <class T>
inline T as_stored(T x) noexcept {
  x = static_cast<T>(x + kNaNs);
  return static_cast<T>(x ^ ((x >> 15) & 0x7fff));
}
using Halves [[gnu::vector_size(kBytes)]] = int16_t;
constexpr int64_t kHalves = kBytes / 2;

// count of kHalves channels of one output position.
inline void largest_halves(const PoolShape& s, const Window& d, const Window& h, const Window& w,
                           const uint16_t* image, uint16_t* y, int64_t count) noexcept {
  Halves most = Halves{} + static_cast<int16_t>(-32768);
  const auto bytes = static_cast<size_t>(count) * 2;
  for_taps(s, d, h, w, image, [&](const uint16_t* p) noexcept {
    Halves v = {};
    if (count == kHalves) {
      memcpy(&v, p, kBytes);
    } else {
      memcpy(&v, p, bytes);
    }
    v = in_order(v);
    most = most < v ? v : most;
  });
  most = as_stored(most);
  memcpy(y, &most, bytes);
}

void max_bf16(const PoolShape& s, const uint16_t* x, uint16_t* y, int threads) noexcept {
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2],
                image = s.in[0] * s.in[1] * s.in[2] * (s.ldx ? s.ldx : s.channels),
                pitch = s.ldy ? s.ldy : s.channels;
  for_rows_of(s, s.batch, s.out[2] * s.channels * taps, threads,
              [&](int64_t n, int64_t od, int64_t oh, int64_t r) noexcept {
                const Window d = window(s, 0, od), h = window(s, 1, oh);
                for (int64_t ow = 0; ow < s.out[2]; ++ow) {
                  const Window w = window(s, 2, ow);
                  uint16_t* out = y + (r * s.out[2] + ow) * pitch;
                  int64_t c = 0;
                  for (; c + kHalves <= s.channels; c += kHalves)
                    largest_halves(s, d, h, w, x + n * image + c, out + c, kHalves);
                  if (c < s.channels) largest_halves(s, d, h, w, x + n * image + c, out + c, s.channels - c);
                }
              });
}

template <int Least>
inline int32_t requantized(int32_t sum, int64_t taps, int64_t divisor, const PoolQuant& q) noexcept {
  const int64_t centered = sum - taps * q.x_zero;
  const float v = nearbyintf(static_cast<float>(centered) * q.ratio / static_cast<float>(divisor));
  const float lo = static_cast<float>(Least - q.y_zero), hi = static_cast<float>(Least + 255 - q.y_zero);
  const float clamped = v > lo ? (v < hi ? v : hi) : lo;
  return static_cast<int32_t>(clamped) + q.y_zero;
}

template <class T, int Least>
void average_bytes(const PoolShape& s, const PoolQuant& q, const T* x, T* y, int threads) noexcept {
  const int64_t plane = s.in[0] * s.in[1] * s.in[2], taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  PoolShape one = s;  // pixels are contiguous here; channels first: the same walk, one channel at a time
  if (!s.channels_last) {
    one.batch = s.batch * s.channels;
    one.channels = 1;
  }
  for_rows_of(one, one.batch, s.out[2] * one.channels * taps, threads,
              [&](int64_t n, int64_t od, int64_t oh, int64_t r) noexcept {
                const Window d = window(one, 0, od), h = window(one, 1, oh);
                int32_t sum[kByteTile];
                for (int64_t ow = 0; ow < one.out[2]; ++ow) {
                  const Window w = window(one, 2, ow);
                  const int64_t inside = (d.last - d.first) * (h.last - h.first) * (w.last - w.first);
                  const int64_t divisor = d.counted * h.counted * w.counted;
                  T* out = y + (r * one.out[2] + ow) * one.channels;
                  for (int64_t c = 0; c < one.channels; c += kByteTile) {
                    const int64_t count = one.channels - c < kByteTile ? one.channels - c : kByteTile;
                    for (int64_t i = 0; i < count; ++i) sum[i] = 0;
                    for_taps(one, d, h, w, x + n * plane * one.channels + c,
                             [&](const T* p) noexcept { accumulate(sum, p, count); });
                    for (int64_t i = 0; i < count; ++i) {
                      out[c + i] = static_cast<T>(requantized<Least>(sum[i], inside, divisor, q));
                    }
                  }
                }
              });
}

}  // namespace

constinit const PoolTable SKYLINE_TAGGED(pool) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(pool)), "pool"),
    .max_f32 = pool_f32<Max, false>,
    .average_f32 = pool_f32<Sum, true>,
    .max_u8 = max_bytes<uint8_t, 0>,
    .max_i8 = max_bytes<int8_t, -128>,
    .max_bf16 = max_bf16,
    .average_u8 = average_bytes<uint8_t, 0>,
    .average_i8 = average_bytes<int8_t, -128>,
};

}  // namespace skyline::kernels
