#include "skyline/frontier.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/frontier/axes.h"
#include "graph/ir/precision.h"
#include "kernels/base/cpu.h"
#include "skyline/isa.h"

namespace skyline {

const std::optional<Estimate>& Figures::get(Quantity q) const {
  switch (q.axis) {
    case Axis::throughput:
      return throughput;
    case Axis::accuracy:
      return accuracy;
    case Axis::accuracy_drop:
      return accuracy_drop;
    case Axis::memory:
      return memory;
    default:
      return latency[static_cast<size_t>(q.statistic)];
  }
}
std::optional<Estimate>& Figures::get(Quantity q) {
  return const_cast<std::optional<Estimate>&>(std::as_const(*this).get(q));
}

std::string_view name(PointState s) noexcept {
  constexpr std::string_view kNames[] = {"predicted", "measured", "dominated"};
  return kNames[static_cast<size_t>(s)];
}

const std::optional<Estimate>& Point::figure(Quantity q) const {
  const auto& m = measured.get(q);
  return m ? m : predicted.get(q);
}

const NodeChoice* Point::choice(std::string_view node) const {
  const auto it =
      std::find_if(choices.begin(), choices.end(), [&](const NodeChoice& c) { return c.node == node; });
  return it == choices.end() ? nullptr : &*it;
}

SessionOptions session_options(const Point& p) {
  SessionOptions o;
  o.threads = p.threads;
  o.precision = p.precision;
  o.layouts = p.layouts;
  for (const NodeChoice& c : p.choices) {
    if (!c.layout.empty()) o.node_layouts[c.node] = c.layout;
    if (c.rung != Precision::f32 || is_contraction(c.op)) o.node_precision[c.node] = c.rung;
  }
  return o;
}

std::map<std::string, std::string> machine_facts() {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  utsname os{};
  uname(&os);
  return {{"cpu", cpu.model},
          {"isa", isa_to_string(isa_detected())},
          {"cpus", std::to_string(cpu.usable_cpus)},
          {"l1d_kib", std::to_string(cpu.l1d >> 10)},
          {"l2_kib", std::to_string(cpu.l2 >> 10)},
          {"l3_kib", std::to_string(cpu.l3 >> 10)},
          {"os", std::string(os.sysname) + " " + os.release}};
}

std::string machine_difference(const std::map<std::string, std::string>& a,
                               const std::map<std::string, std::string>& b) {
  std::set<std::string> keys;
  for (const auto& [key, value] : a) keys.insert(key);
  for (const auto& [key, value] : b) keys.insert(key);
  keys.erase("os");
  const auto get = [](const std::map<std::string, std::string>& m, const std::string& key) {
    const auto it = m.find(key);
    return it == m.end() ? std::string("(unknown)") : it->second;
  };
  for (const std::string& key : keys) {
    if (get(a, key) != get(b, key))
      return key + " is '" + get(a, key) + "' there and '" + get(b, key) + "' here";
  }
  return "";
}

const Point* Frontier::find(std::string_view id) const {
  const auto it = std::find_if(points.begin(), points.end(), [&](const Point& p) { return p.id == id; });
  return it == points.end() ? nullptr : &*it;
}

size_t Frontier::index_of(std::string_view id) const {
  if (const Point* p = find(id)) return static_cast<size_t>(p - points.data());
  constexpr size_t kShown = 12;
  std::string known;
  for (size_t i = 0; i < std::min(points.size(), kShown); ++i) known += (i ? ", " : "") + points[i].id;
  if (points.size() > kShown) known += ", ...";
  throw Error(Code::input,
              "no point '" + std::string(id) + "'; there are " + (known.empty() ? "none" : known));
}

std::vector<size_t> Frontier::candidates() const {
  std::vector<size_t> out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].state != PointState::predicted) out.push_back(i);
  }
  if (out.empty()) {
    for (size_t i = 0; i < points.size(); ++i) out.push_back(i);
  }
  return out;
}

namespace {

using frontier::Goodness;

bool dominates(const std::vector<Goodness>& a, const std::vector<Goodness>& b) {
  bool surely_better = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].value < b[i].value) return false;
    surely_better |= a[i].low > b[i].high;
  }
  return surely_better;
}

}  // namespace

namespace frontier {

std::vector<Quantity> shared_axes(const Frontier& f, std::span<const size_t> among) {
  std::vector<Quantity> axes;
  for (const Quantity q : {Quantity{Axis::latency}, Quantity{Axis::throughput}, Quantity{Axis::accuracy}}) {
    if (std::all_of(among.begin(), among.end(), [&](size_t i) { return f.points[i].figure(q).has_value(); }))
      axes.push_back(q);
  }
  return axes;
}

Goodness goodness(const Frontier& f, const Point& p, Quantity q) {
  const Estimate e = *p.figure(q);
  const bool larger_is_better =
      q.axis == Axis::throughput || (q.axis == Axis::accuracy && f.info.metric.larger_is_better);
  return larger_is_better ? Goodness{e.value, e.low, e.high} : Goodness{-e.value, -e.high, -e.low};
}

}  // namespace frontier

std::vector<size_t> Frontier::pareto() const {
  const std::vector<size_t> among = candidates();
  const std::vector<Quantity> axes = frontier::shared_axes(*this, among);
  std::vector<std::vector<Goodness>> good;
  for (size_t i : among) {
    std::vector<Goodness>& row = good.emplace_back();
    for (const Quantity q : axes) row.push_back(frontier::goodness(*this, points[i], q));
  }
  std::vector<size_t> out;
  for (size_t i = 0; i < among.size(); ++i) {
    const bool beaten =
        std::any_of(good.begin(), good.end(), [&](const auto& other) { return dominates(other, good[i]); });
    if (!beaten) out.push_back(among[i]);
  }
  return out;
}

void Frontier::update_states() {
  for (Point& p : points) {
    if (p.state == PointState::measured) p.state = PointState::dominated;
  }
  for (size_t i : pareto()) {
    if (points[i].state == PointState::dominated) points[i].state = PointState::measured;
  }
}

namespace {

// Times and rates count by their ratios, scores by their differences.
double scaled_goodness(const Frontier& f, const Point& p, Quantity q) {
  const double g = frontier::goodness(f, p, q).value;
  if (q.axis == Axis::accuracy || g == 0) return g;
  return g > 0 ? std::log(g) : -std::log(-g);
}

}  // namespace

std::optional<size_t> Frontier::knee() const {
  const std::vector<size_t> among = pareto();
  if (among.empty()) return std::nullopt;
  std::vector<double> sum(among.size());
  for (const Quantity q : frontier::shared_axes(*this, among)) {
    double low = INFINITY, high = -INFINITY;
    for (size_t i : among) {
      const double g = scaled_goodness(*this, points[i], q);
      low = std::min(low, g);
      high = std::max(high, g);
    }
    if (!(high > low)) continue;
    for (size_t k = 0; k < among.size(); ++k)
      sum[k] += (scaled_goodness(*this, points[among[k]], q) - low) / (high - low);
  }
  return among[static_cast<size_t>(std::max_element(sum.begin(), sum.end()) - sum.begin())];
}

namespace {

bool same_plan(const Point& a, const Point& b) {
  if (a.precision != b.precision || a.batch != b.batch || a.streams != b.streams || a.threads != b.threads ||
      a.layouts != b.layouts || a.choices.size() != b.choices.size())
    return false;
  return std::equal(
      a.choices.begin(), a.choices.end(), b.choices.begin(), [](const NodeChoice& x, const NodeChoice& y) {
        return x.node == y.node && x.rung == y.rung && x.kernel == y.kernel && x.layout == y.layout;
      });
}

bool better_known(const Point& a, const Point& b) {
  const bool am = a.state != PointState::predicted, bm = b.state != PointState::predicted;
  return am != bm ? am : a.samples > b.samples;
}

void refuse(const std::string& why) {
  throw Error(Code::input, "these frontiers cannot be merged: " + why);
}

}  // namespace

void Frontier::merge(const Frontier& other) {
  const FrontierInfo &a = info, &b = other.info;
  if (a.model_sha1 != b.model_sha1) {
    refuse("they are of different models: '" + a.model + "' (SHA-1 " + a.model_sha1.substr(0, 10) +
           ") and '" + b.model + "' (" + b.model_sha1.substr(0, 10) + ")");
  }
  if (const std::string why = machine_difference(b.machine, a.machine); !why.empty())
    refuse("they were measured on different machines: " + why);
  if (!(a.metric == b.metric))
    refuse("their accuracies are '" + a.metric.name + "' and '" + b.metric.name + "'");
  if (!(a.data == b.data)) refuse("they saw different data, or other parts of it");
  for (const Point& p : other.points) {
    const auto same =
        std::find_if(points.begin(), points.end(), [&](const Point& mine) { return same_plan(mine, p); });
    if (same != points.end()) {
      if (!better_known(p, *same)) continue;
      const std::string id = same->id;
      *same = p;
      same->id = id;
      continue;
    }
    points.push_back(p);
    for (int n = 2; std::count_if(points.begin(), points.end(),
                                  [&](const Point& q) { return q.id == points.back().id; }) > 1;
         ++n)
      points.back().id = p.id + "." + std::to_string(n);
  }
  update_states();
}

}  // namespace skyline
