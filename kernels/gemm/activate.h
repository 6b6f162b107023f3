#pragma once
// For *.isa.cc files: the epilogue's activations on vectors and on rows of f32.
#include "kernels/base/lanes.h"
#include "kernels/base/vecmath.h"
#include "kernels/gemm/epilogue.h"

namespace skyline::kernels {
namespace {

// The first n lanes, 1 <= n <= kLanes, where masks are for free or worth a branch.
inline F32 load_first(const float* p, int n) {
#if !defined(SKYLINE_ARCH_avx512)
  if (n == kLanes) return load(p);
#endif
  return load(p, n);
}
inline void store_first(float* p, const F32& v, int n) {
#if !defined(SKYLINE_ARCH_avx512)
  if (n == kLanes) return store(p, v);
#endif
  store(p, v, n);
}

// max(lo, x) and min(hi, x) in this order of operands keep a NaN in x (x86 returns the second operand).
inline F32 clip(F32 x, F32 lo, F32 hi) {
  return xsimd::min(hi, xsimd::max(lo, x));
}

template <Act F>
inline F32 activate(F32 x, float a, float b) {
  if constexpr (F == Act::relu) return xsimd::max(F32(0.0f), x);
  if constexpr (F == Act::clip) return clip(x, F32(a), F32(b));
  if constexpr (F == Act::leaky_relu) return xsimd::select(x < F32(0.0f), x * F32(a), x);
  if constexpr (F == Act::hard_sigmoid) return clip(mul_add(x, F32(a), F32(b)), F32(0.0f), F32(1.0f));
  if constexpr (F == Act::hard_swish) {
    return x * clip(mul_add(x, F32(1.0f / 6), F32(0.5f)), F32(0.0f), F32(1.0f));
  }
  if constexpr (F == Act::sigmoid) return vec::sigmoid(x);
  if constexpr (F == Act::silu) return vec::silu(x);
  if constexpr (F == Act::tanh) return vec::tanh(x);
  if constexpr (F == Act::gelu_erf) return vec::gelu(x);
  if constexpr (F == Act::gelu_tanh) return vec::gelu_tanh(x);
  return x;
}

// m rows of n values, ld apart, in place.
template <Act F>
void activate_rows(float* c, int64_t ld, int64_t m, int64_t n, float a, float b) {
  for (int64_t i = 0; i < m; ++i) {
    float* row = c + i * ld;
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) {
      activate<F>(F32::load_unaligned(row + j), a, b).store_unaligned(row + j);
    }
    if (const int rest = static_cast<int>(n - j)) {
      store_first(row + j, activate<F>(load_first(row + j, rest), a, b), rest);
    }
  }
}

__attribute__((noinline)) void activate_rows(Activation f, float* c, int64_t ld, int64_t m, int64_t n) {
  switch (f.fn) {
    case Act::none:
      return;
    case Act::relu:
      return activate_rows<Act::relu>(c, ld, m, n, f.a, f.b);
    case Act::clip:
      return activate_rows<Act::clip>(c, ld, m, n, f.a, f.b);
    case Act::leaky_relu:
      return activate_rows<Act::leaky_relu>(c, ld, m, n, f.a, f.b);
    case Act::hard_sigmoid:
      return activate_rows<Act::hard_sigmoid>(c, ld, m, n, f.a, f.b);
    case Act::hard_swish:
      return activate_rows<Act::hard_swish>(c, ld, m, n, f.a, f.b);
    case Act::sigmoid:
      return activate_rows<Act::sigmoid>(c, ld, m, n, f.a, f.b);
    case Act::silu:
      return activate_rows<Act::silu>(c, ld, m, n, f.a, f.b);
    case Act::tanh:
      return activate_rows<Act::tanh>(c, ld, m, n, f.a, f.b);
    case Act::gelu_erf:
      return activate_rows<Act::gelu_erf>(c, ld, m, n, f.a, f.b);
    case Act::gelu_tanh:
      return activate_rows<Act::gelu_tanh>(c, ld, m, n, f.a, f.b);
  }
}

}  // namespace
}  // namespace skyline::kernels
