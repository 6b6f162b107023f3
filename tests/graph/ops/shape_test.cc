#include <limits>

#include "tests/graph/ops/infer_op.h"
#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {
constexpr int64_t kMost = std::numeric_limits<int64_t>::max(), kLeast = std::numeric_limits<int64_t>::min();

Tensor ints(const Dims& v) {
  return Tensor::vector(v);
}
Tensor counted(Dims dims) {  // 0, 1, 2, ... as f32
  Tensor t(DType::f32, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<float>()[i] = static_cast<float>(i);
  return t;
}
}  // namespace

TEST_CASE("Reshape: zero copies, -1 fills, allowzero") {
  const Tensor x = counted({2, 3, 4});
  CHECK(run_op("Reshape", {x, ints({0, -1})})[0].dims() == Dims{2, 12});
  CHECK(
      run_op("Reshape", {Tensor(DType::f32, {0, 3}), ints({3, 0})}, {{"allowzero", int64_t{1}}})[0].dims() ==
      Dims{3, 0});
  CHECK(fails("Reshape", {x, ints({-1, -1})}) == Code::invalid);
  CHECK(fails("Reshape", {x, ints({-2, 12})}) == Code::invalid);
  CHECK(fails("Reshape", {x, ints({5, -1})}) == Code::invalid);
  CHECK(fails("Reshape", {x, ints({24, 0, 0, 0})}) == Code::invalid);
  CHECK(fails("Reshape", {x, ints({kMost, 3})}) != Code::ok);
}

TEST_CASE("Reshape: inference keeps symbols that cancel") {
  const Fact x(DType::f32, {sym(0), 8, 64});
  CHECK(infer_op("Reshape", {x, ints({0, -1, 2, 32})}) == "f32[n,8,2,32]");
  CHECK(infer_op("Reshape", {x, ints({-1, 8, 64})}) == "f32[n,8,64]");
  CHECK(infer_op("Reshape", {x, Fact(DType::i64, {3})}) == "f32[?,?,?]");
  CHECK_THROWS_AS(infer_op("Reshape", {Fact(DType::f32, {4, 3}), ints({5, -1})}), Error);
}

TEST_CASE("Slice: every int64 is a legal bound") {
  const Tensor x = counted({10});
  CHECK(values<float>(run_op("Slice", {x, ints({-1}), ints({kLeast}), ints({0}), ints({-3})})[0]) ==
        std::vector<float>{9, 6, 3, 0});
  CHECK(values<float>(run_op("Slice", {x, ints({7}), ints({kMost})})[0]) == std::vector<float>{7, 8, 9});
  CHECK(values<float>(run_op("Slice", {x, ints({2}), ints({kMost}), ints({0}), ints({kMost})})[0]) ==
        std::vector<float>{2});
  CHECK(values<float>(run_op("Slice", {x, ints({4}), ints({kLeast}), ints({0}), ints({kLeast})})[0]) ==
        std::vector<float>{4});
  CHECK(run_op("Slice", {x, ints({kMost}), ints({kLeast})})[0].size() == 0);
  CHECK(fails("Slice", {x, ints({0}), ints({5}), ints({0}), ints({0})}) == Code::invalid);
  CHECK(fails("Slice", {x, ints({0}), ints({5}), ints({1})}) == Code::invalid);
  CHECK(fails("Slice", {counted({4, 4}), ints({0, 0}), ints({5, 5}), ints({0, -2})}) == Code::invalid);
  CHECK(infer_op("Slice", {Fact(DType::f32, {sym(0), 9}), ints({0, 1}), ints({kMost, -1})}) == "f32[n,7]");
  CHECK(infer_op("Slice", {Fact(DType::f32, {sym(0), 9}), Fact(DType::i64, {1}), ints({4}), ints({1})}) ==
        "f32[n,?]");
}

TEST_CASE("Split: parts must cover the axis") {
  const Tensor x = counted({7});
  const auto parts = run_op("Split", {x}, {{"num_outputs", int64_t{3}}}, 3);
  CHECK(values<float>(parts[0]) == std::vector<float>{0, 1, 2});
  CHECK(values<float>(parts[2]) == std::vector<float>{6});
  CHECK(run_op("Split", {x, ints({0, 7})}, {}, 2)[0].size() == 0);
  CHECK(fails("Split", {x, ints({3, 3})}, {}, 2) == Code::invalid);
  CHECK(fails("Split", {x, ints({8, -1})}, {}, 2) == Code::invalid);
  CHECK(fails("Split", {x}, {{"num_outputs", int64_t{0}}}, 1) == Code::invalid);
}

TEST_CASE("Transpose, Concat, Squeeze, Unsqueeze: axes are checked") {
  const Tensor x = counted({2, 3});
  CHECK(values<float>(run_op("Transpose", {x})[0]) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(fails("Transpose", {x}, {{"perm", Dims{0, 0}}}) == Code::invalid);
  CHECK(fails("Transpose", {x}, {{"perm", Dims{0}}}) == Code::invalid);
  CHECK(values<float>(run_op("Concat", {x, counted({2, 1})}, {{"axis", int64_t{-1}}})[0]) ==
        std::vector<float>{0, 1, 2, 0, 3, 4, 5, 1});
  CHECK(fails("Concat", {x, counted({3, 1})}, {{"axis", int64_t{1}}}) == Code::invalid);
  CHECK(fails("Concat", {x, x}, {{"axis", int64_t{2}}}) == Code::invalid);
  CHECK(fails("Concat", {x, x}) == Code::invalid);
  CHECK(run_op("Squeeze", {counted({1, 2, 1}), ints({-1})})[0].dims() == Dims{1, 2});
  CHECK(fails("Squeeze", {x, ints({0})}) == Code::invalid);
  CHECK(run_op("Unsqueeze", {x, ints({0, -1})})[0].dims() == Dims{1, 2, 3, 1});
  CHECK(fails("Unsqueeze", {x, ints({0, 0})}) == Code::invalid);
  CHECK(fails("Unsqueeze", {x, ints({kLeast})}) == Code::invalid);
}

TEST_CASE("Pad: modes, negative pads, and what goes beyond the input") {
  const Tensor x = counted({4});
  const auto pad = [&](const char* mode, const Dims& pads) {
    return values<float>(run_op("Pad", {x, ints(pads)}, {{"mode", std::string(mode)}})[0]);
  };
  CHECK(pad("constant", {1, 2}) == std::vector<float>{0, 0, 1, 2, 3, 0, 0});
  CHECK(pad("reflect", {5, 1}) == std::vector<float>{1, 2, 3, 2, 1, 0, 1, 2, 3, 2});
  CHECK(pad("edge", {2, 1}) == std::vector<float>{0, 0, 0, 1, 2, 3, 3});
  CHECK(pad("wrap", {2, 5}) == std::vector<float>{2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0});
  CHECK(pad("wrap", {-1, 1}) == std::vector<float>{1, 2, 3, 1});
  CHECK(fails("Pad", {x, ints({-5, 0})}) == Code::invalid);
  CHECK(fails("Pad", {x, ints({kLeast, kMost})}) == Code::invalid);
  CHECK(fails("Pad", {x, ints({0, kMost})}) == Code::limit);
  CHECK(fails("Pad", {x, ints({0, 1, 2})}) == Code::invalid);
  CHECK(fails("Pad", {x, ints({-4, 1})}, {{"mode", std::string("edge")}}) == Code::invalid);
  CHECK(fails("Pad", {x, ints({1, 1})}, {{"mode", std::string("mirror")}}) == Code::invalid);
}

TEST_CASE("Bombs are refused before they are allocated") {
  CHECK(fails("Expand", {counted({1}), ints({1 << 20, 1 << 20})}) == Code::limit);
  CHECK(fails("Tile", {counted({4}), ints({kMost})}) == Code::limit);
  CHECK(fails("Tile", {counted({4}), ints({-1})}) == Code::invalid);
  CHECK(fails("ConstantOfShape", {ints({int64_t{1} << 40})}) == Code::limit);
  CHECK(fails("ConstantOfShape", {ints({-1})}) == Code::invalid);
  CHECK(fails("Range", {Tensor::scalar<int64_t>(kLeast), Tensor::scalar<int64_t>(kMost),
                        Tensor::scalar<int64_t>(1)}) == Code::limit);
  CHECK(fails("Range", {Tensor::scalar(0.0f), Tensor::scalar(1.0f), Tensor::scalar(1e-38f)}) == Code::limit);
  CHECK(fails("Range", {Tensor::scalar(0.0f), Tensor::scalar(1.0f), Tensor::scalar(0.0f)}) == Code::invalid);
}

TEST_CASE("DepthToSpace undoes SpaceToDepth; blocks must divide") {
  const Tensor x = counted({1, 2, 4, 6});
  for (const char* mode : {"DCR", "CRD"}) {
    const Attrs attrs{{"blocksize", int64_t{2}}, {"mode", std::string(mode)}};
    CHECK(values<float>(run_op("DepthToSpace", {run_op("SpaceToDepth", {x}, attrs)[0]}, attrs)[0]) ==
          values<float>(x));
  }
  CHECK(fails("DepthToSpace", {x}, {{"blocksize", int64_t{2}}}) == Code::invalid);
  CHECK(fails("DepthToSpace", {x}, {{"blocksize", int64_t{0}}}) == Code::invalid);
  CHECK(fails("SpaceToDepth", {x}, {{"blocksize", int64_t{-1}}}) == Code::invalid);
}

TEST_CASE("Trilu and EyeLike take any diagonal") {
  const Tensor x = counted({2, 2});
  CHECK(values<float>(run_op("Trilu", {x})[0]) == std::vector<float>{0, 1, 0, 3});
  CHECK(values<float>(run_op("Trilu", {x, Tensor::scalar<int64_t>(kMost)})[0]) ==
        std::vector<float>{0, 0, 0, 0});
  CHECK(values<float>(run_op("Trilu", {x, Tensor::scalar<int64_t>(kLeast)})[0]) == values<float>(x));
  CHECK(values<float>(run_op("EyeLike", {x}, {{"k", int64_t{1}}})[0]) == std::vector<float>{0, 1, 0, 0});
  CHECK(values<float>(run_op("EyeLike", {x}, {{"k", kLeast}})[0]) == std::vector<float>{0, 0, 0, 0});
}
