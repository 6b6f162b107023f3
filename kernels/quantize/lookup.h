#pragma once
// Any unary function of 8-bit codes is a table of 256: y[i] = table[x[i]], the byte as unsigned, for i8 too.
//
// How to use: const LookupKernel& k = lookup_kernel(isa); lookup_u8(k, x, y, n, table, threads). x may be y.
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

struct LookupKernel : KernelInfo {
  // n >= 0; x may be y, and must not overlap it otherwise.
  void (*run)(const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table) noexcept;
};
extern const LookupKernel lookup_sse2, lookup_avx2, lookup_avx512, lookup_avx512fp16,
    lookup_neon;  // of this architecture only

const LookupKernel& lookup_kernel(IsaSet isa) noexcept;
void lookup_u8(const LookupKernel& k, const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table,
               int threads) noexcept;

}  // namespace skyline::kernels
