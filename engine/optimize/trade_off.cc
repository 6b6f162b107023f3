#include "engine/optimize/trade_off.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "skyline/status.h"

namespace skyline {
namespace {

constexpr int32_t kRoot = -1;

struct Label {
  double cost, noise;
  int32_t step;  // into the steps that led here
};

// By increasing noise; of equal noise the cheaper first; then by what was made first, so that the answer does
// not depend on the sort.
bool before(const Label& a, const Label& b) {
  if (a.noise != b.noise) return a.noise < b.noise;
  return a.cost != b.cost ? a.cost < b.cost : a.step < b.step;
}

void keep_unbeaten(std::vector<Label>& labels) {
  std::sort(labels.begin(), labels.end(), before);
  double least = std::numeric_limits<double>::infinity();
  size_t kept = 0;
  for (const Label& l : labels) {
    if (l.cost >= least) continue;
    least = l.cost;
    labels[kept++] = l;
  }
  labels.resize(kept);
}

// Of labels whose noise lies in the same bucket the cheapest, which comes last; the least noise always stays.
void thin(std::vector<Label>& labels, double bucket) {
  const auto of = [&](const Label& l) {
    return l.noise > 0 ? std::floor(std::log(l.noise) / std::log1p(bucket))
                       : -std::numeric_limits<double>::infinity();
  };
  size_t kept = 1;
  for (size_t i = 1; i < labels.size(); ++i) {
    if (i + 1 < labels.size() && of(labels[i]) == of(labels[i + 1])) continue;
    labels[kept++] = labels[i];
  }
  labels.resize(kept);
}

}  // namespace

int TradeOff::add_node(std::vector<double> costs, std::vector<double> noises) {
  if (costs.empty() || costs.size() != noises.size())
    throw Error(Code::internal, "trade-off: a node needs as many costs as noises, and one at least");
  nodes_.push_back({std::move(costs), std::move(noises), {}, -1});
  return size() - 1;
}

void TradeOff::add_edge(int a, int b, std::vector<double> costs) {
  if (a == b || costs.size() != static_cast<size_t>(options(a)) * static_cast<size_t>(options(b)))
    throw Error(Code::internal, "trade-off: an edge needs a cost for each pair of options");
  if (a > b) {
    std::swap(a, b);
    const auto na = static_cast<size_t>(options(a)), nb = static_cast<size_t>(options(b));
    std::vector<double> turned(costs.size());
    for (size_t i = 0; i < na; ++i) {
      for (size_t j = 0; j < nb; ++j) turned[i * nb + j] = costs[j * na + i];
    }
    costs = std::move(turned);
  }
  // As seen from b, the later one.
  const auto na = static_cast<size_t>(options(a)), nb = static_cast<size_t>(options(b));
  Edge e{a, std::vector<double>(costs.size())};
  for (size_t i = 0; i < na; ++i) {
    for (size_t j = 0; j < nb; ++j) e.costs[j * na + i] = costs[i * nb + j];
  }
  nodes_[static_cast<size_t>(b)].back.push_back(std::move(e));
  int& last = nodes_[static_cast<size_t>(a)].last_reader;
  last = std::max(last, b);
}

TradeOff::Assignment TradeOff::evaluate(std::vector<int> options) const {
  Assignment a{std::move(options), 0, 0};
  for (size_t n = 0; n < nodes_.size(); ++n) {
    const auto mine = static_cast<size_t>(a.options[n]);
    a.cost += nodes_[n].costs[mine];
    a.noise += nodes_[n].noises[mine];
    for (const Edge& e : nodes_[n].back) {
      const auto theirs = static_cast<size_t>(a.options[static_cast<size_t>(e.other)]);
      a.cost += e.costs[mine * static_cast<size_t>(this->options(e.other)) + theirs];
    }
  }
  return a;
}

class TradeOff::Solver {
 public:
  Solver(const TradeOff& t, const Limits& limits) : t_(t), limits_(limits) { groups_[{}] = {{0, 0, kRoot}}; }

  Frontier solve() {
    for (int n = 0; n < t_.size(); ++n) decide(n);
    Frontier f;
    f.exact = exact_;
    for (const Label& l : groups_.begin()->second) f.points.push_back(t_.evaluate(trace(l)));
    return f;
  }

 private:
  using Way = std::vector<int>;  // options of the open nodes

  void decide(int n) {
    const TradeOff::Node& node = t_.nodes_[static_cast<size_t>(n)];
    std::vector<int> still_open;
    std::vector<size_t> keep;
    for (size_t i = 0; i < open_.size(); ++i) {
      if (t_.nodes_[static_cast<size_t>(open_[i])].last_reader <= n) continue;
      still_open.push_back(open_[i]);
      keep.push_back(i);
    }
    const bool opens = node.last_reader > n;
    std::map<Way, std::vector<Label>> next;
    for (const auto& [way, labels] : groups_) {
      for (int o = 0; o < t_.options(n); ++o) {
        const double cost = node.costs[static_cast<size_t>(o)] + edges(node, way, o);
        if (std::isinf(cost)) continue;
        Way to;
        for (size_t i : keep) to.push_back(way[i]);
        if (opens) to.push_back(o);
        std::vector<Label>& into = next[std::move(to)];
        for (const Label& l : labels) {
          into.push_back({l.cost + cost, l.noise + node.noises[static_cast<size_t>(o)],
                          static_cast<int32_t>(steps_.size())});
          steps_.push_back({l.step, o});
        }
      }
    }
    if (next.empty()) throw Error(Code::internal, "trade-off: every assignment is forbidden");
    groups_ = std::move(next);
    open_ = std::move(still_open);
    if (opens) open_.push_back(n);
    prune();
  }

  double edges(const TradeOff::Node& node, const Way& way, int option) const {
    double cost = 0;
    for (const Edge& e : node.back) {
      const auto at = std::find(open_.begin(), open_.end(), e.other) - open_.begin();
      cost += e.costs[static_cast<size_t>(option * t_.options(e.other) + way[static_cast<size_t>(at)])];
    }
    return cost;
  }

  void prune() {
    for (auto& [way, labels] : groups_) {
      keep_unbeaten(labels);
      for (double bucket = limits_.bucket; labels.size() > static_cast<size_t>(limits_.labels); bucket *= 2) {
        exact_ = false;
        thin(labels, bucket);
      }
    }
    if (groups_.size() <= static_cast<size_t>(limits_.ways)) return;
    // The ways whose best compromise is cheapest: cost times noise, each relative to the best there is.
    exact_ = false;
    double least_cost = std::numeric_limits<double>::infinity(), least_noise = least_cost;
    for (const auto& [way, labels] : groups_) {
      least_cost = std::min(least_cost, labels.back().cost);
      least_noise = std::min(least_noise, labels.front().noise);
    }
    const auto promise = [&](const std::vector<Label>& labels) {
      double best = std::numeric_limits<double>::infinity();
      for (const Label& l : labels)
        best = std::min(best, (l.cost - least_cost + 1e-12) * (l.noise - least_noise + 1e-12));
      return best;
    };
    std::vector<std::pair<double, Way>> ranked;
    for (const auto& [way, labels] : groups_) ranked.emplace_back(promise(labels), way);
    std::sort(ranked.begin(), ranked.end());
    for (size_t i = static_cast<size_t>(limits_.ways); i < ranked.size(); ++i)
      groups_.erase(ranked[i].second);
  }

  std::vector<int> trace(const Label& l) const {
    std::vector<int> options;
    for (int32_t s = l.step; s != kRoot; s = steps_[static_cast<size_t>(s)].from)
      options.push_back(steps_[static_cast<size_t>(s)].option);
    std::reverse(options.begin(), options.end());
    return options;
  }

  struct Step {
    int32_t from;
    int option;
  };
  const TradeOff& t_;
  const Limits& limits_;
  std::vector<int> open_;  // decided nodes that undecided ones have edges to
  std::map<Way, std::vector<Label>> groups_;
  std::vector<Step> steps_;
  bool exact_ = true;
};

TradeOff::Frontier TradeOff::solve(const Limits& limits) const {
  return Solver(*this, limits).solve();
}

TradeOff::Frontier TradeOff::brute_force() const {
  std::vector<Assignment> all;
  std::vector<int> options(nodes_.size(), 0);
  for (;;) {
    Assignment a = evaluate(options);
    if (!std::isinf(a.cost)) all.push_back(std::move(a));
    size_t n = 0;
    while (n < options.size() && ++options[n] == this->options(static_cast<int>(n))) options[n++] = 0;
    if (n == options.size()) break;
  }
  std::stable_sort(all.begin(), all.end(), [](const Assignment& a, const Assignment& b) {
    return a.noise != b.noise ? a.noise < b.noise : a.cost < b.cost;
  });
  Frontier f;
  for (Assignment& a : all) {
    if (f.points.empty() || a.cost < f.points.back().cost) f.points.push_back(std::move(a));
  }
  return f;
}

}  // namespace skyline
