#include <limits>

#include "tests/graph/ops/infer_op.h"
#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {
const Tensor kNone;
Tensor ints(const Dims& v) {
  return Tensor::vector(v);
}
}  // namespace

TEST_CASE("Resize: lengths by scale are computed in f32") {
  Tensor x = Tensor::zeros(DType::f32, {1, 10});
  CHECK(run_op("Resize", {x, kNone, vec<float>({1, 0.7f})})[0].dims() == Dims{1, 7});
  CHECK(infer_op("Resize", {Fact(DType::f32, {sym(0), 10}), vec<float>({}), vec<float>({1, 2})}) ==
        "f32[n,20]");
}

TEST_CASE("Resize: nearest moves any type, exactly") {
  const Tensor x = vec<int64_t>({(int64_t{1} << 62) + 1, -7});
  CHECK(values<int64_t>(run_op("Resize", {x, kNone, vec<float>({2})})[0]) ==
        std::vector<int64_t>{(int64_t{1} << 62) + 1, (int64_t{1} << 62) + 1, -7, -7});
}

TEST_CASE("Resize: linear by half pixels") {
  const auto y = values<float>(
      run_op("Resize", {vec<float>({0, 4}), kNone, kNone, ints({4})}, {{"mode", std::string("linear")}})[0]);
  CHECK(y == std::vector<float>{0, 1, 3, 4});
}

TEST_CASE("Resize: bad scales, sizes and combinations") {
  const Tensor x = vec<float>({1, 2, 3});
  for (float bad :
       {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    CHECK(fails("Resize", {x, kNone, vec<float>({bad})}) == Code::invalid);
  }
  CHECK(fails("Resize", {x, kNone, vec<float>({1, 1})}) == Code::invalid);
  CHECK(fails("Resize", {x, kNone, vec<float>({1e30f})}) == Code::limit);
  CHECK(fails("Resize", {x, kNone, vec<float>({2}), ints({6})}) == Code::invalid);
  CHECK(fails("Resize", {x}) == Code::invalid);
  CHECK(fails("Resize", {x, kNone, kNone, ints({-1})}) == Code::invalid);
  CHECK(fails("Resize", {x, kNone, kNone, ints({int64_t{1} << 45})}) == Code::limit);
  CHECK(fails("Resize", {Tensor::zeros(DType::f32, {0}), kNone, kNone, ints({3})}) == Code::invalid);
  CHECK(fails("Resize", {x, kNone, vec<float>({2})},
              {{"coordinate_transformation_mode", std::string("tf_crop_and_resize")}}) == Code::invalid);
  CHECK(fails("Resize", {x, kNone, vec<float>({2})}, {{"mode", std::string("lanczos")}}) == Code::invalid);
}

TEST_CASE("GridSample: positions that are no numbers read nothing") {
  const Tensor x = Tensor::of<float>({1, 1, 1, 2}, {3, 5});
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const Tensor grid = Tensor::of<float>({1, 1, 3, 2}, {0, 0, nan, 0, inf, 0});
  CHECK(values<float>(run_op("GridSample", {x, grid})[0]) == std::vector<float>{4, 0, 0});
  for (const char* mode : {"border", "reflection"}) {
    CHECK(run_op("GridSample", {x, grid},
                 {{"padding_mode", std::string(mode)}, {"mode", std::string("cubic")}})[0]
              .size() == 3);
  }
  CHECK(fails("GridSample", {x, Tensor::zeros(DType::f32, {1, 1, 3, 3})}) == Code::invalid);
}

TEST_CASE("RoiAlign and MaxRoiPool check the batch index and the region") {
  const Tensor x = Tensor::zeros(DType::f32, {1, 1, 4, 4});
  const Tensor roi = Tensor::of<float>({1, 4}, {0, 0, 2, 2});
  CHECK(run_op("RoiAlign", {x, roi, ints({0})})[0].dims() == Dims{1, 1, 1, 1});
  CHECK(fails("RoiAlign", {x, roi, ints({1})}) == Code::invalid);
  CHECK(fails("RoiAlign", {x, roi, ints({-1})}) == Code::invalid);
  CHECK(fails("RoiAlign", {x, Tensor::of<float>({1, 4}, {0, 0, 1e30f, 1e30f}), ints({0})}) == Code::limit);
  CHECK(fails("RoiAlign", {x, roi, ints({0})}, {{"output_height", int64_t{0}}}) == Code::invalid);
  CHECK(fails("MaxRoiPool", {x, Tensor::of<float>({1, 5}, {7, 0, 0, 1, 1})},
              {{"pooled_shape", Dims{1, 1}}}) == Code::invalid);
  CHECK(
      run_op("MaxRoiPool", {x, Tensor::of<float>({1, 5}, {0, 0, 0, 3, 3})}, {{"pooled_shape", Dims{2, 2}}})[0]
          .dims() == Dims{1, 1, 2, 2});
}
