#include "kernels/eltwise/libm.h"

#include <cmath>

namespace skyline::kernels {
namespace {

template <class F>
void each(const float* x, float* y, int64_t n, F&& f) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}
template <class F>
void each_pair(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b, F&& f) noexcept {
  const float *u = static_cast<const float*>(a), *v = static_cast<const float*>(b);
  float* out = static_cast<float*>(y);
  for (int64_t i = 0; i < n; ++i) out[i] = f(u[i * step_a], v[i * step_b]);
}

}  // namespace

void libm_tan(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::tan(v); });
}
void libm_asin(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::asin(v); });
}
void libm_acos(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::acos(v); });
}
void libm_atan(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::atan(v); });
}
void libm_sinh(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::sinh(v); });
}
void libm_cosh(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::cosh(v); });
}
void libm_asinh(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::asinh(v); });
}
void libm_acosh(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::acosh(v); });
}
void libm_atanh(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::atanh(v); });
}
void libm_log1p(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::log1p(v); });
}
void libm_expm1(const float* x, float* y, int64_t n, float, float) noexcept {
  each(x, y, n, [](float v) { return std::expm1(v); });
}
void libm_pow(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
              const void*) noexcept {
  each_pair(a, b, y, n, step_a, step_b, [](float u, float v) { return std::pow(u, v); });
}
void libm_mod(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
              const void*) noexcept {
  each_pair(a, b, y, n, step_a, step_b, [](float u, float v) {
    const float r = std::fmod(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
  });
}
void libm_fmod(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
               const void*) noexcept {
  each_pair(a, b, y, n, step_a, step_b, [](float u, float v) { return std::fmod(u, v); });
}

}  // namespace skyline::kernels
