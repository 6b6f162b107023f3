// Convolution on dense kernels: the patches of some output pixels are copied side by side, as rows of a
// product that stay in L2 while the weights pass. Pixels in the padding are the zero point. Floats are split
// into bf16 planes first, the whole input, and patches are made of these.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/dense_run.h"

namespace skyline::kernels {
namespace {

// memcpy without the call where that would take longer than the copy.
inline void copy_bytes(std::byte* to, const std::byte* from, int64_t n) {
  if (n > 128) {
    std::memcpy(to, from, static_cast<size_t>(n));
  } else if (n >= 16) {
    std::memcpy(to, from, 16);
    std::memcpy(to + n - 16, from + n - 16, 16);
    for (int64_t i = 16; i + 16 < n; i += 16) std::memcpy(to + i, from + i, 16);
  } else if (n >= 4) {
    std::memcpy(to, from, 4);
    std::memcpy(to + n - 4, from + n - 4, 4);
    for (int64_t i = 4; i + 4 < n; i += 4) std::memcpy(to + i, from + i, 4);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

constexpr int64_t kWide = 32;      // bytes copied at once
constexpr int64_t kMaxLines = 32;  // of a kernel whose lines are copied as wholes

// Whether x is split; as the kernel's own type it is its only plane.
bool splits(const ConvPlan& plan) {
  return plan.gemm.dense->floats() && plan.problem.a != plan.gemm.dense->in;
}
// Bytes between planes of the whole input.
int64_t input_plane(const ConvProblem& p) {
  return static_cast<int64_t>(align_up(static_cast<size_t>(p.n * p.in_pixels() * p.ic * 2)));
}

// One plane of the input, and where the patches go.
struct Patches {
  const ConvRun& run;
  const AxisPhase &z, &y, &x;
  const std::byte* input;
  int64_t pixel, bytes;          // between pixels of the input, and that one has
  int64_t filled;                // bytes of a patch
  int64_t steps, plane, stride;  // of a row: of the kernel, bytes of a plane, in all
  bool side_by_side;             // the pixels that a line of the kernel meets

  explicit Patches(const ConvRun& run)
      : run(run), z(run.plan.axes[0][0]), y(run.plan.axes[1][0]), x(run.plan.axes[2][0]) {
    const ConvProblem& p = run.plan.problem;
    const DenseKernel& kernel = *run.plan.gemm.dense;
    const bool split = splits(run.plan);
    input = split ? run.image + dense_bias_bytes(p) : static_cast<const std::byte*>(run.args.x);
    bytes = p.ic * kernel.element();
    pixel = split ? bytes : run.args.ldx * kernel.element();
    filled = p.taps() * bytes;
    steps = kernel.steps(p.taps() * p.ic);
    plane = dense_stride(steps);
    stride = plane * kernel.planes;
    side_by_side = p.dilation[2] == 1 && pixel == bytes;
  }

  // Rows past what a patch fills: written once, never touched again.
  void clear(std::byte* to, int64_t rows) const {
    if (filled == plane) return;
    for (int64_t i = 0; i < rows * (stride / plane); ++i)
      std::memset(to + i * plane + filled, 0, static_cast<size_t>(plane - filled));
  }

  // Output pixels [begin, end) of all images.
  void copy(int64_t begin, int64_t end, std::byte* to) const {
    Patches one = *this;
    for (int64_t at = 0; at < stride; at += plane) {
      one.copy_plane(begin, end, to + at);
      one.input += input_plane(run.plan.problem);
    }
  }

  void copy_plane(int64_t begin, int64_t end, std::byte* to) const {
    const ConvProblem& p = run.plan.problem;
    const bool flip = run.plan.gemm.dense->shift(p.a) != 0;
    for (int64_t row = begin, next = row; row < end; row = next) {
      const int64_t line = row / x.count, oy = line % y.count, oz = line / y.count % z.count;
      next = std::min(end, (line + 1) * x.count);
      const std::byte* image = input + row / p.out_pixels() * p.in_pixels() * pixel;
      copy_line(image, oz, oy, row % x.count, row % x.count + next - row, to);
      for (int64_t i = row; i < next; ++i, to += stride) {
        if (!flip) continue;
        for (std::byte* b = to; b < to + filled; ++b) *b ^= std::byte{0x80};
      }
    }
  }

  // Output pixels [begin, end) of one line. Inside the image a patch is made of whole lines of the kernel.
  void copy_line(const std::byte* image, int64_t oz, int64_t oy, int64_t begin, int64_t end,
                 std::byte* to) const {
    const ConvProblem& p = run.plan.problem;
    const int64_t nx = p.kernel[2], lines = p.kernel[0] * p.kernel[1], run_bytes = nx * bytes;
    const std::byte* line[kMaxLines];
    bool inside = side_by_side && lines <= kMaxLines;
    for (int64_t i = 0; inside && i < lines; ++i) {
      const int32_t in_z = z.input[static_cast<size_t>(oz * p.kernel[0] + i / p.kernel[1])],
                    in_y = y.input[static_cast<size_t>(oy * p.kernel[1] + i % p.kernel[1])];
      inside = (in_z | in_y) >= 0;
      line[i] = image + (int64_t{in_z} + in_y) * pixel;
    }
    for (int64_t ox = begin; ox < end; ++ox, to += stride) {
      const int32_t* in_x = x.input.data() + ox * nx;
      if (!inside || in_x[0] < 0 || in_x[nx - 1] < 0) {
        patch(image, ox, oy, oz, to);
        continue;
      }
      copy_inside(line, lines, in_x[0] * pixel, run_bytes, to);
    }
  }

  // Short lines of the kernel as 32 bytes each, of which the next one overwrites what is too much.
  void copy_inside(const std::byte* const* line, int64_t lines, int64_t at, int64_t run_bytes,
                   std::byte* to) const {
    const std::byte* const last = line[lines - 1] + at;
    if (run_bytes <= kWide && (lines - 1) * run_bytes + kWide <= plane && last + kWide <= input_end()) {
      for (int64_t i = 0; i < lines; ++i, to += run_bytes) std::memcpy(to, line[i] + at, kWide);
    } else {
      for (int64_t i = 0; i < lines; ++i, to += run_bytes) copy_bytes(to, line[i] + at, run_bytes);
    }
  }
  const std::byte* input_end() const {
    const ConvProblem& p = run.plan.problem;
    return input + p.n * p.in_pixels() * pixel - (pixel - bytes);
  }

  void patch(const std::byte* image, int64_t ox, int64_t oy, int64_t oz, std::byte* to) const {
    const ConvProblem& p = run.plan.problem;
    const int64_t nz = p.kernel[0], ny = p.kernel[1], nx = p.kernel[2], line_bytes = nx * bytes;
    const int32_t *in_z = z.input.data() + oz * nz, *in_y = y.input.data() + oy * ny,
                  *in_x = x.input.data() + ox * nx;
    for (int64_t kz = 0; kz < nz; ++kz) {
      for (int64_t ky = 0; ky < ny; ++ky, to += line_bytes) {
        if ((in_z[kz] | in_y[ky]) < 0) {
          std::memset(to, run.args.x_zero, static_cast<size_t>(line_bytes));
          continue;
        }
        const std::byte* line = image + (int64_t{in_z[kz]} + in_y[ky]) * pixel;
        if (side_by_side) {
          copy_part(line, in_x, nx, to);
        } else {
          for (int64_t kx = 0; kx < nx; ++kx) copy_pixel(line, in_x[kx], to + kx * bytes);
        }
      }
    }
  }

  // A line of the kernel whose ends may be in the padding.
  void copy_part(const std::byte* line, const int32_t* in_x, int64_t nx, std::byte* to) const {
    int64_t first = 0, last = nx;
    while (first < nx && in_x[first] < 0) ++first;
    while (last > first && in_x[last - 1] < 0) --last;
    std::memset(to, run.args.x_zero, static_cast<size_t>(first * bytes));
    std::memset(to + last * bytes, run.args.x_zero, static_cast<size_t>((nx - last) * bytes));
    if (first < last) copy_bytes(to + first * bytes, line + in_x[first] * pixel, (last - first) * bytes);
  }

  void copy_pixel(const std::byte* line, int64_t at, std::byte* to) const {
    if (at < 0) {
      std::memset(to, run.args.x_zero, static_cast<size_t>(bytes));
    } else {
      copy_bytes(to, line + at * pixel, bytes);
    }
  }
};

// Splits x, where that is done; whether all is finite.
bool split_input(const ConvRun& run) {
  if (!splits(run.plan)) return true;
  const ConvProblem& p = run.plan.problem;
  const bool together = run.args.ldx == p.ic;
  const int64_t pixels = p.n * p.in_pixels();
  std::atomic<bool> finite{true};
  parallel_for(run.threads, pixels, std::max<int64_t>(1, 16384 / p.ic), [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const DenseSplit split{.a = static_cast<const float*>(run.args.x) + begin * run.args.ldx,
                           .type = p.a,
                           .m = together ? 1 : count,
                           .k = together ? count * p.ic : p.ic,
                           .m_stride = run.args.ldx,
                           .dst = run.image + dense_bias_bytes(p) + begin * p.ic * 2,
                           .stride = p.ic * 2,
                           .plane = input_plane(p),
                           .padded = together ? count * p.ic : p.ic};
    if (!run.plan.gemm.dense->split(split)) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load(std::memory_order_relaxed);
}

}  // namespace

DenseProduct dense_product(const ConvRun& run, int64_t k, int64_t line_k) noexcept {
  const ConvProblem& p = run.plan.problem;
  const DenseKernel& kernel = *run.plan.gemm.dense;
  DenseProduct g{&kernel, kernel.shape(p.oc, k), run.args.w};
  g.c = static_cast<std::byte*>(run.args.y);
  g.c_stride = run.args.ldy * static_cast<int64_t>(size_of(p.c));
  g.out = p.c;
  g.epilogue = run.args.epilogue;
  if (kernel.floats()) {
    g.k = line_k;
    g.finite = *kernel.column_sums(g.b, p.oc, k) == 0;
  } else {
    if (!p.centered_b) g.k = line_k;
    take_zero_off(g, k, p.a, run.args.x_zero, reinterpret_cast<int32_t*>(run.image));
  }
  return g;
}

size_t patches_image(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  const int64_t planes = splits(plan) ? plan.gemm.dense->planes * input_plane(p) : 0;
  return dense_bias_bytes(p) + static_cast<size_t>(planes);
}

size_t patches_scratch(const ConvPlan& plan) noexcept {
  const DenseKernel& kernel = *plan.gemm.dense;
  const int64_t steps = kernel.steps(plan.problem.taps() * plan.problem.ic);
  return align_up(static_cast<size_t>(dense_chunk(kernel, steps) * dense_stride(steps) * kernel.planes));
}

void run_patches(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const DenseKernel& kernel = *run.plan.gemm.dense;
  const int64_t k = p.taps() * p.ic, m = p.n * p.out_pixels();
  const bool finite = split_input(run);
  const Patches patches(run);
  DenseProduct g = dense_product(run, dense_depth(kernel, k, p.centered_b), k);
  g.finite &= finite;
  g.a_plane = patches.plane;
  const Grid grid = dense_grid(kernel, m, p.oc, k, run.threads);
  const int64_t chunk = dense_chunk(kernel, patches.steps);
  parallel_for(run.threads, grid.blocks(), 1, [&](int64_t begin, int64_t end) {
    std::byte* const scratch = run.scratch();
    patches.clear(scratch, std::min(chunk, m));
    for (int64_t i = begin; i < end; ++i) {
      const Block b = grid.block(i);
      for (int64_t row = b.m0; row < b.m1; row += chunk) {
        const int64_t last = std::min(b.m1, row + chunk);
        patches.copy(row, last, scratch);
        dense_block(g, scratch, patches.stride, row, last, b.p0, b.p1);
      }
    }
  });
}

}  // namespace skyline::kernels
