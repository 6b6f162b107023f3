// Resize: nearest, linear and cubic, any rank.
#include "kernels/resize/resize.h"

#include <algorithm>

#include "engine/lower/families.h"
#include "graph/ops/util.h"

namespace skyline::lower {
namespace {

using namespace kernels;

template <class E>
struct Choice {
  std::string_view name;
  E value;
};
template <class E, size_t N>
std::optional<E> choose(const Choice<E> (&list)[N], const std::string& name) {
  for (const auto& c : list) {
    if (c.name == name) return c.value;
  }
  return std::nullopt;
}
constexpr Choice<ResizeMode> kModes[] = {
    {"nearest", ResizeMode::nearest}, {"linear", ResizeMode::linear}, {"cubic", ResizeMode::cubic}};
constexpr Choice<ResizeCoordinates> kCoordinates[] = {
    {"half_pixel", ResizeCoordinates::half_pixel},
    {"half_pixel_symmetric", ResizeCoordinates::half_pixel_symmetric},
    {"pytorch_half_pixel", ResizeCoordinates::pytorch_half_pixel},
    {"align_corners", ResizeCoordinates::align_corners},
    {"asymmetric", ResizeCoordinates::asymmetric},
    {"tf_half_pixel_for_nn", ResizeCoordinates::tf_half_pixel_for_nn}};
constexpr Choice<ResizeNearest> kNearest[] = {{"round_prefer_floor", ResizeNearest::round_prefer_floor},
                                              {"round_prefer_ceil", ResizeNearest::round_prefer_ceil},
                                              {"floor", ResizeNearest::floor},
                                              {"ceil", ResizeNearest::ceil}};

std::optional<ResizeOptions> resize_options(const Attrs& a) {
  const auto mode = choose(kModes, a.text("mode", "nearest"));
  const auto coordinates = choose(kCoordinates, a.text("coordinate_transformation_mode", "half_pixel"));
  const auto nearest = choose(kNearest, a.text("nearest_mode", "round_prefer_floor"));
  if (!mode || !coordinates || !nearest) return std::nullopt;
  return ResizeOptions{.mode = *mode,
                       .coordinates = *coordinates,
                       .nearest = *nearest,
                       .cubic_a = a.real("cubic_coeff_a", -0.75f),
                       .exclude_outside = a.integer("exclude_outside", 0) != 0,
                       .antialias = a.integer("antialias", 0) != 0};
}

std::optional<Lowered> lower_resize(Lowering& l) {
  const auto options = resize_options(l.attrs());
  const DType type = l.in_type(0);
  const Dims x = l.in_dims(0), y = l.out_dims();
  if (!options || element_count(x) == 0 || element_count(y) == 0 || type == DType::string)
    return std::nullopt;
  const bool nearest = options->mode == ResizeMode::nearest;
  if (!nearest && type != DType::f32) return std::nullopt;
  if (l.attrs().text("keep_aspect_ratio_policy", "stretch") != "stretch") return std::nullopt;
  // The scale is the given one, or the ratio of the sizes.
  std::vector<double> scales(x.size());
  for (size_t i = 0; i < x.size(); ++i) scales[i] = static_cast<double>(y[i]) / static_cast<double>(x[i]);
  if (l.has(2) && l.in_dims(2) != Dims{0}) {
    const Tensor* given = l.constant(2);
    if (!given || given->dtype() != DType::f32) return std::nullopt;
    Dims axes;
    for (size_t i = 0; i < x.size(); ++i) axes.push_back(static_cast<int64_t>(i));
    axes = l.attrs().integers("axes", axes);
    for (size_t i = 0; i < axes.size(); ++i) {
      scales[static_cast<size_t>(ops::normalize_axis(axes[i], static_cast<int>(x.size())))] =
          given->data<float>()[i];
    }
  }
  // [outer, axes that change ..., inner]
  size_t first = 0, last = x.size();
  while (first < x.size() && x[first] == y[first] && scales[first] == 1) ++first;
  while (last > first && x[last - 1] == y[last - 1] && scales[last - 1] == 1) --last;
  if (first == last) return Lowered{.kernel = "alias", .alias = 0};
  auto plan = std::make_shared<ResizePlan>();
  for (size_t i = 0; i < first; ++i) plan->outer *= x[i];
  for (size_t i = last; i < x.size(); ++i) plan->inner *= x[i];
  for (size_t i = first; i < last; ++i)
    plan->axes.push_back(make_resize_axis(x[i], y[i], scales[i], *options));
  if (nearest) {
    plan->ldx = l.in_ld(0);
    plan->ldy = l.out_ld();
    const size_t bytes = size_of(type);
    return Lowered{.code = step_code([plan, bytes](const StepArgs& s) {
                     run_resize_nearest(*plan, bytes, s.in[0], s.out[0], nullptr, s.threads);
                   }),
                   .kernel = "resize_nearest"};
  }
  const ResizeTable& table = resize_kernels(l.isa);
  return Lowered{.code = step_code([plan, &table](const StepArgs& s) {
                   run_resize_f32(table, *plan, s.input<float>(0), s.output<float>(0), s.workspace,
                                  s.threads);
                 }),
                 .kernel = "resize_f32",
                 .workspace = resize_scratch_bytes(*plan, l.threads)};
}

// Nearest, where the last axis stays as it is and another does not.
bool rows_in_place(const Graph& g, const Node& n, Side, size_t index) {
  const Fact &x = g.fact(n.in(0)), &y = g.fact(n.out(0));
  if (index > 0 || x.rank() < 2 || n.attrs.has("axes") || !resize_options(n.attrs) ||
      n.attrs.text("mode", "nearest") != "nearest" ||
      n.attrs.text("keep_aspect_ratio_policy", "stretch") != "stretch")
    return false;
  const Dims from = x.static_dims(), to = y.static_dims();
  if (from == to || from.back() != to.back() || element_count(from) == 0 || element_count(to) == 0)
    return false;
  if (n.in(2) == kNoValue || g.fact(n.in(2)).elements() == 0) return true;
  const Tensor* scales = g.constant(n.in(2));
  return scales && scales->dtype() == DType::f32 && scales->data<float>()[from.size() - 1] == 1;
}

constexpr LowerRow kRows[] = {{"Resize", "", lower_resize, rows_in_place}};

}  // namespace

std::span<const LowerRow> resize_rows() {
  return kRows;
}

}  // namespace skyline::lower
