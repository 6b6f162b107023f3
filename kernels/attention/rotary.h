#pragma once
// Rotary position embedding of f32 heads.
#include <cstdint>

namespace skyline::kernels {

// Head (b, h) at token t begins at b * batch + h * head + t * row of x (strides in elements), and likewise of
// y.
struct RotaryStrides {
  int64_t batch = 0, head = 0, row = 0;
};
// Of each head's `size` elements the first 2 * half are rotated in pairs, (i, i + half) or (2i, 2i + 1) when
// interleaved: (a, b) -> (a cos - b sin, a sin + b cos); the others are copied. x == y is allowed.
struct RotaryArgs {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t batch = 0, heads = 0, len = 0, size = 0, half = 0;
  RotaryStrides x_at, y_at;
  const float *cos = nullptr, *sin = nullptr;  // rows of `half`
  const int64_t* rows = nullptr;               // [batch, len]: which row; null: b * len + t
  bool interleaved = false;
};
void rotary(const RotaryArgs& args, int threads) noexcept;

}  // namespace skyline::kernels
