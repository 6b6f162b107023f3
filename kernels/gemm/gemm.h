#pragma once
// Matrix product with a fused epilogue:  C = epilogue(alpha * op(A) * op(B)),  batched.
//
//   prepare once:   GemmPlan plan = gemm_plan({.m = m, .n = n, .k = k, .const_b = true}, isa);
//                   AlignedBuffer w = aligned_alloc_bytes(plan.packed_b_bytes);
//                   gemm_pack_b(plan, {.b = weights, .ldb = n}, w.get());
//   run many times: GemmArgs args{.a = x, .lda = k, .b = w.get(), .c = y, .ldc = n};
//                   args.epilogue.bias_n = bias;
//                   gemm_run(plan, args, workspace, threads);  // of gemm_workspace_bytes(plan, threads)
//
// Types: f32 x f32 -> f32; u8|i8 x u8|i8 -> i32, f32, u8 or i8 (see Epilogue), exact in 32-bit integers on
// every ISA. Where there are bf16 tiles (AMX) also f32|bf16 x f32|bf16 -> f32|bf16, if both are bf16 or
// `precision` is one of the bf16 rungs; and where there is f16 arithmetic (AVX512-FP16) f32|f16 x f32|f16 ->
// f32|f16, if it is f16. Results are the same bits for any number of threads. Running
// allocates nothing and cannot fail. C never overlaps A, B or the workspace; the residual may be C itself. C
// is never read otherwise (there is no beta: it is the residual).
#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/tile.h"
#include "skyline/dtype.h"
#include "skyline/isa.h"
#include "skyline/precision.h"

namespace skyline::kernels {

struct DenseKernel;

struct GemmProblem {
  int64_t m = 0, n = 0, k = 0;  // of one product; any may be 0 (k = 0 gives the epilogue of zero)
  int64_t batch = 1;
  bool trans_a = false;  // A is stored k x m
  bool trans_b = false;  // B is stored n x k
  bool const_b = false;  // B is a weight, packed once by gemm_pack_b; otherwise gemm_run takes B as stored
  float alpha = 1;       // f32 only
  // Integers: the zero point of B is 0 if it is i8 and 128 if it is u8, and A has one zero point for all rows
  // (no a_zero_m). Then kernels on dot-product and tile instructions may be chosen; else only for const_b,
  // where they take several products: A has one zero point then, too, unless a row of op "gemm" is forced.
  bool centered_b = false;
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  // Of products of floats: the coarsest arithmetic that may be used. It is a permission: where the machine
  // lacks the arithmetic, or it does not pay, f32 is used. Bounds of the error of a sum, relative to the sum
  // of magnitudes |a * b|: 2^-8 for f16 and bf16, 2^-16 for bf16x3, that of f32 for bf16x6 and f32. With
  // bf16, bf16x3 and bf16x6 numbers below 2^-126 count as 0, also those left when a factor is split; f16
  // rounds factors below 2^-14 to multiples of 2^-24, and those above 65504 to infinity. Infinities and NaN
  // give what f32 gives.
  Precision precision = Precision::f32;
};

// How the loops run: data, so that it can be printed, compared and searched. All in units of elements.
struct GemmSchedule {
  int64_t mc = 0;  // rows of A per block: a block of A stays in L2 while the panels of B stream by
  // Rows of a block are copied to scratch first: integers are widened,
  bool copy_a = false;
  // f32 interleaved tile by tile, so that a tile reads one run of memory.
  bool interleave = false;
  bool pack_b = false;  // B is packed at every run; otherwise read as stored or packed before
};

struct GemmPlan {
  GemmProblem problem;
  const GemmKernel* kernel = nullptr;  // null with a dense kernel
  const DenseKernel* dense = nullptr;  // see dense.h
  GemmSchedule schedule;
  int64_t steps = 0;          // ceil(k / kernel->kr)
  int64_t panels = 0;         // ceil(n / kernel->nr)
  int64_t a_scratch = 0;      // bytes of scratch per thread for a block of A
  size_t packed_b_bytes = 0;  // of one packed matrix
};

// Chooses the kernel and the schedule. `forced` (may be null) is a row of op "gemm" to use instead of the
// default. Throws Error{unsupported} naming the types, if no kernel of `isa` has them; Error{invalid} on a
// negative size, and Error{limit} if the sizes overflow.
GemmPlan gemm_plan(const GemmProblem& problem, IsaSet isa, const GemmKernel* forced = nullptr);
// The same with a row of op "dense". Throws Error{unsupported} if it cannot take the problem.
GemmPlan gemm_plan(const GemmProblem& problem, const DenseKernel& forced);
// The dense kernel that gemm_plan would choose; null if none fits.
const DenseKernel* choose_dense(const GemmProblem& problem, IsaSet isa) noexcept;
// The chosen row.
const KernelInfo& kernel_of(const GemmPlan& plan) noexcept;

struct GemmWeights {
  const void* b = nullptr;
  int64_t ldb = 0;                   // elements between stored rows of B
  const void* zero_point = nullptr;  // integers only: of B's type; null is 0
  bool zero_point_per_n = false;     // n zero points instead of one
};
// Packs one matrix into plan.packed_b_bytes bytes, aligned to 64. read: called now and then, with how many of
// the rows as stored, from the first on, will not be read again.
void gemm_pack_b(const GemmPlan& plan, const GemmWeights& w, std::byte* packed,
                 const std::function<void(int64_t)>& read = {}) noexcept;

struct GemmArgs {
  const void* a = nullptr;
  int64_t lda = 0;          // elements between stored rows
  const void* b = nullptr;  // packed if problem.const_b, else as stored
  int64_t ldb = 0;
  void* c = nullptr;
  int64_t ldc = 0;
  Epilogue epilogue;
  int32_t a_zero = 0;                 // integers only: the zero point of A,
  const int32_t* a_zero_m = nullptr;  // or m of them, one per row
  GemmWeights b_info;                 // integers, B as stored: its zero points (b and ldb here are ignored)
  // Batch entry i starts at a + i*stride_a or, where given, a + a_offsets[i], in elements (likewise B; packed
  // ones in matrices), and at c + i*stride_c. Stride 0 shares one A or B among all.
  int64_t stride_a = 0, stride_b = 0, stride_c = 0;
  const int64_t* a_offsets = nullptr;
  const int64_t* b_offsets = nullptr;
};
size_t gemm_workspace_bytes(const GemmPlan& plan, int threads) noexcept;
// workspace: gemm_workspace_bytes(plan, threads) bytes aligned to 64; may be null if that is 0.
void gemm_run(const GemmPlan& plan, const GemmArgs& args, std::byte* workspace, int threads) noexcept;

// The plain loops, for tests: the same arithmetic rules, f32 sums in double.
void gemm_reference(const GemmProblem& problem, const GemmArgs& args) noexcept;

}  // namespace skyline::kernels
