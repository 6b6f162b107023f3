// parallel_for as one parallel region of OpenMP.
#include <omp.h>

#include <algorithm>

#include "kernels/base/parallel_backends.h"

namespace skyline::kernels {

void openmp_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t blocks = (n + grain - 1) / grain;
  const int parts = static_cast<int>(std::min<int64_t>({threads, blocks, 1024}));
  if (parts <= 1 || ParallelScope::inside()) return body(self, 0, n);  // a nested call stays on its thread
#pragma omp parallel num_threads(parts)
  {
    // OpenMP may grant fewer threads than asked: stride over the parts so that each is still done once.
    const ParallelScope scope(omp_get_thread_num());
    const int have = omp_get_num_threads();
    for (int part = omp_get_thread_num(); part < parts; part += have) {
      const int64_t begin = blocks * part / parts * grain;
      const int64_t end = std::min(n, blocks * (part + 1) / parts * grain);
      if (begin < end) body(self, begin, end);
    }
  }
}

}  // namespace skyline::kernels
