// Packed weights. GEMM-like methods: for each phase (see AxisPhase), for each group, the panels of pack.h
// over the phase's taps times the group's input channels, each tap padded to whole steps; every group starts
// on a cache line. Depthwise: [taps][oc rounded up to 16] f32, integers less their zero point.
// Direct: panels of pack.h per group, see pack_direct. Winograd: see run.h. Spread: see spread.cc.
#include "kernels/gemm/pack.h"

#include <algorithm>

#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/dense_run.h"

namespace skyline::kernels {
namespace {

float element(const void* p, DType t, int64_t i) {
  if (t == DType::f32) return static_cast<const float*>(p)[i];
  return t == DType::u8 ? static_cast<const uint8_t*>(p)[i] : static_cast<const int8_t*>(p)[i];
}

void pack_depthwise(const ConvProblem& p, const ConvWeights& w, std::byte* packed) {
  const auto stride = static_cast<int64_t>(align_up(static_cast<size_t>(p.oc * 4)) / 4);
  auto* dst = reinterpret_cast<float*>(packed);
  for (int64_t tap = 0; tap < p.taps(); ++tap, dst += stride) {
    for (int64_t c = 0; c < p.oc; ++c) {
      const float zero = w.zero_point ? element(w.zero_point, p.b, w.zero_point_per_oc ? c : 0) : 0.0f;
      dst[c] = element(w.w, p.b, c * p.taps() + tap) - zero;
    }
    std::fill(dst + p.oc, dst + stride, 0.0f);
  }
}

void pack_phase(const ConvPlan& plan, const ConvWeights& w, const AxisPhase& z, const AxisPhase& y,
                const AxisPhase& x, std::byte* to) {
  const ConvProblem& p = plan.problem;
  const int64_t taps = p.taps(), icg = p.ic / p.groups, ocg = p.oc / p.groups;
  const auto used = static_cast<int64_t>(z.taps.size() * y.taps.size() * x.taps.size());
  const PanelShape shape{ocg, used * plan.tap_steps, plan.kernel->nr, plan.kernel->lanes, plan.kernel->kr};
  const auto size = static_cast<int64_t>(size_of(p.b));
  for (int64_t g = 0; g < p.groups; ++g, to += align_up(static_cast<size_t>(shape.bytes()))) {
    const int64_t first = g * icg * ocg * taps;  // the same in both storage orders
    BSource src{nullptr, p.b, p.transposed ? ocg * taps : taps, p.transposed ? taps : icg * taps};
    if (w.zero_point) {
      src.zero = static_cast<const std::byte*>(w.zero_point) + (w.zero_point_per_oc ? g * ocg * size : 0);
      src.zero_per_n = w.zero_point_per_oc;
    }
    if (p.b == DType::f32 && !p.transposed && used == taps && plan.tap_steps == icg && shape.kr == 1) {
      pack_taps(shape, static_cast<const float*>(w.w) + first, icg, taps, 1, to);
      continue;
    }
    int64_t step = 0;
    for (const int32_t kz : z.taps) {
      for (const int32_t ky : y.taps) {
        for (const int32_t kx : x.taps) {
          const int64_t tap = (kz * p.kernel[1] + ky) * p.kernel[2] + kx;
          src.b = static_cast<const std::byte*>(w.w) + (first + tap) * size;
          pack_panels(shape, src, 0, icg, step, 0, shape.panels(), to);
          step += plan.tap_steps;
        }
      }
    }
  }
}

// A row per line of the kernel and output channel; see direct.h.
void pack_dots(const ConvProblem& p, const float* w, std::byte* to) {
  const int64_t taps = p.taps(), kw = p.kernel[2], row = dots_row(kw * p.ic);
  auto* dst = reinterpret_cast<float*>(to);
  for (int64_t line = 0; line < taps / kw; ++line) {
    for (int64_t o = 0; o < p.oc; ++o, dst += row) {
      const float* from = w + o * p.ic * taps + line * kw;
      for (int64_t i = 0; i < kw * p.ic; ++i) dst[i] = from[i % p.ic * taps + i / p.ic];
      std::fill(dst + kw * p.ic, dst + row, 0.0f);
    }
  }
}

// Panels per group, in the order in which the kernel meets the weights: lines, columns, channels, or for
// channels-first input channels, lines, columns, which is how they are stored.
void pack_direct(const ConvPlan& plan, const ConvWeights& w, std::byte* to) {
  const ConvProblem& p = plan.problem;
  if (plan.direct->max_n > 0) return pack_dots(p, static_cast<const float*>(w.w), to);
  const int64_t taps = p.taps(), icg = p.ic / p.groups, ocg = p.oc / p.groups;
  const PanelShape shape{ocg, taps * icg, plan.direct->nr, plan.direct->lanes, 1};
  for (int64_t g = 0; g < p.groups; ++g, to += align_up(static_cast<size_t>(shape.bytes()))) {
    const float* from = static_cast<const float*>(w.w) + g * ocg * icg * taps;
    if (plan.direct->window && !p.planar) {
      pack_taps(shape, from, icg, taps / p.kernel[2], p.kernel[2], to);
      continue;
    }
    if (p.planar) {
      pack_panels(shape, {.b = from, .k_stride = 1, .n_stride = icg * taps}, 0, icg * taps, 0, 0,
                  shape.panels(), to);
      continue;
    }
    pack_taps(shape, from, icg, taps, 1, to);
  }
}

}  // namespace

size_t dots_packed(const ConvProblem& p) noexcept {
  return align_up(static_cast<size_t>(p.kernel[0] * p.kernel[1] * p.oc * dots_row(p.kernel[2] * p.ic) * 4));
}

void conv_pack(const ConvPlan& plan, const ConvWeights& w, std::byte* packed) noexcept {
  if (plan.algorithm->method == ConvMethod::gemm) {
    gemm_pack_b(plan.gemm,
                {.b = w.w,
                 .ldb = plan.problem.ic,
                 .zero_point = w.zero_point,
                 .zero_point_per_n = w.zero_point_per_oc},
                packed);
    return;
  }
  if (plan.algorithm->method == ConvMethod::patches || plan.algorithm->method == ConvMethod::lines) {
    const ConvProblem& p = plan.problem;
    const BSource src{.b = w.w,
                      .type = p.b,
                      .k_stride = p.taps(),
                      .n_stride = p.ic * p.taps(),
                      .zero = w.zero_point,
                      .zero_per_n = w.zero_point_per_oc};
    DenseRuns runs{.runs = p.taps(), .k = p.ic, .run_stride = 1};
    if (plan.algorithm->method == ConvMethod::lines) runs = lines_runs(p);
    if (!plan.gemm.dense->floats() && !p.centered_b)
      return dense_pack_rest(*plan.gemm.dense, src, runs, p.oc, packed);
    return dense_pack(*plan.gemm.dense, src, runs, p.oc, packed);
  }
  if (plan.algorithm->method == ConvMethod::depthwise_bytes)
    return pack_depthwise_bytes(plan.problem, w.w, packed);
  if (plan.algorithm->method == ConvMethod::depthwise) return pack_depthwise(plan.problem, w, packed);
  if (plan.algorithm->method == ConvMethod::winograd)
    return pack_winograd(plan, static_cast<const float*>(w.w), packed);
  if (plan.algorithm->method == ConvMethod::direct) return pack_direct(plan, w, packed);
  if (plan.algorithm->method == ConvMethod::spread)
    return pack_spread(plan, static_cast<const float*>(w.w), packed);
  size_t i = 0;
  for (const AxisPhase& z : plan.axes[0]) {
    for (const AxisPhase& y : plan.axes[1]) {
      for (const AxisPhase& x : plan.axes[2]) pack_phase(plan, w, z, y, x, packed + plan.packed_offset[i++]);
    }
  }
}

}  // namespace skyline::kernels
