#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {
using Counts = std::map<std::string, int>;
const std::vector<Pass> kPasses{kRecogniseNorm, kFoldNormScale};

ValueId mean(Build& b, ValueId x, Dims axes) {
  return b.node("ReduceMean", {x, b.ints(axes)});
}
ValueId deviation(Build& b, ValueId d, Dims axes, float epsilon = 1e-5f) {
  return b.node("Sqrt", {b.node("Add", {mean(b, b.node("Mul", {d, d}), axes), b.number(epsilon)})});
}
ValueId centred(Build& b, ValueId x, Dims axes) {
  return b.node("Sub", {x, mean(b, x, axes)});
}

template <class F>
Counts after(F make) {
  Build b;
  b.output(make(b, b.input({b.g.symbol("batch"), 3, 8})));
  return count_ops(optimized(b.g, kPasses, 1e-5));
}
}  // namespace

TEST_CASE("recognise-norm: layer normalization in its spellings") {
  const Counts layer{{"LayerNormalization", 1}};
  CHECK(after([](Build& b, ValueId x) {
          const ValueId d = centred(b, x, {-1});
          const ValueId y = b.node("Div", {d, deviation(b, d, {-1})});
          return b.node("Add", {b.node("Mul", {y, b.weights({8})}), b.weights({8})});
        }) == layer);
  CHECK(after([](Build& b, ValueId x) {
          const ValueId d = centred(b, x, {2});
          const ValueId variance = mean(b, b.node("Pow", {d, b.number(2)}), {2});
          const ValueId y = b.node(
              "Mul", {b.node("Pow", {b.node("Add", {variance, b.number(1e-3f)}), b.number(-0.5f)}), d});
          return b.node("Mul", {b.number(2), b.node("Add", {y, b.weights({1, 8})})});
        }) == layer);
  CHECK(after([](Build& b, ValueId x) {
          const ValueId d = centred(b, x, {1, 2});
          const ValueId y = b.node("Mul", {d, b.node("Reciprocal", {deviation(b, d, {1, 2})})});
          return b.node("Mul", {y, b.weights({3, 8})});
        }) == layer);
}

TEST_CASE("recognise-norm: root mean square") {
  CHECK(after([](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Div", {x, deviation(b, x, {-1})}), b.weights({8})});
        }) == Counts{{"RMSNormalization", 1}});
}

TEST_CASE("recognise-norm leaves what only looks alike") {
  const auto alike = [](auto make) {
    const Counts c = after(make);
    return c.count("LayerNormalization") + c.count("RMSNormalization") != 0;
  };
  // Not the last axis; the mean of another axis makes it the root mean square of the difference.
  CHECK(!alike([](Build& b, ValueId x) {
    const ValueId d = centred(b, x, {1});
    return b.node("Div", {d, deviation(b, d, {1})});
  }));
  CHECK(after([](Build& b, ValueId x) {
          const ValueId d = centred(b, x, {1});
          return b.node("Div", {d, deviation(b, d, {2})});
        }).count("RMSNormalization") == 1);
  CHECK(!alike([](Build& b, ValueId x) {
    return b.node("Div", {x, deviation(b, b.node("Abs", {x}), {2})});
  }));
  CHECK(!alike([](Build& b, ValueId x) { return b.node("Div", {x, deviation(b, x, {2}, -1e-9f)}); }));
  CHECK(!alike([](Build& b, ValueId x) { return b.node("Div", {deviation(b, x, {2}), x}); }));

  // A factor along another axis stays.
  CHECK(after([](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Div", {x, deviation(b, x, {-1})}), b.weights({3, 1})});
        }) == Counts{{"Mul", 1}, {"RMSNormalization", 1}});
}

TEST_CASE("recognise-softmax") {
  const auto spelled = [](int64_t max_axis, int64_t sum_axis) {
    Build b;
    const ValueId x = b.input({2, 3, 4});
    const ValueId e = b.node("Exp", {b.node("Sub", {x, b.node("ReduceMax", {x, b.ints({max_axis})})})});
    b.output(b.node("Div", {e, b.node("ReduceSum", {e, b.ints({sum_axis})})}));
    return count_ops(optimized(b.g, {kRecogniseSoftmax}));
  };
  CHECK(spelled(1, -2) == Counts{{"Softmax", 1}});
  CHECK(!spelled(1, 2).count("Softmax"));
}
