#include "kernels/softmax/softmax.h"

#include <cmath>
#include <cstring>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

std::vector<double> reference(const std::vector<float>& x, int64_t outer, int64_t n, int64_t inner,
                              bool log) {
  std::vector<double> y(x.size());
  for (int64_t k = 0; k < outer * inner; ++k) {
    const int64_t from = k / inner * n * inner + k % inner;
    double m = -INFINITY, sum = 0;
    for (int64_t r = 0; r < n; ++r) m = std::fmax(m, x[from + r * inner]);
    for (int64_t r = 0; r < n; ++r) sum += std::exp(x[from + r * inner] - m);
    for (int64_t r = 0; r < n; ++r) {
      const double v = x[from + r * inner] - m;
      y[from + r * inner] = log ? v - std::log(sum) : std::exp(v) / sum;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("softmax and log-softmax over the last and over inner axes") {
  const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 1},   {2, 16, 1}, {2, 33, 1}, {5, 1000, 1},
                               {2, 7, 3}, {3, 10, 16}, {2, 4, 37}, {40, 65, 1}};
  each_level([&](IsaSet isa) {
    for (const auto& shape : shapes) {
      const int64_t outer = shape[0], n = shape[1], inner = shape[2];
      test::Random random(n);
      auto x = random.floats(outer * n * inner, -20, 20);
      if (n > 4) x[3] = -INFINITY;
      for (const bool log : {false, true}) {
        const auto want = reference(x, outer, n, inner, log);
        std::vector<float> y(x.size()), other(x.size());
        softmax_kernels(isa).run(x.data(), y.data(), outer, n, inner, log, 1);
        for (size_t i = 0; i < y.size(); ++i) {
          INFO(outer, " ", n, " ", inner, " log ", log, " at ", i, ": ", y[i], " want ", want[i]);
          CHECK((y[i] == want[i] || std::fabs(y[i] - want[i]) <= 3e-6 * (log ? 20 : want[i])));
        }
        for (const int threads : {2, 3, 8}) {
          softmax_kernels(isa).run(x.data(), other.data(), outer, n, inner, log, threads);
          CHECK(std::memcmp(y.data(), other.data(), y.size() * 4) == 0);
        }
        other = x;
        softmax_kernels(isa).run(other.data(), other.data(), outer, n, inner, log, 1);
        CHECK(std::memcmp(y.data(), other.data(), y.size() * 4) == 0);
      }
    }
  });
}

TEST_CASE("masked softmax repeats the mask as told") {
  test::Random random(9);
  const int64_t rows = 12, n = 19;  // 2 batches, 2 heads, 3 queries
  const auto x = random.floats(rows * n, -3, 3), mask = random.floats(3 * n, -2, 2);
  each_level([&](IsaSet isa) {
    std::vector<float> y(x.size()), sum(x.size());
    for (const auto& [every, repeat] : {std::pair<int64_t, int64_t>{1, 3}, {6, 2}}) {
      softmax_kernels(isa).masked(x.data(), mask.data(), y.data(), rows, n, 0.25f, every, repeat, 2);
      for (int64_t i = 0; i < rows * n; ++i) sum[i] = x[i] * 0.25f + mask[i / n / every % repeat * n + i % n];
      const auto want = reference(sum, rows, n, 1, false);
      for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == doctest::Approx(want[i]).epsilon(2e-6));
    }
  });
}
