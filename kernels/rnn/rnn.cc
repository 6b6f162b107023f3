#include "kernels/rnn/rnn.h"

#include "kernels/base/levels.h"

namespace skyline::kernels {

extern const RnnTable rnn_sse2, rnn_avx2, rnn_avx512, rnn_neon;

const RnnTable& rnn_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(rnn, isa);
}

}  // namespace skyline::kernels
