#include "kernels/resize/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/base/levels.h"
#include "kernels/base/parallel.h"
#include "kernels/layout/layout.h"

namespace skyline::kernels {

const ResizeTable& resize_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(resize, isa);
}

namespace {

constexpr int64_t kGrain = 8192;  // elements worth a thread

// Where output j lies on the input's axis. The output's length is scale * in before rounding, as ONNX defines
// it.
double source_position(int64_t j, int64_t in, int64_t out, double scale, const ResizeOptions& o) {
  const double x = static_cast<double>(j), last = static_cast<double>(in - 1),
               length = scale * static_cast<double>(in);
  switch (o.coordinates) {
    case ResizeCoordinates::half_pixel:
      return (x + 0.5) / scale - 0.5;
    case ResizeCoordinates::half_pixel_symmetric: {
      const double adjust = static_cast<double>(out) / length;
      return static_cast<double>(in) / 2 * (1 - adjust) + (x + 0.5) / scale - 0.5;
    }
    case ResizeCoordinates::pytorch_half_pixel:
      return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case ResizeCoordinates::align_corners:
      return out == 1 || length == 1 ? 0 : x * last / (length - 1);
    case ResizeCoordinates::asymmetric:
      return x / scale;
    case ResizeCoordinates::tf_half_pixel_for_nn:
      return (x + 0.5) / scale;
    case ResizeCoordinates::tf_crop_and_resize: {
      const double start = o.roi_start, end = o.roi_end;
      if (out == 1) return 0.5 * (start + end) * last;
      return start * last + x * (end - start) * last / static_cast<double>(out - 1);
    }
  }
  return x;
}

double cubic_weight(double distance, double a) {
  const double x = std::fabs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// Taps lie at base + first, base + first + 1, ...; the filter widens by 1 / scale when antialiasing a
// reduction.
struct Filter {
  int first, taps;
  double stretch;
};
Filter filter_of(double scale, const ResizeOptions& o) {
  if (o.mode == ResizeMode::nearest) return {0, 1, 1};
  const double stretch = o.antialias ? std::min(scale, 1.0) : 1.0,
               reach = o.mode == ResizeMode::cubic ? 2 : 1;
  const int first = static_cast<int>(std::floor(-reach / stretch)) + 1;
  return {first, 2 - 2 * first, stretch};
}

int64_t nearest_index(int64_t base, double ratio, ResizeNearest mode) {
  switch (mode) {
    case ResizeNearest::round_prefer_floor:
      return ratio <= 0.5 ? base : base + 1;
    case ResizeNearest::round_prefer_ceil:
      return ratio < 0.5 ? base : base + 1;
    case ResizeNearest::floor:
      return ratio < 1 ? base : base + 1;
    case ResizeNearest::ceil:
      return base + 1;
  }
  return base;
}

bool changes(const ResizeAxis& a) noexcept {
  if (a.in != a.out || a.taps != 1) return true;
  for (int64_t j = 0; j < a.out; ++j) {
    if (a.index[static_cast<size_t>(j)] != j) return true;
  }
  return false;
}

}  // namespace

ResizeAxis make_resize_axis(int64_t in, int64_t out, double scale, const ResizeOptions& o) {
  ResizeAxis axis;
  axis.in = in;
  axis.out = out;
  const Filter filter = filter_of(scale, o);
  axis.taps = filter.taps;
  axis.index.resize(static_cast<size_t>(out * filter.taps));
  if (o.mode != ResizeMode::nearest) axis.weight.resize(axis.index.size());
  std::vector<double> weight(static_cast<size_t>(filter.taps));
  for (int64_t j = 0; j < out; ++j) {
    const double x = source_position(j, in, out, scale, o);
    int32_t* index = &axis.index[static_cast<size_t>(j * filter.taps)];
    if (o.coordinates == ResizeCoordinates::tf_crop_and_resize &&
        !(x >= 0 && x <= static_cast<double>(in - 1))) {
      std::fill(index, index + filter.taps, -1);
      continue;
    }
    const double clamped = std::clamp(x, -1e9, 1e9);
    // The tap on the left of x, strictly: a position that is an integer has ratio 1.
    const int64_t base = static_cast<int64_t>(std::ceil(clamped)) - 1;
    const double ratio = clamped - static_cast<double>(base);
    const auto inside = [in](int64_t at) { return static_cast<int32_t>(std::clamp<int64_t>(at, 0, in - 1)); };
    if (o.mode == ResizeMode::nearest) {
      index[0] = inside(nearest_index(base, ratio, o.nearest));
      continue;
    }
    double sum = 0;
    for (int t = 0; t < filter.taps; ++t) {
      const double distance = (filter.first + t - ratio) * filter.stretch;
      const int64_t at = base + filter.first + t;
      weight[t] = o.mode == ResizeMode::cubic ? cubic_weight(distance, o.cubic_a)
                                              : std::max(0.0, 1 - std::fabs(distance));
      if (o.exclude_outside && (at < 0 || at >= in)) weight[t] = 0;
      sum += weight[t];
      index[t] = inside(at);
    }
    const bool normalise = (o.antialias || o.exclude_outside) && sum != 0;
    for (int t = 0; t < filter.taps; ++t) {
      axis.weight[static_cast<size_t>(j * filter.taps + t)] =
          static_cast<float>(normalise ? weight[t] / sum : weight[t]);
    }
  }
  return axis;
}

namespace {

// Elements of one plane after axes [0, count) were resized.
int64_t plane_after(const ResizePlan& p, size_t count) noexcept {
  int64_t n = p.inner;
  for (size_t a = 0; a < p.axes.size(); ++a) n *= a < count ? p.axes[a].out : p.axes[a].in;
  return n;
}
int64_t largest_between(const ResizePlan& p) noexcept {
  int64_t n = 0;
  for (size_t a = 1; a < p.axes.size(); ++a) n = std::max(n, plane_after(p, a));
  return n;
}
int64_t planes_at_once(const ResizePlan& p, int threads) noexcept {
  return std::max<int64_t>(1, std::min<int64_t>(threads, p.outer));
}

// One plane, axis after axis, going back and forth between the halves of scratch.
void resize_plane(const ResizeTable& t, const ResizePlan& p, const float* x, float* y, float* scratch,
                  int threads) noexcept {
  const int64_t half = largest_between(p);
  int64_t outer = 1, inner = plane_after(p, 0);
  const float* from = x;
  size_t left = 0;
  for (const ResizeAxis& a : p.axes) left += changes(a);
  if (left == 0) {
    std::copy(x, x + inner, y);
    return;
  }
  int side = 0;
  for (const ResizeAxis& a : p.axes) {
    inner /= a.in;
    if (changes(a)) {
      float* to = --left == 0 ? y : scratch + (side ^= 1) * half;
      parallel_for(
          threads, outer * a.out, kGrain / (inner * a.taps) + 1, [&](int64_t begin, int64_t end) noexcept {
            while (begin < end) {
              const int64_t o = begin / a.out, j = begin % a.out, count = std::min(a.out - j, end - begin);
              t.axis({a.index.data(), a.weight.data(), a.taps}, from + o * a.in * inner,
                     to + o * a.out * inner, j, j + count, inner, p.extrapolation);
              begin += count;
            }
          });
      from = to;
    }
    outer *= a.out;
  }
}

// Nearest, row by row: each of the last axis, all others flattened into lines.
void copy_nearest_rows(const ResizePlan& p, size_t bytes, const std::byte* x, std::byte* y,
                       int threads) noexcept {
  const ResizeAxis& across = p.axes.back();
  const auto width = static_cast<int64_t>(bytes);
  const int64_t row = p.inner * width, ldx = (p.ldx ? p.ldx : p.inner) * width,
                ldy = (p.ldy ? p.ldy : p.inner) * width;
  int64_t lines = p.outer;
  for (size_t i = 0; i + 1 < p.axes.size(); ++i) lines *= p.axes[i].out;
  const auto source = [](const ResizeAxis& a, int64_t j) {
    return changes(a) ? int64_t{a.index[static_cast<size_t>(j)]} : j;
  };
  parallel_for(threads, lines, kGrain / (across.out * p.inner) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t line = begin; line < end; ++line) {
      int64_t from = 0, rest = line, step = 1;
      for (size_t i = p.axes.size() - 1; i-- > 0; rest /= p.axes[i].out, step *= p.axes[i].in)
        from += source(p.axes[i], rest % p.axes[i].out) * step;
      from += rest * step;
      std::byte* to = y + line * across.out * ldy;
      for (int64_t j = 0; j < across.out; ++j, to += ldy)
        std::memcpy(to, x + (from * across.in + source(across, j)) * ldx, static_cast<size_t>(row));
    }
  });
}

}  // namespace

size_t resize_scratch_bytes(const ResizePlan& p, int threads) noexcept {
  return static_cast<size_t>(2 * largest_between(p) * planes_at_once(p, threads)) * sizeof(float);
}

void run_resize_f32(const ResizeTable& t, const ResizePlan& p, const float* x, float* y, void* scratch,
                    int threads) noexcept {
  const int64_t in = plane_after(p, 0), out = plane_after(p, p.axes.size()), between = 2 * largest_between(p);
  float* space = static_cast<float*>(scratch);
  if (p.outer < threads) {  // few planes: threads share each of them
    for (int64_t o = 0; o < p.outer; ++o) resize_plane(t, p, x + o * in, y + o * out, space, threads);
    return;
  }
  parallel_for(threads, p.outer, 1, [&](int64_t begin, int64_t end) noexcept {
    float* mine = space + parallel_index() * between;
    for (int64_t o = begin; o < end; ++o) resize_plane(t, p, x + o * in, y + o * out, mine, 1);
  });
}

void run_resize_nearest(const ResizePlan& p, size_t bytes, const void* x, void* y, const void* extrapolation,
                        int threads) noexcept {
  if (p.ldx || p.ldy) {
    return copy_nearest_rows(p, bytes, static_cast<const std::byte*>(x), static_cast<std::byte*>(y), threads);
  }
  MapPlan map;
  const auto add = [&map](int64_t in, int64_t out, const int32_t* index) {
    map.x_dims[map.rank] = in;
    map.y_dims[map.rank] = out;
    map.map[map.rank++] = index;
  };
  add(p.outer, p.outer, nullptr);
  for (const ResizeAxis& a : p.axes) {
    if (map.rank == kMaxRank - 1) return;
    add(a.in, a.out, changes(a) ? a.index.data() : nullptr);
  }
  if (p.inner != 1) add(p.inner, p.inner, nullptr);
  copy_mapped(map, bytes, x, y, extrapolation, threads);
}

}  // namespace skyline::kernels
