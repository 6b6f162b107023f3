#include "engine/search/layout_choice.h"

#include "skyline/optimize.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;
using Kind = passes::LayoutForm::Kind;

namespace {

// conv, pool, conv, pool; the pools are nodes of their own.
Build two_pools() {
  Build b;
  ValueId x = b.input({1, 8, 16, 16});
  for (int i = 0; i < 2; ++i) {
    x = b.node("Conv", {x, b.weights({8, 8, 3, 3})}, {{"pads", Dims{1, 1, 1, 1}}});
    x = b.node("MaxPool", {x}, {{"kernel_shape", Dims{2, 2}}, {"strides", Dims{2, 2}}});
  }
  b.output(x);
  return b;
}

}  // namespace

TEST_CASE("differing groups: nodes that touch change together, in the form of the second assignment") {
  const Build b = two_pools();
  const std::vector<NodeId> n = b.g.order();
  REQUIRE(n.size() == 4);
  const auto groups = [&](std::vector<std::pair<NodeId, Kind>> model,
                          std::vector<std::pair<NodeId, Kind>> other) {
    return differing_groups(b.g, {.forms = std::move(model)}, {.forms = std::move(other)},
                            [&](const std::string& name) { return name != b.g.node(n[3]).name; });
  };
  const auto name_of = [&](size_t i) { return b.g.node(n[i]).name; };
  CHECK(groups({{n[0], Kind::last}}, {{n[0], Kind::last}}).empty());
  const auto apart =
      groups({{n[0], Kind::last}, {n[2], Kind::last}}, {{n[1], Kind::last}, {n[2], Kind::last}});
  REQUIRE(apart.size() == 1);
  CHECK(apart[0].at(name_of(0)) == "channels_first");
  CHECK(apart[0].at(name_of(1)) == "channels_last");
  CHECK(groups({{n[0], Kind::last}}, {{n[2], Kind::last}}).size() == 2);
  CHECK(groups({}, {{n[3], Kind::last}}).empty());  // its name is not known
}

TEST_CASE("layouts of nodes are part of plans: chosen by names of the model, saved, and run again") {
  const Build b = two_pools();
  const Model model{Graph(b.g)};
  Variants variants(model, {.threads = 1});
  const auto chosen =
      choose_node_layouts(variants, {Value(Tensor(DType::f32, {1, 8, 16, 16}))}, nullptr, {}, {});
  for (const auto& [node, layout] : chosen) {
    CHECK(!variants.op_of(node).empty());
    CHECK(!layout.empty());
  }
  CHECK(choose_node_layouts(Variants(model, {.threads = 1, .layouts = LayoutPolicy::channels_last}), {},
                            nullptr, {}, {})
            .empty());

  const std::string pool = b.g.node(b.g.order()[1]).name, conv = b.g.node(b.g.order()[0]).name;
  Frontier f;
  Point p;
  p.id = "p";
  p.choices.push_back({.node = conv, .op = "Conv", .layout = "channels_first"});
  p.choices.push_back({.node = pool, .op = "MaxPool", .layout = "channels_first"});
  const PlanModel plan = plan_model(model, f, p, {.threads = 1});
  CHECK(plan.options.node_layouts.at(pool) == "channels_first");
  CHECK(plan.options.node_layouts.at(conv) == "channels_first");
  CHECK(session_options(p).node_layouts == plan.options.node_layouts);
  CHECK(session_options(p).node_precision.size() == 1);
  CHECK_NOTHROW(plan_session(model, f, p, {.threads = 1}));
  p.choices[1].node = "nobody";
  CHECK_THROWS_AS((void)plan_session(model, f, p, {.threads = 1}), Error);
}
