// Operators that move elements: transpose, concat, split, slice, pad, expand, tile, gather, depth/space.
#include <algorithm>

#include "engine/lower/families.h"
#include "graph/ops/util.h"
#include "kernels/layout/layout.h"

namespace skyline::lower {
namespace {

using namespace kernels;

bool movable(DType t) {
  return t != DType::string && size_of(t) <= 8;
}

// One strided copy of a block of `dims`, from x + x_offset to y + y_offset (elements).
struct BlockCopy {
  NdPlan plan;
  int64_t x_offset = 0, y_offset = 0;
};

std::optional<BlockCopy> block_copy(const Dims& dims, const Dims& x_strides, int64_t x_offset,
                                    const Dims& y_strides, int64_t y_offset) {
  BlockCopy c{.plan = {}, .x_offset = x_offset, .y_offset = y_offset};
  const int64_t* strides[] = {x_strides.data(), y_strides.data()};
  if (!make_nd_plan(dims, strides, &c.plan)) return std::nullopt;
  return c;
}

void run_copy(const BlockCopy& c, size_t bytes, const void* x, void* y, int threads) {
  copy_strided(c.plan, bytes, static_cast<const std::byte*>(x) + c.x_offset * static_cast<int64_t>(bytes),
               static_cast<std::byte*>(y) + c.y_offset * static_cast<int64_t>(bytes), threads);
}

// A step that is one strided copy from input 0 to output 0.
std::optional<Lowered> one_copy(const std::optional<BlockCopy>& c, size_t bytes, const char* kernel) {
  if (!c) return std::nullopt;
  return Lowered{.code = step_code([c = *c, bytes](const StepArgs& s) {
                   run_copy(c, bytes, s.in[0], s.out[0], s.threads);
                 }),
                 .kernel = kernel};
}

std::optional<Lowered> lower_transpose(Lowering& l) {
  if (!movable(l.in_type(0))) return std::nullopt;
  const Dims x = l.in_dims(0);
  Dims reversed;
  for (size_t i = x.size(); i-- > 0;) reversed.push_back(static_cast<int64_t>(i));
  std::vector<int> perm;
  for (int64_t p : l.attrs().integers("perm", reversed)) perm.push_back(static_cast<int>(p));
  // Moving only dims of 1 leaves the bytes as they are.
  std::vector<int> kept;
  for (int p : perm) {
    if (x[static_cast<size_t>(p)] != 1) kept.push_back(p);
  }
  if (std::is_sorted(kept.begin(), kept.end())) return Lowered{.kernel = "alias", .alias = 0};
  TransposePlan plan;
  if (!make_transpose_plan(x, perm, size_of(l.in_type(0)), &plan)) return std::nullopt;
  return Lowered{
      .code = step_code([plan](const StepArgs& s) { run_transpose(plan, s.in[0], s.out[0], s.threads); }),
      .kernel = "transpose"};
}

std::optional<Lowered> lower_concat(Lowering& l) {
  if (!movable(l.out_type())) return std::nullopt;
  const Dims y = l.out_dims();
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis"), static_cast<int>(y.size())));
  const Dims y_strides = l.out_strides();
  std::vector<std::pair<size_t, BlockCopy>> copies;
  int64_t at = 0;
  for (size_t i = 0; i < l.node.inputs.size(); ++i) {
    const Dims x = l.in_dims(i);
    const auto c = block_copy(x, l.in_strides(i), 0, y_strides, at * y_strides[axis]);
    if (!c) return std::nullopt;
    if (!l.placed(i)) copies.emplace_back(i, *c);
    at += x[axis];
  }
  const size_t bytes = size_of(l.out_type());
  return Lowered{.code = step_code([copies, bytes](const StepArgs& s) {
                   for (const auto& [i, copy] : copies) run_copy(copy, bytes, s.in[i], s.out[0], s.threads);
                 }),
                 .kernel = "concat"};
}

std::optional<Lowered> lower_split(Lowering& l) {
  if (!movable(l.in_type(0))) return std::nullopt;
  const Dims x = l.in_dims(0);
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", 0), static_cast<int>(x.size())));
  const Dims x_strides = l.in_strides(0);
  // The sizes are those of the outputs; one that nobody wants still takes its place, so all must be known.
  std::vector<std::pair<size_t, BlockCopy>> copies;
  int64_t at = 0;
  for (size_t i = 0; i < l.node.outputs.size(); ++i) {
    if (l.node.out(i) == kNoValue) return std::nullopt;
    const Dims y = l.out_dims(i);
    const auto c = block_copy(y, x_strides, at * x_strides[axis], l.out_strides(i), 0);
    if (!c) return std::nullopt;
    if (!l.placed(i)) copies.emplace_back(i, *c);
    at += y[axis];
  }
  if (at != x[axis]) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0));
  return Lowered{.code = step_code([copies, bytes](const StepArgs& s) {
                   for (const auto& [i, copy] : copies) run_copy(copy, bytes, s.in[0], s.out[i], s.threads);
                 }),
                 .kernel = "split"};
}

std::optional<Lowered> lower_slice(Lowering& l) {
  if (!movable(l.in_type(0))) return std::nullopt;
  const Dims x = l.in_dims(0), y = l.out_dims();
  const auto starts = l.constant_ints(1);
  if (!starts) return std::nullopt;
  Dims axes(starts->size()), steps(starts->size(), 1);
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (l.has(3)) {
    const auto given = l.constant_ints(3);
    if (!given) return std::nullopt;
    axes = *given;
  }
  if (l.has(4)) {
    const auto given = l.constant_ints(4);
    if (!given) return std::nullopt;
    steps = *given;
  }
  if (element_count(y) == 0) return std::nullopt;
  Dims strides = l.in_strides(0);
  int64_t offset = 0;
  const Dims base = strides;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(ops::normalize_axis(axes[i], static_cast<int>(x.size())));
    const int64_t n = x[axis];
    int64_t start = (*starts)[i];
    if (start < 0) start += n;  // INT64_MIN + n stays far below zero
    start = steps[i] > 0 ? std::clamp<int64_t>(start, 0, n) : std::clamp<int64_t>(start, 0, n - 1);
    offset += start * base[axis];
    strides[axis] =
        y[axis] > 1 ? base[axis] * steps[i] : 0;  // a step over a single element may be any number
  }
  return one_copy(block_copy(y, strides, offset, l.out_strides(), 0), size_of(l.in_type(0)), "slice");
}

std::optional<Lowered> lower_expand(Lowering& l) {
  if (!movable(l.in_type(0))) return std::nullopt;
  const Dims x = l.in_dims(0), y = l.out_dims();
  if (x.size() > y.size()) return std::nullopt;
  return one_copy(block_copy(y, ops::broadcast_strides(x, y), 0, row_major_strides(y), 0),
                  size_of(l.in_type(0)), "expand");
}

std::optional<Lowered> lower_tile(Lowering& l) {
  if (!movable(l.in_type(0))) return std::nullopt;
  // [repeat, dim] per axis: reading with stride 0 along each repeat.
  const Dims x = l.in_dims(0), y = l.out_dims(), own = row_major_strides(x);
  if (element_count(y) == 0) return std::nullopt;
  Dims dims, x_strides;
  for (size_t i = 0; i < x.size(); ++i) {
    dims.insert(dims.end(), {y[i] / x[i], x[i]});
    x_strides.insert(x_strides.end(), {0, own[i]});
  }
  return one_copy(block_copy(dims, x_strides, 0, row_major_strides(dims), 0), size_of(l.in_type(0)), "tile");
}

// A reshape to `wide`, a transpose by `perm`, and a reshape back.
std::optional<Lowered> reshaped_transpose(Lowering& l, const Dims& wide, const std::vector<int>& perm) {
  if (!movable(l.in_type(0))) return std::nullopt;
  TransposePlan plan;
  if (!make_transpose_plan(wide, perm, size_of(l.in_type(0)), &plan)) return std::nullopt;
  return Lowered{
      .code = step_code([plan](const StepArgs& s) { run_transpose(plan, s.in[0], s.out[0], s.threads); }),
      .kernel = "transpose"};
}

std::optional<Lowered> lower_depth_to_space(Lowering& l) {
  const Dims x = l.in_dims(0);
  const int64_t b = l.attrs().integer("blocksize");
  if (x.size() != 4) return std::nullopt;
  const int64_t c = x[1] / (b * b);
  if (l.attrs().text("mode", "DCR") == "DCR")
    return reshaped_transpose(l, {x[0], b, b, c, x[2], x[3]}, {0, 3, 4, 1, 5, 2});
  return reshaped_transpose(l, {x[0], c, b, b, x[2], x[3]}, {0, 1, 4, 2, 5, 3});
}

std::optional<Lowered> lower_space_to_depth(Lowering& l) {
  const Dims x = l.in_dims(0);
  const int64_t b = l.attrs().integer("blocksize");
  if (x.size() != 4) return std::nullopt;
  return reshaped_transpose(l, {x[0], x[1], x[2] / b, b, x[3] / b, b}, {0, 3, 5, 1, 2, 4});
}

std::optional<Lowered> lower_pad(Lowering& l) {
  const Dims x = l.in_dims(0), y = l.out_dims();
  if (!movable(l.in_type(0)) || x.size() > static_cast<size_t>(kernels::kMaxRank)) return std::nullopt;
  const auto pads = l.constant_ints(1);
  const std::string mode_name = l.attrs().text("mode", "constant");
  if (!pads || element_count(x) == 0) return std::nullopt;
  const PadMode mode = mode_name == "constant"  ? PadMode::constant
                       : mode_name == "reflect" ? PadMode::reflect
                       : mode_name == "edge"    ? PadMode::edge
                                                : PadMode::wrap;
  Dims axes;
  for (size_t i = 0; i < x.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (l.has(3)) {
    const auto given = l.constant_ints(3);
    if (!given) return std::nullopt;
    axes = *given;
  }
  uint64_t fill = 0;
  if (l.has(2)) {
    const Tensor* value = l.constant(2);
    if (!value || value->dtype() != l.in_type(0)) return std::nullopt;
    std::copy_n(static_cast<const std::byte*>(value->raw()), size_of(value->dtype()),
                reinterpret_cast<std::byte*>(&fill));
  }
  auto maps = std::make_shared<std::vector<std::vector<int32_t>>>(x.size());
  MapPlan plan;
  plan.rank = static_cast<int>(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    plan.x_dims[i] = x[i];
    plan.y_dims[i] = y[i];
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(ops::normalize_axis(axes[i], static_cast<int>(x.size())));
    const int64_t begin = (*pads)[i], end = (*pads)[axes.size() + i];
    if (begin == 0 && end == 0) continue;
    // What negative pads cut off is gone before the rest is reflected or repeated.
    const int64_t low = std::max<int64_t>(0, -begin), kept = x[axis] - low - std::max<int64_t>(0, -end);
    if (kept < 1) return std::nullopt;
    std::vector<int32_t>& map = (*maps)[axis];
    map.resize(static_cast<size_t>(y[axis]));
    make_pad_map(mode, kept, std::max<int64_t>(0, begin), std::max<int64_t>(0, end), map.data());
    for (int32_t& i : map) i = i < 0 ? i : i + static_cast<int32_t>(low);
    plan.map[axis] = map.data();
  }
  const size_t bytes = size_of(l.in_type(0));
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   (void)maps;  // keeps what plan points at
                   copy_mapped(plan, bytes, s.in[0], s.out[0], &fill, s.threads);
                 }),
                 .kernel = "pad"};
}

// Whether the copies below can be made; strides do not matter to them.
bool is_copy(const Graph& g, const Node& n, Side, size_t) {
  const auto plain = [&](ValueId v) {
    return v != kNoValue && movable(g.fact(v).dtype) && g.fact(v).rank() <= kernels::kMaxRank;
  };
  if (n.is("Concat")) return plain(n.out(0));
  if (!std::all_of(n.outputs.begin(), n.outputs.end(), plain)) return false;
  if (n.is("Split")) return true;
  if (g.fact(n.out(0)).elements() == 0) return false;
  for (size_t i : {size_t{1}, size_t{3}, size_t{4}}) {
    if (n.in(i) != kNoValue && !g.constant(n.in(i))) return false;
  }
  return true;
}

constexpr LowerRow kRows[] = {
    {"Transpose", "", lower_transpose},
    {"Concat", "", lower_concat, is_copy},
    {"Split", "", lower_split, is_copy},
    {"Slice", "", lower_slice, is_copy},
    {"Expand", "", lower_expand},
    {"Tile", "", lower_tile},
    {"Pad", "", lower_pad},
    {"DepthToSpace", "", lower_depth_to_space},
    {"SpaceToDepth", "", lower_space_to_depth},
};

}  // namespace

std::span<const LowerRow> move_rows() {
  return kRows;
}

}  // namespace skyline::lower
