// Attention and FlexAttention of ai.onnx.
#include <cmath>
#include <limits>

#include "graph/ir/interpret.h"
#include "graph/ops/attention_core.h"
#include "graph/ops/control.h"
#include "graph/ops/families.h"
#include "graph/ops/fused_attention.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kLengths };

// One of Q, K, V as [batch, heads, len, size], from rank 4 or packed rank 3.
template <class D>
struct Heads {
  D batch{0}, heads{0}, len{0}, size{0};
};

Heads<int64_t> heads_of(const Dims& d, int64_t heads, std::string_view what) {
  if (d.size() == 4) return {d[0], d[1], d[2], d[3]};
  if (d.size() != 3) reject(std::string(what) + " of rank " + std::to_string(d.size()) + ", expected 3 or 4");
  if (heads < 1 || d[2] % heads != 0) {
    reject(std::to_string(heads) + " heads do not divide " + std::to_string(d[2]) + " of " +
           std::string(what));
  }
  return {d[0], heads, d[1], d[2] / heads};
}

Heads<Dim> heads_of(const SymDims& d, int64_t heads, std::string_view what) {
  if (d.size() == 4) return {d[0], d[1], d[2], d[3]};
  if (d.size() != 3) reject(std::string(what) + " of rank " + std::to_string(d.size()) + ", expected 3 or 4");
  if (heads < 1 || (d[2].known() && d[2].value() % heads != 0)) {
    reject(std::to_string(heads) + " heads do not divide the last axis of " + std::string(what));
  }
  return {d[0], heads, d[1], d[2].known() ? Dim(d[2].value() / heads) : Dim::unknown()};
}

Dim sum(Dim a, Dim b) {
  return a.known() && b.known() ? Dim(a.value() + b.value()) : Dim::unknown();
}

int64_t window_size(const Attrs& a, std::string_view name) {
  const int64_t w = a.integer(name, -1);
  if (w < -1) reject("attribute " + std::string(name) + " is " + std::to_string(w));
  return w;
}

ScoreStage score_stage(const Attrs& a) {
  const int64_t mode = a.integer("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) reject("attribute qk_matmul_output_mode is " + std::to_string(mode));
  return static_cast<ScoreStage>(mode);
}

void infer_attention(InferContext& c) {
  const Fact &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype, "Q");
  score_stage(c.attrs());
  if (c.has(kPastKey) != c.has(kPastValue)) reject("past_key and past_value go together");
  if (c.has(kLengths) && c.has(kPastKey)) reject("nonpad_kv_seqlen and past_key exclude each other");
  if (!q.ranked || !k.ranked || !v.ranked) {
    c.out(0, Fact::unranked(q.dtype));
    for (size_t i = 1; i < 4; ++i) c.out(i, Fact(i == 2 ? v.dtype : q.dtype, SymDims(4)));
    return;
  }
  const int64_t q_heads = c.attrs().integer("q_num_heads", 0),
                kv_heads = c.attrs().integer("kv_num_heads", 0);
  const auto qh = heads_of(q.dims, q_heads, "Q"), kh = heads_of(k.dims, kv_heads, "K"),
             vh = heads_of(v.dims, kv_heads, "V");
  if (q.rank() != k.rank() || q.rank() != v.rank()) reject("Q, K and V differ in rank");
  const Dim batch = agree(agree(qh.batch, kh.batch, "batch of K"), vh.batch, "batch of V");
  agree(qh.size, kh.size, "head size of K");
  const Dim len = agree(kh.len, vh.len, "length of V"), heads = agree(kh.heads, vh.heads, "heads of V");
  if (qh.heads.known() && heads.known() && (heads.value() == 0 || qh.heads.value() % heads.value() != 0)) {
    reject("query heads are no multiple of the key heads");
  }
  Dim total = len;
  if (c.has(kPastKey)) {
    const Fact& past = c.in(kPastKey);
    require_fact(past, {batch, heads, Dim::unknown(), kh.size}, "past_key");
    total = past.ranked ? sum(past.dims[2], len) : Dim::unknown();
    require_fact(c.in(kPastValue), {batch, heads, past.ranked ? past.dims[2] : Dim::unknown(), vh.size},
                 "past_value");
  }
  if (c.has(kLengths)) require_fact(c.in(kLengths), {batch}, "nonpad_kv_seqlen");
  c.out(0, Fact(q.dtype, q.rank() == 4 ? SymDims{batch, qh.heads, qh.len, vh.size}
                                       : SymDims{batch, qh.len, mul(qh.heads, vh.size)}));
  c.out(1, Fact(k.dtype, {batch, heads, total, kh.size}));
  c.out(2, Fact(v.dtype, {batch, heads, total, vh.size}));
  c.out(3, Fact(q.dtype, {batch, qh.heads, qh.len, total}));
}

// [batch, heads, past, size] and [batch, heads, now, size] one after the other.
std::vector<double> append(const std::vector<double>& past, const std::vector<double>& now, int64_t matrices,
                           int64_t past_size, int64_t now_size) {
  std::vector<double> out;
  out.reserve(past.size() + now.size());
  for (int64_t m = 0; m < matrices; ++m) {
    out.insert(out.end(), past.begin() + m * past_size, past.begin() + (m + 1) * past_size);
    out.insert(out.end(), now.begin() + m * now_size, now.begin() + (m + 1) * now_size);
  }
  return out;
}

std::vector<double> read_heads(const Tensor& t, const Heads<int64_t>& h) {
  std::vector<double> v = to_doubles(t);
  return t.rank() == 3 ? split_heads(v, h.batch, h.len, h.heads, h.size) : v;
}

// The mask, the causal frontier, the window and the lengths as one additive bias.
struct Bias {
  std::vector<double> mask;  // empty: none
  Dims strides;              // of [batch, heads, q, kv]
  int64_t mask_len = 0;      // keys from here on are masked
  int64_t kv_len = 0;
  bool causal = false;
  int64_t left = -1, right = -1;
  Dims offsets, lengths;  // per batch; lengths empty: all

  void operator()(int64_t b, int64_t h, int64_t i, double* row) const {
    const int64_t at = i + offsets[static_cast<size_t>(b)];  // position of the query among the keys
    const int64_t valid = lengths.empty() ? kv_len : lengths[static_cast<size_t>(b)];
    for (int64_t j = 0; j < kv_len; ++j) {
      row[j] = 0;
      if (!mask.empty()) {
        row[j] =
            j < mask_len
                ? mask[static_cast<size_t>(b * strides[0] + h * strides[1] + i * strides[2] + j * strides[3])]
                : -kInfinity;
      }
      const bool open = j < valid && !(causal && j > at) && !(left >= 0 && at - j > left) &&
                        !(right >= 0 && j - at > right);
      if (!open) row[j] = -kInfinity;
    }
  }
};

void read_mask(Bias& bias, const Tensor& mask, const AttentionProblem& p) {
  if (mask.rank() < 1 || mask.rank() > 4) reject("attn_mask of rank " + std::to_string(mask.rank()));
  bias.mask_len = mask.dims().back();
  if (bias.mask_len > p.kv_len) {
    reject("attn_mask covers " + std::to_string(bias.mask_len) + " keys of " + std::to_string(p.kv_len));
  }
  const Dims whole{p.batch, p.q_heads, p.q_len, bias.mask_len};
  if (broadcast_dims(mask.dims(), whole) != whole) {
    reject("attn_mask of " + to_string(mask.dims()) + " does not broadcast to " + to_string(whole));
  }
  bias.strides = broadcast_strides(mask.dims(), whole);
  bias.mask = to_doubles(mask);
  if (mask.dtype() == DType::boolean) {
    for (double& x : bias.mask) x = x != 0 ? 0 : -kInfinity;
  }
  if (bias.mask.empty()) bias.mask.push_back(0);  // no keys: every one beyond mask_len
}

void eval_attention(EvalContext& c) {
  const Attrs& a = c.attrs();
  const Tensor &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype(), "Q");
  const auto qh = heads_of(q.dims(), a.integer("q_num_heads", 0), "Q");
  const auto kh = heads_of(k.dims(), a.integer("kv_num_heads", 0), "K");
  const auto vh = heads_of(v.dims(), a.integer("kv_num_heads", 0), "V");
  if (q.rank() != k.rank() || q.rank() != v.rank()) reject("Q, K and V differ in rank");
  if (qh.batch != kh.batch || qh.batch != vh.batch || kh.heads != vh.heads || kh.len != vh.len ||
      qh.size != kh.size) {
    reject("Q " + to_string(q.dims()) + ", K " + to_string(k.dims()) + " and V " + to_string(v.dims()) +
           " do not match");
  }
  if (kh.heads < 1 || qh.heads % kh.heads != 0) reject("query heads are no multiple of the key heads");
  if (c.has(kPastKey) != c.has(kPastValue)) reject("past_key and past_value go together");
  if (c.has(kLengths) && c.has(kPastKey)) reject("nonpad_kv_seqlen and past_key exclude each other");

  AttentionProblem p{.batch = qh.batch,
                     .q_heads = qh.heads,
                     .kv_heads = kh.heads,
                     .q_len = qh.len,
                     .kv_len = kh.len,
                     .size = qh.size,
                     .v_size = vh.size};
  p.scale =
      a.has("scale") ? a.real("scale") : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, qh.size)));
  p.softcap = a.real("softcap", 0);
  if (p.softcap < 0) reject("attribute softcap is negative");
  p.q = read_heads(q, qh);
  p.k = read_heads(k, kh);
  p.v = read_heads(v, vh);
  int64_t past = 0;
  if (c.has(kPastKey)) {
    const Tensor& pk = c.in(kPastKey);
    if (pk.rank() != 4) reject("past_key of rank " + std::to_string(pk.rank()));
    past = pk.dim(2);
    require_dims(pk, {p.batch, p.kv_heads, past, p.size}, "past_key");
    require_dims(c.in(kPastValue), {p.batch, p.kv_heads, past, p.v_size}, "past_value");
    p.k = append(to_doubles(pk), p.k, p.batch * p.kv_heads, past * p.size, p.kv_len * p.size);
    p.v =
        append(to_doubles(c.in(kPastValue)), p.v, p.batch * p.kv_heads, past * p.v_size, p.kv_len * p.v_size);
    p.kv_len += past;
  }
  Bias bias{.kv_len = p.kv_len,
            .causal = flag(a, "is_causal"),
            .left = window_size(a, "left_window_size"),
            .right = window_size(a, "right_window_size"),
            .offsets = Dims(static_cast<size_t>(p.batch), past)};
  if (c.has(kMask)) read_mask(bias, c.in(kMask), p);
  if (c.has(kLengths)) {
    require_dims(c.in(kLengths), {p.batch}, "nonpad_kv_seqlen");
    bias.lengths = c.ints(kLengths);
    for (size_t i = 0; i < bias.lengths.size(); ++i) {
      if (bias.lengths[i] < 0 || bias.lengths[i] > p.kv_len) {
        throw Error(Code::input, "nonpad_kv_seqlen has " + std::to_string(bias.lengths[i]));
      }
      bias.offsets[i] = bias.lengths[i] - p.q_len;
    }
  }
  p.bias = bias;
  const Dims score_dims{p.batch, p.q_heads, p.q_len, p.kv_len};
  c.make(DType::f64, score_dims);  // the limit on size, before scratch memory
  std::vector<double> scores;
  std::vector<double> y = attend(p, score_stage(a), c.wants(3) ? &scores : nullptr, c.limits);
  if (q.rank() == 3) y = merge_heads(y, p.batch, p.q_heads, p.q_len, p.v_size);
  c.out(0, make_from(c, q.dtype(),
                     q.rank() == 4 ? Dims{p.batch, p.q_heads, p.q_len, p.v_size}
                                   : Dims{p.batch, p.q_len, p.q_heads * p.v_size},
                     y));
  if (c.wants(1)) c.out(1, make_from(c, k.dtype(), {p.batch, p.kv_heads, p.kv_len, p.size}, p.k));
  if (c.wants(2)) c.out(2, make_from(c, v.dtype(), {p.batch, p.kv_heads, p.kv_len, p.v_size}, p.v));
  if (c.wants(3)) c.out(3, make_from(c, q.dtype(), score_dims, scores));
}

Work work_attention(const Node& node, std::span<const Fact> in, std::span<const Fact>) {
  const auto q = heads_of(in[kQ].static_dims(), node.attrs.integer("q_num_heads", 0), "Q");
  const auto k = heads_of(in[kK].static_dims(), node.attrs.integer("kv_num_heads", 0), "K");
  const auto v = heads_of(in[kV].static_dims(), node.attrs.integer("kv_num_heads", 0), "V");
  const bool past = node.in(kPastKey) != kNoValue && in[kPastKey].is_static();
  return {.flops = attention_flops(q.batch, q.heads, q.len, k.len + (past ? in[kPastKey].dims[2].value() : 0),
                                   q.size, v.size)};
}

// ---- FlexAttention: bodies may change the scores and the probabilities
// ----------------------------------------------------

void infer_flex(InferContext& c) {
  const Fact &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype, "Q");
  for (const Fact* f : {&q, &k, &v}) {
    if (f->ranked && f->rank() != 4) reject("Q, K and V must have rank 4");
  }
  const SymDims unknown(4), qd = q.ranked ? q.dims : unknown, kd = k.ranked ? k.dims : unknown,
                            vd = v.ranked ? v.dims : unknown;
  agree(qd[3], kd[3], "head size of K");
  agree(kd[2], vd[2], "length of V");
  c.out(0, Fact(q.dtype, {qd[0], qd[1], qd[2], vd[3]}));
}

void eval_flex(EvalContext& c) {
  const Attrs& a = c.attrs();
  const Tensor &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype(), "Q");
  if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4) reject("Q, K and V must have rank 4");
  AttentionProblem p{.batch = q.dim(0),
                     .q_heads = q.dim(1),
                     .kv_heads = k.dim(1),
                     .q_len = q.dim(2),
                     .kv_len = k.dim(2),
                     .size = q.dim(3),
                     .v_size = v.dim(3)};
  require_dims(k, {p.batch, p.kv_heads, p.kv_len, p.size}, "K");
  require_dims(v, {p.batch, p.kv_heads, p.kv_len, p.v_size}, "V");
  if (p.kv_heads < 1 || p.q_heads % p.kv_heads != 0) reject("query heads are no multiple of the key heads");
  const size_t captures = capture_count(c.node, 3);
  p.scale =
      a.has("scale") ? a.real("scale") : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, p.size)));
  p.q = to_doubles(q);
  p.k = to_doubles(k);
  p.v = to_doubles(v);
  const auto precision = static_cast<DType>(a.integer(
      "softmax_precision", static_cast<int64_t>(q.dtype() == DType::f64 ? DType::f64 : DType::f32)));
  require_float(precision, "softmax_precision");
  const Dims score_dims{p.batch, p.q_heads, p.q_len, p.kv_len};
  c.make(DType::f64, score_dims);
  const auto modifier = [&](std::string_view name) -> std::function<void(std::vector<double>&)> {
    if (!a.has(name)) return nullptr;
    const Graph& body = a.graph(name);
    require_body(body, 1 + captures, 1);
    return [&c, &body, captures, precision, score_dims](std::vector<double>& s) {
      std::vector<Value> in{make_from(c, precision, score_dims, s)};
      for (size_t i = c.inputs() - captures; i < c.inputs(); ++i)
        in.push_back(c.has(i) ? c.value(i) : Value());
      const std::vector<Value> out = run_body(body, in, c.limits);
      require_dims(out[0].tensor(), score_dims, "result of the modifier");
      s = to_doubles(out[0].tensor());
    };
  };
  p.score_mod = modifier("score_mod");
  p.prob_mod = modifier("prob_mod");
  const std::vector<double> y = attend(p, ScoreStage::raw, nullptr, c.limits);
  c.out(0, make_from(c, q.dtype(), {p.batch, p.q_heads, p.q_len, p.v_size}, y));
}

constexpr OpDef kOps[] = {
    {.name = "Attention",
     .min_inputs = 3,
     .max_inputs = 7,
     .max_outputs = 4,
     .infer = infer_attention,
     .eval = eval_attention,
     .work = work_attention},
    {.name = "FlexAttention",
     .domain = "ai.onnx.preview",
     .min_inputs = 3,
     .max_inputs = kMany,
     .infer = infer_flex,
     .eval = eval_flex,
     .work = work_attention,
     .flags = kOpControl},
    {.name = "FusedAttention",
     .domain = "skyline",
     .min_inputs = 3,
     .max_inputs = 5,
     .infer = infer_fused_attention,
     .eval = eval_fused_attention,
     .work = work_fused_attention},
};

}  // namespace

std::span<const OpDef> attention_ops() {
  return kOps;
}

}  // namespace skyline::ops
