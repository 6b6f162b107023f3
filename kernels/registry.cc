// Every kernel of the build, in one place. To add a kernel: define its row beside its code, declare it in the
// family's header, and name it here, before the rows of the same op that it beats.
#include "kernels/gemm/tile.h"
#include "skyline/kernel.h"

namespace skyline {
namespace {

using namespace kernels;

constexpr const KernelInfo* kAll[] = {
#if defined(__x86_64__)
    &gemm_f32_avx512, &gemm_f32_avx2, &gemm_f32_sse2, &gemm_i16_avx512, &gemm_i16_avx2, &gemm_i16_sse2,
#elif defined(__aarch64__)
    &gemm_f32_neon,
    &gemm_i16_neon,
#endif
};

}  // namespace

std::span<const KernelInfo* const> all_kernels() noexcept {
  return kAll;
}

}  // namespace skyline
