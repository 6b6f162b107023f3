#include "kernels/softmax/softmax.h"

#include "kernels/base/levels.h"

namespace skyline::kernels {

extern const SoftmaxTable softmax_sse2, softmax_avx2, softmax_avx512, softmax_neon;

const SoftmaxTable& softmax_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(softmax, isa);
}

}  // namespace skyline::kernels
