#include "quant/smooth.h"

#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "quant/calibrate.h"
#include "quant/select.h"

namespace skyline::quant {
namespace {

constexpr int64_t kExamples = 16;
// Of the spread, how much goes to the weights, in powers; what SmoothQuant's authors found for most models.
constexpr double kShare = 0.5;
constexpr double kMostFactor = 1e3;

struct Place {
  NodeId node;
  size_t slot;
};

// An input of products, and the constants in front of it that scale its columns.
struct Smoothable {
  ValueId x = kNoValue;
  int64_t columns = 0;
  std::vector<Place> divided;  // vectors of that many elements
  std::vector<NodeId> products;
};

bool is_vector(const Graph& g, ValueId v, int64_t columns) {
  const Tensor* t = g.constant(v);
  return t && t->dtype() == DType::f32 && t->size() == columns && t->rank() > 0 &&
         t->dim(t->rank() - 1) == columns;
}

// z * scale + shift, as one operator or spelled out.
std::vector<Place> affine_before(const Graph& g, ValueId x, int64_t columns) {
  const NodeId id = g.producer(x);
  if (id == kNoNode) return {};
  const Node& n = g.node(id);
  if (n.is("LayerNormalization") && n.out(0) == x && is_vector(g, n.in(1), columns) &&
      (n.in(2) == kNoValue || is_vector(g, n.in(2), columns))) {
    std::vector<Place> out{{id, 1}};
    if (n.in(2) != kNoValue) out.push_back({id, 2});
    return out;
  }
  if (n.is("Mul")) {
    for (size_t i : {0u, 1u}) {
      if (is_vector(g, n.in(i), columns)) return {{id, i}};
    }
  }
  if (!n.is("Add")) return {};
  for (size_t i : {0u, 1u}) {
    const ValueId product = n.in(1 - i);
    if (!is_vector(g, n.in(i), columns) || !passes::used_once(g, product)) continue;
    const Node* mul = passes::maker(g, product, "Mul");
    if (!mul) continue;
    for (size_t k : {0u, 1u}) {
      if (is_vector(g, mul->in(k), columns)) return {{id, i}, {g.producer(product), k}};
    }
  }
  return {};
}

// The axis of a matrix product's weights that its input's columns meet.
int input_axis(const Node& n) {
  return 1 - output_axis(n);
}

std::vector<Smoothable> find(const Graph& g) {
  std::vector<Smoothable> out;
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    Smoothable s;
    s.x = ValueId{i};
    const auto& uses = g.value(s.x).uses;
    if (uses.empty() || g.is_output(s.x)) continue;
    for (const Use& u : uses) {
      const Node& n = g.node(u.node);
      const Tensor* w = g.constant(n.in(1));
      const bool product =
          (n.is("MatMul") || (n.is("Gemm") && n.attrs.integer("transA", 0) == 0)) && u.slot == 0;
      if (!product || !w || w->rank() != 2 || w->dtype() != DType::f32) break;
      s.columns = w->dim(input_axis(n));
      s.products.push_back(u.node);
    }
    if (s.products.size() != uses.size()) continue;
    s.divided = affine_before(g, s.x, s.columns);
    if (!s.divided.empty()) out.push_back(std::move(s));
  }
  return out;
}

// The largest weight that each column of the input meets.
std::vector<double> weight_magnitudes(const Graph& g, const Smoothable& s) {
  std::vector<double> most(static_cast<size_t>(s.columns), 0.0);
  for (NodeId id : s.products) {
    const Node& n = g.node(id);
    const Tensor& w = *g.constant(n.in(1));
    for (int64_t i = 0; i < w.size(); ++i) {
      const auto k = static_cast<size_t>(input_axis(n) == 0 ? i / w.dim(1) : i % w.dim(1));
      most[k] = std::max(most[k], std::fabs(static_cast<double>(w.data<float>()[i])));
    }
  }
  return most;
}

void scale_slot(Graph& g, NodeId id, size_t slot, const std::vector<double>& factor, int axis) {
  const ValueId old = g.node(id).in(slot);
  Tensor t = g.constant(old)->clone();
  for (int64_t i = 0; i < t.size(); ++i) {
    const int64_t k = axis < 0 || t.rank() < 2 ? i % static_cast<int64_t>(factor.size())
                      : axis == 0              ? i / t.dim(1)
                                               : i % t.dim(1);
    auto& x = t.mutable_data<float>()[i];
    x = static_cast<float>(x * factor[static_cast<size_t>(k)]);
  }
  g.set_input(id, slot, g.add_constant(g.fresh_name(g.value(old).name), std::move(t)));
}

}  // namespace

int smooth(Graph& g, const Examples& examples, const MakeRunner& make_runner) {
  const std::vector<Smoothable> found = find(g);
  if (found.empty()) return 0;
  std::vector<Watch> watches;
  for (const Smoothable& s : found) watches.push_back({s.x, true, false});
  Examples few = examples;
  few.count = std::min(few.count, kExamples);
  const std::vector<Observation> seen = observe(g, watches, few, make_runner, nullptr);
  int changed = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const Smoothable& s = found[i];
    if (seen[i].magnitude.size() != static_cast<size_t>(s.columns)) continue;
    const std::vector<double> weights = weight_magnitudes(g, s);
    std::vector<double> grow, shrink;
    for (size_t k = 0; k < weights.size(); ++k) {
      const double x = seen[i].magnitude[k], w = weights[k];
      const double f = x > 0 && w > 0 ? std::pow(x, kShare) / std::pow(w, 1 - kShare) : 1;
      grow.push_back(std::clamp(f, 1 / kMostFactor, kMostFactor));
      shrink.push_back(1 / grow.back());
    }
    for (const Place& p : s.divided) scale_slot(g, p.node, p.slot, shrink, -1);
    for (NodeId id : s.products) scale_slot(g, id, 1, grow, input_axis(g.node(id)));
    ++changed;
  }
  g.remove_dead_nodes();
  return changed;
}

}  // namespace skyline::quant
