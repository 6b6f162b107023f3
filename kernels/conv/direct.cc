// Direct convolution over whole images: blocks of output lines, the lines of input that they meet (copied
// with their padding, where there is any), and the split over threads.
#include "kernels/conv/direct.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/cpu.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

// A block's copied lines stay in L2 beside a panel of weights.
constexpr int64_t kBlockBytes = 192 << 10;
constexpr int64_t kBlockPointers = 4096;
constexpr double kWorthAPart = 2e6;
constexpr int64_t kMostParts = 4;  // for each thread
constexpr int64_t kLeastLines = 4;
constexpr int64_t kFlatTile = 6;  // pixels

// Several parts for each thread, so that one which is slowed down leaves some to others.
int64_t cuts_of(double work, int64_t threads) {
  return static_cast<int64_t>(
      std::clamp(work / static_cast<double>(threads) / kWorthAPart, 1.0, static_cast<double>(kMostParts)));
}

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

// Pixels that many floats apart would share sets of L1: tiles read more of them at a time than a set has
// ways.
int64_t apart(int64_t channels) {
  return channels % 256 == 0 ? channels + 16 : channels;
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
  g.pixel = p.planar ? 1 : g.copies ? apart(p.ic) : ldx;
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

// Where pixels are by themselves (1x1), lines are of no matter.
bool is_flat(const ConvProblem& p) {
  constexpr Dims3 kOne = {1, 1, 1}, kNone = {0, 0, 0};
  return !p.planar && p.kernel == kOne && p.pad_begin == kNone && p.pad_end == kNone;
}
bool has_stride(const ConvProblem& p) {
  return p.stride != Dims3{1, 1, 1};
}
// Whether pixels are copied to where they lie side by side, for a stride's sake or that of their distances.
constexpr int64_t kManyPixels = 64;  // copying more costs what it saves
bool is_gathered(const ConvProblem& p) {
  return has_stride(p) || (p.ic % 1024 == 0 && p.n * p.out_pixels() < kManyPixels);
}

// Pixels of a flat problem at a time. Weights that fit into L2 are read again for every block of pixels,
// which stays in L1; others once for as many pixels as fit into L2.
constexpr int64_t kFlatLeast = 24;  // whole tiles
int64_t flat_block(const ConvProblem& p, bool far_weights) {
  const int64_t fit = (far_weights ? l2_bytes() : cpu_info().l1d) / 2 / (p.ic / p.groups * 4);
  return std::max(fit / kFlatLeast * kFlatLeast, kFlatLeast);
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
    if (p.planar) return x + (image * p.ic + channel) * run.args.ldx + line * p.in[2];
    return x + (image * p.in[0] * p.in[1] + line) * p.in[2] * run.args.ldx;
  }

  void copy_line(float* to, const float* from) const {
    const int64_t width = p.planar ? 1 : p.ic, ldx = p.planar ? 1 : run.args.ldx;
    const int64_t begin = std::clamp<int64_t>(-g.first, 0, g.columns);
    const int64_t end = std::clamp<int64_t>(p.in[2] - g.first, begin, g.columns);
    clear(to, begin * g.pixel);
    const float* x = from + (begin + g.first) * ldx;
    if (ldx == width && g.pixel == width) {
      std::memcpy(to + begin * width, x, to_size((end - begin) * width * 4));
    } else {
      for (int64_t i = begin; i < end; ++i, x += ldx) std::memcpy(to + i * g.pixel, x, to_size(width * 4));
    }
    clear(to + end * g.pixel, (g.columns - end) * g.pixel);
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
    d.epilogue = run.args.epilogue;
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
    const bool far = group_bytes > l2_bytes() / 2;
    d.far_y = true;
    for (int64_t l = l0; l < l1;) {
      const int64_t y0 = l % oh, rows = std::min({g.rows, l1 - l, oh - y0});
      prepare(l / oh / od, l / oh % od, y0, y0 + rows);
      for (int64_t q = q0; q < q1; ++q) {
        const int64_t group = q / panels, panel = q % panels, col = group * ocg + panel * kernel.nr;
        d.w = reinterpret_cast<const float*>(run.args.w + group * group_bytes + shape.offset(panel));
        d.n = std::min<int64_t>(kernel.nr, ocg - panel * kernel.nr);
        d.x_offset = group * icg;
        const int64_t next = panel + 1 < panels && q + 1 < q1 ? panel + 1 : panel;
        d.fetch_bytes = far && next > panel ? shape.stride(next) * shape.steps / rows : 0;
        for (int64_t i = 0; i < rows; ++i) {
          d.fetch = d.fetch_bytes > 0
                        ? run.args.w + group * group_bytes + shape.offset(next) + d.fetch_bytes * i
                        : nullptr;
          const int64_t pixel = (l + i) * ow;
          d.x = pointers + i * g.lines;
          d.y = static_cast<float*>(run.args.y) + pixel * d.ldy + col;
          move_to(run.args.epilogue, pixel, col, d.epilogue);
          kernel.run(d);
        }
      }
      l += rows;
    }
  }
};

// Pixels [m0, m1) by panels [q0, q1), counted over groups, of a flat problem.
struct Flat {
  const ConvRun& run;
  PanelShape shape;  // of a group
  int64_t group_bytes;

  Flat(const ConvRun& run, const DirectKernel& kernel)
      : run(run),
        shape{run.plan.problem.oc / run.plan.problem.groups, run.plan.problem.ic / run.plan.problem.groups,
              kernel.nr, kernel.lanes, 1},
        group_bytes(static_cast<int64_t>(align_up(to_size(shape.bytes())))) {}

  int64_t panels() const { return run.plan.problem.groups * shape.panels(); }
  const std::byte* weights(int64_t q) const {
    return run.args.w + q / shape.panels() * group_bytes + shape.offset(q % shape.panels());
  }

  void share(int64_t m0, int64_t m1, int64_t q0, int64_t q1) const {
    const DirectKernel& kernel = *run.plan.direct;
    const ConvProblem& p = run.plan.problem;
    const bool far = weights(q1) - weights(q0) > l2_bytes() / 2, copied = is_gathered(p);
    const bool far_x = !copied && (m1 - m0) * run.args.ldx * 4 > l2_bytes() / 2;
    const int64_t block = flat_block(p, far);
    auto* const gathered = reinterpret_cast<float*>(run.scratch());
    const float* x = nullptr;
    DirectLine d;
    d.x = &x;
    d.lines = 1;
    d.steps = shape.steps;
    d.pixel = copied ? apart(p.ic) : run.args.ldx;
    d.ldy = run.args.ldy;
    d.epilogue = run.args.epilogue;
    // What a fetch in vain costs is a load: 7 % of a sum of 64 channels on a Xeon with AVX-512.
    d.far_y = weights(q1) - weights(q0) + (m1 - m0) * (run.args.ldx + run.args.ldy) * 4 > 2 * l2_bytes();
    for (int64_t m = m0; m < m1; m += d.pixels) {
      d.pixels = std::min(block, m1 - m);
      if (copied) gather(m, d.pixels, gathered);
      x = copied ? gathered : static_cast<const float*>(run.args.x) + m * d.pixel;
      for (int64_t q = q0; q < q1; ++q) {
        const int64_t group = q / shape.panels(), panel = q % shape.panels();
        const int64_t col = group * shape.n + panel * shape.nr;
        d.x_offset = group * shape.steps;
        d.w = reinterpret_cast<const float*>(weights(q));
        d.n = std::min<int64_t>(shape.nr, shape.n - panel * shape.nr);
        d.fetch = nullptr;
        // Weights are far at first, too, and the part after this one is likely to be this thread's.
        if ((far || m == m0) && q + 1 < panels()) {
          d.fetch = weights(q + 1);
          d.fetch_bytes = shape.stride((q + 1) % shape.panels()) * shape.steps;
        } else if (!far && far_x && m + block < m1) {  // its share of the next block
          d.fetch_bytes = block * d.pixel * 4 / (q1 - q0);
          d.fetch = reinterpret_cast<const std::byte*>(x + block * d.pixel) + d.fetch_bytes * (q - q0);
        }
        d.y = static_cast<float*>(run.args.y) + m * d.ldy + col;
        move_to(run.args.epilogue, m, col, d.epilogue);
        kernel.run(d);
      }
    }
  }

  // What output pixels [m, m + count) meet.
  void gather(int64_t m, int64_t count, float* to) const {
    const ConvProblem& p = run.plan.problem;
    const int64_t od = p.out(0), oh = p.out(1), ow = p.out(2);
    for (int64_t i = m; i < m + count; ++i, to += apart(p.ic)) {
      const int64_t line = i / ow, plane = line / oh;
      const int64_t z = plane / od * p.in[0] + plane % od * p.stride[0];
      const int64_t pixel = (z * p.in[1] + line % oh * p.stride[1]) * p.in[2] + i % ow * p.stride[2];
      std::memcpy(to, static_cast<const float*>(run.args.x) + pixel * run.args.ldx, to_size(p.ic * 4));
    }
  }
};

void run_flat(const ConvRun& run) {
  const ConvProblem& p = run.plan.problem;
  const Flat flat(run, *run.plan.direct);
  const int64_t pixels = p.n * p.out_pixels(), panels = flat.panels(), weights = p.oc * flat.shape.steps;
  const double work = static_cast<double>(pixels) * static_cast<double>(weights);
  const auto usable = static_cast<int64_t>(std::min<double>(run.threads, work / kWorthAThread + 1));
  // Split by panels, a thread reads fewer weights, but most of what other threads have made, and they what it
  // makes. That takes longer than to read from L3 (12 beside 20 GB/s on a 2-core Xeon), and is not fetched
  // ahead.
  const bool by_panels = panels % usable == 0 && weights > 2 * pixels * (p.oc + p.ic);
  const int64_t tiles = (pixels + kFlatTile - 1) / kFlatTile, n = by_panels ? panels : tiles;
  const int64_t parts = std::min(usable > 1 ? usable * cuts_of(work, usable) : 1, n);
  parallel_for(run.threads, parts, 1, [&](int64_t begin, int64_t end) {
    const int64_t from = n * begin / parts, to = n * end / parts;
    if (by_panels) {
      flat.share(0, pixels, from, to);
    } else {
      flat.share(from * kFlatTile, std::min(pixels, to * kFlatTile), 0, panels);
    }
  });
}

size_t pointer_bytes(const Geometry& g) {
  return align_up(to_size(g.rows * g.lines) * sizeof(void*));
}

}  // namespace

size_t direct_scratch(const ConvProblem& p) noexcept {
  if (is_flat(p)) {
    const int64_t most = std::max(flat_block(p, false), flat_block(p, true));
    return is_gathered(p) ? align_up(to_size(std::min(most, p.n * p.out_pixels()) * apart(p.ic) * 4)) : 0;
  }
  const Geometry g = geometry(p, p.ic);
  return pointer_bytes(g) + (g.copies ? to_size(g.planes * g.in_rows * g.slot * 4) : 0);
}

void run_direct(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  if (is_flat(p)) return run_flat(run);
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
  // Each part reads the weights again for each of its blocks.
  const bool near = p.oc * products * 4 <= l2_bytes() / 4;
  const int64_t least = near ? std::min(g.rows, kLeastLines) : g.rows;
  const int64_t cuts = by_lines ? std::clamp<int64_t>(lines / usable / least, 1, cuts_of(work, usable)) : 1;
  const int64_t parts = std::min(usable > 1 ? usable * cuts : 1, n);
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
