// parallel_for as one parallel region of OpenMP.
#include <omp.h>

#include <algorithm>

#include "kernels/base/parallel_backends.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKYLINE_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define SKYLINE_TSAN 1
#endif
#ifdef SKYLINE_TSAN
#include <sanitizer/tsan_interface.h>
#define SKYLINE_UNSEEN_BY_TSAN __attribute__((no_sanitize_thread))
#else
#define SKYLINE_UNSEEN_BY_TSAN
#endif

namespace skyline::kernels {
namespace {

// ThreadSanitizer does not see into libgomp, so it is told what the two ends of a region order, and nothing
// more: all that the caller did before comes before every part, and every part before all that the caller
// does next.
struct Region {
#ifdef SKYLINE_TSAN
  void fork() {
    __tsan_release(&begin);
  }
  void enter() {
    __tsan_acquire(&begin);
  }
  void leave() {
    __tsan_release(&end);
  }
  void join() {
    __tsan_acquire(&end);
  }
  char begin = 0, end = 0;
#else
  void fork() {}
  void enter() {}
  void leave() {}
  void join() {}
#endif
};

}  // namespace

SKYLINE_UNSEEN_BY_TSAN void openmp_for(int threads, int64_t n, int64_t grain, RangeBody body,
                                       void* self) noexcept {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t blocks = (n + grain - 1) / grain;
  const int parts = static_cast<int>(std::min<int64_t>({threads, blocks, 1024}));
  if (parts <= 1 || ParallelScope::inside()) return body(self, 0, n);  // a nested call stays on its thread
  Region region;
  region.fork();
#pragma omp parallel num_threads(parts)
  {
    region.enter();
    // OpenMP may grant fewer threads than asked: stride over the parts so that each is still done once.
    const ParallelScope scope(omp_get_thread_num());
    const int have = omp_get_num_threads();
    for (int part = omp_get_thread_num(); part < parts; part += have) {
      const int64_t begin = blocks * part / parts * grain;
      const int64_t end = std::min(n, blocks * (part + 1) / parts * grain);
      if (begin < end) body(self, begin, end);
    }
    region.leave();
  }
  region.join();
}

}  // namespace skyline::kernels
