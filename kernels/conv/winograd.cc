// Winograd convolution over whole images: tiles of outputs, in blocks whose transforms stay in L2.
#include "kernels/conv/winograd.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kMostTiles = 96;

size_t to_size(int64_t n) {
  return static_cast<size_t>(n);
}

struct Shape {
  int64_t out, in, products;    // of a tile: outputs and inputs along an axis, products
  int64_t across, down, tiles;  // of an image, and in all
  int64_t block;                // tiles at a time
  bool far;                     // weights do not stay in L2
};
Shape shape_of(const ConvPlan& plan) {
  const ConvProblem& p = plan.problem;
  Shape s;
  s.out = plan.winograd->out;
  s.in = s.out + 2;
  s.products = plan.winograd->products();
  s.across = (p.out(2) + s.out - 1) / s.out;
  s.down = (p.out(1) + s.out - 1) / s.out;
  s.tiles = p.n * p.out(0) * s.across * s.down;
  s.far = s.products * p.ic * p.oc * 4 > l2_bytes() / 2;
  // Both transforms of a block, which each product reads and writes a part of. Where every block has to read
  // the weights from afar again, blocks may be larger.
  const int64_t bytes = s.far ? l2_bytes() : l2_bytes() / 2;
  const int64_t fit = bytes / (s.products * 4 * (p.ic + p.oc));
  s.block = std::min(s.tiles, std::clamp<int64_t>(fit / 6 * 6, 12, kMostTiles));
  return s;
}

struct Winograd {
  const ConvRun& run;
  const ConvProblem& p;
  Shape s;
  float *v, *m;      // [product][tile][channel]
  int64_t capacity;  // tiles

  struct Place {
    int64_t image, y, x;  // of its first output
  };
  Place place(int64_t tile) const {
    const int64_t each = s.across * s.down, at = tile % each;
    return {tile / each, at / s.across * s.out, at % s.across * s.out};
  }

  // Tiles [t0, t1) to v, from its tile `slot` on.
  void input(int64_t t0, int64_t t1, int64_t slot) const {
    const float* pixels[kWinogradMostProducts];
    const auto* zeros = reinterpret_cast<const float*>(run.plan.zeros.data());
    for (int64_t t = t0; t < t1; ++t, ++slot) {
      const Place at = place(t);
      const int64_t y0 = at.y - p.pad_begin[1], x0 = at.x - p.pad_begin[2];
      const auto* x = static_cast<const float*>(run.args.x) + at.image * p.in_pixels() * run.args.ldx;
      for (int64_t i = 0; i < s.in; ++i) {
        const bool outside = y0 + i < 0 || y0 + i >= p.in[1];
        for (int64_t j = 0; j < s.in; ++j) {
          const bool zero = outside || x0 + j < 0 || x0 + j >= p.in[2];
          pixels[i * s.in + j] = zero ? zeros : x + ((y0 + i) * p.in[2] + x0 + j) * run.args.ldx;
        }
      }
      run.plan.winograd->input({pixels, p.ic, v + slot * p.ic, capacity * p.ic});
    }
  }

  // Products [q0, q1) of the first `tiles` tiles.
  void multiply(int64_t tiles, int64_t q0, int64_t q1) const {
    const DirectKernel& kernel = *run.plan.direct;
    const PanelShape shape{p.oc, p.ic, kernel.nr, kernel.lanes, 1};
    const int64_t bytes = winograd_panel_bytes(run.plan);
    for (int64_t q = q0; q < q1; ++q) {
      const float* line = v + q * capacity * p.ic;
      DirectLine d;
      d.x = &line;
      d.lines = 1;
      d.steps = p.ic;
      d.pixel = p.ic;
      d.ldy = p.oc;
      d.pixels = tiles;
      for (int64_t panel = 0; panel < shape.panels(); ++panel) {
        d.w = reinterpret_cast<const float*>(run.args.w + q * bytes + shape.offset(panel));
        if (s.far) {  // the next panel, of this product or the next one
          const bool last = panel + 1 == shape.panels();
          d.fetch_bytes = shape.stride(last ? 0 : panel + 1) * p.ic;
          d.fetch = !last        ? run.args.w + q * bytes + shape.offset(panel + 1)
                    : q + 1 < q1 ? run.args.w + (q + 1) * bytes
                                 : nullptr;
        }
        d.n = std::min<int64_t>(kernel.nr, p.oc - panel * kernel.nr);
        d.y = m + q * capacity * p.oc + panel * kernel.nr;
        kernel.run(d);
      }
    }
  }

  void output(int64_t t0, int64_t t1, int64_t slot) const {
    const int64_t oh = p.out(1), ow = p.out(2);
    for (int64_t t = t0; t < t1; ++t, ++slot) {
      const Place at = place(t);
      const int64_t pixel = (at.image * oh + at.y) * ow + at.x;
      WinogradOutput out;
      out.m = m + slot * p.oc;
      out.m_stride = capacity * p.oc;
      out.c = p.oc;
      out.rows = std::min<int64_t>(s.out, oh - at.y);
      out.columns = std::min<int64_t>(s.out, ow - at.x);
      out.y = static_cast<float*>(run.args.y) + pixel * run.args.ldy;
      out.ldy = run.args.ldy;
      out.line_y = ow * run.args.ldy;
      out.line_r = ow * run.args.epilogue.ldr;
      out.epilogue = moved(run.args.epilogue, pixel, 0);
      run.plan.winograd->output(out);
    }
  }
};

size_t area(const ConvProblem& p, const Shape& s) {
  return align_up(to_size(s.products * s.block * p.ic * 4)) +
         align_up(to_size(s.products * s.block * p.oc * 4));
}
Winograd at(const ConvRun& run, const Shape& s, std::byte* memory) {
  const ConvProblem& p = run.plan.problem;
  auto* m = memory + align_up(to_size(s.products * s.block * p.ic * 4));
  return {run, p, s, reinterpret_cast<float*>(memory), reinterpret_cast<float*>(m), s.block};
}

}  // namespace

int64_t winograd_panel_bytes(const ConvPlan& plan) noexcept {
  const PanelShape shape{plan.problem.oc, plan.problem.ic, plan.direct->nr, plan.direct->lanes, 1};
  return static_cast<int64_t>(align_up(to_size(shape.bytes())));
}

size_t winograd_scratch(const ConvPlan& plan) noexcept {
  return area(plan.problem, shape_of(plan));
}

void run_winograd(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const Shape s = shape_of(run.plan);
  const double work = static_cast<double>(s.tiles * s.products) * static_cast<double>(p.ic * p.oc);
  const auto parts = static_cast<int64_t>(std::min<double>(run.threads, work / kWorthAThread + 1));
  if (s.tiles == s.block && parts > 1) {
    // One block: all share it, and each reads only its products' weights.
    const Winograd all = at(run, s, run.thread_area);
    const int threads = static_cast<int>(parts);
    parallel_for(threads, s.tiles, 1, [&](int64_t begin, int64_t end) { all.input(begin, end, begin); });
    parallel_for(threads, s.products, 1,
                 [&](int64_t begin, int64_t end) { all.multiply(s.tiles, begin, end); });
    parallel_for(threads, s.tiles, 1, [&](int64_t begin, int64_t end) { all.output(begin, end, begin); });
    return;
  }
  const int64_t each = (s.tiles + parts - 1) / parts, blocks = (each + s.block - 1) / s.block * parts;
  parallel_for(run.threads, blocks, 1, [&](int64_t begin, int64_t end) {
    const Winograd mine = at(run, s, run.scratch());
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = s.tiles * b / blocks, last = s.tiles * (b + 1) / blocks;
      mine.input(first, last, 0);
      mine.multiply(last - first, 0, s.products);
      mine.output(first, last, 0);
    }
  });
}

void pack_winograd(const ConvPlan& plan, const float* w, std::byte* packed) noexcept {
  const ConvProblem& p = plan.problem;
  const PanelShape shape{p.oc, p.ic, plan.direct->nr, plan.direct->lanes, 1};
  const int64_t bytes = winograd_panel_bytes(plan);
  constexpr double a = kWinogradNear, b = kWinogradFar, a2 = a * a, b2 = b * b;
  // Rows of G: 1, p, p^2 over the product of a point's distances from the others.
  constexpr double na = 2 * a2 * (a2 - b2), nb = 2 * b2 * (b2 - a2);
  constexpr double g4[6][3] = {{1 / (a2 * b2), 0, 0},      {1 / na, a / na, a2 / na},
                               {1 / na, -a / na, a2 / na}, {1 / nb, b / nb, b2 / nb},
                               {1 / nb, -b / nb, b2 / nb}, {0, 0, 1}};
  constexpr double g2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  const auto* g = plan.winograd->out == 4 ? g4 : g2;
  for (int64_t panel = 0; panel < shape.panels(); ++panel) {
    const int64_t first = panel * shape.nr, last = first + shape.columns(panel);  // past p.oc: zeros
    for (int64_t c = 0; c < p.ic; ++c) {
      for (int64_t oc = first; oc < last; oc += kWinogradLanes) {
        const int64_t lanes = std::min<int64_t>(kWinogradLanes, last - oc), full = std::min(lanes, p.oc - oc);
        WinogradWeights t;
        t.g = g;
        for (int64_t l = 0; l < full; ++l) {
          for (int k = 0; k < 9; ++k) t.window[k][l] = w[((oc + l) * p.ic + c) * 9 + k];
        }
        plan.winograd->weights(t);
        // A cache line of each product at a time: they lie up to megabytes apart.
        std::byte* to = packed + shape.offset(panel) + c * shape.stride(panel) + (oc - first) * 4;
        for (int64_t xi = 0; xi < plan.winograd->products(); ++xi)
          std::memcpy(to + xi * bytes, t.u[xi], to_size(lanes) * 4);
      }
    }
  }
}

}  // namespace skyline::kernels
