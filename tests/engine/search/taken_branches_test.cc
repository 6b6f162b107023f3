#include "engine/search/taken_branches.h"

#include <doctest/doctest.h>

#include "engine/search/variants.h"
#include "skyline/model.h"

using namespace skyline;

namespace {

Tensor weights(float first) {
  std::vector<float> w(64 * 64);
  for (size_t i = 0; i < w.size(); ++i) w[i] = first + 0.001f * static_cast<float>((i * 37) % 101);
  return Tensor::of<float>({64, 64}, w);
}

GraphPtr branch(const std::string& name, float first) {
  auto g = std::make_shared<Graph>();
  const ValueId x = g->add_input("x", Fact::fixed(DType::f32, {16, 64})), y = g->add_value("y");
  g->add_node("MatMul", name, {x, g->add_constant(name + ".w", weights(first))}, {y});
  g->add_output(y, "y");
  return g;
}

// y = last(which == 1 ? yes(x) : no(x))
Model two_ways() {
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {16, 64})),
                which = g.add_input("which", Fact::fixed(DType::i64, {})), is = g.add_value("is"),
                h = g.add_value("h"), y = g.add_value("y");
  g.add_node("Equal", "equal", {which, g.add_constant("one", Tensor::of<int64_t>({}, {1}))}, {is});
  g.add_node("If", "if", {is, x}, {h},
             {{"then_branch", branch("yes", 0.01f)},
              {"else_branch", branch("no", -0.03f)},
              {"captures", int64_t{1}}});
  g.add_node("MatMul", "last", {h, g.add_constant("last.w", weights(-0.02f))}, {y});
  g.add_output(y, "y");
  return Model(std::move(g));
}

std::vector<Value> example(int64_t which) {
  Tensor x(DType::f32, {16, 64});
  for (int64_t i = 0; i < x.size(); ++i)
    x.mutable_data<float>()[i] = static_cast<float>(i % 13) * 0.1f - 0.5f;
  return {x, Tensor::of<int64_t>({}, {which})};
}

bool same(const std::vector<Value>& a, const std::vector<Value>& b) {
  const auto p = a[0].tensor().span<float>(), q = b[0].tensor().span<float>();
  return std::equal(p.begin(), p.end(), q.begin(), q.end());
}

}  // namespace

TEST_CASE("taken branches: the search sees products of the branch that the data take, and no others") {
  for (const int64_t which : {1, 2}) {
    const auto x = example(which);
    SessionOptions o;
    o.threads = 1;
    Variants v(two_ways(), o, x);
    REQUIRE(v.flow().products.size() == 2);
    CHECK(v.branches());
    CHECK(v.flow().products[0].name == (which == 1 ? "yes" : "no"));
    CHECK(v.flow().products[1].name == "last");
    CHECK(v.flow().products[0].flops == v.flow().products[1].flops);
    CHECK_FALSE(v.can(0, Precision::int8));

    // In f32 nothing changes, whichever branch is taken; a rung changes the branch that it was given to.
    const std::vector<Precision> f32(2, Precision::f32);
    const Session plain(two_ways(), o), built = v.session(f32), costs = v.cost_session(f32);
    for (const int64_t k : {1, 2}) CHECK(same(plain.run(example(k)), built.run(example(k))));
    CHECK(same(plain.run(x), costs.run(x)));
    Profile profile;
    (void)costs.run_profiled(x, profile);
    bool met = false;
    for (const StepRecord& s : profile) met = met || s.node.find(v.flow().products[0].name) == 0;
    CHECK(met);
    if (!v.can(0, Precision::bf16)) continue;
    const PlanModel narrow = v.model({Precision::bf16, Precision::f32});
    CHECK(narrow.options.node_precision.at(v.flow().products[0].name) == Precision::bf16);
    // A body gets its plan at the second run.
    const Session mixed(narrow.model, narrow.options);
    (void)mixed.run(example(3 - which));
    (void)plain.run(example(3 - which));
    CHECK(same(plain.run(example(3 - which)), mixed.run(example(3 - which))));
  }
}

TEST_CASE("taken branches: int8 outside goes with another rung inside") {
  SessionOptions o;
  o.threads = 1;
  const auto x = example(1);
  Variants v(two_ways(), o, x);
  REQUIRE(v.can(1, Precision::int8));
  v.calibrate({1, [](int64_t) { return example(1); }}, {});
  const PlanModel m = v.model({Precision::bf16x3, Precision::int8});
  CHECK(m.options.node_precision.size() == 1);
  if (!v.can(0, Precision::bf16x3)) return;
  const auto want = Session(two_ways(), o).run(x), got = Session(m.model, m.options).run(x);
  CHECK_FALSE(same(want, got));
  const auto p = want[0].tensor().span<float>(), q = got[0].tensor().span<float>();
  double noise = 0, signal = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    noise += (p[i] - q[i]) * (p[i] - q[i]);
    signal += p[i] * p[i];
  }
  CHECK(noise < 1e-2 * signal);
}

TEST_CASE("taken branches: a plan is opened again without the example that it was found with") {
  SessionOptions o;
  o.threads = 1;
  const auto x = example(1);
  const Variants seen(two_ways(), o, x);
  Point p;
  for (const Flow::Product& product : seen.flow().products) p.choices.push_back({.node = product.name});
  p.choices[0].rung = Precision::bf16x3;
  const PlanModel found = seen.model({Precision::bf16x3, Precision::f32}),
                  again = plan_model(two_ways(), Frontier(), p, o);
  CHECK(again.options.node_precision == found.options.node_precision);
  CHECK(again.options.node_precision == quant::Choice{{"yes", Precision::bf16x3}});
  p.precision = Precision::bf16x3;  // does not reach the branch that the search did not see
  CHECK_FALSE(plan_model(two_ways(), Frontier(), p, o).options.node_precision.contains("no"));
  p.choices[0].node = "nowhere";
  CHECK_THROWS_AS((void)plan_model(two_ways(), Frontier(), p, o), Error);
  p.choices[0].node = "yes";
  if (!seen.can(0, Precision::bf16x3)) return;
  const Session a(found.model, found.options), b(again.model, again.options);
  for (int run = 0; run < 2; ++run) CHECK(same(a.run(x), b.run(x)));
}
