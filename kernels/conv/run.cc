#include "kernels/conv/run.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/cpu.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGatherTiles = 8;  // tiles whose patches are made at a time: they stay in L1

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

// Output rows whose pointers are made at a time: while they and the pixels behind them fit into half of L2,
// panels of weights stream by.
int64_t indirect_rows(const ConvPlan& plan) {
  const ConvProblem& p = plan.problem;
  const int64_t l2 = std::max<int64_t>(cpu_info().l2, 256 << 10), mr = plan.kernel->mr;
  const int64_t pixel = p.ic / p.groups * 4 * (p.transposed ? 1 : p.stride[1] * p.stride[2]);
  const int64_t most = std::min(l2 / 2 / std::max<int64_t>(pixel, 1), l2 / 8 / (p.taps() * 8));
  return std::clamp(most / mr * mr, mr, std::max(mr, (p.out_pixels() + mr - 1) / mr * mr));
}

}  // namespace

std::byte* ConvRun::scratch() const noexcept {
  return thread_area + to_size(std::min(parallel_index(), threads - 1)) * per_thread;
}

ConvScratch conv_scratch(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  const bool floats = p.a == DType::f32 || p.a == DType::bf16;
  const int64_t pixels = p.n * p.in_pixels();
  ConvScratch s;
  if (plan.algorithm->method == ConvMethod::depthwise_bytes) {
    s.image = depthwise_bytes_tables(p);
  } else if (plan.algorithm->method == ConvMethod::depthwise) {
    s.per_thread = depthwise_rows_bytes(p);
    if (!floats) {
      s.image = align_up(to_size(pixels * p.ic * 4));
      s.per_thread += align_up(to_size(p.out(2) * p.oc * 4));
    }
  } else if (plan.algorithm->method == ConvMethod::winograd) {
    s.per_thread = winograd_scratch(plan);
  } else if (plan.algorithm->method == ConvMethod::direct) {
    s.per_thread = direct_scratch(p);
  } else if (plan.algorithm->method == ConvMethod::spread) {
    s.image = spread_image(p);
    s.per_thread = spread_scratch(p);
  } else if (plan.algorithm->method == ConvMethod::lines) {
    s.image = lines_image(plan);
  } else if (plan.algorithm->method == ConvMethod::patches) {
    s.image = patches_image(plan);
    s.per_thread = patches_scratch(plan);
  } else if (plan.algorithm->method != ConvMethod::gemm) {
    if (!floats) s.image = align_up(to_size(pixels * p.groups * plan.tap_steps * kStepBytes));
    if (plan.algorithm->method == ConvMethod::gather) {
      const int64_t rows = kGatherTiles * plan.kernel->mr, lines = p.taps() / p.kernel[2];
      s.per_thread = align_up(to_size(rows * lines) * sizeof(void*)) +
                     align_up(to_size(rows * p.taps() * plan.tap_steps * kStepBytes));
    } else {
      s.per_thread = align_up(to_size(indirect_rows(plan) * p.taps()) * sizeof(void*));
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
  if (!a.ldx) a.ldx = p.planar ? p.in_pixels() : p.ic;
  if (!a.ldy) a.ldy = p.oc;
  if (!a.epilogue.ldr) a.epilogue.ldr = p.oc;
  threads = std::max(threads, 1);
  if (plan.algorithm->method == ConvMethod::gemm) return run_gemm(plan, a, workspace, threads);
  const ConvScratch s = conv_scratch(plan);
  const ConvRun run{plan, a, workspace, workspace + s.image, s.per_thread, threads};
  if (plan.algorithm->method == ConvMethod::depthwise_bytes) {
    run_depthwise_bytes(run);
  } else if (plan.algorithm->method == ConvMethod::depthwise) {
    run_depthwise(run);
  } else if (plan.algorithm->method == ConvMethod::winograd) {
    run_winograd(run);
  } else if (plan.algorithm->method == ConvMethod::direct) {
    run_direct(run);
  } else if (plan.algorithm->method == ConvMethod::spread) {
    run_spread(run);
  } else if (plan.algorithm->method == ConvMethod::lines) {
    run_lines(run);
  } else if (plan.algorithm->method == ConvMethod::patches) {
    run_patches(run);
  } else {
    run_on_tiles(run);
  }
}

namespace {

// memcpy of a few words, without the call: `bytes` is a multiple of 4.
inline void copy_words(std::byte* to, const std::byte* from, int64_t bytes) {
  if (bytes < 16) {
    for (int64_t i = 0; i < bytes; i += 4) std::memcpy(to + i, from + i, 4);
    return;
  }
  for (int64_t i = 0; i + 16 <= bytes; i += 16) std::memcpy(to + i, from + i, 16);
  std::memcpy(to + bytes - 16, from + bytes - 16, 16);
}

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

  // A walk over output positions in order.
  struct Position {
    int64_t x, y, z;
  };
  Position position(int64_t row) const {
    return {row % x.count, row / x.count % y.count, row / x.count / y.count};
  }
  // Positions from o on that differ in x only, at most m.
  int64_t run_length(const Position& o, int64_t m) const { return std::min(m, x.count - o.x); }
  void advance(Position& o, int64_t n) const {
    o.x += n;
    if (o.x < x.count) return;
    o.x = 0;
    if (++o.y < y.count) return;
    o.y = 0;
    ++o.z;
  }

  // Calls line(its number, input line in pixels or -1, where each kernel column lies in it) per line of the
  // kernel.
  template <class Line>
  void each_line(const Position& o, Line&& line) const {
    const auto nz = static_cast<int64_t>(z.taps.size()), ny = static_cast<int64_t>(y.taps.size()),
               nx = static_cast<int64_t>(x.taps.size());
    const int32_t *in_z = z.input.data() + o.z * nz, *in_y = y.input.data() + o.y * ny,
                  *in_x = x.input.data() + o.x * nx;
    int64_t number = 0;
    for (int64_t kz = 0; kz < nz; ++kz) {
      for (int64_t ky = 0; ky < ny; ++ky) {
        line(number++, (in_z[kz] | in_y[ky]) < 0 ? int64_t{-1} : int64_t{in_z[kz]} + in_y[ky], in_x);
      }
    }
  }

  void indirect(const Product& g, const Block& block) const {
    auto** const pointers = reinterpret_cast<const void**>(run.scratch());
    const int64_t most = indirect_rows(run.plan);
    for (int64_t m0 = block.m0; m0 < block.m1; m0 += most) {
      const Block part{m0, std::min(block.m1, m0 + most), block.p0, block.p1};
      const int64_t tiles = tile_count(part, g.kernel->mr);
      Position o = position(m0);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t row = tile_begin(part, tiles, i), m = tile_begin(part, tiles, i + 1) - row;
        point(o, m, pointers + (row - m0) * g.taps);
      }
      run_block(g, part, [=](int64_t row, int64_t) { return pointers + (row - m0) * g.taps; });
    }
  }

  // The pointers of one tile, [tap][m]. Moves o on by m positions.
  void point(Position& o, int64_t m, const void** out) const {
    const auto nx = static_cast<int64_t>(x.taps.size());
    for (int64_t i = 0; i < m;) {
      const int64_t n = run_length(o, m - i);
      each_line(o, [&](int64_t number, int64_t line, const int32_t* in_x) {
        for (int64_t kx = 0; kx < nx; ++kx)
          point_run(out + (number * nx + kx) * m + i, n, line, in_x + kx, nx);
      });
      advance(o, n);
      i += n;
    }
  }

  // n pointers into one line of the input, at in[0], in[nx], ...: evenly spaced, but for those in the
  // padding.
  void point_run(const void** to, int64_t n, int64_t line, const int32_t* in, int64_t nx) const {
    if (line >= 0 && in[0] >= 0 && in[(n - 1) * nx] >= 0) {
      const std::byte* first = image + (line + in[0]) * pixel;
      const int64_t step = n > 1 ? (in[nx] - in[0]) * pixel : 0;
      for (int64_t j = 0; j < n; ++j) to[j] = first + j * step;
      return;
    }
    for (int64_t j = 0; j < n; ++j) {
      to[j] = line < 0 || in[j * nx] < 0 ? run.plan.zeros.data() : image + (line + in[j * nx]) * pixel;
    }
  }

  // Few channels: a line of the kernel is one tap, read in place where its pixels lie side by side and none
  // is in the padding, else copied.
  void gather(const Product& g, const Block& block) const {
    const auto nx = static_cast<int64_t>(x.taps.size());
    const int64_t tap_bytes = run.plan.tap_steps * kStepBytes, most = kGatherTiles * g.kernel->mr;
    Product by_line = g;
    by_line.taps = g.taps / nx;
    by_line.steps = g.steps * nx;
    auto** const pointers = reinterpret_cast<const void**>(run.scratch());
    std::byte* const patches = run.scratch() + align_up(to_size(most * by_line.taps) * sizeof(void*));
    Position o = position(block.m0);
    for (int64_t m0 = block.m0; m0 < block.m1; m0 += most) {
      const Block part{m0, std::min(block.m1, m0 + most), block.p0, block.p1};
      const int64_t tiles = tile_count(part, g.kernel->mr);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t row = tile_begin(part, tiles, i), m = tile_begin(part, tiles, i + 1) - row;
        point_lines(o, m, pointers + (row - m0) * by_line.taps, patches + (row - m0) * g.taps * tap_bytes);
      }
      run_block(by_line, part, [=](int64_t row, int64_t) { return pointers + (row - m0) * by_line.taps; });
    }
  }

  // The pointers of one tile, [line][m]; `patches` is room for what must be copied. Moves o on by m
  // positions.
  void point_lines(Position& o, int64_t m, const void** out, std::byte* patches) const {
    const auto nx = static_cast<int64_t>(x.taps.size());
    const int64_t tap_bytes = run.plan.tap_steps * kStepBytes, line_bytes = nx * tap_bytes;
    const bool dense = pixel == tap_bytes && run.plan.problem.dilation[2] == 1;
    for (int64_t i = 0; i < m;) {
      const int64_t n = run_length(o, m - i);
      each_line(o, [&](int64_t number, int64_t line, const int32_t* in_x) {
        const void** to = out + number * m + i;
        if (line < 0) {
          for (int64_t j = 0; j < n; ++j) to[j] = run.plan.zeros.data();
        } else if (dense && in_x[0] >= 0 && in_x[n * nx - 1] >= 0) {
          const std::byte* first = image + (line + in_x[0]) * pixel;
          const int64_t step = n > 1 ? (in_x[nx] - in_x[0]) * pixel : 0;
          for (int64_t j = 0; j < n; ++j) to[j] = first + j * step;
        } else {
          for (int64_t j = 0; j < n; ++j, in_x += nx) {
            const std::byte* from = image + line * pixel;
            if (dense && in_x[0] >= 0 && in_x[nx - 1] >= 0) {
              to[j] = from + in_x[0] * pixel;
            } else {
              std::byte* const patch = patches + (number * m + i + j) * line_bytes;
              copy_line(patch, from, in_x, nx, tap_bytes);
              to[j] = patch;
            }
          }
        }
      });
      advance(o, n);
      i += n;
    }
  }

  // The nx taps of one line of the kernel, side by side.
  void copy_line(std::byte* to, const std::byte* from, const int32_t* in_x, int64_t nx,
                 int64_t tap_bytes) const {
    for (int64_t kx = 0; kx < nx; ++kx, to += tap_bytes) {
      if (in_x[kx] < 0) {
        std::memset(to, 0, to_size(tap_bytes));
      } else {
        copy_words(to, from + in_x[kx] * pixel, tap_bytes);
      }
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
