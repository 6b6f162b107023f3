// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.
#include "graph/ops/cast.h"
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"
#include "graph/ops/quantize.h"

namespace skyline::ops {
namespace {

bool is_quantized(DType t) {
  return is_small_float(t) ? t != DType::f8e8m0 : is_int(t) && storage_bits(t) <= 16;
}

// Calls f(index of the element, index of its parameters) in runs: run(first element, first parameter, step,
// count).
template <class F>
void for_runs(const Granularity& g, F run) {
  int64_t at = 0;
  for (int64_t o = 0; o < g.outer; ++o) {
    for (int64_t a = 0; a < g.axis; ++a, at += g.inner) {
      run(at, o * g.outer_step + (a / g.block) * g.axis_step, g.inner_step, g.inner);
    }
  }
}

Granularity granularity_of(const EvalContext& c) {
  const Granularity g = granularity(c.in(0).dims(), c.in(1).dims(), c.attrs().integer("axis", 1),
                                    c.attrs().integer("block_size", 0));
  if (c.has(2) && c.in(2).dims() != c.in(1).dims() && !(c.in(1).size() == 1 && c.in(2).size() == 1)) {
    throw Error(Code::invalid, "scale and zero point have shapes " + to_string(c.in(1).dims()) + " and " +
                                   to_string(c.in(2).dims()) + "; one is needed");
  }
  return g;
}

void check_shapes(const InferContext& c) {
  if (!c.in(0).is_static() || !c.in(1).is_static()) return;
  granularity(c.in(0).static_dims(), c.in(1).static_dims(), c.attrs().integer("axis", 1),
              c.attrs().integer("block_size", 0));
}

// ---- QuantizeLinear
// --------------------------------------------------------------------------------------------------

DType quantized_dtype(const Attrs& attrs, DType zero_point) {
  const DType asked = dtype_attribute(attrs, "output_dtype", DType::undefined);
  if (zero_point != DType::undefined && asked != DType::undefined && asked != zero_point) {
    throw Error(Code::invalid, "attribute output_dtype is " + std::string(name(asked)) +
                                   " but the zero point is " + std::string(name(zero_point)));
  }
  const DType t = zero_point != DType::undefined ? zero_point : asked != DType::undefined ? asked : DType::u8;
  if (!is_quantized(t)) throw Error(Code::invalid, std::string(name(t)) + " is not a quantized dtype");
  return t;
}

void infer_quantize(InferContext& c) {
  check_shapes(c);
  // A zero point whose dtype is not known yet leaves the result's open.
  if (c.has(2) && c.in(2).dtype == DType::undefined) return c.out(0, with_dtype(c.in(0), DType::undefined));
  c.out(0, with_dtype(c.in(0), quantized_dtype(c.attrs(), c.has(2) ? c.in(2).dtype : DType::undefined)));
}

// The dtype that x / scale is rounded to.
DType division_dtype(const EvalContext& c) {
  DType t = dtype_attribute(c.attrs(), "precision", c.in(1).dtype());
  if (t == DType::f8e8m0) t = is_float(c.in(0).dtype()) ? c.in(0).dtype() : DType::f32;
  if (t == DType::i32) t = DType::f64;  // integers divide as real numbers
  if (!is_float(t)) unsupported_type(t);
  return t;
}

// x / scale in W, rounded to `precision`, handed on as f32 (rounding to odd keeps later roundings right).
template <class W>
struct Quotient {
  DType precision;
  float operator()(W x, W scale) const {
    const W q = x / scale;
    if constexpr (std::is_same_v<W, float>) {
      if (precision == DType::f16) return Half(q);
      if (precision == DType::bf16) return BFloat16(q);
      return q;
    } else {
      return round_to_odd(q);
    }
  }
};

template <class W, class Out, class F>
void quantize_all(const Granularity& g, const Tensor& x, const Tensor& scale, const Tensor& zero, Out* y,
                  F f) {
  const W *px = x.data<W>(), *ps = scale.data<W>();
  const float* pz = zero.defined() ? zero.data<float>() : nullptr;
  for_runs(g, [&](int64_t at, int64_t from, int64_t step, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t k = from + i * step;
      y[at + i] = f(px[at + i], ps[k], pz ? pz[k] : 0.0f);
    }
  });
}

template <class W>
void quantize_as(EvalContext& c, const Granularity& g, DType precision, Tensor& y) {
  // The operands in the precision of the division, which W then holds exactly.
  const Tensor x = cast_tensor(c, cast_tensor(c, c.in(0), precision), kDTypeOf<W>);
  const Tensor scale = cast_tensor(c, cast_tensor(c, c.in(1), precision), kDTypeOf<W>);
  const Tensor zero = c.has(2) ? cast_tensor(c, c.in(2), DType::f32) : Tensor();
  check_scales(scale, "the scale", false);
  const Quotient<W> quotient{precision};
  const DType t = y.dtype();
  if (is_small_float(t)) {
    const bool saturate = c.attrs().integer("saturate", 1) != 0;
    quantize_all<W>(g, x, scale, zero, static_cast<uint8_t*>(y.mutable_raw()),
                    [&](W v, W s, float z) { return f32_to_small_bits(t, quotient(v, s) + z, saturate); });
    return;
  }
  const auto [low, high] = range_of(t);
  const auto flow = static_cast<float>(low), fhigh = static_cast<float>(high);
  const auto fill = [&]<class T>(T* out) {
    quantize_all<W>(g, x, scale, zero, out, [&](W v, W s, float z) {
      return static_cast<T>(quantize(quotient(v, s), z, flow, fhigh));
    });
  };
  if (storage_bits(t) == 16) {
    fill(static_cast<uint16_t*>(y.mutable_raw()));  // int16_t has the same bits
  } else {
    fill(static_cast<uint8_t*>(y.mutable_raw()));
  }
}

void eval_quantize(EvalContext& c) {
  const Granularity g = granularity_of(c);
  const DType precision = division_dtype(c);
  Tensor y =
      c.make(quantized_dtype(c.attrs(), c.has(2) ? c.in(2).dtype() : DType::undefined), c.in(0).dims());
  if (precision == DType::f64) {
    quantize_as<double>(c, g, precision, y);
  } else {
    quantize_as<float>(c, g, precision, y);
  }
  c.out(0, y);
}

// ---- DequantizeLinear
// ------------------------------------------------------------------------------------------------

DType dequantized_dtype(const Attrs& attrs, DType scale) {
  const DType t = dtype_attribute(attrs, "output_dtype", scale == DType::f8e8m0 ? DType::f32 : scale);
  if (t != DType::undefined && !is_float(t))
    throw Error(Code::invalid, "dequantized to " + std::string(name(t)));
  return t;
}

void infer_dequantize(InferContext& c) {
  check_shapes(c);
  c.out(0, with_dtype(c.in(0), dequantized_dtype(c.attrs(), c.in(1).dtype)));
}

// (x - zero point) in integers, or in f32 for small floats, which hold every difference exactly enough; times
// the scale in f32, as ONNX Runtime does.
template <class T, class Difference>
void dequantize_all(const Granularity& g, const T* x, const float* scale, float* y, Difference difference) {
  for_runs(g, [&](int64_t at, int64_t from, int64_t step, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t k = from + i * step;
      y[at + i] = difference(x[at + i], k) * scale[k];
    }
  });
}

void eval_dequantize(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Granularity g = granularity_of(c);
  const DType t = x.dtype();
  if (!is_quantized(t) && t != DType::i32) unsupported_type(t);
  if (c.has(2)) require_same_dtype(c, 0, 2);
  check_scales(c.in(1), "the scale", true);
  const Tensor scale = cast_tensor(c, c.in(1), DType::f32);
  Tensor y = c.make(DType::f32, x.dims());
  float* out = y.mutable_data<float>();
  const float* ps = scale.data<float>();
  if (is_small_float(t)) {
    const Tensor wide = cast_tensor(c, x, DType::f32),
                 zero = c.has(2) ? cast_tensor(c, c.in(2), DType::f32) : Tensor();
    const float* pz = zero.defined() ? zero.data<float>() : nullptr;
    dequantize_all(g, wide.data<float>(), ps, out, [=](float v, int64_t k) { return pz ? v - pz[k] : v; });
  } else {
    const Tensor zero = c.has(2) ? cast_tensor(c, c.in(2), DType::i32) : Tensor();
    const int32_t* pz = zero.defined() ? zero.data<int32_t>() : nullptr;
    const auto run = [&]<class T>(const T* in) {
      dequantize_all(g, in, ps, out,
                     [=](T v, int64_t k) { return static_cast<float>(int64_t{v} - (pz ? pz[k] : 0)); });
    };
    if (storage_bits(t) < 8) {
      is_signed_int(t) ? run(x.data<int8_t>()) : run(x.data<uint8_t>());
    } else {
      visit_type(t, TypeList<int8_t, uint8_t, int16_t, uint16_t, int32_t>{},
                 [&]<class T>() { run(x.data<T>()); });
    }
  }
  c.out(0, cast_tensor(c, y, dequantized_dtype(c.attrs(), c.in(1).dtype())));
}

// ---- DynamicQuantizeLinear
// ---------------------------------------------------------------------------------------------

void infer_dynamic_quantize(InferContext& c) {
  c.out(0, with_dtype(c.in(0), DType::u8));
  c.out(1, Fact(DType::f32, {}));
  c.out(2, Fact(DType::u8, {}));
}

void eval_dynamic_quantize(EvalContext& c) {
  const Tensor& x = c.in(0);
  if (x.dtype() != DType::f32) unsupported_type(x.dtype());
  const DynamicScale d = dynamic_scale(x.span<float>());
  Tensor y = c.make(DType::u8, x.dims()), scale = c.make(DType::f32, {}), zero = c.make(DType::u8, {});
  quantize_dynamic(x.span<float>(), d, y.mutable_data<uint8_t>());
  *scale.mutable_data<float>() = d.scale;
  *zero.mutable_data<uint8_t>() = d.zero_point;
  c.out(0, y);
  c.out(1, scale);
  c.out(2, zero);
}

constexpr OpDef quantize_row(std::string_view domain) {
  return {.name = "QuantizeLinear",
          .domain = domain,
          .min_inputs = 2,
          .max_inputs = 3,
          .infer = infer_quantize,
          .eval = eval_quantize,
          .work = work_per_element<3>};
}
constexpr OpDef dequantize_row(std::string_view domain) {
  return {.name = "DequantizeLinear",
          .domain = domain,
          .min_inputs = 2,
          .max_inputs = 3,
          .infer = infer_dequantize,
          .eval = eval_dequantize,
          .work = work_per_element<2>};
}

constexpr OpDef kOps[] = {
    quantize_row(""),
    quantize_row("com.microsoft"),
    dequantize_row(""),
    dequantize_row("com.microsoft"),
    {.name = "DynamicQuantizeLinear",
     .min_inputs = 1,
     .max_inputs = 1,
     .max_outputs = 3,
     .infer = infer_dynamic_quantize,
     .eval = eval_dynamic_quantize,
     .work = work_per_element<5>},
};

}  // namespace

DynamicScale dynamic_scale(std::span<const float> x) {
  float low = 0, high = 0;  // the range always holds zero
  for (float v : x) {
    if (!std::isfinite(v)) throw Error(Code::input, "dynamic quantization of an infinity or a NaN");
    low = std::min(low, v);
    high = std::max(high, v);
  }
  DynamicScale d;
  d.scale = low == high ? 1.0f : (high - low) / 255.0f;
  if (!std::isfinite(d.scale) || d.scale == 0)
    throw Error(Code::input, "dynamic quantization of an unusable range");
  d.zero_point = static_cast<uint8_t>(std::nearbyint(std::clamp(0.0f - low / d.scale, 0.0f, 255.0f)));
  return d;
}

void quantize_dynamic(std::span<const float> x, const DynamicScale& d, uint8_t* y) {
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = static_cast<uint8_t>(quantize(x[i] / d.scale, d.zero_point, 0.0f, 255.0f));
  }
}

std::span<const OpDef> quantize_ops() {
  return kOps;
}

}  // namespace skyline::ops
