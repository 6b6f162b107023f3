#include <array>

#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

TEST_CASE("fold-constants: constant inputs, known shapes, known dims of a shape") {
  Build b;
  const ValueId x = b.input({Dim::unknown(), 3, 4});
  const ValueId two = b.node("Add", {b.number(1), b.number(1)});
  b.output(b.node("Mul", {x, two}));
  const ValueId dims = b.node("Shape", {x});
  b.output(b.node("Gather", {dims, b.ints({2, 1})}));
  b.output(b.node("Slice", {dims, b.ints({-2}), b.ints({9})}));
  const Graph g = optimized(b.g, {kFoldConstants});
  CHECK(count_ops(g) == std::map<std::string, int>{{"Mul", 1}});
  CHECK(g.constant(g.outputs()[1])->data<int64_t>()[0] == 4);
  CHECK(g.constant(g.outputs()[2])->data<int64_t>()[0] == 3);

  Build s;
  const ValueId y = s.input({2, 3});
  s.output(s.node("Shape", {s.node("Relu", {y})}));
  CHECK(count_ops(optimized(s.g, {kFoldConstants})).empty());
}

TEST_CASE("fold-constants leaves what is unknown, huge, failing or dequantized") {
  Build b;
  const ValueId x = b.input({Dim::unknown(), 3});
  b.output(b.node("Gather", {b.node("Shape", {x}), b.ints({0})}));
  CHECK(!fires(b, kFoldConstants));

  Build huge;
  huge.output(huge.node("Expand", {huge.number(1), huge.ints({200, 200})}));
  CHECK(!fires(huge, kFoldConstants));

  Build failing;
  const ValueId v = failing.node("Gather", {failing.ints({1, 2}), failing.ints({5})});
  failing.output(v);
  CHECK(run_passes(failing.g, std::vector<Pass>{kFoldConstants}) == 0);
}

TEST_CASE("remove-identity") {
  const auto gone = [](auto make) {
    Build b;
    const ValueId x = b.input({2, 3, 4});
    b.output(b.node("Neg", {make(b, x)}));
    return count_ops(optimized(b.g, {kRemoveIdentity}, 0)) == std::map<std::string, int>{{"Neg", 1}};
  };
  CHECK(gone([](Build& b, ValueId x) { return b.node("Identity", {x}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Dropout", {x}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Cast", {x}, {{"to", int64_t{1}}}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Reshape", {x, b.ints({2, -1, 4})}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Transpose", {x}, {{"perm", Dims{0, 1, 2}}}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Pad", {x, b.ints({0, 0, 0, 0, 0, 0})}); }));
  CHECK(gone([](Build& b, ValueId x) {
    return b.node("Slice", {x, b.ints({0}), b.ints({99}), b.ints({1})});
  }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Expand", {x, b.ints({3, 1})}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Tile", {x, b.ints({1, 1, 1})}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Concat", {x}, {{"axis", int64_t{1}}}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Clip", {x, b.number(-INFINITY)}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Mul", {b.number(1), x}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Div", {x, b.number(1, {1, 1, 1})}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Sub", {x, b.number(0)}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Add", {x, b.number(-0.0f)}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("Pow", {x, b.number(1)}); }));
  CHECK(gone([](Build& b, ValueId x) { return b.node("MaxPool", {x}, {{"kernel_shape", Dims{1}}}); }));

  // Changes a bit (-0 + 0), a shape, an order, or is a division by x.
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Add", {x, b.number(0)}); }));
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Mul", {x, b.number(1, {1, 1, 1, 1})}); }));
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Div", {b.number(1), x}); }));
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Transpose", {x}, {{"perm", Dims{1, 0, 2}}}); }));
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Clip", {x, b.number(-1)}); }));
  CHECK(!gone([](Build& b, ValueId x) {
    return b.node("Slice", {x, b.ints({-1}), b.ints({-99}), b.ints({1}), b.ints({-1})});
  }));
  CHECK(!gone([](Build& b, ValueId x) { return b.node("Reshape", {x, b.ints({3, 2, 4})}); }));
}

TEST_CASE("merge-common") {
  Build b;
  const ValueId x = b.input({2, 3}), y = b.input({2, 3});
  const ValueId p = b.node("Add", {x, y}), q = b.node("Add", {y, x});
  const ValueId r = b.node("Clip", {p, b.number(0)}), s = b.node("Clip", {q, b.number(0)});
  b.output(b.node("Mul", {r, s}));
  CHECK(count_ops(optimized(b.g, {kMergeCommon}, 0)) ==
        std::map<std::string, int>{{"Add", 1}, {"Clip", 1}, {"Mul", 1}});

  Build different;
  const ValueId z = different.input({2, 3}), w = different.input({2, 3});
  different.output(different.node("Sub", {z, w}));
  different.output(different.node("Sub", {w, z}));
  different.output(different.node("LeakyRelu", {z}, {{"alpha", 0.1f}}));
  different.output(different.node("LeakyRelu", {z}, {{"alpha", 0.2f}}));
  different.output(different.node("Clip", {z, different.number(0)}));
  different.output(different.node("Clip", {z, different.number(-0.5f)}));
  CHECK(!fires(different, kMergeCommon));
}

namespace {
ValueId conv(Build& b, ValueId x, Dims w, Attrs attrs = {}, bool bias = false) {
  std::vector<ValueId> in{x, b.weights(w)};
  if (bias) in.push_back(b.weights({w[0]}));
  return b.node("Conv", in, std::move(attrs));
}
ValueId norm(Build& b, ValueId x, int64_t c) {
  return b.node("BatchNormalization",
                {x, b.weights({c}), b.weights({c}), b.weights({c}), b.weights({c}, 0.5f, 1.0f)});
}
}  // namespace

TEST_CASE("fold-batchnorm into what is before it") {
  const auto folds = [](auto make) {
    Build b;
    b.output(make(b));
    return count_ops(optimized(b.g, {kFoldBatchNorm})).count("BatchNormalization") == 0;
  };
  CHECK(folds([](Build& b) { return norm(b, conv(b, b.input({2, 4, 5, 5}), {6, 4, 3, 3}), 6); }));
  CHECK(folds([](Build& b) {
    return norm(b, conv(b, b.input({2, 4, 5}), {6, 2, 3}, {{"group", int64_t{2}}}, true), 6);
  }));
  CHECK(folds([](Build& b) {
    const ValueId x = b.input({2, 4, 5, 5});
    return norm(b, b.node("ConvTranspose", {x, b.weights({4, 3, 3, 3})}, {{"group", int64_t{2}}}), 6);
  }));
  CHECK(folds([](Build& b) {
    const Attrs attrs{{"transB", int64_t{1}}, {"alpha", 0.5f}, {"beta", 2.0f}};
    return norm(b, b.node("Gemm", {b.input({2, 4}), b.weights({6, 4}), b.weights({6})}, attrs), 6);
  }));
  CHECK(folds([](Build& b) { return norm(b, b.node("MatMul", {b.input({2, 4}), b.weights({4, 6})}), 6); }));

  // The channels of a stacked product are not its columns; weights that change; a second reader.
  CHECK(!folds([](Build& b) {
    return norm(b, b.node("MatMul", {b.input({2, 6, 4}), b.weights({4, 6})}), 6);
  }));
  CHECK(!folds([](Build& b) {
    return norm(b, b.node("Conv", {b.input({2, 4, 5}), b.input({6, 4, 3})}), 6);
  }));
  CHECK(!folds([](Build& b) {
    const ValueId y = conv(b, b.input({2, 4, 5}), {6, 4, 3});
    b.output(y);
    return norm(b, y, 6);
  }));
}

TEST_CASE("fold-batchnorm refuses a variance that gives no finite factor") {
  Build b;
  const ValueId y = conv(b, b.input({1, 2, 5}), {1, 2, 3});
  b.output(b.node("BatchNormalization",
                  {y, b.number(1, {1}), b.number(0, {1}), b.number(0, {1}), b.number(-1, {1})}));
  CHECK(!fires(b, kFoldBatchNorm));
}

TEST_CASE("decompose-batchnorm") {
  Build b;
  b.output(norm(b, b.input({2, 6, 3}), 6));
  CHECK(count_ops(optimized(b.g, {kDecomposeBatchNorm})) ==
        std::map<std::string, int>{{"Add", 1}, {"Mul", 1}});
  Build training;
  const ValueId x = training.input({2, 6, 3});
  const auto y = training.nodes(
      "BatchNormalization",
      {x, training.weights({6}), training.weights({6}), training.weights({6}), training.number(1, {6})}, 3,
      {{"training_mode", int64_t{1}}});
  training.output(y[0]);
  CHECK(!fires(training, kDecomposeBatchNorm));
}

TEST_CASE("fold-scale-after: constants per channel") {
  const auto left = [](auto make) {
    Build b;
    const ValueId y = conv(b, b.input({2, 4, 5, 5}), {6, 4, 3, 3});
    b.output(make(b, y));
    return optimized(b.g, {kFoldScaleAfter}).node_count();
  };
  CHECK(left([](Build& b, ValueId y) { return b.node("Mul", {b.number(3, {1}), y}); }) == 1);
  CHECK(left([](Build& b, ValueId y) { return b.node("Div", {y, b.weights({1, 6, 1, 1}, 1, 2)}); }) == 1);
  CHECK(left([](Build& b, ValueId y) { return b.node("Add", {y, b.weights({6, 1, 1})}); }) == 1);
  CHECK(left([](Build& b, ValueId y) { return b.node("Sub", {b.weights({6, 1, 1}), y}); }) == 1);
  CHECK(left([](Build& b, ValueId y) { return b.node("Sub", {y, b.number(1)}); }) == 1);
  CHECK(left([](Build& b, ValueId y) { return b.node("Neg", {y}); }) == 1);
  // Along another axis, larger than the result, divided by it, by nothing.
  CHECK(left([](Build& b, ValueId y) { return b.node("Mul", {y, b.weights({3})}); }) == 2);
  CHECK(left([](Build& b, ValueId y) { return b.node("Add", {y, b.weights({1, 1, 6, 1, 1})}); }) == 2);
  CHECK(left([](Build& b, ValueId y) { return b.node("Div", {b.number(1), y}); }) == 2);
  CHECK(left([](Build& b, ValueId y) { return b.node("Div", {y, b.number(0)}); }) == 2);

  Build m;
  const ValueId y = m.node("MatMul", {m.input({2, 3, 4}), m.weights({4, 6})});
  m.output(m.node("Mul", {m.node("Add", {y, m.weights({6})}), m.number(0.5f)}));
  const Graph g = optimized(m.g, {kFoldScaleAfter});
  CHECK(count_ops(g) == std::map<std::string, int>{{"FusedMatMul", 1}});
}

TEST_CASE("fold-scale-before a Conv") {
  const auto ops = [](auto make, Dims pads, bool bias) {
    Build b;
    const ValueId x = b.input({2, 4, 5, 5});
    b.output(conv(b, make(b, x), {6, 2, 3, 3}, {{"group", int64_t{2}}, {"pads", pads}}, bias));
    return count_ops(optimized(b.g, {kFoldScaleBefore}));
  };
  const Dims none{0, 0, 0, 0}, some{1, 1, 1, 1};
  const std::map<std::string, int> alone{{"Conv", 1}};
  CHECK(ops(
            [](Build& b, ValueId x) {
              return b.node("Mul", {x, b.weights({4, 1, 1})});
            },
            some, false) == alone);
  CHECK(ops(
            [](Build& b, ValueId x) {
              return b.node("Add", {x, b.weights({4, 1, 1})});
            },
            none, false) == alone);
  CHECK(ops([](Build& b, ValueId x) { return b.node("Sub", {b.number(1), x}); }, none, true) == alone);
  CHECK(ops([](Build& b, ValueId x) { return b.node("Add", {x, b.number(1)}); }, some, true).size() == 2);
  // With padding the term stays and the factor goes.
  CHECK(ops(
            [](Build& b, ValueId x) {
              return b.node("Add", {b.node("Mul", {x, b.number(3)}), b.number(1)});
            },
            some, true) == std::map<std::string, int>{{"Add", 1}, {"Conv", 1}});
}

TEST_CASE("fold-pad into Conv and pools") {
  const auto left = [](auto make, std::vector<ValueId> (*extra)(Build&), bool relu = false,
                       std::string mode = "constant") {
    Build b;
    ValueId x = b.input({2, 3, 6, 6});
    if (relu) x = b.node("Relu", {x});
    std::vector<ValueId> in{x};
    for (ValueId v : extra(b)) in.push_back(v);
    b.output(make(b, b.node("Pad", in, {{"mode", mode}})));
    return static_cast<int>(optimized(b.g, {kFoldPad}).node_count()) - relu;
  };
  const auto ones = [](Build& b) { return std::vector<ValueId>{b.ints({0, 0, 1, 1, 0, 0, 1, 2})}; };
  const auto filled = [](Build& b) {
    return std::vector<ValueId>{b.ints({0, 0, 1, 1, 0, 0, 1, 2}), b.number(1)};
  };
  const auto channel = [](Build& b) { return std::vector<ValueId>{b.ints({0, 1, 1, 1, 0, 0, 1, 1})}; };
  const auto cropped = [](Build& b) { return std::vector<ValueId>{b.ints({0, 0, -1, 1, 0, 0, 1, 1})}; };
  const auto by_axes = [](Build& b) {
    return std::vector<ValueId>{b.ints({1, 2}), b.number(0), b.ints({-1})};
  };
  const auto convolve = [](Build& b, ValueId x) { return b.node("Conv", {x, b.weights({4, 3, 3, 3})}); };
  const auto average = [](Build& b, ValueId x) {
    return b.node("AveragePool", {x}, {{"kernel_shape", Dims{3, 3}}});
  };
  const auto average_own = [](Build& b, ValueId x) {
    return b.node("AveragePool", {x}, {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}});
  };
  const auto max = [](Build& b, ValueId x) { return b.node("MaxPool", {x}, {{"kernel_shape", Dims{3, 3}}}); };
  CHECK(left(convolve, ones) == 1);
  CHECK(left(convolve, by_axes) == 1);
  CHECK(left(average, ones) == 1);
  CHECK(left(max, ones, true) == 1);
  CHECK(left(convolve, filled) == 2);
  CHECK(left(convolve, cropped) == 2);
  CHECK(left(average, channel) == 2);
  CHECK(left(average_own, ones) == 2);
  CHECK(left(max, ones) == 2);
  CHECK(left(convolve, ones, false, "reflect") == 2);
}

namespace {

// Pixels of blocks of two by two as channels, as Slices one after the other.
ValueId focus(Build& b, ValueId x, std::vector<std::array<int64_t, 2>> starts, int64_t step = 2) {
  std::vector<ValueId> parts;
  for (const auto& [row, column] : starts) {
    const ValueId rows = b.node("Slice", {x, b.ints({row}), b.ints({1 << 20}), b.ints({2}), b.ints({step})});
    parts.push_back(
        b.node("Slice", {rows, b.ints({column}), b.ints({1 << 20}), b.ints({-1}), b.ints({step})}));
  }
  return b.node("Concat", parts, {{"axis", int64_t{1}}});
}

int nodes_left(Build& b, ValueId gathered, Dims weights, Attrs attrs = {}) {
  b.output(b.node("Conv", {gathered, b.weights(std::move(weights))}, attrs));
  return static_cast<int>(optimized(b.g, {kFoldSpaceToDepth}).node_count());
}

}  // namespace

TEST_CASE("fold-space-to-depth into Conv") {
  const std::vector<std::array<int64_t, 2>> all = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
  const Attrs padded = {{"pads", Dims{1, 0, 2, 1}}, {"strides", Dims{1, 2}}};
  {
    Build b;
    CHECK(nodes_left(b, focus(b, b.input({2, 3, 8, 12}), all), {5, 12, 3, 3}, padded) == 1);
  }
  {
    Build b;
    const ValueId x = b.input({1, 2, 8, 8});
    const ValueId gathered = b.node("SpaceToDepth", {x}, {{"blocksize", int64_t{4}}});
    CHECK(nodes_left(b, gathered, {3, 32, 1, 2}) == 1);
  }
  {  // a size that blocks do not fill
    Build b;
    CHECK(nodes_left(b, focus(b, b.input({1, 3, 8, 12}), all, 4), {5, 12, 1, 1}) > 1);
  }
  {  // a pixel twice
    Build b;
    CHECK(nodes_left(b, focus(b, b.input({1, 3, 8, 8}), {{0, 0}, {1, 0}, {0, 1}, {0, 1}}), {5, 12, 3, 3}) >
          1);
  }
  {  // groups and dilations
    Build b;
    CHECK(nodes_left(b, focus(b, b.input({1, 3, 8, 8}), all), {4, 6, 3, 3}, {{"group", int64_t{2}}}) > 1);
    Build c;
    CHECK(nodes_left(c, focus(c, c.input({1, 3, 12, 12}), all), {4, 12, 2, 2}, {{"dilations", Dims{2, 2}}}) >
          1);
  }
  {  // read by something else
    Build b;
    const ValueId gathered = focus(b, b.input({1, 3, 8, 8}), all);
    b.output(b.node("Relu", {gathered}));
    CHECK(nodes_left(b, gathered, {4, 12, 3, 3}) > 2);
  }
}
