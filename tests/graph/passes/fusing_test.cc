#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {
using Counts = std::map<std::string, int>;

template <class F>
Counts after(std::vector<Pass> passes, SymDims dims, F make, double tolerance = 1e-5) {
  Build b;
  b.output(make(b, b.input(std::move(dims))));
  return count_ops(optimized(b.g, std::move(passes), tolerance));
}
}  // namespace

TEST_CASE("recognise-activation: hard swish and hard sigmoid") {
  const std::vector<Pass> passes{kRecogniseActivation};
  const auto relu6 = [](Build& b, ValueId x, float c = 3, float h = 6) {
    return b.node("Clip", {b.node("Add", {x, b.number(c)}), b.number(0), b.number(h)});
  };
  CHECK(after(passes, {2, 9}, [&](Build& b, ValueId x) {
          return b.node("Div", {b.node("Mul", {x, relu6(b, x)}), b.number(6)});
        }) == Counts{{"HardSwish", 1}});
  CHECK(after(passes, {2, 9}, [&](Build& b, ValueId x) {
          return b.node("Mul", {x, b.node("Mul", {b.number(1.0f / 6), relu6(b, x)})});
        }) == Counts{{"HardSwish", 1}});
  CHECK(after(passes, {2, 9}, [&](Build& b, ValueId x) {
          return b.node("Mul", {x, b.node("HardSigmoid", {x}, {{"alpha", 1.0f / 6}})});
        }) == Counts{{"HardSwish", 1}});
  CHECK(after(passes, {2, 9}, [&](Build& b, ValueId x) {
          return b.node("Div", {relu6(b, x), b.number(6)});
        }) == Counts{{"HardSigmoid", 1}});
  // Not the right numbers, not the same x.
  CHECK(!after(passes, {2, 9}, [&](Build& b, ValueId x) {
           return b.node("Div", {b.node("Mul", {x, relu6(b, x, 2)}), b.number(6)});
         }).count("HardSwish"));
  CHECK(!after(passes, {2, 9}, [&](Build& b, ValueId x) {
           return b.node("Div", {b.node("Mul", {x, relu6(b, x, 3, 5)}), b.number(6)});
         }).count("HardSwish"));
  CHECK(!after(passes, {2, 9}, [&](Build& b, ValueId x) {
           return b.node("Div", {b.node("Mul", {b.node("Neg", {x}), relu6(b, x)}), b.number(6)});
         }).count("HardSwish"));
}

TEST_CASE("recognise-activation: swish, leaky relu, clips") {
  const std::vector<Pass> passes{kRecogniseActivation};
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Sigmoid", {x}), x});
        }) == Counts{{"Swish", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Sigmoid", {b.node("Mul", {x, b.number(1.702f)})}), x});
        }) == Counts{{"Swish", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Max", {x, b.node("Mul", {x, b.number(0.2f)})});
        }) == Counts{{"LeakyRelu", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("PRelu", {x, b.number(0.2f)});
        }) == Counts{{"LeakyRelu", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Min", {b.node("Relu", {x}), b.number(2)});
        }) == Counts{{"Clip", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Clip", {b.node("Relu", {x}), b.number(-1), b.number(2)});
        }) == Counts{{"Clip", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Max", {x, b.number(-0.4f)});
        }) == Counts{{"Clip", 1}});
  CHECK(after(passes, {9}, [](Build& b, ValueId x) {
          return b.node("Max", {x, b.numbers({9}, {1, 2, 3, 4, 5, 6, 7, 8, 9})});
        }) == Counts{{"Max", 1}});
  CHECK(!after(passes, {9}, [](Build& b, ValueId x) {
           return b.node("Mul", {b.node("Sigmoid", {b.node("Neg", {x})}), x});
         }).count("Swish"));
  CHECK(!after(passes, {9}, [](Build& b, ValueId x) {
           return b.node("Max", {x, b.node("Mul", {x, b.number(1.2f)})});
         }).count("LeakyRelu"));
  CHECK(!after(passes, {2, 9}, [](Build& b, ValueId x) {
           return b.node("PRelu", {x, b.weights({9})});
         }).count("LeakyRelu"));
}

TEST_CASE("recognise-gelu") {
  const std::vector<Pass> passes{kRecogniseGelu};
  const Counts gelu{{"Gelu", 1}};
  const auto erf1 = [](Build& b, ValueId x) {
    return b.node("Add", {b.number(1), b.node("Erf", {b.node("Mul", {x, b.number(0.70710678f)})})});
  };
  CHECK(after(passes, {9}, [&](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Mul", {b.number(0.5f), x}), erf1(b, x)});
        }) == gelu);
  CHECK(after(passes, {9}, [&](Build& b, ValueId x) {
          return b.node("Mul", {b.node("Mul", {x, erf1(b, x)}), b.number(0.5f)});
        }) == gelu);
  CHECK(after(passes, {9}, [&](Build& b, ValueId x) {
          const ValueId e = b.node("Erf", {b.node("Div", {x, b.number(1.41421356f)})});
          return b.node("Div", {b.node("Mul", {x, b.node("Add", {e, b.number(1)})}), b.number(2)});
        }) == gelu);
  const auto tanh1 = [](Build& b, ValueId z) { return b.node("Add", {b.node("Tanh", {z}), b.number(1)}); };
  CHECK(after(passes, {9}, [&](Build& b, ValueId x) {
          const ValueId cube = b.node("Mul", {b.node("Pow", {x, b.number(3)}), b.number(0.044715f)});
          const ValueId z = b.node("Mul", {b.node("Add", {x, cube}), b.number(0.7978845608f)});
          return b.node("Mul", {b.node("Mul", {x, b.number(0.5f)}), tanh1(b, z)});
        }) == gelu);
  CHECK(after(passes, {9}, [&](Build& b, ValueId x) {
          const ValueId square = b.node("Mul", {b.node("Mul", {x, x}), b.number(0.044715f)});
          const ValueId inner = b.node("Mul", {x, b.node("Add", {square, b.number(1)})});
          const ValueId z = b.node("Mul", {inner, b.number(0.7978845608f)});
          return b.node("Mul", {b.node("Mul", {x, tanh1(b, z)}), b.number(0.5f)});
        }) == gelu);
  CHECK(!after(passes, {9}, [&](Build& b, ValueId x) {
           return b.node("Mul", {x, erf1(b, x)});
         }).count("Gelu"));
  CHECK(!after(passes, {9}, [&](Build& b, ValueId x) {
           return b.node("Mul", {b.node("Mul", {b.node("Abs", {x}), b.number(0.5f)}), erf1(b, x)});
         }).count("Gelu"));
}

TEST_CASE("fuse-activation and fuse-residual") {
  const auto conv = [](Build& b, ValueId x) {
    return b.node("Conv", {x, b.weights({3, 3, 1, 1}), b.weights({3})});
  };
  const auto wide = [](Build& b, ValueId x) {
    return b.node("Conv", {x, b.weights({8, 3, 1, 1}), b.weights({8})});
  };
  for (const char* act :
       {"Relu", "Sigmoid", "Tanh", "HardSwish", "Gelu", "LeakyRelu", "HardSigmoid", "Swish"}) {
    CAPTURE(act);
    CHECK(after({kFuseActivation}, {2, 3, 4, 4},
                [&](Build& b, ValueId x) { return b.node(act, {wide(b, x)}); }) == Counts{{"FusedConv", 1}});
    const bool cheap = std::string_view(act) == "Relu" || std::string_view(act) == "LeakyRelu" ||
                       std::string_view(act).starts_with("Hard");
    CHECK(after({kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
            return b.node(act, {conv(b, x)});
          }) == (cheap ? Counts{{"FusedConv", 1}} : Counts{{"Conv", 1}, {act, 1}}));
    CHECK(after({kFuseActivation}, {2, 8, 4, 4}, [&](Build& b, ValueId x) {
            return b.node(act,
                          {b.node("ConvTranspose", {x, b.weights({8, 8, 2, 2})}, {{"strides", Dims{2, 2}}})});
          }) == Counts{{"FusedConvTranspose", 1}});
  }
  CHECK(after({kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Clip", {conv(b, x), b.number(-1), b.number(2)});
        }) == Counts{{"FusedConv", 1}});
  CHECK(after({kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Clip", {conv(b, x), kNoValue, b.number(2)});
        }) == Counts{{"FusedConv", 1}});
  CHECK(after({kFuseActivation}, {2, 4}, [&](Build& b, ValueId x) {
          return b.node("Relu", {b.node("Gemm", {x, b.weights({4, 5})}, {{"alpha", 0.5f}})});
        }) == Counts{{"FusedGemm", 1}});
  CHECK(after({kFuseResidual, kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Relu", {b.node("Add", {x, conv(b, x)})});
        }) == Counts{{"FusedConv", 1}});
  CHECK(after({kFuseResidual}, {2, 4}, [&](Build& b, ValueId x) {
          return b.node("Add", {b.node("MatMul", {x, b.weights({4, 4})}), x});
        }) == Counts{{"FusedMatMul", 1}});
  // Two contractions: one becomes the residual of the other.
  CHECK(after({kFuseResidual}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Add", {conv(b, x), conv(b, x)});
        }) == Counts{{"Conv", 1}, {"FusedConv", 1}});

  // A residual that is broadcast; a second reader; an activation already there; a bound that is not known.
  CHECK(after({kFuseResidual}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Add", {conv(b, x), b.input({1, 3, 1, 1})});
        }) == Counts{{"Add", 1}, {"Conv", 1}});
  CHECK(after({kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          const ValueId y = conv(b, x);
          b.output(y);
          return b.node("Relu", {y});
        }) == Counts{{"Conv", 1}, {"Relu", 1}});
  CHECK(after({kFuseActivation, kFuseResidual}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Add", {b.node("Tanh", {b.node("Relu", {conv(b, x)})}), x});
        }) == Counts{{"Add", 1}, {"FusedConv", 1}, {"Tanh", 1}});
  CHECK(after({kFuseActivation}, {2, 3, 4, 4}, [&](Build& b, ValueId x) {
          return b.node("Clip", {conv(b, x), b.input({})});
        }) == Counts{{"Clip", 1}, {"Conv", 1}});
}

TEST_CASE("fuse-matmul: transposed factors and numbers") {
  CHECK(after({kFuseMatMul}, {2, 3, 4}, [](Build& b, ValueId x) {
          const ValueId k = b.node("Transpose", {b.input({2, 5, 4})}, {{"perm", Dims{0, 2, 1}}});
          return b.node("Div", {b.node("MatMul", {b.node("Mul", {x, b.number(0.5f)}), k}), b.number(4)});
        }) == Counts{{"FusedMatMul", 1}});
  CHECK(after({kFuseMatMul}, {2, 4, 3}, [](Build& b, ValueId x) {
          return b.node("MatMul", {b.node("Transpose", {x}, {{"perm", Dims{0, 2, 1}}}), b.weights({4, 5})});
        }) == Counts{{"FusedMatMul", 1}});
  CHECK(after({kFuseMatMul}, {2, 3, 4}, [](Build& b, ValueId x) {
          const ValueId k = b.node("Transpose", {b.input({4, 5, 2})}, {{"perm", Dims{2, 0, 1}}});
          return b.node("Mul", {b.node("MatMul", {x, k}), b.input({})});
        }) == Counts{{"MatMul", 1}, {"Mul", 1}, {"Transpose", 1}});
}

TEST_CASE("split-mean") {
  const std::vector<Pass> passes{kSplitMean};
  CHECK(after(passes, {2, 3}, [](Build& b, ValueId x) {
          return b.node("Mean", {x, b.input({3}), x});
        }) == Counts{{"Sum", 1}, {"Div", 1}});
  CHECK(after(passes, {2, 3}, [](Build& b, ValueId x) { return b.node("Mean", {x}); }) ==
        Counts{{"Mean", 1}});
}

TEST_CASE("a Gelu keeps its half when a product with constants is next") {
  Build b;
  const ValueId x = b.node("Add", {b.input({4, 8}), b.weights({8})});
  const ValueId erf = b.node("Erf", {b.node("Div", {x, b.number(1.41421356f)})});
  const ValueId y = b.node("Mul", {b.node("Mul", {x, b.node("Add", {erf, b.number(1)})}), b.number(0.5f)});
  b.output(b.node("MatMul", {y, b.weights({8, 3})}));
  CHECK(count_ops(optimized(b.g, {portable_passes().begin(), portable_passes().end()}, 1e-5)) ==
        Counts{{"Add", 1}, {"Gelu", 1}, {"MatMul", 1}});
}

TEST_CASE("sink-reshapes") {
  const std::vector<Pass> passes{kSinkReshapes};
  const auto order = [&](auto make) {
    Build b;
    b.output(make(b, b.node("MatMul", {b.input({6, 5}), b.weights({5, 8})})));
    const Graph g = optimized(b.g, passes, 1e-5);
    std::string ops;
    for (NodeId n : g.order()) ops += std::string(g.node(n).op->name) + " ";
    return ops;
  };
  const auto reshaped = [](Build& b, ValueId x, std::vector<int64_t> dims = {2, 3, 8}) {
    return b.node("Reshape", {x, b.ints(std::move(dims))});
  };
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Add", {reshaped(b, x), b.weights({8})});
        }) == "MatMul Add Reshape ");
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Add", {b.weights({1, 1, 8}), reshaped(b, x)});
        }) == "MatMul Add Reshape ");
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Mul", {reshaped(b, x, {6, 1, 8}), b.weights({6, 1, 1})});
        }) == "MatMul Mul Reshape ");
  CHECK(order([&](Build& b, ValueId x) { return b.node("Relu", {reshaped(b, x)}); }) ==
        "MatMul Relu Reshape ");
  // Varies along an axis that is new, grows the tensor, has two operands, is read by others.
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Add", {reshaped(b, x), b.weights({3, 1})});
        }) == "MatMul Reshape Add ");
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Add", {reshaped(b, x), b.weights({4, 1, 1, 8})});
        }) == "MatMul Reshape Add ");
  CHECK(order([&](Build& b, ValueId x) {
          return b.node("Add", {reshaped(b, x), b.input({8})});
        }) == "MatMul Reshape Add ");
  CHECK(order([&](Build& b, ValueId x) {
          const ValueId r = reshaped(b, x);
          b.output(r);
          return b.node("Relu", {r});
        }) == "MatMul Reshape Relu ");
}

TEST_CASE("split-sum") {
  CHECK(after({kSplitSum}, {2, 9}, [](Build& b, ValueId x) {
          return b.node("Sum", {x, b.node("Neg", {x}), b.weights({9})});
        }) == Counts{{"Add", 2}, {"Neg", 1}});
  Build half;  // would be rounded twice
  const ValueId x = half.input({9}, DType::f16);
  half.output(half.node("Sum", {x, x, x}));
  CHECK(!fires(half, kSplitSum));
}

TEST_CASE("merge-concats") {
  const Attrs axis{{"axis", int64_t{1}}};
  Build b;
  const ValueId x = b.input({2, 3}), y = b.input({2, 4}), z = b.input({2, 5});
  b.output(b.node("Concat", {x, y}, axis));
  b.output(b.node("Concat", {x, y, z}, axis));
  b.output(b.node("Concat", {x, y, z, x}, axis));
  const Graph after = optimized(b.g, {kMergeConcats}, 0);
  int operands = 0;
  for (NodeId n : after.order()) operands += static_cast<int>(after.node(n).inputs.size());
  CHECK(operands == 6);

  Build other;  // another order, another axis
  const ValueId u = other.input({2, 3}), v = other.input({2, 3});
  other.output(other.node("Concat", {v, u}, axis));
  other.output(other.node("Concat", {u, v}, {{"axis", int64_t{0}}}));
  other.output(other.node("Concat", {u, v, u}, axis));
  CHECK(!fires(other, kMergeConcats));
}
