// FusedAttention and ai.onnx Attention.
#include "engine/lower/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/lower/families.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"

namespace skyline::lower {
namespace {

using namespace kernels;
using ops::AttentionMask;
using ops::AttentionView;
using ops::FusedAttention;

MaskKind mask_kind(AttentionMask m) {
  switch (m) {
    case AttentionMask::none:
      return MaskKind::none;
    case AttentionMask::add:
      return MaskKind::add;
    case AttentionMask::keep:
      return MaskKind::keep;
    case AttentionMask::drop:
      return MaskKind::drop;
  }
  return MaskKind::none;
}

// Offsets of all indices over some of the lead dims, row-major.
Dims offsets(const Dims& lead, const std::vector<bool>& chosen, bool wanted, const Dims& strides,
             int64_t start) {
  Dims dims, steps;
  for (size_t i = 0; i < lead.size(); ++i) {
    if (chosen[i] != wanted) continue;
    dims.push_back(lead[i]);
    steps.push_back(strides[i]);
  }
  Dims out;
  for (ops::NdIndex<1> it(dims, {steps}); !it.done(); it.next()) out.push_back(start + it[0]);
  return out;
}

std::optional<Lowered> lower_fused_attention(Lowering& l) {
  const FusedAttention f = ops::parse_fused_attention(l.attrs());
  const size_t n = f.lead.size();
  if ((f.size > 1 && f.q.strides[n + 1] != 1) ||
      (f.v_size > 1 && (f.v.strides[n + 1] != 1 || f.y.strides[n + 1] != 1)))
    return std::nullopt;
  if (l.has(3)) {
    const DType want = f.mask_mode == AttentionMask::add ? DType::f32 : DType::boolean;
    if (l.in_type(3) != want || f.mask.strides[n + 1] > 1) return std::nullopt;
  }
  if (l.has(4) && (l.in_type(4) != DType::i64 || element_count(l.in_dims(4)) != 1)) return std::nullopt;
  const BoundAttention::Options options{
      .q = l.in_type(0), .k = l.in_type(1), .v = l.in_type(2), .y = l.out_type()};
  const auto bound = std::make_shared<const BoundAttention>(f, options, l.isa, l.threads);
  if (!bound->takes_types()) return std::nullopt;
  const bool mask = l.has(3), grows = l.has(4);
  const size_t lengths_at = align_up(bound->workspace(l.threads));
  const int64_t most = f.kv_len, added = f.new_keys;
  return Lowered{
      .code = step_code([=](const StepArgs& s) {
        BoundAttention::Pointers p{
            .q = s.in[0], .k = s.in[1], .v = s.in[2], .mask = mask ? s.in[3] : nullptr, .y = s.out[0]};
        if (grows) {
          const int64_t held = s.input<int64_t>(4)[0];
          if (held < 0 || held > most - added) return s.fail("the length is outside of the keys");
          auto* lengths = reinterpret_cast<int64_t*>(s.workspace + lengths_at);
          std::fill(lengths, lengths + bound->items(), held + added);
          p.lengths = lengths;
        }
        bound->run(p, s.workspace, s.threads);
      }),
      .kernel = bound->kernel(),
      .workspace = lengths_at + (grows ? static_cast<size_t>(bound->items()) * sizeof(int64_t) : 0)};
}

// ---- ai.onnx Attention ----

std::optional<Heads> heads_of(const Dims& d, int64_t heads) {
  if (d.size() == 4) return Heads{d[0], d[1], d[2], d[3], false};
  if (d.size() != 3 || heads < 1 || d[2] % heads != 0) return std::nullopt;
  return Heads{d[0], heads, d[1], d[2] / heads, true};
}

enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kLengths };

// The view of a mask that broadcasts to [batch, q heads, q_len, its own last dim].
std::optional<AttentionView> mask_view(const Dims& dims, int64_t batch, int64_t kv_heads, int64_t groups,
                                       int64_t q_len) {
  if (dims.empty() || dims.size() > 4) return std::nullopt;
  const Dims whole{batch, kv_heads * groups, q_len, dims.back()};
  if (ops::broadcast_dims(dims, whole) != whole) return std::nullopt;
  const Dims s = ops::broadcast_strides(dims, whole);
  return AttentionView{0, {s[0], s[1] * groups, groups == 1 ? 0 : s[1], s[2], s[3]}};
}

std::optional<Lowered> lower_attention(Lowering& l) {
  const Attrs& a = l.attrs();
  for (size_t i : {size_t{kQ}, size_t{kK}, size_t{kV}, size_t{kPastKey}, size_t{kPastValue}}) {
    if (l.has(i) && l.in_type(i) != DType::f32) return std::nullopt;
  }
  if (l.node.out(3) != kNoValue || (l.has(kLengths) && l.in_type(kLengths) != DType::i64))
    return std::nullopt;
  const int64_t kv_heads = a.integer("kv_num_heads", 0);
  const auto q = heads_of(l.in_dims(kQ), a.integer("q_num_heads", 0)), k = heads_of(l.in_dims(kK), kv_heads),
             v = heads_of(l.in_dims(kV), kv_heads);
  if (!q || !k || !v || k->heads < 1 || q->heads % k->heads != 0 || element_count(l.out_dims()) == 0 ||
      k->size < 1 || q->batch != k->batch)
    return std::nullopt;
  const int64_t past = l.has(kPastKey) ? l.in_dims(kPastKey)[2] : 0, total = past + k->len,
                groups = q->heads / k->heads;
  if (total < 1) return std::nullopt;

  // K and V are read where they come from unless they must be joined with a past.
  const bool joined = l.has(kPastKey);
  Heads cached_k{k->batch, k->heads, total, k->size, false},
      cached_v{v->batch, v->heads, total, v->size, false};
  FusedAttention f;
  f.lead = {q->batch, k->heads, groups};
  f.q_len = q->len;
  f.kv_len = total;
  f.size = q->size;
  f.v_size = v->size;
  f.q = query_view(*q, groups);
  f.k = key_view(joined ? cached_k : *k);
  f.v = key_view(joined ? cached_v : *v);
  f.y = query_view({q->batch, q->heads, q->len, v->size, q->packed}, groups);
  f.out_dims = l.out_dims();
  f.scale =
      a.has("scale") ? a.real("scale") : static_cast<float>(1 / std::sqrt(static_cast<double>(q->size)));
  if (l.has(kMask)) {
    const auto view = mask_view(l.in_dims(kMask), q->batch, k->heads, groups, q->len);
    const DType t = l.in_type(kMask);
    // Keys that the mask does not cover are masked.
    if (!view || l.in_dims(kMask).back() < 1 || l.in_dims(kMask).back() > total ||
        (t != DType::f32 && t != DType::boolean) || (l.in_dims(kMask).back() < total && l.has(kLengths)))
      return std::nullopt;
    f.mask = *view;
    f.mask_mode = t == DType::f32 ? AttentionMask::add : AttentionMask::keep;
    f.masked_value = -INFINITY;
    f.kv_len = l.in_dims(kMask).back();
  }
  const BoundAttention::Options options{.softcap = a.real("softcap", 0),
                                        .causal = a.integer("is_causal", 0) != 0,
                                        .zero_if_masked = true,
                                        .left = a.integer("left_window_size", -1),
                                        .right = a.integer("right_window_size", -1)};
  const auto bound = std::make_shared<const BoundAttention>(f, options, l.isa, l.threads);
  const bool present_k = l.node.out(1) != kNoValue, present_v = l.node.out(2) != kNoValue;
  size_t at = align_up(bound->workspace(l.threads));
  const size_t tables = at;
  at += align_up(static_cast<size_t>(2 * bound->items()) * sizeof(int64_t));
  const auto place = [&](bool needed, const Heads& h) {
    const size_t here = at;
    if (needed) at += align_up(static_cast<size_t>(h.batch * h.heads * h.len * h.size) * 4);
    return here;
  };
  const size_t k_at = place(joined && !present_k, cached_k), v_at = place(joined && !present_v, cached_v);
  const bool mask = l.has(kMask), lengths = l.has(kLengths);
  const Heads kh = *k, vh = *v;
  const int64_t q_len = q->len;
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   BoundAttention::Pointers p{.q = s.in[kQ]};
                   const auto cache = [&](const float* now, size_t past_input, const Heads& h, bool present,
                                          size_t output, size_t offset) {
                     if (!present && !joined) return now;
                     float* to =
                         present ? s.output<float>(output) : reinterpret_cast<float*>(s.workspace + offset);
                     append_cache(joined ? s.input<float>(past_input) : nullptr, past, now, h, to, s.threads);
                     return joined ? static_cast<const float*>(to) : now;
                   };
                   p.k = cache(s.input<float>(kK), kPastKey, kh, present_k, 1, k_at);
                   p.v = cache(s.input<float>(kV), kPastValue, vh, present_v, 2, v_at);
                   p.mask = mask ? s.in[kMask] : nullptr;
                   p.y = s.output<float>(0);
                   auto* table = reinterpret_cast<int64_t*>(s.workspace + tables);
                   p.past = table;
                   p.lengths = lengths ? table + bound->items() : nullptr;
                   for (int64_t i = 0; i < bound->items(); ++i) {
                     table[i] = past;
                     if (!lengths) continue;
                     const int64_t n = s.input<int64_t>(kLengths)[i / kh.heads];
                     if (n < 0 || n > total) {
                       std::fill(s.output<float>(0), s.output<float>(0) + 1, 0.0f);
                       return s.fail("nonpad_kv_seqlen is outside of the keys");
                     }
                     table[bound->items() + i] = n;
                     table[i] = n - q_len;
                   }
                   bound->run(p, s.workspace, s.threads);
                 }),
                 .kernel = "attention_f32",
                 .workspace = at};
}

constexpr LowerRow kRows[] = {
    {"FusedAttention", "skyline", lower_fused_attention},
    {"Attention", "", lower_attention},
};

}  // namespace

void append_cache(const float* past, int64_t past_len, const float* now, const Heads& h, float* present,
                  int threads) {
  const int64_t total = past_len + h.len, row = h.packed ? h.heads * h.size : h.size;
  const int64_t grain = 65536 / (total * h.size + 1) + 1;
  parallel_for(threads, h.batch * h.heads, grain, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t i = begin; i < end; ++i) {
      float* to = present + i * total * h.size;
      if (past_len > 0) {
        std::memcpy(to, past + i * past_len * h.size, static_cast<size_t>(past_len * h.size) * 4);
        to += past_len * h.size;
      }
      const float* from =
          h.packed ? now + (i / h.heads * h.len * h.heads + i % h.heads) * h.size : now + i * h.len * h.size;
      for (int64_t t = 0; t < h.len; ++t)
        std::memcpy(to + t * h.size, from + t * row, static_cast<size_t>(h.size) * 4);
    }
  });
}

AttentionView query_view(const Heads& h, int64_t groups) {
  const int64_t head = h.packed ? h.size : h.len * h.size;
  return {0, {h.heads * h.len * h.size, head * groups, head, h.packed ? h.heads * h.size : h.size, 1}};
}
AttentionView key_view(const Heads& h) {
  const int64_t head = h.packed ? h.size : h.len * h.size;
  return {0, {h.heads * h.len * h.size, head, 0, h.packed ? h.heads * h.size : h.size, 1}};
}

BoundAttention::BoundAttention(const FusedAttention& f, const Options& options, IsaSet isa, int threads) {
  const size_t n = f.lead.size();
  // Matrices that share K and V are rows of one item.
  std::vector<bool> grouped(n);
  for (size_t i = 0; i < n; ++i) grouped[i] = f.lead[i] > 1 && f.k.strides[i] == 0 && f.v.strides[i] == 0;
  const auto table = [&](const AttentionView& view) {
    return Table{offsets(f.lead, grouped, false, view.strides, view.offset),
                 offsets(f.lead, grouped, true, view.strides, 0), view.strides[n], view.strides[n + 1]};
  };
  q_ = table(f.q);
  k_ = table(f.k);
  v_ = table(f.v);
  y_ = table(f.y);
  mask_kind_ = mask_kind(f.mask_mode);
  if (mask_kind_ != MaskKind::none) mask_ = table(f.mask);
  masked_value_ = f.masked_value;
  AttentionShape s;
  s.items = static_cast<int64_t>(q_.items.size());
  s.group = static_cast<int64_t>(q_.groups.size());
  s.q_len = f.q_len;
  s.kv_len = f.kv_len;
  s.size = f.size;
  s.v_size = f.v_size;
  s.scale = f.scale;
  s.softcap = options.softcap;
  s.causal = options.causal;
  s.left = options.left;
  s.right = options.right;
  s.zero_if_masked = options.zero_if_masked;
  s.precision = f.precision;
  s.q = options.q;
  s.k = options.k;
  s.v = options.v;
  s.y = options.y;
  plan_ = attention_plan(s, f.size > 1 ? k_.column : 1, isa, threads);
}

bool BoundAttention::takes_types() const {
  const AttentionShape& s = plan_.shape;
  const auto taken = [&](DType t) { return t == DType::f32 || (t == DType::bf16 && plan_.bf16); };
  return taken(s.q) && taken(s.k) && taken(s.v) && taken(s.y);
}

void BoundAttention::run(const Pointers& p, std::byte* workspace, int threads) const noexcept {
  const auto place = [](const Table& t) {
    return AttentionOperand{t.items.data(), t.groups.data(), t.row, t.column};
  };
  AttentionArgs a;
  a.q = p.q;
  a.k = p.k;
  a.v = p.v;
  a.y = p.y;
  a.q_at = place(q_);
  a.k_at = place(k_);
  a.v_at = place(v_);
  a.y_at = place(y_);
  if (mask_kind_ != MaskKind::none) {
    a.mask_kind = mask_kind_;
    a.mask = p.mask;
    a.mask_at = place(mask_);
    a.masked_value = masked_value_;
  }
  a.lengths = p.lengths;
  a.past = p.past;
  attention_run(plan_, a, workspace, threads);
}

std::span<const LowerRow> attention_rows() {
  return kRows;
}

}  // namespace skyline::lower
