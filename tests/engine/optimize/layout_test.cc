#include "engine/optimize/layout.h"

#include "engine/optimize/layout_model.h"
#include "engine/optimize/measure.h"
#include "graph/ir/precision.h"
#include "skyline/model.h"
#include "skyline/session.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using passes::Layout;
using passes::LayoutForm;

namespace {

// A move costs its bytes; the nodes named cost `penalty` in the form that is not liked, the others nothing.
struct Fake : LayoutCosts {
  double penalty = 1e6;
  std::map<std::string, LayoutForm::Kind> liked = {{"Conv", LayoutForm::Kind::last}};
  double node(const Graph& g, const passes::LayoutChoice& choice, const LayoutForm& form) override {
    const Node& n = g.node(choice.node);
    if (n.is("Transpose")) return transpose_cost(g, choice, form, *this);
    const auto it = liked.find(std::string(n.op->name));
    const auto kind = form.kind == LayoutForm::Kind::planes ? LayoutForm::Kind::last : form.kind;
    return it != liked.end() && it->second != kind ? penalty : 0;
  }
  double move(const Fact& fact, Layout) override { return static_cast<double>(fact.bytes()); }
};

// What the Transposes of a graph move.
double moved_bytes(const Graph& g) {
  double sum = 0;
  for (NodeId id : g.order()) {
    if (g.node(id).is("Transpose")) sum += static_cast<double>(g.fact(g.node(id).in(0)).bytes());
  }
  return sum;
}

// Chooses, carries it out, and checks that it costs what it was said to; returns the graph.
Graph chosen(const Graph& g, Fake costs = {}) {
  Graph marked = g;
  const LayoutAssignment a = choose_layouts(marked, costs);
  CHECK(a.exact);
  CHECK(a.cost <= a.cost_first);
  CHECK(a.cost <= a.cost_last);
  for (const auto& [node, kind] : a.forms) passes::assign_layout(marked, node, kind);
  Graph after = optimized(marked, {layout_passes().begin(), layout_passes().end()}, 1e-5);
  CHECK(moved_bytes(after) == a.cost);
  return after;
}

ValueId conv(Build& b, ValueId x, int64_t in, int64_t out) {
  return b.node("Conv", {x, b.weights({out, in, 3, 3})}, {{"pads", Dims{1, 1, 1, 1}}});
}

int transposes(const Graph& g) {
  return count_ops(g)["Transpose"];
}

}  // namespace

TEST_CASE("choose_layouts: one move in, one out; what is between follows") {
  Build b;
  const ValueId x = b.input({1, 8, 6, 5});
  const ValueId a = b.node("Relu", {conv(b, x, 8, 8)});
  const ValueId p = b.node("MaxPool", {a}, {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}});
  b.output(b.node("Add", {conv(b, p, 8, 8), a}));
  CHECK(transposes(chosen(b.g)) == 2);
}

TEST_CASE("choose_layouts: nothing moves where it does not pay") {
  Build b;
  const ValueId x = b.input({1, 8, 6, 5});
  b.output(conv(b, x, 8, 8));
  Fake cheap;
  cheap.penalty = 10;  // less than two moves of 960 bytes
  CHECK(choose_layouts(b.g, cheap).forms.empty());
  Fake dear;
  CHECK(choose_layouts(b.g, dear).forms.size() == 1);
}

TEST_CASE("choose_layouts: a node that dislikes channels-last costs two moves, or keeps all of it first") {
  const auto moves = [](double penalty) {
    Build b;
    const ValueId x = b.input({1, 8, 6, 5});
    const ValueId s = b.node("Softmax", {conv(b, x, 8, 8)}, {{"axis", int64_t{3}}});
    b.output(conv(b, conv(b, s, 8, 8), 8, 8));
    Fake costs;
    costs.liked["Softmax"] = LayoutForm::Kind::plain;
    costs.penalty = penalty;
    Graph marked = b.g;
    const LayoutAssignment a = choose_layouts(marked, costs);
    for (const auto& [node, kind] : a.forms) passes::assign_layout(marked, node, kind);
    run_passes(marked, layout_passes());
    return transposes(marked);
  };
  CHECK(moves(1e6) == 4);
  CHECK(moves(1500) == 2);  // the softmax goes along
  CHECK(moves(100) == 0);   // nobody moves
}

TEST_CASE("choose_layouts: a value with many readers is moved once") {
  Build b;
  const ValueId x = b.input({1, 8, 6, 5});
  const ValueId y = b.node("CumSum", {x, b.ints({2})});  // channels-first only
  for (int i = 0; i < 3; ++i) b.output(b.node("CumSum", {conv(b, y, 8, 8), b.ints({3})}));
  b.output(y);
  CHECK(transposes(chosen(b.g)) == 4);

  Build late;  // and one that is made channels-last is moved once for those that want it first
  const ValueId z = conv(late, late.input({1, 8, 6, 5}), 8, 8);
  for (int i = 2; i < 4; ++i) late.output(late.node("CumSum", {z, late.ints({i})}));
  late.output(conv(late, z, 8, 8));
  CHECK(transposes(chosen(late.g)) == 3);
}

TEST_CASE("choose_layouts: the model's own Transposes lead into the layout for nothing") {
  Build b;
  const ValueId x = b.input({1, 6, 5, 8});
  const ValueId t = b.node("Transpose", {x}, {{"perm", Dims{0, 3, 1, 2}}});
  b.output(b.node("Transpose", {conv(b, t, 8, 8)}, {{"perm", Dims{0, 2, 3, 1}}}));
  CHECK(transposes(chosen(b.g)) == 0);

  Build other;  // another order: the two moves become one
  const ValueId u = other.node("Transpose", {other.input({1, 6, 5, 8})}, {{"perm", Dims{0, 3, 2, 1}}});
  other.output(other.node("Transpose", {conv(other, u, 8, 8)}, {{"perm", Dims{0, 2, 3, 1}}}));
  CHECK(transposes(chosen(other.g)) == 1);
}

TEST_CASE("choose_layouts: planes, vectors, shuffles, pieces") {
  Build b;
  const ValueId x = b.input({1, 3, 6, 8});
  const ValueId a = b.node("Relu", {conv(b, x, 3, 8)});  // reads planes
  const ValueId gate = b.node("Sigmoid", {b.node("GlobalAveragePool", {a})});
  const ValueId s = b.node("Mul", {a, gate});
  const ValueId wide = b.node("Reshape", {s, b.ints({1, 2, 4, 6, 8})});
  const ValueId t = b.node("Transpose", {wide}, {{"perm", Dims{0, 2, 1, 3, 4}}});
  const ValueId y = b.node("Reshape", {t, b.ints({1, 8, 6, 8})});
  const auto parts = b.nodes("Split", {conv(b, y, 8, 8), b.ints({2, 6})}, 2, {{"axis", int64_t{1}}});
  const ValueId c = b.node("Concat", {parts[1], parts[0]}, {{"axis", int64_t{1}}});
  b.output(conv(b, c, 8, 4));
  Graph marked = b.g;
  Fake costs;
  for (const auto& [node, kind] : choose_layouts(marked, costs).forms)
    passes::assign_layout(marked, node, kind);
  const Graph after = optimized(marked, {layout_passes().begin(), layout_passes().end()}, 1e-4);
  CHECK(transposes(after) == 2);  // the shuffle itself, and the way out
}

TEST_CASE("the layout model: convolutions channels-last, the same answer every time") {
  Build b;
  ValueId x = b.input({1, 3, 40, 40});
  x = conv(b, x, 3, 16);
  for (int i = 0; i < 4; ++i) x = b.node("Add", {b.node("Relu", {conv(b, x, 16, 16)}), x});
  b.output(x);
  LayoutModel model;
  const LayoutAssignment first = choose_layouts(b.g, model), second = choose_layouts(b.g, model);
  CHECK(first.forms == second.forms);
  CHECK(first.forms.size() == 13);
  CHECK(first.cost <= first.cost_last);
}

TEST_CASE("measured layout costs: of any node, known the second time") {
  Build b;
  const ValueId x = b.input({1, 16, 12, 12});
  const ValueId y = b.node("Softmax", {conv(b, x, 16, 16)}, {{"axis", int64_t{1}}});
  b.output(b.node("Transpose", {y}, {{"perm", Dims{0, 2, 3, 1}}}));
  MeasuredLayoutCosts costs(isa_detected(), 1);
  for (NodeId id : b.g.order()) {
    const passes::LayoutChoice choice = passes::layout_choice(b.g, id);
    for (const LayoutForm& form : choice.forms) {
      const double seconds = costs.node(b.g, choice, form);
      CHECK(seconds >= 0);
      CHECK(seconds < 1);
      CHECK(seconds == costs.node(b.g, choice, form));
    }
  }
  CHECK(costs.move(b.g.fact(x), Layout::first) > 0);
  CHECK(costs.move(b.g.fact(x), Layout::last) > 0);

  // A table gets what was measured, and what it has is not measured.
  CostTable table;
  MeasuredLayoutCosts kept(isa_detected(), 1, &table);
  const Fact fresh = Fact::fixed(DType::f32, {1, 16, 11, 13});
  const double seconds = kept.move(fresh, Layout::first);
  CHECK(table.size() == 1);
  CHECK(MeasuredLayoutCosts(isa_detected(), 1, &table).move(fresh, Layout::first) == seconds);
}

TEST_CASE("every layout policy computes the same") {
  Build b;
  const ValueId x = b.input({1, 3, 9, 8});
  const ValueId a = b.node("Relu", {conv(b, x, 3, 8)});
  const ValueId p = b.node("AveragePool", {a}, {{"kernel_shape", Dims{2, 2}}});
  b.output(b.node("Softmax", {conv(b, p, 8, 5)}, {{"axis", int64_t{1}}}));
  for (const LayoutPolicy policy : {LayoutPolicy::modelled, LayoutPolicy::measured,
                                    LayoutPolicy::channels_first, LayoutPolicy::channels_last}) {
    CAPTURE(name(policy));
    Graph marked = b.g;
    assign_layouts(marked, policy, isa_detected(), 1);
    const Graph after = optimized(marked, {layout_passes().begin(), layout_passes().end()}, 1e-5);
    if (policy == LayoutPolicy::channels_first) CHECK(transposes(after) == 0);
    CHECK(layout_policy_from_name(name(policy)) == policy);
  }
  CHECK_THROWS_AS(layout_policy_from_name("sideways"), Error);
}

TEST_CASE("layouts of single nodes by wish: kept by every policy, as far as the node has the form") {
  Build b;
  const ValueId x = b.input({1, 3, 12, 10});
  const ValueId a = b.node("Relu", {conv(b, x, 3, 8)});
  const ValueId p = b.node("MaxPool", {a}, {{"kernel_shape", Dims{2, 2}}});
  b.output(b.node("Softmax", {conv(b, p, 8, 5)}, {{"axis", int64_t{1}}}));
  const auto named = [&](const char* name) {
    for (NodeId id : b.g.order()) {
      if (b.g.node(id).is(name)) return b.g.node(id).name;
    }
    return std::string();
  };
  const auto form_of = [](const Graph& g, const std::string& node) {
    for (NodeId id : g.order()) {
      if (g.node(id).name == node) return g.node(id).attrs.text("assigned_layout", "");
    }
    return std::string("?");
  };
  for (const LayoutPolicy policy : {LayoutPolicy::modelled, LayoutPolicy::measured,
                                    LayoutPolicy::channels_first, LayoutPolicy::channels_last}) {
    CAPTURE(name(policy));
    Graph marked = b.g;
    assign_wanted_layouts(marked, {{named("MaxPool"), "channels_first"},
                                   {named("Softmax"), "planes"},  // it has no such form
                                   {named("Conv"), "channels_last"}});
    assign_layouts(marked, policy, isa_detected(), 1);
    CHECK(form_of(marked, named("MaxPool")) == "");
    CHECK(form_of(marked, named("Conv")) == "NHWC");
    CHECK(form_of(marked, named("Softmax")) != "planes");
    (void)optimized(marked, {layout_passes().begin(), layout_passes().end()}, 1e-5);
  }
  const Model model{Graph(b.g)};
  const std::vector<Value> in{Value(random_tensor({1, 3, 12, 10}, b.random))};
  const Session plain(model, {.threads = 1});
  const Session wished(
      model, {.threads = 1,
              .node_layouts = {{named("MaxPool"), "channels_first"}, {named("Conv"), "channels_last"}}});
  const auto y = plain.run(in), z = wished.run(in);
  for (int64_t i = 0; i < y[0].tensor().size(); ++i)
    CHECK(z[0].tensor().data<float>()[i] == doctest::Approx(y[0].tensor().data<float>()[i]).epsilon(1e-5));
  CHECK(wished.explain_plan(in) != plain.explain_plan(in));
  CHECK_THROWS_AS(Session(model, {.threads = 1, .node_layouts = {{"nobody", "planes"}}}), Error);
  CHECK_THROWS_AS(Session(model, {.threads = 1, .node_layouts = {{named("MaxPool"), "sideways"}}}), Error);
}
