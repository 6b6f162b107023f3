// Attention operators of domain com.microsoft: MultiHeadAttention, Attention (with its projections),
// GroupQueryAttention, RotaryEmbedding.
#include <cmath>
#include <limits>

#include "graph/ops/attention_core.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/rotary.h"

namespace skyline::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t heads_attr(const Attrs& a, std::string_view name = "num_heads") {
  const int64_t n = a.integer(name);
  if (n < 1) reject("attribute " + std::string(name) + " is " + std::to_string(n));
  return n;
}

int64_t per_head(int64_t hidden, int64_t heads, std::string_view what) {
  if (hidden % heads != 0) reject(std::to_string(heads) + " heads do not divide " + std::string(what));
  return hidden / heads;
}

double scale_attr(const Attrs& a, int64_t size) {
  const float s = a.real("scale", 0);
  return s != 0 ? s : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, size)));
}

void refuse_inputs(const Node& node, size_t from) {
  for (size_t i = from; i < node.inputs.size(); ++i) {
    if (node.in(i) != kNoValue) refuse(std::string(node.op->name) + " with input " + std::to_string(i));
  }
}

// ---- what MultiHeadAttention and Attention share: padding mask, bias, causality, past
// ------------------------------------------

// Masked keys get `mask_filter_value` added, as ONNX Runtime does; the causal frontier is absolute.
struct Masks {
  std::vector<double> padding;  // [batch, q_len or 1, kv_len] of 0 or the filter value; empty: none
  bool per_query = false;
  std::vector<double> extra;  // attention_bias
  Dims extra_strides;
  bool causal = false;
  int64_t past = 0, q_len = 0, kv_len = 0;

  void operator()(int64_t b, int64_t h, int64_t i, double* row) const {
    for (int64_t j = 0; j < kv_len; ++j) {
      row[j] = 0;
      if (!padding.empty())
        row[j] += padding[static_cast<size_t>((per_query ? b * q_len + i : b) * kv_len + j)];
      if (!extra.empty()) {
        row[j] += extra[static_cast<size_t>(b * extra_strides[0] + h * extra_strides[1] +
                                            i * extra_strides[2] + j * extra_strides[3])];
      }
      if (causal && j > past + i) row[j] = -kInfinity;
    }
  }
};

void read_padding(EvalContext& c, size_t input, const AttentionProblem& p, Masks& m) {
  if (!c.has(input)) return;
  const Tensor& t = c.in(input);
  const double filter = c.attrs().real("mask_filter_value", -10000.0f);
  const Dims mask = c.ints(input);
  if (t.dims() == Dims{p.batch}) {  // lengths
    for (int64_t n : mask) {
      for (int64_t j = 0; j < p.kv_len; ++j) m.padding.push_back(j < n ? 0 : filter);
    }
    return;
  }
  m.per_query = t.rank() == 3;
  const Dims whole = m.per_query ? Dims{p.batch, p.q_len, p.kv_len} : Dims{p.batch, p.kv_len};
  if (t.dims() != whole) refuse("a mask of shape " + to_string(t.dims()));
  for (int64_t v : mask) m.padding.push_back(v > 0 ? 0 : filter);
}

void read_extra(EvalContext& c, size_t input, const AttentionProblem& p, Masks& m) {
  if (!c.has(input)) return;
  const Dims whole{p.batch, p.q_heads, p.q_len, p.kv_len};
  const Tensor& t = c.in(input);
  if (broadcast_dims(t.dims(), whole) != whole) reject("attention_bias has shape " + to_string(t.dims()));
  m.extra_strides = broadcast_strides(t.dims(), whole);
  m.extra = to_doubles(t);
}

// past [matrices, past_len, size] before now [matrices, len, size].
std::vector<double> append(const double* past, int64_t past_size, const std::vector<double>& now,
                           int64_t matrices) {
  const int64_t now_size = matrices > 0 ? static_cast<int64_t>(now.size()) / matrices : 0;
  std::vector<double> out;
  for (int64_t i = 0; i < matrices; ++i) {
    out.insert(out.end(), past + i * past_size, past + (i + 1) * past_size);
    out.insert(out.end(), now.begin() + i * now_size, now.begin() + (i + 1) * now_size);
  }
  return out;
}

Tensor attend_packed(EvalContext& c, const AttentionProblem& p, DType t) {
  c.make(DType::f64, {p.batch, p.q_heads, p.q_len, p.kv_len});
  const std::vector<double> y = attend(p, ScoreStage::raw, nullptr, c.limits);
  return make_from(c, t, {p.batch, p.q_len, p.q_heads * p.v_size},
                   merge_heads(y, p.batch, p.q_heads, p.q_len, p.v_size));
}

// ---- MultiHeadAttention: query, key, value, [bias], [mask], [attention_bias], [past_key], [past_value]
// --------------------------

void infer_multi_head(InferContext& c) {
  const Fact& q = c.in(0);
  require_float(q.dtype, "query");
  const int64_t heads = heads_attr(c.attrs());
  refuse_inputs(c.node, 8);
  if (!c.has(1) || !c.has(2)) refuse("MultiHeadAttention with packed inputs");
  const Fact &k = c.in(1), &v = c.in(2);
  if ((q.ranked && q.rank() != 3) || (k.ranked && k.rank() != 3) || (v.ranked && v.rank() != 3)) {
    refuse("MultiHeadAttention with inputs of a rank other than 3");
  }
  const SymDims qd = q.ranked ? q.dims : SymDims(3), kd = k.ranked ? k.dims : SymDims(3),
                vd = v.ranked ? v.dims : SymDims(3);
  const auto size = [&](Dim d) {
    return d.known() ? Dim(per_head(d.value(), heads, "hidden")) : Dim::unknown();
  };
  Dim total = agree(kd[1], vd[1], "length of value");
  if (c.has(6)) {
    const Fact& past = c.in(6);
    const Dim before = past.ranked && past.rank() == 4 ? past.dims[2] : Dim::unknown();
    total = total.known() && before.known() ? Dim(total.value() + before.value()) : Dim::unknown();
  }
  c.out(0, Fact(q.dtype, {qd[0], qd[1], vd[2]}));
  c.out(1, Fact(q.dtype, {qd[0], heads, total, size(kd[2])}));
  c.out(2, Fact(q.dtype, {qd[0], heads, total, size(vd[2])}));
}

void add_bias(std::vector<double>& v, const double* bias, int64_t width) {
  for (size_t i = 0; i < v.size(); ++i) v[i] += bias[static_cast<int64_t>(i) % width];
}

void eval_multi_head(EvalContext& c) {
  const int64_t heads = heads_attr(c.attrs());
  refuse_inputs(c.node, 8);
  if (!c.has(1) || !c.has(2)) refuse("MultiHeadAttention with packed inputs");
  const Tensor &q = c.in(0), &k = c.in(1), &v = c.in(2);
  require_float(q.dtype(), "query");
  if (q.rank() != 3 || k.rank() != 3 || v.rank() != 3)
    refuse("MultiHeadAttention with inputs of a rank other than 3");
  AttentionProblem p{.batch = q.dim(0),
                     .q_heads = heads,
                     .kv_heads = heads,
                     .q_len = q.dim(1),
                     .kv_len = k.dim(1),
                     .size = per_head(q.dim(2), heads, "query"),
                     .v_size = per_head(v.dim(2), heads, "value")};
  require_dims(k, {p.batch, p.kv_len, q.dim(2)}, "key");
  require_dims(v, {p.batch, p.kv_len, v.dim(2)}, "value");
  p.scale = scale_attr(c.attrs(), p.size);
  p.q = to_doubles(q);
  p.k = to_doubles(k);
  p.v = to_doubles(v);
  if (c.has(3)) {
    require_dims(c.in(3), {2 * q.dim(2) + v.dim(2)}, "bias");
    const std::vector<double> bias = to_doubles(c.in(3));
    add_bias(p.q, bias.data(), q.dim(2));
    add_bias(p.k, bias.data() + q.dim(2), q.dim(2));
    add_bias(p.v, bias.data() + 2 * q.dim(2), v.dim(2));
  }
  p.q = split_heads(p.q, p.batch, p.q_len, heads, p.size);
  p.k = split_heads(p.k, p.batch, p.kv_len, heads, p.size);
  p.v = split_heads(p.v, p.batch, p.kv_len, heads, p.v_size);
  Masks m;
  if (c.has(6) != c.has(7)) reject("past_key and past_value go together");
  if (c.has(6)) {
    const Tensor &pk = c.in(6), &pv = c.in(7);
    if (pk.rank() != 4) reject("past_key of rank " + std::to_string(pk.rank()));
    m.past = pk.dim(2);
    require_dims(pk, {p.batch, heads, m.past, p.size}, "past_key");
    require_dims(pv, {p.batch, heads, m.past, p.v_size}, "past_value");
    p.k = append(to_doubles(pk).data(), m.past * p.size, p.k, p.batch * heads);
    p.v = append(to_doubles(pv).data(), m.past * p.v_size, p.v, p.batch * heads);
    p.kv_len += m.past;
  }
  m.q_len = p.q_len;
  m.kv_len = p.kv_len;
  m.causal = flag(c.attrs(), "unidirectional");
  read_padding(c, 4, p, m);
  read_extra(c, 5, p, m);
  p.bias = m;
  c.out(0, attend_packed(c, p, q.dtype()));
  if (c.wants(1)) c.out(1, make_from(c, q.dtype(), {p.batch, heads, p.kv_len, p.size}, p.k));
  if (c.wants(2)) c.out(2, make_from(c, q.dtype(), {p.batch, heads, p.kv_len, p.v_size}, p.v));
}

// ---- Attention: input, weights, [bias], [mask_index], [past], [attention_bias]
// -----------------------------------------------

// Hidden sizes of Q, K, V.
Dims hidden_sizes(const Attrs& a, int64_t columns) {
  Dims sizes = a.integers("qkv_hidden_sizes", {});
  if (sizes.empty()) sizes = {columns / 3, columns / 3, columns / 3};
  if (sizes.size() != 3 || sizes[0] != sizes[1] || sizes[0] < 1 || sizes[2] < 1 ||
      sizes[0] + sizes[1] + sizes[2] != columns) {
    reject("weights of " + std::to_string(columns) + " columns do not give query, key and value");
  }
  return sizes;
}

void check_projected(const Attrs& a, const Node& node) {
  refuse_inputs(node, 6);
  if (flag(a, "do_rotary")) refuse("Attention with do_rotary");
}

void infer_projected(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1);
  require_float(x.dtype, "input");
  const int64_t heads = heads_attr(c.attrs());
  check_projected(c.attrs(), c.node);
  const SymDims xd = x.ranked ? x.dims : SymDims(3), wd = w.ranked ? w.dims : SymDims(2);
  if (xd.size() != 3 || wd.size() != 2) reject("input must have rank 3 and weights rank 2");
  agree(xd[2], wd[0], "rows of the weights");
  Dim hidden, size;
  if (wd[1].known()) {
    const Dims sizes = hidden_sizes(c.attrs(), wd[1].value());
    hidden = sizes[2];
    size = per_head(sizes[2], heads, "hidden");
  }
  Dim total = xd[1];
  if (c.has(4)) {
    const Fact& past = c.in(4);
    const Dim before = past.ranked && past.rank() == 5 ? past.dims[3] : Dim::unknown();
    total = total.known() && before.known() ? Dim(total.value() + before.value()) : Dim::unknown();
  }
  c.out(0, Fact(x.dtype, {xd[0], xd[1], hidden}));
  c.out(1, Fact(x.dtype, {2, xd[0], heads, total, size}));
}

// [rows, inner] * columns [from, from + width) of w [inner, columns], plus bias.
std::vector<double> project(const std::vector<double>& x, const std::vector<double>& w,
                            const std::vector<double>& bias, int64_t rows, int64_t inner, int64_t columns,
                            int64_t from, int64_t width) {
  std::vector<double> out(static_cast<size_t>(rows * width), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    double* to = out.data() + r * width;
    if (!bias.empty()) std::copy(bias.begin() + from, bias.begin() + from + width, to);
    for (int64_t k = 0; k < inner; ++k) {
      const double e = x[static_cast<size_t>(r * inner + k)];
      const double* row = w.data() + k * columns + from;
      for (int64_t j = 0; j < width; ++j) to[j] += e * row[j];
    }
  }
  return out;
}

void eval_projected(EvalContext& c) {
  const Tensor &x = c.in(0), &w = c.in(1);
  require_float(x.dtype(), "input");
  const int64_t heads = heads_attr(c.attrs());
  check_projected(c.attrs(), c.node);
  if (x.rank() != 3 || w.rank() != 2) reject("input must have rank 3 and weights rank 2");
  const int64_t batch = x.dim(0), len = x.dim(1), inner = x.dim(2), columns = w.dim(1);
  require_dims(w, {inner, columns}, "weights");
  const Dims sizes = hidden_sizes(c.attrs(), columns);
  if (c.has(2)) require_dims(c.in(2), {columns}, "bias");
  AttentionProblem p{.batch = batch,
                     .q_heads = heads,
                     .kv_heads = heads,
                     .q_len = len,
                     .kv_len = len,
                     .size = per_head(sizes[0], heads, "hidden"),
                     .v_size = per_head(sizes[2], heads, "hidden")};
  p.scale = scale_attr(c.attrs(), p.size);
  const std::vector<double> xv = to_doubles(x), wv = to_doubles(w);
  const std::vector<double> bias = c.has(2) ? to_doubles(c.in(2)) : std::vector<double>();
  const auto part = [&](int64_t from, int64_t width) {
    return split_heads(project(xv, wv, bias, batch * len, inner, columns, from, width), batch, len, heads,
                       width / heads);
  };
  p.q = part(0, sizes[0]);
  p.k = part(sizes[0], sizes[1]);
  p.v = part(sizes[0] + sizes[1], sizes[2]);
  Masks m;
  const int64_t matrices = batch * heads;
  if (c.has(4)) {
    const Tensor& past = c.in(4);
    if (past.rank() != 5 || p.size != p.v_size) reject("past has shape " + to_string(past.dims()));
    m.past = past.dim(3);
    require_dims(past, {2, batch, heads, m.past, p.size}, "past");
    const std::vector<double> pv = to_doubles(past);
    p.k = append(pv.data(), m.past * p.size, p.k, matrices);
    p.v = append(pv.data() + matrices * m.past * p.size, m.past * p.size, p.v, matrices);
    p.kv_len += m.past;
  }
  m.q_len = len;
  m.kv_len = p.kv_len;
  m.causal = flag(c.attrs(), "unidirectional");
  read_padding(c, 3, p, m);
  read_extra(c, 5, p, m);
  p.bias = m;
  c.out(0, attend_packed(c, p, x.dtype()));
  if (c.wants(1)) {
    if (p.size != p.v_size) reject("present needs equal sizes of key and value");
    std::vector<double> both = p.k;
    both.insert(both.end(), p.v.begin(), p.v.end());
    c.out(1, make_from(c, x.dtype(), {2, batch, heads, p.kv_len, p.size}, both));
  }
}

// ---- GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k, total, [cos], [sin]
// ------------------------------

struct Group {
  int64_t heads, kv_heads, window;
  bool rotary;
};

Group parse_group(const Attrs& a, const Node& node) {
  refuse_inputs(node, 9);
  if (a.integer("smooth_softmax", 0) == 1) refuse("GroupQueryAttention with smooth_softmax");
  if (node.in(1) == kNoValue || node.in(2) == kNoValue) refuse("GroupQueryAttention with packed inputs");
  Group g{heads_attr(a), heads_attr(a, "kv_num_heads"), a.integer("local_window_size", -1),
          flag(a, "do_rotary")};
  if (g.heads % g.kv_heads != 0) reject("num_heads is no multiple of kv_num_heads");
  return g;
}

void infer_group(InferContext& c) {
  const Fact &q = c.in(0), &k = c.in(1);
  require_float(q.dtype, "query");
  const Group g = parse_group(c.attrs(), c.node);
  const SymDims qd = q.ranked ? q.dims : SymDims(3), kd = k.ranked ? k.dims : SymDims(3);
  if (qd.size() != 3 || kd.size() != 3) reject("query and key must have rank 3");
  const Dim size = kd[2].known() ? Dim(per_head(kd[2].value(), g.kv_heads, "key")) : Dim::unknown();
  Dim total;
  const auto said = c.has(6) ? c.constant_ints(6) : std::nullopt;
  const Dim past = !c.has(3)                               ? Dim(0)
                   : c.in(3).ranked && c.in(3).rank() == 4 ? c.in(3).dims[2]
                                                           : Dim::unknown();
  if (said && said->size() == 1 && past.known()) total = std::max<int64_t>({0, (*said)[0], past.value()});
  c.out(0, Fact(q.dtype, qd));
  const Fact present(q.dtype, {qd[0], g.kv_heads, total, size});
  c.out(1, present);
  c.out(2, present);
}

// Writes new rows after each sequence's past ones into a cache [batch, heads, capacity, size].
std::vector<double> fill_cache(EvalContext& c, size_t past_input, const std::vector<double>& now,
                               const Dims& pasts, const Dims& dims, int64_t len) {
  const int64_t batch = dims[0], heads = dims[1], capacity = dims[2], size = dims[3];
  std::vector<double> out(static_cast<size_t>(element_count(dims)), 0.0);
  const std::vector<double> past = c.has(past_input) ? to_doubles(c.in(past_input)) : std::vector<double>();
  const int64_t past_capacity = c.has(past_input) ? c.in(past_input).dim(2) : 0;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      double* to = out.data() + (b * heads + h) * capacity * size;
      const double* from = past.data() + (b * heads + h) * past_capacity * size;
      std::copy(from, from + past_capacity * size, to);
      const double* rows = now.data() + (b * heads + h) * len * size;
      std::copy(rows, rows + len * size, to + pasts[static_cast<size_t>(b)] * size);
    }
  }
  return out;
}

void eval_group(EvalContext& c) {
  const Tensor &q = c.in(0), &k = c.in(1), &v = c.in(2);
  require_float(q.dtype(), "query");
  const Group g = parse_group(c.attrs(), c.node);
  if (q.rank() != 3 || k.rank() != 3) reject("query and key must have rank 3");
  const int64_t batch = q.dim(0), len = q.dim(1), size = per_head(q.dim(2), g.heads, "query");
  require_dims(k, {batch, len, g.kv_heads * size}, "key");
  require_dims(v, k.dims(), "value");
  if (c.has(3) != c.has(4)) reject("past_key and past_value go together");
  int64_t capacity = 0;
  if (c.has(3)) {
    if (c.in(3).rank() != 4) reject("past_key of rank " + std::to_string(c.in(3).rank()));
    capacity = c.in(3).dim(2);
    require_dims(c.in(3), {batch, g.kv_heads, capacity, size}, "past_key");
    require_dims(c.in(4), c.in(3).dims(), "past_value");
  }
  const Dims last = c.ints(5), said = c.ints(6);
  if (static_cast<int64_t>(last.size()) != batch || said.size() != 1)
    reject("seqlens_k or total_sequence_length");
  const int64_t total = said[0];
  if (total < len) throw Error(Code::input, "total_sequence_length is " + std::to_string(total));
  capacity = std::max(capacity, total);
  Dims pasts;
  for (int64_t n : last) {
    const int64_t past = total == len ? 0 : n + 1 - len;  // a first prompt may be padded at its end
    if (n < 0 || n >= total || past < 0) throw Error(Code::input, "seqlens_k has " + std::to_string(n));
    pasts.push_back(past);
  }
  const Dims cache{batch, g.kv_heads, capacity, size};
  Tensor present_k = c.make(q.dtype(), cache), present_v = c.make(q.dtype(), cache);
  AttentionProblem p{.batch = batch,
                     .q_heads = g.heads,
                     .kv_heads = g.kv_heads,
                     .q_len = len,
                     .kv_len = capacity,
                     .size = size,
                     .v_size = size};
  p.scale = scale_attr(c.attrs(), size);
  p.softcap = c.attrs().real("softcap", 0);
  p.q = to_doubles(q);
  p.k = to_doubles(k);
  if (g.rotary) {
    const Tensor &cos = c.in(7), &sin = c.in(8);
    if (cos.rank() != 2 || cos.dim(1) * 2 > size) reject("cos_cache has shape " + to_string(cos.dims()));
    require_dims(sin, cos.dims(), "sin_cache");
    Rotary r{flag(c.attrs(), "rotary_interleaved"), cos.dim(1) * 2, to_doubles(cos), to_doubles(sin), {}};
    for (int64_t past : pasts) {
      for (int64_t t = 0; t < len; ++t) {
        if (past + t >= cos.dim(0)) throw Error(Code::input, "position " + std::to_string(past + t));
        r.rows.push_back(past + t);
      }
    }
    rotate(p.q, {batch, g.heads, len, size, false}, r);
    rotate(p.k, {batch, g.kv_heads, len, size, false}, r);
  }
  p.q = split_heads(p.q, batch, len, g.heads, size);
  p.k = fill_cache(c, 3, split_heads(p.k, batch, len, g.kv_heads, size), pasts, cache, len);
  p.v = fill_cache(c, 4, split_heads(to_doubles(v), batch, len, g.kv_heads, size), pasts, cache, len);
  p.bias = [&](int64_t b, int64_t, int64_t i, double* row) {
    const int64_t at = pasts[static_cast<size_t>(b)] + i;
    for (int64_t j = 0; j < capacity; ++j) {
      row[j] = j > at || (g.window > 0 && at - j >= g.window) ? -kInfinity : 0;
    }
  };
  c.out(0, attend_packed(c, p, q.dtype()));
  from_doubles(p.k, present_k);
  from_doubles(p.v, present_v);
  c.out(1, present_k);
  c.out(2, present_v);
}

// ---- RotaryEmbedding: input, position_ids, cos_cache, sin_cache
// ---------------------------------------------------------------

void infer_rotary(InferContext& c) {
  require_float(c.in(0).dtype, "input");
  if (c.attrs().integer("is_packed_batching", 0) != 0) refuse("RotaryEmbedding with is_packed_batching");
  c.out(0, c.in(0));
}

void eval_rotary(EvalContext& c) {
  const Tensor &x = c.in(0), &ids = c.in(1), &cos = c.in(2);
  require_float(x.dtype(), "input");
  if (c.attrs().integer("is_packed_batching", 0) != 0) refuse("RotaryEmbedding with is_packed_batching");
  if (cos.rank() != 2 || cos.dim(1) < 1) reject("cos_cache has shape " + to_string(cos.dims()));
  require_dims(c.in(3), cos.dims(), "sin_cache");
  Rotary r{flag(c.attrs(), "interleaved"), cos.dim(1) * 2, to_doubles(cos), to_doubles(c.in(3)), {}};
  int64_t heads = c.attrs().integer("num_heads", 0);
  if (heads == 0 && x.rank() == 3) heads = x.dim(2) / r.dim;
  const RotaryShape s = rotary_shape(x.dims(), heads);
  const int64_t dim = c.attrs().integer("rotary_embedding_dim", 0);
  if (r.dim > s.size || (dim != 0 && dim != r.dim)) reject("cos_cache has shape " + to_string(cos.dims()));
  // One number is the position of every sequence's first token.
  const Dims given = c.ints(1);
  if (ids.size() != 1) require_dims(ids, {s.batch, s.len}, "position_ids");
  for (int64_t i = 0; i < s.batch * s.len; ++i) {
    const int64_t at = ids.size() == 1 ? given[0] + i % s.len : given[static_cast<size_t>(i)];
    if (at < 0 || at >= cos.dim(0))
      throw Error(Code::input, "position " + std::to_string(at) + " is outside the cache");
    r.rows.push_back(at);
  }
  std::vector<double> v = to_doubles(x);
  rotate(v, s, r);
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

constexpr std::string_view kDomain = "com.microsoft";
constexpr OpDef kOps[] = {
    {.name = "MultiHeadAttention",
     .domain = kDomain,
     .min_inputs = 1,
     .max_inputs = 10,
     .max_outputs = 3,
     .infer = infer_multi_head,
     .eval = eval_multi_head},
    {.name = "Attention",
     .domain = kDomain,
     .min_inputs = 2,
     .max_inputs = 7,
     .max_outputs = 2,
     .infer = infer_projected,
     .eval = eval_projected},
    {.name = "GroupQueryAttention",
     .domain = kDomain,
     .min_inputs = 7,
     .max_inputs = 14,
     .max_outputs = 3,
     .infer = infer_group,
     .eval = eval_group},
    {.name = "RotaryEmbedding",
     .domain = kDomain,
     .min_inputs = 4,
     .max_inputs = 4,
     .infer = infer_rotary,
     .eval = eval_rotary},
};

}  // namespace

std::span<const OpDef> microsoft_attention_ops() {
  return kOps;
}

}  // namespace skyline::ops
