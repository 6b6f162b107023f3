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
constexpr float kLowest = std::is_signed_v<T> ? -128.0f : 0.0f;
template <class T>
constexpr float kHighest = kLowest<T> + 255.0f;

// Codes of T: x rounded, the zero point added.
template <class T>
inline I32 quantized(F32 x, const Epilogue& e) {
  const float zero = static_cast<float>(e.zero_point);
  if (e.act.fn == Act::relu) x = activate<Act::relu>(x, 0, 0);
  if (e.act.fn == Act::clip) x = activate<Act::clip>(x, e.act.a, e.act.b);
  return round_i32(clip(x, F32(kLowest<T> - zero), F32(kHighest<T> - zero))) + I32(e.zero_point);
}

// Sums of these and the n codes at r, which take nothing where r is null.
template <class T>
inline I32 with_codes(I32 q, const T* r, int n, const CodeSum& s) {
  if (!r) return q;
  const F32 c = xsimd::to_float(q), other = xsimd::to_float(n == kLanes ? load_wide(r) : load_wide(r, n));
  const F32 x = s.codes_first ? mul_add(c, F32(s.own), mul_add(other, F32(s.other), F32(s.fixed)))
                              : mul_add(other, F32(s.other), mul_add(c, F32(s.own), F32(s.fixed)));
  return round_i32(clip(x, F32(kLowest<T>), F32(kHighest<T>)));
}

template <class T>
inline void store_codes(T* p, I32 q, int n) {
  if (n == kLanes) {
    store_narrow(p, q);
  } else {
    store_narrow(p, q, n);
  }
}

template <class T>
inline void store_bytes(void* c, const Epilogue& e, F32 x, const std::byte* codes, int64_t col, int n) {
  const auto* const r = codes ? reinterpret_cast<const T*>(codes) + col : nullptr;
  store_codes(static_cast<T*>(c) + col, with_codes<T>(quantized<T>(x, e), r, n, e.sum), n);
}

// Stores n lanes of sums from column `col` on; c is the row's first element, e starts at column 0. Stores f32
// without the activation: that runs over whole rows afterwards. codes: of this row, or null.
inline void store_integers(void* c, DType out, const Epilogue& e, I32 sum, int64_t col, int n,
                           const std::byte* codes = nullptr) {
  if (e.bias_i32) sum += load_first(e.bias_i32 + col, n);
  if (out == DType::i32) return store_first(static_cast<float*>(c) + col, xsimd::bitwise_cast<F32>(sum), n);
  F32 x = xsimd::to_float(sum) * load_first(e.scale_n + col, n);
  if (out == DType::f32) {
    if (e.bias_n) x += load_first(e.bias_n + col, n);
    store_first(static_cast<float*>(c) + col, x, n);
  } else if (out == DType::u8) {
    store_bytes<uint8_t>(c, e, x, codes, col, n);
  } else {
    store_bytes<int8_t>(c, e, x, codes, col, n);
  }
}

}  // namespace
}  // namespace skyline::kernels
