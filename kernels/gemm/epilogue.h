#pragma once
// What may happen to a tile of C before it leaves the cache, in this order: bias, residual, activation; for
// integer kernels bias, then scaling or rounding to the output's type.
#include <cstdint>

#include "skyline/dtype.h"

namespace skyline::kernels {

// a and b are the function's parameters; which ones it has is said beside it.
enum class Act : uint8_t {
  none,
  relu,
  clip,          // min(max(x, a), b)
  leaky_relu,    // x >= 0 ? x : a * x
  hard_sigmoid,  // clip(a * x + b, 0, 1)
  hard_swish,    // x * clip(x / 6 + 1/2, 0, 1)
  sigmoid,
  silu,  // x * sigmoid(x)
  tanh,
  gelu_erf,   // x / 2 * (1 + erf(x / sqrt 2))
  gelu_tanh,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
};
struct Activation {
  Act fn = Act::none;
  float a = 0, b = 0;
};

// All pointers are optional and borrowed; strides are in elements. A value-initialized Epilogue stores plain
// C.
struct Epilogue {
  // f32 kernels.
  const float* bias_n = nullptr;    // one per column
  const float* bias_m = nullptr;    // one per row
  const float* residual = nullptr;  // m x n, added before the activation; may be C itself
  // The same in bf16, instead of it; dense kernels of floats only.
  const uint16_t* residual_bf16 = nullptr;
  int64_t ldr = 0;       // elements between rows of residual
  int64_t stride_r = 0;  // and between its batch entries
  Activation act;        // also used by integer kernels that store f32

  // Integer kernels, by the type of C. i32: acc + bias. f32: act((acc + bias) * scale_n[j] + bias_n[j]). u8
  // and i8: saturate(round_half_even((acc + bias) * scale_n[j]) + zero_point), all in f32 as ONNX
  // QLinearConv's reference.
  const int32_t* bias_i32 = nullptr;  // one per column
  const float* scale_n = nullptr;     // one per column; required unless C is i32
  int32_t zero_point = 0;
};

}  // namespace skyline::kernels
