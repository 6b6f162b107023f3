// The order of things: prepare, select, calibrate, correct, write.
#include "quant/calibrate.h"
#include "quant/prepare.h"
#include "quant/qdq.h"
#include "quant/select.h"

namespace skyline::quant {
namespace {

// Rounded values that have a range of their own, and those that take over their source's.
std::vector<Watch> watches_of(const Graph& g, const Selection& s) {
  std::vector<Watch> out;
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    const ValueId v{i};
    const NodeId maker = g.producer(v);
    if (s.is_rounded(v) && (maker == kNoNode || s.role(maker) != Role::move)) out.push_back({v, -1});
  }
  return out;
}

}  // namespace

Result quantize_int8(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
                     const Options& options) {
  const Graph g = prepare(model);
  const Selection s = select_int8(g, options.keep);
  Result result;
  std::vector<std::optional<Scheme>> schemes(g.value_slots());
  const auto set_range = [&](ValueId v, std::pair<double, double> range) {
    schemes[static_cast<size_t>(v)] = asymmetric_u8(range.first, range.second);
    result.ranges[g.value(v).name] = range;
  };
  std::vector<Watch> watches;
  for (const Watch& w : watches_of(g, s)) {
    const auto known = options.ranges.find(g.value(w.value).name);
    known == options.ranges.end() ? watches.push_back(w) : set_range(w.value, known->second);
  }
  if (!watches.empty()) {
    const std::vector<Observation> seen = observe(g, watches, calibration, make_runner, options.progress);
    for (size_t i = 0; i < watches.size(); ++i)
      set_range(watches[i].value, range_of(seen[i].histogram, options.method, options.percentile));
  }
  for (NodeId id : g.order()) {
    if (s.role(id) != Role::move) continue;
    schemes[static_cast<size_t>(g.node(id).out(0))] = schemes[static_cast<size_t>(g.node(id).in(0))];
  }
  result.graph = insert_qdq(g, s, schemes);
  result.decisions = s.decisions;
  return result;
}

}  // namespace skyline::quant
