// Pieces of a Concat and parts of a Split or Slice that live in the whole: the same bits as with copies, and
// the copies gone.
#include "engine/runtime/views.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>

#include "skyline/session.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;

namespace {

// Runs the graph through kernels, without passes, and compares with the interpreter. The kernels of its
// steps.
std::vector<std::string> steps_of(const Build& b, float tolerance = 2e-5f) {
  Random random(3);
  const std::vector<Value> in = random_inputs(b.g, random);
  const std::vector<Value> want = interpret(b.g, in);
  std::vector<std::string> kernels;
  for (int threads : {1, 3}) {
    SessionOptions options;
    options.threads = threads;
    options.stop_after_pass = 0;
    const Session session(Model(Graph(b.g)), options);
    for (int run = 0; run < 2; ++run) {  // the second in memory that is not fresh
      Profile profile;
      const std::vector<Value> got = session.run_profiled(in, profile);
      for (size_t i = 0; i < want.size(); ++i) CHECK(difference(got[i], want[i]) <= tolerance);
      kernels.clear();
      for (const StepRecord& r : profile) kernels.push_back(r.op + ":" + r.kernel);
    }
  }
  return kernels;
}
int64_t count(const std::vector<std::string>& kernels, std::string_view op) {
  return std::count_if(kernels.begin(), kernels.end(),
                       [&](const std::string& k) { return k.starts_with(op); });
}

ValueId conv(Build& b, ValueId x, int64_t in, int64_t out, int64_t kernel = 1, ValueId residual = kNoValue) {
  std::vector<ValueId> operands{x, b.weights({out, in, kernel, kernel}), b.weights({out})};
  if (residual != kNoValue) operands.push_back(residual);
  const int64_t pad = kernel / 2;
  return b.node("FusedConv", operands,
                {{"layout", std::string("NHWC")},
                 {"pads", Dims{pad, pad, pad, pad}},
                 {"activation", std::string("relu")}},
                "skyline");
}
ValueId pool(Build& b, ValueId x) {
  return b.node("MaxPool", {x},
                {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}, {"layout", std::string("NHWC")}},
                "skyline");
}
ValueId concat(Build& b, std::vector<ValueId> in, int64_t axis = -1) {
  return b.node("Concat", std::move(in), {{"axis", axis}});
}

}  // namespace

TEST_CASE("what convolutions, pools and elementwise operators make is written into the Concat") {
  Build b;
  const ValueId x = b.input({2, 5, 6, 8});
  const ValueId a = conv(b, x, 8, 7), d = conv(b, x, 8, 20, 3), e = b.node("Relu", {conv(b, x, 8, 9)});
  const ValueId f = pool(b, b.node("Add", {e, b.number(1)}));
  const ValueId y = concat(b, {a, d, e, f});
  b.output(conv(b, y, 45, 6, 3));
  const auto steps = steps_of(b);
  CHECK(count(steps, "Concat") == 0);
  CHECK(count(steps, "FusedConv") == 4);
}

TEST_CASE("Resize to the nearest reads and writes rows inside wider tensors, in two axes and one") {
  for (const int64_t down : {10, 5}) {
    Build b;
    const auto parts =
        b.nodes("Split", {conv(b, b.input({2, 5, 6, 8}), 8, 20), b.ints({13, 7})}, 2, {{"axis", int64_t{3}}});
    const ValueId larger = b.node("Resize", {parts[0], kNoValue, kNoValue, b.ints({2, down, 15, 13})});
    const ValueId beside = conv(b, b.input({2, down, 15, 4}), 4, 6);
    b.output(conv(b, concat(b, {beside, larger}), 19, 5, 3));
    b.output(b.node("Relu", {parts[1]}));
    const auto steps = steps_of(b);
    CHECK(count(steps, "Concat") == 0);
    CHECK(count(steps, "Split") == 0);
    CHECK(count(steps, "Resize") == 1);
  }
}

TEST_CASE("a convolution that reads channels-first takes no part of a line") {
  Build b;
  const ValueId part = b.node("Slice", {b.input({2, 3, 9, 20}), b.ints({4}), b.ints({17}), b.ints({3})});
  b.output(b.node("FusedConv", {part, b.weights({8, 3, 3, 3})},
                  {{"layout", std::string("NHWC")}, {"input_layout", std::string("NCHW")}}, "skyline"));
  CHECK(count(steps_of(b), "Slice") == 1);
}

TEST_CASE("a block that grows, as in DenseNet: every Concat is a piece of the next") {
  Build b;
  ValueId all = conv(b, b.input({1, 4, 5, 6}), 6, 16);
  int64_t channels = 16;
  for (int i = 0; i < 4; ++i) {
    const ValueId scaled =
        b.node("Add", {b.node("Mul", {all, b.weights({channels})}), b.weights({channels})});
    all = concat(b, {all, conv(b, scaled, channels, 12, 3)});
    channels += 12;
  }
  b.output(conv(b, all, channels, 5));
  b.output(b.node("ReduceMean", {all, b.ints({1, 2})}));
  CHECK(count(steps_of(b), "Concat") == 0);
}

TEST_CASE("a Concat that is an output, and one along the outermost axis") {
  Build b;
  const ValueId x = b.input({1, 3, 4, 8});
  b.output(concat(b, {conv(b, x, 8, 3), conv(b, x, 8, 4)}));
  CHECK(count(steps_of(b), "Concat") == 0);

  Build rows;  // contiguous pieces: any operator can write them, and a Reshape may be between
  const ValueId u = rows.input({1, 3, 8});
  const ValueId s = rows.node("Softmax", {u});
  const ValueId r = rows.node("Reshape", {rows.node("Neg", {u}), rows.ints({1, 4, 6})});
  const ValueId joined = concat(rows, {rows.node("Reshape", {s, rows.ints({1, 4, 6})}), r}, 1);
  rows.output(rows.node("CumSum", {joined, rows.ints({1})}));
  CHECK(count(steps_of(rows), "Concat") == 0);

  Build both;  // what lies in the whole is read in another form, and returned
  const ValueId v = both.input({2, 8});
  const ValueId n = both.node("Neg", {v}), m = both.node("Abs", {v});
  const ValueId w = concat(both, {n, m}, 0);
  both.output(both.node("Relu", {w}));
  both.output(both.node("Reshape", {m, both.ints({4, 4})}));
  steps_of(both);
}

TEST_CASE("copies stay where a value cannot be in two places, or cannot be strided") {
  Build twice;
  const ValueId x = twice.input({1, 3, 4, 8});
  const ValueId a = conv(twice, x, 8, 3), b = conv(twice, x, 8, 4);
  twice.output(conv(twice, concat(twice, {a, b, a}), 10, 2));
  twice.output(conv(twice, concat(twice, {b, a}), 7, 2));
  CHECK(count(steps_of(twice), "Concat") == 1);  // the other one has the pieces

  Build mixed;  // inputs and constants; a reader without strides
  const ValueId u = mixed.input({1, 3, 4, 8});
  const ValueId read = conv(mixed, u, 8, 3);
  mixed.output(mixed.node("Softmax", {read}));
  mixed.output(
      conv(mixed, concat(mixed, {u, mixed.weights({1, 3, 4, 2}), read, conv(mixed, u, 8, 5)}), 18, 2));
  CHECK(count(steps_of(mixed), "Concat") == 1);

  Build returned;
  const ValueId v = returned.input({1, 3, 4, 8});
  const ValueId c = conv(returned, v, 8, 3);
  returned.output(c);
  returned.output(conv(returned, concat(returned, {c, conv(returned, v, 8, 5)}), 8, 2));
  CHECK(count(steps_of(returned), "Concat") == 1);
}

TEST_CASE("parts of a Split and a Slice are read where they are") {
  Build b;
  const ValueId x = conv(b, b.input({1, 5, 4, 8}), 8, 24);
  const auto parts = b.nodes("Split", {x, b.ints({10, 6, 8})}, 3, {{"axis", int64_t{3}}});
  const ValueId slice = b.node("Slice", {x, b.ints({-20}), b.ints({1000}), b.ints({-1})});
  b.output(conv(b, parts[0], 10, 6, 3, parts[1]));
  b.output(b.node("Mul", {b.node("Sigmoid", {parts[2]}), parts[2]}));
  b.output(conv(b, slice, 20, 3));
  b.output(conv(b, concat(b, {conv(b, parts[1], 6, 4), parts[1]}), 10, 4));
  const auto steps = steps_of(b);
  CHECK(count(steps, "Split") == 1);  // of the part that goes into the Concat
  CHECK(count(steps, "Slice") == 0);
  CHECK(count(steps, "Concat") == 0);

  Build shuffled;  // the halves go elsewhere, one of them through nothing
  const ValueId y = conv(shuffled, shuffled.input({1, 5, 4, 8}), 8, 24);
  const auto half = shuffled.nodes("Split", {y, shuffled.ints({12, 12})}, 2, {{"axis", int64_t{-1}}});
  shuffled.output(conv(shuffled, concat(shuffled, {half[1], conv(shuffled, half[0], 12, 12)}), 24, 5));
  CHECK(count(steps_of(shuffled), "Split") <= 1);

  Build steps2;  // every other channel; of an input of the graph; a part that is returned
  const ValueId u = steps2.input({1, 5, 4, 8});
  steps2.output(conv(steps2,
                     steps2.node("Slice", {conv(steps2, u, 8, 8), steps2.ints({0}), steps2.ints({8}),
                                           steps2.ints({3}), steps2.ints({2})}),
                     4, 2));
  steps2.output(
      conv(steps2, steps2.node("Slice", {u, steps2.ints({2}), steps2.ints({8}), steps2.ints({3})}), 6, 2));
  steps2.output(
      steps2.node("Slice", {conv(steps2, u, 8, 8), steps2.ints({2}), steps2.ints({8}), steps2.ints({3})}));
  CHECK(count(steps_of(steps2), "Slice") == 3);

  Build outer;
  const ValueId w = outer.node("Neg", {outer.input({6, 5})});
  const auto rows = outer.nodes("Split", {w, outer.ints({2, 4})}, 2, {{"axis", int64_t{0}}});
  outer.output(outer.node("Relu", {rows[0]}));
  outer.output(outer.node("Softmax", {rows[1]}));
  outer.output(
      outer.node("Exp", {outer.node("Slice", {w, outer.ints({1}), outer.ints({3}), outer.ints({0})})}));
  const auto kernels = steps_of(outer);
  CHECK(count(kernels, "Split") == 0);
  CHECK(count(kernels, "Slice") == 0);
}

TEST_CASE("random graphs of rows: whatever lives in what, the results are those of the interpreter") {
  int64_t copies = 0, moves = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Build b;
    Random random(seed);
    struct Tensor3 {
      ValueId v;
      int64_t channels;
    };
    const int64_t batch = 1 + random.below(2), height = 1 + random.below(3);
    std::vector<Tensor3> all{{b.input({batch, height, 4, 6}), 6}};
    const auto pick = [&] {  // late ones more often
      const int n = static_cast<int>(all.size());
      return all[static_cast<size_t>(std::max(random.below(n), random.below(n)))];
    };
    for (int i = 0; i < 14; ++i) {
      const Tensor3 x = pick();
      switch (random.below(9)) {
        case 0:
        case 1: {
          const int64_t channels = 1 + random.below(20);
          all.push_back({conv(b, x.v, x.channels, channels, random.below(2) ? 1 : 3), channels});
          break;
        }
        case 2:
          all.push_back({pool(b, x.v), x.channels});
          break;
        case 3:
          all.push_back({b.node(random.below(2) ? "Relu" : "Sigmoid", {x.v}), x.channels});
          break;
        case 4: {
          const Tensor3 y = pick();
          const bool same = x.channels == y.channels;
          all.push_back({b.node("Add", {x.v, same ? y.v : b.weights({x.channels})}), x.channels});
          break;
        }
        case 5: {
          if (x.channels < 2) break;
          const int64_t first = 1 + random.below(static_cast<int>(x.channels) - 1);
          const auto parts =
              b.nodes("Split", {x.v, b.ints({first, x.channels - first})}, 2, {{"axis", int64_t{3}}});
          all.push_back({parts[0], first});
          all.push_back({parts[1], x.channels - first});
          ++moves;
          break;
        }
        case 6: {
          const int64_t first = random.below(static_cast<int>(x.channels));
          all.push_back(
              {b.node("Slice", {x.v, b.ints({first}), b.ints({100}), b.ints({3})}), x.channels - first});
          ++moves;
          break;
        }
        default: {
          const Tensor3 y = pick(), z = pick();
          if (x.channels + y.channels + z.channels > 80) break;
          all.push_back({concat(b, {x.v, y.v, z.v}), x.channels + y.channels + z.channels});
          ++moves;
        }
      }
    }
    b.output(all.back().v);
    if (random.below(2)) b.output(pick().v);
    for (const std::string& kernel : steps_of(b, 1e-4f)) {
      copies += kernel.starts_with("Concat") || kernel.starts_with("Split") || kernel.starts_with("Slice");
    }
  }
  CHECK(copies < moves * 2 / 3);
}

TEST_CASE("slice_range") {
  Build b;
  const ValueId x = b.input({4, 6});
  const auto range = [&](std::vector<ValueId> in) {
    in.insert(in.begin(), x);
    return slice_range(b.g, b.g.node(b.g.producer(b.node("Slice", in))));
  };
  const auto r = range({b.ints({-2}), b.ints({6}), b.ints({-1})});
  REQUIRE(r);
  CHECK(r->axis == 1);
  CHECK(r->first == 4);
  CHECK(!range({b.ints({0, 0}), b.ints({2, 2})}));
  CHECK(!range({b.ints({0}), b.ints({4}), b.ints({0}), b.ints({2})}));
}
