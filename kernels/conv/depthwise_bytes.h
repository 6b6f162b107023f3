#pragma once
// Depthwise convolution of 8-bit integers, four taps at a time: one row of output pixels, all channels.
//
//   y[ox][c] = saturate(round_half_even((bias[c] + sum over t of x_t[c] * w_t[c]) * scale[c]) + zero_point)
//
// x_t is the pixel that tap t meets, a pixel of zero points in the padding; bias has zero * sum of w_t taken
// off. Packed weights: for each 64 channels, for each group of four taps, 4 vectors of 16 channels by 4 taps
// of i8. The channels of a vector v are those that unpacking bytes in 128-bit lanes leaves there: element e
// of lane l is channel 16 l + 4 v + e. bias and scale are in that order, too; channels and taps are padded
// with zeros. With 16 or 32 channels the block holds them several times over, for as many neighbouring
// pixels.
//
// Groups run over all taps, or begin anew with each row of the kernel (by_rows), whose pixels lie evenly
// spaced. Where two neighbouring outputs are computed from the same unpacked pixels (in_pairs), each group
// has 4 more vectors: the row's taps one place later, for the second output.
#include <cstddef>
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

inline constexpr int64_t kByteChannels = 64, kByteTaps = 4, kMaxByteTaps = 64;

// How the taps are packed.
struct ByteTaps {
  bool by_rows = false, in_pairs = false;
  int64_t row_groups = 0, groups = 0;  // of four taps, in a row if by rows, and in all
  int64_t group_bytes() const { return (in_pairs ? 8 : 4) * kByteChannels; }
  int64_t block_bytes() const { return groups * group_bytes(); }
};
constexpr ByteTaps byte_taps(int64_t rows, int64_t kw, int64_t stride, int64_t dilation) {
  const bool by_rows = (kw == 3 || kw == 5) && rows <= kw;
  const int64_t row_groups = by_rows ? (kw + 4) / 4 : 0;
  return {by_rows, by_rows && stride == 1 && dilation == 1, row_groups,
          by_rows ? rows * row_groups : (rows * kw + 3) / 4};
}

// How many pixels the channels of a block are there for.
constexpr int64_t byte_pixels(int64_t c) {
  return c == 16 || c == 32 ? kByteChannels / c : 1;
}

// Where a channel lies in bias and scale.
constexpr int64_t byte_channel(int64_t c) {
  const int64_t in = c % kByteChannels;
  return c - in + in % 16 / 4 * 16 + in / 16 * 4 + in % 4;
}

struct DepthwiseBytesRow {
  const uint8_t* const* x =
      nullptr;  // per kernel row (times depth): column 0 of the input row; null: padding
  int64_t rows = 0;
  const uint8_t* zeros = nullptr;  // 64 channels or more of the padding, as stored
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
  bool bounded = false;     // they are those of y's type, and scaled sums stay below 2^31

  int64_t taps() const { return rows * kw; }
  ByteTaps packed() const { return byte_taps(rows, kw, stride, dilation); }
};

struct DepthwiseBytesKernel : KernelInfo {
  void (*run)(const DepthwiseBytesRow&) noexcept;
};

#if defined(__x86_64__)
extern const DepthwiseBytesKernel depthwise_bytes_avx512vnni;
#endif

}  // namespace skyline::kernels
