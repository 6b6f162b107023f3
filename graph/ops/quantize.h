#pragma once
// What the quantized families share: which scale belongs to which element, and requantization.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ir/op.h"

namespace skyline::ops {

// Where the scale (and zero point) of an element is. The tensor is seen as [outer, axis, inner]; element (o,
// a, i) has the parameters at o * outer_step + (a / block) * axis_step + i * inner_step.
struct Granularity {
  int64_t outer = 1, axis = 1, inner = 1;
  int64_t block = 1;
  int64_t outer_step = 0, axis_step = 0, inner_step = 0;
};

// Of a scale for a tensor `x`: one element is per-tensor, a vector per-axis, with block_size > 0 blocked
// along the axis. Error{invalid} when the shapes do not fit.
Granularity granularity(const Dims& x, const Dims& scale, int64_t axis, int64_t block_size);

// Error{invalid} unless every element is finite and above 0 (zero_is_fine: or 0). `what` names it.
void check_scales(const Tensor& scale, std::string_view what, bool zero_is_fine);

// The one element of a float tensor; Error{invalid} if there are more.
float single_scale(const Tensor& scale, std::string_view what, bool zero_is_fine = true);
// Of an i8 or u8 zero point, which must have the dtype of the tensor it belongs to; 0 when the input is
// missing.
int32_t single_zero_point(const EvalContext& c, size_t i, DType of);
// All of them as i32, of whatever shape; a scalar 0 when the input is missing.
Tensor zero_points(const EvalContext& c, size_t i, DType of);

// Integers that a quantized dtype can hold.
struct Range {
  int32_t low = 0, high = 0;
};
Range range_of(DType t);  // Error{unsupported} unless it is an integer of at most 16 bits

// Rounds half to even, adds the zero point, saturates. NaN becomes the lowest value.
inline int32_t quantize(float x, float zero_point, float low, float high) {
  const float shifted_low = low - zero_point, shifted_high = high - zero_point;
  const float clamped = x > shifted_low ? (x < shifted_high ? x : shifted_high) : shifted_low;
  return static_cast<int32_t>(std::nearbyint(clamped)) + static_cast<int32_t>(zero_point);
}

// u8 scale and zero point that cover the values and zero, as DynamicQuantizeLinear finds them.
struct DynamicScale {
  float scale = 1;
  uint8_t zero_point = 0;
};
DynamicScale dynamic_scale(std::span<const float> x);  // Error{input} when they are not finite
void quantize_dynamic(std::span<const float> x, const DynamicScale& d, uint8_t* y);

// A row of a quantized family.
constexpr OpDef quantized_row(std::string_view domain, std::string_view name, int min_inputs, int max_inputs,
                              InferFn infer, EvalFn eval, WorkFn work) {
  return {.name = name,
          .domain = domain,
          .min_inputs = min_inputs,
          .max_inputs = max_inputs,
          .infer = infer,
          .eval = eval,
          .work = work};
}

// Error{invalid} unless t is i8 or u8 (or still undefined).
void require_byte(DType t, std::string_view what);

}  // namespace skyline::ops
