#pragma once
// Depthwise convolution of 8-bit integers, four taps at a time: one row of output pixels, all channels.
//
//   y[ox][c] = saturate(round_half_even((bias[c] + sum over t of x_t[c] * w_t[c]) * scale[c]) + zero_point)
//
// x_t is the pixel that tap t meets, a pixel of zero points in the padding; bias has zero * sum of w_t taken
// off. Packed weights: for each 64 channels, for each four taps, 4 vectors of 16 channels by 4 taps of i8.
// The channels of a vector v are those that unpacking bytes in 128-bit lanes leaves there: element e of lane
// l is channel 16 l + 4 v + e. bias and scale are in that order, too; channels and taps are padded with
// zeros.
#include <cstddef>
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

inline constexpr int64_t kByteChannels = 64, kByteTaps = 4, kMaxByteTaps = 64;

// Where a channel lies in bias and scale.
constexpr int64_t byte_channel(int64_t c) {
  const int64_t in = c % kByteChannels;
  return c - in + in % 16 / 4 * 16 + in / 16 * 4 + in % 4;
}

struct DepthwiseBytesRow {
  const uint8_t* const* x =
      nullptr;  // per kernel row (times depth): column 0 of the input row; null: padding
  int64_t rows = 0;
  const uint8_t* zeros = nullptr;  // a pixel of the padding, as stored
  const int8_t* w = nullptr;
  const int32_t* bias = nullptr;
  const float* scale = nullptr;
  uint8_t* y = nullptr;
  int64_t ldx = 0, ldy = 0;  // bytes between pixels
  int64_t c = 0, iw = 0, ow = 0;
  int64_t kw = 1, stride = 1, dilation = 1, pad = 0;
  bool x_signed = false, y_signed = false;
  int32_t zero_point = 0;
  float low = 0, high = 0;  // of the scaled sum, without the zero point

  int64_t taps() const { return rows * kw; }
};

struct DepthwiseBytesKernel : KernelInfo {
  void (*run)(const DepthwiseBytesRow&) noexcept;
};

#if defined(__x86_64__)
extern const DepthwiseBytesKernel depthwise_bytes_avx512vnni;
#endif

}  // namespace skyline::kernels
