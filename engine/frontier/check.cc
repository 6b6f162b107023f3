#include "engine/frontier/check.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace skyline::frontier {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(Code::invalid, "frontier: " + where + " " + what);
}

void check_text(const std::string& where, const std::string& s) {
  if (s.size() > kMostText) fail(where, "is longer than " + std::to_string(kMostText) + " bytes");
}

template <class T>
void check_range(const std::string& where, T x, T low, T high) {
  if (!(x >= low && x <= high))
    fail(where,
         "is " + std::to_string(x) + ", outside " + std::to_string(low) + " to " + std::to_string(high));
}

void check_figure(const std::string& where, const std::optional<Estimate>& e, double low, double high) {
  if (!e) return;
  if (!std::isfinite(e->value) || !std::isfinite(e->low) || !std::isfinite(e->high))
    fail(where, "is not a finite number");
  check_range(where, e->value, low, high);
  if (!(e->low <= e->value && e->value <= e->high)) fail(where, "lies outside its own interval");
}

void check_figures(const std::string& where, const Figures& x, const AccuracyMetric& metric) {
  constexpr double kLongest = 1e9, kFastest = 1e15, kLargest = 1e18, kScore = 1e12;
  for (int s = 0; s < kStatistics; ++s) {
    const Quantity q{Axis::latency, static_cast<Statistic>(s)};
    check_figure(where + "." + to_string(q), x.get(q), 0, kLongest);
  }
  check_figure(where + ".throughput", x.throughput, 0, kFastest);
  check_figure(where + ".memory", x.memory, 0, kLargest);
  const double one = metric.fraction ? 1 : kScore;
  check_figure(where + ".accuracy", x.accuracy, metric.fraction ? 0 : -kScore, one);
  check_figure(where + ".accuracy.drop", x.accuracy_drop, -one, one);
}

void check_choices(const std::string& where, const std::vector<NodeChoice>& choices) {
  if (choices.size() > kMostChoices)
    fail(where, "has more than " + std::to_string(kMostChoices) + " choices");
  std::set<std::string_view> names;
  for (size_t i = 0; i < choices.size(); ++i) {
    const NodeChoice& c = choices[i];
    const std::string place = where + ".choices[" + std::to_string(i) + "]";
    for (const std::string* s : {&c.node, &c.op, &c.kernel, &c.reason, &c.layout}) check_text(place, *s);
    if (c.node.empty()) fail(place, "names no node");
    if (!names.insert(c.node).second) fail(place, "is about a node that came before");
    check_range(place + ".time_share", c.time_share, 0.0, 1.0);
    check_range(place + ".noise", c.noise, 0.0, 1e300);
  }
}

void check_point(const std::string& where, const Point& p, const AccuracyMetric& metric) {
  check_text(where + ".id", p.id);
  check_text(where + ".provenance", p.provenance);
  if (p.id.empty()) fail(where, "has no id");
  check_range<int64_t>(where + ".batch", p.batch, 1, 1 << 20);
  check_range(where + ".streams", p.streams, 1, 1024);
  check_range(where + ".threads", p.threads, 1, 1024);
  check_range<int64_t>(where + ".samples", p.samples, 0, int64_t{1} << 60);
  check_figures(where + ".predicted", p.predicted, metric);
  check_figures(where + ".measured", p.measured, metric);
  check_choices(where, p.choices);
}

void check_info(const FrontierInfo& info) {
  for (const std::string* s : {&info.model, &info.metric.name, &info.data.source, &info.tool})
    check_text("info", *s);
  if (info.machine.size() > 100) fail("machine", "has more than 100 entries");
  for (const auto& [key, value] : info.machine) {
    check_text("machine", key);
    check_text("machine", value);
  }
  const std::string& sha = info.model_sha1;
  if (!sha.empty() && (sha.size() != 40 || sha.find_first_not_of("0123456789abcdef") != std::string::npos))
    fail("model.sha1", "is not 40 hexadecimal digits");
  for (const auto& [value, mean] : info.means) {
    check_text("means", value);
    if (std::any_of(mean.begin(), mean.end(), [](double m) { return !std::isfinite(m); }))
      fail("means." + value, "is not finite");
  }
  for (const auto& [value, range] : info.ranges) {
    check_text("ranges", value);
    if (!std::isfinite(range.first) || !std::isfinite(range.second) || !(range.first <= range.second))
      fail("ranges." + value, "is not from low to high");
  }
  for (int64_t n : {info.data.calibration, info.data.selection, info.data.report})
    check_range<int64_t>("data", n, 0, int64_t{1} << 60);
}

}  // namespace

void check(const Frontier& f) {
  check_info(f.info);
  if (f.points.size() > kMostPoints) fail("points", "are more than " + std::to_string(kMostPoints));
  std::set<std::string_view> ids;
  for (size_t i = 0; i < f.points.size(); ++i) {
    const std::string where = "points[" + std::to_string(i) + "]";
    check_point(where, f.points[i], f.info.metric);
    if (!ids.insert(f.points[i].id).second) fail(where + ".id", "'" + f.points[i].id + "' is there twice");
  }
}

}  // namespace skyline::frontier
