#include "kernels/attention/rotary.h"

#include <cstring>

#include "kernels/base/parallel.h"

namespace skyline::kernels {
namespace {

void rotate_halves(const float* x, float* y, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    y[i] = a * cos[i] - b * sin[i];
    y[i + half] = a * sin[i] + b * cos[i];
  }
}

void rotate_pairs(const float* x, float* y, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = a * cos[i] - b * sin[i];
    y[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

}  // namespace

void rotary(const RotaryArgs& a, int threads) noexcept {
  const int64_t grain = 16384 / (a.heads * a.size + 1) + 1;
  parallel_for(threads, a.batch * a.len, grain, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t b = token / a.len, t = token % a.len, at = (a.rows ? a.rows[token] : token) * a.half;
      for (int64_t h = 0; h < a.heads; ++h) {
        const float* x = a.x + b * a.x_at.batch + h * a.x_at.head + t * a.x_at.row;
        float* y = a.y + b * a.y_at.batch + h * a.y_at.head + t * a.y_at.row;
        (a.interleaved ? rotate_pairs : rotate_halves)(x, y, a.cos + at, a.sin + at, a.half);
        if (x != y) {
          std::memcpy(y + 2 * a.half, x + 2 * a.half,
                      static_cast<size_t>(a.size - 2 * a.half) * sizeof(float));
        }
      }
    }
  });
}

}  // namespace skyline::kernels
