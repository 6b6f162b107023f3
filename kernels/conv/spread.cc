// Transposed convolution whose kernel is as large as its stride, without cropping: each input pixel makes a
// block of output by itself. For one line of the kernel, what neighbouring pixels make lies side by side in
// the output, so that it is a line of a direct 1x1 convolution with (kernel columns x channels) columns.
#include <algorithm>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

int64_t columns_of(const ConvProblem& p) {
  return p.kernel[2] * p.oc;
}
// Of one line of the kernel.
PanelShape shape_of(const ConvPlan& plan) {
  const ConvProblem& p = plan.problem;
  return {columns_of(p), p.ic, plan.direct->nr, plan.direct->lanes, 1};
}
int64_t line_bytes(const ConvPlan& plan) {
  return static_cast<int64_t>(align_up(to_size(shape_of(plan).bytes())));
}

struct Spread {
  const ConvRun& run;
  const ConvProblem& p;
  PanelShape shape;
  const float* bias;  // for all columns; may be null
  float* scratch;     // a line of output

  // What input pixels [x0, x1) of line `line`, counted over images and depths, make of output line (z, y) of
  // the kernel.
  void segment(int64_t line, int64_t x0, int64_t x1, int64_t tap) const {
    const ConvArgs& a = run.args;
    const int64_t kh = p.kernel[1], kw = p.kernel[2], ih = p.in[1], count = (x1 - x0) * kw;
    const int64_t oz = line / ih * p.kernel[0] + tap / kh, oy = line % ih * kh + tap % kh;
    const int64_t first = (oz * p.out(1) + oy) * p.out(2) + x0 * kw;  // output pixel
    float* const y = static_cast<float*>(a.y) + first * a.ldy;
    const float* residual = a.epilogue.residual ? a.epilogue.residual + first * a.epilogue.ldr : nullptr;
    const bool in_place = a.ldy == p.oc && (!residual || a.epilogue.ldr == p.oc);
    if (residual && !in_place) {
      copy(residual, a.epilogue.ldr, scratch, p.oc, count);
      residual = scratch;
    }
    const float* const x = static_cast<const float*>(a.x) + (line * p.in[2] + x0) * a.ldx;
    DirectLine d;
    d.x = &x;
    d.lines = 1;
    d.steps = p.ic;
    d.pixel = a.ldx;
    d.pixels = x1 - x0;
    d.ldy = shape.n;
    d.epilogue = a.epilogue;
    d.epilogue.bias_n = bias;
    d.epilogue.residual = residual;
    d.epilogue.ldr = shape.n;
    const Epilogue whole = d.epilogue;
    for (int64_t panel = 0; panel < shape.panels(); ++panel) {
      const int64_t column = panel * shape.nr;
      d.w = reinterpret_cast<const float*>(a.w + tap * line_bytes(run.plan) + shape.offset(panel));
      d.n = std::min<int64_t>(shape.nr, shape.n - column);
      d.y = (in_place ? y : scratch) + column;
      d.epilogue = moved(whole, 0, column);
      run.plan.direct->run(d);
    }
    if (!in_place) copy(scratch, p.oc, y, a.ldy, count);
  }

  void copy(const float* from, int64_t from_pixel, float* to, int64_t to_pixel, int64_t pixels) const {
    for (int64_t i = 0; i < pixels; ++i, from += from_pixel, to += to_pixel)
      std::memcpy(to, from, to_size(p.oc * 4));
  }
};

}  // namespace

std::string_view refusal_spread(const ConvProblem& p) noexcept {
  constexpr Dims3 kNone = {0, 0, 0};
  if (!p.transposed) return "is not transposed";
  if (p.planar || p.groups != 1) return "channels-first input or several groups";
  if (p.a != DType::f32 || p.b != DType::f32 || p.c != DType::f32) return "is not f32";
  if (p.kernel != p.stride) return "kernel and stride differ";
  if (p.pad_begin != kNone || p.pad_end != kNone || p.output_padding != kNone) return "is padded";
  for (size_t i = 0; i < 3; ++i) {
    if (p.kernel[i] > 1 && p.dilation[i] != 1) return "is dilated";
  }
  return {};
}

ConvProblem spread_product(const ConvProblem& p) noexcept {
  ConvProblem product{.n = p.n, .ic = p.ic, .oc = columns_of(p)};
  product.in = p.in;
  return product;
}

size_t spread_packed(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  return to_size(line_bytes(plan) * p.kernel[0] * p.kernel[1]);
}

// Per line of the kernel: panels of pack.h of (kernel column, channel) columns.
void pack_spread(const ConvPlan& plan, const float* w, std::byte* packed) noexcept {
  const ConvProblem& p = plan.problem;
  const PanelShape shape = shape_of(plan);
  const int64_t kw = p.kernel[2], lines = p.kernel[0] * p.kernel[1];
  for (int64_t line = 0; line < lines; ++line, packed += line_bytes(plan)) {
    for (int64_t panel = 0; panel < shape.panels(); ++panel) {
      auto* to = reinterpret_cast<float*>(packed + shape.offset(panel));
      for (int64_t c = 0; c < p.ic; ++c) {
        for (int64_t j = 0; j < shape.columns(panel); ++j) {
          const int64_t column = panel * shape.nr + j, kx = column / p.oc, o = column % p.oc;
          *to++ = kx < kw ? w[((c * p.oc + o) * lines + line) * kw + kx] : 0.0f;
        }
      }
    }
  }
}

size_t spread_image(const ConvProblem& p) noexcept {
  return align_up(to_size(columns_of(p) * 4));
}
size_t spread_scratch(const ConvProblem& p) noexcept {
  return align_up(to_size(p.in[2] * columns_of(p) * 4));
}

void run_spread(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const float* bias = run.args.epilogue.bias_n;
  if (bias && p.kernel[2] > 1) {
    auto* const all = reinterpret_cast<float*>(run.image);
    for (int64_t kx = 0; kx < p.kernel[2]; ++kx) std::memcpy(all + kx * p.oc, bias, to_size(p.oc * 4));
    bias = all;
  }
  const int64_t pixels = p.n * p.in_pixels(), taps = p.kernel[0] * p.kernel[1], iw = p.in[2];
  const double work = static_cast<double>(pixels) * static_cast<double>(p.taps() * p.ic * p.oc);
  const auto parts =
      std::min(pixels, static_cast<int64_t>(std::min<double>(run.threads, work / kWorthAThread + 1)));
  parallel_for(run.threads, parts, 1, [&](int64_t begin, int64_t end) {
    const Spread spread{run, p, shape_of(run.plan), bias, reinterpret_cast<float*>(run.scratch())};
    const int64_t last = pixels * end / parts;
    for (int64_t at = pixels * begin / parts; at < last;) {
      const int64_t x0 = at % iw, x1 = std::min(iw, x0 + last - at);
      for (int64_t tap = 0; tap < taps; ++tap) spread.segment(at / iw, x0, x1, tap);
      at += x1 - x0;
    }
  });
}

}  // namespace skyline::kernels
