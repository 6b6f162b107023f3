#include "engine/optimize/node_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "engine/optimize/race.h"

namespace skyline {
namespace {

using Index = std::map<std::string, size_t, std::less<>>;

// The contractions whose names, joined by '+', are `step`; a name may hold a '+' itself. Empty: none.
bool split_names(std::string_view step, const Index& index, std::vector<size_t>& found) {
  if (const auto it = index.find(step); it != index.end()) {
    found.push_back(it->second);
    return true;
  }
  for (size_t plus = step.find('+'); plus != std::string_view::npos; plus = step.find('+', plus + 1)) {
    const auto it = index.find(step.substr(0, plus));
    if (it == index.end()) continue;
    found.push_back(it->second);
    if (split_names(step.substr(plus + 1), index, found)) return true;
    found.pop_back();
  }
  return false;
}

// Durations of the steps of one session, by step.
struct Samples {
  std::vector<std::string> names;
  std::vector<std::vector<double>> seconds;  // [step][round]
  std::vector<double> whole;

  void add(const Profile& p) {
    if (names.empty()) {
      for (const StepRecord& r : p) names.push_back(r.node);
      seconds.resize(p.size());
    }
    double sum = 0;
    for (size_t i = 0; i < p.size() && i < seconds.size(); ++i) {
      seconds[i].push_back(p[i].duration_us * 1e-6);
      sum += seconds[i].back();
    }
    whole.push_back(sum);
  }
};

// Work of each node alone, as the f32 session's steps say; steps of several have only their sum.
void share_out(const Samples& s, const Index& index, size_t rung, NodeCosts& costs) {
  std::vector<double> here(costs.nodes.size(), 0);
  std::vector<bool> met(costs.nodes.size(), false);
  double rest = 0;
  for (size_t i = 0; i < s.names.size(); ++i) {
    const double t = median_of(s.seconds[i]);
    std::vector<size_t> parts;
    if (!split_names(s.names[i], index, parts)) {
      rest += t;
      continue;
    }
    // In proportion to what they take on the other rungs that have been measured, else evenly.
    double known = 0;
    const auto weight = [&](size_t n) {
      double least = std::numeric_limits<double>::infinity();
      for (double x : costs.seconds[n]) least = std::min(least, x);
      return std::isfinite(least) ? least : 0;
    };
    for (size_t n : parts) known += weight(n);
    for (size_t n : parts) {
      here[n] += known > 0 ? t * weight(n) / known : t / static_cast<double>(parts.size());
      met[n] = true;
    }
  }
  for (size_t n = 0; n < here.size(); ++n) {
    if (met[n]) costs.seconds[n][rung] = here[n];
  }
  costs.rest[rung] = rest;
  costs.total[rung] = median_of(s.whole);
}

}  // namespace

NodeCosts measure_node_costs(const std::vector<std::string>& nodes, const std::vector<RungSession>& sessions,
                             const std::vector<Value>& inputs, int rounds,
                             const std::function<void(int done, int total)>& progress) {
  NodeCosts costs;
  costs.nodes = nodes;
  Index index;
  for (size_t i = 0; i < nodes.size(); ++i) index.emplace(nodes[i], i);
  std::vector<Samples> samples(sessions.size());
  Profile profile;
  for (int round = -1; round < rounds; ++round) {  // the first run of each warms up
    for (size_t k = 0; k < sessions.size(); ++k) {
      const size_t s = (k + static_cast<size_t>(round + 1)) % sessions.size();
      (void)sessions[s].session->run_profiled(inputs, profile);
      if (round >= 0) samples[s].add(profile);
    }
    if (progress) progress(round + 1, rounds);
  }
  const double never = std::numeric_limits<double>::infinity();
  costs.seconds.assign(nodes.size(), std::vector<double>(sessions.size(), never));
  costs.rest.assign(sessions.size(), 0);
  costs.total.assign(sessions.size(), 0);
  for (const RungSession& s : sessions) costs.rungs.push_back(s.rung);
  // Backwards: lower rungs compute nodes one by one, and say how to share out what f32 joins.
  for (size_t s = sessions.size(); s-- > 0;) share_out(samples[s], index, s, costs);
  return costs;
}

}  // namespace skyline
