#pragma once
// skyline.FusedAttention: softmax(scale * Q K^T, masked) V over operands that lie anywhere in their tensors.
#include "graph/ir/op.h"
#include "graph/ir/precision.h"

namespace skyline::ops {

// Element (lead..., row, column) is at offset + index . strides of its tensor, in elements; strides has an
// entry for each lead dim and two more.
struct AttentionView {
  int64_t offset = 0;
  Dims strides;
};

enum class AttentionMask { none, add, keep, drop };  // of f32; of bool: scores where it is true, or false

struct FusedAttention {
  Dims lead;  // matrices, broadcast by strides of 0
  int64_t q_len = 0, kv_len = 0, size = 0, v_size = 0;
  AttentionView q, k, v, mask, y;                 // [q_len, size], [kv_len, size], [kv_len, v_size], ...
  AttentionMask mask_mode = AttentionMask::none;  // none: input 3 is absent
  float scale = 1, masked_value = 0;              // what takes a dropped score's place
  Dims out_dims;                                  // of Y's tensor, which the view y fills
  // Where not below 0, K and V are caches that are not full: input 4 says how many keys they held before this
  // many came, and the rest of the kv_len rows count for nothing.
  int64_t new_keys = -1;
  Precision precision = Precision::f32;  // of both products
  // On a rung Q, K and V may be bf16 or f32, and Y is f32, or bf16 if that is so (attribute store).
  bool stores_bf16 = false;
};

// The dtype of Y.
DType attention_result(const FusedAttention& f, DType q);

// The node's form. Error{invalid} if the attributes do not describe one.
FusedAttention parse_fused_attention(const Attrs& attrs);
Attrs to_attrs(const FusedAttention& f);

// Index one past the last element that the view of [lead..., rows, columns] reaches. Error{limit} if it
// overflows.
int64_t reach(const AttentionView& view, const Dims& lead, int64_t rows, int64_t columns);

// The operator's functions; its row is with the other attentions.
void infer_fused_attention(InferContext& c);
void eval_fused_attention(EvalContext& c);
Work work_fused_attention(const Node& node, std::span<const Fact> in, std::span<const Fact> out);

}  // namespace skyline::ops
