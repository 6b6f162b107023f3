// Choosing a point: what the constraints leave, and if they leave nothing, what comes nearest.
#include <algorithm>
#include <cmath>

#include "skyline/frontier.h"

namespace skyline {
namespace {

// A drop of 0 has no share: there, a percentage point counts as much as the whole of another bound.
constexpr double kScaleOfZero = 0.01;

// The point's figure in the terms of the constraint.
std::optional<Estimate> figure_for(const Frontier& f, const Point& p, const Constraint& c) {
  const auto& e = p.figure(c.quantity);
  if (!e || !c.relative) return e;
  const auto& accuracy = p.figure({Axis::accuracy});
  if (!accuracy) return std::nullopt;
  const double f32 = std::fabs(accuracy->value + (f.info.metric.larger_is_better ? e->value : -e->value));
  if (!(f32 > 0)) return std::nullopt;
  return Estimate{e->value / f32, e->low / f32, e->high / f32};
}

ConstraintCheck check(const Frontier& f, const Point& p, const Constraint& c) {
  ConstraintCheck out{c};
  const auto e = figure_for(f, p, c);
  if (!e) {
    out.violation = INFINITY;
    return out;
  }
  out.bound_of_point = c.at_most ? e->high : e->low;
  const double outside = c.at_most ? *out.bound_of_point - c.bound : c.bound - *out.bound_of_point;
  const double scale = c.bound == 0 ? kScaleOfZero : std::fabs(c.bound);
  out.met = outside <= 0;
  out.violation = out.met ? 0 : outside / scale;
  return out;
}

// Room left, as a share of the bound; negative if not met.
double room(const ConstraintCheck& c) {
  if (!c.bound_of_point) return -INFINITY;
  const double inside =
      c.constraint.at_most ? c.constraint.bound - *c.bound_of_point : *c.bound_of_point - c.constraint.bound;
  return inside / (c.constraint.bound == 0 ? kScaleOfZero : std::fabs(c.constraint.bound));
}

std::optional<double> value_of(const Frontier& f, const Point& p, const Objective& o) {
  const bool larger = f.info.metric.larger_is_better;
  double product = 1;
  for (const Objective::Factor& factor : o.factors) {
    const auto& e = p.figure(factor.quantity);
    if (!e) return std::nullopt;
    // Of a metric that counts errors, less is the good end: it takes the other side of the fraction.
    const bool flip = factor.quantity.axis == Axis::accuracy && !larger && o.factors.size() > 1;
    product = (factor.exponent > 0) != flip ? product * e->value : product / e->value;
  }
  return product;
}

struct Candidate {
  size_t point = 0;
  std::vector<ConstraintCheck> checks;
  std::optional<double> objective;
  double worst = 0, sum = 0;
};

Candidate candidate(const Frontier& f, size_t i, std::span<const Constraint> constraints,
                    const Objective& o) {
  Candidate c{i};
  c.objective = value_of(f, f.points[i], o);
  for (const Constraint& k : constraints) {
    c.checks.push_back(check(f, f.points[i], k));
    c.worst = std::max(c.worst, c.checks.back().violation);
    c.sum += c.checks.back().violation;
  }
  return c;
}

// Whether a is a better choice than b: fewer violations, then the objective, then latency.
bool better(const Frontier& f, const Objective& o, const Candidate& a, const Candidate& b) {
  if (a.worst != b.worst) return a.worst < b.worst;
  if (a.sum != b.sum) return a.sum < b.sum;
  if (a.objective.has_value() != b.objective.has_value()) return a.objective.has_value();
  if (a.objective && *a.objective != *b.objective) {
    const bool errors = o.factors.size() == 1 && o.factors[0].quantity.axis == Axis::accuracy &&
                        !f.info.metric.larger_is_better;
    return (*a.objective > *b.objective) == (o.maximize != errors);
  }
  const auto &la = f.points[a.point].figure({Axis::latency}), &lb = f.points[b.point].figure({Axis::latency});
  return la && lb && la->value < lb->value;
}

// The constraint that no point meets even alone, by the widest margin; absent if each can be met.
std::optional<size_t> unreachable(const std::vector<Candidate>& all, size_t constraints) {
  std::optional<size_t> out;
  double widest = 0;
  for (size_t k = 0; k < constraints; ++k) {
    double nearest = INFINITY;
    for (const Candidate& c : all) nearest = std::min(nearest, c.checks[k].violation);
    if (nearest > widest) {
      widest = nearest;
      out = k;
    }
  }
  return out;
}

std::string show(const Frontier& f, const ConstraintCheck& c) {
  if (!c.bound_of_point) return "unknown";
  if (c.constraint.relative) return format_quantity({Axis::accuracy}, *c.bound_of_point);
  return format_quantity(c.constraint.quantity, *c.bound_of_point, f.info.metric.fraction);
}

std::string explain(const Frontier& f, const Selection& s, bool alone) {
  const std::string& id = f.points[s.point].id;
  if (s.checks.empty()) return id + " is the best by the objective; there are no constraints.";
  const ConstraintCheck& b = s.checks[*s.binding];
  const std::string bound = to_string(b.constraint), sure = b.constraint.at_most ? "up to " : "down to ";
  if (s.feasible) {
    return id + " meets " + (s.checks.size() == 1 ? "the constraint" : "all constraints") +
           "; least room: " + bound + ", where it reaches " + sure + show(f, b) + " with 95 % confidence.";
  }
  if (!b.bound_of_point) return "No point is known to meet " + bound + ": that figure was not measured.";
  const std::string nearest = id + " comes nearest, with " + sure + show(f, b) + " at 95 % confidence.";
  return alone ? "No point meets " + bound + ", even alone; " + nearest
               : "Each constraint can be met, but not together; give way on " + bound + ": " + nearest;
}

}  // namespace

Selection Frontier::select(std::span<const Constraint> constraints, const Objective& objective) const {
  if (points.empty()) throw Error(Code::input, "the frontier has no points to select from");
  check_consistent(constraints);
  std::vector<Candidate> all;
  for (size_t i : candidates()) all.push_back(candidate(*this, i, constraints, objective));
  const auto best = std::min_element(all.begin(), all.end(), [&](const Candidate& a, const Candidate& b) {
    return better(*this, objective, a, b);
  });
  Selection s;
  s.point = best->point;
  s.objective = best->objective;
  s.checks = best->checks;
  s.feasible = std::all_of(s.checks.begin(), s.checks.end(), [](const ConstraintCheck& c) { return c.met; });
  const auto tightest = std::min_element(s.checks.begin(), s.checks.end(),
                                         [](const auto& a, const auto& b) { return room(a) < room(b); });
  if (tightest != s.checks.end()) s.binding = static_cast<size_t>(tightest - s.checks.begin());
  const std::optional<size_t> alone = s.feasible ? std::nullopt : unreachable(all, constraints.size());
  if (alone) s.binding = alone;
  s.explanation = explain(*this, s, alone.has_value());
  return s;
}

}  // namespace skyline
