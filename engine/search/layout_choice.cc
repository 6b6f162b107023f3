#include "engine/search/layout_choice.h"

#include <algorithm>
#include <numeric>

#include "engine/optimize/layout_model.h"
#include "engine/optimize/measure.h"
#include "engine/optimize/race.h"
#include "graph/passes/passes.h"
#include "skyline/isa.h"

namespace skyline {
namespace {

using Kind = passes::LayoutForm::Kind;
using Group = std::map<std::string, std::string>;

constexpr int kTurns = 7;
constexpr double kTurnSeconds = 0.02;
// A group must save so much of the whole plan's time, and be no slower in any turn.
constexpr double kWorthIt = 0.985;
// Sessions are made for so many groups, those of most nodes first.
constexpr size_t kMostGroups = 6;

std::vector<Kind> kinds_of(const Graph& g, const LayoutAssignment& a) {
  std::vector<Kind> kinds(g.node_slots(), Kind::plain);
  for (const auto& [node, kind] : a.forms) kinds[static_cast<size_t>(node)] = kind;
  return kinds;
}

class Sets {
 public:
  explicit Sets(size_t n) : of_(n) { std::iota(of_.begin(), of_.end(), size_t{0}); }
  size_t find(size_t i) {
    while (of_[i] != i) i = of_[i] = of_[of_[i]];
    return i;
  }
  void join(size_t a, size_t b) { of_[find(a)] = find(b); }

 private:
  std::vector<size_t> of_;
};

bool saves(const Variants& variants, const std::vector<Precision>& f32, const Group& group,
           const Session& plain, const std::vector<Value>& inputs) {
  Wishes wishes = variants.wishes();
  wishes.layouts.insert(group.begin(), group.end());
  const Session other = variants.cost_session(f32, &wishes);
  Context a(plain, inputs), b(other, inputs);
  Race race;
  const size_t who[] = {race.add([&] { a.run(); }), race.add([&] { b.run(); })};
  for (int t = 0; t < kTurns; ++t) {
    race.turn(who, kTurnSeconds);
    // Most groups save nothing, and a few turns say so.
    if (t >= 2 && race.ratio(who[1], who[0]).value > 1) return false;
  }
  const Estimate ratio = race.ratio(who[1], who[0]);
  return ratio.value < kWorthIt && ratio.high < 1;
}

}  // namespace

std::vector<Group> differing_groups(const Graph& g, const LayoutAssignment& model,
                                    const LayoutAssignment& other,
                                    const std::function<bool(const std::string&)>& known) {
  const std::vector<Kind> a = kinds_of(g, model), b = kinds_of(g, other);
  const auto differs = [&](NodeId id) {
    const auto i = static_cast<size_t>(id);
    return a[i] != b[i] && known(g.node(id).name);
  };
  Sets sets(g.node_slots());
  std::vector<size_t> first(g.value_slots(), g.node_slots());  // that touches the value
  for (NodeId id : g.order()) {
    if (!differs(id)) continue;
    for (const auto* list : {&g.node(id).inputs, &g.node(id).outputs}) {
      for (ValueId v : *list) {
        if (v == kNoValue || g.constant(v)) continue;
        size_t& toucher = first[static_cast<size_t>(v)];
        if (toucher == g.node_slots()) toucher = static_cast<size_t>(id);
        sets.join(toucher, static_cast<size_t>(id));
      }
    }
  }
  std::map<size_t, Group> groups;
  for (NodeId id : g.order()) {
    const auto i = static_cast<size_t>(id);
    if (differs(id)) groups[sets.find(i)][g.node(id).name] = std::string(passes::name(b[i]));
  }
  std::vector<Group> out;
  out.reserve(groups.size());
  for (auto& [set, group] : groups) out.push_back(std::move(group));
  std::stable_sort(out.begin(), out.end(),
                   [](const Group& x, const Group& y) { return x.size() > y.size(); });
  return out;
}

std::map<std::string, std::string> choose_node_layouts(
    const Variants& variants, const std::vector<Value>& inputs, CostTable* table,
    const std::function<bool()>& stop, const std::function<void(const std::string&)>& progress) {
  const SessionOptions& o = variants.options();
  if (o.layouts != LayoutPolicy::modelled || !o.optimize || (stop && stop())) return {};
  if (progress) progress("layouts of nodes");
  Graph g = variants.cost_graph();
  run_passes(g, portable_passes());
  run_passes(g, target_passes());
  LayoutModel model;
  MeasuredLayoutCosts measured(isa_level(o.isa), o.threads, table);
  std::vector<Group> groups =
      differing_groups(g, choose_layouts(g, model), choose_layouts(g, measured),
                       [&](const std::string& node) { return !variants.op_of(node).empty(); });
  if (groups.empty()) return {};
  if (groups.size() > kMostGroups) groups.resize(kMostGroups);
  const std::vector<Precision> f32(variants.flow().products.size(), Precision::f32);
  const Session plain = variants.cost_session(f32);
  Group chosen;
  for (size_t i = 0; i < groups.size() && !(stop && stop()); ++i) {
    if (progress)
      progress("layouts, group " + std::to_string(i + 1) + " of " + std::to_string(groups.size()));
    if (saves(variants, f32, groups[i], plain, inputs)) chosen.insert(groups[i].begin(), groups[i].end());
  }
  return chosen;
}

}  // namespace skyline
