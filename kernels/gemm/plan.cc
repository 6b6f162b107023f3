#include <algorithm>
#include <limits>
#include <string>

#include "kernels/base/cpu.h"
#include "kernels/base/memory.h"
#include "kernels/gemm/dense_run.h"
#include "kernels/gemm/drive.h"
#include "kernels/gemm/gemm.h"
#include "skyline/status.h"

namespace skyline::kernels {
namespace {

bool is_byte(DType t) {
  return t == DType::u8 || t == DType::i8;
}

void check(const GemmProblem& p) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0) {
    throw Error(Code::invalid, "gemm: negative size in " + std::to_string(p.batch) + " x " +
                                   std::to_string(p.m) + " x " + std::to_string(p.n) + " x " +
                                   std::to_string(p.k));
  }
  // Padding at most multiplies a size by kMaxMr * 4; leave room so that no product of two overflows.
  constexpr int64_t kMost = int64_t{1} << 40;
  const auto fits = [](int64_t a, int64_t b) { return b == 0 || a <= kMost / b; };
  if (!fits(p.m + 64, p.k + 64) || !fits(p.n + 64, p.k + 64) || !fits(p.m, p.n) || p.batch > kMost) {
    throw Error(Code::limit, "gemm: a matrix of more than 2^40 elements");
  }
}

const GemmKernel* choose(const GemmProblem& p, IsaSet isa) {
  const bool f32 = p.a == DType::f32 && p.b == DType::f32 && p.c == DType::f32;
  const bool bytes = is_byte(p.a) && is_byte(p.b) && (is_byte(p.c) || p.c == DType::i32 || p.c == DType::f32);
  const DType in = f32 ? DType::f32 : bytes ? DType::i16 : DType::undefined;
  return find_kernel<GemmKernel>(
      "gemm", isa, [&](const GemmKernel& k) { return k.in == in && (k.max_n == 0 || p.n <= k.max_n); });
}

bool dense_fits(const GemmProblem& p, const DenseKernel& k) {
  const bool bytes = is_byte(p.a) && is_byte(p.b) && (is_byte(p.c) || p.c == DType::i32 || p.c == DType::f32);
  return bytes && p.centered_b && (k.in == p.a || k.in == DType::u8);
}

// Several blocks for each thread, so that one which is slowed down leaves some to others. Blocks are cut
// across their longer side and stay above 20 us of work.
Grid cut_finer(Grid grid, const GemmKernel& kernel, double work) {
  constexpr double kWorthABlock = 2e6;  // multiply-adds
  if (grid.blocks() == 1) return grid;
  const auto cuts =
      static_cast<int64_t>(std::clamp(work / static_cast<double>(grid.blocks()) / kWorthABlock, 1.0, 4.0));
  const int64_t tiles = (grid.m + kernel.mr - 1) / kernel.mr / grid.rows, panels = grid.panels / grid.columns;
  if (tiles * kernel.mr >= panels * kernel.nr) {
    grid.rows *= std::clamp<int64_t>(tiles, 1, cuts);
  } else {
    grid.columns *= std::clamp<int64_t>(panels, 1, cuts);
  }
  return grid;
}

}  // namespace

Grid make_grid(const GemmKernel& kernel, int64_t m, int64_t n, int64_t k, int threads) noexcept {
  // Multiply-adds. Waking a thread of the pool takes up to 10 us here (a shared 2-core Xeon): models of many
  // small products ran slower on two threads than on one when 250e3 were enough.
  constexpr double kWorthAThread = 1e6;
  Grid best{m, (n + kernel.nr - 1) / kernel.nr, 1, 1, kernel.mr};
  const int64_t tiles = (m + kernel.mr - 1) / kernel.mr;
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const auto usable = static_cast<int64_t>(std::min<double>(threads, work / kWorthAThread + 1));
  double best_cost = std::numeric_limits<double>::infinity();
  for (int64_t columns = 1; columns <= std::min(usable, best.panels); ++columns) {
    const int64_t rows = std::max<int64_t>(1, std::min(usable / columns, tiles));
    const int64_t my_tiles = (tiles + rows - 1) / rows, my_panels = (best.panels + columns - 1) / columns;
    const auto my_m = static_cast<double>(my_tiles * kernel.mr),
               my_n = static_cast<double>(my_panels * kernel.nr);
    // Cycles per k: two vectors of multiply-adds, or 16 bytes from the outer caches.
    const double cost = my_m * my_n / (2 * kernel.lanes) + (my_m + my_n) * 4 / 16;
    if (cost < best_cost) {
      best_cost = cost;
      best.rows = rows;
      best.columns = columns;
    }
  }
  return cut_finer(best, kernel, work);
}

GemmPlan gemm_plan(const GemmProblem& problem, IsaSet isa, const GemmKernel* forced) {
  check(problem);
  GemmPlan plan;
  plan.problem = problem;
  if (!forced) {
    plan.dense = choose_dense(problem, isa);
    if (plan.dense) {
      dense_plan(plan);
      return plan;
    }
  }
  plan.kernel = forced ? forced : choose(problem, isa);
  if (!plan.kernel) {
    throw Error(Code::unsupported, "gemm: no kernel for " + std::string(name(problem.a)) + " x " +
                                       std::string(name(problem.b)) + " -> " + std::string(name(problem.c)) +
                                       " on " + isa_to_string(isa));
  }
  const GemmKernel& kernel = *plan.kernel;
  const bool f32 = problem.a == DType::f32;
  plan.steps = (problem.k + kernel.kr - 1) / kernel.kr;
  plan.panels = (problem.n + kernel.nr - 1) / kernel.nr;
  const PanelShape shape{problem.n, plan.steps, kernel.nr, kernel.lanes, kernel.kr};
  plan.packed_b_bytes = static_cast<size_t>(shape.bytes());

  GemmSchedule& s = plan.schedule;
  s.copy_a = problem.trans_a || !f32;
  // Reading B as stored is right while each element is used by few tiles; packing it costs about one tile's
  // time.
  const bool direct = f32 && !problem.trans_b && problem.alpha == 1.0f && problem.m <= 4 * kernel.mr;
  s.pack_b = !problem.const_b && !direct;
  const int64_t row_bytes = std::max<int64_t>(plan.steps * kStepBytes, 1);
  const int64_t fit = std::max<int64_t>(cpu_info().l2, 256 << 10) / 2 / row_bytes / kernel.mr * kernel.mr;
  s.mc = std::clamp<int64_t>(fit, kernel.mr, 1024 * kernel.mr);
  // Scratch also where A may turn out to be badly strided (see run.cc) and is read often enough for a copy to
  // pay.
  const bool may_copy = f32 && problem.k % 1024 == 0 && problem.k > 0 && plan.panels >= 4 && problem.m > 4;
  if (s.copy_a || may_copy) {
    const int64_t rows = problem.batch > 1 ? s.mc : std::min(s.mc, problem.m);
    plan.a_scratch = static_cast<int64_t>(align_up(static_cast<size_t>(rows * (row_bytes + kAlignment))));
  }
  return plan;
}

GemmPlan gemm_plan(const GemmProblem& problem, const DenseKernel& forced) {
  check(problem);
  if (!dense_fits(problem, forced)) {
    throw Error(Code::unsupported, "gemm: kernel " + std::string(forced.name) + " cannot take " +
                                       std::string(name(problem.a)) + " x " + std::string(name(problem.b)) +
                                       " -> " + std::string(name(problem.c)) +
                                       (problem.centered_b ? "" : ", B not centered"));
  }
  GemmPlan plan;
  plan.problem = problem;
  plan.dense = &forced;
  dense_plan(plan);
  return plan;
}

const DenseKernel* choose_dense(const GemmProblem& problem, IsaSet isa) noexcept {
  return find_kernel<DenseKernel>("dense", isa, [&](const DenseKernel& k) { return dense_fits(problem, k); });
}

const KernelInfo& kernel_of(const GemmPlan& plan) noexcept {
  return plan.dense ? static_cast<const KernelInfo&>(*plan.dense) : *plan.kernel;
}

}  // namespace skyline::kernels
