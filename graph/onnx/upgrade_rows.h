#pragma once
// The table of old forms, family by family, and what the families share.
#include <span>

#include "graph/onnx/upgrade.h"

namespace skyline::onnx {

struct UpgradeRow {
  std::string_view op;
  int64_t until;  // the last opset that has the old form
  void (*apply)(Rewrite&);
};

std::span<const UpgradeRow> math_upgrades();
std::span<const UpgradeRow> shape_upgrades();
std::span<const UpgradeRow> nn_upgrades();
std::span<const UpgradeRow> loop_upgrades();
std::span<const UpgradeRow> resize_upgrades();

// A scalar of a numeric type; Error{unsupported} for others.
Tensor scalar_of(DType t, double value);

}  // namespace skyline::onnx
