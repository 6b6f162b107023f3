// f32 to f16 and bf16.
#include <cmath>

#include "skyline/quant.h"
#include "tests/graph/passes/build.h"

namespace skyline::test {
namespace {

using namespace quant;

MakeRunner interpreter() {
  return [](const Graph& g) -> Runner { return [g](std::span<const Value> in) { return interpret(g, in); }; };
}

Examples examples(const Graph& g, float scale) {
  return {4, [&g, scale](int64_t i) {
            Random random(static_cast<uint32_t>(i + 1));
            std::vector<Value> out;
            for (ValueId v : g.inputs())
              out.emplace_back(random_tensor(g.fact(v).static_dims(), random, scale));
            return out;
          }};
}

double worst(const Graph& a, const Graph& b) {
  double most = 0;
  for (int64_t i = 0; i < 4; ++i) {
    const auto in = examples(a, 1).at(i);
    const Tensor x = interpret(a, in)[0].tensor(), y = interpret(b, in)[0].tensor();
    CHECK(y.dtype() == x.dtype());
    for (int64_t k = 0; k < x.size(); ++k)
      most = std::max<double>(most, std::fabs(x.data<float>()[k] - y.data<float>()[k]));
  }
  return most;
}

const Decision& decision(const Result& r, std::string_view op) {
  for (const Decision& d : r.decisions) {
    if (d.op == op) return d;
  }
  FAIL("no decision about " << op);
  return r.decisions[0];
}

}  // namespace

TEST_CASE("half: between nodes, with casts where f32 begins") {
  Build b;
  const ValueId x = b.input({1, 3, 6, 6});
  const ValueId h = b.node("Relu", {b.node("Conv", {x, b.weights({4, 3, 3, 3}), b.weights({4})})});
  const ValueId mean = b.node("ReduceMean", {h, b.ints({2, 3})}, {{"keepdims", int64_t{1}}});
  const ValueId y = b.node("Flatten", {b.node("Mul", {h, mean})});
  b.output(b.node("Gemm", {y, b.weights({64, 5}, 0.1f), b.weights({5})}));
  b.output(h);
  for (const DType t : {DType::f16, DType::bf16}) {
    CAPTURE(name(t));
    const Result r = to_half(b.g, t);
    CHECK(worst(b.g, r.graph) < (t == DType::f16 ? 0.02 : 0.2));
    CHECK(decision(r, "Conv").precision == (t == DType::f16 ? Precision::f16 : Precision::bf16));
    CHECK(decision(r, "ReduceMean").precision == Precision::f32);
    CHECK(count_ops(r.graph)["Cast"] == 4);  // in; of h for the mean and the output; the mean back; out
    CHECK(r.graph.fact(r.graph.inputs()[0]).dtype == DType::f32);
  }
  HalfOptions o;
  o.keep = {"Gemm"};
  CHECK(decision(to_half(b.g, DType::f16, o), "Gemm").reason == "asked for");
  o.keep = {"nobody"};
  CHECK_THROWS_WITH_AS(to_half(b.g, DType::f16, o), doctest::Contains("nobody"), Error);
  CHECK_THROWS_AS(to_half(b.g, DType::u8), Error);
}

TEST_CASE("half: what f16 cannot hold stays f32") {
  Build b;
  const ValueId x = b.input({1, 4, 4, 4});
  const ValueId tiny = b.node("Relu", {b.node("Add", {x, b.number(1e-12f)})});
  const ValueId big = b.node("Conv", {tiny, b.numbers({1, 4, 1, 1}, {1e5f, 1, 1, 1})});
  b.output(b.node("Sigmoid", {big}));
  const Result r = to_half(b.g, DType::f16);
  CHECK(decision(r, "Add").precision == Precision::f32);
  CHECK(decision(r, "Conv").precision == Precision::f32);
  CHECK(decision(r, "Relu").precision == Precision::f16);
  // bf16 has the range of f32.
  CHECK(decision(to_half(b.g, DType::bf16), "Conv").precision == Precision::bf16);
}

TEST_CASE("half: results near the end of the range, as the examples show them") {
  Build b;
  const ValueId x = b.input({1, 4, 4, 4});
  const ValueId y = b.node("Conv", {x, b.weights({4, 4, 1, 1}, 100)});
  b.output(b.node("Tanh", {y}));
  HalfOptions o;
  o.examples = examples(b.g, 300);
  o.make_runner = interpreter();
  const Result r = to_half(b.g, DType::f16, o);
  CHECK(decision(r, "Conv").precision == Precision::f32);
  CHECK(decision(r, "Conv").reason.find("reach") != std::string::npos);
  CHECK(decision(r, "Tanh").precision == Precision::f16);
}

}  // namespace skyline::test
