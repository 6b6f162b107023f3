#include "engine/frontier/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace skyline::frontier {
namespace {

constexpr Unit kTimes[] = {{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}};
constexpr Unit kRates[] = {{"/s", 1}};
constexpr Unit kScores[] = {{"", 1}, {"%", 0.01}};
constexpr Unit kDrops[] = {{"pp", 0.01}, {"%", 0.01, true}};
constexpr Unit kSizes[] = {{"B", 1},           {"KB", 1e3}, {"KiB", 1024.0},      {"MB", 1e6},
                           {"MiB", 1048576.0}, {"GB", 1e9}, {"GiB", 1073741824.0}};

struct Misspelling {
  Axis axis;
  std::string_view wrong, right;
};
constexpr Misspelling kMisspellings[] = {
    {Axis::latency, "sec", "s"},
    {Axis::latency, "msec", "ms"},
    {Axis::latency, "usec", "us"},
    {Axis::latency, "nsec", "ns"},
    {Axis::latency, "seconds", "s"},
    {Axis::latency, "milliseconds", "ms"},
    {Axis::latency, "microseconds", "us"},
    {Axis::throughput, "fps", "/s"},
    {Axis::throughput, "qps", "/s"},
    {Axis::throughput, "hz", "/s"},
    {Axis::throughput, "s", "/s"},
    {Axis::throughput, "/sec", "/s"},
    {Axis::throughput, "/second", "/s"},
    {Axis::throughput, "persecond", "/s"},
    {Axis::accuracy_drop, "points", "pp"},
    {Axis::accuracy_drop, "p", "pp"},
    {Axis::accuracy_drop, "percent", "%"},
    {Axis::accuracy, "percent", "%"},
    {Axis::memory, "k", "KB"},
    {Axis::memory, "m", "MB"},
    {Axis::memory, "g", "GB"},
    {Axis::memory, "bytes", "B"},
};

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace

std::span<const Unit> units_of(Axis axis) {
  switch (axis) {
    case Axis::latency:
      return kTimes;
    case Axis::throughput:
      return kRates;
    case Axis::accuracy:
      return kScores;
    case Axis::accuracy_drop:
      return kDrops;
    case Axis::memory:
      return kSizes;
  }
  return {};
}

std::string unit_names(Axis axis) {
  std::vector<std::string_view> names;
  for (const Unit& u : units_of(axis)) {
    if (!u.name.empty() && u.name != "µs") names.push_back(u.name);
  }
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + std::string(names[i]);
  }
  return out;
}

std::string_view nearest_unit(Axis axis, std::string_view wrong) {
  const std::string w = lower(wrong);
  for (const Unit& u : units_of(axis)) {
    if (!u.name.empty() && lower(u.name) == w) return u.name;
  }
  for (const Misspelling& m : kMisspellings) {
    if (m.axis == axis && m.wrong == w) return m.right;
  }
  return "";
}

double to_base(const Unit& u, double x) {
  return u.scale < 1 ? x / std::round(1 / u.scale) : x * u.scale;
}
double from_base(const Unit& u, double base) {
  return u.scale < 1 ? base * std::round(1 / u.scale) : base / u.scale;
}

std::string shortest(double x) {
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof text, x);
  return error == std::errc() ? std::string(text, end) : std::to_string(x);
}

}  // namespace skyline::frontier

namespace skyline {
namespace {

// Three significant digits, or all digits before the point; at most `most` behind it.
std::string rounded(double x, int most = 6) {
  if (!std::isfinite(x)) return "-";
  // 0.9996 rounds to a number with one digit before the point.
  const int whole = x == 0 ? 1 : static_cast<int>(std::floor(std::log10(std::fabs(x) * 1.0005))) + 1;
  char text[400];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, x, std::chars_format::fixed, std::clamp(3 - whole, 0, most));
  return error == std::errc() ? std::string(text, end) : std::to_string(x);
}

// With the largest of the units that leaves at least 1 before the point.
std::string with_unit(double x, std::initializer_list<frontier::Unit> units) {
  const frontier::Unit* best = units.begin();
  for (const frontier::Unit& u : units) {
    if (std::fabs(x) >= u.scale * 0.9995) best = &u;
  }
  return rounded(x / best->scale) + " " + std::string(best->name);
}

}  // namespace

std::string format_quantity(Quantity q, double value, bool fraction) {
  switch (q.axis) {
    case Axis::latency:
      return with_unit(value, {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}});
    case Axis::throughput:
      return rounded(value) + " /s";
    case Axis::memory:
      return with_unit(value, {{"B", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}});
    case Axis::accuracy:
      return fraction ? rounded(100 * value, 2) + " %" : rounded(value);
    case Axis::accuracy_drop:
      return fraction ? rounded(100 * value, 2) + " pp" : rounded(value);
  }
  return "";
}

}  // namespace skyline
