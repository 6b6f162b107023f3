// Activations spelled out in arithmetic => the operator that they are.
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

constexpr double kTolerance = 1e-5;  // constants in files are rounded, some of them by hand

struct Bounds {
  ValueId x;
  double low, high;
};

std::optional<double> bound(const Graph& g, ValueId v, double none) {
  return v == kNoValue ? std::optional(none) : uniform(g, v);
}

std::optional<Bounds> clip_of(const Graph& g, ValueId v) {
  const Node* n = maker(g, v, "Clip");
  if (!n) return std::nullopt;
  const auto low = bound(g, n->in(1), -INFINITY), high = bound(g, n->in(2), INFINITY);
  if (!low || !high) return std::nullopt;
  return Bounds{n->in(0), *low, *high};
}

// k * clip(x + c, 0, h) with k * h = 1 is HardSigmoid(x; alpha = k, beta = c * k).
struct HardSigmoid {
  ValueId x;
  double alpha, beta;
};
std::optional<HardSigmoid> hard_sigmoid_of(const Graph& g, ValueId clip, double k) {
  const auto b = clip_of(g, clip);
  if (!b || b->low != 0 || !is_near(b->high * k, 1, kTolerance)) return std::nullopt;
  const auto sum = sum_of(g, b->x);
  if (!sum || !same_type(g, sum->x, clip)) return std::nullopt;
  return HardSigmoid{sum->x, k, sum->constant * k};
}

std::optional<HardSigmoid> existing_hard_sigmoid(const Graph& g, ValueId v) {
  const Node* n = maker(g, v, "HardSigmoid");
  if (!n) return std::nullopt;
  return HardSigmoid{n->in(0), n->attrs.real("alpha", 0.2f), n->attrs.real("beta", 0.5f)};
}

bool is_hard_swish(const HardSigmoid& h) {
  return is_near(h.alpha, 1.0 / 6, kTolerance) && is_near(h.beta, 0.5, kTolerance);
}

Patch replaced(const Graph& g, const Node& n, std::string_view with, ValueId x, Attrs attrs) {
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op(with), {x}, std::move(attrs), n.name));
  return patch;
}

// x * s(x), where x itself may be a product that is read twice.
std::optional<Patch> gated(const Graph& g, const Node& n, const Product& p) {
  for (int i = 0; i < 2; ++i) {
    const ValueId x = p.factors[static_cast<size_t>(i)], gate = p.factors[static_cast<size_t>(1 - i)];
    if (!same_type(g, x, n.out(0))) continue;
    if (const auto h = hard_sigmoid_of(g, gate, p.constant); h && h->x == x && is_hard_swish(*h)) {
      return replaced(g, n, "HardSwish", x, {});
    }
    if (!is_near(p.constant, 1, kTolerance)) continue;
    if (const auto h = existing_hard_sigmoid(g, gate); h && h->x == x && is_hard_swish(*h)) {
      return replaced(g, n, "HardSwish", x, {});
    }
    const Node* sigmoid = maker(g, gate, "Sigmoid");
    if (!sigmoid) continue;
    if (sigmoid->in(0) == x) return replaced(g, n, "Swish", x, {{"alpha", 1.0f}});
    const Product inner = product_of(g, sigmoid->in(0));
    if (inner.factors.size() == 1 && inner.factors[0] == x) {
      return replaced(g, n, "Swish", x, {{"alpha", static_cast<float>(inner.constant)}});
    }
  }
  return std::nullopt;
}

std::optional<Patch> product(const Graph& g, const Node& n) {
  if (!is_float(g, n.out(0))) return std::nullopt;
  const Product p = product_of(g, n.out(0));
  if (p.factors.size() == 2) return gated(g, n, p);
  if (p.factors.size() != 1) return std::nullopt;
  const auto h = hard_sigmoid_of(g, p.factors[0], p.constant);
  // Worth it only if the clip has no other reader.
  if (!h || !same_type(g, h->x, n.out(0)) || !used_once(g, p.factors[0])) return std::nullopt;
  return replaced(g, n, "HardSigmoid", h->x,
                  {{"alpha", static_cast<float>(h->alpha)}, {"beta", static_cast<float>(h->beta)}});
}

std::optional<Patch> clip(const Graph& g, const Node& n, ValueId x, double low, double high, ValueId inner) {
  if (!(low <= high) || !same_type(g, inner, n.out(0))) return std::nullopt;
  const DType t = g.fact(x).dtype;
  Patch patch(g);
  const ValueId lo = std::isinf(low) ? kNoValue : patch.constant(tensor_of(t, {}, {low}), n.name + ".min");
  const ValueId hi = std::isinf(high) ? kNoValue : patch.constant(tensor_of(t, {}, {high}), n.name + ".max");
  patch.replace(n.out(0), patch.add(op("Clip"), {inner, lo, hi}, {}, n.name));
  return patch;
}

// max(x, a * x) with 0 < a < 1, and max(x, c).
std::optional<Patch> maximum(const Graph& g, const Node& n) {
  if (n.inputs.size() != 2 || !is_float(g, n.out(0))) return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    const ValueId x = n.in(static_cast<size_t>(i)), y = n.in(static_cast<size_t>(1 - i));
    if (!same_type(g, x, n.out(0))) continue;
    if (is_uniform(g, y, 0)) return replaced(g, n, "Relu", x, {});
    if (const auto low = uniform(g, y)) return clip(g, n, x, *low, INFINITY, x);
    const Product p = product_of(g, y);
    if (p.factors.size() == 1 && p.factors[0] == x && y != x && p.constant > 0 && p.constant < 1) {
      return replaced(g, n, "LeakyRelu", x, {{"alpha", static_cast<float>(p.constant)}});
    }
  }
  return std::nullopt;
}

// min(relu(x), c), min(max(x, a), c), and a Clip of a Relu.
std::optional<Patch> clipped(const Graph& g, const Node& n) {
  if (!is_float(g, n.out(0))) return std::nullopt;
  ValueId x = kNoValue;
  double low = -INFINITY, high = INFINITY;
  if (n.is("Clip")) {
    const auto b = clip_of(g, n.out(0));
    if (!b) return std::nullopt;
    x = b->x, low = b->low, high = b->high;
  } else {
    const auto m = with_constant(g, n);
    const auto c = m ? uniform(g, m->constant) : std::nullopt;
    if (!c) return std::nullopt;
    x = m->x, high = *c;
  }
  if (const Node* relu = sole_maker(g, x, "Relu"); relu && high >= 0) {
    return clip(g, n, x, std::max(low, 0.0), high, relu->in(0));
  }
  if (n.is("Clip")) return std::nullopt;
  const Node* max = sole_maker(g, x, "Max");
  const auto m = max ? with_constant(g, *max) : std::nullopt;
  const auto a = m ? uniform(g, m->constant) : std::nullopt;
  if (!a) return std::nullopt;
  return clip(g, n, x, *a, high, m->x);
}

std::optional<Patch> leaky(const Graph& g, const Node& n) {
  const auto slope = uniform(g, n.in(1));
  if (!slope || !is_float(g, n.in(0)) || !same_type(g, n.in(0), n.out(0))) return std::nullopt;
  return replaced(g, n, "LeakyRelu", n.in(0), {{"alpha", static_cast<float>(*slope)}});
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.out(0) == kNoValue) return std::nullopt;
  if (n.is("Mul") || n.is("Div")) return product(g, n);
  if (n.is("Max")) return maximum(g, n);
  if (n.is("Min") || n.is("Clip")) return clipped(g, n);
  if (n.is("PRelu")) return leaky(g, n);
  if (n.is("Relu") && maker(g, n.in(0), "Relu")) {
    Patch patch(g);
    patch.replace(n.out(0), n.in(0));
    return patch;
  }
  return std::nullopt;
}

}  // namespace

constinit const Pass kRecogniseActivation{"recognise-activation", Stage::portable, run};

}  // namespace skyline::passes
