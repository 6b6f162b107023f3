// Conversions between element types: every pair of the list in find_cast from one template. f16 and bf16 to
// and from f32 are in the ISA tables; with the other types they go through f32, block by block.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/eltwise/eltwise.h"

namespace skyline::kernels {
namespace {

struct Bool {};  // stored as a byte, 0 or 1

template <class To, class From>
To convert(From v) noexcept {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // The width that the hardware converts to; a value it cannot hold gives its least value (C++ leaves it
    // undefined).
    using Wide = std::conditional_t<(sizeof(To) < 4 || std::is_same_v<To, int32_t>), int32_t, int64_t>;
    constexpr From bound = static_cast<From>(uint64_t{1} << (8 * sizeof(Wide) - 1));
    if constexpr (std::is_same_v<To, uint64_t>) {
      if (v >= bound && v < 2 * bound) return static_cast<uint64_t>(v);
    }
    const bool fits = v >= -bound && v < bound;
    return static_cast<To>(fits ? static_cast<Wide>(v) : std::numeric_limits<Wide>::min());
  } else {
    return static_cast<To>(v);
  }
}

template <class From, class To>
void cast(const void* x, void* y, int64_t n) noexcept {
  if constexpr (std::is_same_v<From, Bool>) {
    const uint8_t* in = static_cast<const uint8_t*>(x);
    To* out = static_cast<To*>(y);
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<To>(in[i] != 0);
  } else if constexpr (std::is_same_v<To, Bool>) {
    const From* in = static_cast<const From*>(x);
    uint8_t* out = static_cast<uint8_t*>(y);
    for (int64_t i = 0; i < n; ++i) out[i] = in[i] != From(0);
  } else {
    const From* in = static_cast<const From*>(x);
    To* out = static_cast<To*>(y);
    for (int64_t i = 0; i < n; ++i) out[i] = convert<To>(in[i]);
  }
}

template <size_t Bytes>
void same(const void* x, void* y, int64_t n) noexcept {
  if (n > 0) std::memmove(y, x, static_cast<size_t>(n) * Bytes);
}

template <class From>
CastFn to_type(DType to) noexcept {
  switch (to) {
    case DType::f32:
      return cast<From, float>;
    case DType::f64:
      return cast<From, double>;
    case DType::i8:
      return cast<From, int8_t>;
    case DType::u8:
      return cast<From, uint8_t>;
    case DType::i16:
      return cast<From, int16_t>;
    case DType::u16:
      return cast<From, uint16_t>;
    case DType::i32:
      return cast<From, int32_t>;
    case DType::u32:
      return cast<From, uint32_t>;
    case DType::i64:
      return cast<From, int64_t>;
    case DType::u64:
      return cast<From, uint64_t>;
    case DType::boolean:
      if constexpr (std::is_same_v<From, Bool>) {
        return same<1>;
      } else {
        return cast<From, Bool>;
      }
    default:
      return nullptr;
  }
}

CastFn between_plain(DType from, DType to) noexcept {
  switch (from) {
    case DType::f32:
      return to_type<float>(to);
    case DType::f64:
      return to_type<double>(to);
    case DType::i8:
      return to_type<int8_t>(to);
    case DType::u8:
      return to_type<uint8_t>(to);
    case DType::i16:
      return to_type<int16_t>(to);
    case DType::u16:
      return to_type<uint16_t>(to);
    case DType::i32:
      return to_type<int32_t>(to);
    case DType::u32:
      return to_type<uint32_t>(to);
    case DType::i64:
      return to_type<int64_t>(to);
    case DType::u64:
      return to_type<uint64_t>(to);
    case DType::boolean:
      return to_type<Bool>(to);
    default:
      return nullptr;
  }
}

}  // namespace

// A kernel is a plain function, so a pair that goes through f32 is one instantiation per pair of ends.
namespace {

constexpr int64_t kBlock = 512;

template <DType From, DType To>
void through_f32(const void* x, void* y, int64_t n) noexcept {
  // The baseline table: its conversions have the same bits as the others'.
  const EltwiseTable& t = eltwise_kernels(kIsaNone);
  const CastFn first = find_cast(t, From, DType::f32), second = find_cast(t, DType::f32, To);
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  const int64_t in_bytes = static_cast<int64_t>(size_of(From)), out_bytes = static_cast<int64_t>(size_of(To));
  float block[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    first(in + i * in_bytes, block, count);
    second(block, out + i * out_bytes, count);
  }
}

template <DType Half>
CastFn from_half(DType to) noexcept {
  switch (to) {
    case DType::f64:
      return through_f32<Half, DType::f64>;
    case DType::i8:
      return through_f32<Half, DType::i8>;
    case DType::u8:
      return through_f32<Half, DType::u8>;
    case DType::i16:
      return through_f32<Half, DType::i16>;
    case DType::u16:
      return through_f32<Half, DType::u16>;
    case DType::i32:
      return through_f32<Half, DType::i32>;
    case DType::u32:
      return through_f32<Half, DType::u32>;
    case DType::i64:
      return through_f32<Half, DType::i64>;
    case DType::u64:
      return through_f32<Half, DType::u64>;
    case DType::boolean:
      return through_f32<Half, DType::boolean>;
    case DType::f16:
      return through_f32<Half, DType::f16>;
    case DType::bf16:
      return through_f32<Half, DType::bf16>;
    default:
      return nullptr;
  }
}
template <DType Half>
CastFn to_half(DType from) noexcept {
  switch (from) {
    case DType::f64:
      return through_f32<DType::f64, Half>;
    case DType::i8:
      return through_f32<DType::i8, Half>;
    case DType::u8:
      return through_f32<DType::u8, Half>;
    case DType::i16:
      return through_f32<DType::i16, Half>;
    case DType::u16:
      return through_f32<DType::u16, Half>;
    case DType::i32:
      return through_f32<DType::i32, Half>;
    case DType::u32:
      return through_f32<DType::u32, Half>;
    case DType::i64:
      return through_f32<DType::i64, Half>;
    case DType::u64:
      return through_f32<DType::u64, Half>;
    case DType::boolean:
      return through_f32<DType::boolean, Half>;
    default:
      return nullptr;
  }
}

}  // namespace

CastFn find_cast(const EltwiseTable& t, DType from, DType to) noexcept {
  if (from == to) {
    switch (size_of(from)) {
      case 1:
        return same<1>;
      case 2:
        return same<2>;
      case 4:
        return same<4>;
      case 8:
        return same<8>;
      default:
        return nullptr;
    }
  }
  if (from == DType::f16) return to == DType::f32 ? t.f16_to_f32 : from_half<DType::f16>(to);
  if (from == DType::bf16) return to == DType::f32 ? t.bf16_to_f32 : from_half<DType::bf16>(to);
  if (to == DType::f16) return from == DType::f32 ? t.f32_to_f16 : to_half<DType::f16>(from);
  if (to == DType::bf16) return from == DType::f32 ? t.f32_to_bf16 : to_half<DType::bf16>(from);
  return between_plain(from, to);
}

}  // namespace skyline::kernels
