#include <limits>

#include "tests/graph/ops/infer_op.h"
#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
Tensor ints(const Dims& dims, const Dims& v) {
  return Tensor::of<int64_t>(dims, v);
}
Tensor floats(const Dims& dims, const std::vector<float>& v) {
  return Tensor::of<float>(dims, v);
}
}  // namespace

TEST_CASE("Gather: negative indices count from the back, others are refused") {
  const Tensor x = floats({3, 2}, {0, 1, 2, 3, 4, 5});
  CHECK(values<float>(run_op("Gather", {x, ints({2}, {-1, 0})})[0]) == std::vector<float>{4, 5, 0, 1});
  CHECK(run_op("Gather", {x, ints({}, {1})}, {{"axis", int64_t{1}}})[0].dims() == Dims{3});
  for (int64_t bad : {int64_t{3}, int64_t{-4}, kLeast}) {
    CHECK(fails("Gather", {x, ints({1}, {bad})}) == Code::invalid);
    CHECK(fails("GatherElements", {x, ints({1, 1}, {bad})}) == Code::invalid);
    CHECK(fails("GatherND", {x, ints({1, 1}, {bad})}) == Code::invalid);
    CHECK(fails("ScatterElements", {x, ints({1, 1}, {bad}), floats({1, 1}, {9})}) == Code::invalid);
    CHECK(fails("ScatterND", {x, ints({1, 1}, {bad}), floats({1, 2}, {9, 9})}) == Code::invalid);
  }
  CHECK(fails("Gather", {x, ints({1}, {0})}, {{"axis", int64_t{2}}}) == Code::invalid);
  CHECK(infer_op("Gather", {Fact(DType::f32, {30522, 768}), Fact(DType::i64, {sym(0), sym(1)})}) ==
        "f32[n,m,768]");
}

TEST_CASE("Elements and tuples must fit the data") {
  const Tensor x = floats({2, 2}, {0, 1, 2, 3});
  CHECK(fails("GatherElements", {x, ints({3, 1}, {0, 0, 0})}, {{"axis", int64_t{1}}}) == Code::invalid);
  CHECK(fails("GatherElements", {x, ints({2}, {0, 0})}) == Code::invalid);
  CHECK(fails("GatherND", {x, ints({1, 3}, {0, 0, 0})}) == Code::invalid);
  CHECK(fails("GatherND", {x, ints({2, 1}, {0, 0})}, {{"batch_dims", int64_t{-1}}}) == Code::invalid);
  CHECK(fails("ScatterND", {x, ints({1, 1}, {0}), floats({1, 3}, {1, 2, 3})}) == Code::invalid);
  CHECK(fails("ScatterElements", {x, ints({1, 1}, {0}), floats({1, 2}, {1, 2})}) == Code::invalid);
  CHECK(fails("ScatterElements", {x, ints({1, 1}, {0}), floats({1, 1}, {1})},
              {{"reduction", std::string("sub")}}) == Code::invalid);
}

TEST_CASE("ScatterElements reduces repeated indices in order") {
  const Tensor x = floats({3}, {1, 2, 3}), at = ints({3}, {1, 1, -3}), updates = floats({3}, {10, 5, -1});
  const auto with = [&](const char* r) {
    return values<float>(run_op("ScatterElements", {x, at, updates}, {{"reduction", std::string(r)}})[0]);
  };
  CHECK(with("none") == std::vector<float>{-1, 5, 3});
  CHECK(with("add") == std::vector<float>{0, 17, 3});
  CHECK(with("mul") == std::vector<float>{-1, 100, 3});
  CHECK(with("max") == std::vector<float>{1, 10, 3});
  CHECK(with("min") == std::vector<float>{-1, 2, 3});
  const Tensor top = vec<int32_t>({std::numeric_limits<int32_t>::max()});
  CHECK(values<int32_t>(run_op("ScatterElements", {top, ints({1}, {0}), top},
                               {{"reduction", std::string("add")}})[0])[0] == -2);
}

TEST_CASE("TensorScatter wraps around only when circular") {
  const Tensor cache = floats({1, 3, 1}, {0, 1, 2}), update = floats({1, 2, 1}, {8, 9});
  CHECK(values<float>(run_op("TensorScatter", {cache, update, ints({1}, {2})},
                             {{"mode", std::string("circular")}})[0]) == std::vector<float>{9, 1, 8});
  CHECK(fails("TensorScatter", {cache, update, ints({1}, {2})}) == Code::invalid);
  CHECK(fails("TensorScatter", {cache, update, ints({1}, {-1})}) == Code::invalid);
  CHECK(fails("TensorScatter", {cache, update}, {{"axis", int64_t{0}}}) == Code::invalid);
}

TEST_CASE("OneHot: an index outside is all off, a depth must be positive") {
  const Tensor values_of = floats({2}, {0, 1});
  const auto y = run_op("OneHot", {ints({3}, {0, -1, 7}), Tensor::scalar<int64_t>(2), values_of});
  CHECK(values<float>(y[0]) == std::vector<float>{1, 0, 0, 1, 0, 0});
  CHECK(fails("OneHot", {ints({1}, {0}), Tensor::scalar<int64_t>(0), values_of}) == Code::invalid);
  CHECK(fails("OneHot", {ints({1}, {0}), Tensor::scalar<int64_t>(1), floats({1}, {0})}) == Code::invalid);
  CHECK(fails("OneHot", {ints({1}, {0}), Tensor::scalar(std::numeric_limits<float>::quiet_NaN()),
                         values_of}) == Code::invalid);
}

TEST_CASE("TopK: ties by index, NaN on top") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = floats({5}, {2, 3, nan, 3, 1});
  CHECK(values<int64_t>(run_op("TopK", {x, ints({1}, {3})}, {}, 2)[1]) == Dims{2, 1, 3});
  CHECK(values<int64_t>(run_op("TopK", {x, ints({1}, {2})}, {{"largest", int64_t{0}}}, 2)[1]) == Dims{4, 0});
  CHECK(fails("TopK", {x, ints({1}, {6})}, {}, 2) == Code::invalid);
  CHECK(fails("TopK", {x, ints({1}, {-1})}, {}, 2) == Code::invalid);
}

TEST_CASE("Unique, NonZero, Compress") {
  const auto u = run_op("Unique", {floats({6}, {2, 1, 1, 3, 4, 3})}, {{"sorted", int64_t{0}}}, 4);
  CHECK(values<float>(u[0]) == std::vector<float>{2, 1, 3, 4});
  CHECK(values<int64_t>(u[1]) == Dims{0, 1, 3, 4});
  CHECK(values<int64_t>(u[2]) == Dims{0, 1, 1, 2, 3, 2});
  CHECK(values<int64_t>(u[3]) == Dims{1, 2, 2, 1});
  CHECK(values<int64_t>(run_op("NonZero", {floats({2, 2}, {1, 0, 1, 1})})[0]) == Dims{0, 1, 1, 0, 0, 1});
  CHECK(fails("Compress", {floats({1}, {1}), Tensor::of<bool>({2}, {true, true})}) == Code::invalid);
}

TEST_CASE("CumSum wraps in integers, and takes any axis of the input only") {
  const Tensor x = vec<int8_t>({100, 100, 1});
  CHECK(values<int8_t>(run_op("CumSum", {x, Tensor::scalar<int64_t>(-1)})[0]) ==
        std::vector<int8_t>{100, -56, -55});
  CHECK(values<int8_t>(run_op("CumSum", {x, Tensor::scalar<int64_t>(0)},
                              {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}})[0]) ==
        std::vector<int8_t>{101, 1, 0});
  CHECK(fails("CumSum", {x, Tensor::scalar<int64_t>(1)}) == Code::invalid);
}
