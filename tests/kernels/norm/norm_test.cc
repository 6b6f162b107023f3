#include "kernels/norm/norm.h"

#include <cmath>
#include <cstring>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

// Mean and 1 / sqrt(variance + eps) of the elements x[f(0)], ..., x[f(n - 1)].
template <class F>
std::pair<double, double> moments(const std::vector<float>& x, int64_t n, double eps, F&& f) {
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < n; ++i) mean += x[f(i)];
  mean /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) variance += (x[f(i)] - mean) * (x[f(i)] - mean);
  return {mean, 1 / std::sqrt(variance / static_cast<double>(n) + eps)};
}

}  // namespace

TEST_CASE("layer and rms norm, with everything that can be added first") {
  each_level([&](IsaSet isa) {
    for (const int64_t n : {1, 5, 16, 33, 200}) {
      const int64_t rows = 7;
      test::Random random(n);
      const auto x = random.floats(rows * n, 3, 5), residual = random.floats(rows * n),
                 bias = random.floats(n), gamma = random.floats(n, 0.5f, 2), beta = random.floats(n);
      std::vector<float> y(x.size()), sum(x.size()), mean(rows), inv(rows), first;
      for (const int threads : kThreadCounts) {
        RowNormArgs a{.x = x.data(),
                      .residual = residual.data(),
                      .bias = bias.data(),
                      .gamma = gamma.data(),
                      .beta = beta.data(),
                      .y = y.data(),
                      .sum = sum.data(),
                      .mean = mean.data(),
                      .inv_std = inv.data(),
                      .rows = rows,
                      .n = n,
                      .eps = 1e-3f};
        norm_kernels(isa).layer(a, threads);
        for (int64_t r = 0; r < rows; ++r) {
          const auto [m, s] = moments(sum, n, 1e-3, [&](int64_t i) { return r * n + i; });
          CHECK(mean[r] == doctest::Approx(m).epsilon(1e-5));
          CHECK(inv[r] == doctest::Approx(s).epsilon(1e-4));
          for (int64_t i = 0; i < n; ++i) {
            CHECK(sum[r * n + i] == x[r * n + i] + residual[r * n + i] + bias[i]);
            CHECK(y[r * n + i] ==
                  doctest::Approx((sum[r * n + i] - m) * s * gamma[i] + beta[i]).epsilon(1e-4));
          }
        }
        if (first.empty()) first = y;
        CHECK(std::memcmp(first.data(), y.data(), y.size() * 4) == 0);
        norm_kernels(isa).rms({.x = x.data(), .gamma = gamma.data(), .y = y.data(), .rows = rows, .n = n},
                              threads);
        for (int64_t r = 0; r < rows; ++r) {
          double square = 0;
          for (int64_t i = 0; i < n; ++i) square += double(x[r * n + i]) * x[r * n + i];
          const double s = 1 / std::sqrt(square / double(n) + 1e-5);
          for (int64_t i = 0; i < n; ++i)
            CHECK(y[r * n + i] == doctest::Approx(x[r * n + i] * s * gamma[i]).epsilon(1e-5));
        }
      }
      RowNormArgs in_place{.x = y.data(), .residual = residual.data(), .y = y.data(), .rows = rows, .n = n};
      y = x;
      norm_kernels(isa).layer(in_place, 1);
      for (size_t i = 0; i < y.size(); ++i) sum[i] = x[i] + residual[i];
      const auto [m, s] = moments(sum, n, 1e-5, [](int64_t i) { return i; });
      for (int64_t i = 0; i < n; ++i) CHECK(std::fabs(y[i] - (sum[i] - m) * s) < 2e-3 * (n == 1 ? 100 : 1));
    }
  });
}

TEST_CASE("a large offset does not cancel") {
  std::vector<float> x(64), y(64);
  for (int i = 0; i < 64; ++i) x[i] = 4096.0f + static_cast<float>(i % 2);
  each_level([&](IsaSet isa) {
    norm_kernels(isa).layer({.x = x.data(), .y = y.data(), .rows = 1, .n = 64, .eps = 0}, 1);
    for (int i = 0; i < 64; ++i) CHECK(y[i] == doctest::Approx(i % 2 ? 1 : -1));
  });
}

TEST_CASE("group and instance norm in both layouts") {
  each_level([&](IsaSet isa) {
    for (const bool last : {false, true}) {
      for (const int64_t groups : {1, 2, 6, 18}) {
        const int64_t batch = 2, channels = 18, spatial = 23, per = channels / groups;
        test::Random random(groups);
        const auto x = random.floats(batch * channels * spatial, -1, 3),
                   gamma = random.floats(channels, 0.5f, 2), beta = random.floats(channels);
        const auto at = [&](int64_t b, int64_t c, int64_t s) {
          return last ? (b * spatial + s) * channels + c : (b * channels + c) * spatial + s;
        };
        std::vector<float> y(x.size());
        for (const int threads : kThreadCounts) {
          norm_kernels(isa).group({.x = x.data(),
                                   .gamma = gamma.data(),
                                   .beta = beta.data(),
                                   .y = y.data(),
                                   .batch = batch,
                                   .channels = channels,
                                   .spatial = spatial,
                                   .groups = groups,
                                   .channels_last = last},
                                  threads);
          for (int64_t b = 0; b < batch; ++b) {
            for (int64_t g = 0; g < groups; ++g) {
              const auto [m, inv] = moments(x, per * spatial, 1e-5, [&](int64_t i) {
                return at(b, g * per + i / spatial, i % spatial);
              });
              for (int64_t i = 0; i < per * spatial; ++i) {
                const int64_t c = g * per + i / spatial, p = at(b, c, i % spatial);
                CHECK(std::fabs(y[p] - ((x[p] - m) * inv * gamma[c] + beta[c])) < 2e-5);
              }
            }
          }
        }
      }
    }
  });
}

TEST_CASE("scale and shift, folded batch norm, lp norm") {
  test::Random random(3);
  const int64_t outer = 3, channels = 21, inner = 19;
  const auto x = random.floats(outer * channels * inner), gamma = random.floats(channels),
             beta = random.floats(channels), mean = random.floats(channels),
             variance = random.floats(channels, 0.1f, 2);
  std::vector<float> scale(channels), shift(channels), y(x.size());
  fold_batch_norm(gamma.data(), beta.data(), mean.data(), variance.data(), 1e-5f, channels, scale.data(),
                  shift.data());
  each_level([&](IsaSet isa) {
    const NormTable& t = norm_kernels(isa);
    t.scale_shift(x.data(), scale.data(), shift.data(), y.data(), outer, channels, inner, true, 2);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t c = i / inner % channels;
      const double want = (x[i] - mean[c]) / std::sqrt(variance[c] + 1e-5) * gamma[c] + beta[c];
      CHECK(std::fabs(y[i] - std::fmax(want, 0)) < 2e-6);
    }
    t.scale_shift(x.data(), scale.data(), shift.data(), y.data(), outer * inner, channels, 1, false, 3);
    for (size_t i = 0; i < x.size(); ++i)
      CHECK(std::fabs(y[i] - (x[i] * scale[i % channels] + shift[i % channels])) < 1e-6);
    for (const int p : {1, 2}) {
      for (const int64_t in : {int64_t{1}, inner}) {
        const int64_t n = in == 1 ? channels * inner : channels;
        t.lp(x.data(), y.data(), outer, n, in, p, 2);
        for (int64_t k = 0; k < outer * in; ++k) {
          double norm = 0;
          const auto at = [&](int64_t r) { return (k / in * n + r) * in + k % in; };
          for (int64_t r = 0; r < n; ++r) norm += p == 1 ? std::fabs(x[at(r)]) : double(x[at(r)]) * x[at(r)];
          if (p == 2) norm = std::sqrt(norm);
          for (int64_t r = 0; r < n; ++r) CHECK(std::fabs(y[at(r)] - x[at(r)] / norm) < 1e-6);
        }
      }
    }
  });
}
