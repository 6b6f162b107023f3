#include "kernels/rnn/rnn.h"

#include "kernels/base/levels.h"

namespace skyline::kernels {

const RnnTable& rnn_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(rnn, isa);
}

}  // namespace skyline::kernels
