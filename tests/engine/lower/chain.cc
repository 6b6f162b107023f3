// Fused elementwise nodes: the steps in a kernel, and the pass that makes them.
#include "graph/ops/fused_elementwise.h"
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

TEST_CASE("fused elementwise steps") {
  Random random(31);
  const std::vector<ops::ElementwiseStep> steps = {{"Add", 0, 1}, {"Sigmoid", 3},
                                                   {"Mul", 4, 3}, {"Clip", 5, -1, -1.0f, 1.5f},
                                                   {"Mul", 6, 2}, {"Sub", 7, 0}};
  const std::tuple<Dims, Dims, Dims> shapes[] = {{{5, 7}, {5, 7}, {5, 7}}, {{5, 7}, {7}, {5, 1}},
                                                 {{5, 7}, {}, {1, 7}},     {{2, 3, 700}, {3, 1}, {}},
                                                 {{1}, {1}, {1}},          {{0, 3}, {3}, {1}}};
  for (const auto& [a, b, c] : shapes) {
    check_sweep({.op = "FusedElementwise",
                 .operands = {input(random.f32(a)), input(random.f32(b)), input(random.f32(c))},
                 .attrs = ops::steps_to_attrs(steps),
                 .domain = "skyline"});
  }
  for (const char* name :
       {"Neg", "Abs", "Floor", "Ceil", "Relu", "Exp", "Tanh", "Erf", "HardSwish", "Softplus"}) {
    check_sweep({.op = "FusedElementwise",
                 .operands = {input(random.f32({37}))},
                 .attrs = ops::steps_to_attrs({{name, 0}, {"Neg", 1}}),
                 .domain = "skyline"});
  }
  for (float alpha : {1.0f, 1.702f}) {
    check_sweep({.op = "FusedElementwise",
                 .operands = {input(random.f32({37}))},
                 .attrs = ops::steps_to_attrs({{"Swish", 0, -1, alpha},
                                               {"LeakyRelu", 1, -1, 0.2f},
                                               {"HardSigmoid", 2, -1, 0.3f, 0.4f},
                                               {"Elu", 3, -1, alpha}}),
                 .domain = "skyline"});
  }
}

TEST_CASE("rows times and plus a number per column") {
  Random random(33);
  const auto check = [&](const std::vector<ops::ElementwiseStep>& steps, std::vector<Dims> shapes) {
    std::vector<Operand> operands;
    operands.reserve(shapes.size());
    for (const Dims& d : shapes) operands.push_back(input(random.f32(d)));
    check_sweep({.op = "FusedElementwise",
                 .operands = operands,
                 .attrs = ops::steps_to_attrs(steps),
                 .domain = "skyline"});
  };
  for (int64_t n : {1, 5, 16, 33, 130}) {
    const Dims rows{2, 3, n}, column{n}, wide{1, 1, n};
    check({{"Mul", 0, 1}, {"Add", 3, 2}, {"Relu", 4}}, {rows, column, wide});
    check({{"Mul", 1, 0}, {"Add", 2, 3}, {"Add", 4, 0}}, {rows, wide, column});
    check({{"Mul", 0, 1}, {"Add", 2, 0}}, {rows, column});
    check({{"Add", 0, 1}, {"Relu", 2}}, {rows, column});
    // Not in this order, not this operator, not a vector of columns.
    check({{"Add", 0, 1}, {"Mul", 3, 2}}, {rows, column, column});
    check({{"Add", 0, 1}, {"Sub", 3, 2}}, {rows, column, column});
    check({{"Mul", 0, 1}, {"Add", 3, 2}}, {rows, {3, 1}, column});
    check({{"Relu", 0}, {"Add", 2, 1}}, {rows, column});
    for (const char* op : {"Add", "Mul"}) {
      check_sweep({.op = op, .operands = {input(random.f32(rows)), input(random.f32(column))}});
      check_sweep({.op = op, .operands = {input(random.f32(wide)), input(random.f32(rows))}});
    }
  }
}

TEST_CASE("variadic operators") {
  Random random(32);
  for (const char* name : {"Sum", "Max", "Min"}) {
    for (int n : {1, 2, 3, 8}) {
      std::vector<Operand> in;
      in.reserve(static_cast<size_t>(n));
      for (int i = 0; i < n; ++i) in.push_back(input(random.f32(i % 2 ? Dims{5, 1} : Dims{5, 7})));
      check_sweep({.op = name, .operands = in});
    }
  }
}

TEST_CASE("chains and trees of a graph become one step with the same bits") {
  Random random(33);
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {3, 40})),
                b = g.add_input("b", Fact::fixed(DType::f32, {40}));
  const ValueId scale = g.add_constant("scale", Tensor::scalar(1.7f));
  int count = 0;
  const auto node = [&](std::string_view name, std::vector<ValueId> in) {
    const ValueId v = g.add_value("v" + std::to_string(count));
    g.add_node(op(name), "n" + std::to_string(count++), std::move(in), {v});
    return v;
  };
  const ValueId small = node("Exp", {b});  // broadcast by what reads it: stays a node of its own
  const ValueId sum = node("Sub", {x, small}), wide = node("Mul", {sum, scale});
  const ValueId left = node("Tanh", {wide}), right = node("Abs", {wide});
  g.add_output(node("Max", {node("Div", {left, x}), node("Sqrt", {right})}), "y");
  const Model model(std::move(g));
  const std::vector<Value> inputs = {random.f32({3, 40}), random.f32({40})};
  SessionOptions options{.threads = 1};
  const Session fused(model, options);
  Profile profile;
  const Tensor got = fused.run_profiled(inputs, profile)[0].tensor();
  CHECK(profile.size() == 2);
  CHECK(profile.back().op == "FusedElementwise");
  options.stop_after_pass = 0;
  const Tensor want = Session(model, options).run(inputs)[0].tensor();
  CHECK(std::memcmp(got.raw(), want.raw(), static_cast<size_t>(want.bytes())) == 0);
}
