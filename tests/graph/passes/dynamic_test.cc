#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using namespace skyline::passes;

namespace {

struct Builder {
  Build b;

  ValueId codes(Dims dims, DType t, int low, int high) {
    Tensor q(t, std::move(dims));
    for (int64_t i = 0; i < q.size(); ++i)
      static_cast<uint8_t*>(q.mutable_raw())[i] = static_cast<uint8_t>(low + b.random.below(high - low + 1));
    return b.constant(std::move(q));
  }
  ValueId scales(Dims dims) { return b.weights(std::move(dims), 0.005f, 0.01f); }
  ValueId real(ValueId sums) { return b.node("Cast", {sums}, {{"to", static_cast<int64_t>(DType::f32)}}); }
  // Integers of x with one scale for each row, as `skyline quantize` writes them.
  std::pair<ValueId, ValueId> rows(ValueId x) {
    const ValueId most = b.node("ReduceMax", {b.node("Abs", {x}), b.ints({-1})}, {{"keepdims", int64_t{1}}});
    const ValueId scale = b.node("Div", {most, b.number(127)});
    const ValueId rounded = b.node("Round", {b.node("Div", {x, scale})});
    return {b.node("Cast", {rounded}, {{"to", static_cast<int64_t>(DType::i8)}}), scale};
  }
  std::map<std::string, int> after(ValueId y, double tolerance = 1e-5) {
    b.output(y);
    return count_ops(optimized(b.g, {kFuseDynamic, kKeepIntegerWeights}, tolerance));
  }
};

}  // namespace

TEST_CASE("fuse-dynamic: a product of integers by one scale, with bias, becomes one node") {
  for (const bool per_column : {false, true}) {
    for (const bool bias : {false, true}) {
      Builder t;
      const ValueId x = t.b.input({3, 5, 24});
      const auto q = t.b.nodes("DynamicQuantizeLinear", {x}, 3);
      const ValueId sums = t.b.node("MatMulInteger", {q[0], t.codes({24, 7}, DType::i8, -127, 127), q[2]});
      ValueId y =
          t.b.node("Mul", {t.real(sums), t.b.node("Mul", {q[1], t.scales(per_column ? Dims{7} : Dims{1})})});
      if (bias) y = t.b.node("Add", {y, t.b.weights({7})});
      const auto ops = t.after(y);
      CHECK(ops.at("DynamicQuantizeMatMul") == 1);
      CHECK(!ops.contains("MatMulInteger"));
      CHECK(!ops.contains("Add"));
      CHECK(!ops.contains("DynamicQuantizeLinear"));
    }
  }
}

TEST_CASE("fuse-dynamic: products that share an activation share its integers") {
  Builder t;
  const ValueId x = t.b.input({4, 16});
  const auto q = t.b.nodes("DynamicQuantizeLinear", {x}, 3);
  const auto product = [&] {
    const ValueId sums = t.b.node(
        "MatMulInteger", {q[0], t.codes({16, 8}, DType::u8, 0, 255), q[2], t.codes({}, DType::u8, 100, 100)});
    return t.b.node("Mul", {t.b.node("Mul", {q[1], t.scales({8})}), t.real(sums)});
  };
  const auto ops = t.after(t.b.node("Add", {product(), product()}));
  CHECK(ops.at("MatMulIntegerToFloat") == 2);
  CHECK(ops.at("DynamicQuantizeLinear") == 1);
}

TEST_CASE("fuse-dynamic: a scale for each row") {
  for (const SymDims& dims : {SymDims{6, 20}, SymDims{2, 3, 20}}) {
    Builder t;
    const auto [q, scale] = t.rows(t.b.input(dims));
    const ValueId sums = t.b.node("MatMulInteger", {q, t.codes({20, 9}, DType::i8, -127, 127)});
    const ValueId y = t.b.node("Mul", {t.real(sums), t.b.node("Mul", {scale, t.scales({9})})});
    const auto ops = t.after(t.b.node("Add", {y, t.b.weights({9})}));
    CHECK(ops.at("MatMulIntegerToFloat") == 1);
    CHECK(!ops.contains("MatMulInteger"));
    CHECK(!ops.contains("Add"));
  }
}

TEST_CASE("fuse-dynamic: not where the sums are read elsewhere, or the scale is a matrix") {
  for (const bool shared : {false, true}) {
    Builder t;
    const auto q = t.b.nodes("DynamicQuantizeLinear", {t.b.input({4, 16})}, 3);
    const ValueId sums = t.b.node("MatMulInteger", {q[0], t.codes({16, 8}, DType::i8, -9, 9), q[2]});
    const ValueId real = t.real(sums);
    if (shared) t.b.output(real);
    CHECK(t.after(t.b.node("Mul", {real, shared ? q[1] : t.b.input({4, 8})})).at("MatMulInteger") == 1);
  }
}

TEST_CASE("keep-integer-weights: by column and in blocks, of 8 and 4 bits, either way round") {
  struct Case {
    DType type;
    int low, high;
    int64_t block;  // 0: one scale a column
    bool zero, turned;
  };
  for (const Case& c : {Case{DType::i8, -127, 127, 0, false, false},
                        {DType::i8, -128, 127, 16, true, true},
                        {DType::u8, 0, 255, 0, true, true},
                        {DType::u8, 0, 255, 32, false, false},
                        {DType::i4, -8, 7, 16, true, false},
                        {DType::i4, -7, 7, 32, false, true},
                        {DType::u4, 0, 15, 0, true, false}}) {
    Builder t;
    constexpr int64_t k = 40, n = 6;
    const int64_t blocks = c.block ? (k + c.block - 1) / c.block : 1;
    const int64_t k_axis = c.turned ? 1 : 0;
    const Dims dims = !c.block ? Dims{n} : c.turned ? Dims{n, blocks} : Dims{blocks, n};
    std::vector<ValueId> in = {t.codes(c.turned ? Dims{n, k} : Dims{k, n}, c.type, c.low, c.high),
                               t.scales(dims)};
    if (c.zero) in.push_back(t.codes(dims, c.type, c.low / 2, c.high / 2));
    Attrs attrs{{"axis", c.block ? k_axis : 1 - k_axis}};
    if (c.block) attrs.set("block_size", c.block);
    const ValueId w = t.b.node("DequantizeLinear", in, attrs);
    const ValueId x = t.b.input({3, k});
    const ValueId y = c.turned ? t.b.node("Gemm", {x, w, t.b.weights({n})}, {{"transB", int64_t{1}}})
                               : t.b.node("MatMul", {x, w});
    const auto ops = t.after(y);
    CHECK(ops.at("MatMulNBits") == 1);
    CHECK(!ops.contains("DequantizeLinear"));
  }
}
