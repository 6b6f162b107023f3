#pragma once
// The precision ladder: in which arithmetic sums of products are computed.
#include <cstdint>
#include <string_view>

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// A rung says how factors are rounded before they are multiplied; sums are kept in f32 (i32 for int8), and
// what lies between operators stays what the model says unless a pass changes it.
//   f32     not rounded
//   bf16x6  each factor is a sum of three bf16; the six largest products: the error of plain f32
//   bf16x3  a sum of two; three products: relative error about 4e-7 of the sum of magnitudes
//   bf16    8 bits of mantissa
//   f16     11 bits, and sums of short runs are rounded so too
//   int8    8-bit integers with scales
enum class Precision : uint8_t {
  model,  // sessions only: what the file says, node by node
  f32,
  bf16x6,
  bf16x3,
  bf16,
  f16,
  int8
};
std::string_view name(Precision p) noexcept;
Precision precision_from_name(std::string_view s);  // Error{invalid} listing the known names

}  // namespace skyline
#pragma GCC visibility pop
