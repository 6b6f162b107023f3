#include <doctest/doctest.h>

#include <atomic>
#include <iterator>
#include <thread>
#include <vector>

#include "kernels/base/parallel_backends.h"

using namespace skyline::kernels;

namespace {

using Backend = void (*)(int, int64_t, int64_t, RangeBody, void*) noexcept;
constexpr Backend kBackends[] = {pool_for, openmp_for};

template <class F>
void run(Backend backend, int threads, int64_t n, int64_t grain, F body) {
  backend(
      threads, n, grain, [](void* self, int64_t begin, int64_t end) { (*static_cast<F*>(self))(begin, end); },
      &body);
}

}  // namespace

TEST_CASE("parallel_for covers every element once, in ranges that begin at multiples of the grain") {
  for (const Backend backend : kBackends) {
    for (int threads : {1, 2, 3, 8, 100, 5000})
      for (int64_t n : {0, 1, 7, 64, 1000}) {
        for (int64_t grain : {0, 1, 3, 64, 2000}) {
          std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
          std::atomic<bool> fine{true};
          run(backend, threads, n, grain, [&](int64_t begin, int64_t end) {
            if (begin >= end || end > n || (grain > 1 && begin % grain != 0)) fine = false;
            if (parallel_index() < 0 || parallel_index() >= threads) fine = false;
            for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
          });
          CHECK(fine);
          for (const auto& h : hits) REQUIRE(h == 1);
        }
      }
  }
  CHECK(parallel_index() == 0);
}

TEST_CASE("threads inside one parallel_for have different indices, and a nested call stays on its thread") {
  std::vector<std::atomic<int>> inside(8);
  std::atomic<bool> fine{true};
  for (int turn = 0; turn < 200; ++turn) {
    const Backend backend = kBackends[static_cast<size_t>(turn) % std::size(kBackends)];
    run(backend, 8, 64, 1, [&](int64_t, int64_t) {
      const auto me = static_cast<size_t>(parallel_index());
      if (inside[me].fetch_add(1) != 0) fine = false;
      const auto self = std::this_thread::get_id();
      run(backend, 8, 16, 1, [&](int64_t, int64_t) {
        if (std::this_thread::get_id() != self) fine = false;
      });
      inside[me].fetch_sub(1);
    });
  }
  CHECK(fine);
}

TEST_CASE("many threads call parallel_for at a time") {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int t = 0; t < 40; ++t) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 50; ++turn) {
        int64_t mine[100] = {};
        run(kBackends[static_cast<size_t>(turn) % std::size(kBackends)], 3, 100, 1,
            [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i) mine[i] = i;
            });
        for (int64_t x : mine) sum += x;
      }
    });
  }
  for (std::thread& t : callers) t.join();
  CHECK(sum == 40 * 50 * 4950);
}
