#include "skyline/dtype.h"

#include <string>

namespace skyline {
namespace {

struct Row {
  DType type;
  std::string_view name, long_name;
  uint16_t bytes, bits;
};
constexpr Row kRows[] = {
    {DType::undefined, "undefined", "undefined", 0, 0},
    {DType::f32, "f32", "float", 4, 32},
    {DType::u8, "u8", "uint8", 1, 8},
    {DType::i8, "i8", "int8", 1, 8},
    {DType::u16, "u16", "uint16", 2, 16},
    {DType::i16, "i16", "int16", 2, 16},
    {DType::i32, "i32", "int32", 4, 32},
    {DType::i64, "i64", "int64", 8, 64},
    {DType::string, "string", "string", sizeof(std::string), 8 * sizeof(std::string)},
    {DType::boolean, "bool", "boolean", 1, 8},
    {DType::f16, "f16", "float16", 2, 16},
    {DType::f64, "f64", "double", 8, 64},
    {DType::u32, "u32", "uint32", 4, 32},
    {DType::u64, "u64", "uint64", 8, 64},
    {DType::c64, "c64", "complex64", 8, 64},
    {DType::c128, "c128", "complex128", 16, 128},
    {DType::bf16, "bf16", "bfloat16", 2, 16},
    {DType::f8e4m3fn, "f8e4m3fn", "float8e4m3fn", 1, 8},
    {DType::f8e4m3fnuz, "f8e4m3fnuz", "float8e4m3fnuz", 1, 8},
    {DType::f8e5m2, "f8e5m2", "float8e5m2", 1, 8},
    {DType::f8e5m2fnuz, "f8e5m2fnuz", "float8e5m2fnuz", 1, 8},
    {DType::u4, "u4", "uint4", 1, 4},
    {DType::i4, "i4", "int4", 1, 4},
    {DType::f4e2m1, "f4e2m1", "float4e2m1", 1, 4},
    {DType::f8e8m0, "f8e8m0", "float8e8m0", 1, 8},
    {DType::u2, "u2", "uint2", 1, 2},
    {DType::i2, "i2", "int2", 1, 2},
};
constexpr const Row& row(DType t) {
  return kRows[static_cast<size_t>(t) < std::size(kRows) ? static_cast<size_t>(t) : 0];
}

}  // namespace

std::string_view name(DType t) noexcept {
  return row(t).name;
}
size_t size_of(DType t) noexcept {
  return row(t).bytes;
}
int storage_bits(DType t) noexcept {
  return row(t).bits;
}

DType dtype_from_name(std::string_view s) noexcept {
  for (const Row& r : kRows) {
    if (s == r.name || s == r.long_name) return r.type;
  }
  if (s == "float32") return DType::f32;
  if (s == "float64") return DType::f64;
  return DType::undefined;
}

}  // namespace skyline
