// Activations quantized as they come, and weights that are integers in the file:
//   MatMulInteger -> Cast -> Mul by scales -> Add         => MatMulIntegerToFloat
//   DynamicQuantizeLinear -> MatMulIntegerToFloat          => DynamicQuantizeMatMul
//   DequantizeLinear of constant weights -> product of f32 => MatMulNBits: weights stay integers in memory
// Scales of activations are one for all, or one for each row (of every token).
#include <algorithm>
#include <bit>

#include "graph/passes/contraction.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

constexpr std::string_view kMicrosoft = "com.microsoft";

bool is_microsoft(const Node* n, std::string_view name) {
  return n && n->op->domain == kMicrosoft && n->op->name == name;
}
const Node* microsoft_maker(const Graph& g, ValueId v, std::string_view name) {
  if (v == kNoValue || g.producer(v) == kNoNode || !used_once(g, v)) return nullptr;
  const Node* n = &g.node(g.producer(v));
  return is_microsoft(n, name) && n->out(0) == v ? n : nullptr;
}

// ---- MatMulInteger -> Cast -> Mul

// A constant of one number or one per column, as such a vector; undefined if it is none.
Tensor column_scale(const Graph& g, ValueId v, int64_t columns) {
  const Tensor* t = v == kNoValue ? nullptr : g.constant(v);
  if (!t || t->dtype() != DType::f32) return {};
  if (t->size() == 1) return Tensor::of<float>({}, {t->data<float>(), t->data<float>() + 1});
  if (t->size() != columns || t->rank() < 1 || t->dims().back() != columns) return {};
  return Tensor::of<float>({columns}, {t->data<float>(), t->data<float>() + columns});
}

// Scales of the rows of A, and of the columns of B.
struct Scales {
  ValueId rows = kNoValue;  // kNoValue: 1
  bool per_row = false;
  Tensor columns;  // undefined: 1
};
std::optional<Scales> scales_of(const Graph& g, ValueId v, const Dims& out) {
  const auto rows = [&](ValueId x) -> std::optional<Scales> {
    const auto dims = static_dims(g, x);
    if (!dims || g.fact(x).dtype != DType::f32) return std::nullopt;
    if (element_count(*dims) == 1) return Scales{x, false, {}};
    Dims wanted = out;
    wanted.back() = 1;
    if (*dims != wanted) return std::nullopt;
    return Scales{x, true, {}};
  };
  if (Tensor t = column_scale(g, v, out.back()); t.defined()) return Scales{kNoValue, false, std::move(t)};
  const Node* mul = maker(g, v, "Mul");
  for (int side : {0, 1}) {
    if (!mul) break;
    Tensor t = column_scale(g, mul->in(static_cast<size_t>(side)), out.back());
    auto r = t.defined() ? rows(mul->in(static_cast<size_t>(1 - side))) : std::nullopt;
    if (!r) continue;
    r->columns = std::move(t);
    return r;
  }
  return rows(v);
}

ValueId reshaped(Patch& patch, ValueId v, const Dims& dims, const std::string& name) {
  return patch.add(op("Reshape"), {v, patch.constant(Tensor::vector(dims), name + ".shape")}, {}, name);
}

std::optional<Patch> scale_sums(const Graph& g, const Node& mul) {
  for (int side : {0, 1}) {
    const Node* cast = sole_maker(g, mul.in(static_cast<size_t>(side)), "Cast");
    const Node* sums = cast ? sole_maker(g, cast->in(0), "MatMulInteger") : nullptr;
    const auto out = sums ? static_dims(g, sums->out(0)) : std::nullopt;
    const auto a = sums ? static_dims(g, sums->in(0)) : std::nullopt;
    if (!out || !a || a->size() < 2 || rank_of(g, sums->in(1)) != 2 ||
        g.fact(cast->out(0)).dtype != DType::f32 || static_dims(g, mul.out(0)) != out ||
        element_count(*out) == 0) {
      continue;
    }
    const ValueId a_zero = sums->in(2);
    if (a_zero != kNoValue && g.fact(a_zero).is_static() && element_count(g.fact(a_zero).static_dims()) != 1)
      continue;
    const auto s = scales_of(g, mul.in(static_cast<size_t>(1 - side)), *out);
    if (!s) continue;
    Patch patch(g);
    const int64_t rows = element_count(*out) / out->back();
    ValueId x = sums->in(0), a_scale = s->rows;
    if (a_scale == kNoValue) {
      a_scale = patch.constant(Tensor::scalar(1.0f), mul.name + ".one");
    } else {
      a_scale = reshaped(patch, a_scale, s->per_row ? Dims{rows} : Dims{}, mul.name + ".a_scale");
    }
    const bool flat = s->per_row && a->size() > 2;
    if (flat) x = reshaped(patch, x, {rows, a->back()}, mul.name + ".rows");
    const Tensor columns = s->columns.defined() ? s->columns : Tensor::scalar(1.0f);
    ValueId y = patch.add(
        op("MatMulIntegerToFloat", kMicrosoft),
        {x, sums->in(1), a_scale, patch.constant(columns, mul.name + ".b_scale"), a_zero, sums->in(3)}, {},
        sums->name);
    if (flat) y = reshaped(patch, y, *out, mul.name + ".out");
    patch.replace(mul.out(0), y);
    return patch;
  }
  return std::nullopt;
}

// ---- what follows

std::optional<Patch> add_bias(const Graph& g, const Node& add) {
  for (int side : {0, 1}) {
    const ValueId v = add.in(static_cast<size_t>(side)), b = add.in(static_cast<size_t>(1 - side));
    const Node* move = sole_maker(g, v, "Reshape");
    const Node* product = microsoft_maker(g, move ? move->in(0) : v, "MatMulIntegerToFloat");
    if (!product || product->in(6) != kNoValue) continue;
    const int64_t columns = dim_of(g, product->out(0), -1);
    const Tensor* bias = g.constant(b);
    if (!bias || bias->dtype() != DType::f32 || bias->dims() != Dims{columns} ||
        dim_of(g, v, -1) != columns || !same_dims(g.fact(v), g.fact(add.out(0)))) {
      continue;
    }
    Patch patch(g);
    std::vector<ValueId> in = product->inputs;
    in.resize(7, kNoValue);
    in[6] = b;
    ValueId y = patch.add(*product->op, in, product->attrs, product->name);
    if (move) y = patch.add(*move->op, {y, move->in(1)}, move->attrs, move->name);
    patch.replace(add.out(0), y);
    return patch;
  }
  return std::nullopt;
}

// Where nothing else reads the integers of an activation.
std::optional<Patch> quantize_inside(const Graph& g, const Node& n) {
  const NodeId id = g.producer(n.in(0));
  if (id == kNoNode || !g.node(id).is("DynamicQuantizeLinear")) return std::nullopt;
  const Node& q = g.node(id);
  const Node* move = n.in(2) == kNoValue ? nullptr : sole_maker(g, n.in(2), "Reshape");
  const ValueId scale = move ? move->in(0) : n.in(2);
  if (q.out(0) != n.in(0) || q.out(1) != scale || q.out(2) != n.in(4)) return std::nullopt;
  for (ValueId v : q.outputs) {
    if (!used_once(g, v)) return std::nullopt;
  }
  Patch patch(g);
  patch.replace(n.out(0), patch.add(op("DynamicQuantizeMatMul", kMicrosoft),
                                    {q.in(0), n.in(1), n.in(3), n.in(5), n.in(6)}, {}, n.name));
  return patch;
}

std::optional<Patch> run_dynamic(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.is("Mul")) return scale_sums(g, n);
  if (n.is("Add")) return add_bias(g, n);
  if (is_microsoft(&n, "MatMulIntegerToFloat")) return quantize_inside(g, n);
  return std::nullopt;
}

// ---- weights that stay integers

// K x N codes less the middle of their range, in blocks along K with a scale and a zero point each.
struct Weights {
  int64_t k = 0, n = 0, block = 0, bits = 8;
  std::vector<uint8_t> codes;  // [n][k]
  std::vector<float> scale;    // [n][blocks]
  std::vector<uint8_t> zero;   // the same; empty: all in the middle
  int64_t blocks() const { return (k + block - 1) / block; }
};

int code(const Tensor& t, int64_t i) {
  const auto* bytes = static_cast<const uint8_t*>(t.raw());
  return t.dtype() == DType::i8 || t.dtype() == DType::i4 ? static_cast<int8_t>(bytes[i]) : bytes[i];
}

std::optional<Weights> weights(const Graph& g, ValueId v, bool turned) {
  const Node* dq = v == kNoValue ? nullptr : maker(g, v, "DequantizeLinear");
  const Tensor *q = dq ? g.constant(dq->in(0)) : nullptr, *scale = dq ? g.constant(dq->in(1)) : nullptr;
  if (!q || !scale || q->rank() != 2 || q->size() == 0 || scale->dtype() != DType::f32) return std::nullopt;
  const DType t = q->dtype();
  const bool four = t == DType::i4 || t == DType::u4;
  if (!four && t != DType::i8 && t != DType::u8) return std::nullopt;
  const Tensor* zero = dq->in(2) == kNoValue ? nullptr : g.constant(dq->in(2));
  if (dq->in(2) != kNoValue && (!zero || zero->dtype() != t || zero->dims() != scale->dims()))
    return std::nullopt;
  Weights w;
  w.bits = four ? 4 : 8;
  const int k_axis = turned ? 1 : 0;
  w.k = q->dim(k_axis);
  w.n = q->dim(1 - k_axis);
  int64_t axis = dq->attrs.integer("axis", 1);
  if (axis < 0) axis += 2;
  const int64_t given = dq->attrs.integer("block_size", 0);
  // The next power of two holds all of K as one block.
  w.block =
      std::max<int64_t>(16, given ? given : static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(w.k))));
  if (w.block > (1 << 20)) return std::nullopt;
  if (given && (axis != k_axis || given < 16 || !std::has_single_bit(static_cast<uint64_t>(given))))
    return std::nullopt;
  const bool one = scale->size() == 1 && scale->rank() <= 1 && !given;
  if (!given && !one && (axis == k_axis || scale->dims() != Dims{w.n})) return std::nullopt;
  const int64_t blocks = w.blocks();
  if (given && scale->dims() != (turned ? Dims{w.n, blocks} : Dims{blocks, w.n})) return std::nullopt;
  const int middle = t == DType::i8 ? 128 : t == DType::i4 ? 8 : 0;  // from signed to unsigned codes
  bool centered = true;
  for (int64_t j = 0; j < w.n; ++j) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t at = one ? 0 : !given ? j : turned ? j * blocks + b : b * w.n + j;
      w.scale.push_back(scale->data<float>()[at]);
      const int z = (zero ? code(*zero, at) : 0) + middle;
      w.zero.push_back(static_cast<uint8_t>(z));
      centered = centered && z == 1 << (w.bits - 1);
    }
    for (int64_t k = 0; k < w.k; ++k)
      w.codes.push_back(static_cast<uint8_t>(code(*q, turned ? j * w.k + k : k * w.n + j) + middle));
  }
  if (centered) w.zero.clear();
  return w;
}

// Codes of `bits`, each row of `count` in bytes of its own.
Tensor packed_codes(const std::vector<uint8_t>& codes, int64_t rows, int64_t count, int64_t bits, Dims dims) {
  Tensor out = Tensor::zeros(DType::u8, std::move(dims));
  auto* to = static_cast<uint8_t*>(out.mutable_raw());
  const int64_t row = out.size() / rows;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      const uint8_t c = codes[static_cast<size_t>(i * count + j)];
      to[i * row + j * bits / 8] |= static_cast<uint8_t>(c << (j * bits % 8));
    }
  }
  return out;
}

std::optional<Patch> run_keep(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("MatMul") && !n.is("Gemm") && !n.is("FusedMatMul") && !n.is("FusedGemm")) return std::nullopt;
  if (g.fact(n.in(0)).dtype != DType::f32 || g.fact(n.out(0)).dtype != DType::f32 ||
      rank_of(g, n.in(0)) < 1 || n.attrs.integer("transA", 0) != 0 || n.attrs.real("alpha", 1) != 1 ||
      n.attrs.real("beta", 1) != 1 || n.attrs.has("activation_params")) {
    return std::nullopt;
  }
  const OpDef* activation = nullptr;
  if (const std::string name = n.attrs.text("activation", ""); !name.empty()) {
    for (const auto& [text, o] :
         {std::pair{"relu", "Relu"}, {"sigmoid", "Sigmoid"}, {"tanh", "Tanh"}, {"gelu", "Gelu"}}) {
      if (name == text) activation = &op(o);
    }
    if (!activation) return std::nullopt;
  }
  const auto w = weights(g, n.in(1), n.attrs.integer("transB", 0) != 0);
  if (!w || dim_of(g, n.in(0), -1) != w->k) return std::nullopt;
  Patch patch(g);
  const int64_t blocks = w->blocks(), bytes = w->block * w->bits / 8;
  std::vector<ValueId> in = {
      n.in(0),
      patch.constant(packed_codes(w->codes, w->n, w->k, w->bits, {w->n, blocks, bytes}), n.name + ".codes"),
      patch.constant(Tensor::of<float>({w->n * blocks}, w->scale), n.name + ".scales")};
  if (!w->zero.empty()) {
    const int64_t row = (blocks * w->bits + 7) / 8;
    in.push_back(
        patch.constant(packed_codes(w->zero, w->n, blocks, w->bits, {w->n, row}), n.name + ".zeros"));
  }
  const Attrs attrs{{"K", w->k}, {"N", w->n}, {"bits", w->bits}, {"block_size", w->block}};
  ValueId y = patch.add(op("MatMulNBits", kMicrosoft), in, attrs, n.name);
  for (const size_t i : {size_t{2}, size_t{3}}) {
    if (n.in(i) != kNoValue)
      y = patch.add(op("Add"), {y, n.in(i)}, {}, n.name + (i == 2 ? ".bias" : ".residual"));
  }
  if (activation) y = patch.add(*activation, {y}, {}, n.name + ".activation");
  patch.replace(n.out(0), y);
  return patch;
}

}  // namespace

constinit const Pass kFuseDynamic{"fuse-dynamic", Stage::target, run_dynamic};
constinit const Pass kKeepIntegerWeights{"keep-integer-weights", Stage::target, run_keep};

}  // namespace skyline::passes
