// A point of a frontier, made runnable again.
#include <map>
#include <string>
#include <vector>

#include "engine/search/variants.h"
#include "graph/ir/precision.h"
#include "skyline/optimize.h"

namespace skyline {

PlanModel plan_model(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options) {
  SessionOptions o = options;
  if (o.threads == 0) o.threads = point.threads;
  o.layouts = point.layouts;
  Variants variants(model, o);
  variants.set_ranges(frontier.info.ranges, frontier.info.means);
  std::map<std::string, Precision> rungs;
  Wishes wishes;
  for (const NodeChoice& c : point.choices) {
    if (c.rung == Precision::f32 && !c.layout.empty()) wishes.layouts[c.node] = c.layout;
    if (c.rung == Precision::f32 && !c.layout.empty() && !is_contraction(c.op)) continue;
    rungs[c.node] = c.rung;
    if (c.rung == Precision::f32 && !c.kernel.empty()) wishes.kernels[c.node] = c.kernel;
  }
  variants.set_wishes(std::move(wishes));
  const Precision others = point.precision == Precision::model ? Precision::f32 : point.precision;
  std::vector<Precision> plan;
  for (size_t i = 0; i < variants.flow().products.size(); ++i) {
    const auto it = rungs.find(variants.flow().products[i].name);
    // Of branches that the search did not see, nothing is chosen.
    const Precision unnamed = variants.inside(i) ? Precision::f32 : others;
    plan.push_back(it == rungs.end() ? unnamed : it->second);
    if (it != rungs.end()) rungs.erase(it);
  }
  if (!rungs.empty()) {
    throw Error(Code::invalid,
                "the plan is of another model: this one has no product '" + rungs.begin()->first + "'");
  }
  return variants.model(plan);
}

Session plan_session(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options) {
  PlanModel m = plan_model(model, frontier, point, options);
  return Session(std::move(m.model), m.options);
}

}  // namespace skyline
