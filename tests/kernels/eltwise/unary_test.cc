#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/eltwise/eltwise.h"
#include "kernels/trial/unary_reference.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

std::vector<float> arguments() {
  std::vector<float> x = {0.0f,     -0.0f,     1e-45f,  -1e-45f, 1e-40f,     1.17549435e-38f, 3e38f,
                          -3e38f,   0.5f,      1.5f,    2.5f,    -0.5f,      -2.5f,           88.7f,
                          88.8f,    -87.4f,    -103.0f, -104.5f, 8388609.0f, 16777216.0f,     -1e10f,
                          INFINITY, -INFINITY, 0.625f,  0.92f,   5000.0f,    9000.0f};
  test::Random random(7);
  for (int i = 0; i < 3000; ++i) x.push_back(random.uniform(-12, 12));
  for (int i = 0; i < 3000; ++i) {
    const float v = std::bit_cast<float>(random.bits());
    if (!std::isnan(v)) x.push_back(v);
  }
  return x;
}

double allowed(const UnaryReference& c, double want) {
  const double unit = want == 0 ? 1.4e-45 : std::fmax(std::ldexp(1.0, std::ilogb(want) - 23), 1.4e-45);
  return std::fmax(c.ulps * unit, c.floor);
}

}  // namespace

TEST_CASE("unary functions are within a few units of the last place") {
  const std::vector<float> x = arguments();
  const int64_t n = static_cast<int64_t>(x.size());
  each_level([&](IsaSet isa) {
    for (const UnaryReference& c : unary_references()) {
      std::vector<float> y(x.size());
      run_unary(eltwise_kernels(isa).unary[static_cast<int>(c.op)], x.data(), y.data(), n, c.alpha, c.beta,
                1);
      int bad = 0;
      for (size_t i = 0; i < x.size() && bad < 3; ++i) {
        const double want = c.reference(x[i], c.alpha, c.beta);
        const float rounded = static_cast<float>(want);
        const bool ok = std::isnan(rounded)   ? std::isnan(y[i])
                        : std::isinf(rounded) ? y[i] == rounded || std::fabs(y[i]) > 3.4e38f
                                              : std::fabs(y[i] - want) <= allowed(c, want);
        if (ok) continue;
        ++bad;
        FAIL_CHECK(std::string(c.name) << "(" << x[i] << ") = " << y[i] << ", want " << want);
      }
    }
  });
}

TEST_CASE("unary functions hand NaN on") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  each_level([&](IsaSet isa) {
    for (const UnaryReference& c : unary_references()) {
      if (c.op == UnaryOp::is_nan || c.op == UnaryOp::is_inf) continue;
      INFO(std::string(c.name));
      float y = 0;
      eltwise_kernels(isa).unary[static_cast<int>(c.op)](&nan, &y, 1, c.alpha, c.beta);
      CHECK(std::isnan(y));
    }
    float y = 0;
    eltwise_kernels(isa).unary[static_cast<int>(UnaryOp::is_nan)](&nan, &y, 1, 0, 0);
    CHECK(y == 1.0f);
  });
}

TEST_CASE("an element's bits depend neither on its place nor on the threads") {
  test::Random random(3);
  const std::vector<float> x = random.floats(40003, -8, 8);
  each_level([&](IsaSet isa) {
    for (int op = 0; op < kUnaryCount; ++op) {
      const UnaryFn fn = eltwise_kernels(isa).unary[op];
      std::vector<float> all(x.size()), other(x.size());
      run_unary(fn, x.data(), all.data(), 40003, 0.5f, 1.5f, 1);
      for (const int threads : {3, 8}) {
        run_unary(fn, x.data(), other.data(), 40003, 0.5f, 1.5f, threads);
        CHECK(std::memcmp(all.data(), other.data(), all.size() * 4) == 0);
      }
      for (int n = 1; n < 40; ++n) {
        float y[41];
        std::fill(y, y + 41, -77.0f);
        fn(x.data() + 1, y, n, 0.5f, 1.5f);
        CHECK(std::memcmp(y, all.data() + 1, static_cast<size_t>(n) * 4) == 0);
        CHECK(y[n] == -77.0f);
      }
    }
  });
}
