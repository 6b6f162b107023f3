#include "kernels/resize/resize.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

std::vector<float> resized(IsaSet isa, const std::vector<float>& x, const ResizePlan& plan, int threads) {
  int64_t out = plan.outer * plan.inner;
  for (const ResizeAxis& a : plan.axes) out *= a.out;
  std::vector<float> y(static_cast<size_t>(out)), scratch(resize_scratch_bytes(plan, threads) / 4 + 1);
  run_resize_f32(resize_kernels(isa), plan, x.data(), y.data(), scratch.data(), threads);
  return y;
}

std::vector<float> counting(int n) {
  std::vector<float> x(n);
  std::iota(x.begin(), x.end(), 1.0f);
  return x;
}

void check_near(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-5));
}

ResizePlan plan_2d(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w, double scale_h, double scale_w,
                   const ResizeOptions& o) {
  ResizePlan p;
  p.axes = {make_resize_axis(in_h, out_h, scale_h, o), make_resize_axis(in_w, out_w, scale_w, o)};
  return p;
}

}  // namespace

TEST_CASE("the examples of the ONNX Resize operator") {
  each_level([](IsaSet isa) {
    const auto x2 = counting(4);
    check_near(resized(isa, x2, plan_2d(2, 2, 4, 4, 2, 2, {.mode = ResizeMode::linear}), 1),
               {1, 1.25f, 1.75f, 2, 1.5f, 1.75f, 2.25f, 2.5f, 2.5f, 2.75f, 3.25f, 3.5f, 3, 3.25f, 3.75f, 4});
    const ResizeOptions corners{.mode = ResizeMode::linear, .coordinates = ResizeCoordinates::align_corners};
    check_near(resized(isa, x2, plan_2d(2, 2, 4, 4, 2, 2, corners), 1),
               {1, 1.33333333f, 1.66666667f, 2, 1.66666667f, 2, 2.33333333f, 2.66666667f, 2.33333333f,
                2.66666667f, 3, 3.33333333f, 3, 3.33333333f, 3.66666667f, 4});
    const auto x8 = counting(8);
    check_near(resized(isa, x8, plan_2d(2, 4, 1, 2, 0.6f, 0.6f, {.mode = ResizeMode::linear}), 1),
               {2.6666665f, 4.3333331f});
    check_near(resized(isa, x8, plan_2d(2, 4, 1, 2, 0.6f, 0.6f, corners), 1), {1, 3.142857f});
    const auto x16 = counting(16);
    check_near(resized(isa, x16, plan_2d(4, 4, 3, 3, 0.8f, 0.8f, {.mode = ResizeMode::cubic}), 1),
               {1.47119141f, 2.78125f, 4.08251953f, 6.71142578f, 8.02148438f, 9.32275391f, 11.91650391f,
                13.2265625f, 14.52783203f});
    check_near(resized(isa, x16,
                       plan_2d(4, 4, 3, 3, 0.8f, 0.8f,
                               {.mode = ResizeMode::cubic, .cubic_a = -0.5f, .exclude_outside = true}),
                       1),
               {1.36812675f, 2.6695014f, 4.0133367f, 6.57362535f, 7.875f, 9.2188353f, 11.94896657f,
                13.25034122f, 14.59417652f});
    check_near(resized(isa, x16,
                       plan_2d(4, 4, 2, 2, 0.6f, 0.6f, {.mode = ResizeMode::linear, .antialias = true}), 1),
               {2.875f, 4.5f, 9.375f, 11.0f});
    ResizePlan crop = plan_2d(4, 4, 3, 3, 0.75, 0.75,
                              {.mode = ResizeMode::linear,
                               .coordinates = ResizeCoordinates::tf_crop_and_resize,
                               .roi_start = 0.4f,
                               .roi_end = 0.6f});
    crop.axes[1] = make_resize_axis(4, 3, 0.75,
                                    {.mode = ResizeMode::linear,
                                     .coordinates = ResizeCoordinates::tf_crop_and_resize,
                                     .roi_start = 0.6f,
                                     .roi_end = 0.8f});
    check_near(resized(isa, x16, crop, 1),
               {7.6000004f, 7.9f, 8.2f, 8.8f, 9.1f, 9.400001f, 10.0f, 10.3f, 10.6f});
  });
}

TEST_CASE("nearest, with all four roundings") {
  const std::vector<float> x = {1, 2, 3, 4};
  const auto run = [&](const ResizeOptions& o, int64_t out, double scale) {
    ResizePlan p;
    p.axes = {make_resize_axis(4, out, scale, o)};
    std::vector<float> y(static_cast<size_t>(out));
    const float outside = -1;
    run_resize_nearest(p, 4, x.data(), y.data(), &outside, 1);
    return y;
  };
  using F = std::vector<float>;
  CHECK(run({}, 8, 2) == F{1, 1, 2, 2, 3, 3, 4, 4});
  const ResizeOptions floor{.coordinates = ResizeCoordinates::asymmetric, .nearest = ResizeNearest::floor};
  CHECK(run(floor, 6, 1.5) == F{1, 1, 2, 3, 3, 4});
  CHECK(run({.coordinates = ResizeCoordinates::asymmetric, .nearest = ResizeNearest::ceil}, 6, 1.5) ==
        F{1, 2, 3, 3, 4, 4});
  CHECK(run({.coordinates = ResizeCoordinates::asymmetric}, 8, 2) == F{1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(run({.coordinates = ResizeCoordinates::asymmetric, .nearest = ResizeNearest::round_prefer_ceil}, 8,
            2) == F{1, 2, 2, 3, 3, 4, 4, 4});
  CHECK(run({.coordinates = ResizeCoordinates::tf_crop_and_resize, .roi_start = -0.5f, .roi_end = 1}, 3,
            0.75) == F{-1, 2, 4});
}

TEST_CASE("both layouts agree, for any number of threads, over several axes") {
  const int64_t n = 2, c = 19, d = 3, h = 7, w = 9;
  const auto first = test::Random(4).floats(n * c * d * h * w);
  std::vector<float> last(first.size());
  const int64_t plane = d * h * w;
  for (int64_t i = 0; i < n * c * plane; ++i)
    last[(i / plane / c * plane + i % plane) * c + i / plane % c] = first[i];
  each_level([&](IsaSet isa) {
    for (const ResizeMode mode : {ResizeMode::linear, ResizeMode::cubic}) {
      for (const bool antialias : {false, true}) {
        ResizePlan p;
        const ResizeOptions o{.mode = mode, .antialias = antialias};
        p.axes = {make_resize_axis(d, 3, 1, o), make_resize_axis(h, 4, 4 / 7.0, o),
                  make_resize_axis(w, 20, 20 / 9.0, o)};
        p.outer = n * c;
        const auto a = resized(isa, first, p, 1);
        ResizePlan q = p;
        q.outer = n;
        q.inner = c;
        const auto b = resized(isa, last, q, 1);
        const int64_t out = 3 * 4 * 20;
        bool same = true;
        for (int64_t i = 0; i < n * c * out; ++i) {
          same = same && std::fabs(a[i] - b[(i / out / c * out + i % out) * c + i / out % c]) < 2e-6;
        }
        CHECK(same);
        for (const int threads : {2, 3, 8}) {
          CHECK(resized(isa, first, p, threads) == a);
          CHECK(resized(isa, last, q, threads) == b);
        }
      }
    }
  });
}
