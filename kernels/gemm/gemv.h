#pragma once
// Products of a few rows of f32 with weights of fewer bits, which stay so in memory: what such a product
// costs is reading them. y = act((x * w) + bias + residual), sums in f32.
//
//   GemvPlan plan = gemv_plan({.n = n, .k = k, .weights = DType::i8, .block = k}, isa);
//   gemv_pack(plan, source, packed);  // plan.packed_bytes, aligned to 64
//   gemv_run(plan, {...}, threads);   // any number of rows, kGemvRows at a time
//
// Weights: bf16 or f16, rounded from f32; or i8 or i4 with a scale, and maybe a shift, for each `block`
// values of K of each column: w = code * scale + shift. The sum of a block is scale * sum(x * code) + shift *
// sum(x). The same bits for any number of threads.
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/epilogue.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

inline constexpr int kGemvRows = 4;     // more read the weights again
inline constexpr int kGemvVectors = 4;  // of columns side by side: a panel

// Some rows by one panel: a stream of k rows (i4: pairs of rows) of all its columns.
struct GemvPanel {
  const float* x = nullptr;
  int64_t ldx = 0, m = 0, k = 0;  // m at most kGemvRows
  const std::byte* w = nullptr;
  int64_t block = 0;                               // values of K until sums are scaled and added up
  const float *scale = nullptr, *shift = nullptr;  // of the panel's columns; floats have none
  int64_t ld_scale = 0;                            // from block to block
  float* y = nullptr;
  int64_t ldy = 0, n = 0;  // columns that are wanted
  Epilogue epilogue;       // bias_n, residual and act; its pointers moved to this panel
};
using GemvFn = void (*)(const GemvPanel&) noexcept;

struct GemvKernel : KernelInfo {  // weights: of these
  GemvFn run;
  int lanes;
};
#if defined(__x86_64__)
extern const GemvKernel gemv_avx512[4], gemv_avx2[4], gemv_sse2[3];
#elif defined(__aarch64__)
extern const GemvKernel gemv_neon[4];
#endif

struct GemvProblem {
  int64_t n = 0, k = 0;
  DType weights = DType::undefined;  // bf16, f16, i8 or i4
  int64_t block = 0;                 // integers; even for i4 unless it is all of k
  bool shifted = false;
};
struct GemvPlan {
  GemvProblem problem;
  const GemvKernel* kernel = nullptr;
  int64_t panels = 0, blocks = 0;
  size_t panel_bytes = 0, scales = 0, packed_bytes = 0;  // scales: where they begin
};
// Whether `isa` has a kernel for such weights.
bool gemv_has(IsaSet isa, DType weights) noexcept;
// Error{unsupported} if it has none; Error{invalid} for sizes or a block that are not as said above.
GemvPlan gemv_plan(const GemvProblem& problem, IsaSet isa);

// Element (k, j) is at k * k_stride + j * n_stride.
struct GemvSource {
  const float* floats = nullptr;
  const int8_t* codes = nullptr;  // i4: -8 to 7, one to a byte
  int64_t k_stride = 0, n_stride = 0;
  const float *scale = nullptr, *shift = nullptr;  // [blocks][n]
};
void gemv_pack(const GemvPlan& plan, const GemvSource& source, std::byte* packed) noexcept;

// The integers of packed weights as f32, [k][n]: for products of many rows.
void gemv_unpack(const GemvPlan& plan, const std::byte* packed, float* to, int threads) noexcept;

struct GemvArgs {
  const float* x = nullptr;
  int64_t m = 0, ldx = 0;
  const std::byte* w = nullptr;  // packed
  float* y = nullptr;
  int64_t ldy = 0;
  Epilogue epilogue;
};
void gemv_run(const GemvPlan& plan, const GemvArgs& args, int threads) noexcept;

}  // namespace skyline::kernels
