// Factors and terms per channel disappear in constant weights and biases: BatchNormalization, and Mul, Div,
// Add, Sub by constants, after a contraction; Mul and Add before a Conv.
#include <cmath>

#include "graph/ops/numeric.h"
#include "graph/passes/contraction.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

struct Affine {
  std::vector<double> scale, shift;
};

// BatchNormalization in inference, as x * scale + shift.
std::optional<Affine> affine_of_norm(const Graph& g, const Node& n) {
  if (!n.is("BatchNormalization") || n.attrs.integer("training_mode", 0) != 0) return std::nullopt;
  for (size_t i = 1; i < n.outputs.size(); ++i) {
    if (n.outputs[i] != kNoValue && g.use_count(n.outputs[i]) > 0) return std::nullopt;
  }
  const auto gamma = numbers(g, n.in(1)), beta = numbers(g, n.in(2)), mean = numbers(g, n.in(3)),
             var = numbers(g, n.in(4));
  if (!gamma || !beta || !mean || !var || !is_float(g, n.in(0))) return std::nullopt;
  const size_t count = gamma->size();
  if (beta->size() != count || mean->size() != count || var->size() != count) return std::nullopt;
  const double epsilon = n.attrs.real("epsilon", 1e-5f);
  Affine a;
  for (size_t i = 0; i < count; ++i) {
    a.scale.push_back((*gamma)[i] / std::sqrt((*var)[i] + epsilon));
    a.shift.push_back((*beta)[i] - (*mean)[i] * a.scale.back());
    if (!std::isfinite(a.scale.back()) || !std::isfinite(a.shift.back())) return std::nullopt;
  }
  return a;
}

std::optional<Patch> fold_norm(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const auto affine = affine_of_norm(g, n);
  if (!affine) return std::nullopt;
  const auto c = find_contraction(g, n.in(0));
  if (!c || c->axis != 1 || c->channels != static_cast<int64_t>(affine->scale.size())) return std::nullopt;
  Patch patch(g);
  const auto now = scaled(patch, g, *c, affine->scale, affine->shift);
  if (!now) return std::nullopt;
  patch.replace(n.out(0), *now);
  return patch;
}

std::optional<Patch> decompose_norm(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const auto affine = affine_of_norm(g, n);
  const int rank = n.in(0) == kNoValue ? -1 : rank_of(g, n.in(0));
  const auto count = affine ? static_cast<int64_t>(affine->scale.size()) : 0;
  if (!affine || rank < 2 || dim_of(g, n.in(0), 1) != count) return std::nullopt;
  Dims dims(static_cast<size_t>(rank) - 1, 1);
  dims[0] = count;
  const DType t = g.fact(n.in(0)).dtype;
  Patch patch(g);
  const ValueId scale = patch.constant(tensor_of(t, dims, affine->scale), n.name + ".scale");
  const ValueId shift = patch.constant(tensor_of(t, dims, affine->shift), n.name + ".shift");
  const ValueId product = patch.add(op("Mul"), {n.in(0), scale}, {}, n.name + ".mul");
  patch.replace(n.out(0), patch.add(op("Add"), {product, shift}, {}, n.name + ".add"));
  return patch;
}

// x op c as x * scale + shift, for c along one axis of a result of that rank.
std::optional<Affine> affine_of_binary(const Graph& g, const Node& n, const WithConstant& m, int rank,
                                       int axis, int64_t channels) {
  const auto c = along_axis(g, m.constant, rank, axis, channels);
  if (!c) return std::nullopt;
  const size_t count = c->size();
  Affine a{std::vector<double>(count, 1.0), std::vector<double>(count, 0.0)};
  for (size_t i = 0; i < count; ++i) {
    const double v = (*c)[i];
    if (!std::isfinite(v)) return std::nullopt;
    if (n.is("Mul")) {
      a.scale[i] = v;
    } else if (n.is("Div")) {
      if (m.constant_first || v == 0) return std::nullopt;
      a.scale[i] = 1 / v;
    } else if (n.is("Add")) {
      a.shift[i] = v;
    } else {
      a.scale[i] = m.constant_first ? -1 : 1;
      a.shift[i] = m.constant_first ? v : -v;
    }
  }
  return a;
}

bool is_affine_node(const Node& n) {
  return n.is("Mul") || n.is("Div") || n.is("Add") || n.is("Sub");
}

std::optional<Patch> fold_after(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  Affine a;
  ValueId x = kNoValue;
  std::optional<Contraction> c;
  if (n.is("Neg")) {
    x = n.in(0);
    c = find_contraction(g, x);
    if (!c || c->channels <= 0) return std::nullopt;
    const auto count = static_cast<size_t>(c->channels);
    a = {std::vector<double>(count, -1.0), std::vector<double>(count, 0.0)};
  } else {
    if (!is_affine_node(n)) return std::nullopt;
    const auto m = with_constant(g, n);
    if (!m) return std::nullopt;
    x = m->x;
    c = find_contraction(g, x);
    if (!c || c->channels <= 0) return std::nullopt;
    auto affine = affine_of_binary(g, n, *m, c->rank, c->axis, c->channels);
    if (!affine) return std::nullopt;
    a = std::move(*affine);
  }
  if (!same_dims(g.fact(x), g.fact(n.out(0)))) {
    // Equal ranks and a constant that varies along known channels only: the result is not larger.
    if (rank_of(g, x) != rank_of(g, n.out(0))) return std::nullopt;
  }
  Patch patch(g);
  const auto now = scaled(patch, g, *c, a.scale, a.shift);
  if (!now) return std::nullopt;
  patch.replace(n.out(0), *now);
  return patch;
}

bool has_padding(const Node& conv) {
  const std::string mode = conv.attrs.text("auto_pad", "NOTSET");
  if (mode == "VALID") return false;
  if (mode != "NOTSET") return true;
  for (int64_t p : conv.attrs.integers("pads", {})) {
    if (p != 0) return true;
  }
  return false;
}

// Conv(x * scale + shift), shift only where every tap sees real input.
std::optional<Patch> conv_of_affine(const Graph& g, const Node& conv, ValueId x, const Affine& a,
                                    bool has_shift) {
  const Tensor& w = *g.constant(conv.in(1));
  const int64_t group = conv.attrs.integer("group", 1), per_group = w.dim(1), m = w.dim(0);
  const auto bias = conv.in(kBias) == kNoValue ? std::vector<double>(static_cast<size_t>(m), 0.0)
                                               : numbers(g, conv.in(kBias));
  if (!bias || m == 0 || group <= 0 || m % group != 0 || w.size() == 0) return std::nullopt;
  std::vector<double> weights = ops::to_doubles(w), shift = *bias;
  const int64_t taps = w.size() / (m * per_group);
  for (int64_t o = 0; o < m; ++o) {
    for (int64_t i = 0; i < per_group; ++i) {
      const auto channel = static_cast<size_t>(o / (m / group) * per_group + i);
      for (int64_t t = 0; t < taps; ++t) {
        double& v = weights[static_cast<size_t>((o * per_group + i) * taps + t)];
        shift[static_cast<size_t>(o)] += v * a.shift[channel];
        v *= a.scale[channel];
      }
    }
  }
  Tensor new_weights = tensor_of(w.dtype(), w.dims(), weights), new_bias = tensor_of(w.dtype(), {m}, shift);
  if (!all_finite(new_weights) || !all_finite(new_bias)) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = four_inputs(conv);
  in[0] = x;
  in[1] = patch.constant(std::move(new_weights), g.value(conv.in(1)).name);
  if (has_shift) in[2] = patch.constant(std::move(new_bias), conv.name + ".bias");
  patch.replace(conv.out(0), patch.add(*conv.op, in, conv.attrs, conv.name));
  return patch;
}

std::optional<Patch> fold_before(const Graph& g, NodeId id) {
  const Node& conv = g.node(id);
  if (!(conv.is("Conv") || conv.is("FusedConv")) || !conv.op->domain.empty()) return std::nullopt;
  const Tensor* w = g.constant(conv.in(1));
  const ValueId input = conv.in(0);
  const NodeId from = g.producer(input);
  if (!w || w->rank() < 3 || from == kNoNode || !used_once(g, input) || !is_float(g, input))
    return std::nullopt;
  const Node& n = g.node(from);
  const int rank = rank_of(g, input);
  const int64_t channels = dim_of(g, input, 1);
  if (!is_affine_node(n) || rank != w->rank() || channels <= 0) return std::nullopt;
  const auto m = with_constant(g, n);
  if (!m || rank_of(g, m->x) != rank || dim_of(g, m->x, 1) != channels) return std::nullopt;
  const auto a = affine_of_binary(g, n, *m, rank, 1, channels);
  if (!a) return std::nullopt;
  const bool additive = n.is("Add") || n.is("Sub");
  if (!additive || !has_padding(conv)) return conv_of_affine(g, conv, m->x, *a, additive);

  // Conv(y * s + t) with padding: the term must stay, the factor need not. Conv((y + t / s) * s).
  const Node* mul = sole_maker(g, m->x, "Mul");
  if (!mul || !n.is("Add")) return std::nullopt;
  const auto k = with_constant(g, *mul);
  if (!k || rank_of(g, k->x) != rank || dim_of(g, k->x, 1) != channels) return std::nullopt;
  const auto s = affine_of_binary(g, *mul, *k, rank, 1, channels);
  if (!s) return std::nullopt;
  std::vector<double> term;
  for (size_t i = 0; i < s->scale.size(); ++i) {
    // A small factor would make a large term, in which y would drown.
    if (std::abs(s->scale[i]) < 1e-3) return std::nullopt;
    term.push_back(a->shift[i] / s->scale[i]);
  }
  Dims dims(static_cast<size_t>(rank) - 1, 1);
  dims[0] = channels;
  Patch patch(g);
  const ValueId t = patch.constant(tensor_of(w->dtype(), dims, term), g.value(m->constant).name);
  const ValueId sum = patch.add(op("Add"), {k->x, t}, {}, n.name);
  patch.replace(input, patch.add(op("Mul"), {sum, k->constant}, {}, mul->name));
  return patch;
}

}  // namespace

constinit const Pass kFoldBatchNorm{"fold-batchnorm", Stage::portable, fold_norm};
constinit const Pass kDecomposeBatchNorm{"decompose-batchnorm", Stage::portable, decompose_norm};
constinit const Pass kFoldScaleAfter{"fold-scale-after", Stage::portable, fold_after};
constinit const Pass kFoldScaleBefore{"fold-scale-before", Stage::portable, fold_before};

}  // namespace skyline::passes
