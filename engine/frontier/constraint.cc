// The language of constraints and objectives: a scanner, and errors that show the place.
#include "skyline/constraint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "engine/frontier/units.h"

namespace skyline {
namespace {

using frontier::Unit;

constexpr size_t kMostText = 400;
constexpr std::string_view kStatisticNames[kStatistics] = {"mean", "p50", "p90", "p99"};
constexpr std::string_view kKnown =
    "latency.mean, latency.p50, latency.p90, latency.p99, throughput, accuracy, accuracy.drop and memory";

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

// One text being read. Errors show it with a mark below the place.
class Scanner {
 public:
  Scanner(std::string_view what, std::string_view text) : what_(what), text_(text) {
    if (text.size() > kMostText) {
      throw Error(Code::invalid, std::string(what) + ": longer than " + std::to_string(kMostText) + " bytes");
    }
  }

  [[noreturn]] void fail(size_t at, const std::string& problem, const std::string& fix) const {
    std::string shown(text_), mark;
    for (char& c : shown) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    for (size_t i = 0; i < at && i < text_.size(); ++i) {
      if ((static_cast<unsigned char>(text_[i]) & 0xc0) != 0x80) mark += ' ';  // a column per character
    }
    throw Error(Code::invalid,
                std::string(what_) + ": " + problem + "\n    " + shown + "\n    " + mark + "^ " + fix);
  }

  size_t at() const { return at_; }
  bool done() {
    skip();
    return at_ == text_.size();
  }
  void skip() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  bool take(std::string_view s) {
    skip();
    if (!text_.substr(at_).starts_with(s)) return false;
    at_ += s.size();
    return true;
  }
  std::string_view peek(size_t n = 1) {
    skip();
    return text_.substr(at_, n);
  }
  std::string_view word() {
    skip();
    const size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  // Letters, %, / and whatever is no ASCII: what a unit may be spelled with.
  std::string_view unit() {
    skip();
    const size_t begin = at_;
    const auto fits = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '%' || c == '/' ||
             static_cast<unsigned char>(c) >= 0x80;
    };
    while (at_ < text_.size() && fits(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  double number(const std::string& example) {
    skip();
    const char* begin = text_.data() + at_;
    double x = 0;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), x);
    if (error == std::errc::result_out_of_range) fail(at_, "this number is out of range", "write " + example);
    if (error != std::errc()) fail(at_, "a number is missing", "write " + example);
    if (!std::isfinite(x)) fail(at_, "the bound must be a finite number", "write " + example);
    at_ += static_cast<size_t>(end - begin);
    return x;
  }

 private:
  std::string_view what_, text_;
  size_t at_ = 0;
};

std::optional<Quantity> quantity_named(std::string_view s) {
  if (s == "latency") return Quantity{Axis::latency};
  if (s == "throughput") return Quantity{Axis::throughput};
  if (s == "accuracy") return Quantity{Axis::accuracy};
  if (s == "accuracy.drop") return Quantity{Axis::accuracy_drop};
  if (s == "memory") return Quantity{Axis::memory};
  for (size_t i = 0; i < kStatistics; ++i) {
    if (s == "latency." + std::string(kStatisticNames[i]))
      return Quantity{Axis::latency, static_cast<Statistic>(i)};
  }
  return std::nullopt;
}

Quantity read_quantity(Scanner& in) {
  in.skip();
  const size_t at = in.at();
  const std::string word(in.word());
  if (const auto q = quantity_named(word)) return *q;
  if (word.empty()) in.fail(at, "the name of a quantity is missing", "write one of " + std::string(kKnown));
  std::string meant;
  if (word.starts_with("latency.") || word.starts_with("p9") || word.starts_with("p5")) {
    meant = "latency has mean, p50, p90 and p99";
  } else if (word == "drop" || word.starts_with("accuracy.")) {
    meant = "accuracy.drop is what is lost against f32";
  } else if (word == "qps" || word == "fps") {
    meant = "write throughput";
  } else {
    meant = "known are " + std::string(kKnown);
  }
  in.fail(at, "'" + word + "' is not a quantity", meant);
}

bool read_at_most(Scanner& in, Quantity q) {
  in.skip();
  const size_t at = in.at();
  if (in.take("<=") || in.take("\u2264")) return true;
  if (in.take(">=") || in.take("\u2265")) return false;
  const std::string_view good = q.axis == Axis::throughput || q.axis == Axis::accuracy ? ">=" : "<=";
  if (in.peek() == "<") in.fail(at, "bounds are inclusive", "write <=");
  if (in.peek() == ">") in.fail(at, "bounds are inclusive", "write >=");
  in.fail(at, "a comparison is missing after " + to_string(q),
          "write <= or >=, here probably " + std::string(good));
}

std::string example_of(Axis axis) {
  switch (axis) {
    case Axis::latency:
      return "5ms";
    case Axis::throughput:
      return "800/s";
    case Axis::accuracy:
      return "0.71 or 71%";
    case Axis::accuracy_drop:
      return "0.5pp";
    case Axis::memory:
      return "200MB";
  }
  return "";
}

const Unit& read_unit(Scanner& in, Quantity q, size_t number_at, std::string_view number) {
  const size_t at = in.at();
  const std::string_view got = in.unit();
  const auto units = frontier::units_of(q.axis);
  const auto it = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == got; });
  if (it != units.end()) return *it;
  const std::string digits(number), names = frontier::unit_names(q.axis);
  if (got.empty()) {
    std::string fix = "write one of " + names + ", such as " + digits + std::string(units.back().name);
    if (q.axis == Axis::latency) fix = "write " + digits + "ms, or another of " + names;
    if (q.axis == Axis::memory) fix = "write " + digits + "MB, or another of " + names;
    if (q.axis == Axis::throughput) fix = "write " + digits + "/s (examples per second)";
    if (q.axis == Axis::accuracy_drop)
      fix = "write " + digits + "pp (percentage points) or " + digits + "% (of what f32 reaches)";
    in.fail(at, "the unit is missing", fix);
  }
  const std::string_view near = frontier::nearest_unit(q.axis, got);
  in.fail(near.empty() ? at : number_at, "'" + std::string(got) + "' is not a unit of " + to_string(q),
          near.empty() ? "write one of " + names : "write " + digits + std::string(near));
}

void check_bound(const Scanner& in, const Constraint& c, size_t at) {
  const std::string name = to_string(c.quantity), example = example_of(c.quantity.axis);
  const Axis axis = c.quantity.axis;
  if (axis == Axis::accuracy_drop && c.bound < 0)
    in.fail(at, "a drop below 0 asks for more than f32 reaches", "write accuracy.drop<=0pp or more");
  if (axis == Axis::accuracy_drop && c.bound > 1)
    in.fail(at, "nothing can lose more than all of its accuracy", "write a drop below 100");
  if ((axis == Axis::latency || axis == Axis::memory) && c.bound <= 0)
    in.fail(at, name + " is always above 0", "write a positive bound, such as " + example);
  if (axis == Axis::throughput && c.bound <= 0)
    in.fail(at, "throughput is always above 0", "write a positive bound, such as " + example);
}

Constraint read_constraint(Scanner& in) {
  Constraint c;
  c.quantity = read_quantity(in);
  c.at_most = read_at_most(in, c.quantity);
  in.skip();
  const size_t at = in.at();
  const double x = in.number(example_of(c.quantity.axis));
  const Unit& unit = read_unit(in, c.quantity, at, frontier::shortest(x));
  c.bound = frontier::to_base(unit, x);
  c.relative = unit.relative;
  if (!std::isfinite(c.bound))
    in.fail(at, "this number is out of range", "write " + example_of(c.quantity.axis));
  if (c.quantity.axis == Axis::accuracy && unit.name == "%" && x > 100)
    in.fail(at, "accuracy is at most 100%", "write a bound of at most 100%");
  check_bound(in, c, at);
  return c;
}

std::vector<Objective::Factor> read_product(Scanner& in) {
  std::vector<Objective::Factor> factors{{read_quantity(in), 1}};
  while (!in.done()) {
    const size_t at = in.at();
    const bool times = in.take("*");
    if (!times && !in.take("/"))
      in.fail(at, "this does not continue an objective", "write * or / between quantities");
    factors.push_back({read_quantity(in), times ? 1 : -1});
  }
  return factors;
}

void check_objective(const Scanner& in, const Objective& o) {
  for (const Objective::Factor& f : o.factors) {
    if (f.quantity.axis == Axis::accuracy_drop)
      in.fail(0, "accuracy.drop is not an objective", "write maximize accuracy");
  }
  if (o.factors.size() > 1) return;
  const Axis axis = o.factors[0].quantity.axis;
  const bool larger_is_better = axis == Axis::throughput || axis == Axis::accuracy;
  if (o.maximize != larger_is_better) {
    const std::string name = to_string(o.factors[0].quantity);
    in.fail(0, std::string(o.maximize ? "maximizing " : "minimizing ") + name + " asks for the worst plan",
            std::string("write ") + (larger_is_better ? "maximize " : "minimize ") + name);
  }
}

// p50 <= p90 <= p99: a lower bound on one is a lower bound on those after it.
bool forces(Quantity lower, Quantity upper) {
  if (lower == upper) return true;
  return lower.axis == Axis::latency && upper.axis == Axis::latency && lower.statistic != Statistic::mean &&
         upper.statistic != Statistic::mean && lower.statistic < upper.statistic;
}

}  // namespace

std::string to_string(Quantity q) {
  switch (q.axis) {
    case Axis::latency:
      return "latency." + std::string(kStatisticNames[static_cast<size_t>(q.statistic)]);
    case Axis::throughput:
      return "throughput";
    case Axis::accuracy:
      return "accuracy";
    case Axis::accuracy_drop:
      return "accuracy.drop";
    case Axis::memory:
      return "memory";
  }
  return "";
}

std::string to_string(const Constraint& c) {
  // The largest unit that leaves at least 1 before the point and reads back as the same number; of KB and KiB
  // the shorter text.
  std::string best;
  double best_scale = 0;
  for (const Unit& u : frontier::units_of(c.quantity.axis)) {
    if (u.relative != c.relative || u.name == "µs" || (c.quantity.axis == Axis::accuracy && u.name == "%"))
      continue;
    double x = frontier::from_base(u, c.bound);
    for (const double near : {std::round(x), std::round(x * 1e6) / 1e6}) {
      if (frontier::to_base(u, near) == c.bound) x = near;
    }
    if (frontier::to_base(u, x) != c.bound || (x < 1 && !best.empty())) continue;
    std::string text = frontier::shortest(x) + std::string(u.name);
    const bool binary = best_scale > 0 && u.scale / best_scale < 2;
    if (binary && text.size() >= best.size()) continue;
    if (!best.empty() && text.size() > best.size() + 1) continue;
    best = std::move(text);
    best_scale = u.scale;
  }
  if (best.empty()) {  // no unit divides without rounding
    const Unit& u = frontier::units_of(c.quantity.axis)[0];
    best = frontier::shortest(frontier::from_base(u, c.bound)) + std::string(u.name);
  }
  return to_string(c.quantity) + (c.at_most ? "<=" : ">=") + best;
}

std::string to_string(const Objective& o) {
  std::string out = o.maximize ? "maximize " : "minimize ";
  for (size_t i = 0; i < o.factors.size(); ++i) {
    if (i > 0) out += o.factors[i].exponent > 0 ? "*" : "/";
    out += to_string(o.factors[i].quantity);
  }
  return out;
}

Constraint parse_constraint(std::string_view text) {
  Scanner in("constraint", text);
  const Constraint c = read_constraint(in);
  if (!in.done()) in.fail(in.at(), "something follows the constraint", "separate constraints by commas");
  return c;
}

std::vector<Constraint> parse_constraints(std::span<const std::string> texts) {
  std::vector<Constraint> all;
  for (const std::string& text : texts) {
    Scanner in("constraint", text);
    do {
      all.push_back(read_constraint(in));
      if (in.done()) break;
      const size_t at = in.at();
      if (!in.take(",") && !in.take("&&") && !in.take("and "))
        in.fail(at, "something follows the constraint", "separate constraints by commas");
    } while (true);
  }
  check_consistent(all);
  return all;
}

void check_consistent(std::span<const Constraint> constraints) {
  for (const Constraint& low : constraints) {
    for (const Constraint& high : constraints) {
      if (low.at_most || !high.at_most || low.relative != high.relative) continue;
      if (!forces(low.quantity, high.quantity) || low.bound <= high.bound) continue;
      const bool same = low.quantity == high.quantity;
      throw Error(
          Code::invalid,
          "the constraints " + to_string(high) + " and " + to_string(low) + " contradict each other" +
              (same ? "" : ": " + to_string(low.quantity) + " is never above " + to_string(high.quantity)) +
              "; drop one, or turn one around");
    }
  }
}

Objective parse_objective(bool maximize, std::string_view expression) {
  Scanner in("objective", expression);
  Objective o{maximize, read_product(in)};
  check_objective(in, o);
  return o;
}

Objective parse_objective(std::string_view text) {
  Scanner in("objective", text);
  in.skip();
  const size_t at = in.at();
  const std::string_view word = in.word();
  if (word != "minimize" && word != "maximize")
    in.fail(at, "the direction is missing", "write minimize or maximize before the quantity");
  Objective o{word == "maximize", read_product(in)};
  check_objective(in, o);
  return o;
}

}  // namespace skyline
