#pragma once
// Elementwise kernels: unary and binary f32, integers, comparisons, where, cast, and chains of several in one
// pass.
//
// How to use, at compile of a session:
//   const EltwiseTable& t = eltwise_kernels(isa);
//   NdPlan plan;  make_broadcast_plan(out_shape, {a_shape, b_shape}, &plan);
//   SpanFn add = find_binary(t, BinaryOp::add, DType::f32);
// and at run:
//   run_binary(add, plan, 4, 4, a, b, y, nullptr, threads);
// The output is contiguous; it may be the same memory as an input that is not broadcast. No alignment is
// needed.
#include <cstddef>
#include <cstdint>

#include "kernels/base/nd.h"
#include "skyline/dtype.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

enum class UnaryOp : uint8_t {
  copy,
  neg,
  abs,
  sqrt,
  rsqrt,
  reciprocal,
  square,
  sign,
  floor,
  ceil,
  round /* half to even */,
  trunc,
  relu,
  leaky_relu /* alpha */,
  clip /* [alpha, beta] */,
  exp,
  log,
  sigmoid,
  tanh,
  erf,
  gelu,
  gelu_tanh,
  silu,
  hard_sigmoid /* alpha x + beta */,
  hard_swish,
  softplus,
  softsign,
  elu /* alpha */,
  selu /* beta * (x or alpha (e^x - 1)) */,
  celu /* alpha */,
  mish,
  thresholded_relu /* alpha */,
  affine /* alpha x + beta */,
  scaled_tanh /* alpha tanh(beta x) */,
  quick_gelu /* x sigmoid(alpha x) */,
  shrink /* lambda = alpha, bias = beta */,
  sin,
  cos,
  // Through the C library, one element at a time:
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  asinh,
  acosh,
  atanh,
  log1p,
  expm1,
  is_nan /* 1 or 0 */,
  is_inf,
  count
};
inline constexpr int kUnaryCount = static_cast<int>(UnaryOp::count);

enum class BinaryOp : uint8_t {
  add,
  sub,
  mul,
  div,
  min,
  max,
  pow,
  prelu /* a < 0 ? a * b : a */,
  mod /* sign of b */,
  fmod /* sign of a */,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,  // to bool
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,  // integers; and, or, xor on bool too
  count
};
inline constexpr int kBinaryCount = static_cast<int>(BinaryOp::count);
constexpr bool is_compare(BinaryOp op) {
  return op >= BinaryOp::eq && op <= BinaryOp::ge;
}

// y[i] = op(x[i]); x == y is allowed. alpha and beta as the op's comment says, else ignored.
using UnaryFn = void (*)(const float* x, float* y, int64_t n, float alpha, float beta) noexcept;
// y[i] = op(a[i * step_a], b[i * step_b]); steps are 0 or 1, in elements. params: for kernels that need any,
// else null.
using SpanFn = void (*)(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
                        const void* params) noexcept;
// y[i] = x[i], converted.
using CastFn = void (*)(const void* x, void* y, int64_t n) noexcept;

// Rows of n elements, each times a number of its column, plus one, plus that of another tensor, at least 0:
// y = relu(x * scale + shift + other), in that order, each rounded. What is null is left out; x, y and
// `other` have rows of their own distance. y may be x or `other` if the distances are the same.
struct AffineRows {
  const float* x = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  const float* other = nullptr;
  float* y = nullptr;
  int64_t ldx = 0, ldo = 0, ldy = 0;  // elements
  int64_t n = 0;
  bool relu = false;
};
using AffineRowsFn = void (*)(const AffineRows& a, int64_t rows) noexcept;

struct EltwiseTable {
  KernelInfo info;  // the table as a row of all_kernels()
  UnaryFn unary[kUnaryCount];
  SpanFn binary[kBinaryCount];  // f32; null for the integer-only ops
  CastFn f32_to_f16, f16_to_f32, f32_to_bf16, bf16_to_f32;
  AffineRowsFn affine_rows;
};
const EltwiseTable& eltwise_kernels(IsaSet isa) noexcept;
extern const EltwiseTable eltwise_sse2, eltwise_avx2, eltwise_avx512,
    eltwise_neon;  // of this architecture only

// The kernel for an element type; null if there is none. f32 min, max and relu hand NaN on; integer add, sub
// and mul wrap; integer div truncates, x / 0 is 0 and mod by 0 is 0. bool: comparisons (eq, ne) and bit ops.
SpanFn find_binary(const EltwiseTable& t, BinaryOp op, DType type) noexcept;
// Integer and f64 abs, neg, sign; bool `neg` is logical not. Null if there is none; f32 is in the table.
CastFn find_unary_other(UnaryOp op, DType type) noexcept;
// Between f32, f64, f16, bf16, bool and the integers of 8 to 64 bits; null otherwise. To bool: x != 0. Float
// to integer truncates; what does not fit in 64 bits (32, for i32 and narrower) gives the most negative one
// before the low bits are kept, as x86's own conversion does. Float to narrower float rounds to even.
CastFn find_cast(const EltwiseTable& t, DType from, DType to) noexcept;

void run_unary(UnaryFn fn, const float* x, float* y, int64_t n, float alpha, float beta,
               int threads) noexcept;
void run_affine_rows(AffineRowsFn fn, const AffineRows& a, int64_t rows, int threads) noexcept;
// For find_cast and find_unary_other: element sizes in bytes.
void run_cast(CastFn fn, size_t x_bytes, size_t y_bytes, const void* x, void* y, int64_t n,
              int threads) noexcept;
// plan has operands a, b; `in_bytes` is the size of an element of both, `out_bytes` of y.
void run_binary(SpanFn fn, const NdPlan& plan, size_t in_bytes, size_t out_bytes, const void* a,
                const void* b, void* y, const void* params, int threads) noexcept;
// plan has operands condition (bool), a, b. bytes: size of an element of a, b and y: 1, 2, 4 or 8.
void run_where(const NdPlan& plan, size_t bytes, const void* condition, const void* a, const void* b, void* y,
               int threads) noexcept;

// A chain: several f32 ops over broadcast inputs, block by block, so that what is between them never leaves
// L1. Values are numbered: inputs 0 .. inputs - 1, then step i's result is inputs + i.
inline constexpr int kMaxChainSteps = 24;
inline constexpr int kMaxChainOutputs = 4;
struct ChainStep {
  UnaryFn unary = nullptr;  // one of these two is set
  SpanFn binary = nullptr;  // an f32 to f32 op
  int a = 0, b = 0;         // values it reads
  float alpha = 0, beta = 0;
};
struct Chain {
  int inputs = 0, steps = 0, outputs = 0;
  ChainStep step[kMaxChainSteps];
  int output[kMaxChainOutputs] = {};  // values to store, each the result of a step
  // Outputs are rows of out_width elements, out_ld apart; 0: contiguous.
  int64_t out_width = 0, out_ld = 0;
  int8_t slot[kMaxChainSteps] = {};  // set by finish_chain: the block buffer of each step's result
};
inline constexpr int kChainSlots = 12;  // values alive at once between steps
// Checks the numbering and assigns buffers; false if it is malformed or needs over kChainSlots buffers.
bool finish_chain(Chain* chain) noexcept;
// plan.operands == chain.inputs. outputs have plan.size elements.
void run_chain(const Chain& chain, const NdPlan& plan, const float* const* inputs, float* const* outputs,
               int threads) noexcept;

}  // namespace skyline::kernels
