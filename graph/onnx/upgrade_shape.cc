// Old forms of operators that move and shape data.
#include <limits>

#include "graph/onnx/upgrade_rows.h"

namespace skyline::onnx {
namespace {

constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

void concat_axis(Rewrite& r) {
  if (!r.node.attrs.has("axis")) r.node.attrs.set("axis", int64_t{1});
}

void reshape_shape(Rewrite& r) {
  r.ints_to_input("shape", 1);
}

void axes_to_input(Rewrite& r) {
  if (r.node.inputs.size() > 1) throw Error(Code::invalid, "its axes are an attribute in this opset");
  r.ints_to_input("axes", 1);
}

void pad_rename(Rewrite& r) {
  if (!r.node.attrs.has("paddings")) return;
  r.node.attrs.set("pads", r.node.attrs.integers("paddings"));
  r.node.attrs.erase("paddings");
}

void pad_to_inputs(Rewrite& r) {
  (void)r.node.attrs.integers("pads");  // required
  r.ints_to_input("pads", 1);
  const float value = r.node.attrs.real("value", 0);
  r.node.attrs.erase("value");
  if (value != 0) r.set_input(2, r.constant(scalar_of(r.dtype(0), value), "value"));
}

void slice_to_inputs(Rewrite& r) {
  (void)r.node.attrs.integers("starts");  // required, as is `ends`
  (void)r.node.attrs.integers("ends");
  r.ints_to_input("starts", 1);
  r.ints_to_input("ends", 2);
  r.ints_to_input("axes", 3);
}

void split_to_input(Rewrite& r) {
  r.ints_to_input("split", 1);
}

void split_count(Rewrite& r) {
  if (r.node.in(1) == kNoValue) r.node.attrs.set("num_outputs", static_cast<int64_t>(r.node.wanted.size()));
}

// One axis, given by two scalars, to repeats for all axes.
void tile_repeats(Rewrite& r) {
  if (r.node.inputs.size() != 3) return;  // written in the form of opset 6
  const Tensor *tiles = r.graph.constant(r.node.in(1)), *axis = r.graph.constant(r.node.in(2));
  if (!tiles || !axis || tiles->size() != 1 || axis->size() != 1 || tiles->dtype() != DType::i64 ||
      axis->dtype() != DType::i64) {
    throw Error(Code::unsupported, "its form of opset 1 unless tiles and axis are constant");
  }
  const int64_t at = *axis->data<int64_t>();
  std::vector<int64_t> repeats(static_cast<size_t>(r.rank(0)), 1);
  if (at < 0 || at >= r.rank(0)) throw Error(Code::invalid, "axis " + std::to_string(at));
  repeats[static_cast<size_t>(at)] = *tiles->data<int64_t>();
  r.node.inputs = {r.node.in(0), r.constant(repeats, "repeats")};
}

void scatter_rename(Rewrite& r) {
  r.node.op = "ScatterElements";
}

// An experimental operator of opset 1: a constant of a shape that an attribute or an input gives.
void constant_fill(Rewrite& r) {
  const Attrs& a = r.node.attrs;
  const DType t = static_cast<DType>(a.integer("dtype", static_cast<int64_t>(DType::f32)));
  const Tensor value = scalar_of(t, a.real("value", 0)).reshaped({1});
  ValueId shape = kNoValue;
  if (r.node.in(0) == kNoValue) {
    shape = r.constant(a.integers("shape"), "shape");
  } else {
    shape = a.integer("input_as_shape", 0) ? r.node.in(0) : r.add1("Shape", {r.node.in(0)});
    const Dims extra = a.integers("extra_shape", {});
    if (!extra.empty()) shape = r.add1("Concat", {shape, r.constant(extra, "extra")}, {{"axis", int64_t{0}}});
  }
  r.result(0, r.add1("ConstantOfShape", {shape}, {{"value", value}}));
}

// An experimental operator of opset 1: Slice with inputs, which opset 10 has.
void dynamic_slice(Rewrite& r) {
  r.node.op = "Slice";
}

constexpr UpgradeRow kRows[] = {
    {"Concat", 3, concat_axis},
    {"Reshape", 4, reshape_shape},
    {"Squeeze", 12, axes_to_input},
    {"Unsqueeze", 12, axes_to_input},
    {"Pad", 1, pad_rename},
    {"Pad", 10, pad_to_inputs},
    {"Slice", 9, slice_to_inputs},
    {"Split", 12, split_to_input},
    {"Split", 17, split_count},
    {"Tile", 5, tile_repeats},
    {"Scatter", kAlways, scatter_rename},
    {"ConstantFill", kAlways, constant_fill},
    {"DynamicSlice", kAlways, dynamic_slice},
};

}  // namespace

std::span<const UpgradeRow> shape_upgrades() {
  return kRows;
}

}  // namespace skyline::onnx
