// f32 unary and binary spans, and conversions to and from 16-bit floats. One small inline function per op;
// the loops are shared. A tail goes through the same vector code as the body, so an element's bits do not
// depend on its place.
#include "kernels/eltwise/eltwise.h"

#include "kernels/base/lanes.h"
#include "kernels/base/vecmath.h"
#include "kernels/eltwise/libm.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

using Unary = F32 (*)(F32 x, F32 alpha, F32 beta) noexcept;
using Binary = F32 (*)(F32 a, F32 b) noexcept;

template <Unary F>
void map(const float* x, float* y, int64_t n, float alpha, float beta) noexcept {
  const F32 a(alpha), b(beta);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, F(load(x + i), a, b));
  if (i < n) store(y + i, F(load(x + i, n - i), a, b), n - i);
}

template <class F>
inline void map_pairs(const float* a, const float* b, int64_t n, int step_a, int step_b, F&& put) noexcept {
  const F32 a0(*a), b0(*b);
  int64_t i = 0;
  if (step_a && step_b) {
    for (; i + kLanes <= n; i += kLanes) put(i, load(a + i), load(b + i), kLanes);
    if (i < n) put(i, load(a + i, n - i), load(b + i, n - i), n - i);
  } else if (step_a) {
    for (; i + kLanes <= n; i += kLanes) put(i, load(a + i), b0, kLanes);
    if (i < n) put(i, load(a + i, n - i), b0, n - i);
  } else if (step_b) {
    for (; i + kLanes <= n; i += kLanes) put(i, a0, load(b + i), kLanes);
    if (i < n) put(i, a0, load(b + i, n - i), n - i);
  } else {
    for (; i + kLanes <= n; i += kLanes) put(i, a0, b0, kLanes);
    if (i < n) put(i, a0, b0, n - i);
  }
}

template <Binary F>
void map2(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b, const void*) noexcept {
  if (n <= 0) return;
  float* out = static_cast<float*>(y);
  map_pairs(static_cast<const float*>(a), static_cast<const float*>(b), n, step_a, step_b,
            [out](int64_t i, F32 u, F32 v, int64_t count) noexcept {
              if (count == kLanes) {
                store(out + i, F(u, v));
              } else {
                store(out + i, F(u, v), count);
              }
            });
}

template <BinaryOp Op>
void compare(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b, const void*) noexcept {
  if (n <= 0) return;
  uint8_t* out = static_cast<uint8_t*>(y);
  map_pairs(static_cast<const float*>(a), static_cast<const float*>(b), n, step_a, step_b,
            [out](int64_t i, F32 u, F32 v, int64_t count) noexcept {
              const F32 one(1.0f), zero(0.0f);
              F32 r;
              if constexpr (Op == BinaryOp::eq) r = xsimd::select(u == v, one, zero);
              if constexpr (Op == BinaryOp::ne) r = xsimd::select(u == v, zero, one);
              if constexpr (Op == BinaryOp::lt) r = xsimd::select(u < v, one, zero);
              if constexpr (Op == BinaryOp::le) r = xsimd::select(u <= v, one, zero);
              if constexpr (Op == BinaryOp::gt) r = xsimd::select(v < u, one, zero);
              if constexpr (Op == BinaryOp::ge) r = xsimd::select(v <= u, one, zero);
              if (count == kLanes) {
                store_narrow(out + i, xsimd::to_int(r));
              } else {
                store_narrow(out + i, xsimd::to_int(r), count);
              }
            });
}

inline F32 op_neg(F32 x, F32, F32) noexcept {
  return x ^ F32(-0.0f);
}
inline F32 op_abs(F32 x, F32, F32) noexcept {
  return xsimd::abs(x);
}
inline F32 op_sqrt(F32 x, F32, F32) noexcept {
  return xsimd::sqrt(x);
}
inline F32 op_rsqrt(F32 x, F32, F32) noexcept {
  return F32(1.0f) / xsimd::sqrt(x);
}
inline F32 op_reciprocal(F32 x, F32, F32) noexcept {
  return F32(1.0f) / x;
}
inline F32 op_square(F32 x, F32, F32) noexcept {
  return x * x;
}
inline F32 op_sign(F32 x, F32, F32) noexcept {
  const F32 one = xsimd::select(x < F32(0.0f), F32(-1.0f), F32(1.0f));
  return xsimd::select(x == F32(0.0f), F32(0.0f), xsimd::select(xsimd::isnan(x), x, one));
}
// Beyond 2^23 every float is an integer already.
template <class F>
inline F32 rounded(F32 x, F&& f) noexcept {
  return xsimd::select(xsimd::abs(x) < F32(8388608.0f), xsimd::copysign(f(x), x), x);
}
inline F32 op_floor(F32 x, F32, F32) noexcept {
  return rounded(x, [](F32 v) noexcept { return xsimd::floor(v); });
}
inline F32 op_ceil(F32 x, F32, F32) noexcept {
  return rounded(x, [](F32 v) noexcept { return xsimd::ceil(v); });
}
inline F32 op_round(F32 x, F32, F32) noexcept {
  return rounded(x, [](F32 v) noexcept { return xsimd::to_float(round_i32(v)); });
}
inline F32 op_trunc(F32 x, F32, F32) noexcept {
  return rounded(x, [](F32 v) noexcept { return xsimd::trunc(v); });
}
inline F32 op_relu(F32 x, F32, F32) noexcept {
  return vec::relu(x);
}
inline F32 op_leaky_relu(F32 x, F32 a, F32) noexcept {
  return vec::leaky_relu(x, a);
}
inline F32 op_clip(F32 x, F32 a, F32 b) noexcept {
  return vec::clip(x, a, b);
}
inline F32 op_exp(F32 x, F32, F32) noexcept {
  return vec::exp(x);
}
inline F32 op_log(F32 x, F32, F32) noexcept {
  return vec::log(x);
}
inline F32 op_sigmoid(F32 x, F32, F32) noexcept {
  return vec::sigmoid(x);
}
inline F32 op_tanh(F32 x, F32, F32) noexcept {
  return vec::tanh(x);
}
inline F32 op_erf(F32 x, F32, F32) noexcept {
  return vec::erf(x);
}
inline F32 op_gelu(F32 x, F32, F32) noexcept {
  return vec::gelu(x);
}
inline F32 op_gelu_tanh(F32 x, F32, F32) noexcept {
  return vec::gelu_tanh(x);
}
inline F32 op_silu(F32 x, F32, F32) noexcept {
  return vec::silu(x);
}
inline F32 op_hard_sigmoid(F32 x, F32 a, F32 b) noexcept {
  return vec::hard_sigmoid(x, a, b);
}
inline F32 op_hard_swish(F32 x, F32, F32) noexcept {
  return vec::hard_swish(x);
}
inline F32 op_softplus(F32 x, F32, F32) noexcept {
  return vec::softplus(x);
}
inline F32 op_softsign(F32 x, F32, F32) noexcept {
  return x / (F32(1.0f) + xsimd::abs(x));
}
inline F32 op_elu(F32 x, F32 a, F32) noexcept {
  return vec::elu(x, a);
}
inline F32 op_selu(F32 x, F32 a, F32 b) noexcept {
  return b * vec::elu(x, a);
}
inline F32 op_celu(F32 x, F32 a, F32) noexcept {
  return xsimd::select(x > F32(0.0f), x, a * vec::expm1(x / a));
}
inline F32 op_mish(F32 x, F32, F32) noexcept {
  return vec::mish(x);
}
inline F32 op_thresholded_relu(F32 x, F32 a, F32) noexcept {
  return xsimd::select(x <= a, F32(0.0f), x);
}
inline F32 op_affine(F32 x, F32 a, F32 b) noexcept {
  return a * x + b;
}
inline F32 op_scaled_tanh(F32 x, F32 a, F32 b) noexcept {
  return a * vec::tanh(b * x);
}
inline F32 op_quick_gelu(F32 x, F32 a, F32) noexcept {
  return x * vec::sigmoid(a * x);
}
inline F32 op_shrink(F32 x, F32 lambda, F32 bias) noexcept {
  const F32 high = xsimd::select(x > lambda, x - bias, F32(0.0f));
  return xsimd::select(xsimd::isnan(x), x, xsimd::select(x < -lambda, x + bias, high));
}
inline F32 op_sin(F32 x, F32, F32) noexcept {
  return vec::sin(x);
}
inline F32 op_cos(F32 x, F32, F32) noexcept {
  return vec::cos(x);
}
inline F32 op_is_nan(F32 x, F32, F32) noexcept {
  return xsimd::select(xsimd::isnan(x), F32(1.0f), F32(0.0f));
}
inline F32 op_is_inf(F32 x, F32, F32) noexcept {
  return xsimd::select(xsimd::abs(x) == F32(INFINITY), F32(1.0f), F32(0.0f));
}

void copy(const float* x, float* y, int64_t n, float, float) noexcept {
  if (n > 0) memmove(y, x, static_cast<size_t>(n) * sizeof(float));
}

inline F32 op_add(F32 a, F32 b) noexcept {
  return a + b;
}
inline F32 op_sub(F32 a, F32 b) noexcept {
  return a - b;
}
inline F32 op_mul(F32 a, F32 b) noexcept {
  return a * b;
}
inline F32 op_div(F32 a, F32 b) noexcept {
  return a / b;
}
// The hardware returns b where either is NaN.
inline F32 op_min(F32 a, F32 b) noexcept {
  return xsimd::select(xsimd::isnan(a), a, xsimd::min(a, b));
}
inline F32 op_max(F32 a, F32 b) noexcept {
  return xsimd::select(xsimd::isnan(a), a, xsimd::max(a, b));
}
inline F32 op_prelu(F32 a, F32 b) noexcept {
  return xsimd::select(a < F32(0.0f), a * b, a);
}

inline F32 op_cube(F32 x, F32, F32) noexcept {
  return x * x * x;
}
inline F32 op_root(F32 x, F32, F32) noexcept {
  return xsimd::sqrt(x) + F32(0.0f);
}

// The exponents that models use as constants have exact or nearly exact short forms.
void power(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
           const void* params) noexcept {
  const float* x = static_cast<const float*>(a);
  float* out = static_cast<float*>(y);
  if (step_a == 1 && step_b == 0) {
    const float e = *static_cast<const float*>(b);
    if (e == 2.0f) return map<op_square>(x, out, n, 0, 0);
    if (e == 1.0f) return copy(x, out, n, 0, 0);
    if (e == 3.0f) return map<op_cube>(x, out, n, 0, 0);
    if (e == 0.5f) return map<op_root>(x, out, n, 0, 0);
    if (e == -1.0f) return map<op_reciprocal>(x, out, n, 0, 0);
    if (e == -0.5f) return map<op_rsqrt>(x, out, n, 0, 0);
  }
  libm_pow(a, b, y, n, step_a, step_b, params);
}

void to_f16(const void* x, void* y, int64_t n) noexcept {
  const float* in = static_cast<const float*>(x);
  uint16_t* out = static_cast<uint16_t*>(y);
  int64_t i = 0;
#if defined(SKYLINE_ARCH_avx2) || defined(SKYLINE_ARCH_avx512)
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), h);
  }
#endif
  for (; i < n; ++i) out[i] = f32_to_f16_bits(in[i]);
}
void from_f16(const void* x, void* y, int64_t n) noexcept {
  const uint16_t* in = static_cast<const uint16_t*>(x);
  float* out = static_cast<float*>(y);
  int64_t i = 0;
#if defined(SKYLINE_ARCH_avx2) || defined(SKYLINE_ARCH_avx512)
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
  }
#endif
  for (; i < n; ++i) out[i] = f16_bits_to_f32(in[i]);
}
// Spelled out rather than called from half.h: an inline function there would be a weak symbol of this file.
void to_bf16(const void* x, void* y, int64_t n) noexcept {
  const uint32_t* in = static_cast<const uint32_t*>(x);
  uint16_t* out = static_cast<uint16_t*>(y);
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = in[i];
    const uint32_t nan = (u >> 16) | 0x40, rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    out[i] = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
  }
}
void from_bf16(const void* x, void* y, int64_t n) noexcept {
  const uint16_t* in = static_cast<const uint16_t*>(x);
  uint32_t* out = static_cast<uint32_t*>(y);
  for (int64_t i = 0; i < n; ++i) out[i] = uint32_t{in[i]} << 16;
}

// ---- rows ----

template <bool Scale, bool Shift, bool Other, bool Relu>
inline void affine_part(const AffineRows& a, const float* x, const float* o, float* y, int64_t i,
                        int64_t n) noexcept {
  const auto get = [n](const float* p) { return n == kLanes ? load(p) : load(p, n); };
  F32 v = get(x + i);
  if (Scale) v = v * get(a.scale + i);
  if (Shift) v = v + get(a.shift + i);
  if (Other) v = v + get(o + i);
  if (Relu) v = vec::relu(v);
  n == kLanes ? store(y + i, v) : store(y + i, v, n);
}

template <bool Scale, bool Shift, bool Other, bool Relu>
void affine(const AffineRows& a, int64_t rows) noexcept {
  const float *x = a.x, *o = a.other;
  float* y = a.y;
  for (int64_t r = 0; r < rows; ++r, x += a.ldx, o += Other ? a.ldo : 0, y += a.ldy) {
    int64_t i = 0;
    for (; i + kLanes <= a.n; i += kLanes) affine_part<Scale, Shift, Other, Relu>(a, x, o, y, i, kLanes);
    if (i < a.n) affine_part<Scale, Shift, Other, Relu>(a, x, o, y, i, a.n - i);
  }
}

template <bool Scale, bool Shift>
void affine_with(const AffineRows& a, int64_t rows) noexcept {
  if (a.other)
    return a.relu ? affine<Scale, Shift, true, true>(a, rows) : affine<Scale, Shift, true, false>(a, rows);
  return a.relu ? affine<Scale, Shift, false, true>(a, rows) : affine<Scale, Shift, false, false>(a, rows);
}

void affine_rows(const AffineRows& a, int64_t rows) noexcept {
  if (a.scale) return a.shift ? affine_with<true, true>(a, rows) : affine_with<true, false>(a, rows);
  return a.shift ? affine_with<false, true>(a, rows) : affine_with<false, false>(a, rows);
}

}  // namespace

// In the order of UnaryOp and BinaryOp.
constinit const EltwiseTable SKYLINE_TAGGED(eltwise) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(eltwise)), "eltwise"),
    .unary = {copy,
              map<op_neg>,
              map<op_abs>,
              map<op_sqrt>,
              map<op_rsqrt>,
              map<op_reciprocal>,
              map<op_square>,
              map<op_sign>,
              map<op_floor>,
              map<op_ceil>,
              map<op_round>,
              map<op_trunc>,
              map<op_relu>,
              map<op_leaky_relu>,
              map<op_clip>,
              map<op_exp>,
              map<op_log>,
              map<op_sigmoid>,
              map<op_tanh>,
              map<op_erf>,
              map<op_gelu>,
              map<op_gelu_tanh>,
              map<op_silu>,
              map<op_hard_sigmoid>,
              map<op_hard_swish>,
              map<op_softplus>,
              map<op_softsign>,
              map<op_elu>,
              map<op_selu>,
              map<op_celu>,
              map<op_mish>,
              map<op_thresholded_relu>,
              map<op_affine>,
              map<op_scaled_tanh>,
              map<op_quick_gelu>,
              map<op_shrink>,
              map<op_sin>,
              map<op_cos>,
              libm_tan,
              libm_asin,
              libm_acos,
              libm_atan,
              libm_sinh,
              libm_cosh,
              libm_asinh,
              libm_acosh,
              libm_atanh,
              libm_log1p,
              libm_expm1,
              map<op_is_nan>,
              map<op_is_inf>},
    .binary = {map2<op_add>, map2<op_sub>, map2<op_mul>, map2<op_div>, map2<op_min>, map2<op_max>, power,
               map2<op_prelu>, libm_mod, libm_fmod, compare<BinaryOp::eq>, compare<BinaryOp::ne>,
               compare<BinaryOp::lt>, compare<BinaryOp::le>, compare<BinaryOp::gt>, compare<BinaryOp::ge>},
    .f32_to_f16 = to_f16,
    .f16_to_f32 = from_f16,
    .f32_to_bf16 = to_bf16,
    .bf16_to_f32 = from_bf16,
    .affine_rows = affine_rows,
};

}  // namespace skyline::kernels
