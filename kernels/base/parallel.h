#pragma once
// The one way in which Skyline uses several threads.
#include <cstdint>
#include <type_traits>

namespace skyline::kernels {

// Calls body(begin, end) over [0, n) cut into contiguous ranges whose bounds are multiples of `grain`, each
// range once, on at most `threads` threads, the calling one among them; returns when all are done. A thread
// may get several ranges, neighbours first. Runs on the calling thread alone when threads <= 1 or n <= grain,
// and inside another parallel_for. body must be noexcept and must not depend on how the range was cut:
// results are the same bits for any number of threads. Any number of threads may call at a time. No
// allocation once the threads exist: body is passed by reference.
using RangeBody = void (*)(void* self, int64_t begin, int64_t end);
void parallel_for_raw(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept;

template <class F>
void parallel_for(int threads, int64_t n, int64_t grain, F&& body) noexcept {
  if (threads <= 1 || n <= grain) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  using Body = std::remove_reference_t<F>;
  parallel_for_raw(
      threads, n, grain,
      [](void* self, int64_t begin, int64_t end) { (*static_cast<Body*>(self))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Index of the calling thread inside the innermost parallel_for, 0 outside: for per-thread scratch. <
// threads.
int parallel_index() noexcept;

}  // namespace skyline::kernels
