// Two permutations of bytes index 128 entries each. AVX512-VBMI has no level of its own: every CPU with
// AVX512-FP16 has it, and lookup_kernel asks the CPU as well.
#include <immintrin.h>

#include "kernels/quantize/lookup.h"

namespace skyline::kernels {
namespace {

__attribute__((target("avx512vbmi"))) void run(const uint8_t* x, uint8_t* y, int64_t n,
                                               const uint8_t* table) noexcept {
  const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64),
                c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 there = n - i >= 64 ? ~uint64_t{0} : (uint64_t{1} << (n - i)) - 1;
    const __m512i code = _mm512_maskz_loadu_epi8(there, x + i);
    const __m512i low = _mm512_permutex2var_epi8(a, code, b), high = _mm512_permutex2var_epi8(c, code, d);
    _mm512_mask_storeu_epi8(y + i, there, _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high));
  }
}

}  // namespace

constinit const LookupKernel lookup_avx512fp16 = {{.name = "lookup_avx512fp16",
                                                   .op = "lookup",
                                                   .needs = kIsaAvx512 | kIsaFp16,
                                                   .in = DType::u8,
                                                   .out = DType::u8},
                                                  run};

}  // namespace skyline::kernels
