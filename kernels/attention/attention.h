#pragma once
// Scaled dot-product attention:  Y = softmax(scale * Q K^T, masked) V,  over blocks of keys with the
// softmax kept up as they come, so that no matrix of queries x keys is ever stored.
//
//   prepare once:   AttentionPlan plan = attention_plan(shape, isa);
//   run many times: attention_run(plan, args, workspace, threads);  // attention_workspace_bytes(plan,
//   threads)
//
// Operands are read and written in place through strides, so that heads may lie in any order. An item is a
// pair of K and V matrices; `group` query matrices share it (grouped heads). Results are the same bits for
// any number of threads. Running allocates nothing and cannot fail.
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/pack.h"
#include "kernels/gemm/tile.h"
#include "skyline/isa.h"
#include "skyline/kernel.h"
#include "skyline/precision.h"

namespace skyline::kernels {

struct DenseKernel;

struct AttentionShape {
  int64_t items = 0, group = 1, q_len = 0, kv_len = 0, size = 0, v_size = 0;
  float scale = 1;
  float softcap = 0;  // 0: none; else s = softcap * tanh(s / softcap) after scaling, before the mask
  // Query i of an item stands at key i + AttentionArgs::past[item] (0 without). causal: it sees no key behind
  // that. left, right (-1: no bound): it sees so many keys before and behind, and its own.
  bool causal = false;
  int64_t left = -1, right = -1;
  // What a query gives that may see nothing, or only keys masked by -inf: zeros, or NaN as softmax does.
  bool zero_if_masked = false;
  // bf16: factors of products, softmax(...) among them, may be rounded to bf16, see GemmProblem. Other rungs
  // count as f32.
  Precision precision = Precision::f32;
  // f32; where attention_bf16 has a kernel each may also be bf16.
  DType q = DType::f32, k = DType::f32, v = DType::f32, y = DType::f32;
};

// Offsets and strides in elements. Matrix (item, g) starts at data + items[item] + groups[g]; a null table is
// all zeros. K and V have no groups.
struct AttentionOperand {
  const int64_t* items = nullptr;
  const int64_t* groups = nullptr;
  int64_t row = 0;
  int64_t column = 1;  // K only may have another one: it is stored transposed
};

enum class MaskKind : uint8_t {
  none,
  add,   // of f32: s + mask
  keep,  // of bool bytes: mask ? s : masked_value
  drop,  // of bool bytes: mask ? masked_value : s
};

struct AttentionArgs {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  void* y = nullptr;  // overlaps nothing
  AttentionOperand q_at, k_at, v_at, y_at;
  MaskKind mask_kind = MaskKind::none;
  const void* mask = nullptr;
  AttentionOperand mask_at;  // rows are queries, columns keys; column is 0 or 1
  float masked_value = 0;
  const int64_t* lengths = nullptr;  // per item: keys in use, 0..kv_len; null: all
  const int64_t* past = nullptr;     // per item; null: 0
};

struct AttentionPlan {
  AttentionShape shape;
  const struct AttentionBf16* bf16 = nullptr;  // instead of `kernel`
  const GemmKernel* kernel = nullptr;
  const struct AttentionTable* table = nullptr;
  bool few = false;         // so few queries that K is read as stored, without packing
  int64_t block = 0;        // keys a block
  int64_t unit = 0;         // rows (queries of all groups) that one packed block serves
  size_t thread_bytes = 0;  // of workspace
};
// k_column: AttentionOperand::column of K. threads: so many that the work should be cut for.
AttentionPlan attention_plan(const AttentionShape& shape, int64_t k_column, IsaSet isa, int threads);
size_t attention_workspace_bytes(const AttentionPlan& plan, int threads) noexcept;
// workspace: attention_workspace_bytes(plan, threads) bytes aligned to 64.
void attention_run(const AttentionPlan& plan, const AttentionArgs& args, std::byte* workspace,
                   int threads) noexcept;

// What is built per ISA level: the arithmetic on rows of scores.
struct ScoreRow {
  float scale = 1, softcap = 0;
  MaskKind kind = MaskKind::none;
  const void* mask = nullptr;  // of the first score
  bool mask_varies = true;     // from key to key
  float masked_value = 0;
};
struct AttentionTable {
  KernelInfo info;  // the table as a row of all_kernels()
  // s[0, n) = masked(scaled); returns the largest, NaN if there is one.
  float (*scores)(float* s, int64_t n, const ScoreRow& row) noexcept;
  // s = exp(s - m); returns the sum.
  float (*exponentials)(float* s, int64_t n, float m) noexcept;
  // y = x * by; x == y is allowed.
  void (*scale)(const float* x, float* y, int64_t n, float by) noexcept;
  // s[j] = q . k[j], rows of `size`, `stride` apart.
  void (*dots)(const float* q, const float* k, int64_t stride, int64_t n, int64_t size, float* s) noexcept;
  // y[0, size) += sum of p[j] * v[j]; or = where `first`.
  void (*weigh)(const float* p, const float* v, int64_t stride, int64_t n, int64_t size, float* y,
                bool first) noexcept;
};
const AttentionTable& attention_kernels(IsaSet isa) noexcept;
extern const AttentionTable attention_sse2, attention_avx2, attention_avx512,
    attention_neon;  // of this architecture

// Attention on tiles of bf16: what is not a product of kernels/gemm/dense.h.
struct AttentionBf16 : KernelInfo {
  const DenseKernel* dense;
  // Packs n rows of `size` numbers, `row` apart and f32 or bf16, as the columns of the kernel's B. Returns
  // whether all are finite.
  bool (*keys)(const void* k, DType type, int64_t row, int64_t n, int64_t size, const PanelShape& shape,
               std::byte* to) noexcept;
  // The same for the rows of V, which are those of B.
  bool (*values)(const void* v, DType type, int64_t row, int64_t n, int64_t size, const PanelShape& shape,
                 std::byte* to) noexcept;
  // In place of the n floats s: exp(s - m) in bf16, and zeros up to a multiple of 32, within 2^-8 of it.
  // Returns the sum.
  float (*exponentials)(float* s, int64_t n, float m) noexcept;
  // y = x * by, in bf16.
  void (*scale)(const float* x, uint16_t* y, int64_t n, float by) noexcept;
};
// The kernel for such an attention; null if there is none, or if f32 takes less time.
const AttentionBf16* attention_bf16(const AttentionShape& shape, IsaSet isa) noexcept;
#if defined(__x86_64__)
extern const AttentionBf16 attention_bf16_amx;
#endif

}  // namespace skyline::kernels
