#pragma once
// Choosing among the tables that one *.isa.cc file leaves behind, one per ISA level. For the portable .cc
// beside it:
//   extern const XTable x_sse2, x_avx2, x_avx512, x_neon;   (those of other architectures stay undefined,
//   unused) const XTable& x_kernels(IsaSet isa) noexcept { return SKYLINE_PICK_LEVEL(x, isa); }
// The lowest level is the answer for a set that names none.
#include "skyline/isa.h"

#if defined(__x86_64__)
#define SKYLINE_PICK_LEVEL(base, isa) \
  (((isa)&kIsaAvx512) ? base##_avx512 : ((isa)&kIsaAvx2) ? base##_avx2 : base##_sse2)
#else
#define SKYLINE_PICK_LEVEL(base, isa) (static_cast<void>(isa), base##_neon)
#endif
