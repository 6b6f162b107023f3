#include "kernels/eltwise/other_types.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "skyline/half.h"

namespace skyline::kernels {
namespace {

// Integer arithmetic wraps: done in the unsigned type.
template <class T>
using Wrap =
    typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;

template <class T>
T power(T base, T exponent) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    if (std::is_signed_v<T> && exponent < T(0)) return base == T(1) ? T(1) : T(0);
    Wrap<T> r = 1, b = static_cast<Wrap<T>>(base);
    for (Wrap<T> e = static_cast<Wrap<T>>(exponent); e; e = static_cast<Wrap<T>>(e >> 1)) {
      if (e & 1) r = static_cast<Wrap<T>>(uint64_t{r} * b);
      b = static_cast<Wrap<T>>(uint64_t{b} * b);
    }
    return static_cast<T>(r);
  }
}

// The quotient and the remainder of x / 0, and of the least value / -1, are defined here and undefined in
// C++.
template <class T>
T quotient(T a, T b) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    return a / b;
  } else {
    if (b == T(0)) return T(0);
    if (std::is_signed_v<T> && b == static_cast<T>(-1))
      return static_cast<T>(Wrap<T>(0) - static_cast<Wrap<T>>(a));
    return static_cast<T>(a / b);
  }
}
template <class T>
T remainder(T a, T b, bool sign_of_divisor) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    const T r = std::fmod(a, b);
    return sign_of_divisor && r != 0 && (r < 0) != (b < 0) ? r + b : r;
  } else {
    if (b == T(0) || (std::is_signed_v<T> && b == static_cast<T>(-1))) return T(0);
    const T r = static_cast<T>(a % b);
    return sign_of_divisor && r != T(0) && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r;
  }
}

template <BinaryOp Op, class T>
auto apply(T a, T b) noexcept {
  using U = Wrap<T>;
  if constexpr (Op == BinaryOp::add) return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  if constexpr (Op == BinaryOp::sub) return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
  if constexpr (Op == BinaryOp::mul) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(uint64_t{static_cast<U>(a)} * static_cast<U>(b));
    } else {
      return a * b;
    }
  }
  if constexpr (Op == BinaryOp::div) return quotient(a, b);
  if constexpr (Op == BinaryOp::min) return b < a || b != b ? b : a;
  if constexpr (Op == BinaryOp::max) return a < b || b != b ? b : a;
  if constexpr (Op == BinaryOp::pow) return power(a, b);
  if constexpr (Op == BinaryOp::prelu) return a < T(0) ? apply<BinaryOp::mul>(a, b) : a;
  if constexpr (Op == BinaryOp::mod) return remainder(a, b, true);
  if constexpr (Op == BinaryOp::fmod) return remainder(a, b, false);
  if constexpr (Op == BinaryOp::eq) return static_cast<uint8_t>(a == b);
  if constexpr (Op == BinaryOp::ne) return static_cast<uint8_t>(a != b);
  if constexpr (Op == BinaryOp::lt) return static_cast<uint8_t>(a < b);
  if constexpr (Op == BinaryOp::le) return static_cast<uint8_t>(a <= b);
  if constexpr (Op == BinaryOp::gt) return static_cast<uint8_t>(a > b);
  if constexpr (Op == BinaryOp::ge) return static_cast<uint8_t>(a >= b);
  if constexpr (std::is_integral_v<T>) {
    constexpr unsigned bits = 8 * sizeof(T);
    if constexpr (Op == BinaryOp::bit_and) return static_cast<T>(a & b);
    if constexpr (Op == BinaryOp::bit_or) return static_cast<T>(a | b);
    if constexpr (Op == BinaryOp::bit_xor) return static_cast<T>(a ^ b);
    if constexpr (Op == BinaryOp::shift_left)
      return static_cast<U>(b) < bits ? static_cast<T>(static_cast<U>(a) << b) : T(0);
    if constexpr (Op == BinaryOp::shift_right)
      return static_cast<U>(b) < bits ? static_cast<T>(a >> b) : T(0);
  }
}

template <BinaryOp Op, class T>
void span(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b, const void*) noexcept {
  using R = decltype(apply<Op>(T{}, T{}));
  const T *u = static_cast<const T*>(a), *v = static_cast<const T*>(b);
  R* out = static_cast<R*>(y);
  for (int64_t i = 0; i < n; ++i) out[i] = apply<Op>(u[i * step_a], v[i * step_b]);
}

template <class T>
SpanFn pick(BinaryOp op) noexcept {
  switch (op) {
    case BinaryOp::add:
      return span<BinaryOp::add, T>;
    case BinaryOp::sub:
      return span<BinaryOp::sub, T>;
    case BinaryOp::mul:
      return span<BinaryOp::mul, T>;
    case BinaryOp::div:
      return span<BinaryOp::div, T>;
    case BinaryOp::min:
      return span<BinaryOp::min, T>;
    case BinaryOp::max:
      return span<BinaryOp::max, T>;
    case BinaryOp::pow:
      return span<BinaryOp::pow, T>;
    case BinaryOp::prelu:
      return span<BinaryOp::prelu, T>;
    case BinaryOp::mod:
      return span<BinaryOp::mod, T>;
    case BinaryOp::fmod:
      return span<BinaryOp::fmod, T>;
    case BinaryOp::eq:
      return span<BinaryOp::eq, T>;
    case BinaryOp::ne:
      return span<BinaryOp::ne, T>;
    case BinaryOp::lt:
      return span<BinaryOp::lt, T>;
    case BinaryOp::le:
      return span<BinaryOp::le, T>;
    case BinaryOp::gt:
      return span<BinaryOp::gt, T>;
    case BinaryOp::ge:
      return span<BinaryOp::ge, T>;
    default:
      break;
  }
  if constexpr (std::is_integral_v<T>) {
    switch (op) {
      case BinaryOp::bit_and:
        return span<BinaryOp::bit_and, T>;
      case BinaryOp::bit_or:
        return span<BinaryOp::bit_or, T>;
      case BinaryOp::bit_xor:
        return span<BinaryOp::bit_xor, T>;
      case BinaryOp::shift_left:
        return span<BinaryOp::shift_left, T>;
      case BinaryOp::shift_right:
        return span<BinaryOp::shift_right, T>;
      default:
        break;
    }
  }
  return nullptr;
}

template <UnaryOp Op, class T>
void map(const void* x, void* y, int64_t n) noexcept {
  const T* in = static_cast<const T*>(x);
  T* out = static_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) {
    const T v = in[i];
    const T negated = static_cast<T>(Wrap<T>(0) - static_cast<Wrap<T>>(v));
    if constexpr (Op == UnaryOp::neg) out[i] = std::is_floating_point_v<T> ? -v : negated;
    if constexpr (Op == UnaryOp::abs) out[i] = v < T(0) ? negated : v;
    if constexpr (Op == UnaryOp::sign) out[i] = v > T(0) ? T(1) : v < T(0) ? static_cast<T>(-1) : v;
    if constexpr (Op == UnaryOp::relu) out[i] = v < T(0) ? T(0) : v;
  }
}
template <class T>
CastFn pick_unary(UnaryOp op) noexcept {
  switch (op) {
    case UnaryOp::neg:
      return map<UnaryOp::neg, T>;
    case UnaryOp::abs:
      return map<UnaryOp::abs, T>;
    case UnaryOp::sign:
      return map<UnaryOp::sign, T>;
    case UnaryOp::relu:
      return map<UnaryOp::relu, T>;
    default:
      return nullptr;
  }
}
void logical_not(const void* x, void* y, int64_t n) noexcept {
  const uint8_t* in = static_cast<const uint8_t*>(x);
  uint8_t* out = static_cast<uint8_t*>(y);
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] == 0;
}

}  // namespace

SpanFn find_binary_other(BinaryOp op, DType type) noexcept {
  switch (type) {
    case DType::f64:
      return pick<double>(op);
    case DType::i8:
      return pick<int8_t>(op);
    case DType::u8:
      return pick<uint8_t>(op);
    case DType::i16:
      return pick<int16_t>(op);
    case DType::u16:
      return pick<uint16_t>(op);
    case DType::i32:
      return pick<int32_t>(op);
    case DType::u32:
      return pick<uint32_t>(op);
    case DType::i64:
      return pick<int64_t>(op);
    case DType::u64:
      return pick<uint64_t>(op);
    case DType::boolean:
      return op == BinaryOp::eq || op == BinaryOp::ne || (op >= BinaryOp::bit_and && op <= BinaryOp::bit_xor)
                 ? pick<uint8_t>(op)
                 : nullptr;
    default:
      return nullptr;
  }
}

CastFn find_unary_other(UnaryOp op, DType type) noexcept {
  switch (type) {
    case DType::f64:
      return pick_unary<double>(op);
    case DType::i8:
      return pick_unary<int8_t>(op);
    case DType::u8:
      return pick_unary<uint8_t>(op);
    case DType::i16:
      return pick_unary<int16_t>(op);
    case DType::i32:
      return pick_unary<int32_t>(op);
    case DType::u32:
      return pick_unary<uint32_t>(op);
    case DType::i64:
      return pick_unary<int64_t>(op);
    case DType::u64:
      return pick_unary<uint64_t>(op);
    case DType::boolean:
      return op == UnaryOp::neg ? logical_not : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace skyline::kernels
