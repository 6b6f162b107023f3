// Operators that only give the same bytes other dims: no code runs, the planner shares the memory.
#include "engine/lower/families.h"

namespace skyline::lower {
namespace {

std::optional<Lowered> lower_alias(Lowering& l) {
  if (l.in_type(0) != l.out_type()) return std::nullopt;
  return Lowered{.kernel = "alias", .alias = 0};
}

constexpr LowerRow kRows[] = {
    {"Reshape", "", lower_alias},   {"Flatten", "", lower_alias},  {"Squeeze", "", lower_alias},
    {"Unsqueeze", "", lower_alias}, {"Identity", "", lower_alias},
};

}  // namespace

std::span<const LowerRow> shape_rows() {
  return kRows;
}

}  // namespace skyline::lower
