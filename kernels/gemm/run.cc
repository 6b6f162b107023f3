#include <algorithm>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/dense_run.h"
#include "kernels/gemm/drive.h"
#include "kernels/gemm/gemm.h"

namespace skyline::kernels {
namespace {

PanelShape shape_of(const GemmPlan& plan) {
  return {plan.problem.n, plan.steps, plan.kernel->nr, plan.kernel->lanes, plan.kernel->kr};
}

BSource source(const GemmPlan& plan, const GemmWeights& w) {
  const GemmProblem& p = plan.problem;
  return {w.b, p.b, p.trans_b ? 1 : w.ldb, p.trans_b ? w.ldb : 1, p.alpha, w.zero_point, w.zero_point_per_n};
}

// Rows a page apart share one set of a first-level cache, and a tile reads mr of them side by side.
bool badly_strided(int64_t lda) {
  return lda * 4 % 4096 == 0;
}

bool reads_direct(const GemmPlan& plan) {
  return !plan.problem.const_b && !plan.schedule.pack_b;
}

// Bytes of scratch for one matrix of B: all of it, or its last panel where the others are read as stored.
size_t b_scratch(const GemmPlan& plan) {
  if (plan.problem.const_b) return 0;
  if (plan.schedule.pack_b) return align_up(plan.packed_b_bytes);
  const PanelShape shape = shape_of(plan);
  return plan.panels ? align_up(static_cast<size_t>(shape.stride(plan.panels - 1) * plan.steps)) : 0;
}

// One matrix of the batch.
struct Entry {
  const std::byte* a;
  const std::byte* b;
  std::byte* c;
  Epilogue epilogue;
};
Entry entry(const GemmPlan& plan, const GemmArgs& args, int64_t i) {
  const GemmProblem& p = plan.problem;
  const int64_t a = args.a_offsets ? args.a_offsets[i] : i * args.stride_a;
  const int64_t b = args.b_offsets ? args.b_offsets[i] : i * args.stride_b;
  const auto b_unit = static_cast<int64_t>(p.const_b ? plan.packed_b_bytes : size_of(p.b));
  Entry e{static_cast<const std::byte*>(args.a) + a * static_cast<int64_t>(size_of(p.a)),
          static_cast<const std::byte*>(args.b) + b * b_unit,
          static_cast<std::byte*>(args.c) + i * args.stride_c * static_cast<int64_t>(size_of(p.c)),
          args.epilogue};
  if (e.epilogue.residual) e.epilogue.residual += i * e.epilogue.stride_r;
  return e;
}

struct Run {
  const GemmPlan& plan;
  const GemmArgs& args;

  Product product(const Entry& e, const std::byte* b_packed) const {
    const GemmProblem& p = plan.problem;
    Product g;
    g.kernel = plan.kernel;
    g.shape = shape_of(plan);
    g.group = panel_group(*plan.kernel, g.shape);
    g.steps = plan.steps;
    g.b = p.const_b ? e.b : b_packed;
    if (reads_direct(plan)) {
      g.direct = e.b;
      g.direct_stride = args.ldb * 4;
    }
    g.c = e.c;
    g.c_stride = args.ldc * static_cast<int64_t>(size_of(p.c));
    g.out = p.c;
    g.epilogue = e.epilogue;
    return g;
  }

  // Panels [p0, p1) of a B that comes as stored; with direct reading only a last one that must be padded.
  void pack_b(const Entry& e, std::byte* to, int64_t p0, int64_t p1) const {
    const PanelShape shape = shape_of(plan);
    GemmWeights w = args.b_info;
    w.b = e.b;
    w.ldb = args.ldb;
    if (reads_direct(plan)) {
      const int64_t last = plan.panels - 1;
      if (p1 <= last || (plan.problem.n - last * shape.nr) % shape.lanes == 0) return;
      to -= shape.offset(last);
      p0 = last;
    }
    pack_panels(shape, source(plan, w), 0, plan.problem.k, 0, p0, p1, to);
  }

  void block(const Product& g, const Entry& e, const Block& whole, std::byte* scratch) const {
    const GemmProblem& p = plan.problem;
    const auto size = static_cast<int64_t>(size_of(p.a));
    const int64_t m_stride = p.trans_a ? 1 : args.lda, k_stride = p.trans_a ? args.lda : 1;
    const void* pointers[kMaxMr];
    for (int64_t m0 = whole.m0; m0 < whole.m1; m0 += plan.schedule.mc) {
      const Block part{m0, std::min(whole.m1, m0 + plan.schedule.mc), whole.p0, whole.p1};
      const std::byte* base = e.a;
      int64_t stride = args.lda * size;
      if (plan.schedule.copy_a || (plan.a_scratch && badly_strided(args.lda))) {
        stride = copy_a(e, part, m_stride, k_stride, scratch);
        base = scratch - part.m0 * stride;
      }
      const auto rows = [&](int64_t row, int64_t m) {
        const std::byte* first = base + row * stride;
        for (int64_t i = 0; i < m; ++i) pointers[i] = first + i * stride;
        return pointers;
      };
      const bool far_a = stride == plan.steps * kStepBytes && p.m * stride > l2_bytes() / 2;
      run_block(g, part, rows, far_a ? base : nullptr);
    }
  }

  int64_t copy_a(const Entry& e, const Block& part, int64_t m_stride, int64_t k_stride, std::byte* to) const {
    const GemmProblem& p = plan.problem;
    int64_t stride = plan.steps * kStepBytes;
    if (stride % 512 == 0) stride += kAlignment;  // rows a power of two apart would share cache sets
    const auto size = static_cast<int64_t>(size_of(p.a));
    const int64_t rows = part.m1 - part.m0;
    const std::byte* from = e.a + part.m0 * m_stride * size;
    if (!args.a_zero_m) {
      copy_rows(from, p.a, rows, p.k, m_stride, k_stride, args.a_zero, to, stride);
      return stride;
    }
    for (int64_t i = 0; i < rows; ++i) {
      copy_rows(from + i * m_stride * size, p.a, 1, p.k, m_stride, k_stride, args.a_zero_m[part.m0 + i],
                to + i * stride, stride);
    }
    return stride;
  }
};

// Rows of a batch with one B and evenly spaced A and C are rows of one larger product.
bool foldable(const GemmPlan& plan, const GemmArgs& args) {
  const GemmProblem& p = plan.problem;
  return p.batch > 1 && !args.a_offsets && !args.b_offsets && args.stride_b == 0 && !p.trans_a &&
         args.stride_a == p.m * args.lda && args.stride_c == p.m * args.ldc && !args.epilogue.bias_m &&
         !args.a_zero_m && (!args.epilogue.residual || args.epilogue.stride_r == p.m * args.epilogue.ldr);
}

}  // namespace

void gemm_pack_b(const GemmPlan& plan, const GemmWeights& w, std::byte* packed) noexcept {
  if (plan.dense) {
    const BSource src = source(plan, w);
    return dense_pack(*plan.dense, src, {.k = plan.problem.k}, plan.problem.n, packed);
  }
  pack_panels(shape_of(plan), source(plan, w), 0, plan.problem.k, 0, 0, plan.panels, packed);
}

size_t gemm_workspace_bytes(const GemmPlan& plan, int threads) noexcept {
  if (plan.dense) return dense_workspace_bytes(plan, threads);
  const auto t = static_cast<size_t>(std::max(threads, 1));
  return t * (static_cast<size_t>(plan.a_scratch) + b_scratch(plan));
}

void gemm_run(const GemmPlan& plan, const GemmArgs& args, std::byte* workspace, int threads) noexcept {
  const GemmProblem& p = plan.problem;
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  threads = std::max(threads, 1);
  const bool fold = foldable(plan, args);
  if (plan.dense) return dense_run(plan, args, fold, workspace, threads);
  const Run run{plan, args};
  const size_t b_bytes = b_scratch(plan);
  std::byte* const a_area = workspace + static_cast<size_t>(threads) * b_bytes;
  const auto a_scratch = [&](int thread) { return a_area + static_cast<int64_t>(thread) * plan.a_scratch; };

  const int64_t m = fold ? p.m * p.batch : p.m, batch = fold ? 1 : p.batch;
  const Grid grid = make_grid(*plan.kernel, m, p.n, p.k, threads);
  const double work = static_cast<double>(m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  if (batch >= threads || (batch > 1 && grid.blocks() == 1)) {  // whole matrices per thread
    const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(250e3 / (work + 1)));
    parallel_for(threads, batch, grain, [&](int64_t begin, int64_t end) {
      const int me = std::min(parallel_index(), threads - 1);
      std::byte* packed = workspace + static_cast<size_t>(me) * b_bytes;
      const bool shared = args.stride_b == 0 && !args.b_offsets;
      for (int64_t i = begin; i < end; ++i) {
        const Entry e = entry(plan, args, i);
        if (b_bytes && (i == begin || !shared)) run.pack_b(e, packed, 0, plan.panels);
        run.block(run.product(e, packed), e, {0, m, 0, plan.panels}, a_scratch(me));
      }
    });
    return;
  }
  for (int64_t i = 0; i < batch; ++i) {
    const Entry e = entry(plan, args, i);
    if (b_bytes) {
      const int64_t grain = std::max<int64_t>(1, 65536 / (plan.steps * plan.kernel->nr + 1));
      parallel_for(threads, plan.panels, grain,
                   [&](int64_t begin, int64_t end) { run.pack_b(e, workspace, begin, end); });
    }
    const Product g = run.product(e, workspace);
    parallel_for(threads, grid.blocks(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        run.block(g, e, grid.block(j), a_scratch(std::min(parallel_index(), threads - 1)));
    });
  }
}

}  // namespace skyline::kernels
