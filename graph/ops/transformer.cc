// RotaryEmbedding, LinearAttention, SwiGLU.
#include <cmath>

#include "graph/ops/activation.h"
#include "graph/ops/attention_core.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/rotary.h"

namespace skyline::ops {
namespace {

// ---- RotaryEmbedding: X [B, H, S, D] or [B, S, H * D], cos, sin, [position_ids B, S]
// ----------------------------------------

void infer_rotary(InferContext& c) {
  const Fact& x = c.in(0);
  require_float(x.dtype, "input");
  if (x.ranked && x.rank() != 3 && x.rank() != 4) reject("input of rank " + std::to_string(x.rank()));
  if (x.ranked && x.rank() == 3 && c.attrs().integer("num_heads", 0) < 1) {
    reject("attribute num_heads is needed for an input of rank 3");
  }
  c.out(0, x);
}

void eval_rotary(EvalContext& c) {
  const Tensor &x = c.in(0), &cos = c.in(1), &sin = c.in(2);
  require_float(x.dtype(), "input");
  Rotary r;
  r.interleaved = flag(c.attrs(), "interleaved");
  const RotaryShape s = rotary_shape(x.dims(), c.attrs().integer("num_heads", 0));
  const int64_t dim = c.attrs().integer("rotary_embedding_dim", 0);
  r.dim = dim == 0 ? s.size : dim;
  if (r.dim < 0 || r.dim > s.size || r.dim % 2 != 0) reject("rotary dimension " + std::to_string(r.dim));
  r.cos = to_doubles(cos);
  r.sin = to_doubles(sin);
  r.rows.resize(static_cast<size_t>(s.batch * s.len));
  if (c.has(3)) {
    if (cos.rank() != 2) reject("cos_cache of rank " + std::to_string(cos.rank()) + ", expected 2");
    require_dims(cos, {cos.dim(0), r.dim / 2}, "cos_cache");
    require_dims(sin, cos.dims(), "sin_cache");
    require_dims(c.in(3), {s.batch, s.len}, "position_ids");
    r.rows = c.ints(3);
    for (int64_t p : r.rows) {
      if (p < 0 || p >= cos.dim(0))
        throw Error(Code::input, "position " + std::to_string(p) + " is outside the cache");
    }
  } else {
    require_dims(cos, {s.batch, s.len, r.dim / 2}, "cos_cache");
    require_dims(sin, cos.dims(), "sin_cache");
    for (size_t i = 0; i < r.rows.size(); ++i) r.rows[i] = static_cast<int64_t>(i);
  }
  std::vector<double> v = to_doubles(x);
  rotate(v, s, r);
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

// ---- LinearAttention
// --------------------------------------------------------------------------------------------------------

enum Input : size_t { kQ, kK, kV, kPast, kDecay, kBeta };

struct Linear {
  int64_t q_heads = 0, kv_heads = 0;
  bool gated = false, delta = false;
};

Linear parse_linear(const Attrs& a) {
  Linear l{a.integer("q_num_heads"), a.integer("kv_num_heads"), false, false};
  if (l.q_heads < 1 || l.kv_heads < 1 || l.q_heads % l.kv_heads != 0) {
    reject("q_num_heads must be a positive multiple of kv_num_heads");
  }
  const std::string rule = a.text("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta") {
    reject("attribute update_rule is '" + rule + "'");
  }
  l.gated = rule == "gated" || rule == "gated_delta";
  l.delta = rule == "delta" || rule == "gated_delta";
  return l;
}

Dim divided(Dim d, int64_t by, std::string_view what) {
  if (!d.known()) return d;
  if (d.value() % by != 0)
    reject(std::to_string(by) + " heads do not divide the last axis of " + std::string(what));
  return d.value() / by;
}

void infer_linear(InferContext& c) {
  const Fact &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype, "query");
  const Linear l = parse_linear(c.attrs());
  if (c.has(kDecay) != l.gated) reject("input decay goes with the gated update rules only");
  if (c.has(kBeta) != l.delta) reject("input beta goes with the delta update rules only");
  const SymDims qd = q.ranked ? q.dims : SymDims(3), kd = k.ranked ? k.dims : SymDims(3),
                vd = v.ranked ? v.dims : SymDims(3);
  if (qd.size() != 3 || kd.size() != 3 || vd.size() != 3) reject("query, key and value must have rank 3");
  const Dim dk = agree(divided(qd[2], l.q_heads, "query"), divided(kd[2], l.kv_heads, "key"), "head size");
  const Dim dv = divided(vd[2], l.kv_heads, "value");
  const Dim batch = agree(agree(qd[0], kd[0], "batch"), vd[0], "batch");
  const Dim len = agree(agree(qd[1], kd[1], "length"), vd[1], "length");
  const SymDims state{batch, l.kv_heads, dk, dv};
  if (c.has(kPast)) require_fact(c.in(kPast), state, "past_state");
  c.out(0, Fact(q.dtype, {batch, len, mul(dv, l.q_heads)}));
  c.out(1, Fact(c.has(kPast) ? c.in(kPast).dtype : q.dtype, state));
}

void eval_linear(EvalContext& c) {
  const Tensor &q = c.in(kQ), &k = c.in(kK), &v = c.in(kV);
  require_float(q.dtype(), "query");
  const Linear l = parse_linear(c.attrs());
  if (c.has(kDecay) != l.gated) reject("input decay goes with the gated update rules only");
  if (c.has(kBeta) != l.delta) reject("input beta goes with the delta update rules only");
  if (q.rank() != 3 || k.rank() != 3 || v.rank() != 3) reject("query, key and value must have rank 3");
  const int64_t batch = q.dim(0), len = q.dim(1);
  const int64_t dk = divided(q.dim(2), l.q_heads, "query").value(),
                dv = divided(v.dim(2), l.kv_heads, "value").value();
  require_dims(k, {batch, len, l.kv_heads * dk}, "key");
  require_dims(v, {batch, len, l.kv_heads * dv}, "value");
  if (c.has(kPast)) require_dims(c.in(kPast), {batch, l.kv_heads, dk, dv}, "past_state");
  int64_t decay_width = 0, beta_width = 0;
  std::vector<double> decay, beta;
  if (l.gated) {
    const Tensor& t = c.in(kDecay);
    const int64_t last = t.rank() == 3 ? t.dim(2) : 0;
    if (last != l.kv_heads && last != l.kv_heads * dk) reject("decay has shape " + to_string(t.dims()));
    require_dims(t, {batch, len, last}, "decay");
    decay = to_doubles(t);
    decay_width = last;
  }
  if (l.delta) {
    const Tensor& t = c.in(kBeta);
    const int64_t last = t.rank() == 3 ? t.dim(2) : 0;
    if (last != l.kv_heads && last != 1) reject("beta has shape " + to_string(t.dims()));
    require_dims(t, {batch, len, last}, "beta");
    beta = to_doubles(t);
    beta_width = last;
  }
  const float given = c.attrs().real("scale", 0);
  const double scale = given != 0 ? given : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, dk)));
  const Dims state_dims{batch, l.kv_heads, dk, dv};
  Tensor y = c.make(q.dtype(), {batch, len, l.q_heads * dv});
  Tensor present = c.make(c.has(kPast) ? c.in(kPast).dtype() : q.dtype(), state_dims);
  const std::vector<double> qv = to_doubles(q), kv = to_doubles(k), vv = to_doubles(v);
  std::vector<double> s =
      c.has(kPast) ? to_doubles(c.in(kPast)) : std::vector<double>(static_cast<size_t>(present.size()));
  std::vector<double> out(static_cast<size_t>(y.size()), 0.0), change(static_cast<size_t>(dv));
  const int64_t group = l.q_heads / l.kv_heads;
  for (int64_t row = 0; row < batch * l.kv_heads; ++row) {
    const int64_t b = row / l.kv_heads, h = row % l.kv_heads;
    double* state = s.data() + row * dk * dv;
    for (int64_t t = 0; t < len; ++t) {
      poll(c.limits);
      const int64_t at = b * len + t;
      const double* key = kv.data() + (at * l.kv_heads + h) * dk;
      const double* value = vv.data() + (at * l.kv_heads + h) * dv;
      if (l.gated) {
        for (int64_t i = 0; i < dk; ++i) {
          const int64_t g = decay_width == l.kv_heads ? h : h * dk + i;
          const double factor = std::exp(decay[static_cast<size_t>(at * decay_width + g)]);
          for (int64_t j = 0; j < dv; ++j) state[i * dv + j] *= factor;
        }
      }
      // What is written along the key: the value itself, or how far the state is from giving it.
      std::copy(value, value + dv, change.begin());
      if (l.delta) {
        const double rate = beta[static_cast<size_t>(at * beta_width + (beta_width == 1 ? 0 : h))];
        for (int64_t j = 0; j < dv; ++j) {
          double recalled = 0;
          for (int64_t i = 0; i < dk; ++i) recalled += state[i * dv + j] * key[i];
          change[static_cast<size_t>(j)] = rate * (value[j] - recalled);
        }
      }
      for (int64_t i = 0; i < dk; ++i) {
        for (int64_t j = 0; j < dv; ++j) state[i * dv + j] += key[i] * change[static_cast<size_t>(j)];
      }
      for (int64_t g = 0; g < group; ++g) {
        const int64_t head = at * l.q_heads + h * group + g;
        for (int64_t i = 0; i < dk; ++i) {
          const double weight = scale * qv[static_cast<size_t>(head * dk + i)];
          for (int64_t j = 0; j < dv; ++j)
            out[static_cast<size_t>(head * dv + j)] += weight * state[i * dv + j];
        }
      }
    }
  }
  from_doubles(out, y);
  from_doubles(s, present);
  c.out(0, y);
  c.out(1, present);
}

Work work_linear(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t kv_heads = node.attrs.integer("kv_num_heads");
  const int64_t dk = in[kK].dims[2].value() / std::max<int64_t>(1, kv_heads);
  return {.flops = out[0].elements() * dk * 6};
}

// ---- SwiGLU: a * sigmoid(alpha * a) * b
// --------------------------------------------------------------------------------------

void infer_swiglu(InferContext& c) {
  const Fact &a = c.in(0), &b = c.in(1);
  require_float(a.dtype, "A");
  if (a.ranked) require_fact(b, a.dims, "B");
  c.out(0, a.ranked ? a : with_dtype(b, a.dtype));
}

void eval_swiglu(EvalContext& c) {
  const Tensor& a = c.in(0);
  require_float(a.dtype(), "A");
  require_dims(c.in(1), a.dims(), "B");
  const double alpha = c.attrs().real("alpha", 1);
  std::vector<double> v = to_doubles(a);
  const std::vector<double> b = to_doubles(c.in(1));
  for (size_t i = 0; i < v.size(); ++i) v[i] *= sigmoid(alpha * v[i]) * b[i];
  c.out(0, make_from(c, a.dtype(), a.dims(), v));
}

Work work_rotary(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = 3 * in[0].elements()};
}
Work work_swiglu(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = 10 * in[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "RotaryEmbedding",
     .min_inputs = 3,
     .max_inputs = 4,
     .infer = infer_rotary,
     .eval = eval_rotary,
     .work = work_rotary},
    {.name = "LinearAttention",
     .min_inputs = 3,
     .max_inputs = 6,
     .max_outputs = 2,
     .infer = infer_linear,
     .eval = eval_linear,
     .work = work_linear},
    {.name = "SwiGLU",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_swiglu,
     .eval = eval_swiglu,
     .work = work_swiglu,
     .flags = kOpElementwise},
};

}  // namespace

RotaryShape rotary_shape(const Dims& d, int64_t heads) {
  if (d.size() == 4) return {d[0], d[1], d[2], d[3], true};
  if (d.size() != 3) reject("input of rank " + std::to_string(d.size()) + ", expected 3 or 4");
  if (heads < 1 || d[2] % heads != 0)
    reject(std::to_string(heads) + " heads do not divide " + std::to_string(d[2]));
  return {d[0], heads, d[1], d[2] / heads, false};
}

void rotate(std::vector<double>& v, const RotaryShape& s, const Rotary& r) {
  const int64_t half = r.dim / 2;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t t = 0; t < s.len; ++t) {
      const int64_t row = r.rows[static_cast<size_t>(b * s.len + t)];
      const double *cos = r.cos.data() + row * half, *sin = r.sin.data() + row * half;
      for (int64_t h = 0; h < s.heads; ++h) {
        const int64_t at = s.heads_first ? (b * s.heads + h) * s.len + t : (b * s.len + t) * s.heads + h;
        double* x = v.data() + at * s.size;
        for (int64_t i = 0; i < half; ++i) {
          double& real = x[r.interleaved ? 2 * i : i];
          double& imag = x[r.interleaved ? 2 * i + 1 : i + half];
          const double a = real, d = imag;
          real = cos[i] * a - sin[i] * d;
          imag = sin[i] * a + cos[i] * d;
        }
      }
    }
  }
}

std::span<const OpDef> transformer_ops() {
  return kOps;
}

}  // namespace skyline::ops
