#include "kernels/base/parallel_backends.h"

namespace skyline::kernels {
namespace {

thread_local int t_index = 0;
thread_local bool t_inside = false;

#ifdef SKYLINE_OPENMP_THREADS
constexpr auto kBackend = openmp_for;
#else
constexpr auto kBackend = pool_for;
#endif

}  // namespace

ParallelScope::ParallelScope(int index) noexcept {
  t_index = index;
  t_inside = true;
}
ParallelScope::~ParallelScope() {
  t_index = 0;
  t_inside = false;
}
bool ParallelScope::inside() noexcept {
  return t_inside;
}

int parallel_index() noexcept {
  return t_index;
}

void parallel_for_raw(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept {
  kBackend(threads, n, grain, body, self);
}

}  // namespace skyline::kernels
