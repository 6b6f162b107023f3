// Elementwise operators against their reference.
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr int64_t kSizes[] = {1, 7, 16, 33, 257};

}  // namespace

TEST_CASE("unary operators") {
  Random random(1);
  for (const char* name :
       {"Abs",     "Neg",       "Sign",        "Relu",      "Floor",    "Ceil",     "Round",     "Exp",
        "Sigmoid", "Tanh",      "Erf",         "HardSwish", "Softplus", "Softsign", "Mish",      "Sin",
        "Cos",     "LeakyRelu", "HardSigmoid", "Elu",       "Gelu",     "Swish",    "Reciprocal"}) {
    for (int64_t n : kSizes) check_sweep({.op = name, .operands = {input(random.f32({n}, -6, 6))}});
  }
  for (const char* name : {"Sqrt", "Log"})
    check_sweep({.op = name, .operands = {input(random.f32({3, 41}, -4, -0.1f))}});
  check_sweep({.op = "Clip",
               .operands = {input(random.f32({5, 13})), constant(Tensor::scalar(-1.0f)),
                            constant(Tensor::scalar(0.5f))}});
  check_sweep({.op = "Not", .operands = {input(random.ints<bool>({37}, 0, 1))}});
  check_sweep({.op = "Neg", .operands = {input(random.ints<int64_t>({37}, -9, 9))}});
}

TEST_CASE("unary operators without elements or dims") {
  Random random(2);
  for (const Dims& d : {Dims{0}, Dims{3, 0, 2}, Dims{}})
    for (const char* name : {"Abs", "Exp", "Tanh"})
      check_sweep({.op = name, .operands = {input(random.f32(d))}});
}

TEST_CASE("binary operators broadcast") {
  Random random(3);
  const std::pair<Dims, Dims> shapes[] = {
      {{5, 7}, {5, 7}},
      {{5, 7}, {7}},
      {{7}, {5, 7}},
      {{5, 1}, {1, 7}},
      {{2, 3, 4}, {3, 1}},
      {{}, {3, 5}},
      {{3, 5}, {}},
      {{1}, {33}},
      {{2, 1, 3, 1}, {4, 1, 5}},
      {{0, 3}, {3}},
      {{}, {}},
      {{2, 3, 1, 5, 2}, {3, 4, 1, 2}},
      {{1, 8, 4, 4}, {8, 1, 1}},
      {{64, 65}, {64, 65}},
      {{1, 1}, {1, 1, 1}},
  };
  for (const char* name : {"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu", "Less", "Greater", "Equal"}) {
    for (const auto& [a, b] : shapes) {
      if (std::string(name) == "PRelu" && (b.size() > a.size() || a != Dims{5, 7})) continue;
      check_sweep({.op = name, .operands = {input(random.f32(a, 1, 4)), input(random.f32(b, 0.5f, 3))}});
    }
  }
  check_sweep({.op = "Pow",
               .operands = {input(random.f32({3, 5}, -3, -1)), input(random.f32({5}, -2, 2))},
               .tolerance = 1e-5f});
  for (const char* name : {"Add", "Sub", "Mul", "Div", "Mod", "Equal", "Less"}) {
    check_sweep(
        {.op = name,
         .operands = {input(random.ints<int64_t>({4, 9}, -20, 20)), input(random.ints<int64_t>({9}, 1, 7))}});
  }
  check_sweep({.op = "Add", .operands = {input(random.f32({3, 5})), input(random.f32({3, 5}))}});
}

TEST_CASE("special values keep their place") {
  const float inf = INFINITY, nan = NAN;
  const Tensor a = Tensor::of<float>({8}, {inf, -inf, nan, 0.0f, -0.0f, 1.0f, nan, -3.0f});
  const Tensor b = Tensor::of<float>({8}, {1.0f, inf, 2.0f, nan, 0.0f, nan, nan, -inf});
  for (const char* name : {"Add", "Mul", "Min", "Max", "Div", "Less", "Equal"})
    check_sweep({.op = name, .operands = {input(a), input(b)}});
  for (const char* name :
       {"Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Floor", "HardSwish", "HardSigmoid", "Softplus"})
    check_sweep({.op = name, .operands = {input(a)}});
}

TEST_CASE("where and cast") {
  Random random(4);
  check_sweep({.op = "Where",
               .operands = {input(random.ints<bool>({3, 1}, 0, 1)), input(random.f32({1, 7})),
                            input(random.f32({3, 7}))}});
  check_sweep({.op = "Where",
               .operands = {input(random.ints<bool>({}, 0, 1)), input(random.f32({17})),
                            constant(Tensor::scalar(-1.0f))}});
  for (DType to : {DType::f32, DType::i64, DType::i32, DType::boolean, DType::f64}) {
    const Attrs attrs{{"to", static_cast<int64_t>(to)}};
    check_sweep(
        {.op = "Cast", .operands = {input(random.f32({29}, -9, 9))}, .attrs = attrs, .kernels = false});
    check_sweep({.op = "Cast",
                 .operands = {input(random.ints<int64_t>({29}, -9, 9))},
                 .attrs = attrs,
                 .kernels = false});
    check_sweep(
        {.op = "Cast", .operands = {input(random.ints<bool>({29}, 0, 1))}, .attrs = attrs, .kernels = false});
  }
}
