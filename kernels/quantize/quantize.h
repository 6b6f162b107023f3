#pragma once
// Between f32 and affine integers, x = (q - zero) * scale, and integer elementwise kernels. The same integers
// on every ISA: division by the scale is a division, rounding is half to even, nothing is contracted into an
// fma.
//
// How to use: quantize_kernels(isa), find_quantize(table, DType::u8), ... Per tensor: channels = 1, inner =
// size. Per axis: x[outer, channels, inner] with a scale (and zero) per channel. Blocked: one call per block
// row.
#include <cstddef>
#include <cstdint>

#include "kernels/eltwise/eltwise.h"
#include "skyline/dtype.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

// q = saturate(round(x / scale) + zero). zero null: zeros. NaN gives the type's least value.
using QuantizeFn = void (*)(const float* x, void* q, const float* scale, const int32_t* zero, int64_t outer,
                            int64_t channels, int64_t inner, int threads) noexcept;
// x = (q - zero) * scale.
using DequantizeFn = void (*)(const void* q, float* x, const float* scale, const int32_t* zero, int64_t outer,
                              int64_t channels, int64_t inner, int threads) noexcept;
// q = saturate(round(a * multiplier[c]) + zero), rows of `channels` int32 accumulators: f32 multiplication of
// a converted to f32 by multiplier = scale_a * scale_b / scale_y. per_channel false: multiplier[0] for all.
using RequantizeFn = void (*)(const int32_t* a, void* q, const float* multiplier, bool per_channel,
                              int32_t zero, int64_t rows, int64_t channels, int threads) noexcept;

struct QuantParams {
  float scale = 1;
  int32_t zero = 0;
};
// params of the QLinear binary SpanFns: y = quantize(op(dequantize(a), dequantize(b))), computed as ONNX
// Runtime does. add: saturate(round(b * rb + (a * ra + (y0 - (ra * a0 + rb * b0))))) with ra = scale_a /
// scale_y, rb likewise, each
// + after a * fused with it. mul: saturate(round((a - a0) * (b - b0) * (scale_a * scale_b / scale_y) + y0)).
struct QBinaryParams {
  QuantParams a, b, y;
};

// Indexed by narrow type: u8, i8, u16, i16.
struct QuantizeTable {
  KernelInfo info;  // the table as a row of all_kernels()
  QuantizeFn quantize[4];
  DequantizeFn dequantize[4];
  RequantizeFn requantize[2];  // u8, i8
  SpanFn add[2], mul[2];       // u8, i8; params is a QBinaryParams: use with run_binary
  // The smallest and largest of x; n >= 1; NaN is ignored.
  void (*min_max)(const float* x, int64_t n, float* smallest, float* largest, int threads) noexcept;
  DequantizeFn dequantize_i32;
};
const QuantizeTable& quantize_kernels(IsaSet isa) noexcept;
extern const QuantizeTable quantize_sse2, quantize_avx2, quantize_avx512,
    quantize_neon;  // of this architecture only

// Null if the type has no kernel. dequantize also takes i32.
QuantizeFn find_quantize(const QuantizeTable& t, DType type) noexcept;
DequantizeFn find_dequantize(const QuantizeTable& t, DType type) noexcept;

// ONNX DynamicQuantizeLinear: scale and zero point of u8 from the range of x, widened to hold 0. A range of 0
// gives scale 1 and zero 0, so that nothing divides by zero.
QuantParams dynamic_quantize_params(float smallest, float largest) noexcept;
// q, and the parameters it used.
QuantParams dynamic_quantize_u8(const QuantizeTable& t, const float* x, uint8_t* q, int64_t n,
                                int threads) noexcept;

// The table of quantize(fn(dequantize(code))), for lookup.h.
void make_lookup(UnaryFn fn, float alpha, float beta, DType type, QuantParams in, QuantParams out,
                 uint8_t* table) noexcept;

}  // namespace skyline::kernels
