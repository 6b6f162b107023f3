// softmax(scale * Q K^T, masked) V => skyline.FusedAttention, which reads Q, K and V and writes its result
// where they lie: the moves of heads around it vanish.
#include <cmath>

#include "graph/ops/fused_attention.h"
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"
#include "graph/passes/strided_view.h"

namespace skyline::passes {
namespace {

using ops::AttentionMask;
using ops::AttentionView;
using ops::FusedAttention;

constexpr size_t kMaxRank = 6;

bool is_f32(const Graph& g, ValueId v) {
  return v != kNoValue && g.fact(v).is_static() && g.fact(v).dtype == DType::f32;
}

// A plain product of two matrices or stacks of them; a residual is for the caller to judge.
const Node* matmul_of(const Graph& g, ValueId v) {
  const Node* n = maker(g, v, "MatMul");
  if (!n) n = maker(g, v, "FusedMatMul");
  if (!n || n->in(2) != kNoValue || n->attrs.text("activation", "none") != "none" ||
      n->attrs.integer("transBatchA", 0) != 0 || n->attrs.integer("transBatchB", 0) != 0)
    return nullptr;
  return n;
}

// Multiplies `scale` by the numbers that v is multiplied by, and returns what is left of it.
ValueId without_scale(const Graph& g, ValueId v, double& scale) {
  for (;;) {
    const NodeId id = g.producer(v);
    if (id == kNoNode || !used_once(g, v)) return v;
    const Node& n = g.node(id);
    const auto m = n.is("Mul") || n.is("Div") ? with_constant(g, n) : std::nullopt;
    if (!m || (m->constant_first && n.is("Div")) || !same_type(g, m->x, v)) return v;
    const auto k = uniform(g, m->constant);
    if (!k || *k == 0 || !std::isfinite(*k)) return v;
    scale *= n.is("Mul") ? *k : 1 / *k;
    v = m->x;
  }
}

struct Scores {
  const Node* product = nullptr;
  double scale = 1;
  AttentionMask mode = AttentionMask::none;
  ValueId mask = kNoValue;
  double masked_value = 0;
};

// v = scale * MatMul, if nothing but the next node reads any of it.
std::optional<Scores> scaled_product(const Graph& g, ValueId v) {
  if (v == kNoValue) return std::nullopt;
  Scores s;
  const ValueId x = without_scale(g, v, s.scale);
  s.product = used_once(g, x) ? matmul_of(g, x) : nullptr;
  if (!s.product) return std::nullopt;
  if (s.product->in(3) != kNoValue) {  // a mask of the scores' own shape has become the residual
    if (s.scale != 1) return std::nullopt;
    s.mode = AttentionMask::add;
    s.mask = s.product->in(3);
  }
  s.scale *= s.product->attrs.real("alpha", 1);
  return s;
}

// What the softmax reads: scores, masked or not.
std::optional<Scores> scores_of(const Graph& g, ValueId v) {
  if (auto s = scaled_product(g, v)) return s;
  const NodeId id = g.producer(v);
  if (id == kNoNode || !used_once(g, v)) return std::nullopt;
  const Node& n = g.node(id);
  if (n.is("Add") && n.inputs.size() == 2 && n.in(0) != n.in(1)) {
    for (size_t slot = 0; slot < 2; ++slot) {
      auto s = scaled_product(g, n.in(slot));
      if (!s || s->mode != AttentionMask::none || !same_type(g, n.in(slot), v) || !is_f32(g, n.in(1 - slot)))
        continue;
      s->mode = AttentionMask::add;
      s->mask = n.in(1 - slot);
      return s;
    }
  }
  if (n.is("Where")) {
    for (size_t slot : {1u, 2u}) {
      auto s = scaled_product(g, n.in(slot));
      const auto other = n.in(3 - slot) == kNoValue ? std::nullopt : uniform(g, n.in(3 - slot));
      if (!s || !other || s->mode != AttentionMask::none || !same_type(g, n.in(slot), v)) continue;
      s->mode = slot == 1 ? AttentionMask::keep : AttentionMask::drop;
      s->mask = n.in(0);
      s->masked_value = *other;
      return s;
    }
  }
  return std::nullopt;
}

std::optional<AttentionView> as_view(const StridedView& v, const Dims& lead, int64_t rows, int64_t columns) {
  Dims to = lead;
  to.push_back(rows);
  to.push_back(columns);
  const auto all = broadcast_view(v, to);
  if (!all) return std::nullopt;
  return AttentionView{all->offset, all->strides};
}

struct Operand {
  ValueId base = kNoValue;
  AttentionView view;
};

// A factor of one of the products, as [lead..., rows, columns]. Scales on the way are taken into `scale`
// (null: none may be).
std::optional<Operand> operand(const Graph& g, ValueId v, bool transposed, const Dims& lead, int64_t rows,
                               int64_t columns, double* scale) {
  if (!is_f32(g, v)) return std::nullopt;
  auto view = whole_view(g, v);
  if (!view || view->dims.size() < 2) return std::nullopt;
  if (transposed) {
    const size_t n = view->dims.size();
    std::swap(view->dims[n - 2], view->dims[n - 1]);
    std::swap(view->strides[n - 2], view->strides[n - 1]);
  }
  for (;;) {
    trace_back(g, *view);
    double k = 1;
    const ValueId x = scale ? without_scale(g, view->base, k) : view->base;
    if (x == view->base) break;
    *scale *= k;
    view->base = x;
  }
  const auto at = as_view(*view, lead, rows, columns);
  if (!at) return std::nullopt;
  return Operand{view->base, *at};
}

bool contiguous_columns(const AttentionView& view, int64_t columns) {
  return columns == 1 || view.strides.back() == 1;
}

std::optional<Patch> attention(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("MatMul") && !n.is("FusedMatMul")) return std::nullopt;
  const Node* weighted = matmul_of(g, n.out(0));
  if (!weighted || n.in(3) != kNoValue || n.attrs.real("alpha", 1) != 1 ||
      n.attrs.integer("transA", 0) != 0 || !is_f32(g, n.out(0)))
    return std::nullopt;
  const Node* softmax = sole_maker(g, n.in(0), "Softmax");
  if (!softmax || !is_f32(g, n.in(0))) return std::nullopt;
  const Dims score_dims = *static_dims(g, n.in(0)), out_dims = *static_dims(g, n.out(0));
  const size_t rank = score_dims.size();
  const int64_t axis = softmax->attrs.integer("axis", -1);
  if (rank < 2 || rank > kMaxRank || out_dims.size() != rank ||
      (axis != -1 && axis != static_cast<int64_t>(rank) - 1))
    return std::nullopt;
  auto s = scores_of(g, softmax->in(0));
  if (!s || static_dims(g, s->product->out(0)) != score_dims || element_count(out_dims) == 0 ||
      element_count(score_dims) == 0)
    return std::nullopt;

  FusedAttention f;
  f.lead.assign(out_dims.begin(), out_dims.end() - 2);
  if (!std::equal(f.lead.begin(), f.lead.end(), score_dims.begin())) return std::nullopt;
  const Node& p = *s->product;
  const bool trans_q = p.attrs.integer("transA", 0) != 0, trans_k = p.attrs.integer("transB", 0) == 0;
  f.q_len = score_dims[rank - 2];
  f.kv_len = score_dims[rank - 1];
  f.size = dim_of(g, p.in(0), trans_q ? -2 : -1);
  f.v_size = out_dims[rank - 1];
  if (f.size < 1) return std::nullopt;
  const auto q = operand(g, p.in(0), trans_q, f.lead, f.q_len, f.size, &s->scale);
  const auto k = operand(g, p.in(1), trans_k, f.lead, f.kv_len, f.size, &s->scale);
  const auto v = operand(g, n.in(1), n.attrs.integer("transB", 0) != 0, f.lead, f.kv_len, f.v_size, nullptr);
  if (!q || !k || !v || !contiguous_columns(q->view, f.size) || !contiguous_columns(v->view, f.v_size))
    return std::nullopt;
  f.q = q->view;
  f.k = k->view;
  f.v = v->view;
  f.scale = static_cast<float>(s->scale);
  f.out_dims = out_dims;
  if (precision_of(p) == precision_of(n)) f.precision = precision_of(n);
  f.y = {0, row_major_strides(out_dims)};
  std::vector<ValueId> in{q->base, k->base, v->base};
  if (s->mode != AttentionMask::none) {
    auto mask = whole_view(g, s->mask);
    if (!mask) return std::nullopt;
    trace_back(g, *mask);
    const auto at = as_view(*mask, f.lead, f.q_len, f.kv_len);
    if (!at || at->strides.back() > 1) return std::nullopt;
    f.mask = *at;
    f.mask_mode = s->mode;
    f.masked_value = static_cast<float>(s->masked_value);
    in.push_back(mask->base);
  }
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op("FusedAttention", "skyline"), in, to_attrs(f), n.name));
  return patch;
}

// A Transpose of the result: it is written there at once.
std::optional<Patch> result_place(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Transpose") || !is_f32(g, n.in(0)) || !is_f32(g, n.out(0))) return std::nullopt;
  ValueId x = n.in(0);
  const Node* made = sole_maker(g, x, "FusedAttention");
  for (const Node* r = sole_maker(g, x, "Reshape"); !made && r; r = sole_maker(g, x, "Reshape")) {
    x = r->in(0);
    made = sole_maker(g, x, "FusedAttention");
  }
  const auto perm = perm_of(g, n);
  if (!made || !perm) return std::nullopt;
  FusedAttention f = ops::parse_fused_attention(made->attrs);
  const Dims before = *static_dims(g, n.in(0)), after = *static_dims(g, n.out(0));
  const Dims own = row_major_strides(after);
  Dims strides(before.size());
  for (size_t i = 0; i < perm->size(); ++i) strides[static_cast<size_t>((*perm)[i])] = own[i];
  StridedView view{x, 0, f.lead, f.y.strides};
  view.dims.push_back(f.q_len);
  view.dims.push_back(f.v_size);
  const auto moved = moved_view(view, before, strides, 0);
  if (!moved || !contiguous_columns({0, moved->strides}, f.v_size)) return std::nullopt;
  f.y = {moved->offset, moved->strides};
  f.out_dims = after;
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op("FusedAttention", "skyline"), made->inputs, to_attrs(f), made->name));
  return patch;
}

}  // namespace

constinit const Pass kRecogniseAttention{"recognise-attention", Stage::target, attention};
constinit const Pass kPlaceAttention{"place-attention", Stage::target, result_place};

}  // namespace skyline::passes
