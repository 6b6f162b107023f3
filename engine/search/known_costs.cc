#include "engine/search/known_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skyline {
namespace {

constexpr int kProfileRounds = 15;  // runs of each rung that products' times come from
constexpr int kCheckRounds = 5;     // of f32, where the table knows all

}  // namespace

std::string KnownCosts::key(size_t product, Precision rung) const {
  const auto& kernels = variants_.wishes().kernels;
  const auto kernel = kernels.find(variants_.flow().products[product].name);
  const bool wished = rung == Precision::f32 && kernel != kernels.end();
  return variants_.cost_key(product, rung, wished ? kernel->second : "");
}

// Of all that is no product, in this model.
std::string KnownCosts::rest_key(Precision rung) const {
  std::string all;
  for (size_t i = 0; i < variants_.flow().products.size(); ++i)
    all += variants_.cost_key(i, Precision::f32, "") + "\n";
  for (const auto& [node, layout] : variants_.wishes().layouts) all += node + " " + layout + "\n";
  return variants_.cost_key("rest of " + std::to_string(std::hash<std::string>{}(all)), rung);
}

bool KnownCosts::knows(Precision rung) const {
  if (!table_ || !table_->find(rest_key(rung))) return false;
  for (size_t i = 0; i < variants_.flow().products.size(); ++i) {
    if (variants_.can(i, rung) && !table_->find(key(i, rung))) return false;
  }
  return true;
}

double KnownCosts::speed(const NodeCosts& now) const {
  std::vector<std::pair<double, double>> pairs;
  for (size_t i = 0; table_ && i < now.nodes.size(); ++i) {
    if (const auto known = table_->find(key(i, Precision::f32)))
      pairs.emplace_back(*known, now.seconds[i][0]);
  }
  return speed_factor(pairs);
}

void KnownCosts::put(const std::string& key, double seconds) {
  if (table_) table_->put(key, seconds);
}

NodeCosts KnownCosts::measure(const std::vector<std::string>& names, const std::vector<RungSession>& sessions,
                              const std::vector<Value>& inputs,
                              const std::function<void(int done, int total)>& progress) {
  std::vector<RungSession> unknown{sessions[0]};
  for (size_t s = 1; s < sessions.size(); ++s) {
    if (!knows(sessions[s].rung)) unknown.push_back(sessions[s]);
  }
  const int rounds = unknown.size() == 1 && knows(Precision::f32) ? kCheckRounds : kProfileRounds;
  const NodeCosts now = measure_node_costs(names, unknown, inputs, rounds, progress);
  const double speed = this->speed(now);
  NodeCosts costs{names, {}, std::vector<std::vector<double>>(names.size()), {}, {}};
  for (const RungSession& session : sessions) {
    const auto at = std::find(now.rungs.begin(), now.rungs.end(), session.rung);
    const bool measured = at != now.rungs.end();
    const auto r = static_cast<size_t>(at - now.rungs.begin());
    costs.rungs.push_back(session.rung);
    for (size_t i = 0; i < names.size(); ++i) {
      const auto known = measured || !table_ ? std::nullopt : table_->find(key(i, session.rung));
      costs.seconds[i].push_back(measured ? now.seconds[i][r]
                                 : known  ? *known * speed
                                          : std::numeric_limits<double>::infinity());
      if (measured) put(key(i, session.rung), now.seconds[i][r] / speed);
      ++(measured ? measured_count_ : known_count_);
    }
    costs.rest.push_back(measured ? now.rest[r] : table_->find(rest_key(session.rung)).value() * speed);
    costs.total.push_back(measured ? now.total[r] : 0);
    if (measured) put(rest_key(session.rung), std::max(now.rest[r], 1e-9) / speed);
  }
  return costs;
}

}  // namespace skyline
