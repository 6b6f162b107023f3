#include "graph/ops/window.h"

#include <algorithm>

#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {
constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // so that no product of two of them overflows
}

int64_t Window::fit(size_t axis, int64_t in) {
  const int64_t stride = strides[axis], reach = extent(axis);
  if (auto_pad == AutoPad::same_upper || auto_pad == AutoPad::same_lower) {
    if (in < 1) reject("window over an empty spatial axis " + std::to_string(axis));
    const int64_t out = (in - 1) / stride + 1;
    const int64_t total = std::max<int64_t>(0, (out - 1) * stride + reach - in);
    begin[axis] = auto_pad == AutoPad::same_upper ? total / 2 : total - total / 2;
    end[axis] = total - begin[axis];
    return out;
  }
  if (auto_pad == AutoPad::valid) begin[axis] = end[axis] = 0;
  const int64_t room = in + begin[axis] + end[axis] - reach;
  if (room < 0) {
    reject("window of " + std::to_string(reach) + " over " + std::to_string(in) + " padded by " +
           std::to_string(begin[axis]) + " and " + std::to_string(end[axis]) + " (spatial axis " +
           std::to_string(axis) + ") has no position");
  }
  int64_t out = room / stride + 1;
  // A last, partial window counts in ceil mode unless it would start in the padding at the end.
  if (ceil_mode && auto_pad == AutoPad::notset && room % stride != 0 && out * stride < in + begin[axis])
    ++out;
  return out;
}

Dims Window::fit(const Dims& in) {
  Dims out(in.size());
  for (size_t i = 0; i < in.size(); ++i) out[i] = fit(i, in[i]);
  return out;
}

SymDims Window::fit(const SymDims& in) {
  SymDims out(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    const bool same = auto_pad == AutoPad::same_upper || auto_pad == AutoPad::same_lower;
    if (in[i].known()) {
      out[i] = fit(i, in[i].value());
    } else if (strides[i] == 1 &&
               (same || (auto_pad == AutoPad::notset && begin[i] + end[i] == extent(i) - 1))) {
      out[i] = in[i];
    }
  }
  return out;
}

AutoPad parse_auto_pad(const Attrs& a) {
  const std::string s = a.text("auto_pad", "NOTSET");
  if (s == "NOTSET" || s.empty()) return AutoPad::notset;
  if (s == "SAME_UPPER") return AutoPad::same_upper;
  if (s == "SAME_LOWER") return AutoPad::same_lower;
  if (s == "VALID") return AutoPad::valid;
  reject("attribute auto_pad is '" + s + "', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID");
}

Dims parse_per_axis(const Attrs& a, std::string_view name, int rank, int64_t low, int64_t fallback) {
  const auto n = static_cast<size_t>(rank);
  Dims out = a.integers(name, Dims(n, fallback));
  if (out.empty()) out.assign(n, fallback);
  if (out.size() != n) {
    reject("attribute " + std::string(name) + " has " + std::to_string(out.size()) + " entries, expected " +
           std::to_string(n));
  }
  for (int64_t v : out) {
    if (v < low || v > kMost) {
      reject("attribute " + std::string(name) + " has " + std::to_string(v) + ", expected at least " +
             std::to_string(low));
    }
  }
  return out;
}

Window parse_window(const Attrs& a, const Dims& kernel) {
  Window w;
  const int rank = static_cast<int>(kernel.size());
  for (int64_t k : kernel) {
    if (k < 1 || k > kMost) reject("kernel size " + std::to_string(k) + ", expected at least 1");
  }
  w.kernel = kernel;
  w.auto_pad = parse_auto_pad(a);
  w.ceil_mode = flag(a, "ceil_mode");
  w.strides = parse_per_axis(a, "strides", rank, 1, 1);
  w.dilations = parse_per_axis(a, "dilations", rank, 1, 1);
  const Dims pads = parse_per_axis(a, "pads", 2 * rank, 0, 0);
  w.begin.assign(pads.begin(), pads.begin() + rank);
  w.end.assign(pads.begin() + rank, pads.end());
  return w;
}

}  // namespace skyline::ops
