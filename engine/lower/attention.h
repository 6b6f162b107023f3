#pragma once
// What the lowerings of the attention operators share.
#include "engine/lower/lowering.h"
#include "graph/ops/fused_attention.h"
#include "graph/ops/util.h"
#include "kernels/attention/attention.h"

namespace skyline::lower {

// A tensor of heads: [batch, heads, len, size], or packed as [batch, len, heads * size].
struct Heads {
  int64_t batch, heads, len, size;
  bool packed;
};
// Views of it for lead dims [batch, key heads, query heads of each].
ops::AttentionView query_view(const Heads& h, int64_t groups);
ops::AttentionView key_view(const Heads& h);

// present [batch, heads, past_len + h.len, size] = past, then now. past may be null if past_len is 0.
void append_cache(const float* past, int64_t past_len, const float* now, const Heads& h, float* present,
                  int threads);

// An attention whose operands' places are known: the kernel's plan and its tables of offsets.
class BoundAttention {
 public:
  // What FusedAttention does not say.
  struct Options {
    float softcap = 0;
    bool causal = false, zero_if_masked = false;
    int64_t left = -1, right = -1;
    DType q = DType::f32, k = DType::f32, v = DType::f32, y = DType::f32;
  };
  BoundAttention(const ops::FusedAttention& f, const Options& options, IsaSet isa, int threads);

  struct Pointers {
    const void *q = nullptr, *k = nullptr, *v = nullptr, *mask = nullptr;
    void* y = nullptr;
    const int64_t *lengths = nullptr, *past = nullptr;  // items() of each; may be null
  };
  size_t workspace(int threads) const { return kernels::attention_workspace_bytes(plan_, threads); }
  int64_t items() const { return plan_.shape.items; }
  // Whether the kernel takes the types of the options.
  bool takes_types() const;
  const char* kernel() const { return plan_.bf16 ? plan_.bf16->name.data() : "attention_f32"; }
  void run(const Pointers& p, std::byte* workspace, int threads) const noexcept;

 private:
  struct Table {
    Dims items, groups;
    int64_t row = 0, column = 0;
  };
  kernels::AttentionPlan plan_;
  Table q_, k_, v_, y_, mask_;
  kernels::MaskKind mask_kind_ = kernels::MaskKind::none;
  float masked_value_ = 0;
};

}  // namespace skyline::lower
