// Matrix products, softmax, reductions, normalizations.
#include <limits>

#include "run_op.h"

using namespace skyline;
using namespace skyline::test;

TEST_CASE("stacks of matrices broadcast and vectors are promoted") {
  const Tensor a = Tensor::of<float>({2, 1, 1, 2}, {1, 2, 3, 4}),
               b = Tensor::of<float>({3, 2, 1}, {1, 1, 2, 2, 3, 3});
  const Tensor y = run_op("MatMul", {a, b})[0];
  CHECK(y.dims() == Dims{2, 3, 1, 1});
  CHECK(values<float>(y) == std::vector<float>{3, 6, 9, 7, 14, 21});
  CHECK(run_op("MatMul", {vec<float>({1, 2}), vec<float>({3, 4})})[0].dims().empty());
  CHECK(values<int32_t>(run_op("MatMul", {vec<int32_t>({1 << 30, 1 << 30}), vec<int32_t>({2, 2})})[0]) ==
        std::vector<int32_t>{0});  // wraps
  CHECK(fails("MatMul", {vec<float>({1, 2}), vec<float>({3})}) == Code::invalid);
  CHECK(fails("MatMul", {Tensor::scalar<float>(1), vec<float>({3})}) == Code::invalid);
}

TEST_CASE("fused products add bias and residual before the activation") {
  const Tensor a = Tensor::of<float>({2, 2}, {1, 2, 3, 4}), b = Tensor::of<float>({2, 2}, {1, 0, 0, -1});
  const Tensor r = Tensor::of<float>({2, 2}, {0, 1, 0, 1});
  const Attrs act{{"transB", int64_t{1}}, {"activation", std::string("relu")}};
  CHECK(values<float>(run_op("FusedGemm", {a, b, vec<float>({-2, 2}), r}, act, 1, "skyline")[0]) ==
        std::vector<float>{0, 1, 1, 0});
  CHECK(values<float>(run_op("FusedMatMul", {a, b, {}, r}, act, 1, "skyline")[0]) ==
        std::vector<float>{1, 0, 3, 0});
  CHECK(fails("FusedMatMul", {a, b, vec<float>({1, 2, 3})}, {}, 1, "skyline") == Code::invalid);
  CHECK(fails("Gemm", {a, Tensor::of<float>({1, 2, 2}, {1, 0, 0, 1})}) == Code::invalid);
  CHECK(fails("Gemm", {a, b}, {{"transA", int64_t{2}}}) == Code::invalid);
}

TEST_CASE("softmax survives large and infinite scores") {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor y = run_op("Softmax", {Tensor::of<float>({2, 2}, {1000, 1000, -inf, 3})})[0];
  CHECK(values<float>(y) == std::vector<float>{0.5, 0.5, 0, 1});
  CHECK(fails("Softmax", {vec<float>({1})}, {{"axis", int64_t{1}}}) == Code::invalid);
  CHECK(values<float>(run_op("Hardmax", {vec<float>({1, 3, 3})})[0]) == std::vector<float>{0, 1, 0});
}

TEST_CASE("reductions: axes, empty sets, empty axes, wrapping") {
  const Tensor x = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(values<float>(run_op("ReduceSum", {x, Tensor::vector({-1})})[0]) == std::vector<float>{6, 15});
  CHECK(run_op("ReduceMean", {x}, {{"keepdims", int64_t{0}}})[0].dims().empty());
  CHECK(values<float>(run_op("ReduceSumSquare", {x}, {{"noop_with_empty_axes", int64_t{1}}})[0]) ==
        std::vector<float>{1, 4, 9, 16, 25, 36});
  const Tensor none(DType::f32, {2, 0});
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(values<float>(run_op("ReduceProd", {none, Tensor::vector({1})})[0]) == std::vector<float>{1, 1});
  CHECK(values<float>(run_op("ReduceMax", {none, Tensor::vector({1})})[0]) == std::vector<float>{-inf, -inf});
  CHECK(values<float>(run_op("ReduceLogSumExp", {none, Tensor::vector({1})})[0]) ==
        std::vector<float>{-inf, -inf});
  CHECK(values<int64_t>(run_op("ReduceSum", {vec<int64_t>({INT64_MAX, 1})})[0]) ==
        std::vector<int64_t>{INT64_MIN});
  CHECK(fails("ReduceSum", {x, Tensor::vector({2})}) == Code::invalid);
  CHECK(fails("ReduceSum", {x, Tensor::vector({0, -2})}) == Code::invalid);
  CHECK(fails("ArgMax", {none}, {{"axis", int64_t{1}}}) == Code::invalid);
  CHECK(values<int64_t>(run_op("ArgMax", {vec<float>({1, 3, 3})}, {{"select_last_index", int64_t{1}}})[0]) ==
        std::vector<int64_t>{2});
}

TEST_CASE("normalizations have zero mean and unit variance") {
  const Tensor x = Tensor::of<float>({1, 2, 2}, {1, 3, 10, 30}), one = vec<float>({1, 1}),
               zero = vec<float>({0, 0});
  const Tensor y = run_op("InstanceNormalization", {x, one, zero}, {{"epsilon", 0.0f}})[0];
  CHECK(values<float>(y) == std::vector<float>{-1, 1, -1, 1});
  CHECK(values<float>(run_op("LayerNormalization", {x, one, one}, {{"epsilon", 0.0f}})[0]) ==
        std::vector<float>{0, 2, 0, 2});
  CHECK(fails("GroupNormalization", {x, one, zero}, {{"num_groups", int64_t{0}}}) == Code::invalid);
  CHECK(fails("GroupNormalization", {x, one, zero}, {{"num_groups", int64_t{3}}}) == Code::invalid);
  CHECK(fails("BatchNormalization", {x, one, zero, zero, vec<float>({1})}) == Code::invalid);
  CHECK(fails("LRN", {x}, {{"size", int64_t{0}}}) == Code::invalid);
}
