#pragma once
// The f32 functions that go through the C library, element by element: shared by the tables of every ISA
// level.
#include <cstdint>

namespace skyline::kernels {

void libm_tan(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_asin(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_acos(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_atan(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_sinh(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_cosh(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_asinh(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_acosh(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_atanh(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_log1p(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_expm1(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
void libm_pow(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
              const void* params) noexcept;
void libm_mod(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
              const void* params) noexcept;
void libm_fmod(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
               const void* params) noexcept;

}  // namespace skyline::kernels
