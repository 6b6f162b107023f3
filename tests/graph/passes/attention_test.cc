#include "graph/ops/fused_attention.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {

using Counts = std::map<std::string, int>;
const std::vector<Pass> kBoth{kRecogniseAttention, kPlaceAttention};

// [2, len, 3 * 8] -> [2, 3, len, 8]
ValueId heads(Build& b, ValueId x, int64_t len = 5) {
  return b.node("Transpose", {b.node("Reshape", {x, b.ints({2, len, 3, 8})})}, {{"perm", Dims{0, 2, 1, 3}}});
}

struct Options {
  bool scale_scores = true, transposed_result = true, wide_softmax = false, scores_used = false;
  int64_t softmax_axis = -1;
  float second_scale = 1;
};

// Attention of three heads; `mask` makes what the softmax reads of the scores.
template <class Mask>
Build attention(const Options& o, Mask mask) {
  Build b;
  const ValueId q = heads(b, b.input({2, 5, 24})), v = heads(b, b.input({2, 7, 24}), 7);
  const ValueId k = b.node("Transpose", {b.node("Reshape", {b.input({2, 7, 24}), b.ints({2, 7, 3, 8})})},
                           {{"perm", Dims{0, 2, 3, 1}}});
  ValueId s = b.node("MatMul", {q, k});
  if (o.scale_scores) s = b.node("Div", {s, b.number(2.8f)});
  if (o.scores_used) b.output(s);
  s = b.node("Softmax", {mask(b, s)}, {{"axis", o.softmax_axis}});
  ValueId y = b.node("MatMul", {s, v});
  if (o.transposed_result) {
    y = b.node("Transpose", {y}, {{"perm", Dims{0, 2, 1, 3}}});
    y = b.node("Reshape", {y, b.ints({2, 5, 24})});
  }
  b.output(y);
  return b;
}
ValueId unmasked(Build&, ValueId s) {
  return s;
}

Counts after(const Build& b) {
  return count_ops(optimized(b.g, kBoth, 1e-5));
}
Counts fused(int reshapes) {
  Counts c{{"FusedAttention", 1}};
  if (reshapes) c["Reshape"] = reshapes;
  return c;
}

}  // namespace

TEST_CASE("recognise-attention: heads are read and written in place") {
  CHECK(after(attention({}, unmasked)) == fused(1));
  CHECK(after(attention({.scale_scores = false}, unmasked)) == fused(1));
  CHECK(after(attention({.transposed_result = false}, unmasked)) == fused(0));
  CHECK(after(attention({.softmax_axis = 3}, unmasked)) == fused(1));
}

TEST_CASE("recognise-attention: masks") {
  CHECK(after(attention({}, [](Build& b, ValueId s) {
          return b.node("Add", {s, b.input({2, 1, 1, 7})});
        })) == fused(1));
  CHECK(after(attention({}, [](Build& b, ValueId s) {
          return b.node("Add", {b.weights({5, 7}), s});
        })) == fused(1));
  CHECK(after(attention({}, [](Build& b, ValueId s) {
          const ValueId keep = b.node("Greater", {b.input({2, 3, 5, 7}), b.number(0)});
          return b.node("Where", {keep, s, b.number(-1e4f)});
        })) == Counts{{"FusedAttention", 1}, {"Greater", 1}, {"Reshape", 1}});
  CHECK(after(attention({}, [](Build& b, ValueId s) {
          const ValueId drop = b.node("Greater", {b.input({1, 7}), b.number(0)});
          return b.node("Where", {drop, b.number(-INFINITY), s});
        })) == Counts{{"FusedAttention", 1}, {"Greater", 1}, {"Reshape", 1}});
  // A mask that has been made the residual of the product.
  Build b;
  const ValueId x = b.input({2, 6, 8});
  const ValueId s = b.node("FusedMatMul", {x, x, kNoValue, b.input({2, 6, 6})},
                           {{"transB", int64_t{1}}, {"alpha", 0.5f}}, "skyline");
  b.output(b.node("MatMul", {b.node("Softmax", {s}, {{"axis", int64_t{-1}}}), x}));
  CHECK(after(b) == fused(0));
}

TEST_CASE("recognise-attention: slices of one product, scaled queries, grouped heads") {
  {
    Build b;  // [2, 5, 3 * 2 * 8] -> three of [2, 2, 5, 8]
    const ValueId qkv =
        b.node("Transpose", {b.node("Reshape", {b.input({2, 5, 48}), b.ints({2, 5, 3, 2, 8})})},
               {{"perm", Dims{2, 0, 3, 1, 4}}});
    const auto part = [&](int64_t i) {
      return b.node("Squeeze",
                    {b.node("Slice", {qkv, b.ints({i}), b.ints({i + 1}), b.ints({0})}), b.ints({0})});
    };
    const ValueId q = b.node("Mul", {part(0), b.number(0.35f)}), k = part(1), v = part(2);
    const ValueId s = b.node("FusedMatMul", {q, k}, {{"transB", int64_t{1}}}, "skyline");
    b.output(b.node("MatMul", {b.node("Softmax", {s}), v}));
    const Graph g = optimized(b.g, kBoth, 1e-5);
    CHECK(count_ops(g) == Counts{{"FusedAttention", 1}});
    CHECK(only(g, "FusedAttention").inputs == std::vector<ValueId>(3, g.inputs()[0]));
  }
  {
    Build b;
    const std::vector<ValueId> qkv =
        b.nodes("Split", {b.input({2, 5, 72}), b.ints({24, 24, 24})}, 3, {{"axis", int64_t{2}}});
    const ValueId s =
        b.node("FusedMatMul", {heads(b, qkv[0]), heads(b, qkv[1])}, {{"transB", int64_t{1}}}, "skyline");
    b.output(b.node("MatMul", {b.node("Softmax", {s}), heads(b, qkv[2])}));
    CHECK(after(b) == fused(0));
  }
  {
    Build b;  // two query heads to a key head
    const ValueId q = b.input({1, 3, 2, 5, 8}), k = b.node("Unsqueeze", {b.input({1, 3, 7, 8}), b.ints({2})});
    const ValueId s = b.node("FusedMatMul", {q, k}, {{"transB", int64_t{1}}}, "skyline");
    const ValueId y = b.node("MatMul", {b.node("Softmax", {s}), k});
    b.output(
        b.node("Transpose", {b.node("Reshape", {y, b.ints({1, 6, 5, 8})})}, {{"perm", Dims{0, 2, 1, 3}}}));
    CHECK(after(b) == fused(0));
  }
  {
    Build b;  // the same, repeated by Expand
    const ValueId q = b.input({1, 6, 5, 8}), k = b.node("Unsqueeze", {b.input({1, 3, 7, 8}), b.ints({2})});
    const ValueId all =
        b.node("Reshape", {b.node("Expand", {k, b.ints({1, 3, 2, 7, 8})}), b.ints({1, 6, 7, 8})});
    const ValueId s = b.node("FusedMatMul", {q, all}, {{"transB", int64_t{1}}}, "skyline");
    b.output(b.node("MatMul", {b.node("Softmax", {s}), all}));
    CHECK(after(b).count("FusedAttention"));
  }
}

TEST_CASE("recognise-attention: must not fire") {
  CHECK(!after(attention({.scores_used = true}, unmasked)).count("FusedAttention"));
  CHECK(!after(attention({.softmax_axis = 2}, unmasked)).count("FusedAttention"));
  CHECK(!after(attention({}, [](Build& b, ValueId s) {
           return b.node("Add", {s, s});
         })).count("FusedAttention"));
  CHECK(!after(attention({}, [](Build& b, ValueId s) {
           const ValueId keep = b.node("Greater", {b.input({5, 7}), b.number(0)});
           return b.node("Where", {keep, s, b.weights({5, 7})});
         })).count("FusedAttention"));
  CHECK(
      !after(attention({}, [](Build& b, ValueId s) { return b.node("Relu", {s}); })).count("FusedAttention"));
  {
    Build b;  // an activation, a bias
    const ValueId x = b.input({2, 6, 8});
    const ValueId s =
        b.node("FusedMatMul", {x, x}, {{"transB", int64_t{1}}, {"activation", "relu"}}, "skyline");
    b.output(b.node("MatMul", {b.node("Softmax", {s}), x}));
    CHECK(!fires(b, kRecogniseAttention));
  }
  {
    Build b;  // V lies transposed
    const ValueId x = b.input({2, 6, 8});
    const ValueId s = b.node("FusedMatMul", {x, x}, {{"transB", int64_t{1}}}, "skyline");
    const ValueId v = b.node("Transpose", {b.input({2, 8, 6})}, {{"perm", Dims{0, 2, 1}}});
    b.output(b.node("MatMul", {b.node("Softmax", {s}), v}));
    CHECK(!fires(b, kRecogniseAttention));
  }
  {
    Build b;  // sizes not known
    const ValueId x = b.input({2, Dim::unknown(), 8});
    const ValueId s = b.node("FusedMatMul", {x, x}, {{"transB", int64_t{1}}}, "skyline");
    b.output(b.node("MatMul", {b.node("Softmax", {s}), x}));
    CHECK(!fires(b, kRecogniseAttention));
  }
}

TEST_CASE("FusedAttention refuses views that do not fit") {
  ops::FusedAttention f;
  f.lead = {2};
  f.q_len = f.kv_len = 3;
  f.size = f.v_size = 4;
  f.q = f.k = f.v = f.y = {0, {12, 4, 1}};
  f.out_dims = {2, 3, 4};
  const auto infer = [&](const ops::FusedAttention& form) {
    Build b;
    const ValueId x = b.input({2, 3, 4});
    b.node("FusedAttention", {x, x, x}, to_attrs(form), "skyline");
  };
  CHECK_NOTHROW(infer(f));
  ops::FusedAttention g = f;
  g.k.offset = 1;
  CHECK_THROWS_AS(infer(g), Error);
  g = f;
  g.q.strides = {int64_t{1} << 62, int64_t{1} << 62, 1};
  CHECK_THROWS_AS(infer(g), Error);
  g = f;
  g.v.strides = {12, -4, 1};
  CHECK_THROWS_AS(infer(g), Error);
  g = f;
  g.y.strides = {12, 8, 1};
  CHECK_THROWS_AS(infer(g), Error);
  g = f;
  g.lead = {0};
  CHECK_THROWS_AS(infer(g), Error);
}
