// Convolution of 8-bit integers on dense kernels, without patches: the image is copied once, with its
// padding, and tiles read their rows in it. At stride 1 output pixel p of the padded width reads its kernel
// lines at p pixels from theirs, so that a tile's rows are evenly spaced across line ends, too; what falls
// into the seam at the end of a line is computed and not stored. At other strides every line has tiles of its
// own.
#include <algorithm>
#include <cstring>

#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/dense_run.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kMaxRows = 32;  // of a tile

struct Lines {
  const ConvProblem& p;
  const DenseKernel& kernel;
  int64_t width, height;  // with padding
  bool seams;             // whether tiles go on from line to line
  int64_t line_rows;      // of the product, for each line of output
  int64_t rows;           // and for an image
  int64_t steps;          // of a line of the kernel
  int64_t line_bytes;     // between lines of the kernel
  int64_t image_bytes;    // with what a tile may read behind the end

  Lines(const ConvProblem& p, const DenseKernel& kernel) : p(p), kernel(kernel) {
    width = p.in[2] + p.pad_begin[2] + p.pad_end[2];
    height = p.in[1] + p.pad_begin[1] + p.pad_end[1];
    seams = p.stride[1] == 1 && p.stride[2] == 1;
    const int64_t block = kernel.row_block;
    line_rows = seams ? width : (p.out(2) + block - 1) / block * block;
    rows = (p.out(1) - 1) * line_rows + (seams ? p.out(2) : line_rows);
    steps = kernel.steps(p.kernel[2] * p.ic);
    line_bytes = p.dilation[1] * width * p.ic;
    // Where a last tile begins, and what it reads from there.
    const int64_t last = seams ? rows : (p.out(1) - 1) * p.stride[1] * width + p.out(2) * p.stride[2];
    const int64_t read = (last + kMaxRows * p.stride[2]) * p.ic + (p.kernel[1] - 1) * line_bytes + steps * 4;
    image_bytes = static_cast<int64_t>(align_up(static_cast<size_t>(std::max(read, height * width * p.ic))));
  }
};

// Line y of the padded image.
void copy_line(const ConvRun& run, const Lines& l, int64_t image, int64_t y, std::byte* to) {
  const ConvProblem& p = run.plan.problem;
  const int64_t in_y = y - p.pad_begin[1], ic = p.ic, ldx = run.args.ldx;
  std::byte* const whole = to;
  const auto fill = [&](int64_t pixels) {
    std::memset(to, run.args.x_zero, static_cast<size_t>(pixels * ic));
    to += pixels * ic;
  };
  if (in_y < 0 || in_y >= p.in[1]) {
    fill(l.width);
  } else {
    auto* from = static_cast<const std::byte*>(run.args.x) + (image * p.in_pixels() + in_y * p.in[2]) * ldx;
    fill(p.pad_begin[2]);
    if (ldx == ic) {
      std::memcpy(to, from, static_cast<size_t>(p.in[2] * ic));
      to += p.in[2] * ic;
    } else {
      for (int64_t x = 0; x < p.in[2]; ++x, to += ic)
        std::memcpy(to, from + x * ldx, static_cast<size_t>(ic));
    }
    fill(p.pad_end[2]);
  }
  if (p.a == DType::i8 && l.kernel.in == DType::u8) {
    for (std::byte* b = whole; b < to; ++b) *b ^= std::byte{0x80};
  }
}

// Rows [m0, m1) of one image by panels [p0, p1).
void run_rows(const Lines& l, const DenseProduct& g, const std::byte* image, const Block& b) {
  const ConvProblem& p = l.p;
  const int64_t ow = p.out(2), lines = p.kernel[1];
  const auto out_size = static_cast<int64_t>(size_of(g.out));
  int64_t offsets[kMaxRows];
  DenseTile t;
  t.steps = l.steps;
  t.lines = lines;
  t.line_stride = l.line_bytes;
  t.a_stride = p.ic * p.stride[2];
  t.c_offsets = offsets;
  t.out = g.out;
  for (int64_t row = b.m0, next = row; row < b.m1; row = next) {
    int64_t y = row / l.line_rows, x = row % l.line_rows;
    next = std::min(b.m1, row + l.kernel.mr);
    if (!l.seams) next = std::min(next, (y + 1) * l.line_rows);
    t.m = l.seams ? next - row : std::min(next - row, ow - x);
    t.a = image + (y * p.stride[1] * l.width + x * p.stride[2]) * p.ic;
    for (int64_t i = 0; i < t.m; ++i) {
      offsets[i] = x < ow ? (y * ow + x) * g.c_stride : -1;
      if (++x == l.line_rows) {
        x = 0;
        ++y;
      }
    }
    for (int64_t panel = b.p0; panel < b.p1; ++panel) {
      const int64_t col = panel * g.shape.nr;
      t.n = std::min<int64_t>(g.shape.nr, g.shape.n - col);
      t.b = g.b + g.shape.offset(panel);
      t.epilogue = moved(g.epilogue, 0, col);
      t.c = g.c + col * out_size;
      l.kernel.run(t);
    }
  }
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
// has 16 rows; copying costs 10 a run and one for 6 bytes: lines of the image once, or for each patch what
// each line of the kernel meets.
bool lines_pay(const ConvProblem& p, const DenseKernel& kernel) noexcept {
  if (p.taps() == 1 || p.ic * p.stride[2] % 2048 == 0 || p.out(1) <= 0 || p.out(2) <= 0) return false;
  const Lines l(p, kernel);
  const int64_t panels = (p.oc + 31) / 32;
  const auto products = [&](int64_t rows, int64_t steps) {
    const int64_t whole = rows / kernel.mr, rest = rows % kernel.mr;
    const int64_t cycles = whole * 64 + (rest == 0 ? 0 : rest > kernel.mr / 2 ? 64 : 45);
    return cycles * panels * ((steps + 15) / 16);
  };
  const auto copies = [](int64_t runs, int64_t bytes) { return runs * (10 + bytes / 6); };
  const int64_t steps = p.kernel[1] * l.steps,
                mine = l.seams ? products(l.rows, steps) : p.out(1) * products(l.line_rows, steps);
  const int64_t patches = products(p.out_pixels(), kernel.steps(p.taps() * p.ic)) +
                          copies(p.out_pixels() * p.kernel[1], p.kernel[2] * p.ic);
  return mine + copies(l.height, l.width * p.ic) <= patches;
}

DenseRuns lines_runs(const ConvProblem& p) noexcept {
  return {.lines = p.kernel[1], .runs = p.kernel[2], .k = p.ic, .line_stride = p.kernel[2], .run_stride = 1};
}

size_t lines_image(const ConvPlan& plan) noexcept {
  const ConvProblem& p = plan.problem;
  return align_up(static_cast<size_t>(p.oc * 4)) +
         static_cast<size_t>(p.n * Lines(p, *plan.gemm.dense).image_bytes);
}

void run_lines(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const DenseKernel& kernel = *run.plan.gemm.dense;
  const Lines l(p, kernel);
  const int64_t k = lines_runs(p).padded(kernel);
  std::byte* const images = run.image + align_up(static_cast<size_t>(p.oc * 4));
  const int64_t grain = std::max<int64_t>(1, (64 << 10) / (l.width * p.ic + 1));
  parallel_for(run.threads, p.n * l.height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / l.height, y = i % l.height;
      copy_line(run, l, image, y, images + image * l.image_bytes + y * l.width * p.ic);
    }
  });
  const DenseProduct g = dense_product(run, k);
  const auto share = static_cast<int>(std::min<int64_t>((run.threads + p.n - 1) / p.n, run.threads));
  const Grid grid = dense_grid(kernel, l.rows, p.oc, k, share);
  parallel_for(run.threads, p.n * grid.blocks(), 1, [&](int64_t begin, int64_t end) {
    if (kernel.enter) kernel.enter();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / grid.blocks();
      DenseProduct mine = g;
      mine.c += image * p.out_pixels() * g.c_stride;
      run_rows(l, mine, images + image * l.image_bytes, grid.block(i % grid.blocks()));
    }
    if (kernel.leave) kernel.leave();
  });
}

}  // namespace skyline::kernels
