#pragma once
// The two ways to do parallel_for; SKYLINE_THREADS (CMake) says which one it is.
#include "kernels/base/parallel.h"

namespace skyline::kernels {

// The contract of parallel_for_raw. pool_for has threads of its own, openmp_for uses OpenMP's, which an
// embedding program may want to share.
void pool_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept;
void openmp_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept;

// Says that calls at the same time will want so many helpers in all. The pool's own threads grow with the
// largest single call only, so that callers at a time would share the helpers of one. OpenMP gives each
// caller a team of its own anyway.
void reserve_helpers(int count) noexcept;

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
