#pragma once
// Elementary functions over a SIMD batch of floats, for *.isa.cc files (see simd.h): vec::exp(v),
// vec::gelu(v), ...
//
// Accuracy is a few units in the last place over the whole range, without branches (sin and cos: one rare
// branch). NaN gives NaN; infinities, denormals and overflow give what the C library gives, up to that
// accuracy. Not the same bits on every ISA: where there is fma it is used. Polynomials are weighted minimax
// fits over the stated intervals.
//
// Calls inside are qualified: unqualified ones would find xsimd's own exp, clip, ... by argument-dependent
// lookup. xsimd 8.1 compares ordered on AVX (NaN != NaN is false there): ask isnan. x86 min and max return
// their second operand when either is NaN: clamps below put the argument second on purpose.
#include <math.h>

#include <xsimd/xsimd.hpp>

namespace skyline::kernels::vec {

template <class V>
using IntOf = xsimd::batch<int32_t, typename V::arch_type>;

// a * b + c: xsimd 8.1 would multiply, then add, where AVX-512 has it fused.
template <class V>
inline V fma(V a, V b, V c) noexcept {
#ifdef __AVX512F__
  if constexpr (V::size == 16) return _mm512_fmadd_ps(a, b, c);
#endif
  return xsimd::fma(a, b, c);
}

// 1 / x for finite x of at least 1. With AVX-512 from an estimate of 14 bits, within an ulp: dividing takes
// 16 cycles a vector, as much as all the rest of a sigmoid.
template <class V>
inline V reciprocal(V x) noexcept {
#ifdef __AVX512F__
  if constexpr (V::size == 16) {
    const V r = _mm512_rcp14_ps(x);
    return vec::fma(r, V(_mm512_fnmadd_ps(x, r, V(1.0f))), r);
  }
#endif
  return V(1.0f) / x;
}

template <class V>
inline V horner(V, V c) noexcept {
  return c;
}
// c0 + c1 x + c2 x^2 + ...
template <class V, class... C>
inline V horner(V x, V c0, C... rest) noexcept {
  return vec::fma(horner(x, V(rest)...), x, c0);
}

// x * 2^k for integral k in [-150, 128], rounded once, denormals and overflow included.
template <class V>
inline V scale2(V x, V k) noexcept {
#ifdef __AVX512F__
  if constexpr (V::size == 16) return _mm512_scalef_ps(x, k);
#endif
  const IntOf<V> whole = xsimd::to_int(k), half = whole >> 1, bias(127);
  x *= xsimd::bitwise_cast<V>((half + bias) << 23);
  return x * xsimd::bitwise_cast<V>((whole - half + bias) << 23);
}

// exp(c) = m * 2^k with m in [0.7, 1.5].
template <class V>
inline V exp_parts(V c, V& k) noexcept {
  k = xsimd::nearbyint(c * V(1.44269504f));
  V r = vec::fma(k, V(-0.693359375f), c);  // ln 2 in two parts, the first exact in 10 bits
  r = vec::fma(k, V(2.12194440e-4f), r);
  const V p =
      horner(r, V(0.49999994f), V(0.166665152f), V(0.0416685082f), V(0.00836939644f), V(0.00138096954f));
  return vec::fma(p, r * r, r) + V(1.0f);
}

template <class V>
inline V exp(V x) noexcept {
  // What rounds to 0 is not scaled: to underflow takes about 100 cycles a vector (Sapphire Rapids), and half
  // of the scores under a causal mask would. Above the upper bound the scaling gives infinity.
  const auto none = x < V(-103.98f);
  const V c = xsimd::min(V(89.0f), xsimd::select(none, V(0.0f), x));
  V k;
  const V m = exp_parts(c, k);
  return xsimd::select(none, V(0.0f), scale2(m, k));
}

// log(m * 2^e) with m - 1 = f in [sqrt(1/2) - 1, sqrt(2) - 1]; lo is a small correction to add to the result.
template <class V>
inline V log_parts(V f, V e, V lo) noexcept {
  V p = horner(f, V(0.333333135f), V(-0.250000089f), V(0.200021178f), V(-0.166680023f), V(0.142195925f),
               V(-0.124055706f), V(0.118878558f), V(-0.116753332f), V(0.0674672201f));
  const V f2 = f * f;
  p = vec::fma(p, f * f2, vec::fma(e, V(-2.12194440e-4f), lo));
  p = vec::fma(V(-0.5f), f2, p);
  return vec::fma(e, V(0.693359375f), f + p);
}

template <class V>
inline V log_positive(V x, V lo) noexcept {  // normal, finite, positive
  using I = IntOf<V>;
  const I bits = xsimd::bitwise_cast<I>(x);
  const I e = (bits - I(0x3f3504f3)) >> 23;  // 0x3f3504f3: sqrt(1/2)
  const V m = xsimd::bitwise_cast<V>(bits - (e << 23));
  return log_parts(m - V(1.0f), xsimd::to_float(e), lo);
}

template <class V>
inline V log(V x) noexcept {
  const V inf(INFINITY);
  const auto tiny = x < V(1.17549435e-38f);
  V y = log_positive(xsimd::select(tiny, x * V(8388608.0f), x), V(0.0f));
  y = xsimd::select(tiny, y - V(15.9423847f), y);  // log(2^23)
  y = xsimd::select(x == inf, inf, y);
  y = xsimd::select(x == V(0.0f), V(-INFINITY), y);
  y = xsimd::select(x < V(0.0f), V(NAN), y);
  return xsimd::select(xsimd::isnan(x), x, y);
}

// log(1 + x) for x in [0, 1].
template <class V>
inline V log1p_unit(V x) noexcept {
  const V u = x + V(1.0f);
  return log_positive(u, (x - (u - V(1.0f))) / u);  // the correction is what u lost in rounding
}

// 1 / (1 + e^-x) for |x| < kNear, without the care that the ends of the range need: a third fewer operations.
inline constexpr float kNear = 87.0f;
template <class V>
inline V sigmoid_near(V x) noexcept {
  // k nearest to -x / ln 2 by adding a number whose last bit is 1; s = x + k ln 2, so that e^-s is needed.
  const V k = vec::fma(x, V(-1.44269504f), V(12582912.0f)) - V(12582912.0f);
  const V s = vec::fma(k, V(-2.12194440e-4f), vec::fma(k, V(0.693359375f), x)), s2 = s * s;
  const V low = vec::fma(s, V(0.166665152f), V(-0.49999994f));
  const V high = vec::fma(s2, V(-0.00138096954f), vec::fma(s, V(0.00836939644f), V(-0.0416685082f)));
  const V m = V(1.0f) - vec::fma(vec::fma(high, s2, low), s2, s);
  return vec::reciprocal(V(1.0f) + scale2(m, k));
}

template <class V>
inline V sigmoid_far(V x) noexcept {
  const V minus = -xsimd::abs(x);
  // Denormal results, as a mask of a background may be full of, would cost some hundred cycles a vector: as
  // integers, of which each is a multiple of 2^-149, they cost nothing.
  const auto tiny = minus < V(-87.3365f);
  V k;
  const V m = exp_parts(xsimd::max(minus, V(-104.0f)), k);
  const V least = xsimd::bitwise_cast<V>(xsimd::to_int(xsimd::nearbyint(scale2(m, k + V(149.0f)))));
  const V e = vec::exp(xsimd::select(tiny, V(0.0f), minus)), r = vec::reciprocal(V(1.0f) + e);
  const V y = xsimd::select(x < V(0.0f), e * r, r);
  return xsimd::select(tiny, xsimd::select(x < V(0.0f), least, V(1.0f)), y);
}

// Each lane's bits depend on its own value only: far ones are rare, and then all are computed both ways.
template <class V>
inline V sigmoid(V x) noexcept {
  const auto near = xsimd::abs(x) < V(kNear);
  if (xsimd::all(near)) return sigmoid_near(x);
  return xsimd::select(near, sigmoid_near(xsimd::select(near, x, V(0.0f))), sigmoid_far(x));
}

template <class V>
inline V tanh(V x) noexcept {
  const V a = xsimd::abs(x), s = x * x;
  const V p =
      horner(s, V(-0.333332807f), V(0.133314431f), V(-0.0537397712f), V(0.0206391755f), V(-0.0057050297f));
  const V small = vec::fma(p * s, x, x);
  const V large = V(1.0f) - V(2.0f) / (vec::exp(a + a) + V(1.0f));
  return xsimd::select(a < V(0.625f), small, xsimd::copysign(large, x));
}

template <class V>
inline V erf_small(V x) noexcept {  // |x| <= 0.93
  const V p = horner(x * x, V(0.128379151f), V(-0.376124829f), V(0.112816922f), V(-0.0267619491f),
                     V(0.00498619303f), V(-0.000595479331f));
  return vec::fma(p, x, x);
}
template <class V>
inline V erfc_large(V a) noexcept {  // a >= 0.92; beyond 10 the value at 10, 2e-45
  const V t = xsimd::min(a, V(10.0f));
  return vec::exp(horner(t, V(-0.00135644269f), V(-1.12294614f), V(-0.644897521f), V(-0.0975541174f),
                         V(0.0194780342f), V(-0.00250249635f), V(0.000178648581f), V(-5.28114833e-06f)));
}

template <class V>
inline V erf(V x) noexcept {
  const V a = xsimd::abs(x);
  const V large = xsimd::copysign(V(1.0f) - erfc_large(xsimd::min(V(9.0f), a)), x);  // no denormals: slow
  return xsimd::select(xsimd::isnan(x), x, xsimd::select(a < V(0.92f), erf_small(x), large));
}

// x * Phi(x), exact form. The negative tail comes from erfc, so nothing cancels there.
template <class V>
inline V gelu(V x) noexcept {
  // Beyond these bounds the tail does not matter, and would be denormal, which is slow.
  const auto none = x < V(-14.5f);  // Phi(-14.5) is below the smallest denormal
  const V z = xsimd::select(none, V(0.0f), xsimd::min(V(9.0f), x * V(0.707106781f))), a = xsimd::abs(z);
  const V tail = V(0.5f) * erfc_large(a);
  const V inner = vec::fma(V(0.5f), erf_small(z), V(0.5f));
  const V phi = xsimd::select(a < V(0.92f), inner, xsimd::select(x < V(0.0f), tail, V(1.0f) - tail));
  return xsimd::select(none, V(0.0f), x * phi);
}

// x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, which is x * sigmoid of twice the argument.
template <class V>
inline V gelu_tanh(V x) noexcept {
  const V u = V(1.59576912f) * vec::fma(V(0.044715f) * x * x, x, x);
  return xsimd::select(x < V(-14.5f), V(0.0f), x * vec::sigmoid(u));
}

template <class V>
inline V silu(V x) noexcept {
  const auto near = xsimd::abs(x) < V(kNear);
  if (xsimd::all(near)) return x * sigmoid_near(x);
  return xsimd::select(x < V(-105.0f), V(0.0f), x * vec::sigmoid(x));
}

template <class V>
inline V softplus(V x) noexcept {
  return xsimd::max(V(0.0f), x) + log1p_unit(vec::exp(-xsimd::abs(x)));
}

// x * tanh(softplus(x)): with n = e^x (e^x + 2) that is x * n / (n + 2).
template <class V>
inline V mish(V x) noexcept {
  const V e = vec::exp(xsimd::min(V(20.0f), x));
  const V n = e * (e + V(2.0f));
  const V y = xsimd::select(x > V(20.0f), x, x * (n / (n + V(2.0f))));
  return xsimd::select(x < V(-105.0f), V(0.0f), y);
}

template <class V>
inline V expm1(V x) noexcept {
  const V s = xsimd::max(V(-0.35f), xsimd::min(V(0.35f), x));
  const V p =
      horner(s, V(0.49999994f), V(0.166665152f), V(0.0416685082f), V(0.00836939644f), V(0.00138096954f));
  return xsimd::select(xsimd::abs(x) < V(0.35f), vec::fma(p, s * s, s), vec::exp(x) - V(1.0f));
}

// x for x > 0, else alpha * (e^x - 1).
template <class V>
inline V elu(V x, V alpha) noexcept {
  return xsimd::select(x > V(0.0f), x, alpha * vec::expm1(x));
}

template <class V>
inline V relu(V x) noexcept {
  return xsimd::max(V(0.0f), x);
}
template <class V>
inline V leaky_relu(V x, V alpha) noexcept {
  return xsimd::select(x < V(0.0f), alpha * x, x);
}
template <class V>
inline V clip(V x, V lo, V hi) noexcept {
  return xsimd::min(hi, xsimd::max(lo, x));
}
template <class V>
inline V hard_sigmoid(V x, V alpha, V beta) noexcept {
  return vec::clip(alpha * x + beta, V(0.0f), V(1.0f));
}
template <class V>
inline V hard_swish(V x) noexcept {
  return x * vec::clip(vec::fma(x, V(1.0f / 6.0f), V(0.5f)), V(0.0f), V(1.0f));
}

// sin (Cosine = false) or cos. Three-part reduction by pi/2 holds to 8192; lanes beyond it go to the C
// library.
template <bool Cosine, class V>
inline V sin_cos(V x) noexcept {
  using I = IntOf<V>;
  const V limit(8192.0f), a = xsimd::abs(x);
  const V c = xsimd::select(a <= limit, x, V(0.0f));
  const V q = xsimd::nearbyint(c * V(0.636619772f));
  V r = vec::fma(q, V(-1.5703125f), c);
  r = vec::fma(q, V(-4.83751297e-4f), r);
  r = vec::fma(q, V(-7.54978995e-8f), r);
  const I quadrant = xsimd::to_int(q) + I(Cosine ? 1 : 0);
  const V s = r * r;
  const V sine = vec::fma(
      horner(s, V(-0.166666672f), V(0.00833332911f), V(-0.000198393187f), V(2.71817089e-06f)) * s, r, r);
  const V cosine = vec::fma(horner(s, V(0.0416666456f), V(-0.00138873211f), V(2.44338662e-05f)), s * s,
                            vec::fma(V(-0.5f), s, V(1.0f)));
  const V odd = xsimd::to_float(quadrant & I(1));
  V y = xsimd::select(odd != V(0.0f), cosine, sine);
  y = y ^ xsimd::bitwise_cast<V>((quadrant & I(2)) << 30);
  if constexpr (!Cosine) y = xsimd::select(x == V(0.0f), x, y);  // keeps the sign of zero
  if (xsimd::all(a <= limit)) return y;
  alignas(64) float in[V::size], out[V::size];
  x.store_aligned(in);
  y.store_aligned(out);
  for (size_t i = 0; i < V::size; ++i) {
    if (!(fabsf(in[i]) <= 8192.0f)) out[i] = Cosine ? cosf(in[i]) : sinf(in[i]);
  }
  return V::load_aligned(out);
}
template <class V>
inline V sin(V x) noexcept {
  return sin_cos<false>(x);
}
template <class V>
inline V cos(V x) noexcept {
  return sin_cos<true>(x);
}

}  // namespace skyline::kernels::vec
