#include "graph/ops/strips.h"

#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {

ValueId conv(Build& b, ValueId x, int64_t ic, int64_t oc, int64_t k, ValueId residual = kNoValue,
             const std::string& layout = "NHWC", int64_t group = 1) {
  const int64_t pad = k / 2;
  return b.node("FusedConv", {x, b.weights({oc, ic / group, k, k}, 0.3f), b.weights({oc}), residual},
                {{"layout", layout},
                 {"pads", Dims{pad, pad, pad, pad}},
                 {"group", group},
                 {"activation", std::string("relu")}},
                "skyline");
}
ValueId depthwise(Build& b, ValueId x, int64_t channels, ValueId residual = kNoValue) {
  return conv(b, x, channels, channels, 3, residual, "NHWC", channels);
}

// 64 x 96 x 32 f32 is 768 KiB.
int strips_of(Build& b) {
  return count_ops(optimized(b.g, {kFuseStrips}, 0))["Strips"];
}

}  // namespace

TEST_CASE("convolutions around a large intermediate become one node, however many there are") {
  Build b;
  const ValueId x = b.input({1, 64, 96, 2});
  const ValueId a = conv(b, x, 2, 32, 1), c = depthwise(b, a, 32), d = conv(b, c, 32, 2, 1, x);
  b.output(d);
  const Graph after = optimized(b.g, {kFuseStrips}, 0);
  CHECK(after.node_count() == 1);
  const Node& n = only(after, "Strips");
  CHECK(n.attrs.graph("body").node_count() == 3);
  const ops::Chain chain = ops::open_chain(after, n);
  REQUIRE(chain.convs.size() == 3);
  for (NodeId id : chain.convs) {
    CHECK(chain.graph.constant(chain.graph.node(id).in(1)));
    CHECK(chain.graph.constant(chain.graph.node(id).in(2)));
  }
  // The last adds the first's input.
  CHECK(chain.graph.node(chain.convs[2]).in(3) == chain.graph.node(chain.convs[0]).in(0));
}

TEST_CASE("the first convolution may read its input channels-first") {
  Build b;
  const ValueId x = b.input({1, 2, 64, 96});
  const ValueId a = b.node(
      "FusedConv", {x, b.weights({32, 2, 3, 3}), b.weights({32})},
      {{"layout", std::string("NHWC")}, {"input_layout", std::string("NCHW")}, {"pads", Dims{1, 1, 1, 1}}},
      "skyline");
  b.output(depthwise(b, a, 32));
  CHECK(strips_of(b) == 1);
}

TEST_CASE(
    "convolutions stay apart when the intermediate is small, wanted elsewhere, dense, or not channels-last") {
  Build small;
  ValueId x = small.input({1, 64, 95, 2});
  small.output(depthwise(small, conv(small, x, 2, 32, 1), 32));
  CHECK(strips_of(small) == 0);

  Build shared;
  x = shared.input({1, 64, 96, 2});
  const ValueId a = conv(shared, x, 2, 32, 1);
  shared.output(depthwise(shared, a, 32));
  shared.output(a);
  CHECK(strips_of(shared) == 0);

  Build twice;
  x = twice.input({1, 64, 96, 2});
  const ValueId y = conv(twice, x, 2, 32, 1);
  twice.output(depthwise(twice, y, 32, y));
  CHECK(strips_of(twice) == 0);

  Build dense;
  x = dense.input({1, 64, 96, 2});
  dense.output(conv(dense, conv(dense, x, 2, 32, 1), 32, 2, 1));
  CHECK(strips_of(dense) == 0);

  Build first;
  x = first.input({1, 2, 64, 96});
  first.output(conv(first, conv(first, x, 2, 32, 1, kNoValue, "NCHW"), 32, 32, 3, kNoValue, "NCHW", 32));
  CHECK(strips_of(first) == 0);
}
