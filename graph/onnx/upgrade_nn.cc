// Old forms of layers: normalisations, softmax, pooling, recurrence.
#include <limits>

#include "graph/onnx/upgrade_rows.h"

namespace skyline::onnx {
namespace {

constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

// Before opset 13, softmax and its kin worked on the input as a matrix, split at `axis`. The same as along
// one axis of now, if all others behind the split are of size 1.
void softmax_matrix(Rewrite& r) {
  const int64_t axis = r.node.attrs.integer("axis", 1);
  const Fact& x = r.fact(0);
  if (x.ranked) {
    const int64_t rank = x.rank(), split = axis < 0 ? axis + rank : axis;
    if (split < 0 || split > rank)
      throw Error(Code::invalid, "axis " + std::to_string(axis) + " at rank " + std::to_string(rank));
    int64_t wide = -1, count = 0;
    for (int64_t i = split; i < rank; ++i) {
      if (x.dims[static_cast<size_t>(i)] == Dim(1)) continue;
      wide = i;
      ++count;
    }
    if (count == 0) wide = rank - 1;
    if (count <= 1 && split < rank) {
      r.node.attrs.set("axis", wide);
      return;
    }
  }
  const ValueId matrix = r.add1("Flatten", {r.node.in(0)}, {{"axis", axis}});
  const ValueId y = r.add1(r.node.op, {matrix}, {{"axis", int64_t{-1}}});
  r.result(0, r.add1("Reshape", {y, r.add1("Shape", {r.node.in(0)})}, {{"allowzero", int64_t{1}}}));
}

void batch_norm_mode(Rewrite& r) {
  if (r.node.attrs.integer("spatial", 1) == 0)
    throw Error(Code::unsupported, "statistics per element (spatial = 0)");
  r.node.attrs.erase("spatial");
  r.node.attrs.erase("is_test");
  for (size_t i = 1; i < r.node.wanted.size(); ++i) {
    if (r.node.wanted[i]) throw Error(Code::unsupported, "training outputs of an opset before 14");
  }
}

// In inference a dropout copies; the mask of opsets before 10 has no defined use there.
void dropout_inference(Rewrite& r) {
  r.node.attrs.erase("ratio");
  r.node.attrs.erase("is_test");
  if (r.node.wants(1) && r.node.opset < 10) throw Error(Code::unsupported, "the mask of an opset before 10");
}

void pool_norm(Rewrite& r) {
  const AttrValue* p = r.node.attrs.find("p");
  if (!p || !std::holds_alternative<float>(*p)) return;
  const float norm = std::get<float>(*p);
  if (norm < 1 || norm > 1000 || norm != static_cast<float>(static_cast<int64_t>(norm))) {
    throw Error(Code::unsupported, "a norm that is not a whole number");
  }
  r.node.attrs.set("p", static_cast<int64_t>(norm));
}

void drop_output_sequence(Rewrite& r) {
  r.node.attrs.erase("output_sequence");
}

// A typo in the specification of opset 1 was the default.
void gru_direction(Rewrite& r) {
  if (r.node.attrs.text("direction", "forward") == "foward")
    r.node.attrs.set("direction", std::string("forward"));
}

// Scale and bias were per group; now they are per channel.
void group_norm_channels(Rewrite& r) {
  const int64_t groups = r.node.attrs.integer("num_groups");
  if (groups < 1) throw Error(Code::invalid, "num_groups " + std::to_string(groups));
  const ValueId channels = r.add1("Shape", {r.node.in(0)}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
  const ValueId count = r.constant(std::vector<int64_t>{groups}, "groups");
  const ValueId each = r.add1("Div", {channels, count});
  const ValueId table = r.add1("Concat", {count, each}, {{"axis", int64_t{0}}});
  const ValueId column = r.constant(std::vector<int64_t>{groups, 1}, "column");
  const ValueId flat = r.constant(std::vector<int64_t>{-1}, "flat");
  for (size_t i = 1; i <= 2; ++i) {
    const ValueId spread = r.add1("Expand", {r.add1("Reshape", {r.node.in(i), column}), table});
    r.set_input(i, r.add1("Reshape", {spread, flat}));
  }
}

void roi_align_corner(Rewrite& r) {
  r.node.attrs.set("coordinate_transformation_mode", std::string("output_half_pixel"));
}

void grid_sample_mode(Rewrite& r) {
  const std::string mode = r.node.attrs.text("mode", "bilinear");
  r.node.attrs.set("mode", std::string(mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode));
}

// The experimental form of opset 1 had a flag where there are axes now.
void mean_variance_axes(Rewrite& r) {
  if (!r.node.attrs.has("across_channels")) return;
  if (r.node.attrs.integer("normalize_variance", 1) == 0)
    throw Error(Code::unsupported, "normalize_variance = 0");
  const bool across = r.node.attrs.integer("across_channels") != 0;
  r.node.attrs.erase("across_channels");
  r.node.attrs.erase("normalize_variance");
  r.node.attrs.set("axes", across ? Dims{1, 2, 3} : Dims{2, 3});
}

constexpr UpgradeRow kRows[] = {
    {"Softmax", 12, softmax_matrix},
    {"LogSoftmax", 12, softmax_matrix},
    {"Hardmax", 12, softmax_matrix},
    {"BatchNormalization", 13, batch_norm_mode},
    {"Dropout", 11, dropout_inference},
    {"LpPool", 1, pool_norm},
    {"GlobalLpPool", 1, pool_norm},
    {"GRU", 6, drop_output_sequence},
    {"GRU", 2, gru_direction},
    {"LSTM", 6, drop_output_sequence},
    {"RNN", 6, drop_output_sequence},
    {"GroupNormalization", 20, group_norm_channels},
    {"RoiAlign", 15, roi_align_corner},
    {"GridSample", 19, grid_sample_mode},
    {"MeanVarianceNormalization", kAlways, mean_variance_axes},
};

}  // namespace

std::span<const UpgradeRow> nn_upgrades() {
  return kRows;
}

}  // namespace skyline::onnx
