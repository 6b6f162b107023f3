#include "kernels/trial/trial.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>

#include "kernels/trial/measure.h"
#include "kernels/trial/parts.h"

using namespace skyline;
using namespace skyline::kernels;

TEST_CASE("trials: every row of a family that has them agrees with its reference") {
  std::set<std::string> families;
  for (const KernelInfo* row : all_kernels()) {
    if (!usable(*row, isa_detected()) || row->op == "gemm") continue;  // gemm_test covers more, faster
    std::set<std::string> names;
    for (const Trial& t : make_trials(*row)) {
      CAPTURE(row->name);
      CAPTURE(t.name);
      CHECK(names.insert(t.name).second);
      CHECK(t.kernel == row);
      CHECK(t.bytes > 0);
      CHECK(t.error() <= 1);
      families.insert(std::string(row->op));
    }
  }
  CHECK(families.size() >= 9);
}

TEST_CASE("trials: errors are in units of what is allowed, and a NaN is wrong") {
  const KernelInfo row{.name = "x", .op = "x"};
  const auto error = [&](double got, double relative, double absolute) {
    return make_trial(row, "t", {}, [] {},
                      {.n = 1,
                       .got = [=](int64_t) { return got; },
                       .want = [](int64_t) { return 2.0; },
                       .relative = relative,
                       .absolute = absolute})
        .error();
  };
  CHECK(error(2.0, 0, 0) == 0);
  CHECK(std::isinf(error(2.1, 0, 0)));
  CHECK(error(2.5, 0.25, 0.5) == doctest::Approx(0.5));
  CHECK(error(NAN, 1, 1) > 1);
}

TEST_CASE("trials: the share of the roof is that of the tighter bound") {
  const Trial t{.flops = 1000, .bytes = 100};
  const Rate r = rate_of(t, {.gflops = 100, .gbps = 10}, 20);
  CHECK(r.gflops == doctest::Approx(50));
  CHECK(r.gbps == doctest::Approx(5));
  CHECK(r.percent == doctest::Approx(50));
}
