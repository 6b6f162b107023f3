// Cast, CastLike, BitCast. A conversion goes in pieces through one of two carriers, double or 64-bit
// integers, which hold every element type: two short lists of loops instead of one for each pair of types.
#include "graph/ops/cast.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

constexpr int64_t kPiece = 512;

struct Piece {
  int64_t n = 0;
  bool real = false;         // values are in d, otherwise in i
  bool is_unsigned = false;  // i holds the bits of uint64_t
  std::array<double, kPiece> d;
  std::array<int64_t, kPiece> i;
};

// The type that an element of the 4- and 2-bit integers is stored as.
DType storage_type(DType t) {
  if (t == DType::i4 || t == DType::i2) return DType::i8;
  if (t == DType::u4 || t == DType::u2) return DType::u8;
  return t;
}

using IntegerSources =
    TypeList<int64_t, int32_t, int8_t, uint8_t, int16_t, uint16_t, uint32_t, uint64_t, bool>;

// ---- strings
// -------------------------------------------------------------------------------------------------------

[[noreturn]] void not_a_number(const std::string& s) {
  throw Error(Code::invalid, "the string \"" + s.substr(0, 40) + "\" is not a number");
}

template <class T>
double parse_real(const std::string& s) {
  const auto blank = [](char ch) { return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r'; };
  const char *first = s.data(), *last = s.data() + s.size();
  while (first < last && blank(*first)) ++first;
  while (first < last && blank(last[-1])) --last;
  if (first < last && *first == '+' && first + 1 < last && first[1] != '-') ++first;
  T value = 0;
  const auto [end, error] = std::from_chars(first, last, value);
  if (end != last || first == last) not_a_number(s);
  if (error == std::errc::result_out_of_range) {
    const std::string_view text(first, static_cast<size_t>(last - first));
    const bool tiny = text.find("e-") != text.npos || text.find("E-") != text.npos;
    value = tiny ? T(0) : std::numeric_limits<T>::infinity();
    return text.front() == '-' ? -value : value;
  }
  if (error != std::errc()) not_a_number(s);
  return value;
}

// An integer as it is written, otherwise a real number toward zero.
int64_t parse_integer(const std::string& s, bool is_unsigned) {
  const char *first = s.data(), *last = s.data() + s.size();
  if (is_unsigned) {
    uint64_t u = 0;
    const auto [end, error] = std::from_chars(first, last, u);
    if (error == std::errc() && end == last) return static_cast<int64_t>(u);
  }
  int64_t i = 0;
  const auto [end, error] = std::from_chars(first, last, i);
  if (error == std::errc() && end == last) return i;
  return float_to_int<int64_t>(parse_real<double>(s));
}

template <class T>
std::string format_number(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return "NaN";
    if (std::isinf(x)) return x > 0 ? "INF" : "-INF";
  }
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof text, x);  // shortest that reads back the same
  return {text, error == std::errc() ? end : text};
}

void to_strings(const Tensor& x, Tensor& y) {
  std::string* out = y.mutable_data<std::string>();
  if (is_small_float(x.dtype())) {
    const uint8_t* in = static_cast<const uint8_t*>(x.raw());
    for (int64_t i = 0; i < x.size(); ++i) out[i] = format_number(small_bits_to_f32(x.dtype(), in[i]));
    return;
  }
  using Sources = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int8_t, uint8_t, int16_t,
                           uint16_t, uint32_t, uint64_t, bool>;
  visit_type(storage_type(x.dtype()), Sources{}, [&]<class T>() {
    const T* in = x.data<T>();
    for (int64_t i = 0; i < x.size(); ++i) {
      if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
        out[i] = format_number(static_cast<float>(in[i]));
      } else if constexpr (std::is_same_v<T, bool>) {
        out[i] = in[i] ? "1" : "0";
      } else {
        out[i] = format_number(in[i]);
      }
    }
  });
}

// ---- carriers
// ------------------------------------------------------------------------------------------------------

void load_strings(const Tensor& x, int64_t at, DType to, Piece& p) {
  const std::string* in = x.data<std::string>() + at;
  p.real = !is_int(to) && to != DType::boolean;
  p.is_unsigned = to == DType::u64;
  for (int64_t k = 0; k < p.n; ++k) {
    const auto slot = static_cast<size_t>(k);
    if (p.real) {
      p.d[slot] = to == DType::f32 ? parse_real<float>(in[k]) : parse_real<double>(in[k]);
    } else {
      p.i[slot] = parse_integer(in[k], p.is_unsigned);
    }
  }
}

void load(const Tensor& x, int64_t at, DType to, Piece& p) {
  p.n = std::min(kPiece, x.size() - at);
  const DType t = x.dtype();
  if (t == DType::string) return load_strings(x, at, to, p);
  if (is_small_float(t)) {
    p.real = true;
    const uint8_t* in = static_cast<const uint8_t*>(x.raw()) + at;
    for (int64_t k = 0; k < p.n; ++k) p.d[static_cast<size_t>(k)] = small_bits_to_f32(t, in[k]);
  } else if (is_float(t)) {
    p.real = true;
    visit_type(t, FloatTypes{}, [&]<class T>() {
      const T* in = x.data<T>() + at;
      for (int64_t k = 0; k < p.n; ++k) p.d[static_cast<size_t>(k)] = widen(in[k]);
    });
  } else {
    p.real = false;
    p.is_unsigned = t == DType::u64;
    visit_type(storage_type(t), IntegerSources{}, [&]<class T>() {
      const T* in = x.data<T>() + at;
      for (int64_t k = 0; k < p.n; ++k) p.i[static_cast<size_t>(k)] = static_cast<int64_t>(in[k]);
    });
  }
}

uint8_t to_e8m0(float x, const CastOptions& options) {
  const uint32_t bits = std::bit_cast<uint32_t>(std::fabs(x));
  if (bits > 0x7f800000) return 0xff;
  const uint8_t above = options.saturate ? 0xfe : 0xff;
  if (bits == 0x7f800000) return above;
  const uint32_t exponent = bits >> 23, fraction = bits & 0x7fffff;
  if (!options.saturate && bits < 0x400000) return 0xff;  // below 2^-127, the smallest
  // A code e is 2^(e-127); with exponent 0 the value is below 2^-126, and 2^-127 is the fraction 0x400000.
  if (exponent == 0) {
    if (fraction <= 0x400000) return 0;
    const bool up = options.round == CastOptions::Round::up ||
                    (options.round == CastOptions::Round::nearest && fraction >= 0x600000);
    return up ? 1 : 0;
  }
  const bool up = (options.round == CastOptions::Round::up && fraction != 0) ||
                  (options.round == CastOptions::Round::nearest && fraction >= 0x400000);
  const uint32_t code = exponent + (up ? 1 : 0);
  return code > 0xfe ? above : static_cast<uint8_t>(code);
}

// 4- and 2-bit integers keep the low bits, sign-extended.
int64_t low_bits(int64_t v, int bits, bool is_signed) {
  const int64_t mask = (int64_t{1} << bits) - 1;
  const int64_t low = v & mask;
  return is_signed && (low >> (bits - 1)) ? low - (mask + 1) : low;
}

void store_sub_byte(const Piece& p, Tensor& y, int64_t at) {
  const int bits = storage_bits(y.dtype());
  const bool is_signed = is_signed_int(y.dtype());
  uint8_t* out = static_cast<uint8_t*>(y.mutable_raw()) + at;
  for (int64_t k = 0; k < p.n; ++k) {
    const auto slot = static_cast<size_t>(k);
    const int64_t v = p.real ? float_to_int<int32_t>(p.d[slot]) : p.i[slot];
    out[k] = static_cast<uint8_t>(low_bits(v, bits, is_signed));
  }
}

double carried(const Piece& p, int64_t k) {
  const auto slot = static_cast<size_t>(k);
  if (p.real) return p.d[slot];
  return p.is_unsigned ? static_cast<double>(static_cast<uint64_t>(p.i[slot]))
                       : static_cast<double>(p.i[slot]);
}

template <class T>
T convert(const Piece& p, int64_t k) {
  const auto slot = static_cast<size_t>(k);
  if constexpr (std::is_same_v<T, bool>) {
    return p.real ? p.d[slot] != 0 : p.i[slot] != 0;
  } else if constexpr (std::is_integral_v<T>) {
    return p.real ? float_to_int<T>(p.d[slot]) : static_cast<T>(p.i[slot]);
  } else if constexpr (std::is_same_v<T, float>) {
    if (p.real) return static_cast<float>(p.d[slot]);
    return p.is_unsigned ? static_cast<float>(static_cast<uint64_t>(p.i[slot]))
                         : static_cast<float>(p.i[slot]);
  } else if constexpr (std::is_same_v<T, double>) {
    return carried(p, k);
  } else {
    return T(round_to_odd(carried(p, k)));
  }
}

void store(const Piece& p, Tensor& y, int64_t at, const CastOptions& options) {
  const DType t = y.dtype();
  if (is_small_float(t)) {
    uint8_t* out = static_cast<uint8_t*>(y.mutable_raw()) + at;
    for (int64_t k = 0; k < p.n; ++k) {
      const float x = round_to_odd(carried(p, k));
      out[k] = t == DType::f8e8m0 ? to_e8m0(x, options) : f32_to_small_bits(t, x, options.saturate);
    }
    return;
  }
  if (is_int(t) && storage_bits(t) < 8) return store_sub_byte(p, y, at);
  using Targets = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int8_t, uint8_t, int16_t,
                           uint16_t, uint32_t, uint64_t, bool>;
  visit_type(t, Targets{}, [&]<class T>() {
    T* out = y.mutable_data<T>() + at;
    for (int64_t k = 0; k < p.n; ++k) out[k] = convert<T>(p, k);
  });
}

// ---- rows
// ----------------------------------------------------------------------------------------------------------

CastOptions cast_options(const Attrs& attrs) {
  CastOptions o;
  o.saturate = attrs.integer("saturate", 1) != 0;
  const std::string mode = attrs.text("round_mode", "up");
  if (mode == "down") {
    o.round = CastOptions::Round::down;
  } else if (mode == "nearest") {
    o.round = CastOptions::Round::nearest;
  } else if (mode != "up") {
    throw Error(Code::invalid, "attribute round_mode is \"" + mode + "\"; up, down or nearest is needed");
  }
  return o;
}

void infer_cast(InferContext& c) {
  cast_options(c.attrs());
  c.out(0, with_dtype(c.in(0), dtype_attribute(c.attrs(), "to")));
}

void eval_cast(EvalContext& c) {
  c.out(0, cast_tensor(c, c.in(0), dtype_attribute(c.attrs(), "to"), cast_options(c.attrs())));
}

void infer_cast_like(InferContext& c) {
  cast_options(c.attrs());
  c.out(0, with_dtype(c.in(0), c.in(1).dtype));
}

void eval_cast_like(EvalContext& c) {
  c.out(0, cast_tensor(c, c.in(0), c.in(1).dtype(), cast_options(c.attrs())));
}

void check_bit_cast(DType from, DType to) {
  if (from == DType::string || to == DType::string || storage_bits(from) != storage_bits(to)) {
    throw Error(Code::invalid, "cannot reinterpret " + std::string(name(from)) + " as " +
                                   std::string(name(to)) + ": the widths differ");
  }
}

void infer_bit_cast(InferContext& c) {
  const DType to = dtype_attribute(c.attrs(), "to");
  if (c.in(0).dtype != DType::undefined) check_bit_cast(c.in(0).dtype, to);
  c.out(0, with_dtype(c.in(0), to));
}

void eval_bit_cast(EvalContext& c) {
  const Tensor& x = c.in(0);
  const DType to = dtype_attribute(c.attrs(), "to");
  check_bit_cast(x.dtype(), to);
  Tensor y = c.make(to, x.dims());
  if (y.bytes() > 0) std::memcpy(y.mutable_raw(), x.raw(), static_cast<size_t>(y.bytes()));
  uint8_t* out = static_cast<uint8_t*>(y.mutable_raw());
  const int bits = storage_bits(to);
  if (bits < 8) {
    for (int64_t i = 0; i < y.size(); ++i)
      out[i] = static_cast<uint8_t>(low_bits(out[i], bits, is_signed_int(to)));
  } else if (to == DType::boolean) {
    for (int64_t i = 0; i < y.size(); ++i) out[i] = out[i] != 0;
  }
  c.out(0, y);
}

constexpr OpDef row(std::string_view name, int inputs, InferFn infer, EvalFn eval) {
  return {.name = name, .min_inputs = inputs, .max_inputs = inputs, .infer = infer, .eval = eval};
}

constexpr OpDef kOps[] = {
    row("Cast", 1, infer_cast, eval_cast),
    row("CastLike", 2, infer_cast_like, eval_cast_like),
    row("BitCast", 1, infer_bit_cast, eval_bit_cast),
};

}  // namespace

float round_to_odd(double x) {
  const float f = static_cast<float>(x);
  if (static_cast<double>(f) == x || !std::isfinite(f)) return f;
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if (bits & 1) return f;
  // f is even and off by less than a unit: the odd neighbour is on the other side of x.
  const bool away = std::fabs(static_cast<double>(f)) < std::fabs(x);
  return std::bit_cast<float>(away ? bits + 1 : bits - 1);
}

Tensor cast_tensor(const EvalContext& c, const Tensor& x, DType to, const CastOptions& options) {
  if (x.dtype() == to) return x;
  if (is_complex(x.dtype())) unsupported_type(x.dtype());
  if (is_complex(to)) unsupported_type(to);
  Tensor y = c.make(to, x.dims());
  if (to == DType::string) {
    to_strings(x, y);
    return y;
  }
  Piece p;
  for (int64_t at = 0; at < x.size(); at += kPiece) {
    load(x, at, to, p);
    store(p, y, at, options);
  }
  return y;
}

DType dtype_attribute(const Attrs& attrs, std::string_view name) {
  const int64_t v = attrs.integer(name);
  if (v <= 0 || v > 255) {
    throw Error(Code::invalid,
                "attribute " + std::string(name) + " is " + std::to_string(v) + "; a data type is needed");
  }
  const auto t = static_cast<DType>(v);
  if (size_of(t) == 0) throw Error(Code::unsupported, "data type number " + std::to_string(v));
  return t;
}

DType dtype_attribute(const Attrs& attrs, std::string_view name, DType fallback) {
  return attrs.integer(name, 0) == 0 ? fallback : dtype_attribute(attrs, name);
}

std::span<const OpDef> cast_ops() {
  return kOps;
}

}  // namespace skyline::ops
