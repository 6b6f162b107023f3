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
  if (std::max({p.m, p.n, p.k}) > kMost || !fits(p.m + 64, p.k + 64) || !fits(p.n + 64, p.k + 64) ||
      !fits(p.m, p.n) || p.batch > kMost) {
    throw Error(Code::limit, "gemm: a matrix of more than 2^40 elements");
  }
}

// Cycles that a step of n columns takes per row: a tile is bound by its multiply-adds, its loads, or the
// latency of its accumulators.
double cost(const GemmKernel& kernel, int64_t n) {
  const auto tile = [&](int64_t columns) {
    const int64_t whole = (columns + kernel.lanes - 1) / kernel.lanes;
    const auto vectors = static_cast<double>(whole);
    const double rows = kernel.mr;
    return std::max({vectors * rows / 2, (vectors + rows) / 2, 4.0}) / rows;
  };
  const int64_t whole = n / kernel.nr, rest = n % kernel.nr;
  return static_cast<double>(whole) * tile(kernel.nr) + (rest ? tile(rest) : 0.0);
}

const GemmKernel* choose(const GemmProblem& p, IsaSet isa) {
  const bool f32 = p.a == DType::f32 && p.b == DType::f32 && p.c == DType::f32;
  const bool bytes = is_byte(p.a) && is_byte(p.b) && (is_byte(p.c) || p.c == DType::i32 || p.c == DType::f32);
  const DType in = f32 ? DType::f32 : bytes ? DType::i16 : DType::undefined;
  const GemmKernel* best = nullptr;
  for (const KernelInfo* row : all_kernels()) {
    if (row->op != "gemm" || row->in != in || !usable(*row, isa)) continue;
    const auto* kernel = static_cast<const GemmKernel*>(row);
    if (kernel->max_n && p.n > kernel->max_n) continue;
    // What is made for few columns comes first; of the others only one that is clearly better replaces an
    // earlier one.
    if (!best || (!best->max_n && cost(*kernel, p.n) < 0.995 * cost(*best, p.n))) best = kernel;
  }
  return best;
}

bool are_f32_or(DType t, const GemmProblem& p) {
  const auto is = [t](DType x) { return x == DType::f32 || x == t; };
  return is(p.a) && is(p.b) && is(p.c);
}

// bf16 planes of a factor that the problem allows, or 0. Products of bf16 are exact in f32.
int planes_of(const GemmProblem& p) {
  if (!are_f32_or(DType::bf16, p)) return 0;
  if (p.a == DType::bf16 && p.b == DType::bf16 && p.alpha == 1.0f) return 1;
  if (p.precision == Precision::bf16) return 1;
  if (p.precision == Precision::bf16x3) return 2;
  return p.precision == Precision::bf16x6 ? 3 : 0;
}

bool dense_fits(const GemmProblem& p, const DenseKernel& k) {
  if (k.in == DType::f16) return are_f32_or(DType::f16, p) && p.precision == Precision::f16;
  if (k.floats()) return planes_of(p) == k.planes;
  const bool bytes = is_byte(p.a) && is_byte(p.b) && (is_byte(p.c) || p.c == DType::i32 || p.c == DType::f32);
  // Others take several products, where kernels of pairs would lose to those of i16.
  const bool zeros = p.centered_b || (p.const_b && k.rate >= 4);
  return bytes && zeros && k.takes(p.a);
}

// Several blocks for each thread: CPUs of one machine may differ in speed by a third at any moment, and what
// the slow one has begun is waited for. Where B stays in L2 a cut of the rows costs nothing; else each block
// reads B again, for 64 rows in a tenth of the time of its products. Blocks stay above 20 us of work.
Grid cut_finer(Grid grid, const GemmKernel& kernel, int64_t k, double work) {
  constexpr double kWorthABlock = 2e6;  // multiply-adds
  constexpr int64_t kFarRows = 64;
  if (grid.blocks() == 1) return grid;
  const int64_t columns = (grid.panels + grid.columns - 1) / grid.columns * kernel.nr;
  const bool near = columns * k * kStepBytes <= l2_bytes() / 2;
  const auto cuts =
      static_cast<int64_t>(std::clamp(work / static_cast<double>(grid.blocks()) / kWorthABlock, 1.0, 16.0));
  const int64_t most = near ? (grid.m + kernel.mr - 1) / kernel.mr : grid.m / kFarRows;
  grid.rows *= std::clamp<int64_t>(most / grid.rows, 1, cuts);
  return grid;
}

// What a product takes, in multiply-adds that take as long: those, or reading B. Per element of B that is 4
// in L2 and 16 in what lies behind it (a Xeon with AVX-512: 50 and 20 GB/s beside 50e9 multiply-adds a
// second).
double work_of(int64_t m, int64_t n, int64_t k) {
  const double elements = static_cast<double>(n) * static_cast<double>(k);
  const bool far = elements * kStepBytes > static_cast<double>(l2_bytes()) / 4;
  return elements * std::max(static_cast<double>(m), far ? 16.0 : 4.0);
}

}  // namespace

Grid make_grid(const GemmKernel& kernel, int64_t m, int64_t n, int64_t k, int threads) noexcept {
  Grid best{m, (n + kernel.nr - 1) / kernel.nr, 1, 1, kernel.mr};
  const int64_t tiles = (m + kernel.mr - 1) / kernel.mr;
  const double work = work_of(m, n, k);
  const auto usable = static_cast<int64_t>(std::min<double>(threads, work / kWorthAThread + 1));
  // All of B in L2 leaves little room there for what streams by (a Xeon with AVX-512 and 2 MiB: 512^3 on two
  // threads 1.2 times as fast cut by columns); interleaving would be done again for each.
  const int64_t b_bytes = n * k * kStepBytes;
  const bool crowded = kernel.lanes > 8 && b_bytes > l2_bytes() / 4 && b_bytes <= l2_bytes();
  double best_cost = std::numeric_limits<double>::infinity();
  for (int64_t columns = 1; columns <= std::min(usable, best.panels); ++columns) {
    const int64_t rows = std::max<int64_t>(1, std::min(usable / columns, tiles));
    const int64_t my_tiles = (tiles + rows - 1) / rows, my_panels = (best.panels + columns - 1) / columns;
    const auto my_m = static_cast<double>(my_tiles * kernel.mr),
               my_n = static_cast<double>(my_panels * kernel.nr);
    // Cycles per k: two vectors of multiply-adds, or 16 bytes from the outer caches.
    const double cost = my_m * my_n / (2 * kernel.lanes) + (my_m + my_n * (crowded ? 2 : 1)) * 4 / 16;
    if (cost < best_cost) {
      best_cost = cost;
      best.rows = rows;
      best.columns = columns;
    }
  }
  return cut_finer(best, kernel, k, work);
}

GemmPlan gemm_plan(const GemmProblem& problem, IsaSet isa, const GemmKernel* forced) {
  check(problem);
  GemmPlan plan;
  plan.problem = problem;
  if (!forced) {
    plan.dense = choose_dense(problem, isa);
    // Several planes take as many bytes as f32 or more: with few rows it is these that cost.
    const bool few = problem.m * std::max<int64_t>(problem.batch, 1) < 8 && problem.const_b;
    if (plan.dense && plan.dense->planes > 1 && few && are_f32_or(DType::f32, problem)) plan.dense = nullptr;
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
  s.copy_a = !f32;
  // Interleaving costs about as much as 8 columns of the product. With 16 registers it saves reloading the
  // rows' pointers; with 32 rows are read in place (a Xeon with AVX-512: 1 to 4 % faster at nine shapes from
  // 512^3 to 2048x1024x2048).
  const bool few_registers = kernel.lanes <= 8 && problem.m > 4 && problem.n >= 8 * kernel.nr;
  s.interleave = f32 && (problem.trans_a || few_registers);
  // Reading B as stored is right while each element is used by few tiles; packing it costs about one tile's
  // time.
  const bool direct = f32 && !problem.trans_b && problem.alpha == 1.0f && problem.m <= 4 * kernel.mr;
  s.pack_b = !problem.const_b && !direct;
  const int64_t depth = kernel.cuts_k ? std::min(plan.steps, kSlice) : plan.steps;
  const int64_t row_bytes = std::max<int64_t>(depth * kStepBytes, 1);
  const int64_t fit = l2_bytes() / (kernel.cuts_k ? 4 : 2) / row_bytes;
  s.mc = std::clamp<int64_t>(fit / kernel.mr * kernel.mr, kernel.mr, 1024 * kernel.mr);
  if (s.copy_a || s.interleave) {
    const int64_t rows = problem.batch > 1 ? s.mc : std::min(s.mc, problem.m);
    // Room for a tile of all of K too: a residual in C's place keeps K in one piece.
    const auto line = static_cast<int64_t>(kAlignment);
    const int64_t bytes = std::max(rows * (row_bytes + line), kernel.mr * plan.steps * kStepBytes);
    plan.a_scratch = static_cast<int64_t>(align_up(static_cast<size_t>(bytes)));
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
