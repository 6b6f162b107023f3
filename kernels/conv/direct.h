#pragma once
// The direct contract: one line of output pixels by one panel of output channels (at most nr), from lines of
// input in which the pixels are evenly spaced, so that a tile of pixels needs one address and one distance:
//
//   y[t][j] = sum over lines r that are not null, tap in 0..taps, k in 0..steps:
//             x[r][t*pixel + tap*tap_step + k] * w[((r*taps + tap)*steps + k)*w_stride + j]
//
// with taps and steps in the other order, w[((r*steps + k)*taps + tap)*w_stride + j], for a kernel of a fixed
// window, or with a row of w for each channel, w[(r*n + j)*dots_row(taps*steps) + tap*steps + k], zeros
// behind, for a kernel of few channels (max_n);
//
// then bias, residual and activation as in epilogue.h. Whoever calls sees to it that the lines hold all that
// is read (padding is copied). The bits of an output depend on its own operands only.
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

struct DirectLine {
  const float* const* x = nullptr;  // `lines` pointers, null for what is all padding
  int64_t x_offset = 0;             // added to each, in floats: the group's first channel
  int64_t lines = 0, taps = 1, steps = 0;
  int64_t pixel = 0, tap_step = 0;  // floats
  const float* w = nullptr;         // columns n rounded up to whole vectors: w_stride is n rounded up
  float* y = nullptr;
  int64_t ldy = 0;            // floats
  int64_t pixels = 0, n = 0;  // n: 1..nr
  bool far_y = false;         // y, and the residual, are rather not in L2: to be fetched ahead
  Epilogue epilogue;          // moved to the first pixel and column
  // What a later call will read, to be brought into L2 meanwhile; null: nothing.
  const void* fetch = nullptr;
  int64_t fetch_bytes = 0;
};

struct DirectKernel : KernelInfo {
  void (*run)(const DirectLine&) noexcept;
  int nr, lanes;
  int window, stride;  // made for taps = window and pixel = stride * tap_step; 0: for all
  int min_n;           // made for panels of at least so many columns
  int max_n = 0;       // or for so many in all, of one group; 0: for any number
};
// Floats of a row of weights of a kernel for few channels.
constexpr int64_t dots_row(int64_t products) noexcept {
  return (products + 15) / 16 * 16;
}

#if defined(__x86_64__)
extern const DirectKernel dots_f32_avx512, dots_f32_avx2, dots_f32_sse2;
extern const DirectKernel direct_f32_broad_avx512, direct_f32_avx512, direct_f32_avx2, direct_f32_sse2;
extern const DirectKernel window3_f32_avx512, window3_f32_avx2, window3_f32_sse2;
extern const DirectKernel window3s2_f32_avx512, window3s2_f32_avx2, window3s2_f32_sse2;
extern const DirectKernel window5_f32_avx512, window5_f32_avx2, window5_f32_sse2;
extern const DirectKernel window5s2_f32_avx512, window5s2_f32_avx2, window5s2_f32_sse2;
extern const DirectKernel window6s2_f32_avx512, window6s2_f32_avx2, window6s2_f32_sse2;
#elif defined(__aarch64__)
extern const DirectKernel dots_f32_neon, direct_f32_neon, window3_f32_neon, window3s2_f32_neon,
    window5_f32_neon, window5s2_f32_neon, window6s2_f32_neon;
#endif

}  // namespace skyline::kernels
