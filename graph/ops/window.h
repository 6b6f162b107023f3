#pragma once
// Sliding windows, as convolutions and pools describe them in attributes.
#include "graph/ir/op.h"

namespace skyline::ops {

enum class AutoPad { notset, same_upper, same_lower, valid };

// kernel, strides, dilations, begin, end have one entry per spatial axis. begin and end hold the attribute
// pads until fit() replaces them where auto_pad says so.
struct Window {
  AutoPad auto_pad = AutoPad::notset;
  bool ceil_mode = false;
  Dims kernel, strides, dilations, begin, end;

  int rank() const { return static_cast<int>(kernel.size()); }
  // Extent of the dilated kernel along one axis.
  int64_t extent(size_t axis) const { return dilations[axis] * (kernel[axis] - 1) + 1; }
  // Number of window positions over `in` elements; settles begin and end. Error{invalid} if there is none.
  int64_t fit(size_t axis, int64_t in);
  Dims fit(const Dims& in);
  // The same for dims that may not be known yet; a window that keeps the size keeps the symbol.
  SymDims fit(const SymDims& in);
};

AutoPad parse_auto_pad(const Attrs& a);
// `name` as a list of `rank` entries, each in [low, 2^31); absent: all `fallback`. Error{invalid} otherwise.
Dims parse_per_axis(const Attrs& a, std::string_view name, int rank, int64_t low, int64_t fallback);
// Reads auto_pad, strides, dilations, pads, ceil_mode.
Window parse_window(const Attrs& a, const Dims& kernel);

}  // namespace skyline::ops
