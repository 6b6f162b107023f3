// Trials of the micro-kernels of products. An f32 product may be 4 times as far from float64 as a plain f32
// loop is.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_bytes.h"
#include "kernels/gemm/dense.h"
#include "kernels/gemm/gemm.h"
#include "kernels/trial/parts.h"

namespace skyline::kernels {
namespace {

constexpr double kTimesPlainLoop = 4;

struct Size {
  int64_t m, n, k;
};

std::string text(const Size& s) {
  return std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
}
double products(const Size& s) {
  return static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

// A product with B packed; T, U, R are the types of A, B and C.
template <class T, class U, class R>
struct Product {
  GemmPlan plan;
  std::vector<T> a;
  std::vector<U> b;
  std::vector<R> c;
  AlignedBuffer packed, work;
  GemmArgs args;

  Product(GemmPlan the_plan, std::vector<T> a_values, std::vector<U> b_values)
      : plan(std::move(the_plan)),
        a(std::move(a_values)),
        b(std::move(b_values)),
        c(static_cast<size_t>(plan.problem.m * plan.problem.n)),
        packed(aligned_alloc_bytes(plan.packed_b_bytes)),
        work(aligned_alloc_bytes(gemm_workspace_bytes(plan, 1))) {
    const GemmProblem& p = plan.problem;
    gemm_pack_b(plan, {.b = b.data(), .ldb = p.n}, packed.get());
    args = {.a = a.data(), .lda = p.k, .b = packed.get(), .ldb = p.n, .c = c.data(), .ldc = p.n};
  }
  std::vector<R> reference() const {
    std::vector<R> want(c.size());
    GemmArgs plain = args;
    plain.b = b.data();
    plain.c = want.data();
    gemm_reference(plan.problem, plain);
    return want;
  }
};

double plain_loop_error(const Product<float, float, float>& p, const std::vector<float>& want) {
  const GemmProblem& s = p.plan.problem;
  double worst = 0;
  std::vector<float> row(static_cast<size_t>(s.n));
  for (int64_t i = 0; i < std::min<int64_t>(s.m, 32); ++i) {
    std::fill(row.begin(), row.end(), 0.0f);
    for (int64_t k = 0; k < s.k; ++k) {
      for (int64_t j = 0; j < s.n; ++j) row[j] += p.a[i * s.k + k] * p.b[k * s.n + j];
    }
    for (int64_t j = 0; j < s.n; ++j)
      worst = std::max(worst, std::fabs(static_cast<double>(row[j]) - want[i * s.n + j]));
  }
  return worst;
}

Trial f32_trial(const GemmKernel& kernel, const Size& s) {
  auto p = std::make_shared<Product<float, float, float>>(
      gemm_plan({.m = s.m, .n = s.n, .k = s.k, .const_b = true}, kernel.needs, &kernel),
      random_floats(s.m * s.k), random_floats(s.k * s.n));
  const Work work{2 * products(s), 4.0 * static_cast<double>(s.m * s.k + s.k * s.n + s.m * s.n)};
  Trial t{.kernel = &kernel, .name = text(s), .flops = work.flops, .bytes = work.bytes};
  t.run = [p] { gemm_run(p->plan, p->args, p->work.get(), 1); };
  t.error = [p] {
    gemm_run(p->plan, p->args, p->work.get(), 1);
    const std::vector<float> want = p->reference();
    double worst = 0;
    for (size_t i = 0; i < want.size(); ++i)
      worst = std::max(worst, std::fabs(static_cast<double>(p->c[i]) - want[i]));
    return worst / (kTimesPlainLoop * plain_loop_error(*p, want));
  };
  return t;
}

// u8 or i8 times i8, to i32.
GemmProblem integers(const Size& s, DType a) {
  return {.m = s.m,
          .n = s.n,
          .k = s.k,
          .const_b = true,
          .centered_b = true,
          .a = a,
          .b = DType::i8,
          .c = DType::i32};
}

template <class T>
Trial integer_trial(const KernelInfo& row, const GemmPlan& plan, const Size& s) {
  using Limits = std::numeric_limits<T>;
  auto p = std::make_shared<Product<T, int8_t, int32_t>>(
      plan, random_integers<T>(s.m * s.k, Limits::min(), Limits::max()),
      random_integers<int8_t>(s.k * s.n, -128, 127));
  const auto want = shared(p->reference());
  const Work work{2 * products(s), static_cast<double>(s.m * s.k + s.k * s.n + 4 * s.m * s.n)};
  return make_trial(row, text(s), work, [p] { gemm_run(p->plan, p->args, p->work.get(), 1); },
                    {.n = s.m * s.n,
                     .got = [p](int64_t i) { return static_cast<double>(p->c[i]); },
                     .want = element_of(want)});
}

struct Depthwise {
  ConvPlan plan;
  std::vector<float> x, w, y;
  AlignedBuffer packed, work;
  ConvArgs args;
};

// Nothing where another kernel of the level is chosen.
void add_depthwise(const KernelInfo& row, int64_t channels, int64_t side, int64_t kernel, int64_t stride,
                   std::vector<Trial>& out) {
  ConvProblem p{.ic = channels, .oc = channels, .groups = channels};
  p.in = {1, side, side};
  p.kernel = {1, kernel, kernel};
  p.stride = {1, stride, stride};
  p.pad_begin = p.pad_end = {0, kernel / 2, kernel / 2};
  auto d = std::make_shared<Depthwise>();
  d->plan = conv_plan(p, row.needs);
  if (d->plan.depthwise != &row) return;
  d->x = random_floats(channels * side * side);
  d->w = random_floats(channels * kernel * kernel);
  d->y.resize(static_cast<size_t>(channels * p.out_pixels()));
  d->packed = aligned_alloc_bytes(d->plan.packed_bytes);
  d->work = aligned_alloc_bytes(conv_workspace_bytes(d->plan, 1));
  conv_pack(d->plan, {.w = d->w.data()}, d->packed.get());
  d->args = {.x = d->x.data(), .w = d->packed.get(), .y = d->y.data()};
  const auto want = shared<float>(static_cast<int64_t>(d->y.size()));
  ConvArgs plain = d->args;
  plain.w = reinterpret_cast<const std::byte*>(d->w.data());
  plain.y = want->data();
  conv_reference(p, plain, {.w = d->w.data()});
  const auto taps = static_cast<double>(kernel * kernel);
  const auto results = static_cast<double>(d->y.size());
  out.push_back(make_trial(row,
                           std::to_string(side) + "x" + std::to_string(side) + "x" +
                               std::to_string(channels) + " " + std::to_string(kernel) + "x" +
                               std::to_string(kernel) + "/" + std::to_string(stride),
                           {2 * taps * results, 4 * (static_cast<double>(d->x.size()) + results)},
                           [d] { conv_run(d->plan, d->args, d->work.get(), 1); },
                           {.n = static_cast<int64_t>(d->y.size()),
                            .got = [d](int64_t i) { return static_cast<double>(d->y[i]); },
                            .want = element_of(want),
                            .relative = 1e-6,
                            .absolute = 2e-7 * taps}));
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

void add_gemm_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& kernel = static_cast<const GemmKernel&>(row);
  std::vector<Size> sizes{{256, 256, 256}, {128, 768, 768}, {784, 128, 1152}};
  if (kernel.max_n) {
    for (Size& s : sizes) s.n = kernel.max_n;
  }
  for (const Size& s : sizes)
    out.push_back(
        kernel.weights == DType::f32
            ? f32_trial(kernel, s)
            : integer_trial<uint8_t>(kernel, gemm_plan(integers(s, DType::u8), kernel.needs, &kernel), s));
}

void add_dense_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& kernel = static_cast<const DenseKernel&>(row);
  for (const Size& s : {Size{512, 512, 512}, Size{128, 768, 768}, Size{3136, 64, 576}}) {
    const GemmPlan plan = gemm_plan(integers(s, kernel.in), kernel);
    out.push_back(kernel.in == DType::u8 ? integer_trial<uint8_t>(row, plan, s)
                                         : integer_trial<int8_t>(row, plan, s));
  }
}

void add_depthwise_bytes_trials(const KernelInfo& row, std::vector<Trial>& out) {
  add_depthwise_bytes(row, 144, 56, 1, out);
  add_depthwise_bytes(row, 96, 112, 2, out);
  add_depthwise_bytes(row, 384, 14, 1, out);
}

void add_depthwise_trials(const KernelInfo& row, std::vector<Trial>& out) {
  add_depthwise(row, 144, 56, 3, 1, out);
  add_depthwise(row, 96, 112, 3, 2, out);
  add_depthwise(row, 384, 14, 5, 1, out);
}

}  // namespace skyline::kernels
