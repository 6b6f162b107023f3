// Trials of the micro-kernels of products. An f32 product may be 4 times as far from float64 as a plain f32
// loop is.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/base/memory.h"
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

  Product(const GemmPlan& the_plan, std::vector<T> a_values, std::vector<U> b_values)
      : plan(the_plan),
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

double worst_difference(const std::vector<float>& got, const std::vector<float>& want) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i)
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - want[i]));
  return worst;
}

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
    return worst_difference(p->c, want) / (kTimesPlainLoop * plain_loop_error(*p, want));
  };
  return t;
}

// Errors of the lower rungs are relative to the sum of magnitudes, at most 1 each here.
Trial bf16_trial(const DenseKernel& kernel, const Size& s) {
  const Precision rungs[] = {Precision::bf16, Precision::bf16x3, Precision::bf16x6};
  GemmProblem problem{.m = s.m, .n = s.n, .k = s.k, .const_b = true};
  problem.precision = kernel.in == DType::f16 ? Precision::f16 : rungs[kernel.planes - 1];
  auto p = std::make_shared<Product<float, float, float>>(gemm_plan(problem, kernel),
                                                          random_floats(s.m * s.k), random_floats(s.k * s.n));
  const Work work{2 * products(s), 4.0 * static_cast<double>(s.m * s.k + s.k * s.n + s.m * s.n)};
  Trial t{.kernel = &kernel, .name = text(s), .flops = work.flops, .bytes = work.bytes};
  t.run = [p] { gemm_run(p->plan, p->args, p->work.get(), 1); };
  t.error = [p] {
    gemm_run(p->plan, p->args, p->work.get(), 1);
    const std::vector<float> want = p->reference();
    const int planes = p->plan.dense->planes;
    const double worst = worst_difference(p->c, want);
    if (planes == 3) return worst / (kTimesPlainLoop * plain_loop_error(*p, want));
    return worst / (static_cast<double>(p->plan.problem.k) * (planes == 2 ? 0x1p-16 : 0x1p-8));
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
  Trial t{.kernel = &row, .name = text(s)};
  t.flops = 2 * products(s);
  t.bytes = static_cast<double>(s.m * s.k + s.k * s.n + 4 * s.m * s.n);
  t.run = [p] { gemm_run(p->plan, p->args, p->work.get(), 1); };
  t.error = [p] {
    gemm_run(p->plan, p->args, p->work.get(), 1);
    return p->c == p->reference() ? 0.0 : std::numeric_limits<double>::infinity();
  };
  return t;
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
    if (kernel.floats()) {
      out.push_back(bf16_trial(kernel, s));
      continue;
    }
    const GemmPlan plan = gemm_plan(integers(s, kernel.in), kernel);
    out.push_back(kernel.in == DType::u8 ? integer_trial<uint8_t>(row, plan, s)
                                         : integer_trial<int8_t>(row, plan, s));
  }
}

}  // namespace skyline::kernels
