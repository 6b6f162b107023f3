#include "kernels/conv/run.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGatherTiles = 4;  // tiles whose patches are copied at a time: they stay in L1

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

}  // namespace

std::byte* ConvRun::scratch() const noexcept {
  return thread_area + to_size(std::min(parallel_index(), threads - 1)) * per_thread;
}

ConvScratch conv_scratch(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  const bool f32 = p.a == DType::f32;
  const int64_t pixels = p.n * p.in_pixels();
  ConvScratch s;
  if (plan.algorithm->method == ConvMethod::depthwise) {
    const auto rows = to_size(p.kernel[0] * p.kernel[1]);
    s.per_thread = align_up(rows * sizeof(void*));
    if (!f32) {
      s.image = align_up(to_size(pixels * p.ic * 4));
      s.per_thread += align_up(to_size(p.out(2) * p.oc * 4));
    }
  } else if (plan.algorithm->method != ConvMethod::gemm) {
    const int64_t mr = plan.kernel->mr;
    if (!f32) s.image = align_up(to_size(pixels * p.groups * plan.tap_steps * kStepBytes));
    if (plan.algorithm->method == ConvMethod::gather) {
      const int64_t row = p.taps() * plan.tap_steps * kStepBytes + static_cast<int64_t>(kAlignment);
      s.per_thread = align_up(to_size(mr) * sizeof(void*)) + align_up(to_size(kGatherTiles * mr * row));
    } else {
      s.per_thread = align_up(to_size(p.taps() * mr) * sizeof(void*));
    }
  }
  return s;
}

size_t conv_workspace_bytes(const ConvPlan& plan, int threads) noexcept {
  if (plan.algorithm->method == ConvMethod::gemm) return gemm_workspace_bytes(plan.gemm, threads);
  const ConvScratch s = conv_scratch(plan);
  return s.image + s.per_thread * to_size(std::max(threads, 1));
}

namespace {

void run_gemm(const ConvPlan& plan, const ConvArgs& a, std::byte* workspace, int threads) {
  gemm_run(
      plan.gemm,
      {.a = a.x, .lda = a.ldx, .b = a.w, .c = a.y, .ldc = a.ldy, .epilogue = a.epilogue, .a_zero = a.x_zero},
      workspace, threads);
}

}  // namespace

void conv_run(const ConvPlan& plan, const ConvArgs& args, std::byte* workspace, int threads) noexcept {
  const ConvProblem& p = plan.problem;
  if (p.n == 0 || p.out(0) <= 0 || p.out(1) <= 0 || p.out(2) <= 0) return;
  ConvArgs a = args;
  if (!a.ldx) a.ldx = p.ic;
  if (!a.ldy) a.ldy = p.oc;
  if (!a.epilogue.ldr) a.epilogue.ldr = p.oc;
  threads = std::max(threads, 1);
  if (plan.algorithm->method == ConvMethod::gemm) return run_gemm(plan, a, workspace, threads);
  const ConvScratch s = conv_scratch(plan);
  const ConvRun run{plan, a, workspace, workspace + s.image, s.per_thread, threads};
  if (plan.algorithm->method == ConvMethod::depthwise) {
    run_depthwise(run);
  } else {
    run_on_tiles(run);
  }
}

namespace {

// Where the kernel finds its pixels: x itself, or its widened copy. In bytes.
struct Pixels {
  const std::byte* base;
  int64_t pixel, image, group;
};

Pixels prepare_pixels(const ConvRun& run) {
  const ConvProblem& p = run.plan.problem;
  const int64_t icg = p.ic / p.groups, ldx = run.args.ldx;
  if (p.a == DType::f32) {
    return {static_cast<const std::byte*>(run.args.x), ldx * 4, p.in_pixels() * ldx * 4, icg * 4};
  }
  const int64_t group = run.plan.tap_steps * kStepBytes, pixel = group * p.groups;
  auto* x = static_cast<const std::byte*>(run.args.x);
  parallel_for(
      run.threads, p.n * p.in_pixels(), std::max<int64_t>(1, 16384 / p.ic), [&](int64_t begin, int64_t end) {
        if (p.groups == 1) {
          copy_rows(x + begin * ldx, p.a, end - begin, icg, ldx, 1, run.args.x_zero,
                    run.image + begin * pixel, pixel);
          return;
        }
        for (int64_t i = begin; i < end; ++i) {
          copy_rows(x + i * ldx, p.a, p.groups, icg, icg, 1, run.args.x_zero, run.image + i * pixel, group);
        }
      });
  return {run.image, pixel, p.in_pixels() * pixel, group};
}

// One phase of one group of one image.
struct Tiles {
  const ConvRun& run;
  const AxisPhase& z;
  const AxisPhase& y;
  const AxisPhase& x;
  Product product;
  const std::byte* image;
  int64_t pixel;  // bytes

  int64_t rows() const { return z.count * y.count * x.count; }

  // Calls put(i, tap, pointer or null in the padding) for m output positions from `row` on.
  template <class Put>
  void each_pixel(int64_t row, int64_t m, Put&& put) const {
    const auto nz = static_cast<int64_t>(z.taps.size()), ny = static_cast<int64_t>(y.taps.size()),
               nx = static_cast<int64_t>(x.taps.size());
    int64_t ox = row % x.count, oy = row / x.count % y.count, oz = row / x.count / y.count;
    for (int64_t i = 0; i < m; ++i) {
      const int32_t *in_z = z.input.data() + oz * nz, *in_y = y.input.data() + oy * ny,
                    *in_x = x.input.data() + ox * nx;
      int64_t tap = 0;
      for (int64_t kz = 0; kz < nz; ++kz) {
        for (int64_t ky = 0; ky < ny; ++ky) {
          const bool outside = (in_z[kz] | in_y[ky]) < 0;
          const int64_t line = int64_t{in_z[kz]} + in_y[ky];
          for (int64_t kx = 0; kx < nx; ++kx) {
            const bool inside = !outside && in_x[kx] >= 0;
            put(i, tap++, inside ? image + (line + in_x[kx]) * pixel : nullptr);
          }
        }
      }
      if (++ox == x.count) {
        ox = 0;
        if (++oy == y.count) {
          oy = 0;
          ++oz;
        }
      }
    }
  }

  void indirect(const Product& g, const Block& block) const {
    const void* zeros = run.plan.zeros.data();
    run_block(g, block, reinterpret_cast<const void**>(run.scratch()),
              [&](int64_t row, int64_t m, const void** out) {
                each_pixel(row, m, [=](int64_t i, int64_t tap, const std::byte* p) {
                  out[tap * m + i] = p ? p : zeros;
                });
              });
  }

  // Copies patches to rows of all taps, so that the kernel sees one long K.
  void gather(const Product& g, const Block& block) const {
    auto** pointers = reinterpret_cast<const void**>(run.scratch());
    std::byte* const patches = run.scratch() + align_up(to_size(g.kernel->mr) * sizeof(void*));
    const int64_t tap_bytes = run.plan.tap_steps * kStepBytes, words = run.plan.tap_steps;
    const int64_t row_bytes = g.taps * tap_bytes;
    const int64_t most = kGatherTiles * g.kernel->mr;
    for (int64_t m0 = block.m0; m0 < block.m1; m0 += most) {
      const Block part{m0, std::min(block.m1, m0 + most), block.p0, block.p1};
      each_pixel(part.m0, part.m1 - part.m0, [=](int64_t i, int64_t tap, const std::byte* p) {
        auto* to = reinterpret_cast<int32_t*>(patches + i * row_bytes + tap * tap_bytes);
        for (int64_t j = 0; j < words; ++j) {
          int32_t v = 0;
          if (p) std::memcpy(&v, p + j * 4, 4);
          to[j] = v;
        }
      });
      Product dense = g;
      dense.taps = 1;
      dense.steps = g.taps * g.steps;
      run_block(dense, part, pointers, [=](int64_t row, int64_t m, const void** out) {
        for (int64_t i = 0; i < m; ++i) out[i] = patches + (row - m0 + i) * row_bytes;
      });
    }
  }

  // Output positions of a phase of a transposed convolution are `step` pixels apart: a line at a time.
  void lines(const Block& block) const {
    const ConvProblem& p = run.plan.problem;
    for (int64_t m0 = block.m0; m0 < block.m1;) {
      const int64_t line = m0 / x.count, m1 = std::min(block.m1, (line + 1) * x.count);
      const int64_t oy = y.first + line % y.count * y.step, oz = z.first + line / y.count * z.step;
      const int64_t first = (oz * p.out(1) + oy) * p.out(2) + x.first;
      Product g = product;
      const int64_t c_pixel = g.c_stride, r_pixel = g.epilogue.ldr;
      g.c_stride = c_pixel * x.step;
      g.c += first * c_pixel - line * x.count * g.c_stride;
      g.epilogue.ldr = r_pixel * x.step;
      if (g.epilogue.residual) g.epilogue.residual += first * r_pixel - line * x.count * g.epilogue.ldr;
      indirect(g, {m0, m1, block.p0, block.p1});
      m0 = m1;
    }
  }

  void block(const Block& b) const {
    if (run.plan.problem.transposed) {
      lines(b);
    } else if (run.plan.algorithm->method == ConvMethod::gather) {
      gather(product, b);
    } else {
      indirect(product, b);
    }
  }
};

}  // namespace

void run_on_tiles(const ConvRun& run) noexcept {
  const ConvPlan& plan = run.plan;
  const ConvProblem& p = plan.problem;
  const GemmKernel& kernel = *plan.kernel;
  const Pixels pixels = prepare_pixels(run);
  const int64_t ocg = p.oc / p.groups, jobs = p.n * p.groups;
  const auto c_size = static_cast<int64_t>(size_of(p.c));
  size_t phase = 0;
  for (const AxisPhase& z : plan.axes[0]) {
    for (const AxisPhase& y : plan.axes[1]) {
      for (const AxisPhase& x : plan.axes[2]) {
        const std::byte* weights = run.args.w + plan.packed_offset[phase++];
        const int64_t rows = z.count * y.count * x.count;
        const auto taps = static_cast<int64_t>(z.taps.size() * y.taps.size() * x.taps.size());
        if (rows == 0) continue;
        const PanelShape shape{ocg, taps * plan.tap_steps, kernel.nr, kernel.lanes, kernel.kr};
        const auto group_bytes = static_cast<int64_t>(align_up(to_size(shape.bytes())));
        const auto share = static_cast<int>(std::min<int64_t>((run.threads + jobs - 1) / jobs, run.threads));
        const Grid grid = make_grid(kernel, rows, ocg, taps * plan.tap_steps * kernel.kr, share);
        parallel_for(run.threads, jobs * grid.blocks(), 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t job = i / grid.blocks(), image = job / p.groups, group = job % p.groups;
            const int64_t row = image * p.out_pixels(), col = group * ocg;
            Product g;
            g.kernel = &kernel;
            g.shape = shape;
            g.taps = taps;
            g.steps = plan.tap_steps;
            g.b = weights + group * group_bytes;
            g.c = static_cast<std::byte*>(run.args.y) + (row * run.args.ldy + col) * c_size;
            g.c_stride = run.args.ldy * c_size;
            g.out = p.c;
            g.epilogue = moved(run.args.epilogue, row, col);
            const Tiles tiles{
                run, z, y, x, g, pixels.base + image * pixels.image + group * pixels.group, pixels.pixel};
            tiles.block(grid.block(i % grid.blocks()));
          }
        });
      }
    }
  }
}

}  // namespace skyline::kernels
