#pragma once
// Pooling in 1, 2 or 3 spatial dimensions, channels last or channels first.
//
// How to use: fill PoolShape (unused leading spatial dimensions are 1, with kernel 1, stride 1, no padding),
// compute out with pool_out_size, call pool_kernels(isa).max_f32(shape, x, y, scratch, threads) with
// pool_scratch_bytes of scratch. Global pooling is a reduction: see reduce.h.
#include <cstddef>
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

struct PoolShape {
  int64_t batch = 1, channels = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};  // depth, height, width
  int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
  int64_t pad_begin[3] = {}, pad_end[3] = {};
  bool channels_last = false;
  int64_t ldx = 0, ldy = 0;  // channels last: elements between pixels of x and y; 0 means `channels`
  bool count_include_pad =
      false;  // average: padding counts in the divisor, what ceil_mode adds beyond it never does
};

// ONNX's output size. With ceil_mode a last window that would start in the padding at the end is dropped. 0
// if the window does not fit.
int64_t pool_out_size(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                      int64_t pad_end, bool ceil_mode) noexcept;
size_t pool_scratch_bytes(const PoolShape& s, int threads) noexcept;

// Affine quantization of a pooled average: y = sat(round(mean(x - x_zero) * x_scale / y_scale) + y_zero).
struct PoolQuant {
  float ratio = 1;  // x_scale / y_scale
  int32_t x_zero = 0, y_zero = 0;
};

struct PoolTable {
  KernelInfo info;  // the table as a row of all_kernels()
  // Padding never wins; a window that is all padding gives -inf (the type's least value). NaN wins.
  void (*max_f32)(const PoolShape& s, const float* x, float* y, void* scratch, int threads) noexcept;
  void (*average_f32)(const PoolShape& s, const float* x, float* y, void* scratch, int threads) noexcept;
  void (*max_u8)(const PoolShape& s, const uint8_t* x, uint8_t* y, void* scratch, int threads) noexcept;
  void (*max_i8)(const PoolShape& s, const int8_t* x, int8_t* y, void* scratch, int threads) noexcept;
  // Of bf16; channels last only. NaN wins.
  void (*max_bf16)(const PoolShape& s, const uint16_t* x, uint16_t* y, int threads) noexcept;
  void (*average_u8)(const PoolShape& s, const PoolQuant& q, const uint8_t* x, uint8_t* y,
                     int threads) noexcept;
  void (*average_i8)(const PoolShape& s, const PoolQuant& q, const int8_t* x, int8_t* y,
                     int threads) noexcept;
};
const PoolTable& pool_kernels(IsaSet isa) noexcept;
extern const PoolTable pool_sse2, pool_avx2, pool_avx512, pool_neon;  // of this architecture only

// Max pooling with ONNX's second output: the flat index of each maximum in a channels-first x; column_major
// is storage_order 1. Channels first only. Plain scalar code.
void max_pool_indices_f32(const PoolShape& s, const float* x, float* y, int64_t* indices, bool column_major,
                          int threads) noexcept;

// (sum over the window of |x|^p)^(1/p). Plain scalar code, either layout.
void lp_pool_f32(const PoolShape& s, int p, const float* x, float* y, int threads) noexcept;

}  // namespace skyline::kernels
