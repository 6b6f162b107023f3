#include <doctest/doctest.h>

#include <cmath>

#include "kernels/gemm/gemm.h"
#include "skyline/skyline.h"

using namespace skyline;

namespace {

Tensor random_tensor(Dims dims, uint32_t seed) {
  Tensor t(DType::f32, std::move(dims));
  uint32_t state = seed * 2654435761u + 1;
  for (float& v : t.mutable_span<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 8388608.0f - 1;
  }
  return t;
}

// relu(x a) b + x, twice, with a convolution of three by three behind: products and convolutions whose
// results only products or convolutions read, and residuals.
Model model() {
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {1, 48, 9, 11}));
  ValueId at = x;
  const auto conv = [&](const std::string& name, ValueId in, int64_t from, int64_t to, int64_t k, bool relu) {
    const ValueId w =
        g.add_constant(name + ".w", random_tensor({to, from, k, k}, static_cast<uint32_t>(to + k)));
    const ValueId b = g.add_constant(name + ".b", random_tensor({to}, 5));
    ValueId y = g.add_value(name + ".y");
    g.add_node("Conv", name, {in, w, b}, {y}, {{"pads", std::vector<int64_t>(4, k / 2)}});
    if (!relu) return y;
    const ValueId r = g.add_value(name + ".r");
    g.add_node("Relu", name + ".relu", {y}, {r});
    return r;
  };
  for (const std::string name : {"one", "two"}) {
    const ValueId inner = conv(name + ".in", at, 48, 64, 1, true);
    const ValueId outer = conv(name + ".out", inner, 64, 48, 3, false);
    const ValueId sum = g.add_value(name + ".sum");
    g.add_node("Add", name + ".add", {outer, at}, {sum});
    at = sum;
  }
  const ValueId pooled = g.add_value("pooled"), flat = g.add_value("flat"), y = g.add_value("y"),
                z = g.add_value("z"), u = g.add_value("u");
  g.add_node("GlobalAveragePool", "pool", {at}, {pooled});
  g.add_node("Flatten", "flatten", {pooled}, {flat});
  g.add_node("MatMul", "m1", {flat, g.add_constant("m1.w", random_tensor({48, 96}, 3))}, {y});
  g.add_node("Relu", "m1.relu", {y}, {z});
  g.add_node("MatMul", "m2", {z, g.add_constant("m2.w", random_tensor({96, 10}, 4))}, {u});
  g.add_output(u, "u");
  return Model(std::move(g));
}

// The start of a MobileNet: a convolution of an image that is channels-first, and inverted residuals, whose
// depthwise convolutions have 32 and 60 channels.
Model mobile() {
  Graph g;
  ValueId at = g.add_input("x", Fact(DType::f32, {1, 3, 30, 26}));
  uint32_t seed = 1;
  const auto conv = [&](const std::string& name, ValueId in, Dims w, int64_t stride, bool act) {
    const int64_t pad = w[2] / 2, groups = w[1] == 1 ? w[0] : 1;
    const ValueId filter = g.add_constant(name + ".w", random_tensor(w, seed++)),
                  bias = g.add_constant(name + ".b", random_tensor({w[0]}, seed++)),
                  y = g.add_value(name + ".y");
    g.add_node("Conv", name, {in, filter, bias}, {y},
               {{"pads", std::vector<int64_t>(4, pad)},
                {"strides", std::vector<int64_t>(2, stride)},
                {"group", groups}});
    if (!act) return y;
    const ValueId r = g.add_value(name + ".r");
    g.add_node("Relu", name + ".act", {y}, {r});
    return r;
  };
  at = conv("first", at, {32, 3, 3, 3}, 2, true);
  at = conv("first.depthwise", at, {32, 1, 3, 3}, 1, true);
  at = conv("first.out", at, {20, 32, 1, 1}, 1, false);
  const ValueId wide = conv("in", at, {60, 20, 1, 1}, 1, true),
                deep = conv("depthwise", wide, {60, 1, 3, 3}, 1, true),
                narrow = conv("out", deep, {20, 60, 1, 1}, 1, false), sum = g.add_value("sum");
  g.add_node("Add", "add", {narrow, at}, {sum});
  const ValueId end = conv(
      "last", conv("last.depthwise", conv("last.in", sum, {60, 20, 1, 1}, 1, true), {60, 1, 5, 5}, 2, true),
      {33, 60, 1, 1}, 1, false);
  g.add_output(end, "y");
  return Model(std::move(g));
}

// Attention of two heads of 32 over 40 tokens, between products with weights.
Model attention() {
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {1, 40, 64}));
  const auto node = [&](const char* op, const std::string& name, std::vector<ValueId> in, Attrs attrs = {}) {
    const ValueId y = g.add_value(name);
    g.add_node(op, name, in, {y}, std::move(attrs));
    return y;
  };
  Tensor heads(DType::i64, {4});
  const int64_t split[] = {1, 40, 2, 32}, joined[] = {1, 40, 64};
  std::copy(std::begin(split), std::end(split), heads.mutable_span<int64_t>().begin());
  Tensor whole(DType::i64, {3});
  std::copy(std::begin(joined), std::end(joined), whole.mutable_span<int64_t>().begin());
  const ValueId to_heads = g.add_constant("heads", heads), to_whole = g.add_constant("whole", whole);
  const auto projected = [&](const std::string& name, uint32_t seed, Dims perm) {
    const ValueId product =
        node("MatMul", name, {x, g.add_constant(name + ".w", random_tensor({64, 64}, seed))});
    return node("Transpose", name + ".t", {node("Reshape", name + ".r", {product, to_heads})},
                {{"perm", std::move(perm)}});
  };
  const ValueId q = projected("q", 1, {0, 2, 1, 3}), k = projected("k", 2, {0, 2, 3, 1}),
                v = projected("v", 3, {0, 2, 1, 3});
  Tensor scale(DType::f32, {});
  scale.mutable_span<float>()[0] = 0.01f;
  const ValueId scores =
      node("Mul", "scaled", {node("MatMul", "scores", {q, k}), g.add_constant("s", scale)});
  const ValueId weighted = node("MatMul", "weighted", {node("Softmax", "softmax", {scores}), v});
  const ValueId back = node("Reshape", "back.r",
                            {node("Transpose", "back", {weighted}, {{"perm", Dims{0, 2, 1, 3}}}), to_whole});
  g.add_output(node("MatMul", "out", {back, g.add_constant("out.w", random_tensor({64, 48}, 4))}), "y");
  return Model(std::move(g));
}

// A MaxPool between convolutions; its result is a residual, too.
Model pooled() {
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {1, 32, 18, 22}));
  const auto conv = [&](const std::string& name, ValueId in, Dims w) {
    const int64_t pad = w[2] / 2;
    const ValueId y = g.add_value(name);
    g.add_node("Conv", name, {in, g.add_constant(name + ".w", random_tensor(w, static_cast<uint32_t>(w[0])))},
               {y}, {{"pads", std::vector<int64_t>(4, pad)}});
    return y;
  };
  const ValueId before = conv("before", x, {64, 32, 3, 3}), most = g.add_value("most"),
                sum = g.add_value("sum");
  g.add_node("MaxPool", "pool", {before}, {most},
             {{"kernel_shape", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"pads", Dims{1, 1, 1, 1}}});
  g.add_node("Add", "add", {conv("two", conv("one", most, {96, 64, 1, 1}), {64, 96, 3, 3}), most}, {sum});
  g.add_output(conv("last", sum, {40, 64, 1, 1}), "y");
  return Model(std::move(g));
}

double relative_error(const Tensor& a, const Tensor& b) {
  double error = 0, scale = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::fabs(double{a.data<float>()[i]} - double{b.data<float>()[i]}));
    scale = std::max(scale, std::fabs(double{b.data<float>()[i]}));
  }
  return error / scale;
}

bool has_rung(Precision p) {
  return kernels::choose_dense({.m = 16, .n = 16, .k = 16, .const_b = true, .precision = p},
                               isa_detected()) != nullptr;
}

Code code_of(const SessionOptions& o) {
  try {
    const Session s(model(), o);
  } catch (const Error& e) {
    return e.code();
  }
  return Code::ok;
}

}  // namespace

TEST_CASE("a session computes on the rung that it is given, within the rung's error") {
  const std::vector<Value> x{random_tensor({1, 48, 9, 11}, 9)};
  const Tensor right = Session(model(), {.threads = 1}).run(x)[0].tensor();
  const std::pair<Precision, double> bounds[] = {
      {Precision::bf16x6, 2e-6}, {Precision::bf16x3, 5e-5}, {Precision::bf16, 0.05}, {Precision::f16, 0.01}};
  for (const auto& row : bounds) {
    const Precision rung = row.first;
    CAPTURE(name(rung));
    if (!has_rung(rung)) {
      MESSAGE("skipped: this CPU has no kernel for " << name(rung));
      // Of these two products of few rows may be had everywhere.
      const bool halves = rung == Precision::bf16 || rung == Precision::f16;
      CHECK(code_of({.precision = rung}) == (halves ? Code::ok : Code::unsupported));
      continue;
    }
    const Session session(model(), {.threads = 1, .precision = rung});
    const Tensor y = session.run(x)[0].tensor();
    const double error = relative_error(y, right);
    CHECK(error < row.second);
    // A rung is a permission: where f32 is faster, as for so small products on two of them, it may be f32.
    const std::string plan = session.explain_plan(x);
    CHECK(plan.find("reference") == std::string::npos);
    if (rung == Precision::bf16) {
      CHECK(error > 0);
      CHECK(plan.find("bf16") != std::string::npos);
    }
    for (int threads : {2, 3}) {
      const Tensor again = Session(model(), {.threads = threads, .precision = rung}).run(x)[0].tensor();
      CHECK(relative_error(again, y) == 0);
    }
  }
}

TEST_CASE("depthwise convolutions and the first of an image keep bf16 between them") {
  if (!has_rung(Precision::bf16)) {
    MESSAGE("skipped: this CPU has no kernel for bf16");
    return;
  }
  const std::vector<Value> x{random_tensor({1, 3, 30, 26}, 9)};
  const Tensor right = Session(mobile(), {.threads = 1}).run(x)[0].tensor();
  Tensor one;
  for (int threads : {1, 2, 3}) {
    const Session session(mobile(), {.threads = threads, .precision = Precision::bf16});
    const Tensor y = session.run(x)[0].tensor();
    const double error = relative_error(y, right);
    CHECK(error > 0);
    CHECK(error < 0.03);
    if (threads == 1) one = y;
    CHECK(relative_error(y, one) == 0);
    CHECK(session.explain_plan(x).find("reference") == std::string::npos);
  }
}

TEST_CASE("attention takes bf16 from products and gives it to them, if both of its own are on the rung") {
  if (!has_rung(Precision::bf16)) {
    MESSAGE("skipped: this CPU has no tiles of bf16");
    return;
  }
  const std::vector<Value> x{random_tensor({1, 40, 64}, 9)};
  const Tensor right = Session(attention(), {.threads = 1}).run(x)[0].tensor();
  const Session session(attention(), {.threads = 1, .precision = Precision::bf16});
  const std::string plan = session.explain_plan(x);
  CAPTURE(plan);
  CHECK(plan.find("attention_bf16") != std::string::npos);
  const Tensor y = session.run(x)[0].tensor();
  CHECK(relative_error(y, right) > 0);
  CHECK(relative_error(y, right) < 0.03);
  for (int threads : {2, 3}) {
    const Session more(attention(), {.threads = threads, .precision = Precision::bf16});
    CHECK(relative_error(more.run(x)[0].tensor(), y) == 0);
  }
  const SessionOptions one{.threads = 1, .node_precision = {{"scores", Precision::bf16}}};
  CHECK(relative_error(Session(attention(), one).run(x)[0].tensor(), right) == 0);
}

TEST_CASE("pooling hands on bf16 between convolutions on the rung") {
  if (!has_rung(Precision::bf16)) {
    MESSAGE("skipped: this CPU has no tiles of bf16");
    return;
  }
  const std::vector<Value> x{random_tensor({1, 32, 18, 22}, 9)};
  const Tensor right = Session(pooled(), {.threads = 1}).run(x)[0].tensor();
  Tensor one;
  for (int threads : {1, 2, 3}) {
    const Session session(pooled(), {.threads = threads, .precision = Precision::bf16});
    const std::string plan = session.explain_plan(x);
    CAPTURE(plan);
    CHECK(plan.find("max_pool_bf16") != std::string::npos);
    const Tensor y = session.run(x)[0].tensor();
    CHECK(relative_error(y, right) < 0.03);
    if (threads == 1) one = y;
    CHECK(relative_error(y, one) == 0);
  }
}

TEST_CASE("one node on a rung: less noise than all, more than none") {
  if (!has_rung(Precision::bf16)) {
    MESSAGE("skipped: this CPU has no kernel for bf16");
    return;
  }
  const std::vector<Value> x{random_tensor({1, 48, 9, 11}, 9)};
  const auto run = [&](SessionOptions o) {
    o.threads = 1;
    return Session(model(), o).run(x)[0].tensor();
  };
  const Tensor right = run({}), all = run({.precision = Precision::bf16});
  const Tensor one = run({.node_precision = {{"m1", Precision::bf16}}});
  const Tensor but_one = run({.precision = Precision::bf16, .node_precision = {{"m1", Precision::f32}}});
  CHECK(relative_error(one, right) > 0);
  CHECK(relative_error(but_one, all) > 0);
}

TEST_CASE("rungs that cannot be had are errors") {
  CHECK(code_of({.precision = Precision::int8}) == Code::unsupported);
  CHECK(code_of({.precision = Precision::f16, .isa = "sse2"}) == Code::unsupported);
  CHECK(code_of({.node_precision = {{"one.add", Precision::f32}}}) == Code::invalid);
  CHECK(code_of({.node_precision = {{"nobody", Precision::f32}}}) == Code::invalid);
  CHECK(code_of({.node_precision = {{"one.in", Precision::f32}}}) == Code::ok);
}
