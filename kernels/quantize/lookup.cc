#include "kernels/quantize/lookup.h"

#include "kernels/base/parallel.h"

namespace skyline::kernels {

const LookupKernel& lookup_kernel(IsaSet isa) noexcept {
#if defined(__x86_64__)
  if (usable(lookup_avx512fp16, isa) && __builtin_cpu_supports("avx512vbmi")) return lookup_avx512fp16;
  if (usable(lookup_avx512, isa)) return lookup_avx512;
  if (usable(lookup_avx2, isa)) return lookup_avx2;
  return lookup_sse2;
#else
  (void)isa;
  return lookup_neon;
#endif
}

void lookup_u8(const LookupKernel& k, const uint8_t* x, uint8_t* y, int64_t n, const uint8_t* table,
               int threads) noexcept {
  constexpr int64_t kPiece = 1 << 15;  // bytes worth a thread
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  parallel_for(threads, pieces, 1, [&](int64_t begin, int64_t end) noexcept {
    const int64_t from = begin * kPiece, to = end * kPiece < n ? end * kPiece : n;
    k.run(x + from, y + from, to - from, table);
  });
}

}  // namespace skyline::kernels
