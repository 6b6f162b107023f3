#include <limits>

#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float one(std::string_view op, float x, const Attrs& attrs = {}) {
  return run_op(op, {Tensor::scalar(x)}, attrs)[0].data<float>()[0];
}

}  // namespace

TEST_CASE("unary functions at values whose results are known") {
  CHECK(one("Round", 0.5f) == 0.0f);
  CHECK(one("Round", 1.5f) == 2.0f);
  CHECK(one("Round", -2.5f) == -2.0f);
  CHECK(one("Sigmoid", -200.0f) == doctest::Approx(0.0));
  CHECK(one("Sigmoid", 0.0f) == 0.5f);
  CHECK(one("Softplus", 100.0f) == 100.0f);
  CHECK(one("Softplus", -100.0f) > 0.0f);
  CHECK(one("Erf", 0.5f) == doctest::Approx(0.5204998778));
  CHECK(one("Gelu", -10.0f) < 0.0f);  // erfc keeps the tail that 1 + erf loses
  CHECK(one("Gelu", 1.0f) == doctest::Approx(0.8413447461));
  CHECK(one("Gelu", 1.0f, {{"approximate", std::string("tanh")}}) == doctest::Approx(0.8411919906));
  CHECK(one("Elu", -1.0f) == doctest::Approx(-0.6321205588));
  CHECK(one("LeakyRelu", -1.0f, {{"alpha", 0.25f}}) == -0.25f);
  CHECK(one("Softsign", -3.0f) == -0.75f);
  CHECK(one("HardSwish", 3.0f) == 3.0f);
  CHECK(one("HardSwish", -3.0f) == 0.0f);
  CHECK(std::isnan(one("Relu", kNan)));
  CHECK(std::isnan(one("Celu", kNan)));
  CHECK(one("Swish", 1.0f, {{"alpha", 0.0f}}) == 0.5f);
}

TEST_CASE("integers wrap instead of overflowing") {
  const auto lowest = std::numeric_limits<int32_t>::min();
  CHECK(values<int32_t>(run_op("Abs", {vec<int32_t>({lowest, -3})})[0]) == std::vector<int32_t>{lowest, 3});
  CHECK(values<int32_t>(run_op("Neg", {vec<int32_t>({lowest, 3})})[0]) == std::vector<int32_t>{lowest, -3});
  CHECK(values<int8_t>(run_op("Add", {vec<int8_t>({127}), vec<int8_t>({1})})[0])[0] == -128);
  CHECK(values<uint16_t>(run_op("Mul", {vec<uint16_t>({65535}), vec<uint16_t>({65535})})[0])[0] == 1);
  CHECK(values<int64_t>(run_op("Sub", {vec<int64_t>({std::numeric_limits<int64_t>::min()}),
                                       vec<int64_t>({1})})[0])[0] == std::numeric_limits<int64_t>::max());
}

TEST_CASE("integer division and modulo by zero and by -1 are defined") {
  const auto lowest = std::numeric_limits<int64_t>::min();
  const Tensor a = vec<int64_t>({7, -7, lowest, 5, -7}), b = vec<int64_t>({0, 2, -1, -3, 0});
  CHECK(values<int64_t>(run_op("Div", {a, b})[0]) == std::vector<int64_t>{0, -3, lowest, -1, 0});
  CHECK(values<int64_t>(run_op("Mod", {a, b})[0]) == std::vector<int64_t>{0, 1, 0, -1, 0});
  CHECK(values<int64_t>(run_op("Mod", {a, b}, {{"fmod", int64_t{1}}})[0]) ==
        std::vector<int64_t>{0, -1, 0, 2, 0});
  CHECK(values<uint8_t>(run_op("Div", {vec<uint8_t>({9}), vec<uint8_t>({0})})[0])[0] == 0);
  const Tensor x = vec<float>({-5.5f, 5.5f, -1.0f}), y = vec<float>({2.0f, -2.0f, kInf});
  CHECK(values<float>(run_op("Mod", {x, y})[0]) == std::vector<float>{0.5f, -0.5f, kInf});
}

TEST_CASE("shifts by the width and more are defined") {
  const Tensor x = vec<int32_t>({-8, 8, 8, -8}), by = vec<int32_t>({1, 32, -1, 40});
  CHECK(values<int32_t>(run_op("BitShift", {x, by}, {{"direction", std::string("RIGHT")}})[0]) ==
        std::vector<int32_t>{-4, 0, 0, -1});
  CHECK(values<int32_t>(run_op("BitShift", {x, by}, {{"direction", std::string("LEFT")}})[0]) ==
        std::vector<int32_t>{-16, 0, 0, 0});
  CHECK(fails("BitShift", {x, by}, {{"direction", std::string("UP")}}) == Code::invalid);
  CHECK(fails("BitShift", {x, by}) == Code::invalid);
}

TEST_CASE("powers of mixed dtypes") {
  const Tensor f = vec<float>({2, 3}), n = vec<int64_t>({3, -1});
  CHECK(values<float>(run_op("Pow", {f, n})[0]) == std::vector<float>{8, static_cast<float>(1.0 / 3)});
  const Tensor i = vec<int32_t>({2, -1, 0, 2});
  CHECK(values<int32_t>(run_op("Pow", {i, vec<int64_t>({-1, -3, -1, 31})})[0]) ==
        std::vector<int32_t>{0, -1, 0, std::numeric_limits<int32_t>::min()});
  CHECK(values<int32_t>(run_op("Pow", {i, vec<float>({0.5f, 2, 1, 100})})[0]) ==
        std::vector<int32_t>{1, 1, 0, std::numeric_limits<int32_t>::min()});
}

TEST_CASE("broadcasting over unequal ranks and zero-size dims") {
  const Tensor a = Tensor::of<float>({2, 1, 2}, {1, 2, 3, 4}), b = Tensor::of<float>({3, 1}, {10, 20, 30});
  const Tensor z = run_op("Add", {a, b})[0];
  CHECK(z.dims() == Dims{2, 3, 2});
  CHECK(values<float>(z) == std::vector<float>{11, 12, 21, 22, 31, 32, 13, 14, 23, 24, 33, 34});
  CHECK(run_op("Add", {Tensor::of<float>({0, 1}, {}), vec<float>({1, 2})})[0].dims() == Dims{0, 2});
  CHECK(fails("Add", {vec<float>({1, 2}), vec<float>({1, 2, 3})}) == Code::invalid);
  CHECK(fails("Add", {vec<float>({1}), vec<int32_t>({1})}) == Code::invalid);
  CHECK(fails("Sum", {vec<float>({1}), vec<float>({1}), vec<int32_t>({1})}) == Code::invalid);
}

TEST_CASE("minimum and maximum keep NaN") {
  const auto y = values<float>(run_op("Max", {vec<float>({1, kNan, 1}), vec<float>({kNan, 1, 2})})[0]);
  CHECK(std::isnan(y[0]));
  CHECK(std::isnan(y[1]));
  CHECK(y[2] == 2);
  CHECK(values<float>(run_op("Mean", {vec<float>({1}), vec<float>({2}), vec<float>({6})})[0])[0] == 3);
}

TEST_CASE("clip: crossed bounds give the maximum, NaN stays, bounds are scalars of the dtype") {
  const Tensor x = vec<float>({-5, 0, 5, kNan});
  const auto y = values<float>(run_op("Clip", {x, Tensor::scalar(2.0f), Tensor::scalar(1.0f)})[0]);
  CHECK(y[0] == 1);
  CHECK(y[2] == 1);
  CHECK(std::isnan(y[3]));
  CHECK(values<float>(run_op("Clip", {x, {}, Tensor::scalar(1.0f)})[0])[0] == -5);
  CHECK(fails("Clip", {x, vec<float>({1, 2})}) == Code::invalid);
  CHECK(fails("Clip", {x, Tensor::scalar(1.0)}) == Code::invalid);
}

TEST_CASE("comparisons, logic and selection") {
  const Tensor s = Tensor::of<std::string>({2}, {"a", "b"}), t = Tensor::of<std::string>({1}, {"b"});
  CHECK(values<bool>(run_op("Equal", {s, t})[0]) == std::vector<bool>{false, true});
  CHECK(values<bool>(run_op("Less", {vec<float>({kNan, 1}), vec<float>({1, 2})})[0]) ==
        std::vector<bool>{false, true});
  CHECK(fails("And", {vec<float>({1}), vec<float>({1})}) == Code::unsupported);
  CHECK(fails("Not", {vec<float>({1})}) == Code::invalid);
  const Tensor pick = Tensor::of<bool>({2, 1}, {true, false});
  const Tensor z = run_op("Where", {pick, s, t})[0];
  CHECK(values<std::string>(z) == std::vector<std::string>{"a", "b", "b", "b"});
  CHECK(fails("Where", {vec<float>({1}), s, t}) == Code::invalid);
}

TEST_CASE("dropout is the identity outside training") {
  const Tensor x = vec<float>({1, 2});
  const auto y = run_op("Dropout", {x}, {}, 2);
  CHECK(values<float>(y[0]) == std::vector<float>{1, 2});
  CHECK(values<bool>(y[1]) == std::vector<bool>{true, true});
  CHECK(fails("Dropout", {x, Tensor::scalar(0.5f), Tensor::scalar(true)}) == Code::unsupported);
  CHECK(fails("Dropout", {x, Tensor::scalar(1.0f)}) == Code::invalid);
}

TEST_CASE("wrong attributes and dtypes of unary functions") {
  CHECK(fails("Sin", {vec<int32_t>({1})}) == Code::invalid);
  CHECK(fails("Gelu", {vec<float>({1})}, {{"approximate", std::string("fast")}}) == Code::invalid);
  CHECK(fails("Elu", {vec<float>({1})}, {{"alpha", std::string("1")}}) == Code::invalid);
  CHECK(fails("Celu", {vec<float>({1})}, {{"alpha", 0.0f}}) == Code::invalid);
  CHECK(fails("Mod", {vec<float>({1}), vec<float>({1})}, {{"fmod", int64_t{2}}}) == Code::invalid);
  CHECK(fails("PRelu", {vec<float>({1}), Tensor::of<float>({2, 1}, {1, 2})}) == Code::invalid);
}
