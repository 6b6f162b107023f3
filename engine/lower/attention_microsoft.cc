// com.microsoft MultiHeadAttention and GroupQueryAttention; RotaryEmbedding of both domains.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/lower/attention.h"
#include "engine/lower/families.h"
#include "kernels/attention/rotary.h"
#include "kernels/base/memory.h"

namespace skyline::lower {
namespace {

using namespace kernels;
using ops::AttentionMask;
using ops::FusedAttention;

// Places in a step's workspace, one after the other.
class Workspace {
 public:
  explicit Workspace(size_t first) : at_(align_up(first)) {}
  size_t take(int64_t count, size_t size) {
    const size_t here = at_;
    at_ += align_up(static_cast<size_t>(count) * size);
    return here;
  }
  size_t bytes() const { return at_; }

 private:
  size_t at_;
};
template <class T>
T* at(const StepArgs& s, size_t offset) {
  return reinterpret_cast<T*>(s.workspace + offset);
}

int64_t elements(const Heads& h) {
  return h.batch * h.heads * h.len * h.size;
}

float scale_of(const Attrs& a, int64_t size) {
  const float s = a.real("scale", 0);
  return s != 0 ? s : static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
}

// The form of Q [batch, q_len, heads * size] against keys in `k` and values in `v`.
FusedAttention form(const Heads& q, const Heads& k, const Heads& v, float scale) {
  const int64_t groups = q.heads / k.heads;
  FusedAttention f;
  f.lead = {q.batch, k.heads, groups};
  f.q_len = q.len;
  f.kv_len = k.len;
  f.size = q.size;
  f.v_size = v.size;
  f.q = query_view(q, groups);
  f.k = key_view(k);
  f.v = key_view(v);
  f.y = query_view({q.batch, q.heads, q.len, v.size, true}, groups);
  f.scale = scale;
  return f;
}

// ---- MultiHeadAttention: query, key, value, [bias], [mask], [attention_bias], [past_key], [past_value]

void add_rows(const float* x, const float* bias, float* y, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) y[r * width + i] = x[r * width + i] + bias[i];
  }
}

// A padding mask of lengths [batch] or of flags [batch, kv_len] as numbers to add.
void padding_to_bias(const int32_t* mask, bool lengths, int64_t batch, int64_t kv_len, float filter,
                     float* out) {
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t j = 0; j < kv_len; ++j) {
      const bool open = lengths ? j < mask[b] : mask[b * kv_len + j] > 0;
      out[b * kv_len + j] = open ? 0.0f : filter;
    }
  }
}

std::optional<Lowered> lower_multi_head(Lowering& l) {
  enum Input : size_t { kQ, kK, kV, kBias, kPadding, kExtra, kPastKey, kPastValue };
  const Attrs& a = l.attrs();
  const int64_t heads = a.integer("num_heads");
  for (size_t i = 0; i < 8; ++i) {
    if (l.has(i) && l.in_type(i) != (i == kPadding ? DType::i32 : DType::f32)) return std::nullopt;
  }
  const Dims qd = l.in_dims(kQ), kd = l.in_dims(kK), vd = l.in_dims(kV);
  if (qd.size() != 3 || kd.size() != 3 || vd.size() != 3 || element_count(l.out_dims()) == 0 ||
      qd[2] != kd[2] || qd[2] < heads || (l.has(kPadding) && l.has(kExtra)))
    return std::nullopt;
  const int64_t past = l.has(kPastKey) ? l.in_dims(kPastKey)[2] : 0, total = past + kd[1];
  const Heads q{qd[0], heads, qd[1], qd[2] / heads, true}, k{kd[0], heads, kd[1], kd[2] / heads, true},
      v{vd[0], heads, vd[1], vd[2] / heads, true};
  if (total < 1 || (l.has(kPastKey) && (l.in_dims(kPastKey) != Dims{q.batch, heads, past, q.size} ||
                                        l.in_dims(kPastValue) != Dims{q.batch, heads, past, v.size})))
    return std::nullopt;
  const bool joined = l.has(kPastKey), bias = l.has(kBias), padding = l.has(kPadding), extra = l.has(kExtra);
  const Heads all_k{q.batch, heads, total, k.size, false}, all_v{q.batch, heads, total, v.size, false};
  FusedAttention f = form(q, joined ? all_k : k, joined ? all_v : v, scale_of(a, q.size));
  bool lengths = false;
  if (padding) {
    lengths = l.in_dims(kPadding) == Dims{q.batch};
    if (!lengths && l.in_dims(kPadding) != Dims{q.batch, total}) return std::nullopt;
    f.mask_mode = AttentionMask::add;
    f.mask = {0, {total, 0, 0, 0, 1}};
  } else if (extra) {
    const Dims whole{q.batch, heads, q.len, total};
    if (ops::broadcast_dims(l.in_dims(kExtra), whole) != whole) return std::nullopt;
    const Dims s = ops::broadcast_strides(l.in_dims(kExtra), whole);
    f.mask_mode = AttentionMask::add;
    f.mask = {0, {s[0], s[1], 0, s[2], s[3]}};
  }
  const auto bound = std::make_shared<const BoundAttention>(
      f, BoundAttention::Options{.causal = a.integer("unidirectional", 0) != 0, .zero_if_masked = true},
      l.isa, l.threads);
  const bool present_k = l.node.out(1) != kNoValue, present_v = l.node.out(2) != kNoValue;
  Workspace w(bound->workspace(l.threads));
  const size_t pasts = w.take(bound->items(), sizeof(int64_t)),
               mask_at = w.take(padding ? q.batch * total : 0, 4);
  const size_t q_at = w.take(bias ? elements(q) : 0, 4), k_at = w.take(bias ? elements(k) : 0, 4),
               v_at = w.take(bias ? elements(v) : 0, 4);
  const size_t join_k = w.take(joined && !present_k ? elements(all_k) : 0, 4),
               join_v = w.take(joined && !present_v ? elements(all_v) : 0, 4);
  const float filter = a.real("mask_filter_value", -10000.0f);
  return Lowered{
      .code = step_code([=](const StepArgs& s) {
        const float *queries = s.input<float>(kQ), *keys = s.input<float>(kK), *values = s.input<float>(kV);
        if (bias) {
          const auto added = [&](const float* x, const float* b, size_t to, const Heads& h) {
            add_rows(x, b, at<float>(s, to), h.batch * h.len, h.heads * h.size);
            return static_cast<const float*>(at<float>(s, to));
          };
          const float* b = s.input<float>(kBias);
          queries = added(queries, b, q_at, q);
          keys = added(keys, b + heads * q.size, k_at, k);
          values = added(values, b + 2 * heads * q.size, v_at, v);
        }
        const auto cached = [&](const float* now, size_t before, const Heads& h, bool present, size_t output,
                                size_t join) {
          if (!present && !joined) return now;
          float* to = present ? s.output<float>(output) : at<float>(s, join);
          append_cache(joined ? s.input<float>(before) : nullptr, past, now, h, to, s.threads);
          return joined ? static_cast<const float*>(to) : now;
        };
        BoundAttention::Pointers p{.q = queries};
        p.k = cached(keys, kPastKey, k, present_k, 1, join_k);
        p.v = cached(values, kPastValue, v, present_v, 2, join_v);
        if (padding) {
          padding_to_bias(s.input<int32_t>(kPadding), lengths, q.batch, total, filter, at<float>(s, mask_at));
          p.mask = at<float>(s, mask_at);
        } else if (extra) {
          p.mask = s.in[kExtra];
        }
        std::fill_n(at<int64_t>(s, pasts), bound->items(), past);
        p.past = at<int64_t>(s, pasts);
        p.y = s.output<float>(0);
        bound->run(p, s.workspace, s.threads);
      }),
      .kernel = "attention_f32",
      .workspace = w.bytes()};
}

// ---- GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k, total, [cos], [sin]

struct Group {
  Heads q, k;
  int64_t capacity = 0, past_capacity = 0;
  bool rotary = false, interleaved = false;
  int64_t half = 0, positions = 0;  // of the caches of cos and sin
  size_t pasts = 0, lengths = 0, rows = 0, rotated = 0;
};

enum GroupInput : size_t { kGroupQ, kGroupK, kGroupV, kGroupPastK, kGroupPastV, kLast, kTotal, kCos, kSin };

// Where each sequence stands. Null, or what is wrong with the data.
const char* read_positions(const Group& g, const StepArgs& s) {
  const auto total = static_cast<int64_t>(*s.input<int32_t>(kTotal));
  if (total < g.k.len || total > g.capacity) return "total_sequence_length does not fit the cache";
  auto *pasts = at<int64_t>(s, g.pasts), *lengths = at<int64_t>(s, g.lengths), *rows = at<int64_t>(s, g.rows);
  for (int64_t b = 0; b < g.k.batch; ++b) {
    const int64_t last = s.input<int32_t>(kLast)[b], past = total == g.k.len ? 0 : last + 1 - g.k.len;
    if (last < 0 || last >= total || past < 0) return "seqlens_k is outside of the sequence";
    for (int64_t h = 0; h < g.k.heads; ++h) {
      pasts[b * g.k.heads + h] = past;
      lengths[b * g.k.heads + h] = past + g.k.len;
    }
    for (int64_t t = 0; t < g.k.len; ++t) {
      if (g.rotary && past + t >= g.positions) return "a position is outside of cos_cache";
      rows[b * g.k.len + t] = past + t;
    }
  }
  return nullptr;
}

// The cache with the new rows behind each sequence's past ones; they are rotated if `r` says so.
void update_cache(const Group& g, const StepArgs& s, const float* past, const float* now, float* present,
                  const RotaryArgs* r) {
  const int64_t matrices = g.k.batch * g.k.heads, size = g.k.size;
  const int64_t *pasts = at<int64_t>(s, g.pasts), *rows = at<int64_t>(s, g.rows);
  for (int64_t i = 0; i < matrices && past != present; ++i) {
    float* to = present + i * g.capacity * size;
    const int64_t kept = past ? g.past_capacity * size : 0;
    if (kept > 0) std::memcpy(to, past + i * kept, static_cast<size_t>(kept) * sizeof(float));
    std::fill(to + kept, to + g.capacity * size, 0.0f);
  }
  for (int64_t b = 0; b < g.k.batch; ++b) {
    float* to = present + (b * g.k.heads * g.capacity + pasts[b * g.k.heads]) * size;
    const float* from = now + b * g.k.len * g.k.heads * size;
    if (r) {
      RotaryArgs one = *r;
      one.x = from;
      one.y = to;
      one.batch = 1;
      one.heads = g.k.heads;
      one.x_at = {0, size, g.k.heads * size};
      one.y_at = {0, g.capacity * size, size};
      one.rows = rows + b * g.k.len;
      rotary(one, s.threads);
      continue;
    }
    for (int64_t h = 0; h < g.k.heads; ++h) {
      for (int64_t t = 0; t < g.k.len; ++t) {
        std::memcpy(to + (h * g.capacity + t) * size, from + (t * g.k.heads + h) * size,
                    static_cast<size_t>(size) * sizeof(float));
      }
    }
  }
}

std::optional<Lowered> lower_group(Lowering& l) {
  const Attrs& a = l.attrs();
  const int64_t heads = a.integer("num_heads"), kv_heads = a.integer("kv_num_heads"),
                window = a.integer("local_window_size", -1);
  for (size_t i = 0; i < l.node.inputs.size(); ++i) {
    const DType want = i == kLast || i == kTotal ? DType::i32 : DType::f32;
    if (i > kSin ? l.has(i) : l.has(i) && l.in_type(i) != want) return std::nullopt;
  }
  const Dims qd = l.in_dims(0), kd = l.in_dims(1);
  if (qd.size() != 3 || kd.size() != 3 || l.in_dims(2) != kd || qd[2] % heads != 0 || heads % kv_heads != 0 ||
      kd != Dims{qd[0], qd[1], qd[2] / heads * kv_heads} || element_count(qd) == 0)
    return std::nullopt;
  if (l.in_dims(kLast) != Dims{qd[0]} || element_count(l.in_dims(kTotal)) != 1 || l.node.out(1) == kNoValue ||
      l.node.out(2) == kNoValue)
    return std::nullopt;
  Group g;
  g.q = {qd[0], heads, qd[1], qd[2] / heads, true};
  g.k = {qd[0], kv_heads, qd[1], g.q.size, true};
  g.capacity = l.out_dims(1)[2];
  g.past_capacity = l.has(kGroupPastK) ? l.in_dims(kGroupPastK)[2] : 0;
  const Dims past{qd[0], kv_heads, g.past_capacity, g.k.size};
  if (g.past_capacity > g.capacity ||
      (l.has(kGroupPastK) && (l.in_dims(kGroupPastK) != past || l.in_dims(kGroupPastV) != past)))
    return std::nullopt;
  g.rotary = a.integer("do_rotary", 0) != 0;
  g.interleaved = a.integer("rotary_interleaved", 0) != 0;
  if (g.rotary) {
    const Dims cos = l.in_dims(kCos);
    if (cos.size() != 2 || cos[1] * 2 > g.q.size || l.in_dims(kSin) != cos) return std::nullopt;
    g.positions = cos[0];
    g.half = cos[1];
  }
  const Heads cache{qd[0], kv_heads, g.capacity, g.k.size, false};
  const BoundAttention::Options options{.softcap = a.real("softcap", 0),
                                        .causal = true,
                                        .zero_if_masked = true,
                                        .left = window > 0 ? window - 1 : -1};
  const auto bound = std::make_shared<const BoundAttention>(form(g.q, cache, cache, scale_of(a, g.q.size)),
                                                            options, l.isa, l.threads);
  Workspace w(bound->workspace(l.threads));
  g.pasts = w.take(bound->items(), sizeof(int64_t));
  g.lengths = w.take(bound->items(), sizeof(int64_t));
  g.rows = w.take(g.k.batch * g.k.len, sizeof(int64_t));
  g.rotated = w.take(g.rotary ? elements(g.q) : 0, sizeof(float));
  const bool has_past = l.has(kGroupPastK);
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   if (const char* wrong = read_positions(g, s)) return s.fail(wrong);
                   RotaryArgs r{
                       .len = g.k.len, .size = g.k.size, .half = g.half, .interleaved = g.interleaved};
                   BoundAttention::Pointers p{.q = s.input<float>(kGroupQ)};
                   if (g.rotary) {
                     r.cos = s.input<float>(kCos);
                     r.sin = s.input<float>(kSin);
                     RotaryArgs q = r;
                     q.x = s.input<float>(kGroupQ);
                     q.y = at<float>(s, g.rotated);
                     q.batch = g.q.batch;
                     q.heads = g.q.heads;
                     q.x_at = q.y_at = {g.q.len * g.q.heads * g.q.size, g.q.size, g.q.heads * g.q.size};
                     q.rows = at<int64_t>(s, g.rows);
                     rotary(q, s.threads);
                     p.q = q.y;
                   }
                   update_cache(g, s, has_past ? s.input<float>(kGroupPastK) : nullptr,
                                s.input<float>(kGroupK), s.output<float>(1), g.rotary ? &r : nullptr);
                   update_cache(g, s, has_past ? s.input<float>(kGroupPastV) : nullptr,
                                s.input<float>(kGroupV), s.output<float>(2), nullptr);
                   p.k = s.output<float>(1);
                   p.v = s.output<float>(2);
                   p.y = s.output<float>(0);
                   p.past = at<int64_t>(s, g.pasts);
                   p.lengths = at<int64_t>(s, g.lengths);
                   bound->run(p, s.workspace, s.threads);
                 }),
                 .kernel = "attention_f32",
                 .workspace = w.bytes()};
}

// ---- RotaryEmbedding

struct RotaryForm {
  RotaryArgs args;          // without pointers
  size_t ids = 0, cos = 0;  // which inputs; cos comes before sin
  bool has_ids = false, one_id = false;
  int64_t positions = 0;
};

std::optional<Lowered> lower_rotary_form(Lowering& l, RotaryForm f) {
  const size_t rows = static_cast<size_t>(f.args.batch * f.args.len) * sizeof(int64_t);
  return Lowered{.code = step_code([f](const StepArgs& s) {
                   RotaryArgs a = f.args;
                   a.x = s.input<float>(0);
                   a.y = s.output<float>(0);
                   a.cos = s.input<float>(f.cos);
                   a.sin = s.input<float>(f.cos + 1);
                   if (f.has_ids) {
                     auto* rows = at<int64_t>(s, 0);
                     for (int64_t i = 0; i < a.batch * a.len; ++i) {
                       const int64_t* ids = s.input<int64_t>(f.ids);
                       rows[i] = f.one_id ? ids[0] + i % a.len : ids[i];
                       if (rows[i] < 0 || rows[i] >= f.positions)
                         return s.fail("a position is outside of cos_cache");
                     }
                     a.rows = rows;
                   }
                   rotary(a, s.threads);
                 }),
                 .kernel = "rotary_f32",
                 .workspace = f.has_ids ? rows : 0,
                 .in_place = 0};
}

// The heads of x; nothing unless they are f32.
std::optional<RotaryArgs> rotary_args(Lowering& l, int64_t heads) {
  const Dims x = l.in_dims(0);
  if (l.in_type(0) != DType::f32 || element_count(x) == 0) return std::nullopt;
  RotaryArgs a;
  if (x.size() == 4) {
    a = {.batch = x[0], .heads = x[1], .len = x[2], .size = x[3]};
    a.x_at = {a.heads * a.len * a.size, a.len * a.size, a.size};
  } else if (x.size() == 3 && heads > 0 && x[2] % heads == 0) {
    a = {.batch = x[0], .heads = heads, .len = x[1], .size = x[2] / heads};
    a.x_at = {a.heads * a.len * a.size, a.size, a.heads * a.size};
  } else {
    return std::nullopt;
  }
  a.y_at = a.x_at;
  a.interleaved = l.attrs().integer("interleaved", 0) != 0;
  return a;
}

std::optional<Lowered> lower_rotary(Lowering& l) {
  auto a = rotary_args(l, l.attrs().integer("num_heads", 0));
  if (!a || l.in_type(1) != DType::f32 || l.in_type(2) != DType::f32) return std::nullopt;
  const int64_t dim = l.attrs().integer("rotary_embedding_dim", 0);
  a->half = (dim == 0 ? a->size : dim) / 2;
  const Dims cos = l.in_dims(1);
  RotaryForm f{.args = *a, .ids = 3, .cos = 1, .has_ids = l.has(3)};
  if (cos != l.in_dims(2) || a->half < 1 || 2 * a->half > a->size || dim % 2 != 0 || a->size % 2 != 0)
    return std::nullopt;
  if (f.has_ids) {
    if (cos.size() != 2 || cos[1] != a->half || l.in_type(3) != DType::i64 ||
        l.in_dims(3) != Dims{a->batch, a->len})
      return std::nullopt;
    f.positions = cos[0];
  } else if (cos != Dims{a->batch, a->len, a->half}) {
    return std::nullopt;
  }
  return lower_rotary_form(l, f);
}

// com.microsoft: input, position_ids, cos_cache, sin_cache
std::optional<Lowered> lower_rotary_ms(Lowering& l) {
  const Dims x = l.in_dims(0), ids = l.in_dims(1), cos = l.in_dims(2);
  if (cos.size() != 2 || cos[1] < 1 || l.in_dims(3) != cos || l.in_type(2) != DType::f32 ||
      l.in_type(3) != DType::f32 || l.in_type(1) != DType::i64)
    return std::nullopt;
  int64_t heads = l.attrs().integer("num_heads", 0);
  if (heads == 0 && x.size() == 3) heads = x[2] / (cos[1] * 2);
  auto a = rotary_args(l, heads);
  const int64_t dim = l.attrs().integer("rotary_embedding_dim", 0);
  if (!a || cos[1] * 2 > a->size || (dim != 0 && dim != cos[1] * 2)) return std::nullopt;
  a->half = cos[1];
  RotaryForm f{.args = *a,
               .ids = 1,
               .cos = 2,
               .has_ids = true,
               .one_id = element_count(ids) == 1,
               .positions = cos[0]};
  if (!f.one_id && ids != Dims{a->batch, a->len}) return std::nullopt;
  return lower_rotary_form(l, f);
}

constexpr LowerRow kRows[] = {
    {"MultiHeadAttention", "com.microsoft", lower_multi_head},
    {"GroupQueryAttention", "com.microsoft", lower_group},
    {"RotaryEmbedding", "", lower_rotary},
    {"RotaryEmbedding", "com.microsoft", lower_rotary_ms},
};

}  // namespace

std::span<const LowerRow> attention_microsoft_rows() {
  return kRows;
}

}  // namespace skyline::lower
