// Every kernel of the build, in one place. To add a kernel: define its row beside its code, declare it in the
// family's header, and name it here, before the rows of the same op that it beats.
#include "kernels/conv/depthwise.h"
#include "kernels/gemm/tile.h"
#include "skyline/kernel.h"

namespace skyline {
namespace {

using namespace kernels;

constexpr const KernelInfo* kAll[] = {
#if defined(__x86_64__)
    // gemm: kernels/gemm
    &gemm_f32_avx512,
    &gemm_f32_avx2,
    &gemm_f32_sse2,
    // of 8-bit integers widened
    &gemm_i16_avx512,
    &gemm_i16_avx2,
    &gemm_i16_sse2,
    // depthwise: kernels/conv
    &depthwise_f32_avx512,
    &depthwise_f32_avx2,
    &depthwise_f32_sse2,
#elif defined(__aarch64__)
    &gemm_f32_neon,
    &gemm_i16_neon,
    &depthwise_f32_neon,
#endif
};

}  // namespace

std::span<const KernelInfo* const> all_kernels() noexcept {
  return kAll;
}

}  // namespace skyline
