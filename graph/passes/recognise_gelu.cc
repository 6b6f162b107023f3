// 0.5 * x * (1 + erf(x / sqrt 2)) and its tanh approximation, in any association => Gelu.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

constexpr double kTolerance = 1e-4;  // constants in files are rounded, some of them by hand
constexpr double kSqrtHalf = 0.70710678118654752, kSqrtTwoOverPi = 0.79788456080286536, kCubic = 0.044715;

bool is_multiple(const Graph& g, ValueId v, ValueId x, double k) {
  const Product p = product_of(g, v);
  return p.factors.size() == 1 && p.factors[0] == x && is_near(p.constant, k, kTolerance);
}

// k * x^power
bool is_power(const Graph& g, ValueId v, ValueId x, double k, int power) {
  const Product p = product_of(g, v);
  if (!is_near(p.constant, k, kTolerance)) return false;
  int have = 0;
  for (ValueId f : p.factors) {
    if (f == x) {
      ++have;
      continue;
    }
    const Node* pow = maker(g, f, "Pow");
    const Node* square = maker(g, f, "Mul");
    if (pow && pow->in(0) == x && uniform(g, pow->in(1))) {
      have += static_cast<int>(*uniform(g, pow->in(1)));
    } else if (square && square->in(0) == x && square->in(1) == x) {
      have += 2;
    } else {
      return false;
    }
  }
  return have == power;
}

// sqrt(2 / pi) * (x + 0.044715 x^3), with the x outside or inside.
bool is_tanh_argument(const Graph& g, ValueId v, ValueId x) {
  const Product p = product_of(g, v);
  ValueId rest = kNoValue;
  if (p.factors.size() == 1) {
    const Node* sum = maker(g, p.factors[0], "Add");
    rest = sum ? other_operand(*sum, x) : kNoValue;
    return rest != kNoValue && is_near(p.constant, kSqrtTwoOverPi, kTolerance) &&
           is_power(g, rest, x, kCubic, 3);
  }
  if (p.factors.size() != 2) return false;
  const ValueId other = p.factors[0] == x ? p.factors[1] : p.factors[1] == x ? p.factors[0] : kNoValue;
  const auto sum = other == kNoValue ? std::nullopt : sum_of(g, other);
  return sum && is_near(p.constant * sum->constant, kSqrtTwoOverPi, kTolerance) &&
         is_power(g, sum->x, x, kCubic * kSqrtTwoOverPi / p.constant, 2);
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!(n.is("Mul") || n.is("Div")) || !is_float(g, n.out(0))) return std::nullopt;
  const Product p = product_of(g, n.out(0));
  if (p.factors.size() != 2 || !is_near(p.constant, 0.5, kTolerance)) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = p.factors[i];
    const auto sum = sum_of(g, p.factors[1 - i]);
    if (!sum || sum->constant != 1 || !same_type(g, x, n.out(0))) continue;
    const Node *erf = maker(g, sum->x, "Erf"), *tanh = maker(g, sum->x, "Tanh");
    const bool exact = erf && is_multiple(g, erf->in(0), x, kSqrtHalf);
    if (!exact && !(tanh && is_tanh_argument(g, tanh->in(0), x))) continue;
    Patch patch(g);
    const std::string mode = exact ? "none" : "tanh";
    patch.replace(n.out(0), patch.add(op("Gelu"), {x}, {{"approximate", mode}}, n.name));
    return patch;
  }
  return std::nullopt;
}

}  // namespace

constinit const Pass kRecogniseGelu{"recognise-gelu", Stage::portable, run};

}  // namespace skyline::passes
