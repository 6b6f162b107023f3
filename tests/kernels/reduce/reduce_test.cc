#include "kernels/reduce/reduce.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

using Shape = std::vector<int64_t>;
using Axes = std::vector<uint8_t>;

struct Case {
  Shape shape;
  Axes reduced;
};
const Case kCases[] = {
    {{1}, {1}},
    {{7}, {1}},
    {{130}, {1}},
    {{70001}, {1}},
    {{3, 37}, {0, 1}},
    {{70, 2}, {0, 1}},  // short rows
    {{35, 32}, {0, 1}},
    {{35, 33}, {0, 1}},
    {{1, 3}, {0, 1}},
    {{3, 37}, {1, 0}},
    {{300, 70}, {1, 0}},
    {{2, 9, 5, 4}, {0, 0, 1, 1}},
    {{2, 9, 5, 4}, {1, 0, 1, 0}},
    {{3, 4, 5, 2, 3}, {1, 0, 1, 0, 1}},
    {{4, 5}, {0, 0}},
    {{}, {}},
    {{2, 0, 3}, {0, 1, 0}},
};

int64_t product(const Shape& s) {
  int64_t n = 1;
  for (const int64_t d : s) n *= d;
  return n;
}

// Position in the output of element `at` of the input.
int64_t target(const Case& c, int64_t at) {
  int64_t position = 0, step = 1;
  for (size_t d = c.shape.size(); d-- > 0;) {
    const int64_t index = at % c.shape[d];
    at /= c.shape[d];
    if (c.reduced[d]) continue;
    position += index * step;
    step *= c.shape[d];
  }
  return position;
}

std::vector<double> reference(ReduceOp op, const Case& c, const std::vector<float>& x, int64_t out,
                              int64_t n) {
  const double inf = std::numeric_limits<double>::infinity();
  const double start = op == ReduceOp::max ? -inf : op == ReduceOp::min ? inf : op == ReduceOp::prod ? 1 : 0;
  std::vector<double> y(static_cast<size_t>(out), start);
  for (size_t i = 0; i < x.size(); ++i) {
    double& r = y[static_cast<size_t>(target(c, static_cast<int64_t>(i)))];
    const double v = x[i];
    switch (op) {
      case ReduceOp::max:
        r = std::fmax(r, v);
        break;
      case ReduceOp::min:
        r = std::fmin(r, v);
        break;
      case ReduceOp::prod:
        r *= v;
        break;
      case ReduceOp::sumsq:
      case ReduceOp::l2:
        r += v * v;
        break;
      case ReduceOp::l1:
        r += std::fabs(v);
        break;
      case ReduceOp::logsumexp:
        r += std::exp(v);
        break;
      default:
        r += v;
        break;
    }
  }
  for (double& r : y) {
    if (op == ReduceOp::mean) r /= static_cast<double>(n);
    if (op == ReduceOp::l2) r = std::sqrt(r);
    if (op == ReduceOp::logsum || op == ReduceOp::logsumexp) r = std::log(r);
  }
  return y;
}

bool near(double got, double want, double tolerance) {
  if (std::isnan(want) || std::isinf(want)) return std::isnan(want) ? std::isnan(got) : got == want;
  return std::fabs(got - want) <= tolerance * std::fmax(1, std::fabs(want));
}

}  // namespace

TEST_CASE("reductions over any axes, with the same bits for any number of threads") {
  each_level([&](IsaSet isa) {
    const ReduceTable& t = reduce_kernels(isa);
    for (const Case& c : kCases) {
      ReducePlan plan;
      REQUIRE(make_reduce_plan(c.shape, c.reduced, &plan));
      CHECK(plan.in_size == product(c.shape));
      test::Random random(21);
      const auto x = random.floats(plan.in_size, 0.5f, 1.5f);
      std::vector<std::byte> scratch(plan.scratch_bytes() + 1);
      for (int op = 0; op < static_cast<int>(ReduceOp::count); ++op) {
        INFO("op ", op, " inner ", plan.pass[0].inner, " n ", plan.pass[0].n);
        std::vector<float> y(static_cast<size_t>(plan.out_size)), again(y.size());
        reduce_f32(t, ReduceOp(op), plan, x.data(), y.data(), scratch.data(), 1);
        if (op != static_cast<int>(ReduceOp::prod) || plan.reduced < 1000) {
          const auto want = reference(ReduceOp(op), c, x, plan.out_size, plan.reduced);
          for (size_t i = 0; i < y.size(); ++i)
            CHECK_MESSAGE(near(y[i], want[i], 4e-6), y[i], " want ", want[i]);
        }
        for (const int threads : {2, 3, 8}) {
          if (threads > 2 && op % 4) continue;  // the ops share their loops
          reduce_f32(t, ReduceOp(op), plan, x.data(), again.data(), scratch.data(), threads);
          CHECK(std::memcmp(y.data(), again.data(), y.size() * 4) == 0);
        }
      }
    }
  });
}

TEST_CASE("a long sum is more exact than the plain loop") {
  test::Random random(4);
  const auto x = random.floats(200000, 0, 1);
  double exact = 0;
  float loop = 0;
  for (const float v : x) {
    exact += v;
    loop += v;
  }
  each_level([&](IsaSet isa) {
    float y = 0;
    reduce_kernels(isa).run[0](x.data(), &y, 1, 200000, 1, 2);
    CHECK(std::fabs(y - exact) <= 0.25 * std::fabs(loop - exact));
  });
}

TEST_CASE("max and min hand NaN on; log-sum-exp does not overflow") {
  each_level([&](IsaSet isa) {
    const ReduceTable& t = reduce_kernels(isa);
    std::vector<float> x(67, 1.0f), big(67, 200.0f);
    x[40] = NAN;
    float y = 0;
    for (const int64_t inner : {int64_t{1}, int64_t{1}}) {
      t.run[static_cast<int>(ReduceOp::max)](x.data(), &y, 1, 67, inner, 1);
      CHECK(std::isnan(y));
      t.run[static_cast<int>(ReduceOp::min)](x.data(), &y, 1, 67, inner, 1);
      CHECK(std::isnan(y));
    }
    t.run[static_cast<int>(ReduceOp::logsumexp)](big.data(), &y, 1, 67, 1, 1);
    CHECK(y == doctest::Approx(200 + std::log(67.0)));
    std::vector<float> columns(3);
    t.run[static_cast<int>(ReduceOp::logsumexp)](big.data(), columns.data(), 1, 22, 3, 1);
    CHECK(columns[2] == doctest::Approx(200 + std::log(22.0)));
    std::vector<float> gone(5, -INFINITY);
    t.run[static_cast<int>(ReduceOp::logsumexp)](gone.data(), &y, 1, 5, 1, 1);
    CHECK(y == -INFINITY);
  });
}

TEST_CASE("integer reductions") {
  const Case c{{3, 4, 5}, {1, 0, 1}};
  ReducePlan plan;
  REQUIRE(make_reduce_plan(c.shape, c.reduced, &plan));
  test::Random random(6);
  const auto x = random.integers<int64_t>(60, -9, 9);
  std::vector<int64_t> y(4), want(4, 0), most(4, -100);
  std::vector<std::byte> scratch(plan.scratch_bytes(8));
  for (int64_t i = 0; i < 60; ++i) {
    want[target(c, i)] += x[i] * x[i];
    most[target(c, i)] = std::max(most[target(c, i)], x[i]);
  }
  reduce_i64(ReduceOp::sumsq, plan, x.data(), y.data(), scratch.data());
  CHECK(y == want);
  reduce_i64(ReduceOp::max, plan, x.data(), y.data(), scratch.data());
  CHECK(y == most);
  const std::vector<int32_t> five = {1, 2, 3, 4, 6};
  int32_t mean = 0;
  const int64_t shape[] = {5};
  const uint8_t all[] = {1};
  REQUIRE(make_reduce_plan(shape, all, &plan));
  reduce_i32(ReduceOp::mean, plan, five.data(), &mean, nullptr);
  CHECK(mean == 3);
}

TEST_CASE("argmax, argmin and cumulative sums") {
  const std::vector<float> x = {1, 5, 5, 2, NAN, 7, 3, 3, 1, 0, 9, 9};
  std::vector<int64_t> y(3);
  arg_reduce_f32({}, x.data(), y.data(), 3, 4, 1, 2);
  CHECK(y == std::vector<int64_t>{1, 0, 2});
  arg_reduce_f32({.last = true}, x.data(), y.data(), 3, 4, 1, 1);
  CHECK(y == std::vector<int64_t>{2, 0, 3});
  std::vector<int64_t> columns(4);
  arg_reduce_f32({.smallest = true}, x.data(), columns.data(), 1, 3, 4, 1);
  CHECK(columns == std::vector<int64_t>{1, 2, 1, 0});
  const std::vector<int64_t> n = {1, 2, 3, 4, 5, 6};
  std::vector<int64_t> s(6);
  cumsum_i64(n.data(), s.data(), 2, 3, 1, false, false);
  CHECK(s == std::vector<int64_t>{1, 3, 6, 4, 9, 15});
  cumsum_i64(n.data(), s.data(), 1, 3, 2, true, true);
  CHECK(s == std::vector<int64_t>{8, 10, 5, 6, 0, 0});
}
