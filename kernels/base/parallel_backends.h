#pragma once
// The two ways to do parallel_for; SKYLINE_THREADS (CMake) says which one it is.
#include "kernels/base/parallel.h"

namespace skyline::kernels {

// The contract of parallel_for_raw. pool_for has threads of its own, openmp_for uses OpenMP's, which an
// embedding program may want to share.
void pool_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept;
void openmp_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept;

// While it lives, the calling thread is inside a parallel_for, as number `index`.
class ParallelScope {
 public:
  explicit ParallelScope(int index) noexcept;
  ~ParallelScope();
  ParallelScope(const ParallelScope&) = delete;
  ParallelScope& operator=(const ParallelScope&) = delete;
  static bool inside() noexcept;
};

}  // namespace skyline::kernels
