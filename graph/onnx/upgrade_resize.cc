// Upsample and Resize, which changed their rules of rounding several times.
#include <limits>

#include "graph/onnx/upgrade_rows.h"

namespace skyline::onnx {
namespace {

constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

std::string plain_mode(const Attrs& attrs) {
  const std::string mode = attrs.text("mode", "nearest");
  return mode == "bilinear" ? "linear" : mode;
}

Attrs asymmetric(const std::string& mode, const char* rounding) {
  return {{"mode", mode},
          {"coordinate_transformation_mode", std::string("asymmetric")},
          {"nearest_mode", std::string(rounding)}};
}

void upsample(Rewrite& r) {
  const Attrs& a = r.node.attrs;
  ValueId scales = r.node.in(1);
  if (a.has("height_scale")) {
    scales =
        r.constant(Tensor::of<float>({4}, {1, 1, a.real("height_scale"), a.real("width_scale")}), "scales");
  } else if (a.has("scales")) {
    const std::vector<float> list = a.reals("scales", {});
    scales = r.constant(Tensor::of<float>({static_cast<int64_t>(list.size())}, list), "scales");
  }
  if (scales == kNoValue) throw Error(Code::invalid, "no scales");
  r.node.attrs = asymmetric(plain_mode(a), "floor");
  r.node.op = "Resize";
  r.node.inputs = {r.node.in(0), kNoValue, scales};
}

// Nearest in opset 10 rounded down where it enlarged and up where it shrank.
void resize_10(Rewrite& r) {
  const std::string mode = plain_mode(r.node.attrs);
  const ValueId scales = r.node.in(1);
  if (scales == kNoValue) throw Error(Code::invalid, "no scales");
  const Tensor* values = r.graph.constant(scales);
  bool shrinks = false, grows = false;
  if (values && values->dtype() == DType::f32) {
    for (float s : values->span<float>()) shrinks = shrinks || s < 1, grows = grows || s > 1;
  }
  if (mode == "nearest" && shrinks && grows)
    throw Error(Code::unsupported, "one axis grows and another shrinks");
  r.node.attrs = asymmetric(mode, shrinks ? "ceil" : "floor");
  r.node.inputs = {r.node.in(0), kNoValue, scales};
}

// Opsets 11 and 12 had to write an empty tensor for what is omitted now.
void resize_empty_inputs(Rewrite& r) {
  for (size_t i = 1; i < r.node.inputs.size(); ++i) {
    const Tensor* t = r.graph.constant(r.node.in(i));
    if (t && t->size() == 0) r.node.inputs[i] = kNoValue;
  }
}

constexpr UpgradeRow kRows[] = {
    {"Upsample", kAlways, upsample},
    {"Resize", 10, resize_10},
    {"Resize", kAlways, resize_empty_inputs},
};

}  // namespace

std::span<const UpgradeRow> resize_upgrades() {
  return kRows;
}

}  // namespace skyline::onnx
