#include "kernels/base/parallel.h"

#include <omp.h>

#include <algorithm>

namespace skyline::kernels {
namespace {
thread_local int t_index = 0;
}

int parallel_index() noexcept {
  return t_index;
}

void parallel_for_raw(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t blocks = (n + grain - 1) / grain;
  const int parts = static_cast<int>(std::min<int64_t>(threads, blocks));
  if (parts <= 1 || omp_in_parallel()) {  // a nested call stays on its thread
    body(self, 0, n);
    return;
  }
#pragma omp parallel num_threads(parts)
  {
    // OpenMP may grant fewer threads than asked: stride over the parts so that each is still done once.
    const int have = omp_get_num_threads();
    t_index = omp_get_thread_num();
    for (int part = t_index; part < parts; part += have) {
      const int64_t begin = blocks * part / parts * grain;
      const int64_t end = std::min(n, blocks * (part + 1) / parts * grain);
      if (begin < end) body(self, begin, end);
    }
    t_index = 0;
  }
}

}  // namespace skyline::kernels
