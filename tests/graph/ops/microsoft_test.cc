// Operators of com.microsoft against the ai.onnx ones that they are made of.
#include "run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr std::string_view kDomain = "com.microsoft";

Tensor wave(const Dims& dims, float seed) {
  Tensor t(DType::f32, dims);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_data<float>()[i] = std::sin(seed + 1.7f * static_cast<float>(i));
  return t;
}

void check_close(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims() == b.dims());
  for (int64_t i = 0; i < a.size(); ++i)
    CHECK(a.data<float>()[i] == doctest::Approx(b.data<float>()[i]).epsilon(1e-5));
}

Tensor added(const Tensor& a, const Tensor& b) {
  return run_op("Add", {a, b})[0];
}
Attrs heads(int64_t q, int64_t kv) {
  return {{"q_num_heads", q}, {"kv_num_heads", kv}};
}

}  // namespace

TEST_CASE("skip normalizations are a sum and a normalization") {
  const Tensor x = wave({2, 3, 4}, 1), skip = wave({2, 3, 4}, 2), g = wave({4}, 3), b = wave({4}, 4),
               bias = wave({4}, 5);
  const auto y = run_op("SkipLayerNormalization", {x, skip, g, b, bias}, {{"epsilon", 1e-5f}}, 4, kDomain);
  const Tensor sum = added(added(x, skip), bias);
  check_close(y[0], run_op("LayerNormalization", {sum, g, b})[0]);
  check_close(y[3], sum);
  check_close(run_op("SkipSimplifiedLayerNormalization", {x, skip, g}, {{"epsilon", 1e-5f}}, 1, kDomain)[0],
              run_op("RMSNormalization", {added(x, skip), g})[0]);
  CHECK(fails("SkipLayerNormalization", {x, skip, wave({3}, 1)}, {}, 1, kDomain) == Code::invalid);
}

TEST_CASE("embeddings are looked up, added and normalized") {
  const Tensor ids = Tensor::of<int32_t>({1, 2}, {2, 0}), word = wave({3, 4}, 1), position = wave({2, 4}, 2);
  const Tensor g = wave({4}, 3), b = wave({4}, 4);
  const Tensor y = run_op("EmbedLayerNormalization", {ids, {}, word, position, {}, g, b},
                          {{"epsilon", 1e-5f}}, 1, kDomain)[0];
  const Tensor rows = run_op("Gather", {word, ids})[0];
  check_close(y, run_op("LayerNormalization", {added(rows, position), g, b})[0]);
  const Tensor bad = Tensor::of<int32_t>({1, 2}, {3, 0});
  CHECK(fails("EmbedLayerNormalization", {bad, {}, word, position, {}, g, b}, {}, 1, kDomain) == Code::input);
}

TEST_CASE("multi-head attention is Attention with biased inputs and a past") {
  const Tensor q = wave({2, 3, 4}, 1), k = wave({2, 5, 4}, 2), v = wave({2, 5, 6}, 3), bias = wave({14}, 4);
  const auto part = [&](int64_t from, int64_t n) {
    Tensor t(DType::f32, {n});
    for (int64_t i = 0; i < n; ++i) t.mutable_data<float>()[i] = bias.data<float>()[from + i];
    return t;
  };
  const Attrs a{{"num_heads", int64_t{2}}};
  check_close(run_op("MultiHeadAttention", {q, k, v, bias}, a, 1, kDomain)[0],
              run_op("Attention", {added(q, part(0, 4)), added(k, part(4, 4)), added(v, part(8, 6))},
                     heads(2, 2))[0]);
  const Tensor pk = wave({2, 2, 2, 2}, 5), pv = wave({2, 2, 2, 3}, 6);
  const auto y = run_op("MultiHeadAttention", {q, k, v, {}, {}, {}, pk, pv}, a, 3, kDomain);
  const auto z = run_op("Attention", {q, k, v, {}, pk, pv}, heads(2, 2), 3);
  for (size_t i = 0; i < 3; ++i) check_close(y[i], z[i]);
  // A padded key has no say.
  Tensor mask = Tensor::of<int32_t>({2, 5}, {1, 1, 1, 0, 1, 1, 0, 1, 1, 1}),
         allowed(DType::boolean, {2, 1, 1, 5});
  for (int64_t i = 0; i < 10; ++i) allowed.mutable_data<bool>()[i] = mask.data<int32_t>()[i] != 0;
  check_close(run_op("MultiHeadAttention", {q, k, v, {}, mask}, a, 1, kDomain)[0],
              run_op("Attention", {q, k, v, allowed}, heads(2, 2))[0]);
}

TEST_CASE("attention with projections is three products and attention") {
  const Tensor x = wave({2, 3, 4}, 1), w = wave({4, 12}, 2), bias = wave({12}, 3);
  const Attrs a{{"num_heads", int64_t{2}}, {"unidirectional", int64_t{1}}};
  const Tensor all = added(run_op("MatMul", {x, w})[0], bias);
  const auto part = [&](int64_t from) {
    return run_op("Slice", {all, Tensor::vector({from}), Tensor::vector({from + 4}), Tensor::vector({2})})[0];
  };
  Attrs causal = heads(2, 2);
  causal.set("is_causal", int64_t{1});
  check_close(run_op("Attention", {x, w, bias}, a, 1, kDomain)[0],
              run_op("Attention", {part(0), part(4), part(8)}, causal)[0]);
}

TEST_CASE("group query attention: prompt, then one more token from the cache") {
  const Tensor q = wave({1, 4, 8}, 1), k = wave({1, 4, 4}, 2), v = wave({1, 4, 4}, 3);
  const Attrs a{{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}};
  Attrs causal = heads(4, 2);
  causal.set("is_causal", int64_t{1});
  const Tensor whole = run_op("Attention", {q, k, v}, causal)[0];
  const auto rows = [](const Tensor& t, int64_t from, int64_t to) {
    return run_op("Slice", {t, Tensor::vector({from}), Tensor::vector({to}), Tensor::vector({1})})[0];
  };
  const auto count = [](int32_t n) { return Tensor::of<int32_t>({1}, {n}); };
  const auto first =
      run_op("GroupQueryAttention", {rows(q, 0, 3), rows(k, 0, 3), rows(v, 0, 3), {}, {}, count(2), count(3)},
             a, 3, kDomain);
  check_close(first[0], rows(whole, 0, 3));
  const auto next = run_op(
      "GroupQueryAttention",
      {rows(q, 3, 4), rows(k, 3, 4), rows(v, 3, 4), first[1], first[2], count(3), count(4)}, a, 3, kDomain);
  check_close(next[0], rows(whole, 3, 4));
  CHECK(next[1].dims() == Dims{1, 2, 4, 2});
  CHECK(fails("GroupQueryAttention", {q, k, v, {}, {}, count(9), count(4)}, a, 3, kDomain) == Code::input);
}

TEST_CASE("rotary embedding takes its inputs in another order") {
  const Tensor x = wave({1, 3, 8}, 1), cos = wave({5, 2}, 2), sin = wave({5, 2}, 3);
  const Tensor ids = Tensor::of<int64_t>({1, 3}, {1, 2, 3});
  const Attrs a{{"num_heads", int64_t{2}}};
  const Tensor want = run_op("RotaryEmbedding", {x, cos, sin, ids}, a)[0];
  check_close(run_op("RotaryEmbedding", {x, ids, cos, sin}, a, 1, kDomain)[0], want);
  check_close(run_op("RotaryEmbedding", {x, vec<int64_t>({1}), cos, sin}, a, 1, kDomain)[0], want);
  CHECK(fails("RotaryEmbedding", {x, vec<int64_t>({3}), cos, sin}, a, 1, kDomain) == Code::input);
}

TEST_CASE("packed weights are unpacked low bits first, shifted and scaled") {
  Tensor b(DType::u8, {1, 2, 8});  // two blocks of 16 weights of 4 bits
  for (int64_t i = 0; i < 16; ++i) b.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i * 37);
  const Tensor x = wave({2, 20}, 1), scales = vec<float>({0.5f, 2});
  const Attrs a{{"K", int64_t{20}}, {"N", int64_t{1}}, {"block_size", int64_t{16}}};
  const auto expect = [&](const Tensor& y, const double(&zero)[2]) {
    for (int64_t r = 0; r < 2; ++r) {
      double sum = 0;
      for (int64_t k = 0; k < 20; ++k) {
        const int q = (b.data<uint8_t>()[k / 2] >> (4 * (k % 2))) & 15;
        sum += x.data<float>()[r * 20 + k] * (q - zero[k / 16]) * scales.data<float>()[k / 16];
      }
      CHECK(y.data<float>()[r] == doctest::Approx(sum));
    }
  };
  expect(run_op("MatMulNBits", {x, b, scales}, a, 1, kDomain)[0], {8, 8});
  expect(run_op("MatMulNBits", {x, b, scales, vec<uint8_t>({0x3a})}, a, 1, kDomain)[0], {10, 3});
  Attrs bad = a;
  bad.set("block_size", int64_t{0});
  CHECK(fails("MatMulNBits", {x, b, scales}, bad, 1, kDomain) == Code::invalid);
}

TEST_CASE("fused activations and products have their own names there") {
  const Tensor x = wave({2, 3}, 1), bias = wave({3}, 2);
  check_close(run_op("BiasGelu", {x, bias}, {}, 1, kDomain)[0], run_op("Gelu", {added(x, bias)})[0]);
  check_close(run_op("FastGelu", {x}, {}, 1, kDomain)[0],
              run_op("Gelu", {x}, {{"approximate", std::string("tanh")}})[0]);
  const Tensor y = run_op("FusedMatMul", {x, x}, {{"transB", int64_t{1}}, {"alpha", 0.5f}}, 1, kDomain)[0];
  check_close(y, run_op("Gemm", {x, x}, {{"transB", int64_t{1}}, {"alpha", 0.5f}})[0]);
  CHECK(fails("FusedMatMul", {x, x}, {{"transBatchA", int64_t{1}}}, 1, kDomain) == Code::unsupported);
}
