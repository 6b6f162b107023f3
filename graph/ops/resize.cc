// Resize in all its modes. The interpolation is separable, so the reference works axis by axis on doubles;
// "nearest" only moves elements, of any type.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

enum class Mode { nearest, linear, cubic };
// The last one is of opset 11 only.
enum class Coordinates {
  half_pixel,
  half_pixel_symmetric,
  pytorch_half_pixel,
  align_corners,
  asymmetric,
  crop,
  half_pixel_nn
};
enum class Nearest { round_prefer_floor, round_prefer_ceil, floor, ceil };
enum class Aspect { stretch, not_larger, not_smaller };

// The position of an attribute's text in a list of names.
template <class E>
E choice(const Attrs& attrs, const char* attribute, const char* fallback,
         std::initializer_list<const char*> names) {
  const std::string text = attrs.text(attribute, fallback);
  int i = 0;
  for (const char* name : names) {
    if (text == name) return static_cast<E>(i);
    ++i;
  }
  fail(std::string(attribute) + " is '" + text + "'");
}

struct Settings {
  Mode mode;
  Coordinates coordinates;
  Nearest nearest;
  Aspect aspect;
  bool antialias, exclude_outside;
  double cubic_a, extrapolation;
};

Settings settings(const Attrs& a) {
  Settings s{};
  s.mode = choice<Mode>(a, "mode", "nearest", {"nearest", "linear", "cubic"});
  s.coordinates =
      choice<Coordinates>(a, "coordinate_transformation_mode", "half_pixel",
                          {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                           "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"});
  s.nearest = choice<Nearest>(a, "nearest_mode", "round_prefer_floor",
                              {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
  s.aspect =
      choice<Aspect>(a, "keep_aspect_ratio_policy", "stretch", {"stretch", "not_larger", "not_smaller"});
  s.antialias = a.integer("antialias", 0) != 0;
  s.exclude_outside = a.integer("exclude_outside", 0) != 0;
  s.cubic_a = a.real("cubic_coeff_a", -0.75f);
  s.extrapolation = a.real("extrapolation_value", 0.0f);
  if (s.antialias && s.mode == Mode::nearest) fail("antialias does not go with mode nearest");
  return s;
}

// One axis: `scale` is out / in as the caller asked for it, `width` the output length before it was rounded
// down.
struct Axis {
  int64_t in = 0, out = 0;
  double scale = 1, width = 0;
  double begin = 0, end = 1;  // of the region of interest
  bool exact = true;          // scale is exactly out / in
};

std::vector<int> resize_axes(const Attrs& attrs, int rank) {
  if (attrs.has("axes")) return normalize_axes(attrs.integers("axes"), rank, "axes");
  std::vector<int> all(static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) all[static_cast<size_t>(i)] = i;
  return all;
}

double checked_scale(double scale) {
  if (!(scale > 0) || !std::isfinite(scale)) fail("scale is " + std::to_string(scale));
  return scale;
}

int64_t checked_length(double n) {
  if (!(n >= 0 && n < 1e15)) throw Error(Code::limit, "an output length of " + std::to_string(n));
  return static_cast<int64_t>(n);
}

void check_count(size_t have, size_t want, const char* what) {
  if (have != want)
    fail(std::string(what) + " has " + std::to_string(have) + " entries, expected " + std::to_string(want));
}

// By scales: the length is computed in f32, as everybody else does, so that 10 * 0.7f is 7.
void scale_axis(Axis& a, float scale) {
  a.scale = checked_scale(static_cast<double>(scale));
  a.width = a.scale * static_cast<double>(a.in);
  a.out = checked_length(static_cast<double>(std::floor(static_cast<float>(a.in) * scale)));
  a.exact = false;
}

void size_axes(std::vector<Axis>& axes, const std::vector<int>& which, const Dims& sizes, Aspect aspect) {
  double common = aspect == Aspect::not_larger ? std::numeric_limits<double>::infinity() : 0;
  for (size_t i = 0; i < which.size(); ++i) {
    Axis& a = axes[static_cast<size_t>(which[i])];
    if (sizes[i] < 0) fail("sizes has " + str(sizes[i]));
    if (a.in == 0 && (sizes[i] != 0 || aspect != Aspect::stretch))
      fail("cannot resize an empty axis to " + str(sizes[i]));
    a.out = sizes[i];
    a.scale = a.in == 0 ? 1 : static_cast<double>(a.out) / static_cast<double>(a.in);
    a.width = static_cast<double>(a.out);
    common = aspect == Aspect::not_larger ? std::min(common, a.scale) : std::max(common, a.scale);
  }
  if (aspect == Aspect::stretch) return;
  for (int i : which) {
    Axis& a = axes[static_cast<size_t>(i)];
    a.scale = common;
    a.width = common * static_cast<double>(a.in);
    a.out = checked_length(std::floor(a.width + 0.5));
    a.exact = false;
  }
}

// scales, sizes and roi may be null or empty: absent.
std::vector<Axis> plan_axes(const Attrs& attrs, const Settings& s, const Dims& dims, const Tensor* roi,
                            const Tensor* scales, const Tensor* sizes) {
  std::vector<Axis> axes(dims.size());
  for (size_t i = 0; i < dims.size(); ++i)
    axes[i] = {.in = dims[i], .out = dims[i], .width = static_cast<double>(dims[i])};
  const std::vector<int> which = resize_axes(attrs, static_cast<int>(dims.size()));
  const bool by_scale = scales && scales->size() > 0, by_size = sizes && sizes->size() > 0;
  require(by_scale != by_size || which.empty(), "expected either scales or sizes");
  if (by_scale) {
    require_dtype(*scales, DType::f32, "scales");
    check_count(static_cast<size_t>(scales->size()), which.size(), "scales");
    for (size_t i = 0; i < which.size(); ++i)
      scale_axis(axes[static_cast<size_t>(which[i])], scales->data<float>()[i]);
  } else if (by_size) {
    check_count(static_cast<size_t>(sizes->size()), which.size(), "sizes");
    size_axes(axes, which, to_ints(*sizes), s.aspect);
  }
  if (s.coordinates == Coordinates::crop && roi && roi->size() > 0) {
    const std::vector<double> r = to_doubles(*roi);
    check_count(r.size(), 2 * which.size(), "roi");
    for (size_t i = 0; i < which.size(); ++i) {
      Axis& a = axes[static_cast<size_t>(which[i])];
      a.begin = r[i], a.end = r[i + which.size()];
      if (!(std::abs(a.begin) < 1e9 && std::abs(a.end) < 1e9)) fail("roi is not finite");
    }
  } else {
    require(s.coordinates != Coordinates::crop, "tf_crop_and_resize needs a roi");
  }
  for (const Axis& a : axes) {
    if (a.in == 0 && a.out != 0) fail("cannot resize an empty axis");
  }
  return axes;
}

bool unchanged(const Axis& a) {
  return a.scale == 1 && a.in == a.out && a.begin == 0 && a.end == 1;
}

// The input coordinate of output position x.
double source(Coordinates mode, const Axis& a, double x) {
  const double in = static_cast<double>(a.in);
  // With sizes, scale is a quotient: x * in / out rounds once, and is an integer where it should be one.
  const auto unscale = [&](double v) { return a.exact ? v * in / static_cast<double>(a.out) : v / a.scale; };
  switch (mode) {
    case Coordinates::half_pixel:
      return unscale(x + 0.5) - 0.5;
    case Coordinates::half_pixel_symmetric: {
      const double adjustment = static_cast<double>(a.out) / a.width;
      return in / 2 * (1 - adjustment) + unscale(x + 0.5) - 0.5;
    }
    case Coordinates::pytorch_half_pixel:
      return a.out > 1 ? unscale(x + 0.5) - 0.5 : 0;
    case Coordinates::align_corners:
      return a.out > 1 ? x * (in - 1) / (a.width - 1) : 0;
    case Coordinates::asymmetric:
      return unscale(x);
    case Coordinates::half_pixel_nn:
      return unscale(x + 0.5);
    case Coordinates::crop:
      return a.out > 1 ? a.begin * (in - 1) + x * (a.end - a.begin) * (in - 1) / (a.width - 1)
                       : 0.5 * (a.begin + a.end) * (in - 1);
  }
  return 0;
}

bool outside(const Settings& s, const Axis& a, double x) {
  return s.coordinates == Coordinates::crop && (x < 0 || x > static_cast<double>(a.in - 1));
}

int64_t nearest_index(Nearest mode, const Axis& a, double coordinate) {
  // In f32: 3 / 0.6f is meant to be 5, and is not in double.
  const float x = static_cast<float>(coordinate);
  double i = 0;
  switch (mode) {
    case Nearest::round_prefer_floor:
      i = std::ceil(x - 0.5f);
      break;
    case Nearest::round_prefer_ceil:
      i = std::floor(x + 0.5f);
      break;
    case Nearest::floor:
      i = std::floor(x);
      break;
    case Nearest::ceil:
      i = std::ceil(x);
      break;
  }
  return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(a.in - 1)));
}

// ---- weights
// -----------------------------------------------------------------------------------------------------

struct Tap {
  int64_t index;
  double weight;
};

double kernel(const Settings& s, double x) {
  x = std::abs(x);
  if (s.mode == Mode::linear) return std::max(0.0, 1 - x);
  const double a = s.cubic_a;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// The input elements that make up output position `out`, with their weights; none where it is extrapolated.
std::vector<Tap> taps(const Settings& s, const Axis& a, int64_t out) {
  const double x = source(s.coordinates, a, static_cast<double>(out));
  if (outside(s, a, x)) return {};
  const double scale = s.antialias ? std::min(a.scale, 1.0) : 1.0;
  const double reach = (s.mode == Mode::linear ? 1 : 2) / scale;
  std::vector<Tap> list;
  double sum = 0;
  for (double i = std::ceil(x - reach); i <= std::floor(x + reach); ++i) {
    const double w = kernel(s, (i - x) * scale);
    if (s.exclude_outside && (i < 0 || i > static_cast<double>(a.in - 1))) continue;
    list.push_back({static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(a.in - 1))), w});
    sum += w;
  }
  if (sum == 0) sum = 1;
  for (Tap& t : list) t.weight /= sum;
  return list;
}

// y = x interpolated along one axis.
Tensor interpolate(const EvalContext& c, const Settings& s, const Tensor& x, size_t axis, const Axis& a) {
  Dims dims = x.dims();
  dims[axis] = a.out;
  Tensor y = c.make(DType::f64, dims);
  if (y.size() == 0) return y;
  const int64_t inner = row_major_strides(dims)[axis], outer = y.size() / inner / a.out;
  const double* from = x.data<double>();
  double* to = y.mutable_data<double>();
  for (int64_t j = 0; j < a.out; ++j) {
    const std::vector<Tap> list = taps(s, a, j);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        double v = list.empty() ? s.extrapolation : 0;
        for (const Tap& t : list) v += t.weight * from[(o * a.in + t.index) * inner + i];
        to[(o * a.out + j) * inner + i] = v;
      }
    }
  }
  return y;
}

template <class T>
T from_double(double v) {
  if constexpr (std::is_integral_v<T>) {
    v = std::nearbyint(v);
    if (!(v > static_cast<double>(std::numeric_limits<T>::min()))) return std::numeric_limits<T>::min();
    if (v >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  }
  return narrow<T>(v);
}

Tensor scalar_of(DType t, double v) {
  Tensor out(t, {});
  visit_type(t, NumericTypes{}, [&]<class T>() { *out.mutable_data<T>() = from_double<T>(v); });
  return out;
}

Tensor resize_nearest(const EvalContext& c, const Settings& s, const Tensor& x, const std::vector<Axis>& axes,
                      const Dims& dims) {
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() == 0) return y;
  std::vector<Dims> maps(axes.size());
  for (size_t a = 0; a < axes.size(); ++a) {
    for (int64_t j = 0; j < axes[a].out; ++j) {
      const double at = unchanged(axes[a]) ? static_cast<double>(j)
                                           : source(s.coordinates, axes[a], static_cast<double>(j));
      maps[a].push_back(outside(s, axes[a], at) ? -1 : nearest_index(s.nearest, axes[a], at));
    }
  }
  const Tensor value = s.extrapolation != 0 ? scalar_of(x.dtype(), s.extrapolation) : Tensor();
  gather_by_axis(x, y, maps, value.defined() ? &value : nullptr);
  return y;
}

void eval_resize(EvalContext& c) {
  const Settings s = settings(c.attrs());
  const Tensor& x = c.in(0);
  const auto optional = [&](size_t i) { return c.has(i) ? &c.in(i) : nullptr; };
  const std::vector<Axis> axes = plan_axes(c.attrs(), s, x.dims(), optional(1), optional(2), optional(3));
  Dims dims;
  for (const Axis& a : axes) dims.push_back(a.out);
  if (s.mode == Mode::nearest) return c.out(0, resize_nearest(c, s, x, axes, dims));
  Tensor y = c.make(x.dtype(), dims);
  Tensor work = c.make(DType::f64, x.dims());
  const std::vector<double> values = to_doubles(x);
  std::copy(values.begin(), values.end(), work.mutable_data<double>());
  for (size_t a = 0; a < axes.size(); ++a) {
    if (!unchanged(axes[a])) work = interpolate(c, s, work, a, axes[a]);
  }
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < y.size(); ++i) out[i] = from_double<T>(work.data<double>()[i]);
  });
  c.out(0, std::move(y));
}

void infer_resize(InferContext& c) {
  const Fact& x = c.in(0);
  const Settings s = settings(c.attrs());
  if (!x.ranked) return c.out(0, x);
  const auto known = [&](size_t i) { return !c.has(i) || c.constant(i) != nullptr; };
  Fact out = x;
  if (x.elements() >= 0 && known(1) && known(2) && known(3)) {
    const auto axes = plan_axes(c.attrs(), s, Fact(DType::u8, x.dims).static_dims(), c.constant(1),
                                c.constant(2), c.constant(3));
    for (size_t i = 0; i < axes.size(); ++i) out.dims[i] = axes[i].out;
    return c.out(0, std::move(out));
  }
  const std::vector<int> which = resize_axes(c.attrs(), x.rank());
  const Tensor *scales = c.constant(2), *sizes = c.constant(3);
  const bool by_scale =
      scales && static_cast<size_t>(scales->size()) == which.size() && scales->dtype() == DType::f32;
  const bool by_size =
      sizes && static_cast<size_t>(sizes->size()) == which.size() && s.aspect == Aspect::stretch;
  for (size_t i = 0; i < which.size(); ++i) {
    Dim& d = out.dims[static_cast<size_t>(which[i])];
    Axis a{.in = d.known() ? d.value() : 0};
    if (by_scale) scale_axis(a, scales->data<float>()[i]);
    if (by_scale && a.scale == 1) continue;
    d = by_scale && d.known() ? Dim(a.out)
        : by_size             ? fixed_dims({to_ints(*sizes)[i]}, "sizes")[0]
                              : Dim::unknown();
  }
  c.out(0, std::move(out));
}

Work resize_work(const Node& n, std::span<const Fact>, std::span<const Fact> out) {
  const std::string mode = n.attrs.text("mode", "nearest");
  const int64_t per = mode == "nearest" ? 0 : mode == "linear" ? 8 : 40;  // of two resized axes
  return {.flops = per * out[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "Resize",
     .min_inputs = 1,
     .max_inputs = 4,
     .infer = infer_resize,
     .eval = eval_resize,
     .work = resize_work},
};

}  // namespace

std::span<const OpDef> resize_ops() {
  return kOps;
}

}  // namespace skyline::ops
