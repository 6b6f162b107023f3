#pragma once
// For *.isa.cc and *_avx2.cc-like files only: the SIMD vocabulary of the level that the file is compiled for.
// Such a file defines one externally visible symbol, a constinit table or row in namespace skyline::kernels
// with the level in its name (SKYLINE_TAGGED(eltwise) -> eltwise_avx2). All else in it is in an anonymous
// namespace or a template over an arch-tagged type, and it uses no std containers, algorithms or exceptions:
// the linker may hand a weak symbol compiled for AVX-512 to every CPU. .ci/run checks this with nm.
#include <xsimd/xsimd.hpp>

#ifndef SKYLINE_ARCH
#error "compile through skyline's kernels/CMakeLists.txt: SKYLINE_ARCH names the level"
#endif
#define SKYLINE_CAT_(a, b) a##_##b
#define SKYLINE_CAT(a, b) SKYLINE_CAT_(a, b)
#define SKYLINE_TAGGED(base) SKYLINE_CAT(base, SKYLINE_ARCH)

namespace skyline::kernels {
namespace {
#if defined(SKYLINE_ARCH_avx512)
using Arch = xsimd::avx512bw;
#elif defined(SKYLINE_ARCH_avx2)
using Arch = xsimd::fma3<xsimd::avx2>;
#elif defined(SKYLINE_ARCH_neon)
using Arch = xsimd::neon64;
#else
using Arch = xsimd::sse2;
#endif
using F32 = xsimd::batch<float, Arch>;
using I32 = xsimd::batch<int32_t, Arch>;
constexpr int kLanes = static_cast<int>(F32::size);

// a * b + c, fused where the level has FMA (all but sse2). xsimd 8.1 lacks it for AVX-512 and would multiply,
// then add.
inline F32 mul_add(F32 a, F32 b, F32 c) {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_fmadd_ps(a, b, c);
#else
  return xsimd::fma(a, b, c);
#endif
}
}  // namespace
}  // namespace skyline::kernels

#if defined(SKYLINE_ARCH_neon)
#include "kernels/base/neon64.h"
#endif
