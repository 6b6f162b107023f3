#include "graph/ops/quantize.h"

#include "graph/ops/cast.h"
#include "graph/ops/util.h"

namespace skyline::ops {

Granularity granularity(const Dims& x, const Dims& scale, int64_t axis, int64_t block_size) {
  const int64_t count = element_count(scale);
  Granularity g;
  g.inner = element_count(x);
  if (count == 1 && (block_size == 0 || scale.empty())) return g;
  const int rank = static_cast<int>(x.size());
  // A vector has one axis only, whatever the attribute's default of 1 says.
  const auto at = static_cast<size_t>(rank == 1 ? 0 : normalize_axis(axis, rank));
  if (rank == 0) throw Error(Code::invalid, "a scalar with a scale of " + to_string(scale));
  g.outer = g.inner = 1;
  for (size_t i = 0; i < at; ++i) g.outer *= x[i];
  for (size_t i = at + 1; i < x.size(); ++i) g.inner *= x[i];
  g.axis = x[at];
  if (block_size < 0) throw Error(Code::invalid, "attribute block_size is " + std::to_string(block_size));
  if (block_size == 0) {
    if (scale.size() != 1 || scale[0] != g.axis) {
      throw Error(Code::invalid, "a scale of " + to_string(scale) + " for axis " + std::to_string(at) +
                                     " of " + to_string(x));
    }
    g.axis_step = 1;
    return g;
  }
  Dims wanted = x;
  wanted[at] = g.axis / block_size + (g.axis % block_size != 0);
  if (scale != wanted) {
    throw Error(Code::invalid, "a scale of " + to_string(scale) + " for blocks of " +
                                   std::to_string(block_size) + " along axis " + std::to_string(at) + " of " +
                                   to_string(x) + "; " + to_string(wanted) + " is needed");
  }
  g.block = block_size;
  g.outer_step = wanted[at] * g.inner;
  g.axis_step = g.inner;
  g.inner_step = 1;
  return g;
}

void check_scales(const Tensor& scale, std::string_view what, bool zero_is_fine) {
  using ScaleTypes = TypeList<float, double, Half, BFloat16, int32_t, SmallFloat<DType::f8e8m0>>;
  visit_type(scale.dtype(), ScaleTypes{}, [&]<class T>() {
    for (const T& s : scale.span<T>()) {
      const auto v = static_cast<double>(widen(s));
      if (!std::isfinite(v) || v < 0 || (v == 0 && !zero_is_fine)) {
        throw Error(Code::invalid,
                    std::string(what) + " has " + std::to_string(v) + "; a finite number above 0 is needed");
      }
    }
  });
}

float single_scale(const Tensor& scale, std::string_view what, bool zero_is_fine) {
  if (scale.size() != 1) {
    throw Error(Code::invalid,
                std::string(what) + " has shape " + to_string(scale.dims()) + "; a scalar is needed");
  }
  check_scales(scale, what, zero_is_fine);
  float value = 0;
  visit_type(scale.dtype(), FloatTypes{},
             [&]<class T>() { value = static_cast<float>(widen(*scale.data<T>())); });
  return value;
}

int32_t single_zero_point(const EvalContext& c, size_t i, DType of) {
  if (!c.has(i)) return 0;
  const Tensor& z = c.in(i);
  if (z.dtype() != of || z.size() != 1) {
    throw Error(Code::invalid, "input " + std::to_string(i) + " (a zero point) is " +
                                   std::string(name(z.dtype())) + to_string(z.dims()) + "; a scalar of " +
                                   std::string(name(of)) + " is needed");
  }
  int32_t value = 0;
  visit_type(of, TypeList<int8_t, uint8_t>{}, [&]<class T>() { value = *z.data<T>(); });
  return value;
}

Tensor zero_points(const EvalContext& c, size_t i, DType of) {
  if (!c.has(i)) return Tensor::scalar<int32_t>(0);
  const Tensor& z = c.in(i);
  if (z.dtype() != of) {
    throw Error(Code::invalid,
                "a zero point is " + std::string(name(z.dtype())) + ", its tensor " + std::string(name(of)));
  }
  return cast_tensor(c, z, DType::i32);
}

Range range_of(DType t) {
  const int bits = storage_bits(t);
  if (!is_int(t) || bits > 16) unsupported_type(t);
  if (is_signed_int(t)) return {-(1 << (bits - 1)), (1 << (bits - 1)) - 1};
  return {0, (1 << bits) - 1};
}

void require_byte(DType t, std::string_view what) {
  if (t != DType::i8 && t != DType::u8 && t != DType::undefined) {
    throw Error(Code::invalid, std::string(what) + " is " + std::string(name(t)) + "; i8 or u8 is needed");
  }
}

}  // namespace skyline::ops
