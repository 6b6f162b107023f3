#include "kernels/pool/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/levels.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {

const PoolTable& pool_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(pool, isa);
}

int64_t pool_out_size(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                      int64_t pad_end, bool ceil_mode) noexcept {
  const int64_t free = in + pad_begin + pad_end - (dilation * (kernel - 1) + 1);
  if (free < 0 || stride < 1) return 0;
  int64_t out = (ceil_mode ? (free + stride - 1) / stride : free / stride) + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad_begin) --out;
  return out;
}

size_t pool_scratch_bytes(const PoolShape& s, int threads) noexcept {
  if (s.channels_last) return 0;
  return static_cast<size_t>(threads > 1 ? threads : 1) * static_cast<size_t>(s.in[2]) * sizeof(float);
}

namespace {

// Calls f(plane, out_position, d, h, w) for each output element; plane = batch * channels + channel, either
// layout.
template <class F>
void for_outputs(const PoolShape& s, int threads, F&& f) noexcept {
  const int64_t plane = s.out[0] * s.out[1] * s.out[2];
  parallel_for(threads, s.batch * s.channels, 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = 0; i < plane; ++i) {
        const int64_t w = i % s.out[2], h = i / s.out[2] % s.out[1], d = i / s.out[2] / s.out[1];
        const int64_t to =
            s.channels_last ? (p / s.channels * plane + i) * s.channels + p % s.channels : p * plane + i;
        f(p, to, d, h, w);
      }
    }
  });
}

// Calls f(d, h, w) for each position inside the input of the window of output (od, oh, ow).
template <class F>
void for_window(const PoolShape& s, int64_t od, int64_t oh, int64_t ow, F&& f) noexcept {
  const int64_t out[3] = {od, oh, ow};
  int64_t start[3];
  for (int a = 0; a < 3; ++a) start[a] = out[a] * s.stride[a] - s.pad_begin[a];
  for (int64_t i = 0; i < s.kernel[0]; ++i) {
    const int64_t d = start[0] + i * s.dilation[0];
    if (d < 0 || d >= s.in[0]) continue;
    for (int64_t j = 0; j < s.kernel[1]; ++j) {
      const int64_t h = start[1] + j * s.dilation[1];
      if (h < 0 || h >= s.in[1]) continue;
      for (int64_t k = 0; k < s.kernel[2]; ++k) {
        const int64_t w = start[2] + k * s.dilation[2];
        if (w >= 0 && w < s.in[2]) f(d, h, w);
      }
    }
  }
}

}  // namespace

void max_pool_indices_f32(const PoolShape& s, const float* x, float* y, int64_t* indices, bool column_major,
                          int threads) noexcept {
  const int64_t plane = s.in[0] * s.in[1] * s.in[2];
  for_outputs(s, threads, [&](int64_t p, int64_t to, int64_t od, int64_t oh, int64_t ow) noexcept {
    float best = -std::numeric_limits<float>::infinity();
    int64_t at[3] = {-1, 0, 0};
    for_window(s, od, oh, ow, [&](int64_t d, int64_t h, int64_t w) noexcept {
      const float v = x[p * plane + (d * s.in[1] + h) * s.in[2] + w];
      if (at[0] < 0 || v > best || (v != v && best == best)) {
        best = v;
        at[0] = d;
        at[1] = h;
        at[2] = w;
      }
    });
    y[to] = best;
    indices[to] = at[0] < 0 ? -1
                            : p * plane + (column_major ? (at[2] * s.in[1] + at[1]) * s.in[0] + at[0]
                                                        : (at[0] * s.in[1] + at[1]) * s.in[2] + at[2]);
  });
}

void lp_pool_f32(const PoolShape& s, int power, const float* x, float* y, int threads) noexcept {
  const int64_t plane = s.in[0] * s.in[1] * s.in[2];
  for_outputs(s, threads, [&](int64_t p, int64_t to, int64_t od, int64_t oh, int64_t ow) noexcept {
    double sum = 0;
    for_window(s, od, oh, ow, [&](int64_t d, int64_t h, int64_t w) noexcept {
      const int64_t at = (d * s.in[1] + h) * s.in[2] + w;
      const double v =
          std::fabs(s.channels_last ? x[(p / s.channels * plane + at) * s.channels + p % s.channels]
                                    : x[p * plane + at]);
      sum += power == 1 ? v : power == 2 ? v * v : std::pow(v, power);
    });
    y[to] = static_cast<float>(power == 1 ? sum : power == 2 ? std::sqrt(sum) : std::pow(sum, 1.0 / power));
  });
}

}  // namespace skyline::kernels
