#pragma once
// For *.isa.cc files: how integer sums become the type of C. Everything is rounded as in ONNX QLinearConv's
// reference.
#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

inline I32 load_first(const int32_t* p, int n) {
  return xsimd::bitwise_cast<I32>(load_first(reinterpret_cast<const float*>(p), n));
}

template <class T>
inline void store_quantized(T* p, F32 x, int n, const Epilogue& e, float lo, float hi) {
  const float zero = static_cast<float>(e.zero_point);
  if (e.act.fn == Act::relu) x = activate<Act::relu>(x, 0, 0);
  if (e.act.fn == Act::clip) x = activate<Act::clip>(x, e.act.a, e.act.b);
  const I32 q = round_i32(clip(x, F32(lo - zero), F32(hi - zero))) + I32(e.zero_point);
  if (n == kLanes) {
    store_narrow(p, q);
  } else {
    store_narrow(p, q, n);
  }
}

// Stores n lanes of sums from column `col` on; c is the row's first element, e starts at column 0. Stores f32
// without the activation: that runs over whole rows afterwards.
inline void store_integers(void* c, DType out, const Epilogue& e, I32 sum, int64_t col, int n) {
  if (e.bias_i32) sum += load_first(e.bias_i32 + col, n);
  if (out == DType::i32) return store_first(static_cast<float*>(c) + col, xsimd::bitwise_cast<F32>(sum), n);
  F32 x = xsimd::to_float(sum) * load_first(e.scale_n + col, n);
  if (out == DType::f32) {
    if (e.bias_n) x += load_first(e.bias_n + col, n);
    store_first(static_cast<float*>(c) + col, x, n);
  } else if (out == DType::u8) {
    store_quantized(static_cast<uint8_t*>(c) + col, x, n, e, 0.0f, 255.0f);
  } else {
    store_quantized(static_cast<int8_t*>(c) + col, x, n, e, -128.0f, 127.0f);
  }
}

}  // namespace
}  // namespace skyline::kernels
