#pragma once
// Normalisations of f32. Means are subtracted before squares are summed (two passes over a row in cache), so
// large offsets do not cancel.
//
// How to use: fill NormArgs, call norm_kernels(isa).layer / .rms / .group / ...  x == y is allowed.
#include <cstdint>

#include "skyline/kernel.h"

namespace skyline::kernels {

// Rows of n contiguous elements: y = (x' - mean) / sqrt(variance + eps) * gamma + beta, x' = x + residual +
// bias.
struct RowNormArgs {
  const float* x = nullptr;
  const float* residual = nullptr;  // [rows, n], added first; may be null
  const float* bias = nullptr;      // [n], added first; may be null
  const float* gamma = nullptr;     // [n]; null: ones
  const float* beta = nullptr;      // [n]; null: zeros
  float* y = nullptr;
  float* sum = nullptr;      // [rows, n], x'; may be null
  float* mean = nullptr;     // [rows]; may be null (rms: ignored)
  float* inv_std = nullptr;  // [rows]; may be null
  int64_t rows = 0, n = 0;
  float eps = 1e-5f;
};

// Instance and group norm of [batch, channels, spatial] (spatial contiguous) or, with channels_last, of
// [batch, spatial, channels]. groups divides channels; instance norm is groups == channels. gamma, beta:
// [channels].
struct GroupNormArgs {
  const float* x = nullptr;
  const float* gamma = nullptr;  // null: ones
  const float* beta = nullptr;   // null: zeros
  float* y = nullptr;
  int64_t batch = 0, channels = 0, spatial = 0, groups = 1;
  float eps = 1e-5f;
  bool channels_last = false;
};

// Local response normalisation of [outer, channels, inner]: y = x / (bias + alpha / size * sum)^beta, the sum
// over the squares of `size` channels around each, as ONNX's LRN. y does not overlap x.
inline constexpr int64_t kMaxLrnSize = 64;
struct LrnArgs {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t outer = 0, channels = 0, inner = 1;  // inner == 1: channels last
  int64_t size = 1;                            // at most kMaxLrnSize
  float alpha = 1e-4f, beta = 0.75f, bias = 1;
};

struct NormTable {
  KernelInfo info;  // the table as a row of all_kernels()
  void (*layer)(const RowNormArgs& a, int threads) noexcept;
  void (*rms)(const RowNormArgs& a, int threads) noexcept;  // x' / sqrt(mean(x'^2) + eps) * gamma + beta
  void (*group)(const GroupNormArgs& a, int threads) noexcept;
  // y[o, c, i] = x[o, c, i] * scale[c] + shift[c], in one fma where there is one: batch norm at inference.
  // inner == 1 is channels last.
  void (*scale_shift)(const float* x, const float* scale, const float* shift, float* y, int64_t outer,
                      int64_t channels, int64_t inner, bool relu, int threads) noexcept;
  // Lp normalisation (p = 1 or 2) over r of x[o, r, i]; a zero norm gives zeros.
  void (*lp)(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int p, int threads) noexcept;
  void (*lrn)(const LrnArgs& a, int threads) noexcept;
};
const NormTable& norm_kernels(IsaSet isa) noexcept;
extern const NormTable norm_sse2, norm_avx2, norm_avx512, norm_neon;  // of this architecture only

// scale and shift of a batch norm from its four vectors.
void fold_batch_norm(const float* gamma, const float* beta, const float* mean, const float* variance,
                     float eps, int64_t channels, float* scale, float* shift) noexcept;

}  // namespace skyline::kernels
