// Convolution of 8-bit integers on dense kernels, without patches: the image is copied once, with its
// padding, and tiles read their rows in it. At stride 1 output pixel p of the padded width reads its kernel
// lines at p pixels from theirs, so that a tile's rows are evenly spaced across line ends, too; what falls
// into the seam at the end of a line is computed and not stored. At other strides every line has tiles of its
// own.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/dense_run.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kTileRows = 32;  // at most
constexpr int64_t kMaxRows = 256;  // of a block that the kernel cuts into tiles

struct Lines {
  const ConvProblem& p;
  const DenseKernel& kernel;
  int64_t width, height;  // with padding
  bool seams;             // whether tiles go on from line to line
  int64_t line_rows;      // of the product, for each line of output
  int64_t rows;           // and for an image
  int64_t steps;          // of a line of the kernel
  // Bytes of a plane: between pixels, between lines of the kernel, and in all, with what a tile may read
  // behind the end.
  int64_t pixel, line_bytes, plane;
  int64_t image_bytes;

  Lines(const ConvProblem& p, const DenseKernel& kernel) : p(p), kernel(kernel) {
    width = p.in[2] + p.pad_begin[2] + p.pad_end[2];
    height = p.in[1] + p.pad_begin[1] + p.pad_end[1];
    seams = p.stride[1] == 1 && p.stride[2] == 1;
    const int64_t block = kernel.row_block;
    line_rows = seams ? width : (p.out(2) + block - 1) / block * block;
    rows = (p.out(1) - 1) * line_rows + (seams ? p.out(2) : line_rows);
    steps = kernel.steps(p.kernel[2] * p.ic);
    pixel = p.ic * kernel.element();
    line_bytes = p.dilation[1] * width * pixel;
    plane = std::max(read(), used());
    plane = static_cast<int64_t>(align_up(static_cast<size_t>(plane)));
    image_bytes = kernel.planes * plane;
  }
  int64_t used() const { return height * width * pixel; }

 private:
  // What is behind where the last tile begins.
  int64_t read() const {
    const int64_t last = seams ? rows : (p.out(1) - 1) * p.stride[1] * width + p.out(2) * p.stride[2];
    return (last + kTileRows * p.stride[2]) * pixel + (p.kernel[1] - 1) * line_bytes + steps * 4;
  }
};

// Line y of the padded image. False if a float is not finite.
bool copy_line(const ConvRun& run, const Lines& l, int64_t image, int64_t y, std::byte* to) {
  const ConvProblem& p = run.plan.problem;
  const int64_t in_y = y - p.pad_begin[1], ldx = run.args.ldx, width = p.in[2];
  const bool flip = l.kernel.shift(p.a) != 0;
  const int padding = (run.args.x_zero + l.kernel.shift(p.a)) & 0xff;
  const auto fill = [&](int64_t pixels) {
    for (int64_t q = 0; q < l.kernel.planes; ++q)
      std::memset(to + q * l.plane, padding, static_cast<size_t>(pixels * l.pixel));
    to += pixels * l.pixel;
  };
  if (in_y < 0 || in_y >= p.in[1]) {
    fill(l.width);
    return true;
  }
  const auto size = static_cast<int64_t>(size_of(p.a));
  auto* from =
      static_cast<const std::byte*>(run.args.x) + (image * p.in_pixels() + in_y * width) * ldx * size;
  bool finite = true;
  fill(p.pad_begin[2]);
  const bool together = ldx == p.ic;
  const int64_t m = together ? 1 : width, k = together ? width * p.ic : p.ic;
  if (l.kernel.floats()) {
    finite = l.kernel.split({.a = from,
                             .type = p.a,
                             .m = m,
                             .k = k,
                             .m_stride = ldx,
                             .dst = to,
                             .stride = l.pixel,
                             .plane = l.plane,
                             .padded = k});
  } else {
    for (int64_t i = 0; i < m; ++i) std::memcpy(to + i * k, from + i * ldx, static_cast<size_t>(k));
  }
  for (std::byte* b = to; flip && b < to + width * l.pixel; ++b) *b ^= std::byte{0x80};
  to += width * l.pixel;
  fill(p.pad_end[2]);
  return finite;
}

// Where each of `count` rows from row x of line y on goes, or -1 in the seams.
void set_offsets(const Lines& l, int64_t c_stride, int64_t y, int64_t x, int64_t count, int64_t* offsets) {
  const int64_t ow = l.p.out(2);
  for (int64_t i = 0; i < count; ++i) {
    offsets[i] = x < ow ? (y * ow + x) * c_stride : -1;
    if (++x == l.line_rows) {
      x = 0;
      ++y;
    }
  }
}

// Rows [m0, m1) of one image by panels [p0, p1).
void run_rows(const Lines& l, const DenseProduct& g, const std::byte* image, const Block& b) {
  const ConvProblem& p = l.p;
  int64_t offsets[kMaxRows];
  DenseTile t;
  t.steps = l.steps;
  t.lines = p.kernel[1];
  t.line_stride = l.line_bytes;
  t.a_stride = l.pixel * p.stride[2];
  t.a_plane = l.plane;
  t.k = g.k;
  t.finite = g.finite;
  t.c_stride = g.c_stride;
  t.c_offsets = offsets;
  t.out = g.out;
  const int64_t col = b.p0 * g.shape.nr, most = kMaxRows / l.kernel.mr * l.kernel.mr;
  t.n = std::min(b.p1 * g.shape.nr, g.shape.n) - col;
  t.b = g.b + g.shape.offset(b.p0);
  t.c = g.c + col * static_cast<int64_t>(size_of(g.out));
  t.epilogue = moved(g.epilogue, 0, col);
  for (int64_t row = b.m0, next = row; row < b.m1; row = next) {
    const int64_t y = row / l.line_rows, x = row % l.line_rows;
    next = std::min(b.m1, row + most);
    if (!l.seams) next = std::min(next, (y + 1) * l.line_rows);
    t.m = l.seams ? next - row : std::min(next - row, p.out(2) - x);
    t.a = image + (y * p.stride[1] * l.width + x * p.stride[2]) * l.pixel;
    set_offsets(l, g.c_stride, y, x, t.m, offsets);
    t.cold = row == b.m0;
    l.kernel.run(t);
  }
}

// The same, as many panels at a time as share L2 with the rows.
void run_block(const Lines& l, const DenseProduct& g, const std::byte* image, const Block& b) {
  const int64_t panel = std::max<int64_t>(1, g.shape.steps * l.kernel.nr * 4);
  const int64_t group = std::max<int64_t>(1, l2_bytes() / 2 / panel);
  for (int64_t p0 = b.p0; p0 < b.p1; p0 += group)
    run_rows(l, g, image, {b.m0, b.m1, p0, std::min(b.p1, p0 + group)});
}

}  // namespace

std::string_view refusal_lines(const ConvProblem& p) noexcept {
  if (p.in[0] != 1 || p.kernel[0] != 1) return "is not two-dimensional";
  if (p.dilation[2] != 1) return "dilation along the lines";
  for (int64_t pad : {p.pad_begin[1], p.pad_begin[2], p.pad_end[1], p.pad_end[2]}) {
    if (pad < 0) return "has negative padding";
  }
  return {};
}

// Cycles on a Xeon with AMX (model 143): 64 for 64 values of K by a tile of 32 rows by 32 columns, 45 if it
// has 16 rows, a quarter more where rows of bytes do not begin with cache lines; copying costs 10 a run and
// one for 6 bytes, or 3 for up to 32 bytes: lines of the image once, or for each patch what each line of the
// kernel meets.
bool lines_pay(const ConvProblem& p, const DenseKernel& kernel) noexcept {
  if (p.taps() == 1 || p.ic * p.stride[2] * kernel.element() % 2048 == 0 || p.out(1) <= 0 || p.out(2) <= 0)
    return false;
  const Lines l(p, kernel);
  const int64_t panels = (p.oc + 31) / 32;
  const auto products = [&](int64_t rows, int64_t steps) {
    const int64_t whole = rows / kernel.mr, rest = rows % kernel.mr;
    const int64_t cycles = whole * 64 + (rest == 0 ? 0 : rest > kernel.mr / 2 ? 64 : 45);
    return cycles * panels * ((steps + 15) / 16) * kernel.planes * (kernel.planes + 1) / 2;
  };
  const auto copies = [&](int64_t runs, int64_t values) {
    const int64_t bytes = values * kernel.element();
    return runs * kernel.planes * (bytes <= 32 ? 3 : 10 + bytes / 6);
  };
  const int64_t steps = p.kernel[1] * l.steps,
                aligned = l.seams ? products(l.rows, steps) : p.out(1) * products(l.line_rows, steps);
  const bool crosses = !kernel.floats() && l.pixel * p.stride[2] % 64 != 0;
  const int64_t mine = crosses ? aligned + aligned / 4 : aligned;
  const int64_t patches = products(p.out_pixels(), kernel.steps(p.taps() * p.ic)) +
                          copies(p.out_pixels() * p.kernel[1], p.kernel[2] * p.ic);
  return mine + copies(l.height, l.width * p.ic) <= patches;
}

DenseRuns lines_runs(const ConvProblem& p) noexcept {
  return {.lines = p.kernel[1], .runs = p.kernel[2], .k = p.ic, .line_stride = p.kernel[2], .run_stride = 1};
}

size_t lines_image(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  return dense_bias_bytes(p) + static_cast<size_t>(p.n * Lines(p, *plan.gemm.dense).image_bytes);
}

void run_lines(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const DenseKernel& kernel = *run.plan.gemm.dense;
  const Lines l(p, kernel);
  const int64_t k = lines_runs(p).padded(kernel);
  std::byte* const images = run.image + dense_bias_bytes(p);
  const int64_t grain = std::max<int64_t>(1, (64 << 10) / (l.width * l.pixel * kernel.planes + 1));
  std::atomic<bool> finite{true};
  parallel_for(run.threads, p.n * l.height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / l.height, y = i % l.height;
      std::byte* const to = images + image * l.image_bytes;
      if (!copy_line(run, l, image, y, to + y * l.width * l.pixel))
        finite.store(false, std::memory_order_relaxed);
      if (!kernel.floats() || y + 1 < l.height) continue;
      for (int64_t q = 0; q < kernel.planes; ++q)  // read behind the end: zeros make no NaN
        std::memset(to + q * l.plane + l.used(), 0, static_cast<size_t>(l.plane - l.used()));
    }
  });
  DenseProduct g = dense_product(run, k, p.kernel[2] * p.ic);
  g.finite &= finite.load(std::memory_order_relaxed);
  const auto share = static_cast<int>(std::min<int64_t>((run.threads + p.n - 1) / p.n, run.threads));
  const Grid grid = dense_grid(kernel, l.rows, p.oc, k, share);
  parallel_for(run.threads, p.n * grid.blocks(), 1, [&](int64_t begin, int64_t end) {
    if (kernel.enter) kernel.enter();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / grid.blocks(), row = image * p.out_pixels();
      DenseProduct mine = g;
      mine.c += row * g.c_stride;
      mine.epilogue = moved(g.epilogue, row, 0);
      run_block(l, mine, images + image * l.image_bytes, grid.block(i % grid.blocks()));
    }
    if (kernel.leave) kernel.leave();
  });
}

}  // namespace skyline::kernels
