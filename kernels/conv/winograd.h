#pragma once
// Winograd's F(4x4, 3x3): 16 outputs of a 3x3 window from 36 products instead of 144, at the points 0, +-3/4,
// +-3/2 and infinity; and F(2x2, 3x3): 4 from 16 instead of 36, at 0, +-1 and infinity. F(2x2) is for weights
// that do not stay in L2, of which it reads less than half, and for images that tiles of 4 fill badly. With d
// a patch of pixels and g a window, all over vectors of channels:
//
//   V = B'dB (input), U = GgG' (weights, when packing), M[xi] = V[xi] * U[xi] for all xi, Y = A'MA (output)
//
// Rounding error of F(4x4) against float64, as a multiple of the plain f32 loop's (root mean square, random
// data): 2.5 at 16 and 32 input channels, 2.3 at 64, 1.8 at 128, 1.3 at 256; below 16 the plain loop is too
// good. With the points 0, +-1, +-2 that are usual it would be 4.8, 4.7, 4.1, 3.4 and 2.9. F(2x2): 1.1
// at 4 input channels, 0.8 at 16, 0.6 at 64, 0.4 at 256.
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

inline constexpr int kWinogradMostProducts = 36;
inline constexpr double kWinogradNear = 0.75,
                        kWinogradFar = 1.5;  // the points of F(4x4) are 0, +-near, +-far

// One tile's patch, all channels.
struct WinogradInput {
  const float* const* pixels = nullptr;  // (out + 2)^2 pointers, row by row; to zeros in the padding
  int64_t c = 0;
  float* v = nullptr;
  int64_t v_stride = 0;  // floats between products
};
// One tile's outputs, all channels.
struct WinogradOutput {
  const float* m = nullptr;
  int64_t m_stride = 0;  // floats between products
  int64_t c = 0;
  int64_t rows = 0, columns = 0;  // of the tile that are inside the image
  float* y = nullptr;
  int64_t ldy = 0, line_y = 0;  // floats between pixels and between lines
  int64_t line_r = 0;           // of the residual
  Epilogue epilogue;            // moved to the first pixel
};

// Weights of one input channel and some output channels, side by side; in double, so that they are rounded
// once.
inline constexpr int kWinogradLanes = 16;
struct WinogradWeights {
  const double (*g)[3] = nullptr;                  // out + 2 rows of G
  double window[9][kWinogradLanes] = {};           // the 3x3 windows
  float u[kWinogradMostProducts][kWinogradLanes];  // the result, product by product
};

struct WinogradKernel : KernelInfo {
  int out;  // outputs of a tile along an axis: 4 or 2
  void (*input)(const WinogradInput&) noexcept;
  void (*output)(const WinogradOutput&) noexcept;
  void (*weights)(WinogradWeights&) noexcept;
  int64_t products() const { return (out + 2) * (out + 2); }
};

#if defined(__x86_64__)
extern const WinogradKernel winograd_f32_avx512, winograd_f32_avx2, winograd_f32_sse2;
extern const WinogradKernel winograd2_f32_avx512, winograd2_f32_avx2, winograd2_f32_sse2;
#elif defined(__aarch64__)
extern const WinogradKernel winograd_f32_neon, winograd2_f32_neon;
#endif

}  // namespace skyline::kernels
