#include "kernels/norm/norm.h"

#include <cmath>

#include "kernels/base/levels.h"

namespace skyline::kernels {

const NormTable& norm_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(norm, isa);
}

void fold_batch_norm(const float* gamma, const float* beta, const float* mean, const float* variance,
                     float eps, int64_t channels, float* scale, float* shift) noexcept {
  for (int64_t c = 0; c < channels;
       ++c) {  // in double: this is done once, the result is used for every element
    const double s = gamma[c] / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(eps));
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(beta[c] - mean[c] * s);
  }
}

}  // namespace skyline::kernels
