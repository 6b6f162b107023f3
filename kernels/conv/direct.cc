// Direct convolution over whole images: blocks of output lines, the lines of input that they meet (copied
// with their padding, where there is any), and the split over threads.
#include "kernels/conv/direct.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

// A block's copied lines stay in L2 beside a panel of weights.
constexpr int64_t kBlockBytes = 192 << 10;
constexpr int64_t kBlockPointers = 4096;
// As in make_grid of gemm: what waking a thread of the pool costs in multiply-adds.
constexpr double kWorthAThread = 1e6;

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

// How the lines of a problem lie in memory, and how many make a block. In floats, lines and pixels.
struct Geometry {
  int64_t lines;           // of input per output line
  int64_t first, columns;  // input columns [first, first + columns) are read
  bool copies;             // some of them are padding
  int64_t pixel;           // floats between pixels as the kernel reads them
  int64_t slot;            // floats of a copied line
  int64_t rows;            // output lines per block
  int64_t in_rows;         // input lines of a block, per plane
  int64_t planes;          // kernel depth, times channels of planar input
};

Geometry geometry(const ConvProblem& p, int64_t ldx) {
  Geometry g;
  g.planes = p.kernel[0] * (p.planar ? p.ic : 1);
  g.lines = g.planes * p.kernel[1];
  g.first = -p.pad_begin[2];
  g.columns = (p.out(2) - 1) * p.stride[2] + (p.kernel[2] - 1) * p.dilation[2] + 1;
  g.copies = g.first < 0 || g.first + g.columns > p.in[2];
  g.pixel = p.planar ? 1 : g.copies ? p.ic : ldx;
  g.slot = static_cast<int64_t>(align_up(to_size(g.columns * g.pixel * 4)) / 4);
  const auto in_rows = [&](int64_t rows) {
    return std::min(p.in[1], (rows - 1) * p.stride[1] + (p.kernel[1] - 1) * p.dilation[1] + 1);
  };
  g.rows = std::clamp<int64_t>(kBlockPointers / g.lines, 1, p.out(1));
  if (g.copies) {
    const int64_t fit = kBlockBytes / (g.slot * 4 * g.planes) - (p.kernel[1] - 1) * p.dilation[1];
    g.rows = std::clamp<int64_t>(fit / p.stride[1], 1, g.rows);
  }
  g.in_rows = in_rows(g.rows);
  return g;
}

// A few zeros, without the call that memset is.
void clear(float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    to[i] = 0.0f;
    asm volatile("" ::: "memory");
  }
}

// Where pixels are by themselves (1x1), one line of them all gives the largest tiles.
ConvProblem in_lines(const ConvProblem& p) {
  constexpr Dims3 kOne = {1, 1, 1}, kNone = {0, 0, 0};
  ConvProblem q = p;
  if (!p.planar && p.kernel == kOne && p.stride == kOne && p.pad_begin == kNone && p.pad_end == kNone)
    q.in = {1, 1, p.in_pixels()};
  return q;
}

struct Direct {
  const ConvRun& run;
  const ConvProblem& p;
  Geometry g;
  const float** pointers;  // [output line of the block][line]
  float* slots;            // [plane][input line of the block]

  const float* source(int64_t image, int64_t channel, int64_t z, int64_t y) const {
    const auto* x = static_cast<const float*>(run.args.x);
    const int64_t line = z * p.in[1] + y;
    if (p.planar) return x + ((image * p.ic + channel) * p.in[0] * p.in[1] + line) * p.in[2];
    return x + (image * p.in[0] * p.in[1] + line) * p.in[2] * run.args.ldx;
  }

  void copy_line(float* to, const float* from) const {
    const int64_t width = g.pixel, ldx = p.planar ? 1 : run.args.ldx;
    const int64_t begin = std::clamp<int64_t>(-g.first, 0, g.columns);
    const int64_t end = std::clamp<int64_t>(p.in[2] - g.first, begin, g.columns);
    clear(to, begin * width);
    const float* x = from + (begin + g.first) * ldx;
    if (ldx == width) {
      std::memcpy(to + begin * width, x, to_size((end - begin) * width * 4));
    } else {
      for (int64_t i = begin; i < end; ++i, x += ldx) std::memcpy(to + i * width, x, to_size(width * 4));
    }
    clear(to + end * width, (g.columns - end) * width);
  }

  // Pointers for output lines [y0, y1) of one image and depth, and the copies behind them.
  void prepare(int64_t image, int64_t oz, int64_t y0, int64_t y1) const {
    const int64_t kd = p.kernel[0], kh = p.kernel[1], channels = g.planes / kd;
    const int64_t in0 = std::max<int64_t>(0, y0 * p.stride[1] - p.pad_begin[1]);
    const int64_t in1 =
        std::min(p.in[1], (y1 - 1) * p.stride[1] - p.pad_begin[1] + (kh - 1) * p.dilation[1] + 1);
    for (int64_t plane = 0; plane < g.planes; ++plane) {
      const int64_t channel = plane / kd, kz = plane % kd;
      const int64_t z = oz * p.stride[0] - p.pad_begin[0] + kz * p.dilation[0];
      const bool outside = z < 0 || z >= p.in[0];
      if (g.copies && !outside) {
        for (int64_t y = in0; y < in1; ++y)
          copy_line(slots + (plane * g.in_rows + y - in0) * g.slot, source(image, channel % channels, z, y));
      }
      for (int64_t oy = y0; oy < y1; ++oy) {
        const float** to = pointers + (oy - y0) * g.lines + plane * kh;
        for (int64_t ky = 0; ky < kh; ++ky) {
          const int64_t y = oy * p.stride[1] - p.pad_begin[1] + ky * p.dilation[1];
          if (outside || y < 0 || y >= p.in[1]) {
            to[ky] = nullptr;
          } else if (g.copies) {
            to[ky] = slots + (plane * g.in_rows + y - in0) * g.slot;
          } else {
            to[ky] = source(image, channel, z, y) + g.first * g.pixel;
          }
        }
      }
    }
  }

  DirectLine line() const {
    const int64_t icg = p.planar ? 1 : p.ic / p.groups;
    DirectLine d;
    d.lines = g.lines;
    d.taps = p.kernel[2];
    d.steps = icg;
    d.tap_step = p.dilation[2] * g.pixel;
    if (!run.plan.direct->window && d.tap_step == icg) {  // taps lie side by side
      d.steps *= d.taps;
      d.taps = 1;
    }
    d.pixel = p.stride[2] * g.pixel;
    d.ldy = run.args.ldy;
    d.pixels = p.out(2);
    return d;
  }

  // Output lines [l0, l1), counted over images and depths, by panels [q0, q1), counted over groups.
  void share(int64_t l0, int64_t l1, int64_t q0, int64_t q1) const {
    const DirectKernel& kernel = *run.plan.direct;
    const int64_t icg = p.ic / p.groups, ocg = p.oc / p.groups, oh = p.out(1), od = p.out(0), ow = p.out(2);
    const int64_t panels = (ocg + kernel.nr - 1) / kernel.nr;
    DirectLine d = line();
    const PanelShape shape{ocg, d.lines * d.taps * d.steps, kernel.nr, kernel.lanes, 1};
    const auto group_bytes = static_cast<int64_t>(align_up(to_size(shape.bytes())));
    for (int64_t l = l0; l < l1;) {
      const int64_t y0 = l % oh, rows = std::min({g.rows, l1 - l, oh - y0});
      prepare(l / oh / od, l / oh % od, y0, y0 + rows);
      for (int64_t q = q0; q < q1; ++q) {
        const int64_t group = q / panels, panel = q % panels, col = group * ocg + panel * kernel.nr;
        d.w = reinterpret_cast<const float*>(run.args.w + group * group_bytes + shape.offset(panel));
        d.n = std::min<int64_t>(kernel.nr, ocg - panel * kernel.nr);
        d.x_offset = group * icg;
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t pixel = (l + i) * ow;
          d.x = pointers + i * g.lines;
          d.y = static_cast<float*>(run.args.y) + pixel * d.ldy + col;
          d.epilogue = moved(run.args.epilogue, pixel, col);
          kernel.run(d);
        }
      }
      l += rows;
    }
  }
};

size_t pointer_bytes(const Geometry& g) {
  return align_up(to_size(g.rows * g.lines) * sizeof(void*));
}

}  // namespace

size_t direct_scratch(const ConvProblem& problem) noexcept {
  const ConvProblem p = in_lines(problem);
  const Geometry g = geometry(p, p.ic);
  return pointer_bytes(g) + (g.copies ? to_size(g.planes * g.in_rows * g.slot * 4) : 0);
}

void run_direct(const ConvRun& run) noexcept {
  const ConvProblem p = in_lines(run.plan.problem);
  const Geometry g = geometry(p, run.args.ldx);
  const int64_t ocg = p.oc / p.groups, nr = run.plan.direct->nr;
  const int64_t lines = p.n * p.out(0) * p.out(1), panels = p.groups * ((ocg + nr - 1) / nr);
  const int64_t products = p.taps() * (p.ic / p.groups);  // per output
  const double work =
      static_cast<double>(lines * p.out(2)) * static_cast<double>(p.oc) * static_cast<double>(products);
  const auto usable = static_cast<int64_t>(std::min<double>(run.threads, work / kWorthAThread + 1));
  // The split that leaves the largest share smallest; lines if both are alike: they share no copies.
  const auto waste = [&](int64_t n) {
    const int64_t shares = (n + usable - 1) / usable;
    return static_cast<double>(shares * usable) / static_cast<double>(n);
  };
  const bool by_lines = waste(lines) <= waste(panels) * 1.02;
  const int64_t n = by_lines ? lines : panels;
  const int64_t parts = std::min(usable, n);
  parallel_for(run.threads, parts, 1, [&](int64_t begin, int64_t end) {
    auto** const pointers = reinterpret_cast<const float**>(run.scratch());
    auto* const slots = reinterpret_cast<float*>(run.scratch() + pointer_bytes(g));
    const Direct direct{run, p, g, pointers, slots};
    const int64_t from = n * begin / parts, to = n * end / parts;
    if (by_lines) {
      direct.share(from, to, 0, panels);
    } else {
      direct.share(0, lines, from, to);
    }
  });
}

}  // namespace skyline::kernels
