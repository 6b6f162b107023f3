#include "engine/cli/frontier_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/cli/cli.h"

namespace skyline::cli {
namespace {

constexpr Quantity kLatency{Axis::latency}, kLatency99{Axis::latency, Statistic::p99},
    kThroughput{Axis::throughput}, kAccuracy{Axis::accuracy}, kDrop{Axis::accuracy_drop},
    kMemory{Axis::memory};
constexpr Quantity kShown[] = {{Axis::latency, Statistic::mean},
                               {Axis::latency, Statistic::p50},
                               {Axis::latency, Statistic::p90},
                               {Axis::latency, Statistic::p99},
                               kThroughput,
                               kAccuracy,
                               kDrop,
                               kMemory};

std::string show(const Frontier& f, const Point& p, Quantity q, bool interval = false) {
  const auto& e = p.figure(q);
  if (!e) return "-";
  const bool fraction = f.info.metric.fraction;
  std::string value = format_quantity(q, e->value, fraction);
  if (!interval || e->low == e->high) return value;
  return fmt::format("{} ({} to {})", value, format_quantity(q, e->low, fraction),
                     format_quantity(q, e->high, fraction));
}

char mark(const Point& p) {
  return p.state == PointState::measured ? '*' : p.state == PointState::dominated ? '.' : '?';
}

// Columns as wide as their widest cell; a column whose heading starts with '<' is aligned left.
std::string table(const std::vector<std::string>& headings,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  width.reserve(headings.size());
  for (const std::string& h : headings) width.push_back(h.size() - (h[0] == '<'));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const bool left = headings[i][0] == '<';
      text += i ? "  " : "";
      text += left ? fmt::format("{:<{}}", cells[i], width[i]) : fmt::format("{:>{}}", cells[i], width[i]);
    }
    out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  std::vector<std::string> names;
  names.reserve(headings.size());
  for (const std::string& h : headings) names.push_back(h[0] == '<' ? h.substr(1) : h);
  line(names);
  for (const auto& row : rows) line(row);
  return out;
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  // Where x lies, as one of `cells`.
  int cell(double x, int cells) const {
    if (!(high > low)) return cells / 2;
    return std::clamp(static_cast<int>(std::lround((x - low) / (high - low) * (cells - 1))), 0, cells - 1);
  }
};

struct Canvas {
  int columns, rows;
  std::vector<std::string> cells;
  Canvas(int c, int r) : columns(c), rows(r), cells(static_cast<size_t>(c) * static_cast<size_t>(r), " ") {}
  void put(int x, int y, const std::string& s) {
    if (x >= 0 && x < columns && y >= 0 && y < rows)
      cells[static_cast<size_t>(y) * static_cast<size_t>(columns) + static_cast<size_t>(x)] = s;
  }
  std::string row(int y) const {
    std::string out;
    for (int x = 0; x < columns; ++x)
      out += cells[static_cast<size_t>(y) * static_cast<size_t>(columns) + static_cast<size_t>(x)];
    return out.substr(0, out.find_last_not_of(' ') + 1);
  }
};

// The ids of frontier points beside their marks, where there is room.
void label(Canvas& canvas, int x, int y, const std::string& id) {
  const int n = static_cast<int>(id.size());
  for (const int at : {x + 1, x - n}) {
    bool free = at >= 0 && at + n <= canvas.columns;
    for (int i = 0; i < n && free; ++i)
      free = canvas.cells[static_cast<size_t>(y) * static_cast<size_t>(canvas.columns) +
                          static_cast<size_t>(at + i)] == " ";
    if (!free) continue;
    for (int i = 0; i < n; ++i) canvas.put(at + i, y, std::string(1, id[static_cast<size_t>(i)]));
    return;
  }
}

}  // namespace

std::string rungs_of(const Point& p) {
  std::map<Precision, int> count;
  for (const NodeChoice& c : p.choices) ++count[c.rung];
  std::string out;
  for (const auto& [rung, n] : count) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, name(rung));
  return out.empty() ? std::string(name(p.precision)) : out;
}

std::string point_table(const Frontier& f) {
  std::vector<const Point*> sorted;
  sorted.reserve(f.points.size());
  for (const Point& p : f.points) sorted.push_back(&p);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Point* a, const Point* b) {
    const auto &x = a->figure(kLatency), &y = b->figure(kLatency);
    return x && y ? x->value < y->value : x.has_value() > y.has_value();
  });
  std::vector<std::vector<std::string>> rows;
  rows.reserve(sorted.size());
  for (const Point* p : sorted) {
    rows.push_back({std::string(1, mark(*p)), printable(p->id, 24), show(f, *p, kLatency),
                    show(f, *p, kLatency99), show(f, *p, kThroughput), show(f, *p, kAccuracy),
                    show(f, *p, kDrop), show(f, *p, kMemory), std::to_string(p->batch),
                    fmt::format("{}x{}", p->streams, p->threads), rungs_of(*p)});
  }
  const std::string metric = printable(f.info.metric.name, 24);
  return table({"<", "<point", "latency p50", "p99", "throughput", metric, "drop", "memory", "batch",
                "streams x threads", "<nodes"},
               rows);
}

std::string point_plot(const Frontier& f, int columns, int rows) {
  const auto has = [&](Quantity q) {
    return std::any_of(f.points.begin(), f.points.end(),
                       [&](const Point& p) { return p.figure(q).has_value(); });
  };
  const Quantity up = has(kAccuracy) ? kAccuracy : kThroughput;
  if (!has(kLatency) || !has(up)) return "";
  Range xs, ys;
  for (const Point& p : f.points) {
    if (!p.figure(kLatency) || !p.figure(up)) continue;
    xs.add(p.figure(kLatency)->value);
    ys.add(p.figure(up)->value);
  }
  const bool logarithmic = xs.low > 0 && xs.high > 10 * xs.low;
  const Range scaled = logarithmic ? Range{std::log(xs.low), std::log(xs.high)} : xs;
  const auto place = [&](double x) { return scaled.cell(logarithmic ? std::log(x) : x, columns); };
  Canvas canvas(columns, rows);
  for (const bool frontier : {true, false}) {  // marks of all first, then names where room is left
    for (const PointState s : {PointState::predicted, PointState::dominated, PointState::measured}) {
      for (const Point& p : f.points) {
        if (p.state != s || !p.figure(kLatency) || !p.figure(up)) continue;
        const int x = place(p.figure(kLatency)->value), y = rows - 1 - ys.cell(p.figure(up)->value, rows);
        if (frontier) {
          canvas.put(x, y,
                     s == PointState::measured    ? "\u25cf"
                     : s == PointState::dominated ? "\u00b7"
                                                  : "\u25cb");
        } else if (s == PointState::measured) {
          label(canvas, x, y, printable(p.id, 12));
        }
      }
    }
  }
  const bool fraction = f.info.metric.fraction;
  const std::string top = format_quantity(up, ys.high, fraction),
                    bottom = format_quantity(up, ys.low, fraction);
  const size_t margin = std::max(top.size(), bottom.size());
  std::string out = fmt::format("{}\n", up == kAccuracy ? printable(f.info.metric.name, 40) : "throughput");
  for (int y = 0; y < rows; ++y)
    out += fmt::format("{:>{}} \u2502{}\n",
                       y == 0          ? top
                       : y == rows - 1 ? bottom
                                       : "",
                       margin, canvas.row(y));
  std::string axis;
  for (int x = 0; x < columns; ++x) axis += "\u2500";
  const std::string left = format_quantity(kLatency, xs.low), right = format_quantity(kLatency, xs.high);
  out += fmt::format("{:>{}} \u2514{}\n", "", margin, axis);
  const std::string middle = fmt::format("latency p50{}", logarithmic ? ", logarithmic" : "");
  out += fmt::format("{:>{}}  {}{:^{}}{}\n", "", margin, left, middle,
                     std::max(1, columns - static_cast<int>(left.size() + right.size())), right);
  return out + fmt::format("{:>{}}  \u25cf frontier   \u00b7 dominated   \u25cb predicted, not measured\n",
                           "", margin);
}

std::string point_figures(const Frontier& f, const Point& p) {
  std::string out =
      fmt::format("{}  ({}; batch {}, {} stream{} of {} thread{}, {} layouts; {})\n", printable(p.id, 40),
                  name(p.state), p.batch, p.streams, p.streams == 1 ? "" : "s", p.threads,
                  p.threads == 1 ? "" : "s", name(p.layouts), rungs_of(p));
  for (const Quantity q : kShown) {
    if (!p.figure(q)) continue;
    const std::string what = q == kAccuracy ? printable(f.info.metric.name, 16) : to_string(q);
    const auto &m = p.measured.get(q), &guess = p.predicted.get(q);
    const std::string note =
        !m      ? "   predicted"
        : guess ? fmt::format("   predicted {}", format_quantity(q, guess->value, f.info.metric.fraction))
                : "";
    out += fmt::format("  {:<16} {}{}\n", what, show(f, p, q, true), note);
  }
  if (!p.provenance.empty()) out += fmt::format("  {:<16} {}\n", "found by", printable(p.provenance));
  return out;
}

std::string choice_table(const Point& p) {
  double noise = 0;
  for (const NodeChoice& c : p.choices) noise += c.noise;
  std::vector<std::vector<std::string>> rows;
  for (const NodeChoice& c : p.choices) {
    rows.push_back({printable(c.node, 40), printable(c.op, 20), std::string(name(c.rung)),
                    fmt::format("{:.1f} %", 100 * c.time_share),
                    noise > 0 ? fmt::format("{:.1f} %", 100 * c.noise / noise) : "-", printable(c.kernel, 28),
                    printable(c.layout, 20), printable(c.reason, 120)});
  }
  return rows.empty()
             ? ""
             : table({"<node", "<operator", "<rung", "time", "noise", "<kernel", "<layout", "<why"}, rows);
}

std::string choice_text(const NodeChoice* c) {
  if (!c) return "-";
  std::string out(name(c->rung));
  for (const std::string* wish : {&c->kernel, &c->layout}) {
    if (!wish->empty()) out += ", " + *wish;
  }
  return out;
}

std::string difference(const Frontier& fa, const Point& a, const Frontier& fb, const Point& b) {
  std::vector<std::vector<std::string>> rows;
  for (const Quantity q : kShown) {
    const auto &x = a.figure(q), &y = b.figure(q);
    if (!x && !y) continue;
    const bool score = q == kAccuracy || q == kDrop;
    std::string change = "-";
    if (x && y && score) {
      const double d = y->value - x->value;
      change = (d >= 0 ? "+" : "") + format_quantity(kDrop, d, fa.info.metric.fraction);
    } else if (x && y && x->value > 0) {
      change = fmt::format("{:.3g} times", y->value / x->value);
    }
    rows.push_back({to_string(q), show(fa, a, q), show(fb, b, q), change});
  }
  const auto setting = [&](const char* what, const std::string& x, const std::string& y) {
    if (x != y) rows.push_back({what, x, y, ""});
  };
  setting("batch", std::to_string(a.batch), std::to_string(b.batch));
  setting("streams", std::to_string(a.streams), std::to_string(b.streams));
  setting("threads", std::to_string(a.threads), std::to_string(b.threads));
  setting("layouts", std::string(name(a.layouts)), std::string(name(b.layouts)));
  setting("other nodes", std::string(name(a.precision)), std::string(name(b.precision)));
  std::string out = table({"<", printable(a.id, 30), printable(b.id, 30), "change"}, rows);

  std::vector<std::vector<std::string>> nodes;
  const auto add = [&](const std::string& node, const NodeChoice* x, const NodeChoice* y) {
    const std::string here = choice_text(x), there = choice_text(y);
    if (here == there) return;
    nodes.push_back({printable(node, 40), printable(here, 60), printable(there, 60),
                     printable(y && !y->reason.empty() ? y->reason
                               : x                     ? x->reason
                                                       : "",
                               120)});
  };
  for (const NodeChoice& c : a.choices) add(c.node, &c, b.choice(c.node));
  for (const NodeChoice& c : b.choices) {
    if (!a.choice(c.node)) add(c.node, nullptr, &c);
  }
  if (nodes.empty()) return out + "\nall nodes are computed the same way\n";
  return out + fmt::format("\n{} nodes differ\n", nodes.size()) +
         table({"<node", "<" + printable(a.id, 30), "<" + printable(b.id, 30), "<why"}, nodes);
}

}  // namespace skyline::cli
