// gemm_run for dense kernels.
#include "kernels/gemm/dense_run.h"

#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

// Rows copied at a time at least: each time all of B passes.
constexpr int64_t kRows = 256;

struct Room {
  size_t b, bias, a, partial;  // bytes
  size_t all() const { return b + bias + a + partial; }
};
Room room(const GemmPlan& plan) {
  const GemmProblem& p = plan.problem;
  const DenseKernel& kernel = *plan.dense;
  const int64_t rows = p.m * std::max<int64_t>(p.batch, 1),
                tiles = (rows + kernel.mr - 1) / kernel.mr * plan.panels;
  const bool cut = kernel.part_steps(plan.steps) < plan.steps;
  return {p.const_b ? 0 : align_up(plan.packed_b_bytes), align_up(static_cast<size_t>(p.n) * 4),
          static_cast<size_t>(plan.a_scratch),
          cut ? static_cast<size_t>(std::min(tiles, kPartialTiles) * kernel.mr * kernel.nr * 4) : 0};
}

struct DenseRun {
  const GemmPlan& plan;
  const GemmArgs& args;
  int64_t m;  // rows of one product
  bool as_stored;

  DenseRun(const GemmPlan& plan, const GemmArgs& args, int64_t m) : plan(plan), args(args), m(m) {
    const GemmProblem& p = plan.problem;
    const DenseKernel& kernel = *plan.dense;
    // Rows 2 KB apart use two sets of L1 for what a tile reads at once.
    const int64_t lda = args.lda * a_size();
    as_stored = !p.trans_a && p.a == kernel.in && kernel.planes == 1 && args.lda > 0 && lda % 2048 != 0;
    // Behind K there may be NaN.
    if (kernel.floats() && plan.steps * kernel.values != p.k) as_stored = false;
  }

  int64_t a_size() const { return static_cast<int64_t>(size_of(plan.problem.a)); }
  // Bytes between rows, and between their planes, of a copy.
  int64_t stride() const { return dense_stride(plan.steps) * plan.dense->planes; }
  int64_t plane() const { return dense_stride(plan.steps); }

  const std::byte* a(int64_t i) const {
    const int64_t at = args.a_offsets ? args.a_offsets[i] : i * args.stride_a;
    return static_cast<const std::byte*>(args.a) + at * a_size();
  }
  // Matrix i of B, packed; to: room for it where it is packed now.
  const std::byte* b(int64_t i, std::byte* to) const {
    const GemmProblem& p = plan.problem;
    const int64_t at = args.b_offsets ? args.b_offsets[i] : i * args.stride_b;
    if (p.const_b)
      return static_cast<const std::byte*>(args.b) + at * static_cast<int64_t>(plan.packed_b_bytes);
    const BSource src{static_cast<const std::byte*>(args.b) + at * static_cast<int64_t>(size_of(p.b)), p.b,
                      p.trans_b ? 1 : args.ldb, p.trans_b ? args.ldb : 1, p.alpha};
    dense_pack(*plan.dense, src, {.k = p.k}, p.n, to);
    return to;
  }

  DenseProduct product(int64_t i, const std::byte* b, int32_t* bias) const {
    const GemmProblem& p = plan.problem;
    const auto size = static_cast<int64_t>(size_of(p.c));
    const int64_t depth = dense_depth(*plan.dense, p.k, p.centered_b);
    DenseProduct g{plan.dense, plan.dense->shape(p.n, depth), b};
    g.c = static_cast<std::byte*>(args.c) + i * args.stride_c * size;
    g.c_stride = args.ldc * size;
    g.out = p.c;
    g.epilogue = args.epilogue;
    if (plan.dense->floats()) {
      if (g.epilogue.residual) g.epilogue.residual += i * g.epilogue.stride_r;
      if (g.epilogue.residual_bf16) g.epilogue.residual_bf16 += i * g.epilogue.stride_r;
      g.k = p.k;
      g.finite = *plan.dense->column_sums(b, p.n, p.k) == 0;
      return g;
    }
    if (!p.centered_b) g.k = p.k;
    take_zero_off(g, depth, p.a, args.a_zero, bias);
    return g;
  }

  // scratch: for rows of A, then for partial sums.
  void block(DenseProduct g, const std::byte* a, const Block& b, std::byte* scratch) const {
    const DenseKernel& kernel = *plan.dense;
    g.partial = scratch + plan.a_scratch;
    int64_t row = b.m0;
    if (as_stored) {
      // The kernel reads whole blocks of rows and of steps. What lies behind K there meets zeros in B; the
      // last rows, where it would lie behind A, are copied.
      const int64_t behind = plan.steps * kernel.values - plan.problem.k;
      const int64_t safe = m - (behind + args.lda - 1) / args.lda;
      const int64_t whole = std::max<int64_t>(safe, 0) / kernel.mr * kernel.mr;  // no tile more than needed
      const int64_t end = b.m1 <= whole ? b.m1 : std::max(row, whole);
      if (end > row) dense_block(g, a + row * args.lda * a_size(), args.lda * a_size(), row, end, b.p0, b.p1);
      row = std::max(row, end);
    }
    const GemmProblem& p = plan.problem;
    const int64_t chunk = dense_chunk(kernel, plan.steps, kRows);
    const int64_t m_stride = p.trans_a ? 1 : args.lda, k_stride = p.trans_a ? args.lda : 1;
    DenseProduct mine = g;
    mine.a_plane = plane();
    for (; row < b.m1; row += chunk) {
      const int64_t rows = std::min(chunk, b.m1 - row);
      const std::byte* from = a + row * m_stride * a_size();
      if (p.a == kernel.in && kernel.planes == 1 && k_stride == 1) {
        const int64_t size = a_size();
        dense_rows(kernel, kernel.in, from, rows, p.k * size, m_stride * size, 1, scratch, stride());
      } else if (kernel.floats()) {
        const DenseSplit split{from,     p.a,     rows,     p.k,     m_stride,
                               k_stride, scratch, stride(), plane(), plan.steps * kernel.values};
        mine.finite = kernel.split(split) && g.finite;
      } else {
        dense_rows(kernel, p.a, from, rows, p.k, m_stride, k_stride, scratch, stride());
      }
      dense_block(mine, scratch, stride(), row, row + rows, b.p0, b.p1);
    }
  }
};

}  // namespace

void dense_plan(GemmPlan& plan) {
  const GemmProblem& p = plan.problem;
  const DenseKernel& kernel = *plan.dense;
  plan.steps = kernel.steps(p.k);
  const int64_t depth = dense_depth(kernel, p.k, p.centered_b);
  plan.panels = kernel.shape(p.n, depth).panels();
  plan.packed_b_bytes = kernel.packed_bytes(p.n, depth);
  const int64_t blocks = (p.m * (p.batch > 1 ? p.batch : 1) + kernel.mr - 1) / kernel.mr;
  const int64_t rows =
      std::min(dense_chunk(kernel, plan.steps, kRows), std::max<int64_t>(blocks, 1) * kernel.mr);
  plan.a_scratch =
      static_cast<int64_t>(align_up(static_cast<size_t>(rows * dense_stride(plan.steps) * kernel.planes)));
}

size_t dense_workspace_bytes(const GemmPlan& plan, int threads) noexcept {
  return room(plan).all() * static_cast<size_t>(std::max(threads, 1));
}

void dense_run(const GemmPlan& plan, const GemmArgs& args, bool fold, std::byte* workspace,
               int threads) noexcept {
  const GemmProblem& p = plan.problem;
  const int64_t m = fold ? p.m * p.batch : p.m, batch = fold ? 1 : p.batch;
  const DenseRun run(plan, args, m);
  const Room each = room(plan);
  const auto area = [&](int thread) { return workspace + static_cast<size_t>(thread) * each.all(); };
  const auto scratch = [&](std::byte* mine) { return mine + each.b + each.bias; };
  const auto bias = [&](std::byte* mine) { return reinterpret_cast<int32_t*>(mine + each.b); };
  const Grid grid = dense_grid(*plan.dense, m, p.n, p.k, threads);
  if (batch > 1 && (batch >= threads || grid.blocks() == 1)) {  // whole matrices per thread
    const double work = static_cast<double>(m) * static_cast<double>(p.n) * static_cast<double>(p.k);
    const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(2e6 / (work + 1)));
    parallel_for(threads, batch, grain, [&](int64_t begin, int64_t end) {
      std::byte* const mine = area(std::min(parallel_index(), threads - 1));
      for (int64_t i = begin; i < end; ++i) {
        const DenseProduct g = run.product(i, run.b(i, mine), bias(mine));
        run.block(g, run.a(i), {0, m, 0, plan.panels}, scratch(mine));
      }
    });
    return;
  }
  for (int64_t i = 0; i < batch; ++i) {
    const DenseProduct g = run.product(i, run.b(i, workspace), bias(workspace));
    parallel_for(threads, grid.blocks(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        run.block(g, run.a(i), grid.block(j), scratch(area(std::min(parallel_index(), threads - 1))));
      }
    });
  }
}

}  // namespace skyline::kernels
