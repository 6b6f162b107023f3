#pragma once
// Element types. The numbers are those of ONNX TensorProto.DataType, so that files and C callers agree with
// us.
#include <cstddef>
#include <cstdint>
#include <string_view>

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

enum class DType : uint8_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  c64 = 14,
  c128 = 15,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  i4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,
  i2 = 26,
};

// Short name as used in messages and kernel names: "f32", "i8", "bool", ...
std::string_view name(DType t) noexcept;
// Inverse of name(); also takes the usual long forms ("float32", "float", "int8"). undefined if unknown.
DType dtype_from_name(std::string_view s) noexcept;

// Bytes of one element in memory. In memory the 4- and 2-bit types take one byte per element, sign-extended
// where signed; they are packed only in files. string is sizeof(std::string). 0 for undefined.
size_t size_of(DType t) noexcept;
// Bits of one element in a file: 4 and 2 for the sub-byte types, else 8 * size_of.
int storage_bits(DType t) noexcept;

constexpr bool is_float(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16;
}
constexpr bool is_small_float(DType t) {  // 8 bits and fewer
  return t == DType::f8e4m3fn || t == DType::f8e4m3fnuz || t == DType::f8e5m2 || t == DType::f8e5m2fnuz ||
         t == DType::f8e8m0 || t == DType::f4e2m1;
}
constexpr bool is_signed_int(DType t) {
  return t == DType::i8 || t == DType::i16 || t == DType::i32 || t == DType::i64 || t == DType::i4 ||
         t == DType::i2;
}
constexpr bool is_unsigned_int(DType t) {
  return t == DType::u8 || t == DType::u16 || t == DType::u32 || t == DType::u64 || t == DType::u4 ||
         t == DType::u2;
}
constexpr bool is_int(DType t) {
  return is_signed_int(t) || is_unsigned_int(t);
}
constexpr bool is_complex(DType t) {
  return t == DType::c64 || t == DType::c128;
}

// The C++ type of an element, to DType. f16, bf16 and the small floats: see half.h.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::u16;
};
template <>
struct DTypeOf<int16_t> {
  static constexpr DType value = DType::i16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint32_t> {
  static constexpr DType value = DType::u32;
};
template <>
struct DTypeOf<uint64_t> {
  static constexpr DType value = DType::u64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};
template <class T>
inline constexpr DType kDTypeOf = DTypeOf<T>::value;

}  // namespace skyline
#pragma GCC visibility pop
