#pragma once
// Conversion between element types, as Cast defines it.
#include <string_view>

#include "graph/ir/op.h"

namespace skyline::ops {

struct CastOptions {
  bool saturate = true;  // 8-bit floats: overflow gives the largest finite value
  enum class Round : uint8_t { up, down, nearest } round = Round::up;  // f8e8m0 only
};

// x as `to`; shares storage when that is its dtype already. Error{unsupported} for complex types,
// Error{invalid} for a string that is no number. Allocates through `c`.
Tensor cast_tensor(const EvalContext& c, const Tensor& x, DType to, const CastOptions& options = {});

// The dtype that an integer attribute names; Error{invalid} if it is missing or names none,
// Error{unsupported} if we do not have it.
DType dtype_attribute(const Attrs& attrs, std::string_view name);
DType dtype_attribute(const Attrs& attrs, std::string_view name, DType fallback);  // absent or 0: fallback

// The nearest odd f32: a later rounding to fewer bits then gives what one rounding from double would.
float round_to_odd(double x);

}  // namespace skyline::ops
