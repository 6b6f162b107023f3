#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/eltwise/eltwise.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

struct Case {
  UnaryOp op;
  const char* name;
  double (*reference)(double x, double a, double b);
  double ulps;       // allowed, in units of the last place of the result
  double floor = 0;  // or this much, absolutely
  float alpha = 0, beta = 0;
};

double logistic(double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
double soft(double x) {
  return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
}
double elu(double x, double a) {
  return x > 0 ? x : a * std::expm1(x);
}

const Case kCases[] = {
    {UnaryOp::copy, "copy", [](double x, double, double) { return x; }, 0},
    {UnaryOp::neg, "neg", [](double x, double, double) { return -x; }, 0},
    {UnaryOp::abs, "abs", [](double x, double, double) { return std::fabs(x); }, 0},
    {UnaryOp::sqrt, "sqrt", [](double x, double, double) { return std::sqrt(x); }, 0.51},
    {UnaryOp::rsqrt, "rsqrt", [](double x, double, double) { return 1 / std::sqrt(x); }, 1.6},
    {UnaryOp::reciprocal, "reciprocal", [](double x, double, double) { return 1 / x; }, 0.51},
    {UnaryOp::square, "square", [](double x, double, double) { return x * x; }, 0.51},
    {UnaryOp::sign, "sign", [](double x, double, double) { return double((x > 0) - (x < 0)); }, 0},
    {UnaryOp::floor, "floor", [](double x, double, double) { return std::floor(x); }, 0},
    {UnaryOp::ceil, "ceil", [](double x, double, double) { return std::ceil(x); }, 0},
    {UnaryOp::round, "round", [](double x, double, double) { return std::nearbyint(x); }, 0},
    {UnaryOp::trunc, "trunc", [](double x, double, double) { return std::trunc(x); }, 0},
    {UnaryOp::relu, "relu", [](double x, double, double) { return x > 0 ? x : 0; }, 0},
    {UnaryOp::leaky_relu, "leaky", [](double x, double a, double) { return x < 0 ? a * x : x; }, 0.51, 0,
     0.1f},
    {UnaryOp::clip, "clip", [](double x, double a, double b) { return std::fmin(std::fmax(x, a), b); }, 0, 0,
     -1, 6},
    {UnaryOp::exp, "exp", [](double x, double, double) { return std::exp(x); }, 1.5},
    {UnaryOp::log, "log", [](double x, double, double) { return std::log(x); }, 1.5},
    {UnaryOp::sigmoid, "sigmoid", [](double x, double, double) { return logistic(x); }, 3},
    {UnaryOp::tanh, "tanh", [](double x, double, double) { return std::tanh(x); }, 2},
    {UnaryOp::erf, "erf", [](double x, double, double) { return std::erf(x); }, 2},
    {UnaryOp::gelu, "gelu",
     [](double x, double, double) { return x == -kInf ? 0 : x * 0.5 * std::erfc(-x * std::sqrt(0.5)); }, 4,
     3e-7},
    {UnaryOp::gelu_tanh, "gelu_tanh",
     [](double x, double, double) {
       return x < -1e6 ? 0 : x * logistic(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
     },
     4, 5e-7},
    {UnaryOp::silu, "silu", [](double x, double, double) { return x < -800 ? 0 : x * logistic(x); }, 4,
     1e-37},
    {UnaryOp::hard_sigmoid, "hard_sigmoid",
     [](double x, double a, double b) { return std::fmin(std::fmax(a * x + b, 0), 1); }, 1, 6e-8, 0.2f, 0.5f},
    {UnaryOp::hard_swish, "hard_swish",
     [](double x, double, double) { return x * std::fmin(std::fmax(x / 6 + 0.5, 0), 1); }, 3, 3e-7},
    {UnaryOp::softplus, "softplus", [](double x, double, double) { return soft(x); }, 2},
    {UnaryOp::softsign, "softsign",
     [](double x, double, double) { return std::isinf(x) ? NAN : x / (1 + std::fabs(x)); }, 1.5},
    {UnaryOp::elu, "elu", [](double x, double a, double) { return elu(x, a); }, 4, 0, 0.7f},
    {UnaryOp::selu, "selu", [](double x, double a, double b) { return b * elu(x, a); }, 5, 0, 1.6732632f,
     1.0507f},
    {UnaryOp::celu, "celu", [](double x, double a, double) { return x > 0 ? x : a * std::expm1(x / a); }, 5,
     0, 2},
    {UnaryOp::mish, "mish", [](double x, double, double) { return x < -800 ? 0 : x * std::tanh(soft(x)); }, 4,
     1e-37},
    {UnaryOp::thresholded_relu, "thresholded", [](double x, double a, double) { return x > a ? x : 0; }, 0, 0,
     1},
    {UnaryOp::affine, "affine", [](double x, double a, double b) { return a * x + b; }, 1, 2e-7, 3, 0.25f},
    {UnaryOp::scaled_tanh, "scaled_tanh", [](double x, double a, double b) { return a * std::tanh(b * x); },
     3, 0, 1.5f, 0.5f},
    {UnaryOp::shrink, "shrink",
     [](double x, double a, double b) { return x < -a  ? x + b
                                               : x > a ? x - b
                                                       : 0; }, 0.51, 0, 0.5f, 0.25f},
    {UnaryOp::sin, "sin", [](double x, double, double) { return std::sin(x); }, 2, 1e-7},
    {UnaryOp::cos, "cos", [](double x, double, double) { return std::cos(x); }, 2, 1e-7},
    {UnaryOp::atan, "atan", [](double x, double, double) { return std::atan(x); }, 2},
    {UnaryOp::asinh, "asinh", [](double x, double, double) { return std::asinh(x); }, 2},
    {UnaryOp::is_nan, "is_nan", [](double, double, double) { return 0.0; }, 0},
    {UnaryOp::is_inf, "is_inf", [](double x, double, double) { return std::isinf(x) ? 1.0 : 0.0; }, 0},
};

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

double allowed(const Case& c, double want) {
  const double unit = want == 0 ? 1.4e-45 : std::fmax(std::ldexp(1.0, std::ilogb(want) - 23), 1.4e-45);
  return std::fmax(c.ulps * unit, c.floor);
}

}  // namespace

TEST_CASE("unary functions are within a few units of the last place") {
  const std::vector<float> x = arguments();
  const int64_t n = static_cast<int64_t>(x.size());
  each_level([&](IsaSet isa) {
    for (const Case& c : kCases) {
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
    for (const Case& c : kCases) {
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
