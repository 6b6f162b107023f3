#include "graph/passes/layout.h"

#include "graph/passes/permutation.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {
using Counts = std::map<std::string, int>;

const std::vector<Pass> kMoves{kMergeTransposes, kMergeReshapes, kSinkTransposes, kFoldConstants,
                               kRemoveIdentity};

ValueId last(Build& b, ValueId x) {
  return b.node("Transpose", {x}, {{"perm", Dims{0, 2, 3, 1}}});
}
ValueId first(Build& b, ValueId x) {
  return b.node("Transpose", {x}, {{"perm", Dims{0, 3, 1, 2}}});
}

// How many Transposes are left of first(x), make, last.
template <class F>
int left(F make) {
  Build b;
  const ValueId x = b.input({2, 6, 8, 4});
  b.output(last(b, make(b, first(b, x))));
  return count_ops(optimized(b.g, kMoves))["Transpose"];
}

// Everything channels-last that can be, compared; after the portable and target passes, or as it stands.
Graph channels_last(const Graph& g, double tolerance, bool after_others = true) {
  std::vector<Pass> others;
  if (after_others) {
    others.assign(portable_passes().begin(), portable_passes().end());
    others.insert(others.end(), target_passes().begin(), target_passes().end());
  }
  Graph marked = optimized(g, others, tolerance);
  assign_channels_last(marked);
  return optimized(marked, {layout_passes().begin(), layout_passes().end()}, tolerance);
}

bool can_be_last(const Graph& g) {
  Graph marked = g;
  assign_channels_last(marked);
  return run_passes(marked, std::vector<Pass>{kAssignLayout}) > 0;
}
}  // namespace

TEST_CASE("permutations") {
  CHECK(inverse({2, 0, 1}) == Dims{1, 2, 0});
  CHECK(then(to_channels_last(4), to_channels_first(4)) == Dims{0, 1, 2, 3});
  CHECK(then({1, 2, 0}, {0, 2, 1}) == Dims{1, 0, 2});
  CHECK(keeps_order(Fact::fixed(DType::f32, {2, 1, 1, 7}), {0, 3, 1, 2}));
  CHECK(!keeps_order(Fact::fixed(DType::f32, {2, 1, 3, 7}), {0, 3, 1, 2}));
}

TEST_CASE("transposes sink through what does not care and cancel") {
  CHECK(left([](Build& b, ValueId x) { return b.node("Relu", {x}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Clip", {x, b.number(0), b.number(1, {1})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Cast", {x}, {{"to", int64_t{11}}}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Mul", {x, b.weights({4, 1, 1})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Add", {b.weights({8}), x}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Add", {x, b.input({1, 4, 1, 1})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Mul", {x, b.node("Sigmoid", {x})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          return b.node("Concat", {x, first(b, b.input({2, 6, 8, 3}))}, {{"axis", int64_t{1}}});
        }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          const auto parts = b.nodes("Split", {x, b.ints({1, 3})}, 2, {{"axis", int64_t{1}}});
          return b.node("Concat", {parts[1], parts[0]}, {{"axis", int64_t{-3}}});
        }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Softmax", {x}, {{"axis", int64_t{1}}}); }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          return b.node("Slice", {x, b.ints({1, 0}), b.ints({9, 4}), b.ints({1, -1}), b.ints({1, 2})});
        }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("Pad", {x, b.ints({0, 0, 1, 2, 0, 1, 0, 3})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("ReduceMean", {x, b.ints({3})}); }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          return b.node("MaxPool", {x}, {{"kernel_shape", Dims{3, 2}}, {"strides", Dims{1, 2}}});
        }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          return b.node("AveragePool", {x}, {{"kernel_shape", Dims{2, 2}}});
        }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("GlobalAveragePool", {x}); }) == 0);
  CHECK(left([](Build& b, ValueId x) { return b.node("LRN", {x}, {{"size", int64_t{3}}}); }) == 0);
  CHECK(left([](Build& b, ValueId x) {
          const ValueId zero = b.constant(Tensor::scalar<uint8_t>(100));
          return b.node("QuantizeLinear", {x, b.number(0.1f), zero});
        }) == 0);
}

TEST_CASE("transposes stay where moving them does not help") {
  // Another tensor of the same size, in the other order; rows that would no longer be contiguous.
  CHECK(left([](Build& b, ValueId x) { return b.node("Add", {x, b.input({2, 4, 6, 8})}); }) == 2);
  CHECK(left([](Build& b, ValueId x) { return b.node("Softmax", {x}, {{"axis", int64_t{3}}}); }) == 2);
  CHECK(left([](Build& b, ValueId x) {  // one scale per channel
          return b.node("QuantizeLinear", {x, b.weights({4}, 0.1f, 1)}, {{"axis", int64_t{1}}});
        }) == 2);
  CHECK(left([](Build& b, ValueId x) { return b.node("CumSum", {x, b.ints({1})}); }) == 2);

  Build readers;  // a move that others want as it is, and not out of channels-last
  const ValueId t = readers.node("Transpose", {readers.input({2, 3, 4})}, {{"perm", Dims{1, 0, 2}}});
  readers.output(t);
  readers.output(readers.node("Relu", {t}));
  CHECK(!fires(readers, kSinkTransposes));
}

TEST_CASE("transposes sink through a Reduce that drops axes") {
  for (const Dims& axes : {Dims{1}, Dims{2, 3}, Dims{-1, 0}, Dims{0, 1, 2, 3}}) {
    Build b;
    const ValueId t = b.node("Transpose", {b.input({2, 3, 4, 5})}, {{"perm", Dims{2, 0, 3, 1}}});
    b.output(b.node("ReduceSum", {t, b.ints(axes)}, {{"keepdims", int64_t{0}}}));
    CHECK(fires(b, kSinkTransposes));
  }
}

TEST_CASE("merge-transposes and merge-reshapes") {
  Build b;
  const ValueId x = b.input({2, 3, 4});
  const ValueId t = b.node("Transpose", {b.node("Transpose", {x}, {{"perm", Dims{2, 0, 1}}})});
  b.output(t);
  CHECK(count_ops(optimized(b.g, {kMergeTransposes}, 0)) == Counts{{"Transpose", 1}});

  Build r;
  const ValueId y = r.input({Dim::unknown(), 1, 6});
  const ValueId s = r.node("Squeeze", {y, r.ints({1})});
  r.output(r.node("Reshape", {r.node("Unsqueeze", {s, r.ints({0})}), r.ints({-1, 2, 3})}));
  CHECK(count_ops(optimized(r.g, {kMergeReshapes}, 0)) == Counts{{"Reshape", 1}});

  Build free;
  const ValueId z = free.input({Dim::unknown(), 1, 1, 6});
  free.output(free.node("Transpose", {z}, {{"perm", Dims{0, 3, 1, 2}}}));
  CHECK(count_ops(optimized(free.g, {kMergeReshapes}, 0)) == Counts{{"Reshape", 1}});

  Build unknown;  // two sizes that are not known
  const ValueId u = unknown.input({Dim::unknown(), Dim::unknown(), 6});
  unknown.output(
      unknown.node("Unsqueeze", {unknown.node("Unsqueeze", {u, unknown.ints({0})}), unknown.ints({0})}));
  CHECK(!fires(unknown, kMergeReshapes));
}

TEST_CASE("assign-layout: one move in, one out, whatever is between") {
  Build b;
  const auto conv = [&](ValueId x, Dims w, Attrs attrs) {
    return b.node("Conv", {x, b.weights(w), b.weights({w[0]})}, std::move(attrs));
  };
  const ValueId x = b.input({1, 3, 9, 8});
  const ValueId a = b.node("Relu", {conv(x, {6, 3, 3, 3}, {{"pads", Dims{1, 1, 1, 1}}})});
  const ValueId d = b.node(
      "Clip",
      {conv(a, {6, 1, 3, 3}, {{"group", int64_t{6}}, {"pads", Dims{1, 1, 1, 1}}}), b.number(0), b.number(6)});
  const ValueId gate = b.node("HardSigmoid", {conv(b.node("GlobalAveragePool", {d}), {6, 6, 1, 1}, {})});
  const ValueId e = b.node("Add", {conv(b.node("Mul", {d, gate}), {6, 6, 1, 1}, {}), a});
  const ValueId p = b.node("MaxPool", {e}, {{"kernel_shape", Dims{2, 2}}});
  const ValueId c = b.node("Concat", {p, b.node("AveragePool", {e}, {{"kernel_shape", Dims{2, 2}}})},
                           {{"axis", int64_t{1}}});
  b.output(conv(c, {4, 12, 2, 2}, {{"strides", Dims{2, 2}}}));
  const Counts counts = count_ops(channels_last(b.g, 1e-5));
  CHECK(counts == Counts{{"AveragePool", 1},
                         {"Concat", 1},
                         {"FusedConv", 5},
                         {"GlobalAveragePool", 1},
                         {"MaxPool", 1},
                         {"Mul", 1},
                         {"Transpose", 1}});  // the first layer reads planes

  Build unknown;  // sizes not known; weights that change
  unknown.output(
      unknown.node("Conv", {unknown.input({1, 3, Dim::unknown(), 8}), unknown.weights({6, 3, 3, 3})}));
  unknown.output(unknown.node("Conv", {unknown.input({1, 3, 8, 8}), unknown.input({6, 3, 3, 3})}));
  CHECK(!can_be_last(unknown.g));

  Build line;
  line.output(line.node("Conv", {line.input({2, 4, 9}), line.weights({6, 4, 3})}));
  line.output(line.node("Conv", {line.input({1, 2, 4, 5, 4}), line.weights({3, 2, 3, 2, 1})}));
  line.output(line.node("ConvTranspose",
                        {line.input({1, 2, 4, 5}), line.weights({2, 3, 3, 2}), line.weights({3})},
                        {{"strides", Dims{2, 3}}, {"pads", Dims{1, 0, 0, 1}}}));
  line.output(
      line.node("ConvTranspose", {line.input({1, 4, 5, 4}), line.weights({4, 3, 2, 2})},
                {{"strides", Dims{2, 1}}, {"group", int64_t{2}}, {"auto_pad", std::string("SAME_UPPER")}}));
  CHECK(can_be_last(line.g));
  CHECK(count_ops(channels_last(line.g, 1e-5))["Conv"] == 0);
}

TEST_CASE("a channel shuffle between convolutions is one move of channels") {
  const auto moves = [](Dims wide, Dims perm) {
    Build b;
    const ValueId x = b.node("Conv", {b.input({2, 3, 5, 4}), b.weights({6, 3, 1, 1})});
    const ValueId t = b.node("Transpose", {b.node("Reshape", {x, b.ints(wide)})}, {{"perm", perm}});
    const ValueId y = b.node("Reshape", {t, b.ints({2, 6, 5, 4})});
    b.output(b.node("Conv", {y, b.weights({6, 1, 3, 3})}, {{"group", int64_t{6}}}));
    return count_ops(channels_last(b.g, 1e-5))["Transpose"];
  };
  CHECK(moves({2, 2, 3, 5, 4}, {0, 2, 1, 3, 4}) == 2);
  CHECK(moves({2, 2, 3, 5, 4}, {2, 1, 0, 3, 4}) == 4);
  CHECK(moves({2, 3, 2, 4, 5}, {0, 2, 1, 3, 4}) == 4);
}

TEST_CASE("quantized convolutions and what is between them: one move in, one out, the same integers") {
  Build b;
  const auto scale = [&](float s) { return b.number(s); };
  const auto zero = [&](uint8_t z) { return b.constant(Tensor::scalar<uint8_t>(z)); };
  const auto conv = [&](ValueId x, int64_t in, int64_t out, int64_t kernel) {
    Tensor w(DType::i8, {out, in, kernel, kernel});
    for (int8_t& v : w.mutable_span<int8_t>()) v = static_cast<int8_t>(b.random.below(200) - 100);
    const int64_t pad = kernel / 2;
    return b.node("QLinearConv",
                  {x, scale(0.02f), zero(120), b.constant(w), scale(0.005f),
                   b.constant(Tensor::scalar<int8_t>(0)), scale(0.03f), zero(128)},
                  {{"pads", Dims{pad, pad, pad, pad}}});
  };
  const ValueId q = b.node("QuantizeLinear", {b.input({2, 3, 6, 5}), scale(0.03f), zero(128)});
  const ValueId a = conv(q, 3, 8, 3), c = conv(a, 8, 8, 1);
  const ValueId sum =
      b.node("QLinearAdd", {a, scale(0.03f), zero(128), c, scale(0.03f), zero(128), scale(0.05f), zero(120)},
             {}, "com.microsoft");
  const ValueId both = b.node(
      "QLinearConcat", {scale(0.04f), zero(125), sum, scale(0.05f), zero(120), c, scale(0.03f), zero(128)},
      {{"axis", int64_t{1}}}, "com.microsoft");
  const ValueId last = conv(both, 16, 4, 3);
  b.output(b.node("QLinearGlobalAveragePool", {both, scale(0.04f), zero(125), scale(0.02f), zero(128)}, {},
                  "com.microsoft"));
  b.output(last);
  CHECK(count_ops(channels_last(b.g, 0))["Transpose"] == 2);

  Build unknown;  // weights that change
  const ValueId w = unknown.input({4, 3, 1, 1}, DType::i8);
  unknown.output(
      unknown.node("QLinearConv", {unknown.input({1, 3, 4, 4}, DType::u8), unknown.number(1),
                                   unknown.constant(Tensor::scalar<uint8_t>(0)), w, unknown.number(1),
                                   unknown.constant(Tensor::scalar<int8_t>(0)), unknown.number(1),
                                   unknown.constant(Tensor::scalar<uint8_t>(0))}));
  CHECK(!can_be_last(unknown.g));
}

TEST_CASE("planes: a first layer takes its input as it is") {
  const auto first = [](int64_t channels, int64_t group) {
    Build b;
    const ValueId x = b.input({2, channels, 7, 8});
    b.output(b.node("Conv", {x, b.weights({8, channels / group, 3, 3})}, {{"group", group}}));
    return b;
  };
  CHECK(count_ops(channels_last(first(3, 1).g, 1e-6, false)) == Counts{{"FusedConv", 1}, {"Transpose", 1}});
  CHECK(count_ops(channels_last(first(8, 1).g, 1e-6, false))["Transpose"] == 2);
  CHECK(count_ops(channels_last(first(4, 2).g, 1e-6, false))["Transpose"] == 2);
}

TEST_CASE("layout choices: what a node can do, and what it cannot") {
  using Kind = LayoutForm::Kind;
  Build b;
  const ValueId x = b.input({2, 6, 8, 4}), vector = b.input({2, 6, 1, 1}), flat = b.input({6, 8});
  const auto kinds = [&](ValueId y) {
    std::vector<Kind> out;
    for (const LayoutForm& f : layout_choice(b.g, b.g.producer(y)).forms) out.push_back(f.kind);
    return out;
  };
  const std::vector<Kind> both{Kind::plain, Kind::last}, plain{Kind::plain};
  CHECK(kinds(b.node("Relu", {x})) == both);
  CHECK(kinds(b.node("Mul", {vector, x})) == both);
  CHECK(kinds(b.node("MaxPool", {x}, {{"kernel_shape", Dims{2, 2}}})) == both);
  CHECK(kinds(b.node("Softmax", {x}, {{"axis", int64_t{3}}})) == both);
  CHECK(kinds(b.node("Conv", {x, b.weights({4, 6, 1, 1})})) == both);
  CHECK(kinds(b.node("Conv", {b.input({2, 3, 8, 4}), b.weights({4, 3, 1, 1})})) ==
        std::vector<Kind>{Kind::plain, Kind::last, Kind::planes});
  CHECK(kinds(b.node("Transpose", {x}, {{"perm", Dims{0, 2, 3, 1}}})).size() == 4);
  CHECK(kinds(b.node("Conv", {x, b.input({4, 6, 1, 1})})) == plain);  // weights that change
  CHECK(kinds(b.node("CumSum", {x, b.ints({1})})) == plain);          // cares about its axis
  CHECK(kinds(b.node("Relu", {flat})) == plain);                      // no layout
  CHECK(kinds(b.nodes("MaxPool", {x}, 2, {{"kernel_shape", Dims{2, 2}}})[0]) == plain);  // indices
  CHECK(kinds(b.node("Mul", {x, b.input({6, 8, 4})})) == plain);  // of another rank, and has to be moved
  const LayoutForm form = layout_choice(b.g, b.g.producer(b.node("Mul", {vector, x}))).forms[1];
  REQUIRE(form.reads.size() == 1);  // the vector lies the same either way
  CHECK(form.reads[0].value == x);
  CHECK(form.reads[0].layout == Layout::last);
}
