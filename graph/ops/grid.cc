// Sampling at computed positions: GridSample, AffineGrid.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

enum class Sampling { nearest, linear, cubic };
enum class Outside { zeros, border, reflection };

struct Sampler {
  Sampling mode;
  Outside padding;
  bool align;
};

Sampler sampler(const Attrs& attrs) {
  const std::string mode = attrs.text("mode", "linear"), padding = attrs.text("padding_mode", "zeros");
  Sampler s{};
  if (mode == "nearest")
    s.mode = Sampling::nearest;
  else if (mode == "linear" || mode == "bilinear")
    s.mode = Sampling::linear;
  else if (mode == "cubic" || mode == "bicubic")
    s.mode = Sampling::cubic;
  else
    fail("mode is '" + mode + "'");
  if (padding == "zeros")
    s.padding = Outside::zeros;
  else if (padding == "border")
    s.padding = Outside::border;
  else if (padding == "reflection")
    s.padding = Outside::reflection;
  else
    fail("padding_mode is '" + padding + "'");
  s.align = attrs.integer("align_corners", 0) != 0;
  return s;
}

// Folds x into [low, high] by reflecting at both ends.
double reflect(double x, double low, double high) {
  const double range = high - low;
  if (!(range > 0)) return low;
  double r = std::fmod(std::abs(x - low), 2 * range);
  return low + (r > range ? 2 * range - r : r);
}

// One axis of n elements: where a normalized position falls.
struct Line {
  int64_t n;
  double low, high;  // the borders
  Line(int64_t length, bool align)
      : n(length), low(align ? 0 : -0.5), high(align ? length - 1.0 : length - 0.5) {}
};

constexpr int kMostTaps = 4;
struct Taps {
  int count = 0;
  int64_t index[kMostTaps];  // -1: reads as zero
  double weight[kMostTaps];
};

int64_t pixel(const Sampler& s, const Line& line, double i) {
  const double last = static_cast<double>(line.n - 1);
  if (i >= 0 && i <= last) return static_cast<int64_t>(i);
  if (s.padding == Outside::zeros || i != i) return -1;
  if (s.padding == Outside::reflection) i = std::trunc(reflect(i, line.low, line.high));
  return static_cast<int64_t>(std::clamp(i, 0.0, last));
}

Taps taps_at(const Sampler& s, const Line& line, double position) {
  const double n = static_cast<double>(line.n);
  double x = s.align ? (position + 1) / 2 * (n - 1) : ((position + 1) * n - 1) / 2;
  if (s.mode == Sampling::nearest) x = std::nearbyint(x);
  if (x < line.low || x > line.high) {
    if (s.padding == Outside::border) x = std::clamp(x, 0.0, n - 1);
    if (s.padding == Outside::reflection) x = std::isfinite(x) ? reflect(x, line.low, line.high) : line.low;
  }
  Taps t;
  const auto add = [&](double i, double weight) {
    t.index[t.count] = pixel(s, line, i);
    t.weight[t.count++] = weight;
  };
  const double base = std::floor(x), f = x - base;
  if (s.mode == Sampling::nearest || !std::isfinite(x)) {
    add(x, 1);
  } else if (s.mode == Sampling::linear) {
    add(base, 1 - f);
    add(base + 1, f);
  } else {
    constexpr double a = -0.75;
    const auto far = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
    const auto near = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
    add(base - 1, far(f + 1));
    add(base, near(f));
    add(base + 1, near(1 - f));
    add(base + 2, far(2 - f));
  }
  return t;
}

constexpr size_t kMostSpatial = 5;  // 4 taps to the power of the axes are read for every output

SymDims grid_dims(const Fact& x, const Fact& grid) {
  SymDims dims = {x.ranked && x.rank() > 1 ? x.dims[0] : Dim::unknown(),
                  x.ranked && x.rank() > 1 ? x.dims[1] : Dim::unknown()};
  dims.insert(dims.end(), grid.dims.begin() + 1, grid.dims.end() - 1);
  return dims;
}

void infer_grid_sample(InferContext& c) {
  const Fact &x = c.in(0), &grid = c.in(1);
  sampler(c.attrs());
  if (!grid.ranked) return c.out(0, x.ranked ? Fact(x.dtype, unknown_dims(x.rank())) : x);
  if (grid.rank() < 3 || (x.ranked && x.rank() != grid.rank()))
    fail("grid of rank " + str(grid.rank()) + " does not fit the input");
  c.out(0, Fact(x.dtype, grid_dims(x, grid)));
}

// The sum over all combinations of the axes' taps, starting with axis `a` at `offset`.
double sum_taps(const double* x, const std::vector<Taps>& taps, const Dims& strides, size_t a,
                int64_t offset) {
  if (a == taps.size()) return x[offset];
  double sum = 0;
  for (int k = 0; k < taps[a].count; ++k) {
    if (taps[a].index[k] < 0) continue;
    sum += taps[a].weight[k] * sum_taps(x, taps, strides, a + 1, offset + taps[a].index[k] * strides[a]);
  }
  return sum;
}

void eval_grid_sample(EvalContext& c) {
  const Tensor &x = c.in(0), &grid = c.in(1);
  const Sampler s = sampler(c.attrs());
  if (x.rank() < 3) fail("input has rank " + str(x.rank()) + ", expected 3 or more");
  require_rank(grid, x.rank(), "grid");
  const size_t spatial = x.dims().size() - 2;
  if (spatial > kMostSpatial) throw Error(Code::unsupported, std::to_string(spatial) + " spatial dimensions");
  if (grid.dims().back() != static_cast<int64_t>(spatial) || grid.dim(0) != x.dim(0)) {
    fail("grid " + to_string(grid.dims()) + " does not fit input " + to_string(x.dims()));
  }
  Dims dims = {x.dim(0), x.dim(1)};
  dims.insert(dims.end(), grid.dims().begin() + 1, grid.dims().end() - 1);
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() == 0) return c.out(0, std::move(y));
  std::vector<Line> lines;
  Dims strides = row_major_strides(x.dims());
  const int64_t channel = strides[1];
  strides.erase(strides.begin(), strides.begin() + 2);
  for (size_t a = 0; a < spatial; ++a) {
    if (x.dims()[a + 2] == 0) fail("input " + to_string(x.dims()) + " is empty");
    lines.emplace_back(x.dims()[a + 2], s.align);
  }
  const std::vector<double> from = to_doubles(x), at = to_doubles(grid);
  const int64_t points = y.size() / (x.dim(0) * x.dim(1));
  std::vector<Taps> taps(spatial);
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t n = 0; n < x.dim(0); ++n) {
      for (int64_t p = 0; p < points; ++p) {
        // A position lists the innermost axis first.
        const double* position = at.data() + (n * points + p) * static_cast<int64_t>(spatial);
        for (size_t a = 0; a < spatial; ++a) taps[a] = taps_at(s, lines[a], position[spatial - 1 - a]);
        for (int64_t ch = n * x.dim(1); ch < (n + 1) * x.dim(1); ++ch) {
          out[ch * points + p] = narrow<T>(sum_taps(from.data() + ch * channel, taps, strides, 0, 0));
        }
      }
    }
  });
  c.out(0, std::move(y));
}

Work grid_sample_work(const Node& n, std::span<const Fact> in, std::span<const Fact> out) {
  const Sampling mode = sampler(n.attrs).mode;
  int64_t taps = 1;
  for (int a = 2; a < in[0].rank(); ++a)
    taps *= mode == Sampling::nearest ? 1 : mode == Sampling::linear ? 2 : 4;
  return {.flops = 2 * taps * out[0].elements()};
}

// ---- AffineGrid
// --------------------------------------------------------------------------------------------------

void infer_affine_grid(InferContext& c) {
  const DType t = c.in(0).dtype;
  const auto size = c.constant_ints(1);
  const int64_t n = size ? static_cast<int64_t>(size->size()) : list_length(c, 1);
  if (n < 0) return c.out(0, Fact::unranked(t));
  if (n != 4 && n != 5) fail("size has " + str(n) + " entries, expected 4 or 5");
  SymDims dims = unknown_dims(n);
  if (size) {
    dims = fixed_dims(*size, "size");
    dims.erase(dims.begin() + 1);
    dims.push_back(n - 2);
  }
  dims.back() = Dim(n - 2);
  c.out(0, Fact(t, std::move(dims)));
}

void eval_affine_grid(EvalContext& c) {
  const Tensor& theta = c.in(0);
  const Dims size = c.ints(1);
  const bool align = c.attrs().integer("align_corners", 0) != 0;
  if (size.size() != 4 && size.size() != 5)
    fail("size has " + std::to_string(size.size()) + " entries, expected 4 or 5");
  const auto spatial = static_cast<int64_t>(size.size()) - 2;
  if (theta.dims() != Dims{size[0], spatial, spatial + 1})
    fail("theta has shape " + to_string(theta.dims()) + ", expected " +
         to_string({size[0], spatial, spatial + 1}));
  Dims dims = {size[0]};
  dims.insert(dims.end(), size.begin() + 2, size.end());
  const Dims points = dims;
  dims.push_back(spatial);
  Tensor y = c.make(theta.dtype(), dims);
  const std::vector<double> m = to_doubles(theta);
  const Dims none(points.size(), 0);
  visit_type(y.dtype(), FloatTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (NdIndex<1> it(points, {none}); !it.done(); it.next()) {
      double p[4] = {};  // x, y[, z], 1
      for (int64_t a = 0; a < spatial; ++a) {
        const auto axis = static_cast<size_t>(spatial - a);
        const double n = static_cast<double>(points[axis]), i = static_cast<double>(it.index()[axis]);
        p[a] = align ? (n > 1 ? 2 * i / (n - 1) - 1 : -1) : (2 * i + 1) / n - 1;
      }
      p[spatial] = 1;
      const double* row = m.data() + it.index()[0] * spatial * (spatial + 1);
      for (int64_t r = 0; r < spatial; ++r, row += spatial + 1) {
        double v = 0;
        for (int64_t k = 0; k <= spatial; ++k) v += row[k] * p[k];
        *out++ = narrow<T>(v);
      }
    }
  });
  c.out(0, std::move(y));
}

Work affine_grid_work(const Node&, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = 8 * out[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "GridSample",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_grid_sample,
     .eval = eval_grid_sample,
     .work = grid_sample_work},
    {.name = "AffineGrid",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_affine_grid,
     .eval = eval_affine_grid,
     .work = affine_grid_work},
};

}  // namespace

std::span<const OpDef> grid_ops() {
  return kOps;
}

}  // namespace skyline::ops
