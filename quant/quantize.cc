// The order of things: prepare, select, calibrate; then write down any choice.
#include <algorithm>
#include <cmath>
#include <set>

#include "graph/ir/op.h"
#include "graph/ir/precision.h"
#include "quant/adaround.h"
#include "quant/calibrate.h"
#include "quant/equalize.h"
#include "quant/prepare.h"
#include "quant/qdq.h"
#include "quant/select.h"
#include "quant/smooth.h"

namespace skyline::quant {
namespace {

uint32_t key(ValueId v) {
  return static_cast<uint32_t>(v);
}

// Rounded values that have a range of their own. Those that a move makes take over their source's.
std::vector<Watch> watches_of(const Graph& g, const Selection& s, bool channels, bool counts) {
  std::set<uint32_t> inputs;
  for (NodeId id : g.order()) {
    if (s.role(id) == Role::product) inputs.insert(key(g.node(id).in(0)));
  }
  std::vector<Watch> out;
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    const ValueId v{i};
    const NodeId maker = g.producer(v);
    if (s.is_rounded(v) && (maker == kNoNode || s.role(maker) != Role::move))
      out.push_back({v, channels && inputs.contains(i), counts});
  }
  return out;
}

}  // namespace

Quantizer::Quantizer(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
                     const Options& options)
    : graph_(prepare(model)), options_(options) {
  if (calibration.count <= 0) throw Error(Code::input, "the calibration set is empty");
  if (options.smooth) smooth(graph_, calibration, make_runner);
  equalize(graph_, options.equalization, calibration, make_runner);
  const Selection all = select_int8(graph_, options.keep);
  const std::vector<Watch> watches =
      watches_of(graph_, all, options.correct_bias, options.method != Method::minmax);
  const std::vector<Observation> seen = observe(graph_, watches, calibration, make_runner, options.progress);
  if (options.adaround.on) rounded_ = adaround(graph_, all, calibration, make_runner, options);
  options_.progress = options_.adaround.progress = nullptr;
  for (size_t i = 0; i < watches.size(); ++i) {
    const uint32_t v = key(watches[i].value);
    ranges_[v] = range_of(seen[i].histogram, options.method, options.percentile);
    for (size_t c = 0; c < seen[i].sum.size(); ++c) means_[v].push_back(seen[i].mean(c));
  }
  for (NodeId id : graph_.order()) {
    const Node& n = graph_.node(id);
    if (all.role(id) != Role::move) continue;
    for (ValueId v : n.outputs) {
      if (v != kNoValue) ranges_[key(v)] = ranges_.at(key(n.in(0)));
    }
  }
  list_products(all);
}

Quantizer::Quantizer(const Graph& model, const std::map<std::string, std::pair<double, double>>& ranges,
                     const std::map<std::string, std::vector<double>>& means)
    : graph_(prepare(model)) {
  const Selection all = select_int8(graph_, {});
  for (uint32_t v = 0; v < graph_.value_slots(); ++v) {
    const auto it = ranges.find(graph_.value(ValueId{v}).name);
    if (it == ranges.end()) continue;
    ranges_[v] = it->second;
    const auto mean = means.find(it->first);
    if (mean == means.end()) continue;
    for (const double m : mean->second)
      means_[v].push_back(std::clamp(m, it->second.first, std::max(it->second.first, it->second.second)));
  }
  list_products(all);
  for (Product& p : products_) p.int8 = p.int8 && !ranges.empty();
}

std::map<std::string, std::pair<double, double>> Quantizer::ranges() const {
  std::map<std::string, std::pair<double, double>> out;
  for (const auto& [v, range] : ranges_) out[graph_.value(ValueId{v}).name] = range;
  return out;
}

std::map<std::string, std::vector<double>> Quantizer::means() const {
  std::map<std::string, std::vector<double>> out;
  for (const auto& [v, mean] : means_) out[graph_.value(ValueId{v}).name] = mean;
  return out;
}

void Quantizer::list_products(const Selection& all) {
  for (NodeId id : graph_.order()) {
    const Node& n = graph_.node(id);
    if (!is_product(n)) continue;
    Product p{n.name, std::string(n.op->name), all.role(id) == Role::product, ""};
    for (const Decision& d : all.decisions) {
      if (d.node == n.name) p.reason = d.reason;
    }
    products_.push_back(std::move(p));
  }
}

Choice Quantizer::everything() const {
  Choice c;
  for (const Product& p : products_) {
    if (p.int8) c[p.name] = Precision::int8;
  }
  return c;
}

Result Quantizer::build(const Choice& choice) const {
  std::vector<std::string> keep = options_.keep;
  Choice floats;
  for (const auto& entry : choice) {
    const auto& [name, rung] = entry;
    const auto p = std::find_if(products_.begin(), products_.end(),
                                [&](const Product& q) { return q.name == entry.first; });
    if (p == products_.end()) throw Error(Code::invalid, "no product is named '" + name + "'");
    if (rung == Precision::int8 && !p->int8)
      throw Error(Code::invalid, "node '" + name + "' cannot be int8: " + p->reason);
    if (rung != Precision::int8) floats[name] = rung;
  }
  for (const Product& p : products_) {
    const auto it = choice.find(p.name);
    if (it == choice.end() || it->second != Precision::int8) keep.push_back(p.name);
  }
  const Selection s = select_int8(graph_, keep);
  Result result;
  Calibrated found{std::vector<std::optional<Scheme>>(graph_.value_slots()), means_, rounded_};
  auto& schemes = found.schemes;
  for (uint32_t v = 0; v < schemes.size(); ++v) {
    const auto range = ranges_.find(v);
    if (!s.rounded[v] || range == ranges_.end()) continue;
    schemes[v] = asymmetric_u8(range->second.first, range->second.second);
    result.ranges[graph_.value(ValueId{v}).name] = range->second;
  }
  for (NodeId id : graph_.order()) {
    const Node& n = graph_.node(id);
    if (s.role(id) != Role::move) continue;
    for (ValueId v : n.outputs) {
      if (v != kNoValue) schemes[key(v)] = schemes[key(n.in(0))];
    }
  }
  result.graph = insert_qdq(graph_, s, found);
  assign_precision(result.graph, Precision::model, floats);
  result.decisions = s.decisions;
  for (Decision& d : result.decisions) {
    const auto it = floats.find(d.node);
    if (it != floats.end()) d.precision = it->second;
  }
  return result;
}

namespace {

// Noise is a property of the network more than of the example: few are enough to rank products.
constexpr int64_t kNoiseExamples = 6;

// Takes the products that add most noise by themselves out of the choice, until what is left is below
// `most`. Returns why, by name.
std::map<std::string, std::string> spare(const Quantizer& q, Choice& choice, Examples examples,
                                         const MakeRunner& make_runner, double most) {
  examples.count = std::min(examples.count, kNoiseExamples);
  std::map<std::string, std::string> reasons;
  if (choice.empty() || measure_choice(q, choice, examples, make_runner).alone <= most) return reasons;
  SensitivityOptions options;
  options.others = false;
  const Sensitivity s = measure_sensitivity(q, examples, make_runner, options);
  std::vector<size_t> order;
  for (size_t i = 0; i < s.nodes.size(); ++i) {
    if (s.noise[i][0].possible) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return s.noise[a][0].alone > s.noise[b][0].alone; });
  const auto without = [&](size_t count) {
    Choice c = choice;
    for (size_t i = 0; i < count; ++i) c.erase(s.nodes[order[i]]);
    return c;
  };
  // Noise falls with every product that leaves, near enough for halving the interval.
  size_t few = 0, many = order.size() / 2;
  while (many - few > 1) {
    const size_t middle = (few + many) / 2;
    (measure_choice(q, without(middle), examples, make_runner).alone <= most ? many : few) = middle;
  }
  for (size_t i = 0; i < many; ++i) {
    const double decibels = -10 * std::log10(std::max(s.noise[order[i]][0].alone, 1e-30));
    reasons[s.nodes[order[i]]] =
        "alone it leaves the outputs " + std::to_string(std::lround(decibels)) + " dB above the noise";
  }
  choice = without(many);
  return reasons;
}

}  // namespace

Result quantize_int8(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
                     const Options& options) {
  const Quantizer q(model, calibration, make_runner, options);
  Choice choice = q.everything();
  std::map<std::string, std::string> reasons;
  if (options.most_noise > 0) reasons = spare(q, choice, calibration, make_runner, options.most_noise);
  Result r = q.build(choice);
  for (Decision& d : r.decisions) {
    if (const auto it = reasons.find(d.node); it != reasons.end()) d.reason = it->second;
  }
  return r;
}

}  // namespace skyline::quant
