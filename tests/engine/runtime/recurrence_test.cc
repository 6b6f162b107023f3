// What is carried from run to run, in place and by copies, against the session run step by step.
#include "skyline/recurrence.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>

#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr int64_t kHeads = 3, kSize = 8, kWidth = kHeads * kSize;

struct Decoder {
  bool mask = false;        // an input that is as long as the keys
  bool reads_past = false;  // something else reads a cache
  bool counter = false;     // a state that keeps its size
  int64_t positions = 64;   // of the table that causal has
  bool causal = false;      // positions and a mask made of the caches' lengths, as exporters write them
};

// Attention over what has come: x [1, n, width] in, as much out, and the caches longer.
Model decoder(const Decoder& how) {
  Build b;
  Graph& g = b.g;
  const Dim past = g.symbol("past"), tokens = g.symbol("tokens");
  ValueId x = g.add_input("x", Fact(DType::f32, {1, tokens, kWidth}));
  const ValueId caches[] = {g.add_input("past_key", Fact(DType::f32, {1, kHeads, past, kSize})),
                            g.add_input("past_value", Fact(DType::f32, {1, kHeads, past, kSize}))};
  ValueId mask = kNoValue;
  if (how.mask) mask = g.add_input("mask", Fact(DType::f32, {tokens, Dim::unknown()}));
  if (how.causal) {
    const auto scalar = [&](int64_t n) { return b.constant(Tensor::scalar<int64_t>(n)); };
    const auto length = [&](ValueId v, int64_t axis) {
      return b.node("Gather", {b.node("Shape", {v}), scalar(axis)});
    };
    const ValueId held = length(caches[0], 2), all = b.node("Add", {held, length(x, 1)});
    const ValueId queries = b.node("Range", {held, all, scalar(1)}),
                  keys = b.node("Range", {scalar(0), all, scalar(1)});
    const ValueId seen = b.node("LessOrEqual", {b.node("Unsqueeze", {keys, b.ints({0})}),
                                                b.node("Unsqueeze", {queries, b.ints({1})})});
    mask = b.node("Where", {seen, b.number(0), b.number(-1e9f)});
    x = b.node("Add", {x, b.node("Gather", {b.weights({how.positions, kWidth}), queries})});
  }
  const auto heads = [&](ValueId v) {
    const ValueId r = b.node("Reshape", {v, b.ints({1, -1, kHeads, kSize})});
    return b.node("Transpose", {r}, {{"perm", Dims{0, 2, 1, 3}}});
  };
  const auto linear = [&](ValueId v) { return b.node("MatMul", {v, b.weights({kWidth, kWidth}, 0.3f)}); };
  const ValueId q = heads(linear(x));
  ValueId kv[2];
  const char* const names[] = {"key", "value"};
  for (int i = 0; i < 2; ++i) {
    const ValueId cache = caches[i];
    kv[i] = b.node("Concat", {cache, heads(linear(x))}, {{"axis", int64_t{2}}});
    g.add_output(kv[i], std::string("present_") + names[i]);
    if (how.reads_past && i == 0)
      g.add_output(b.node("ReduceSum", {cache}, {{"keepdims", int64_t{0}}}), "sum");
  }
  ValueId s = b.node("MatMul", {q, b.node("Transpose", {kv[0]}, {{"perm", Dims{0, 1, 3, 2}}})});
  s = b.node("Mul", {s, b.number(0.35f)});
  if (mask != kNoValue) s = b.node("Add", {s, mask});
  const ValueId p = b.node("Softmax", {s}, {{"axis", int64_t{-1}}});
  const ValueId y = b.node("Transpose", {b.node("MatMul", {p, kv[1]})}, {{"perm", Dims{0, 2, 1, 3}}});
  g.add_output(linear(b.node("Reshape", {y, b.ints({1, -1, kWidth})})), "y");
  if (how.counter) {
    const ValueId seen = g.add_input("seen", Fact(DType::f32, {1, 1}));
    g.add_output(b.node("Add", {seen, b.number(1)}), "seen_out");
  }
  return Model(std::move(g));
}

Tensor noise(Dims dims, uint32_t seed) {
  Random random(seed);
  return random_tensor(std::move(dims), random);
}

// The other inputs of a step that adds n tokens to `past`.
std::vector<Value> step(const Decoder& how, int64_t n, int64_t past, uint32_t seed) {
  std::vector<Value> in{noise({1, n, kWidth}, seed)};
  if (how.mask) in.emplace_back(noise({n, past + n}, seed + 100));
  return in;
}

// The caches handed from run to run by name.
class ByHand {
 public:
  explicit ByHand(const Session& s) : session_(s) {
    for (const char* name : {"past_key", "past_value"})
      states_[name] = Tensor::zeros(DType::f32, {1, kHeads, 0, kSize});
    for (const ValueDescription& d : s.inputs()) {
      if (d.name == "seen") states_["seen"] = Tensor::zeros(DType::f32, {1, 1});
    }
  }
  ValueMap run(const Recurrence& r, std::span<const Value> in) {
    ValueMap all = states_;
    for (size_t i = 0; i < in.size(); ++i) all[r.inputs()[i].name] = in[i];
    ValueMap out = session_.run(all);
    states_["past_key"] = out.at("present_key");
    states_["past_value"] = out.at("present_value");
    if (states_.contains("seen")) states_["seen"] = out.at("seen_out");
    return out;
  }
  int64_t length() const { return states_.at("past_key").tensor().dim(2); }
  void truncate(int64_t rows) {
    for (const char* name : {"past_key", "past_value"}) {
      Tensor t(DType::f32, {1, kHeads, rows, kSize});
      for (int64_t h = 0; h < kHeads; ++h) {
        std::memcpy(t.mutable_data<float>() + h * rows * kSize,
                    states_[name].tensor().data<float>() + h * length() * kSize,
                    static_cast<size_t>(rows * kSize) * 4);
      }
      kept_.push_back(std::move(t));
    }
    states_["past_key"] = kept_[kept_.size() - 2];
    states_["past_value"] = kept_.back();
  }

 private:
  Session session_;
  ValueMap states_;
  std::vector<Tensor> kept_;
};

bool same_bits(const Value& a, const Value& b) {
  const Tensor &x = a.tensor(), &y = b.tensor();
  return x.dims() == y.dims() && std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
}

// A prompt, single tokens, a few at a time, a return to an earlier place; returns plans made.
size_t check(const Decoder& how, bool in_place, int threads, double tolerance = 2e-6) {
  SessionOptions options;
  options.threads = threads;
  const Session session(decoder(how), options);
  Recurrence r(session, find_carries(session), 64);
  ByHand hand(session);
  uint32_t seed = 1;
  const auto run = [&](int64_t n) {
    const std::vector<Value> in = step(how, n, r.length(), seed++);
    const std::vector<Value> got = r.run(in);
    const ValueMap want = hand.run(r, in);
    REQUIRE(got.size() == r.outputs().size());
    for (size_t i = 0; i < got.size(); ++i)
      CHECK(difference(got[i], want.at(r.outputs()[i].name)) <= tolerance);
    CHECK(r.length() == hand.length());
    CHECK(same_bits(r.state(0), want.at("present_key")));
    CHECK(same_bits(r.state(1), want.at("present_value")));
  };
  run(5);
  for (int i = 0; i < 12; ++i) {
    run(1);
    CHECK(r.in_place() == in_place);
  }
  run(3);
  r.truncate(7);
  hand.truncate(7);
  for (int i = 0; i < 4; ++i) run(1);
  if (how.counter) CHECK(r.state(2).data<float>()[0] == 18);
  return r.plans();
}

}  // namespace

TEST_CASE("caches grow in place, and one plan serves every length") {
  for (int threads : {1, 3}) {
    CHECK(check({}, true, threads) <= 4);  // 5, 1 and 3 tokens; the prompt perhaps by copies
    CHECK(check({.counter = true}, true, threads) <= 4);
  }
}

TEST_CASE("positions and masks that follow from the length are evaluated for each, in one plan") {
  for (int threads : {1, 3}) CHECK(check({.causal = true}, true, threads) <= 4);
  CHECK(check({.positions = 40, .causal = true}, true, 1) >= 13);  // the table ends before the caches do
}

TEST_CASE("a mask that grows: in place, with a plan for each length") {
  CHECK(check({.mask = true}, true, 1) >= 13);
}

TEST_CASE("what else reads a cache makes it be copied") {
  CHECK(check({.reads_past = true}, false, 1) >= 13);
}

TEST_CASE("full caches, wrong names and wrong states are refused") {
  const Session session{decoder({})};
  const std::vector<Carry> carries = find_carries(session);
  REQUIRE(carries.size() == 2);
  CHECK(carries[0].input == "past_key");
  CHECK(carries[0].output == "present_key");
  Recurrence r(session, carries, 4);
  const auto code_of = [](const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.code();
    }
    return Code::ok;
  };
  r.run(step({}, 3, 0, 1));
  const Tensor before = r.state(0);
  CHECK(code_of([&] { r.run(step({}, 2, 3, 2)); }) == Code::limit);
  CHECK(same_bits(r.state(0), before));
  r.run(step({}, 1, 3, 3));
  CHECK(r.length() == 4);
  CHECK(code_of([&] { r.truncate(5); }) == Code::input);
  CHECK(code_of([&] { r.run({}); }) == Code::input);
  CHECK(code_of([&] { Recurrence(session, {{"present_key", "nothing"}}, 4); }) == Code::invalid);
  CHECK(code_of([&] { Recurrence(session, {{"y", "past_key"}}, -1); }) == Code::invalid);
  CHECK(code_of([&] { Recurrence(session, carries, int64_t{1} << 60); }) == Code::limit);
  const Tensor two(DType::f32, {1, kHeads, 2, kSize}), three(DType::f32, {1, kHeads, 3, kSize}),
      five(DType::f32, {1, kHeads, 5, kSize});
  CHECK(code_of([&] { r.set_states(std::vector{two, three}); }) == Code::input);
  CHECK(code_of([&] { r.set_states(std::vector{five, five}); }) == Code::input);
  r.set_states(std::vector{noise({1, kHeads, 2, kSize}, 5), noise({1, kHeads, 2, kSize}, 6)});
  CHECK(r.length() == 2);
  CHECK(same_bits(r.state(1), noise({1, kHeads, 2, kSize}, 6)));
}

TEST_CASE("an imported Append does not write into the caller's tensors") {
  Build b;
  const ValueId cache = b.g.add_input("cache", Fact(DType::f32, {1, 4, 2})),
                rows = b.g.add_input("rows", Fact(DType::f32, {1, 1, 2})),
                length = b.g.add_input("length", Fact(DType::i64, {1}));
  b.g.add_output(b.node("Append", {cache, rows, length}, {{"axis", int64_t{1}}}, "skyline"), "y");
  const Session session{Model(std::move(b.g))};
  const Tensor before = noise({1, 4, 2}, 1), mine = before.clone();
  const ValueMap out =
      session.run({{"cache", mine}, {"rows", noise({1, 1, 2}, 2)}, {"length", Tensor::vector({3})}});
  CHECK(same_bits(mine, before));
  CHECK(!same_bits(out.at("y"), before));
  CHECK_THROWS_AS(
      session.run({{"cache", mine}, {"rows", noise({1, 1, 2}, 2)}, {"length", Tensor::vector({4})}}), Error);
}
