// Old forms of elementwise operators, reductions and casts.
#include <iterator>
#include <limits>

#include "graph/onnx/upgrade_rows.h"

namespace skyline::onnx {
namespace {

constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

// Before opset 7 the second operand was broadcast only on demand, lined up at `axis`. Now the last axes line
// up: axes of size 1 behind it say the same.
void broadcast_at_axis(Rewrite& r) {
  Attrs& attrs = r.node.attrs;
  if (attrs.integer("broadcast", 0) != 0 && attrs.has("axis")) {
    const int rank_a = r.rank(0), rank_b = r.rank(1);
    int64_t axis = attrs.integer("axis");
    if (axis < 0) axis += rank_a;
    const int64_t behind = rank_a - axis - rank_b;
    if (axis < 0 || behind < 0) {
      throw Error(Code::invalid, "axis " + std::to_string(attrs.integer("axis")) + " does not fit ranks " +
                                     std::to_string(rank_a) + " and " + std::to_string(rank_b));
    }
    std::vector<int64_t> axes;
    for (int64_t i = 0; i < behind; ++i) axes.push_back(rank_b + i);
    if (behind > 0) r.set_input(1, r.add1("Unsqueeze", {r.node.in(1), r.constant(axes, "axes")}));
  }
  attrs.erase("broadcast");
  attrs.erase("axis");
}

// The slope was per channel or one for all; axes of size 1 behind the channels make it broadcast.
void prelu_channels(Rewrite& r) {
  const int rank_x = r.rank(0);
  if (r.rank(1) != 1 || r.fact(1).dims[0] == Dim(1) || rank_x <= 2) return;
  std::vector<int64_t> axes;
  for (int64_t i = 1; i < rank_x - 1; ++i) axes.push_back(i);
  r.set_input(1, r.add1("Unsqueeze", {r.node.in(1), r.constant(axes, "axes")}));
}

void cast_names(Rewrite& r) {
  constexpr std::string_view kNames[] = {"UNDEFINED", "FLOAT",  "UINT8",     "INT8",      "UINT16",  "INT16",
                                         "INT32",     "INT64",  "STRING",    "BOOL",      "FLOAT16", "DOUBLE",
                                         "UINT32",    "UINT64", "COMPLEX64", "COMPLEX128"};
  const std::string to = r.node.attrs.text("to");
  for (size_t i = 1; i < std::size(kNames); ++i) {
    if (to == kNames[i]) {
      r.node.attrs.set("to", static_cast<int64_t>(i));
      return;
    }
  }
  throw Error(Code::invalid, "a cast to '" + to + "'");
}

void clip_bounds(Rewrite& r) {
  if (r.node.inputs.size() > 1) throw Error(Code::invalid, "its bounds are attributes before opset 11");
  size_t slot = 1;
  for (const char* bound : {"min", "max"}) {
    if (r.node.attrs.has(bound)) {
      r.set_input(slot, r.constant(scalar_of(r.dtype(0), r.node.attrs.real(bound)), bound));
      r.node.attrs.erase(bound);
    }
    ++slot;
  }
}

void reduce_axes(Rewrite& r) {
  if (r.node.inputs.size() > 1) throw Error(Code::invalid, "its axes are an attribute in this opset");
  r.ints_to_input("axes", 1);
}

void gemm_broadcast(Rewrite& r) {
  r.node.attrs.erase("broadcast");
}

void selu_defaults(Rewrite& r) {
  if (!r.node.attrs.has("alpha")) r.node.attrs.set("alpha", 1.6732f);
  if (!r.node.attrs.has("gamma")) r.node.attrs.set("gamma", 1.0507f);
}

void top_k_count(Rewrite& r) {
  const int64_t k = r.node.attrs.integer("k");
  r.node.attrs.erase("k");
  r.set_input(1, r.constant(std::vector<int64_t>{k}, "k"));
}

void dft_axis(Rewrite& r) {
  const int64_t axis = r.node.attrs.integer("axis", 1);
  r.node.attrs.erase("axis");
  r.set_input(2, r.constant(Tensor::scalar(axis), "axis"));
}

// Experimental operators of opset 1 that converters from Caffe2 and Core ML used.
void affine(Rewrite& r) {
  const DType t = r.dtype(0);
  const ValueId alpha = r.constant(scalar_of(t, r.node.attrs.real("alpha", 1)), "alpha");
  const ValueId beta = r.constant(scalar_of(t, r.node.attrs.real("beta", 0)), "beta");
  r.result(0, r.add1("Add", {r.add1("Mul", {r.node.in(0), alpha}), beta}));
}

void scaled_tanh(Rewrite& r) {
  const DType t = r.dtype(0);
  const ValueId alpha = r.constant(scalar_of(t, r.node.attrs.real("alpha", 1)), "alpha");
  const ValueId beta = r.constant(scalar_of(t, r.node.attrs.real("beta", 1)), "beta");
  r.result(0, r.add1("Mul", {alpha, r.add1("Tanh", {r.add1("Mul", {r.node.in(0), beta})})}));
}

void image_scaler(Rewrite& r) {
  const std::vector<float> bias = r.node.attrs.reals("bias", {});
  const ValueId scale = r.constant(scalar_of(r.dtype(0), r.node.attrs.real("scale", 1)), "scale");
  if (r.dtype(0) != DType::f32) throw Error(Code::unsupported, "dtype " + std::string(name(r.dtype(0))));
  const ValueId shift =
      r.constant(Tensor::of<float>({1, static_cast<int64_t>(bias.size()), 1, 1}, bias), "bias");
  r.result(0, r.add1("Add", {r.add1("Mul", {r.node.in(0), scale}), shift}));
}

constexpr UpgradeRow kRows[] = {
    {"Add", 6, broadcast_at_axis},
    {"Sub", 6, broadcast_at_axis},
    {"Mul", 6, broadcast_at_axis},
    {"Div", 6, broadcast_at_axis},
    {"Pow", 6, broadcast_at_axis},
    {"And", 6, broadcast_at_axis},
    {"Or", 6, broadcast_at_axis},
    {"Xor", 6, broadcast_at_axis},
    {"Equal", 6, broadcast_at_axis},
    {"Greater", 6, broadcast_at_axis},
    {"Less", 6, broadcast_at_axis},
    {"PRelu", 6, prelu_channels},
    {"Gemm", 6, gemm_broadcast},
    {"Cast", 5, cast_names},
    {"Clip", 10, clip_bounds},
    {"Selu", 5, selu_defaults},
    {"ReduceSum", 12, reduce_axes},
    {"ReduceL1", 17, reduce_axes},
    {"ReduceL2", 17, reduce_axes},
    {"ReduceLogSum", 17, reduce_axes},
    {"ReduceLogSumExp", 17, reduce_axes},
    {"ReduceMax", 17, reduce_axes},
    {"ReduceMean", 17, reduce_axes},
    {"ReduceMin", 17, reduce_axes},
    {"ReduceProd", 17, reduce_axes},
    {"ReduceSumSquare", 17, reduce_axes},
    {"TopK", 9, top_k_count},
    {"DFT", 19, dft_axis},
    {"Affine", kAlways, affine},
    {"ScaledTanh", kAlways, scaled_tanh},
    {"ImageScaler", kAlways, image_scaler},
};

}  // namespace

std::span<const UpgradeRow> math_upgrades() {
  return kRows;
}

}  // namespace skyline::onnx
