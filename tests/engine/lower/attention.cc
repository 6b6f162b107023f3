#include "graph/ops/fused_attention.h"
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {
constexpr float kTolerance = 1e-5f;

Attrs heads(int64_t q, int64_t kv) {
  return {{"q_num_heads", q}, {"kv_num_heads", kv}};
}
}  // namespace

TEST_CASE("FusedAttention") {
  Random random(1);
  ops::FusedAttention f;
  f.lead = {2, 3};
  f.q_len = 5;
  f.kv_len = 9;
  f.size = 8;
  f.v_size = 8;
  f.q = {0, {5 * 24, 8, 24, 1}};
  f.k = {0, {9 * 24, 8, 24, 1}};
  f.v = {0, {3 * 9 * 8, 9 * 8, 8, 1}};
  f.y = {0, {5 * 24, 8, 24, 1}};
  f.out_dims = {2, 5, 24};
  f.scale = 0.4f;
  const Operand q = input(random.f32({2, 5, 24})), k = input(random.f32({2, 9, 24})),
                v = input(random.f32({2, 3, 9, 8}));
  check_sweep({"FusedAttention", {q, k, v}, to_attrs(f), "skyline", {true}, kTolerance});
  f.mask_mode = ops::AttentionMask::add;
  f.mask = {0, {9, 0, 0, 1}};
  check_sweep(
      {"FusedAttention", {q, k, v, input(random.f32({2, 9}))}, to_attrs(f), "skyline", {true}, kTolerance});
  f.mask_mode = ops::AttentionMask::drop;
  f.mask = {0, {0, 45, 9, 1}};
  f.masked_value = -3;
  Tensor drop(DType::boolean, {3, 5, 9});
  for (uint8_t& x : std::span(static_cast<uint8_t*>(drop.mutable_raw()), 135)) x = random.coin();
  check_sweep({"FusedAttention", {q, k, v, input(drop)}, to_attrs(f), "skyline", {true}, kTolerance});
  f.mask_mode = ops::AttentionMask::keep;
  f.masked_value = -INFINITY;
  check_sweep({"FusedAttention", {q, k, v, input(drop)}, to_attrs(f), "skyline", {true}, kTolerance});
}

TEST_CASE("Attention") {
  Random random(2);
  const auto x = [&](Dims d) { return input(random.f32(std::move(d))); };
  const auto run = [&](std::vector<Operand> in, Attrs attrs = {}, std::vector<bool> out = {true}) {
    check_sweep({"Attention", std::move(in), std::move(attrs), "", std::move(out), kTolerance});
  };
  run({x({2, 3, 4, 8}), x({2, 3, 6, 8}), x({2, 3, 6, 10})});
  run({x({1, 6, 1, 8}), x({1, 2, 6, 8}), x({1, 2, 6, 8})}, {{"is_causal", int64_t{1}}});
  run({x({2, 4, 24}), x({2, 6, 8}), x({2, 6, 8})}, heads(3, 1).set("scale", 0.2f).set("softcap", 1.5f));
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 24}), x({4, 6})}, heads(3, 3), {true, true, true});
  run({x({2, 3, 4, 8}), x({2, 3, 6, 8}), x({2, 3, 6, 8}), x({2, 1, 4, 9}), x({2, 3, 3, 8}), x({2, 3, 3, 8})},
      {{"is_causal", int64_t{1}}}, {true, true, true});
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 24}), Operand{}, x({2, 3, 3, 8}), x({2, 3, 3, 8})},
      heads(3, 3));
  Operand keep = input(random.ints<uint8_t>({3, 4, 6}, 0, 1));
  keep.tensor =
      Tensor::view(DType::boolean, {3, 4, 6}, keep.tensor.raw(), std::make_shared<Tensor>(keep.tensor));
  run({x({2, 3, 4, 8}), x({2, 3, 6, 8}), x({2, 3, 6, 8}), keep});
  run({x({2, 3, 4, 8}), x({2, 3, 6, 8}), x({2, 3, 6, 8}), x({4, 5})});  // a mask shorter than the keys
  const Operand lengths = input(Tensor::vector({5, 2}));
  run({x({2, 3, 2, 8}), x({2, 3, 6, 8}), x({2, 3, 6, 8}), Operand{}, Operand{}, Operand{}, lengths},
      {{"is_causal", int64_t{1}}});
}

TEST_CASE("MultiHeadAttention") {
  Random random(3);
  const auto x = [&](Dims d) { return input(random.f32(std::move(d))); };
  const Attrs attrs{{"num_heads", int64_t{3}}};
  const auto run = [&](std::vector<Operand> in, std::vector<bool> out = {true},
                       Attrs more = {{"num_heads", int64_t{3}}}) {
    check_sweep(
        {"MultiHeadAttention", std::move(in), std::move(more), "com.microsoft", std::move(out), kTolerance});
  };
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 30})});
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 30}), x({78})}, {true, true, true});
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 24}), Operand{}, input(random.ints<int32_t>({2, 6}, 0, 1))});
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 24}), Operand{}, input(random.ints<int32_t>({2}, 1, 6))});
  run({x({2, 4, 24}), x({2, 6, 24}), x({2, 6, 24}), Operand{}, Operand{}, x({1, 3, 4, 6})});
  run({x({2, 4, 24}), x({2, 4, 24}), x({2, 4, 24}), Operand{}, Operand{}, Operand{}, x({2, 3, 5, 8}),
       x({2, 3, 5, 8})},
      {true, true, true}, {{"num_heads", int64_t{3}}, {"unidirectional", int64_t{1}}});
}

TEST_CASE("GroupQueryAttention") {
  Random random(4);
  const auto x = [&](Dims d) { return input(random.f32(std::move(d))); };
  const auto total = [](int32_t n) { return constant(Tensor::of<int32_t>({1}, {n})); };
  const auto last = [](int32_t a, int32_t b) { return input(Tensor::of<int32_t>({2}, {a, b})); };
  const auto run = [&](std::vector<Operand> in, Attrs more = {}) {
    Attrs a{{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}};
    for (const auto& [name, value] : more) a.set(name, value);
    check_sweep({"GroupQueryAttention", std::move(in), a, "com.microsoft", {true, true, true}, kTolerance});
  };
  const Operand none;
  run({x({2, 5, 32}), x({2, 5, 16}), x({2, 5, 16}), none, none, last(4, 2), total(5)});
  run({x({2, 1, 32}), x({2, 1, 16}), x({2, 1, 16}), x({2, 2, 9, 8}), x({2, 2, 9, 8}), last(6, 3), total(7)},
      {{"local_window_size", int64_t{3}}});
  for (const int64_t interleaved : {0, 1}) {
    run({x({2, 2, 32}), x({2, 2, 16}), x({2, 2, 16}), x({2, 2, 4, 8}), x({2, 2, 4, 8}), last(5, 3), total(6),
         x({8, 3}), x({8, 3})},
        {{"do_rotary", int64_t{1}}, {"rotary_interleaved", interleaved}});
  }
}

TEST_CASE("RotaryEmbedding") {
  Random random(5);
  const auto x = [&](Dims d) { return input(random.f32(std::move(d))); };
  for (const int64_t interleaved : {0, 1}) {
    const Attrs plain{{"interleaved", interleaved}};
    check_sweep({"RotaryEmbedding", {x({2, 3, 5, 8}), x({2, 5, 4}), x({2, 5, 4})}, plain});
    const Operand ids = input(random.ints<int64_t>({2, 5}, 0, 6));
    check_sweep(
        {"RotaryEmbedding",
         {x({2, 5, 24}), x({7, 3}), x({7, 3}), ids},
         {{"interleaved", interleaved}, {"num_heads", int64_t{3}}, {"rotary_embedding_dim", int64_t{6}}}});
    check_sweep({"RotaryEmbedding", {x({2, 3, 5, 8}), ids, x({7, 4}), x({7, 4})}, plain, "com.microsoft"});
    check_sweep({"RotaryEmbedding",
                 {x({2, 5, 24}), input(Tensor::vector({2})), x({7, 4}), x({7, 4})},
                 plain,
                 "com.microsoft"});
  }
}

TEST_CASE("a cache that is input and output of a context grows in place") {
  Random random(6);
  Graph g;
  const Dims token{1, 1, 16}, cache{1, 2, 8, 8};
  std::vector<ValueId> in;
  for (const Fact& f :
       {Fact::fixed(DType::f32, {1, 1, 32}), Fact::fixed(DType::f32, token), Fact::fixed(DType::f32, token),
        Fact::fixed(DType::f32, cache), Fact::fixed(DType::f32, cache), Fact::fixed(DType::i32, {1})}) {
    in.push_back(g.add_input("x" + std::to_string(in.size()), f));
  }
  in.push_back(g.add_constant("total", Tensor::of<int32_t>({1}, {8})));
  const std::vector<ValueId> out{g.add_value("y"), g.add_value("k"), g.add_value("v")};
  g.add_node(op("GroupQueryAttention", "com.microsoft"), "tested", in, out,
             {{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}});
  for (ValueId v : out) g.add_output(v, g.value(v).name);
  const Session session{Model(std::move(g))};
  std::vector<Value> step{random.f32({1, 1, 32}),
                          random.f32(token),
                          random.f32(token),
                          Tensor::zeros(DType::f32, cache),
                          Tensor::zeros(DType::f32, cache),
                          Tensor::of<int32_t>({1}, {0})};
  Context context(session, step);
  for (int32_t i = 0; i < 5; ++i) {
    step[5] = Tensor::of<int32_t>({1}, {i});
    context.set_input(5, step[5].tensor());
    const std::vector<Value> want = session.run(step);
    context.run();
    for (size_t k = 0; k < 3; ++k) check_close(context.output(k).tensor(), want[k].tensor(), 1e-6f);
    step[3] = want[1];
    step[4] = want[2];
    const void* kept = context.output(1).tensor().raw();
    context.set_input(3, context.output(1).tensor());
    context.set_input(4, context.output(2).tensor());
    CHECK(context.output(1).tensor().raw() == kept);
  }
}
