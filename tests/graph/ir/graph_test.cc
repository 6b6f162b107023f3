#include "doctest/doctest.h"
#include "graph/ir/dump.h"
#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/ir/pass.h"

using namespace skyline;

namespace {

struct Chain {  // x -> Relu -> Neg
  Graph g;
  ValueId x, y, z;
  NodeId relu, neg;
  Chain() {
    x = g.add_input("x", Fact(DType::f32, {g.symbol("n"), 2}));
    y = g.add_value("y");
    z = g.add_value("z");
    relu = g.add_node(op("Relu"), "relu", {x}, {y});
    neg = g.add_node(op("Neg"), "neg", {y}, {z});
    g.add_output(z, "out");
    infer_graph(g);
  }
};

}  // namespace

TEST_CASE("a graph keeps producers, uses and order consistent") {
  Chain c;
  CHECK(c.g.order() == std::vector<NodeId>{c.relu, c.neg});
  CHECK(c.g.producer(c.z) == c.neg);
  CHECK(c.g.use_count(c.y) == 1);
  CHECK(c.g.use_count(c.z) == 1);
  CHECK(c.g.is_input(c.x));
  CHECK(c.g.is_output(c.z));
  c.g.set_input(c.neg, 0, c.x);
  CHECK(c.g.use_count(c.y) == 0);
  CHECK(c.g.use_count(c.x) == 2);
  CHECK(c.g.remove_dead_nodes() == 1);
  CHECK(c.g.node_count() == 1);
  CHECK(!c.g.alive(c.relu));
  verify_graph(c.g);
  c.g.replace_uses(c.z, c.x);
  CHECK(c.g.outputs() == std::vector<ValueId>{c.x});
  CHECK(c.g.remove_dead_nodes() == 1);
  CHECK(c.g.use_count(c.x) == 1);
}

TEST_CASE("a copy of a graph is independent") {
  Chain c;
  Graph copy = c.g;
  copy.make_constant(copy.inputs()[0], Tensor::zeros(DType::f32, {1, 2}));
  CHECK(!c.g.constant(c.x));
  CHECK(copy.symbol("n") == c.g.symbol("n"));
}

TEST_CASE("verify names what is wrong") {
  const auto message = [](Graph& g) -> std::string {
    try {
      verify_graph(g);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  Chain cycle;
  cycle.g.set_input(cycle.relu, 0, cycle.z);
  CHECK(message(cycle.g).find("cycle") != std::string::npos);

  Chain orphan;
  orphan.g.set_input(orphan.neg, 0, orphan.g.add_value("nobody"));
  CHECK(message(orphan.g).find("'nobody'") != std::string::npos);

  Chain twice;
  twice.g.add_node(op("Abs"), "abs", {twice.x}, {twice.y});
  CHECK(message(twice.g).find("'y'") != std::string::npos);

  Chain arity;
  arity.g.node(arity.relu).inputs.clear();
  CHECK(message(arity.g).find("0 inputs") != std::string::npos);

  Graph names;
  names.add_input("a", Fact(DType::f32, {}));
  names.add_input("a", Fact(DType::f32, {}));
  CHECK(message(names).find("two graph inputs") != std::string::npos);
}

TEST_CASE("facts merge to what is known of both, and refuse contradictions") {
  const Dim n = Dim::symbol(0);
  const Fact a(DType::f32, {n, Dim::unknown(), 3}), b(DType::undefined, {4, n, Dim::unknown()});
  const auto m = merge_facts(a, b);
  REQUIRE(m);
  CHECK(m->dtype == DType::f32);
  CHECK(m->dims == SymDims{4, n, 3});
  CHECK(merge_facts(Fact(), a)->dims.size() == 3);
  CHECK(!merge_facts(a, Fact(DType::f32, {n, 2})));
  CHECK(!merge_facts(a, Fact(DType::f32, {n, 2, 4})));
  CHECK(!merge_facts(a, Fact::unranked(DType::f64)));
  Fact sequence = a;
  sequence.kind = Fact::Kind::sequence;
  CHECK(!merge_facts(a, sequence));
  const Fact joined = join_facts(Fact(DType::f32, {2, n}), Fact(DType::f32, {3, n}));
  CHECK((!joined.dims[0].known() && !joined.dims[0].is_symbol()));
  CHECK(joined.dims[1] == n);
}

TEST_CASE("a patch adds, rewires, infers and removes") {
  Chain c;
  Patch patch(c.g);
  const ValueId two = patch.constant(Tensor::scalar(2.0f), "two");
  const ValueId now = patch.add(op("Mul"), {c.x, two}, {}, "mul");
  patch.replace(c.y, now);
  const std::vector<NodeId> touched = std::move(patch).apply(c.g, "test");
  CHECK(touched.size() == 2);  // the new node and the reader of y
  CHECK(!c.g.alive(c.relu));
  CHECK(c.g.node_count() == 2);
  verify_graph(c.g, true);
  const auto out = interpret(c.g, std::vector<Value>{Tensor::of<float>({1, 2}, {1, -3})});
  CHECK(out[0].tensor().data<float>()[1] == 6);
  CHECK(dump_text(c.g).find("Mul(x, two#") != std::string::npos);
  CHECK(dump_dot(c.g).find("Mul") != std::string::npos);
}

TEST_CASE("a patch that changes a type or shape is our error") {
  const auto replace_with = [](std::string_view name, Attrs attrs) {
    Chain c;
    Patch patch(c.g);
    patch.replace(c.y, patch.add(op(name), {c.x}, std::move(attrs), "n"));
    std::move(patch).apply(c.g, "test");
  };
  CHECK_THROWS_AS(replace_with("Cast", {{"to", int64_t{7}}}), Error);
  CHECK_THROWS_AS(replace_with("ReduceSum", {{"keepdims", int64_t{0}}}), Error);
  Chain c;
  Patch stale(c.g);
  stale.replace(c.y, stale.add(op("Abs"), {c.x}, {}, "n"));
  c.g.add_value("late");
  CHECK_THROWS_AS(std::move(stale).apply(c.g, "test"), Error);
}

TEST_CASE("what a patch makes known reaches the nodes downstream") {
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {6}));
  const ValueId s = g.add_input("s", Fact(DType::i64, {2}));
  const ValueId y = g.add_value("y"), z = g.add_value("z");
  g.add_node(op("Reshape"), "reshape", {x, s}, {y});
  g.add_node(op("Relu"), "relu", {y}, {z});
  g.add_output(z, "out");
  infer_graph(g);
  CHECK(!g.fact(z).is_static());
  Patch patch(g);
  patch.replace(s, patch.constant(Tensor::vector({2, -1}), "shape"));
  std::move(patch).apply(g, "test");
  CHECK(g.fact(z).static_dims() == Dims{2, 3});
}

namespace {

std::optional<Patch> relu_to_abs(const Graph& g, NodeId n) {
  if (!g.node(n).is("Relu")) return std::nullopt;
  Patch patch(g);
  patch.replace(g.node(n).out(0), patch.add(op("Abs"), {g.node(n).in(0)}, {}, "abs"));
  return patch;
}
std::optional<Patch> abs_to_relu(const Graph& g, NodeId n) {
  if (!g.node(n).is("Abs")) return std::nullopt;
  Patch patch(g);
  patch.replace(g.node(n).out(0), patch.add(op("Relu"), {g.node(n).in(0)}, {}, "relu"));
  return patch;
}

Graph long_chain(int n, std::string_view name) {
  Graph g;
  ValueId v = g.add_input("x", Fact(DType::f32, {4}));
  for (int i = 0; i < n; ++i) {
    const ValueId next = g.add_value("v" + std::to_string(i));
    g.add_node(op(name), "", {v}, {next});
    v = next;
  }
  g.add_output(v, "out");
  infer_graph(g);
  return g;
}

}  // namespace

TEST_CASE("run_passes: stops when told, reports, and never goes round for ever") {
  const Pass there{"relu-to-abs", Stage::portable, relu_to_abs},
      back{"abs-to-relu", Stage::portable, abs_to_relu};
  Graph g = long_chain(5, "Relu");
  std::vector<std::string> log;
  PassOptions options{.stop_after = 3,
                      .log = [&](std::string_view p, std::string_view) { log.emplace_back(p); }};
  CHECK(run_passes(g, std::vector<Pass>{there}, options) == 3);
  CHECK(log == std::vector<std::string>(3, "relu-to-abs"));
  CHECK_THROWS_AS(run_passes(g, std::vector<Pass>{there, back}), Error);
}

TEST_CASE("run_passes is near linear in the size of the graph") {
  Graph g = long_chain(100'000, "Relu");
  CHECK(run_passes(g, std::vector<Pass>{{"relu-to-abs", Stage::portable, relu_to_abs}}) == 100'000);
}
