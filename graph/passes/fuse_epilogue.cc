// What follows a contraction element by element moves into its epilogue: act(contraction + bias + residual).
#include <cmath>

#include "graph/passes/contraction.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

// Gemm -> the attributes of its fused form; the same set.
Patch fused(const Graph& g, const Contraction& c, const Node& last, std::vector<ValueId> inputs,
            Attrs attrs) {
  Patch patch(g);
  patch.replace(last.out(0), patch.add(*fused_form(c), std::move(inputs), std::move(attrs), c.node->name));
  return patch;
}

std::optional<Patch> residual(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Add") || n.inputs.size() != 2 || n.in(0) == n.in(1)) return std::nullopt;
  // Of two contractions the later one: the other's result is then more likely to be there already.
  size_t pick = 1;
  if (g.producer(n.in(0)) != kNoNode && g.producer(n.in(1)) != kNoNode &&
      g.producer(n.in(0)) > g.producer(n.in(1))) {
    pick = 0;
  }
  for (size_t k : {pick, 1 - pick}) {
    const ValueId x = n.in(k), r = n.in(1 - k);
    const auto c = find_contraction(g, x);
    if (!c || !fused_form(*c) || g.constant(r) || !same_type(g, x, r) || !same_type(g, x, n.out(0))) continue;
    std::vector<ValueId> in = four_inputs(*c->node);
    in[kResidual] = r;
    return fused(g, *c, n, in, c->node->attrs);
  }
  return std::nullopt;
}

struct Epilogue {
  std::string name;
  std::vector<float> params;
};

std::optional<Epilogue> epilogue_of(const Graph& g, const Node& n) {
  if (n.is("Relu")) return Epilogue{"relu", {}};
  if (n.is("Sigmoid")) return Epilogue{"sigmoid", {}};
  if (n.is("Tanh")) return Epilogue{"tanh", {}};
  if (n.is("HardSwish")) return Epilogue{"hard_swish", {}};
  if (n.is("Gelu")) return Epilogue{n.attrs.text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu", {}};
  if (n.is("LeakyRelu")) return Epilogue{"leaky_relu", {n.attrs.real("alpha", 0.01f)}};
  if (n.is("HardSigmoid")) {
    return Epilogue{"hard_sigmoid", {n.attrs.real("alpha", 0.2f), n.attrs.real("beta", 0.5f)}};
  }
  if (n.is("Swish") && n.attrs.real("alpha", 1.0f) == 1.0f) return Epilogue{"silu", {}};
  if (!n.is("Clip")) return std::nullopt;
  const auto low = n.in(1) == kNoValue ? std::optional<double>(-INFINITY) : uniform(g, n.in(1));
  const auto high = n.in(2) == kNoValue ? std::optional<double>(INFINITY) : uniform(g, n.in(2));
  if (!low || !high || !(*low <= *high)) return std::nullopt;
  return Epilogue{"clip", {static_cast<float>(*low), static_cast<float>(*high)}};
}

// An epilogue works on the channels of one pixel at a time. With few of them most lanes would be empty, which
// costs more than another pass over memory where a lane is an exponential (selfie_segmentation's last layer:
// 1 channel, 11 ms against 1.5).
bool wastes_lanes(const Contraction& c, std::string_view activation) {
  const bool convolution = c.kind == Contraction::Kind::conv || c.kind == Contraction::Kind::conv_transpose;
  const bool cheap = activation == "relu" || activation == "clip" || activation == "leaky_relu" ||
                     activation == "hard_sigmoid" || activation == "hard_swish";
  return convolution && !cheap && c.channels > 0 && c.channels < 8;
}

std::optional<Patch> activation(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.in(0) == kNoValue) return std::nullopt;
  const auto e = epilogue_of(g, n);
  if (!e) return std::nullopt;
  const auto c = find_contraction(g, n.in(0), true);
  if (!c || !fused_form(*c) || wastes_lanes(*c, e->name)) return std::nullopt;
  Attrs attrs = c->node->attrs;
  attrs.set("activation", e->name);
  if (!e->params.empty()) attrs.set("activation_params", e->params);
  return fused(g, *c, n, c->node->inputs, attrs);
}

Dims swap_last(int rank) {
  Dims perm;
  for (int i = 0; i < rank; ++i) perm.push_back(i);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return perm;
}

// x * k or x / k for one number k.
struct Scaled {
  ValueId x;
  double k;
};
std::optional<Scaled> scaled_by_number(const Graph& g, ValueId v) {
  const NodeId id = g.producer(v);
  if (id == kNoNode || !is_float(g, v)) return std::nullopt;
  const Node& n = g.node(id);
  const auto m = n.is("Mul") || n.is("Div") ? with_constant(g, n) : std::nullopt;
  if (!m || (m->constant_first && n.is("Div")) || !same_type(g, m->x, v)) return std::nullopt;
  const auto k = uniform(g, m->constant);
  if (!k || *k == 0 || !std::isfinite(*k)) return std::nullopt;
  return Scaled{m->x, n.is("Mul") ? *k : 1 / *k};
}

// A factor that is transposed, or multiplied by a number: attributes of the fused form.
std::optional<Patch> matmul_factor(const Graph& g, const Node& n, size_t k) {
  const int rank = n.in(k) == kNoValue ? -1 : rank_of(g, n.in(k));
  if (rank < 2 || !is_float(g, n.in(k))) return std::nullopt;
  Attrs attrs = n.attrs;
  std::vector<ValueId> in = n.inputs;
  const Node* t = maker(g, n.in(k), "Transpose");
  const auto scaled = used_once(g, n.in(k)) ? scaled_by_number(g, n.in(k)) : std::nullopt;
  if (t && (t->attrs.integers("perm", {}) == swap_last(rank) || (rank == 2 && !t->attrs.has("perm")))) {
    const std::string flag = k == 0 ? "transA" : "transB";
    attrs.set(flag, int64_t{n.attrs.integer(flag, 0) == 0});
    in[k] = t->in(0);
  } else if (scaled) {
    attrs.set("alpha", static_cast<float>(n.attrs.real("alpha", 1) * scaled->k));
    in[k] = scaled->x;
  } else {
    return std::nullopt;
  }
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op("FusedMatMul", "skyline"), in, attrs, n.name));
  return patch;
}

std::optional<Patch> matmul(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.is("MatMul") || n.is("FusedMatMul")) {
    auto patch = matmul_factor(g, n, 0);
    return patch ? std::move(patch) : matmul_factor(g, n, 1);
  }
  const auto s = n.out(0) == kNoValue ? std::nullopt : scaled_by_number(g, n.out(0));
  const auto c = s ? find_contraction(g, s->x) : std::nullopt;
  if (!c || c->kind != Contraction::Kind::matmul || c->node->in(kBias) != kNoValue) return std::nullopt;
  Attrs attrs = c->node->attrs;
  attrs.set("alpha", static_cast<float>(attrs.real("alpha", 1) * s->k));
  return fused(g, *c, n, c->node->inputs, attrs);
}

}  // namespace

constinit const Pass kFuseMatMul{"fuse-matmul", Stage::portable, matmul};
constinit const Pass kFuseResidual{"fuse-residual", Stage::portable, residual};
constinit const Pass kFuseActivation{"fuse-activation", Stage::portable, activation};

}  // namespace skyline::passes
