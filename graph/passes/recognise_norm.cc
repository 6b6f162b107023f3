// Normalizations and Softmax spelled out in reductions and arithmetic => the operator that they are.
#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

struct Reduction {
  ValueId x;
  std::vector<int> axes;
};

// A reduction that keeps the axes it reduces.
std::optional<Reduction> reduction_of(const Graph& g, ValueId v, std::string_view name) {
  const Node* n = maker(g, v, name);
  if (!n || n->attrs.integer("keepdims", 1) == 0) return std::nullopt;
  const int rank = rank_of(g, n->in(0));
  const auto axes = rank < 0 ? std::nullopt : axes_of(g, *n, rank);
  if (!axes || axes->empty()) return std::nullopt;
  return Reduction{n->in(0), *axes};
}

bool is_square_of(const Graph& g, ValueId v, ValueId d) {
  if (const Node* mul = maker(g, v, "Mul")) return mul->in(0) == d && mul->in(1) == d;
  const Node* pow = maker(g, v, "Pow");
  return pow && pow->in(0) == d && is_uniform(g, pow->in(1), 2);
}

// v = sqrt(x), as Sqrt or Pow.
ValueId root_argument(const Graph& g, ValueId v) {
  if (const Node* root = maker(g, v, "Sqrt")) return root->in(0);
  const Node* pow = maker(g, v, "Pow");
  return pow && is_uniform(g, pow->in(1), 0.5) ? pow->in(0) : kNoValue;
}

// v = 1 / sqrt(x).
ValueId inverse_root_argument(const Graph& g, ValueId v) {
  if (const Node* n = maker(g, v, "Reciprocal")) return root_argument(g, n->in(0));
  if (const Node* n = maker(g, v, "Div"))
    return is_uniform(g, n->in(0), 1) ? root_argument(g, n->in(1)) : kNoValue;
  const Node* pow = maker(g, v, "Pow");
  return pow && is_uniform(g, pow->in(1), -0.5) ? pow->in(0) : kNoValue;
}

// d / sqrt(mean(d^2) + epsilon) over the last axes.
struct Normalized {
  ValueId d;
  std::vector<int> axes;
  double epsilon;
};
std::optional<Normalized> normalized_by(const Graph& g, ValueId d, ValueId under_root) {
  if (under_root == kNoValue) return std::nullopt;
  const auto sum = sum_of(g, under_root);
  const auto mean = sum ? reduction_of(g, sum->x, "ReduceMean") : std::nullopt;
  if (!mean || !(sum->constant > 0) || !is_square_of(g, mean->x, d)) return std::nullopt;
  const int rank = rank_of(g, d);
  for (size_t i = 0; i < mean->axes.size(); ++i) {
    if (mean->axes[i] != rank - static_cast<int>(mean->axes.size() - i)) return std::nullopt;
  }
  return Normalized{d, mean->axes, sum->constant};
}

std::optional<Patch> norm(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!is_float(g, n.out(0)) || n.inputs.size() != 2) return std::nullopt;
  std::optional<Normalized> core;
  if (n.is("Div")) core = normalized_by(g, n.in(0), root_argument(g, n.in(1)));
  if (n.is("Mul")) {
    core = normalized_by(g, n.in(0), inverse_root_argument(g, n.in(1)));
    if (!core) core = normalized_by(g, n.in(1), inverse_root_argument(g, n.in(0)));
  }
  if (!core || !same_type(g, core->d, n.out(0))) return std::nullopt;
  ValueId x = core->d;
  bool centred = false;
  if (const Node* sub = maker(g, core->d, "Sub")) {
    const auto mean = reduction_of(g, sub->in(1), "ReduceMean");
    centred = mean && mean->x == sub->in(0) && mean->axes == core->axes && same_type(g, sub->in(0), n.out(0));
    if (centred) x = sub->in(0);
  }
  Dims dims;
  for (int axis : core->axes) {
    dims.push_back(dim_of(g, x, axis));
    if (dims.back() <= 0) return std::nullopt;
  }
  Patch patch(g);
  const std::vector<double> ones(static_cast<size_t>(element_count(dims)), 1.0);
  const ValueId scale = patch.constant(tensor_of(g.fact(x).dtype, dims, ones), n.name + ".scale");
  const Attrs attrs{{"axis", -static_cast<int64_t>(dims.size())},
                    {"epsilon", static_cast<float>(core->epsilon)}};
  const std::string_view form = centred ? "LayerNormalization" : "RMSNormalization";
  patch.replace(n.out(0), patch.add(op(form), {x, scale}, attrs, n.name));
  return patch;
}

// The elements of a constant that varies along the normalized axes only.
std::optional<std::vector<double>> per_element(const Graph& g, ValueId v, const Dims& dims) {
  const Tensor* t = g.constant(v);
  if (!t || !skyline::is_float(t->dtype())) return std::nullopt;
  auto values = numbers(g, v);
  if (!values) return std::nullopt;
  if (values->size() == 1)
    return std::vector<double>(static_cast<size_t>(element_count(dims)), values->front());
  Dims own = t->dims();
  while (own.size() > dims.size() && own.front() == 1) own.erase(own.begin());
  if (own != dims) return std::nullopt;
  return values;
}

std::optional<Patch> fold_scale(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!(n.is("Mul") || n.is("Add"))) return std::nullopt;
  const auto m = with_constant(g, n);
  if (!m || !same_type(g, m->x, n.out(0)) || !used_once(g, m->x)) return std::nullopt;
  const Node* layer = maker(g, m->x, "LayerNormalization");
  const Node* base = layer ? layer : maker(g, m->x, "RMSNormalization");
  if (!base || (!layer && n.is("Add"))) return std::nullopt;
  for (size_t i = 1; i < base->outputs.size(); ++i) {
    if (base->outputs[i] != kNoValue && g.use_count(base->outputs[i]) > 0) return std::nullopt;
  }
  const Tensor* old = g.constant(base->in(1));
  if (!old || !skyline::is_float(old->dtype())) return std::nullopt;
  const auto c = per_element(g, m->constant, old->dims());
  auto scale = numbers(g, base->in(1));
  auto bias = base->in(2) == kNoValue ? std::vector<double>(scale->size(), 0.0) : numbers(g, base->in(2));
  if (!c || !bias || bias->size() != scale->size()) return std::nullopt;
  for (size_t i = 0; i < c->size(); ++i) {
    if (n.is("Mul")) (*scale)[i] *= (*c)[i];
    (*bias)[i] = n.is("Mul") ? (*bias)[i] * (*c)[i] : (*bias)[i] + (*c)[i];
  }
  Patch patch(g);
  std::vector<ValueId> in{
      base->in(0), patch.constant(tensor_of(old->dtype(), old->dims(), *scale), base->name + ".scale")};
  if (base->in(2) != kNoValue || n.is("Add")) {
    in.push_back(patch.constant(tensor_of(old->dtype(), old->dims(), *bias), base->name + ".bias"));
  }
  patch.replace(n.out(0), patch.add(*base->op, in, base->attrs, base->name));
  return patch;
}

// exp(x - max(x)) / sum(exp(x - max(x)))
std::optional<Patch> softmax(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Div") || !is_float(g, n.out(0))) return std::nullopt;
  const Node* exp = maker(g, n.in(0), "Exp");
  const Node* sub = exp ? maker(g, exp->in(0), "Sub") : nullptr;
  const auto sum = sub ? reduction_of(g, n.in(1), "ReduceSum") : std::nullopt;
  const auto max = sum ? reduction_of(g, sub->in(1), "ReduceMax") : std::nullopt;
  if (!max || sum->x != n.in(0) || max->x != sub->in(0) || sum->axes != max->axes || sum->axes.size() != 1 ||
      !same_type(g, max->x, n.out(0))) {
    return std::nullopt;
  }
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op("Softmax"), {max->x}, {{"axis", int64_t{sum->axes[0]}}}, n.name));
  return patch;
}

}  // namespace

constinit const Pass kRecogniseNorm{"recognise-norm", Stage::portable, norm};
constinit const Pass kRecogniseSoftmax{"recognise-softmax", Stage::portable, softmax};
constinit const Pass kFoldNormScale{"fold-norm-scale", Stage::portable, fold_scale};

}  // namespace skyline::passes
