// DequantizeLinear -> operator -> QuantizeLinear => the operator on integers. The file says with its Q and DQ
// nodes that the region is 8-bit; sums are then exact in i32 and rounded once, where floats would round on
// the way: results may differ by a step where a float sum falls on a tie.
#include <cmath>
#include <cstring>
#include <limits>

#include "graph/passes/contraction.h"
#include "graph/passes/passes.h"
#include "graph/passes/quantized.h"

namespace skyline::passes {
namespace {

bool is_byte(const Graph& g, ValueId v) {
  const DType t = g.fact(v).dtype;
  return t == DType::i8 || t == DType::u8;
}

// The parameters of a QuantizeLinear or DequantizeLinear node whose integers are `q`.
std::optional<Quantized> parameters(const Graph& g, const Node& n, ValueId q) {
  if (!is_byte(g, q) || n.attrs.integer("block_size", 0) != 0) return std::nullopt;
  const Tensor* scale = g.constant(n.in(1));
  if (!scale || scale->dtype() != DType::f32 || scale->size() != 1) return std::nullopt;
  Quantized out{q, n.in(1), n.in(2), *scale->data<float>(), 0, g.fact(q).dtype};
  if (!(out.scale > 0) || !std::isfinite(out.scale)) return std::nullopt;
  if (n.in(2) != kNoValue) {
    const auto zero = numbers(g, n.in(2), 1);
    if (!zero || zero->size() != 1 || g.fact(n.in(2)).dtype != out.type) return std::nullopt;
    out.zero = static_cast<int32_t>((*zero)[0]);
  }
  return out;
}

// The same, or a Transpose or Reshape of it, which then moves the integers.
struct Source {
  Quantized from;
  const Node* move = nullptr;
  ValueId integers(Patch& patch) const {
    if (!move) return from.q;
    std::vector<ValueId> in = move->inputs;
    in[0] = from.q;
    return patch.add(*move->op, std::move(in), move->attrs, move->name);
  }
};
std::optional<Source> source(const Graph& g, ValueId v) {
  if (v == kNoValue) return std::nullopt;
  const Node* move = maker(g, v, "Transpose");
  if (!move) move = maker(g, v, "Reshape");
  const auto from = dequantized(g, move ? move->in(0) : v);
  return from ? std::optional(Source{*from, move}) : std::nullopt;
}

// Constant i8 or u8 weights with one scale, or one per index of `axis`.
struct Weights {
  ValueId q = kNoValue, scale = kNoValue, zero = kNoValue;
  DType type = DType::undefined;
  std::vector<double> scales;
};
std::optional<Weights> weights(const Graph& g, ValueId v, int axis, int64_t count) {
  const Node* n = v == kNoValue ? nullptr : maker(g, v, "DequantizeLinear");
  if (!n || !g.constant(n->in(0)) || !is_byte(g, n->in(0)) || n->attrs.integer("block_size", 0) != 0)
    return std::nullopt;
  const Tensor* scale = g.constant(n->in(1));
  if (!scale || scale->dtype() != DType::f32) return std::nullopt;
  const int rank = rank_of(g, n->in(0));
  const int64_t given = n->attrs.integer("axis", 1);
  if (scale->size() != 1 && (scale->dims() != Dims{count} || (given < 0 ? given + rank : given) != axis)) {
    return std::nullopt;
  }
  if (n->in(2) != kNoValue && (!g.constant(n->in(2)) || g.fact(n->in(2)).dtype != g.fact(n->in(0)).dtype))
    return std::nullopt;
  const auto scales = numbers(g, n->in(1));
  for (double s : *scales) {
    if (!(s > 0) || !std::isfinite(s)) return std::nullopt;
  }
  return Weights{n->in(0), n->in(1), n->in(2), g.fact(n->in(0)).dtype, *scales};
}

// A bias as i32 in units of x_scale * w_scale, one per output. Nothing if it is not constant or too large; an
// empty vector if there is none.
std::optional<std::vector<int32_t>> integer_bias(const Graph& g, ValueId v, double x_scale, const Weights& w,
                                                 int64_t count) {
  if (v == kNoValue) return std::vector<int32_t>{};
  const Node* n = maker(g, v, "DequantizeLinear");
  const auto values = numbers(g, n ? n->in(0) : v, 1 << 24);
  if (!values || static_cast<int64_t>(values->size()) != count) return std::nullopt;
  const auto scales = n ? numbers(g, n->in(1), count) : std::vector<double>{1.0};
  if (!scales || (scales->size() != 1 && scales->size() != values->size())) return std::nullopt;
  if (n && n->in(2) != kNoValue && !is_uniform(g, n->in(2), 0)) return std::nullopt;
  constexpr double kMost = 0x3fffffff;  // half of what the sums can be
  std::vector<int32_t> out;
  for (size_t i = 0; i < values->size(); ++i) {
    // The product as the operator's own f32 arithmetic has it.
    const double unit =
        static_cast<float>(x_scale) * static_cast<float>(w.scales[w.scales.size() == 1 ? 0 : i]);
    const double own = (*scales)[scales->size() == 1 ? 0 : i];
    const double b = n && is_near(own, unit) ? (*values)[i] : std::nearbyint((*values)[i] * own / unit);
    if (!(std::fabs(b) <= kMost)) return std::nullopt;
    out.push_back(static_cast<int32_t>(b));
  }
  return out;
}

ValueId bias_constant(Patch& patch, const std::vector<int32_t>& b) {
  if (b.empty()) return kNoValue;
  Tensor t(DType::i32, {static_cast<int64_t>(b.size())});
  std::memcpy(t.mutable_raw(), b.data(), b.size() * sizeof(int32_t));
  return patch.constant(std::move(t), "bias");
}

// Whether the activation changes nothing that the rounding to y's integers does not do by itself.
bool rounding_clips(const Attrs& attrs, const Quantized& y) {
  const std::string name = attrs.text("activation", "");
  if (name.empty()) return true;
  double low = 0, high = std::numeric_limits<double>::infinity();
  if (name == "clip") {
    const std::vector<float> p = attrs.reals("activation_params", {});
    if (p.size() != 2) return false;
    low = p[0];
    high = p[1];
  } else if (name != "relu") {
    return false;
  }
  const double least = y.type == DType::u8 ? 0 : -128, most = y.type == DType::u8 ? 255 : 127;
  return std::nearbyint(low / y.scale) + y.zero <= least && std::nearbyint(high / y.scale) + y.zero >= most;
}

// ---- the operators; v is the float result that only the QuantizeLinear node reads

std::optional<Patch> conv(const Graph& g, const Node& q, const Quantized& y) {
  const NodeId id = g.producer(q.in(0));
  const Node& n = g.node(id);
  if ((!n.is("Conv") && !n.is("FusedConv")) || n.attrs.has("layout") || n.in(3) != kNoValue)
    return std::nullopt;
  const auto x = source(g, n.in(0));
  const int64_t outputs = dim_of(g, n.in(1), 0);
  const auto w = weights(g, n.in(1), 0, outputs);
  if (!x || !w || !rounding_clips(n.attrs, y)) return std::nullopt;
  const auto bias = integer_bias(g, n.in(2), x->from.scale, *w, outputs);
  if (!bias) return std::nullopt;
  Attrs attrs = n.attrs;
  attrs.erase("activation");
  attrs.erase("activation_params");
  Patch patch(g);
  std::vector<ValueId> in = {x->integers(patch),
                             x->from.scale_id,
                             zero_of(patch, x->from.zero_id, x->from.type),
                             w->q,
                             w->scale,
                             zero_of(patch, w->zero, w->type),
                             y.scale_id,
                             zero_of(patch, y.zero_id, y.type)};
  if (const ValueId b = bias_constant(patch, *bias); b != kNoValue) in.push_back(b);
  patch.replace(q.out(0), patch.add(op("QLinearConv"), in, attrs, n.name));
  return patch;
}

std::optional<Patch> product(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  const bool gemm = n.is("Gemm") || n.is("FusedGemm");
  if (!gemm && !n.is("MatMul")) return std::nullopt;
  if (rank_of(g, n.in(1)) != 2 || n.in(3) != kNoValue || !rounding_clips(n.attrs, y)) return std::nullopt;
  const int axis = n.attrs.integer("transB", 0) ? 0 : 1;
  const int64_t columns = dim_of(g, n.in(1), axis);
  const auto a = dequantized(g, n.in(0));
  const auto b = weights(g, n.in(1), axis, columns);
  if (!a || !b || n.attrs.real("alpha", 1) != 1 || n.attrs.real("beta", 1) != 1) return std::nullopt;
  const auto bias = integer_bias(g, n.in(2), a->scale, *b, columns);
  if (!bias) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = {a->q, a->scale_id, zero_of(patch, a->zero_id, a->type),
                             b->q, b->scale,    zero_of(patch, b->zero, b->type)};
  const ValueId y_zero = zero_of(patch, y.zero_id, y.type);
  if (!gemm) {
    in.insert(in.end(), {y.scale_id, y_zero});
    patch.replace(q.out(0), patch.add(op("QLinearMatMul"), in, {}, n.name));
    return patch;
  }
  Attrs attrs;
  for (const char* flag : {"transA", "transB"}) attrs.set(flag, n.attrs.integer(flag, 0));
  in.insert(in.end(), {bias_constant(patch, *bias), y.scale_id, y_zero});
  patch.replace(q.out(0), patch.add(op("QGemm", "com.microsoft"), in, attrs, n.name));
  return patch;
}

std::optional<Patch> add(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  const bool sum = n.is("Add");
  if (!sum && !n.is("Mul")) return std::nullopt;
  const auto a = dequantized(g, n.in(0)), b = dequantized(g, n.in(1));
  if (!a || !b || a->type != y.type || b->type != y.type) return std::nullopt;
  Patch patch(g);
  const std::vector<ValueId> in = {a->q,
                                   a->scale_id,
                                   zero_of(patch, a->zero_id, y.type),
                                   b->q,
                                   b->scale_id,
                                   zero_of(patch, b->zero_id, y.type),
                                   y.scale_id,
                                   zero_of(patch, y.zero_id, y.type)};
  patch.replace(q.out(0), patch.add(op(sum ? "QLinearAdd" : "QLinearMul", "com.microsoft"), in, {}, n.name));
  return patch;
}

// A pool over the whole of what there is.
bool covers_all(const Graph& g, const Node& n) {
  const auto dims = static_dims(g, n.in(0));
  if (!dims || dims->size() < 3) return false;
  for (int64_t pad : n.attrs.integers("pads", {})) {
    if (pad != 0) return false;
  }
  return n.attrs.integers("kernel_shape", {}) == Dims(dims->begin() + 2, dims->end()) &&
         n.attrs.text("auto_pad", "NOTSET") == "NOTSET" && dim_of(g, n.out(0), 2) == 1 &&
         dim_of(g, n.out(0), -1) == 1;
}

std::optional<Patch> pool(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  const bool global = n.is("GlobalAveragePool");
  if ((!global && !n.is("AveragePool")) || n.attrs.has("layout")) return std::nullopt;
  const auto x = dequantized(g, n.in(0));
  if (!x || x->type != y.type) return std::nullopt;
  Patch patch(g);
  const std::vector<ValueId> in = {x->q, x->scale_id, zero_of(patch, x->zero_id, y.type), y.scale_id,
                                   zero_of(patch, y.zero_id, y.type)};
  if (global || covers_all(g, n)) {
    patch.replace(q.out(0), patch.add(op("QLinearGlobalAveragePool", "com.microsoft"), in, {}, n.name));
  } else {
    patch.replace(q.out(0), patch.add(op("QLinearAveragePool", "com.microsoft"), in, n.attrs, n.name));
  }
  return patch;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("QuantizeLinear") || !used_once(g, n.in(0)) || g.producer(n.in(0)) == kNoNode)
    return std::nullopt;
  if (g.fact(n.in(0)).dtype != DType::f32) return std::nullopt;
  const auto y = parameters(g, n, n.out(0));
  if (!y) return std::nullopt;
  for (auto* rewrite :
       {conv, product, add, pool, quantized_move, quantized_concat, quantized_softmax, quantized_function}) {
    if (auto patch = rewrite(g, n, *y)) return patch;
  }
  return std::nullopt;
}

// ---- a product of integers whose result stays f32

// The bias of a product as f32, one per column; nothing if it is not constant. Empty: there is none.
std::optional<std::vector<double>> real_bias(const Graph& g, ValueId v, int64_t count) {
  if (v == kNoValue) return std::vector<double>{};
  const Node* n = maker(g, v, "DequantizeLinear");
  auto values = numbers(g, n ? n->in(0) : v, 1 << 24);
  if (!values || static_cast<int64_t>(values->size()) != count) return std::nullopt;
  if (!n) return values;
  const auto scales = numbers(g, n->in(1), count);
  if (!scales || (scales->size() != 1 && scales->size() != values->size())) return std::nullopt;
  if (n->in(2) != kNoValue && !is_uniform(g, n->in(2), 0)) return std::nullopt;
  for (size_t i = 0; i < values->size(); ++i) (*values)[i] *= (*scales)[scales->size() == 1 ? 0 : i];
  return values;
}

// The operator that an epilogue's activation was.
const OpDef* operator_of(const std::string& activation) {
  for (const auto& [name, o] : {std::pair{"relu", "Relu"},
                                {"sigmoid", "Sigmoid"},
                                {"tanh", "Tanh"},
                                {"hard_swish", "HardSwish"},
                                {"silu", "Swish"},
                                {"gelu", "Gelu"}}) {
    if (activation == name) return &op(o);
  }
  return nullptr;
}

Tensor transposed(const Tensor& t) {
  Tensor out(t.dtype(), {t.dim(1), t.dim(0)});
  const auto* from = static_cast<const uint8_t*>(t.raw());
  auto* to = static_cast<uint8_t*>(out.mutable_raw());
  for (int64_t i = 0; i < t.dim(0); ++i) {
    for (int64_t j = 0; j < t.dim(1); ++j) to[j * t.dim(0) + i] = from[i * t.dim(1) + j];
  }
  return out;
}

std::optional<Patch> run_to_float(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("MatMul") && !n.is("Gemm") && !n.is("FusedMatMul") && !n.is("FusedGemm")) return std::nullopt;
  if (rank_of(g, n.in(1)) != 2 || g.fact(n.out(0)).dtype != DType::f32 || n.attrs.integer("transA", 0) != 0 ||
      n.attrs.real("alpha", 1) != 1 || n.attrs.real("beta", 1) != 1 || n.attrs.has("activation_params")) {
    return std::nullopt;
  }
  const std::string activation = n.attrs.text("activation", "");
  if (!activation.empty() && !operator_of(activation)) return std::nullopt;
  const bool turned = n.attrs.integer("transB", 0) != 0;
  const int64_t columns = dim_of(g, n.in(1), turned ? 0 : 1);
  const auto a = dequantized(g, n.in(0));
  const auto b = weights(g, n.in(1), turned ? 0 : 1, columns);
  const auto bias = a && b ? real_bias(g, n.in(2), columns) : std::nullopt;
  if (!bias) return std::nullopt;
  Patch patch(g);
  const ValueId w = turned ? patch.constant(transposed(*g.constant(b->q)), g.value(b->q).name) : b->q;
  std::vector<ValueId> in = {
      a->q, w, a->scale_id, b->scale, zero_of(patch, a->zero_id, a->type), zero_of(patch, b->zero, b->type)};
  if (!bias->empty()) in.push_back(patch.constant(tensor_of(DType::f32, {columns}, *bias), n.name + ".bias"));
  ValueId y = patch.add(op("MatMulIntegerToFloat", "com.microsoft"), in, {}, n.name);
  if (n.in(kResidual) != kNoValue) y = patch.add(op("Add"), {y, n.in(kResidual)}, {}, n.name + ".residual");
  if (!activation.empty()) y = patch.add(*operator_of(activation), {y}, {}, n.name + ".activation");
  patch.replace(n.out(0), y);
  return patch;
}

}  // namespace

std::optional<Quantized> dequantized(const Graph& g, ValueId v) {
  const Node* n = v == kNoValue ? nullptr : maker(g, v, "DequantizeLinear");
  if (!n || g.fact(v).dtype != DType::f32) return std::nullopt;
  return parameters(g, *n, n->in(0));
}

ValueId zero_of(Patch& patch, ValueId given, DType type) {
  if (given != kNoValue) return given;
  Tensor t(type, {});
  std::memset(t.mutable_raw(), 0, static_cast<size_t>(t.bytes()));
  return patch.constant(std::move(t), "zero_point");
}

constinit const Pass kFuseIntegerToFloat{"fuse-integer-to-float", Stage::target, run_to_float};
constinit const Pass kFuseQuantized{"fuse-quantized", Stage::target, run};

}  // namespace skyline::passes
