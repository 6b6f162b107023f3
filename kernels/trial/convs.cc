// Trials of the kernels of convolutions, each by way of a whole convolution whose plan chooses the row.
#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_bytes.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/winograd.h"
#include "kernels/trial/parts.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

constexpr double kTimesPlainLoop = 4;
constexpr double kTimesBf16 = 0x1p-8;  // of the largest output, where outputs are rounded to bf16
constexpr int64_t kChecked = 600;      // outputs that are compared: the loops in float64 are slow

struct Conv {
  ConvPlan plan;
  std::vector<float> x, w, y;
  std::vector<uint16_t> x16, y16;  // where the types are bf16
  AlignedBuffer packed, work;
  ConvArgs args;

  explicit Conv(ConvPlan made)
      : plan(std::move(made)),
        packed(aligned_alloc_bytes(plan.packed_bytes)),
        work(aligned_alloc_bytes(conv_workspace_bytes(plan, 1))) {
    const ConvProblem& p = plan.problem;
    x = random_floats(p.ic * p.in_pixels());
    w = random_floats(p.oc * (p.ic / p.groups) * p.taps());
    y.resize(static_cast<size_t>(p.oc * p.out_pixels()));
    conv_pack(plan, {.w = w.data()}, packed.get());
    args = {.x = x.data(), .w = packed.get(), .y = y.data()};
    if (p.a == DType::bf16) {
      for (float& v : x) {
        x16.push_back(f32_to_bf16_bits(v));
        v = bf16_bits_to_f32(x16.back());
      }
      args.x = x16.data();
    }
    if (p.c == DType::bf16) {
      y16.resize(y.size());
      args.y = y16.data();
    }
  }
  void run() { conv_run(plan, args, work.get(), 1); }

  // Output i of an image, summed one product after the other in T.
  template <class T>
  T sum(int64_t i) const {
    const ConvProblem& p = plan.problem;
    const int64_t oc = i % p.oc, ox = i / p.oc % p.out(2), oy = i / p.oc / p.out(2);
    const int64_t icg = p.ic / p.groups, first = oc / (p.oc / p.groups) * icg;
    T total = 0;
    for (int64_t tap = 0; tap < p.taps(); ++tap) {
      const int64_t at_y = oy * p.stride[1] - p.pad_begin[1] + tap / p.kernel[2];
      const int64_t at_x = ox * p.stride[2] - p.pad_begin[2] + tap % p.kernel[2];
      if (at_y < 0 || at_y >= p.in[1] || at_x < 0 || at_x >= p.in[2]) continue;
      const int64_t pixel = at_y * p.in[2] + at_x;
      for (int64_t c = 0; c < icg; ++c) {
        const int64_t from = p.planar ? (first + c) * p.in_pixels() + pixel : pixel * p.ic + first + c;
        total += static_cast<T>(x[from]) * static_cast<T>(w[(oc * icg + c) * p.taps() + tap]);
      }
    }
    return total;
  }

  // Root mean squares of the differences from float64, over what is allowed.
  double error() {
    run();
    const auto n = static_cast<int64_t>(y.size());
    double mine = 0, plain = 0, most = 0;
    for (size_t i = 0; i < y16.size(); ++i) y[i] = bf16_bits_to_f32(y16[i]);
    for (int64_t s = 0; s < kChecked; ++s) {
      const int64_t i = n * s / kChecked + s % std::max<int64_t>(n / kChecked, 1);
      const auto exact = sum<double>(i);
      mine += std::pow(static_cast<double>(y[i]) - exact, 2);
      most = std::max(most, std::fabs(exact));
      plain += std::pow(static_cast<double>(sum<float>(i)) - exact, 2);
    }
    if (!y16.empty()) return std::sqrt(mine / kChecked) / (most * kTimesBf16);
    return std::sqrt(mine / plain) / kTimesPlainLoop;
  }
};

struct Size {
  int64_t ic, oc, side, kernel, stride = 1;
  bool planar = false;
};

ConvProblem problem_of(const Size& s, bool depthwise) {
  ConvProblem p{.ic = s.ic, .oc = s.oc, .groups = depthwise ? s.ic : 1};
  p.in = {1, s.side, s.side};
  p.kernel = {1, s.kernel, s.kernel};
  p.stride = {1, s.stride, s.stride};
  p.pad_begin = p.pad_end = {0, s.kernel / 2, s.kernel / 2};
  p.planar = s.planar;
  return p;
}

std::string text(const Size& s, bool depthwise) {
  const std::string side = std::to_string(s.side), kernel = std::to_string(s.kernel);
  return side + "x" + side + "x" + std::to_string(s.ic) + (depthwise ? "" : "->" + std::to_string(s.oc)) +
         " " + kernel + "x" + kernel + "/" + std::to_string(s.stride) + (s.planar ? " planar" : "");
}

// Nothing where another row of the level is chosen.
void add_conv(const KernelInfo& row, const Size& size, ConvMethod method, std::vector<Trial>& out) {
  const bool depthwise = method == ConvMethod::depthwise;
  ConvProblem p = problem_of(size, depthwise);
  if (depthwise) p.a = row.in, p.c = row.out;
  for (const ConvAlgorithm& algorithm : conv_algorithms()) {
    if (algorithm.method != method) continue;
    ConvPlan plan = conv_plan(p, row.needs, {.algorithm = &algorithm});
    if (plan.winograd ? plan.winograd != &row : plan.direct != &row && plan.depthwise != &row) continue;
    auto c = std::make_shared<Conv>(std::move(plan));
    Trial t{.kernel = &row, .name = text(size, depthwise)};
    const int64_t depth = p.taps() * (p.ic / p.groups);
    t.flops = 2.0 * static_cast<double>(c->y.size()) * static_cast<double>(depth);
    t.bytes = static_cast<double>(size_of(p.a) * c->x.size() + size_of(p.c) * c->y.size() + 4 * c->w.size());
    t.run = [c] { c->run(); };
    t.error = [c] { return c->error(); };
    out.push_back(std::move(t));
  }
}

struct DepthwiseBytes {
  ConvPlan plan;
  std::vector<uint8_t> x, y;
  std::vector<int8_t> w;
  std::vector<float> scale;
  AlignedBuffer packed, work;
  ConvArgs args;
};

// 3x3, padded by one.
void add_depthwise_bytes(const KernelInfo& row, int64_t channels, int64_t side, int64_t stride,
                         std::vector<Trial>& out) {
  ConvProblem p{.ic = channels, .oc = channels, .groups = channels};
  p.in = {1, side, side};
  p.kernel = {1, 3, 3};
  p.stride = {1, stride, stride};
  p.pad_begin = p.pad_end = {0, 1, 1};
  p.centered_b = true;
  p.a = p.c = DType::u8;
  p.b = DType::i8;
  auto d = std::make_shared<DepthwiseBytes>();
  d->plan = conv_plan(p, row.needs);
  if (d->plan.depthwise_bytes != &row) return;
  d->x = random_integers<uint8_t>(channels * side * side, 0, 255);
  d->w = random_integers<int8_t>(channels * 9, -128, 127);
  d->y.resize(static_cast<size_t>(channels * p.out_pixels()));
  d->scale = random_floats(channels, 0.001f, 0.01f);
  d->packed = aligned_alloc_bytes(d->plan.packed_bytes);
  d->work = aligned_alloc_bytes(conv_workspace_bytes(d->plan, 1));
  conv_pack(d->plan, {.w = d->w.data()}, d->packed.get());
  d->args = {.x = d->x.data(), .w = d->packed.get(), .y = d->y.data(), .x_zero = 3};
  d->args.epilogue.scale_n = d->scale.data();
  d->args.epilogue.zero_point = 128;
  const auto want = shared<uint8_t>(static_cast<int64_t>(d->y.size()));
  ConvArgs plain = d->args;
  plain.y = want->data();
  conv_reference(p, plain, {.w = d->w.data()});
  const auto results = static_cast<double>(d->y.size());
  out.push_back(make_trial(row,
                           std::to_string(side) + "x" + std::to_string(side) + "x" +
                               std::to_string(channels) + " 3x3/" + std::to_string(stride),
                           {18 * results, static_cast<double>(d->x.size()) + results},
                           [d] { conv_run(d->plan, d->args, d->work.get(), 1); },
                           {.n = static_cast<int64_t>(d->y.size()),
                            .got = [d](int64_t i) { return static_cast<double>(d->y[i]); },
                            .want = element_of(want)}));
}

}  // namespace

void add_depthwise_trials(const KernelInfo& row, std::vector<Trial>& out) {
  for (const Size& s : {Size{144, 144, 56, 3}, {96, 96, 112, 3, 2}, {384, 384, 14, 5}})
    add_conv(row, s, ConvMethod::depthwise, out);
}

void add_depthwise_bytes_trials(const KernelInfo& row, std::vector<Trial>& out) {
  add_depthwise_bytes(row, 144, 56, 1, out);
  add_depthwise_bytes(row, 96, 112, 2, out);
  add_depthwise_bytes(row, 384, 14, 1, out);
}

void add_direct_trials(const KernelInfo& row, std::vector<Trial>& out) {
  for (const Size& s : {Size{64, 64, 28, 3},
                        {64, 64, 28, 3, 2},
                        {32, 64, 28, 5},
                        {32, 64, 28, 5, 2},
                        {128, 32, 28, 1},
                        {128, 128, 28, 1},
                        {32, 1, 56, 5},
                        {8, 8, 56, 7},
                        {3, 64, 112, 7, 2, true}})
    add_conv(row, s, ConvMethod::direct, out);
}

void add_winograd_trials(const KernelInfo& row, std::vector<Trial>& out) {
  for (const Size& s : {Size{64, 64, 28, 3}, {256, 256, 14, 3}}) add_conv(row, s, ConvMethod::winograd, out);
}

}  // namespace skyline::kernels
