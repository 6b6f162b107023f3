#pragma once
// The depthwise contract: one row of output pixels, c channels, from the rows of input that it meets.
//
//   y[ox][c] = sum over rows r that are not null, kx in 0..kw with the column inside [0, iw):
//              x[r][ox*stride - pad + kx*dilation][c] * w[r*kw + kx][c]
//
// then bias, residual and activation as in epilogue.h. Nothing outside the c channels of a pixel is touched.
// Or two rows of output: the second meets x[row_step..) and lies ow pixels after the first. x and y are f32,
// or bf16 where the row says so; sums are f32.
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

struct DepthwiseRow {
  const void* const* x =
      nullptr;  // `rows` pointers to column 0 of an input row, null for rows in the padding
  int64_t lines = 1, row_step = 0;  // of two lines: row_step pointers more
  int64_t rows = 0;                 // kernel rows (times kernel depth)
  const float* w = nullptr;         // [rows * kw][w_stride], w_stride a multiple of 16 of at least c
  int64_t w_stride = 0;
  void* y = nullptr;
  int64_t ldx = 0, ldy = 0;  // elements between pixels
  int64_t c = 0, iw = 0, ow = 0;
  int64_t kw = 1, stride = 1, dilation = 1, pad = 0;
  Epilogue epilogue;  // bias_n, residual of this row, act
};

struct DepthwiseKernel : KernelInfo {
  void (*run)(const DepthwiseRow&) noexcept;  // of the types `in` and `out`
  // f32 only: m rows of n integer sums held exactly in f32, to rows of c of type `out`, c_stride bytes apart,
  // with the integer part of the epilogue. Sums of 8-bit products stay below 2^24 for up to 258 taps, so f32
  // arithmetic is exact.
  void (*finish)(const float* sums, int64_t m, int64_t n, void* c, int64_t c_stride, DType out,
                 const Epilogue& e) noexcept;
};

#if defined(__x86_64__)
extern const DepthwiseKernel depthwise_f32_avx512, depthwise_f32_avx2, depthwise_f32_sse2;
extern const DepthwiseKernel depthwise_bf16_amx[3];  // bf16 to bf16, bf16 to f32, f32 to bf16
#elif defined(__aarch64__)
extern const DepthwiseKernel depthwise_f32_neon;
#endif

// The row for activations of these types (of integers: their sums in f32), or null.
const DepthwiseKernel* find_depthwise(DType x, DType y, IsaSet isa) noexcept;

}  // namespace skyline::kernels
