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

constexpr int64_t kFewRows = 4;  // see block()

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
    g.steps = plan.steps;
    g.group = panel_group(*plan.kernel, plan.kernel->cuts_k ? std::min(plan.steps, kSlice) : plan.steps);
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
    const GemmKernel& kernel = *plan.kernel;
    const int64_t tiles = tile_count(whole, kernel.mr);
    const int64_t columns = std::min(plan.problem.n, (whole.p1 - whole.p0) * kernel.nr);
    // Partial sums wait in C, unless the residual is there. Few rows fit into L1 with all of K: then B is
    // read in one run.
    const bool in_c = static_cast<const void*>(e.epilogue.residual) == static_cast<const void*>(e.c);
    const bool cuts = kernel.cuts_k && !in_c && whole.m1 - whole.m0 > kFewRows;
    const int64_t slice = cuts ? kSlice : std::max<int64_t>(plan.steps, 1);
    // Rows that meet all panels before the next: a tile, whose results then stay in L1, where B is in L2;
    // else what fits there beside a few panels.
    const bool by_tile = kernel.cuts_k && columns * plan.steps * kStepBytes <= l2_bytes() / 2;
    const bool deep = !cuts && plan.schedule.interleave;  // scratch for one tile of all of K
    const int64_t most = by_tile || deep ? 1 : std::clamp<int64_t>(plan.schedule.mc / kernel.mr, 1, tiles);
    Product cut = g;
    for (int64_t i = 0; i < tiles; i += most) {
      const Block part{tile_begin(whole, tiles, i), tile_begin(whole, tiles, std::min(tiles, i + most)),
                       whole.p0, whole.p1};
      cut.first_step = 0;
      do {
        cut.steps = std::min(slice, plan.steps - cut.first_step);
        cut.add = cut.first_step > 0;
        cut.more = cut.first_step + cut.steps < plan.steps;
        if (plan.schedule.interleave) {
          interleave(cut, e, part, scratch);
          run_interleaved(cut, part, scratch);
        } else {
          if (by_tile) fetch_rows(cut, e, part);
          run_rows(cut, e, part, scratch);
        }
        cut.first_step += cut.steps;
      } while (cut.more);
    }
  }

  void interleave(const Product& cut, const Entry& e, const Block& part, std::byte* to) const {
    const int64_t m_stride = plan.problem.trans_a ? 1 : args.lda,
                  k_stride = plan.problem.trans_a ? args.lda : 1;
    auto* const from = reinterpret_cast<const float*>(e.a) + cut.first_step * k_stride;
    const int64_t tiles = tile_count(part, plan.kernel->mr);
    for (int64_t i = 0, row = part.m0; i < tiles; ++i) {
      const int64_t next = tile_begin(part, tiles, i + 1);
      auto* const tile = reinterpret_cast<float*>(to + (row - part.m0) * cut.steps * kStepBytes);
      if (next - row == plan.kernel->mr && k_stride == 1 && plan.kernel->interleave) {
        plan.kernel->interleave(from + row * m_stride, cut.steps, m_stride, tile);
      } else {
        interleave_rows(from + row * m_stride, next - row, cut.steps, m_stride, k_stride, tile);
      }
      row = next;
    }
  }

  void run_interleaved(Product& cut, const Block& part, const std::byte* rows) const {
    cut.interleaved = true;
    const void* pointer = nullptr;
    run_block(cut, part, [&](int64_t row, int64_t) {
      pointer = rows + (row - part.m0) * cut.steps * kStepBytes;
      return &pointer;
    });
  }

  // Where A is too large for L2: the rows after these, a part of them in each slice.
  void fetch_rows(Product& cut, const Entry& e, const Block& part) const {
    const int64_t row = args.lda * kStepBytes, rows = part.m1 - part.m0;
    cut.fetch = nullptr;
    if (plan.problem.a != DType::f32 || args.lda != plan.steps || plan.problem.m * row <= l2_bytes() / 2 ||
        part.m1 + rows > plan.problem.m) {
      return;
    }
    cut.fetch_bytes = rows * cut.steps * kStepBytes;
    cut.fetch = e.a + part.m1 * row + rows * cut.first_step * kStepBytes;
  }

  void run_rows(const Product& cut, const Entry& e, const Block& part, std::byte* scratch) const {
    const GemmProblem& p = plan.problem;
    const int64_t m_stride = p.trans_a ? 1 : args.lda, k_stride = p.trans_a ? args.lda : 1;
    const void* pointers[kMaxMr];
    const std::byte* base = e.a + cut.first_step * kStepBytes;
    int64_t stride = args.lda * static_cast<int64_t>(size_of(p.a));
    if (plan.schedule.copy_a) {
      stride = copy_a(e, part, m_stride, k_stride, scratch);
      base = scratch - part.m0 * stride;
    }
    run_block(cut, part, [&](int64_t row, int64_t m) {
      const std::byte* first = base + row * stride;
      for (int64_t i = 0; i < m; ++i) pointers[i] = first + i * stride;
      return pointers;
    });
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
         !args.a_zero_m &&
         ((!args.epilogue.residual && !args.epilogue.residual_bf16) ||
          args.epilogue.stride_r == p.m * args.epilogue.ldr);
}

}  // namespace

void gemm_pack_b(const GemmPlan& plan, const GemmWeights& w, std::byte* packed,
                 const std::function<void(int64_t)>& read) noexcept {
  if (plan.dense) {
    const BSource src = source(plan, w);
    if (!plan.dense->floats() && !plan.problem.centered_b)
      return dense_pack_rest(*plan.dense, src, {.k = plan.problem.k}, plan.problem.n, packed);
    return dense_pack(*plan.dense, src, {.k = plan.problem.k}, plan.problem.n, packed);
  }
  const PanelShape shape = shape_of(plan);
  const BSource src = source(plan, w);
  const int64_t n = plan.problem.n, k = plan.problem.k;
  if (!read) return pack_panels(shape, src, 0, k, 0, 0, plan.panels, packed);
  constexpr int64_t kPiece = 8 << 20;  // bytes as stored
  const int64_t rows = std::max<int64_t>(1, kPiece / (w.ldb * static_cast<int64_t>(size_of(src.type))));
  if (plan.problem.trans_b) {
    const int64_t panels = std::max<int64_t>(1, rows / shape.nr);
    for (int64_t p = 0; p < plan.panels; p += panels) {
      const int64_t end = std::min(p + panels, plan.panels);
      pack_panels(shape, src, 0, k, 0, p, end, packed);
      read(std::min(end * shape.nr, n));
    }
    return;
  }
  const int64_t steps = std::max<int64_t>(1, rows / shape.kr);
  for (int64_t s = 0; s < shape.steps; s += steps) {
    const int64_t begin = s * shape.kr, end = std::min(k, begin + steps * shape.kr);
    pack_panels(shape, src, begin, end - begin, s, 0, plan.panels, packed);
    read(end);
  }
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
