#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_bytes.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/run.h"
#include "kernels/conv/winograd.h"
#include "kernels/gemm/dense_run.h"
#include "kernels/gemm/pack.h"
#include "skyline/status.h"

namespace skyline::kernels {
namespace {

constexpr std::string_view kFits;

constexpr std::string_view kPlanar = "input is channels-first";

std::string_view refusal_gemm(const ConvProblem& p, IsaSet) noexcept {
  if (p.planar) return kPlanar;
  if (p.groups != 1) return "has groups";
  if (p.transposed) return "is transposed";
  for (int i = 0; i < 3; ++i) {
    if (p.kernel[i] != 1) return "kernel is not 1x1";
    if (p.stride[i] != 1) return "stride is not 1";
    if (p.pad_begin[i] != 0 || p.pad_end[i] != 0) return "has padding";
  }
  return kFits;
}

bool has_halves(const ConvProblem& p) {
  const auto half = [](DType t) { return t == DType::bf16 || t == DType::f16; };
  return half(p.a) || half(p.b) || half(p.c);
}
constexpr std::string_view kHalves = "has bf16 or f16, which dense kernels take";

bool is_byte(DType t) {
  return t == DType::u8 || t == DType::i8;
}

std::string_view refusal_depthwise_bytes(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.transposed) return "is transposed";
  if (p.planar) return kPlanar;
  if (p.groups != p.ic || p.groups != p.oc || p.groups == 1)
    return "not one input and one output channel per group";
  if (!is_byte(p.a) || !is_byte(p.b) || !is_byte(p.c)) return "is not of bytes";
  if (!p.centered_b) return "weights have a zero point";
  if (p.taps() > kMaxByteTaps) return "kernel of more than 64 taps";
  if (!find_kernel<DepthwiseBytesKernel>("depthwise_bytes", isa)) return "no kernel for this ISA";
  return kFits;
}

std::string_view refusal_depthwise(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.transposed) return "is transposed";
  if (p.planar) return kPlanar;
  if (p.groups != p.ic || p.groups != p.oc) return "not one input and one output channel per group";
  if (p.groups == 1) return "has one channel only";
  if (p.a == DType::f16 || p.c == DType::f16 || (p.b != DType::f32 && !is_byte(p.b))) return "is of f16";
  // Sums of 8-bit products are exact in f32 below 2^24; each is at most 255 * 255.
  if (is_byte(p.a) && p.taps() > 258) return "integer kernel of more than 258 taps";
  if (!find_depthwise(p.a, p.c, isa)) return "no depthwise kernel for its types and this ISA";
  return kFits;
}

const DenseKernel* dense_kernel(const ConvProblem& p, IsaSet isa) {
  GemmProblem g{.n = p.oc,
                .const_b = true,
                .centered_b = p.centered_b,
                .a = p.a,
                .b = p.b,
                .c = p.c,
                .precision = p.precision};
  return choose_dense(g, isa);
}

bool all_f32(const ConvProblem& p) {
  return p.a == DType::f32 && p.b == DType::f32 && p.c == DType::f32;
}

std::string_view refusal_patches(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.planar) return kPlanar;
  if (p.transposed) return "is transposed";
  if (p.groups != 1) return "has groups";
  if (!dense_kernel(p, isa)) return "no dense kernel for its types, zero points and this ISA";
  return kFits;
}

std::string_view refusal_line(const ConvProblem& p, IsaSet isa) noexcept {
  const std::string_view why = refusal_patches(p, isa);
  if (why.empty() && is_byte(p.a) && !p.centered_b) return "weights have a zero point";
  return why.empty() ? refusal_lines(p) : why;
}
std::string_view refusal_winograd2(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.transposed) return "is transposed";
  if (p.planar) return kPlanar;
  if (!all_f32(p)) return "is not f32";
  if (p.groups != 1) return "has groups";
  if (p.kernel != Dims3{1, 3, 3} || p.in[0] != 1 || p.out(0) != 1) return "kernel is not 3x3";
  if (p.stride != Dims3{1, 1, 1} || p.dilation != Dims3{1, 1, 1}) return "stride or dilation is not 1";
  if (!find_kernel<WinogradKernel>("winograd", isa)) return "no winograd kernel for this ISA";
  return kFits;
}

std::string_view refusal_winograd4(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.ic < 16)
    return "fewer than 16 input channels: its rounding error would exceed 4 times a plain loop's";
  return refusal_winograd2(p, isa);
}

// Vectors of 16 multiply-adds, two a cycle, on one core of a Xeon with AVX-512 (model 143); with narrower
// vectors everything takes longer alike. Each sum of products costs as much as 16 more channels would. The
// transforms of a tile take 110 cycles for 16 channels of input or output with F(4x4), 30 with F(2x2);
// weights beyond L2 arrive at 4 bytes a cycle while products are computed.
double winograd_cycles(const ConvProblem& p, int out) noexcept {
  const auto macs = static_cast<double>(p.ic) * static_cast<double>(p.oc);
  const int64_t down = (p.out(1) + out - 1) / out, across = (p.out(2) + out - 1) / out;
  const auto tiles = static_cast<double>(p.n * down * across);
  const double each = (out + 2) * (out + 2);
  const int64_t columns = (p.oc + 15) / 16;
  // 8 chains of multiply-adds at least, or each waits for the one before.
  const double busy = std::max(tiles, 8.0 / static_cast<double>(std::min<int64_t>(columns, 4)));
  const double products = busy * each * static_cast<double>((p.ic + 16) * columns) / 2 / 0.85;
  const int64_t vectors = (p.ic + 15) / 16 + columns;
  const double weights = macs * each * 4 > (1 << 20) ? macs * each : 0;
  return std::max(products, weights) + tiles * static_cast<double>(vectors) * (out == 4 ? 110 : 30);
}
// The same for a pixel of a direct convolution: with vectors of channels, and with one sum of lanes for each
// channel.
double vector_cycles(const ConvProblem& p) noexcept {
  const int64_t columns = (p.oc / p.groups + 15) / 16, products = p.taps() * (p.ic / p.groups) * columns;
  return static_cast<double>(products) / 2 / 0.85;
}
double dots_cycles(const ConvProblem& p) noexcept {
  const int64_t vectors = p.kernel[0] * p.kernel[1] * dots_row(p.kernel[2] * p.ic) / 16;
  return static_cast<double>(p.oc) * (static_cast<double>(vectors) / 2 / 0.85 + 8);
}
bool dots_pay(const ConvProblem& p, const DirectKernel& k) noexcept {
  return p.groups == 1 && p.oc <= k.max_n && (!p.planar || p.ic == 1) && dots_cycles(p) < vector_cycles(p);
}
double direct_cycles(const ConvProblem& p) noexcept {
  const double pixel = p.oc <= 8 ? std::min(vector_cycles(p), dots_cycles(p)) : vector_cycles(p);
  return static_cast<double>(p.n * p.out_pixels()) * pixel;
}
// Whether a dense kernel of the rung beats f32, which may always stand in for it. Cycles on a Xeon with AMX
// (model 143): products at the kernel's rate, 500 to finish 32 by 32 sums; one for each four numbers that are
// split, and each plane of a patch costs as much again.
bool rung_pays(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.precision == Precision::f32 || !refusal_patches(p, isa).empty()) return false;
  if (!all_f32(p)) return true;
  const DenseKernel& kernel = *dense_kernel(p, isa);
  const auto pixels = static_cast<double>(p.n * p.out_pixels());
  const double sums = std::ceil(pixels / kernel.mr) * kernel.mr *
                      std::ceil(static_cast<double>(p.oc) / kernel.nr) * kernel.nr;
  const auto depth = static_cast<double>(kernel.steps(p.taps() * p.ic) * kernel.values);
  const double each = depth / (32 * 0.85 * kernel.rate) + 0.5;
  const auto split = static_cast<double>(p.n * p.in_pixels() * p.ic) / 4 * (1 + kernel.planes);
  const double f32 = refusal_winograd2(p, isa).empty()
                         ? std::min({direct_cycles(p), winograd_cycles(p, 2),
                                     p.ic < 16 ? direct_cycles(p) : winograd_cycles(p, 4)})
                         : direct_cycles(p);
  return sums * each + split < f32;
}

bool line_pays(const ConvProblem& p, IsaSet isa) noexcept {
  const DenseKernel* kernel = dense_kernel(p, isa);
  return kernel && (!kernel->floats() || rung_pays(p, isa)) && lines_pay(p, *kernel);
}

// Not where a product reads the image as it stands.
bool patches_pay(const ConvProblem& p, IsaSet isa) noexcept {
  return !refusal_gemm(p, isa).empty() && (is_byte(p.a) || rung_pays(p, isa));
}

bool winograd4_pays(const ConvProblem& p, IsaSet isa) noexcept {
  if (rung_pays(p, isa)) return false;
  return winograd_cycles(p, 4) < 0.85 * direct_cycles(p) && winograd_cycles(p, 4) <= winograd_cycles(p, 2);
}
bool winograd2_pays(const ConvProblem& p, IsaSet isa) noexcept {
  if (rung_pays(p, isa)) return false;
  return winograd_cycles(p, 2) < 0.85 * direct_cycles(p);
}

std::string_view refusal_direct(const ConvProblem& p, IsaSet isa) noexcept {
  if (p.transposed) return "is transposed";
  if (!all_f32(p)) return "is not f32";
  if (p.planar && p.groups != 1) return "channels-first input of several groups";
  if (!find_kernel<DirectKernel>("direct", isa)) return "no direct kernel for this ISA";
  return kFits;
}

// Of 1x1 convolutions the driver makes one line. Other tiles are cut out of a line: short lines without a
// window that the compiler knows leave them too small.
bool direct_pays(const ConvProblem& p, IsaSet isa) noexcept {
  if (rung_pays(p, isa)) return false;
  if (refusal_gemm(p, isa).empty()) return p.n * p.in_pixels() >= 4;
  if (p.taps() == 1) return true;
  return p.planar || p.out(2) >= 5 || p.kernel[2] > 1;
}

std::string_view refusal_apart(const ConvProblem& p, IsaSet isa) noexcept {
  if (!find_kernel<DirectKernel>("direct", isa)) return "no direct kernel for this ISA";
  return refusal_spread(p);
}

std::string_view refusal_gather(const ConvProblem& p, IsaSet) noexcept {
  if (has_halves(p)) return kHalves;
  if (p.planar) return kPlanar;
  if (p.transposed) return "is transposed";
  if (p.ic / p.groups > 16) return "more than 16 input channels per group: indirection is faster";
  if (p.taps() == 1) return "kernel is 1x1";
  if (p.taps() > 1024) return "kernel of more than 1024 taps";
  return kFits;
}

std::string_view refusal_indirect(const ConvProblem& p, IsaSet) noexcept {
  if (has_halves(p)) return kHalves;
  if (p.planar) return kPlanar;
  return kFits;
}

constexpr ConvAlgorithm kAlgorithms[] = {
    {"depthwise_bytes", ConvMethod::depthwise_bytes, refusal_depthwise_bytes, nullptr},
    {"depthwise", ConvMethod::depthwise, refusal_depthwise, nullptr},
    {"lines", ConvMethod::lines, refusal_line, line_pays},
    {"patches", ConvMethod::patches, refusal_patches, patches_pay},
    {"winograd", ConvMethod::winograd, refusal_winograd4, winograd4_pays, 4},
    {"winograd2", ConvMethod::winograd, refusal_winograd2, winograd2_pays, 2},
    {"direct", ConvMethod::direct, refusal_direct, direct_pays},
    {"gemm", ConvMethod::gemm, refusal_gemm, nullptr},
    {"spread", ConvMethod::spread, refusal_apart, nullptr},
    {"gather", ConvMethod::gather, refusal_gather, nullptr},
    {"indirect", ConvMethod::indirect, refusal_indirect, nullptr},
};

void check(const ConvProblem& p) {
  const auto invalid = [](const std::string& what) { throw Error(Code::invalid, "conv: " + what); };
  if (p.n < 0 || p.ic < 1 || p.oc < 1 || p.groups < 1) invalid("batch, channels and groups must be positive");
  if (p.ic % p.groups || p.oc % p.groups) {
    invalid(std::to_string(p.ic) + " input and " + std::to_string(p.oc) +
            " output channels do not divide into " + std::to_string(p.groups) + " groups");
  }
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto bounded = [&](int64_t v, int64_t least, const char* what) {
    if (v < least)
      invalid(std::string(what) + " " + std::to_string(v) + " is less than " + std::to_string(least));
    if (v >= kMost) throw Error(Code::limit, std::string("conv: ") + what + " of 2^31 or more");
  };
  for (int i = 0; i < 3; ++i) {
    bounded(p.in[i], 0, "input size");
    bounded(p.kernel[i], 1, "kernel size");
    bounded(p.stride[i], 1, "stride");
    bounded(p.dilation[i], 1, "dilation");
    for (const int64_t pad : {p.pad_begin[i], p.pad_end[i]}) {  // negative padding crops
      if (pad < -kMost || pad > kMost) throw Error(Code::limit, "conv: padding of 2^31 or more");
    }
    bounded(p.output_padding[i], 0, "output padding");
    if (p.transposed && p.output_padding[i] >= std::max(p.stride[i], p.dilation[i])) {
      invalid("output padding must be smaller than stride or dilation");
    }
  }
  const auto product = [&](std::initializer_list<int64_t> factors, int64_t most, const char* what) {
    int64_t n = 1;
    for (int64_t f : factors) {
      f = std::max<int64_t>(f, 1);
      if (n > most / f) throw Error(Code::limit, std::string("conv: too many ") + what);
      n *= f;
    }
  };
  bounded(p.n, 0, "batch");
  bounded(p.ic, 1, "input channels");
  bounded(p.oc, 1, "output channels");
  product({p.in[0], p.in[1], p.in[2]}, kMost - 1, "input pixels");
  product({p.out(0), p.out(1), p.out(2)}, kMost - 1, "output pixels");
  product({p.kernel[0], p.kernel[1], p.kernel[2]}, 1 << 24, "taps");
  product({p.kernel[0], p.kernel[1], p.kernel[2], p.ic, p.oc + 64}, int64_t{1} << 40, "weights");
  product({p.n, p.in[0], p.in[1], p.in[2], p.ic + 4}, int64_t{1} << 44, "input values");
  product({p.n, p.out(0), p.out(1), p.out(2), p.oc}, int64_t{1} << 44, "output values");
  for (int i = 0; i < 3; ++i)
    product({p.out(i), p.kernel[i]}, 1 << 28, "positions of the kernel along an axis");
}

// Whether the method looks up where each output pixel meets the input; the others look up lines only. A line
// of sound with a long kernel has millions of such places.
bool looks_up_pixels(ConvMethod m) {
  return m == ConvMethod::patches || m == ConvMethod::gather || m == ConvMethod::indirect;
}

// The phases of one axis; distance: pixels between neighbours along it. table: with AxisPhase::input.
std::vector<AxisPhase> axis_phases(const ConvProblem& p, int axis, int64_t distance, bool table) {
  const int64_t out = std::max<int64_t>(p.out(axis), 0), in = p.in[axis], pad = p.pad_begin[axis];
  const int64_t stride = p.stride[axis], dilation = p.dilation[axis];
  std::vector<AxisPhase> phases;
  for (int64_t first = 0; first < (p.transposed ? std::min(stride, out) : 1); ++first) {
    AxisPhase phase;
    phase.first = first;
    phase.step = p.transposed ? stride : 1;
    phase.count = (out - first + phase.step - 1) / phase.step;
    for (int64_t k = 0; k < p.kernel[axis]; ++k) {
      if (!p.transposed || (first + pad - k * dilation) % stride == 0)
        phase.taps.push_back(static_cast<int32_t>(k));
    }
    if (table) phase.input.reserve(static_cast<size_t>(phase.count) * phase.taps.size());
    for (int64_t i = 0; table && i < phase.count; ++i) {
      for (const int32_t k : phase.taps) {
        const int64_t at = p.transposed ? (first + i * stride + pad - k * dilation) / stride
                                        : i * stride - pad + k * dilation;
        const bool before = p.transposed && first + i * stride + pad - k * dilation < 0;
        phase.input.push_back(before || at < 0 || at >= in ? -1 : static_cast<int32_t>(at * distance));
      }
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

void plan_weights(ConvPlan& plan) {
  const ConvProblem& p = plan.problem;
  const GemmKernel& k = *plan.kernel;
  plan.tap_steps = (p.ic / p.groups + k.kr - 1) / k.kr;
  for (const AxisPhase& z : plan.axes[0]) {
    for (const AxisPhase& y : plan.axes[1]) {
      for (const AxisPhase& x : plan.axes[2]) {
        const auto taps = static_cast<int64_t>(z.taps.size() * y.taps.size() * x.taps.size());
        const PanelShape shape{p.oc / p.groups, taps * plan.tap_steps, k.nr, k.lanes, k.kr};
        plan.packed_offset.push_back(plan.packed_bytes);
        plan.packed_bytes += align_up(static_cast<size_t>(shape.bytes())) * static_cast<size_t>(p.groups);
      }
    }
  }
  // A line of the kernel for the gather method, a tap for the others.
  const int64_t taps = plan.algorithm->method == ConvMethod::gather ? p.kernel[2] : 1;
  plan.zeros.assign(static_cast<size_t>(taps * plan.tap_steps * kStepBytes), std::byte{0});
}

const GemmKernel* choose_kernel(const ConvProblem& p, IsaSet isa) {
  if (has_halves(p)) return nullptr;
  GemmProblem g{.n = p.oc / p.groups, .a = p.a, .b = p.b, .c = p.c};
  return gemm_plan(g, isa).kernel;  // throws if there is none for the types
}

// dots: one with a packing of its own may be chosen.
const DirectKernel* choose_direct(const ConvProblem& p, IsaSet isa, bool dots = false) {
  // A strided window saves loads where a vector of channels is all that shares a pixel; with more, its
  // smaller tiles cost 4 to 10 % (3x3 over 3 to 512 channels, a Xeon with AVX-512).
  const bool strided_windows = p.oc / p.groups <= 16;
  return find_kernel<DirectKernel>("direct", isa, [&](const DirectKernel& k) {
    if (k.max_n > 0) return dots && dots_pay(p, k);
    if (k.window && k.stride > 1 && !strided_windows) return false;
    return p.oc / p.groups >= k.min_n && !(k.min_n > 0 && p.taps() > 1) &&
           (!k.window || (k.window == p.kernel[2] && k.stride * p.dilation[2] == p.stride[2]));
  });
}

}  // namespace

int64_t ConvProblem::out(int axis) const noexcept {
  const int64_t reach = (kernel[axis] - 1) * dilation[axis] + 1, pads = pad_begin[axis] + pad_end[axis];
  if (transposed) return (in[axis] - 1) * stride[axis] + reach - pads + output_padding[axis];
  const int64_t room = in[axis] + pads - reach;
  return room < 0 ? 0 : room / stride[axis] + 1;
}

std::span<const ConvAlgorithm> conv_algorithms() noexcept {
  return kAlgorithms;
}

ConvPlan conv_plan(const ConvProblem& problem, IsaSet isa, const ConvChoice& choice) {
  check(problem);
  ConvPlan plan;
  plan.problem = problem;
  const GemmKernel* kernel = choice.kernel ? choice.kernel : choose_kernel(problem, isa);
  for (const ConvAlgorithm& a : kAlgorithms) {
    if (choice.algorithm && choice.algorithm != &a) continue;
    if (!choice.algorithm) {
      if (a.pays && a.refusal(problem, isa).empty() && !a.pays(problem, isa)) continue;
      if (a.method == ConvMethod::winograd && !choice.winograd) continue;
      if ((a.method == ConvMethod::patches || a.method == ConvMethod::lines) && choice.kernel) continue;
    }
    const std::string_view why = a.refusal(problem, isa);
    if (why.empty()) {
      plan.algorithm = &a;
      break;
    }
    if (choice.algorithm) {
      throw Error(Code::unsupported,
                  "conv: algorithm " + std::string(a.name) + " refuses: " + std::string(why));
    }
  }
  if (!plan.algorithm) {
    throw Error(Code::unsupported, "conv: no kernel for " + std::string(name(problem.a)) + " x " +
                                       std::string(name(problem.b)) + " -> " + std::string(name(problem.c)) +
                                       " of this shape on " + isa_to_string(isa));
  }
  int64_t distance = 1;
  for (int axis = 2; axis >= 0; --axis) {
    plan.axes[static_cast<size_t>(axis)] =
        axis_phases(problem, axis, distance, axis < 2 || looks_up_pixels(plan.algorithm->method));
    distance *= problem.in[axis];
  }
  switch (plan.algorithm->method) {
    case ConvMethod::gemm:
      plan.gemm = gemm_plan(
          {.m = problem.n * problem.in_pixels(),
           .n = problem.oc,
           .k = problem.ic,
           .trans_b = true,
           .const_b = true,
           .centered_b = problem.centered_b,
           .a = problem.a,
           .b = problem.b,
           .c = problem.c,
           .precision = choice.algorithm || rung_pays(problem, isa) ? problem.precision : Precision::f32},
          isa, choice.kernel);
      plan.kernel = plan.gemm.kernel;
      plan.packed_bytes = plan.gemm.packed_b_bytes;
      break;
    case ConvMethod::lines:
      plan.gemm.dense = dense_kernel(problem, isa);
      plan.packed_bytes =
          plan.gemm.dense->packed_bytes(problem.oc, lines_runs(problem).padded(*plan.gemm.dense));
      break;
    case ConvMethod::patches:
      plan.gemm.dense = dense_kernel(problem, isa);
      plan.packed_bytes = plan.gemm.dense->packed_bytes(
          problem.oc, dense_depth(*plan.gemm.dense, problem.taps() * problem.ic, problem.centered_b));
      break;
    case ConvMethod::depthwise_bytes:
      plan.depthwise_bytes = find_kernel<DepthwiseBytesKernel>("depthwise_bytes", isa);
      plan.packed_bytes = depthwise_bytes_packed(problem);
      break;
    case ConvMethod::depthwise:
      plan.depthwise = find_depthwise(problem.a, problem.c, isa);
      plan.packed_bytes = align_up(static_cast<size_t>(problem.oc * 4)) * static_cast<size_t>(problem.taps());
      break;
    case ConvMethod::winograd: {
      ConvProblem product = problem;  // what the direct kernel sees of it
      product.kernel = {1, 1, 1};
      plan.winograd = find_kernel<WinogradKernel>(
          "winograd", isa, [&](const WinogradKernel& k) { return k.out == plan.algorithm->tile; });
      plan.direct = choose_direct(product, isa);
      plan.zeros.assign(static_cast<size_t>(problem.ic * 4), std::byte{0});
      plan.packed_bytes = static_cast<size_t>(winograd_panel_bytes(plan) * plan.winograd->products());
      break;
    }
    case ConvMethod::direct: {
      plan.direct = choose_direct(problem, isa, true);
      if (plan.direct->max_n > 0) {
        plan.packed_bytes = dots_packed(problem);
        break;
      }
      const PanelShape shape{problem.oc / problem.groups, problem.taps() * problem.ic / problem.groups,
                             plan.direct->nr, plan.direct->lanes, 1};
      plan.packed_bytes = align_up(static_cast<size_t>(shape.bytes())) * static_cast<size_t>(problem.groups);
      break;
    }
    case ConvMethod::spread:
      plan.direct = choose_direct(spread_product(problem), isa);
      plan.packed_bytes = spread_packed(plan);
      break;
    case ConvMethod::gather:
    case ConvMethod::indirect:
      plan.kernel = kernel;
      plan_weights(plan);
      break;
  }
  return plan;
}

}  // namespace skyline::kernels
