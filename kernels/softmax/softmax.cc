#include "kernels/softmax/softmax.h"

#include "kernels/base/levels.h"

namespace skyline::kernels {

const SoftmaxTable& softmax_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(softmax, isa);
}

}  // namespace skyline::kernels
