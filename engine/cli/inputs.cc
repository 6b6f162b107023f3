#include "engine/cli/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "engine/cli/cli.h"

namespace skyline::cli {
namespace {

// Fills with values that keep most models in their range: floats in [0, 1), integers in [0, 8), half of the
// booleans.
void fill(Tensor& t, std::mt19937_64& random) {
  std::uniform_real_distribution<float> real(0, 1);
  std::uniform_int_distribution<int> small(0, 7);
  switch (t.dtype()) {
    case DType::f32:
      for (float& x : t.mutable_span<float>()) x = real(random);
      return;
    case DType::f64:
      for (double& x : t.mutable_span<double>()) x = real(random);
      return;
    case DType::f16:
      for (Half& x : t.mutable_span<Half>()) x = Half(real(random));
      return;
    case DType::bf16:
      for (BFloat16& x : t.mutable_span<BFloat16>()) x = BFloat16(real(random));
      return;
    case DType::i64:
      for (int64_t& x : t.mutable_span<int64_t>()) x = small(random);
      return;
    case DType::i32:
      for (int32_t& x : t.mutable_span<int32_t>()) x = small(random);
      return;
    case DType::boolean:
      for (bool& x : t.mutable_span<bool>()) x = small(random) & 1;
      return;
    case DType::string:
      for (std::string& x : t.mutable_span<std::string>()) x = "text";
      return;
    default:
      for (int64_t i = 0; i < t.bytes(); ++i)
        static_cast<uint8_t*>(t.mutable_raw())[i] = static_cast<uint8_t>(small(random));
  }
}

}  // namespace

std::vector<Value> make_inputs(const std::vector<ValueDescription>& ports, int64_t batch, uint64_t seed,
                               const std::map<std::string, int64_t>& dims) {
  std::mt19937_64 random(seed);
  std::vector<Value> out;
  for (const ValueDescription& p : ports) {
    if (p.fact.kind == Fact::Kind::optional) {
      out.emplace_back();
      continue;
    }
    if (p.fact.kind == Fact::Kind::sequence)
      throw Error(Code::input, "input '" + p.name + "' is a sequence: give it with --input");
    Dims shape;
    for (size_t i = 0; i < p.fact.dims.size(); ++i) {
      const auto named = dims.find(p.dim_names[i]);
      const Dim d = p.fact.dims[i];
      shape.push_back(d.known() ? d.value() : named != dims.end() ? named->second : i == 0 ? batch : 1);
    }
    Tensor t(p.fact.dtype, shape);
    fill(t, random);
    out.emplace_back(t);
  }
  return out;
}

std::vector<Value> with_batch(std::vector<Value> inputs, const std::vector<ValueDescription>& ports,
                              int64_t batch) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].is_tensor() || inputs[i].tensor().rank() == 0) continue;
    const Tensor& one = inputs[i].tensor();
    if (one.dim(0) == batch) continue;
    const bool open = ports[i].fact.ranked && !ports[i].fact.dims[0].known();
    if (!open || one.dim(0) == 0) {
      throw Error(
          Code::input,
          fmt::format("input '{}' has a fixed first dimension of {}: --batch {} cannot be had; export the "
                      "model with a dynamic batch",
                      ports[i].name, one.dim(0), batch));
    }
    Dims dims = one.dims();
    dims[0] = batch;
    Tensor many(one.dtype(), dims);
    const int64_t row = one.bytes() / one.dim(0);
    for (int64_t b = 0; b < batch; ++b) {
      std::memcpy(static_cast<std::byte*>(many.mutable_raw()) + b * row,
                  static_cast<const std::byte*>(one.raw()) + b % one.dim(0) * row, static_cast<size_t>(row));
    }
    inputs[i] = many;
  }
  return inputs;
}

namespace {

// Every numeric type as doubles, for comparing; 64-bit integers are compared apart.
std::vector<double> doubles(const Tensor& t) {
  std::vector<double> out;
  out.reserve(static_cast<size_t>(t.size()));
  const auto take = [&]<class T>() {
    for (const T& x : t.span<T>()) out.push_back(static_cast<double>(x));
  };
  const auto take_float = [&]<class T>() {
    for (const T& x : t.span<T>()) out.push_back(static_cast<double>(static_cast<float>(x)));
  };
  switch (t.dtype()) {
    case DType::f32:
      take.operator()<float>();
      break;
    case DType::f64:
      take.operator()<double>();
      break;
    case DType::f16:
      take_float.operator()<Half>();
      break;
    case DType::bf16:
      take_float.operator()<BFloat16>();
      break;
    case DType::i32:
      take.operator()<int32_t>();
      break;
    case DType::u32:
      take.operator()<uint32_t>();
      break;
    case DType::i16:
      take.operator()<int16_t>();
      break;
    case DType::u16:
      take.operator()<uint16_t>();
      break;
    case DType::i8:
    case DType::i4:
    case DType::i2:
      take.operator()<int8_t>();
      break;
    case DType::u8:
    case DType::u4:
    case DType::u2:
      take.operator()<uint8_t>();
      break;
    case DType::i64:
      take.operator()<int64_t>();
      break;
    case DType::u64:
      take.operator()<uint64_t>();
      break;
    case DType::c64:
      for (int64_t i = 0; i < 2 * t.size(); ++i) out.push_back(static_cast<const float*>(t.raw())[i]);
      break;
    case DType::c128:
      for (int64_t i = 0; i < 2 * t.size(); ++i) out.push_back(static_cast<const double*>(t.raw())[i]);
      break;
    default:
      for (int64_t i = 0; i < t.size(); ++i) {
        const auto bits = static_cast<const uint8_t*>(t.raw())[i];
        out.push_back(is_small_float(t.dtype()) ? small_bits_to_f32(t.dtype(), bits) : bits);
      }
  }
  return out;
}

Difference fail(std::string reason) {
  Difference d;
  d.pass = false;
  d.reason = std::move(reason);
  return d;
}

Difference compare_tensors(const Tensor& got, const Tensor& want, double rtol, double atol) {
  if (got.dtype() != want.dtype()) {
    return fail(fmt::format("dtype {} instead of {}", name(got.dtype()), name(want.dtype())));
  }
  if (got.dims() != want.dims())
    return fail(fmt::format("shape {} instead of {}", to_string(got.dims()), to_string(want.dims())));
  Difference d;
  if (got.dtype() == DType::string) {
    for (int64_t i = 0; i < got.size(); ++i)
      d.outside += got.data<std::string>()[i] != want.data<std::string>()[i];
  } else {
    const std::vector<double> a = doubles(got), b = doubles(want);
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(a[i]) && std::isnan(b[i])) continue;
      if (a[i] == b[i]) continue;
      const double error = std::fabs(a[i] - b[i]);
      if (!(error <= atol + rtol * std::fabs(b[i]))) ++d.outside;
      if (std::isnan(error)) {
        d.max_abs = INFINITY;
      } else {
        d.max_abs = std::max(d.max_abs, error);
        d.max_rel = std::max(d.max_rel, b[i] == 0 ? 0 : error / std::fabs(b[i]));
      }
    }
  }
  d.pass = d.outside == 0;
  if (!d.pass) {
    d.reason = fmt::format("{} of {} elements differ; largest error {:.3g} absolute, {:.3g} relative",
                           d.outside, got.size(), d.max_abs, d.max_rel);
  }
  return d;
}

}  // namespace

std::map<std::string, int64_t> read_dims(const std::vector<std::string>& texts) {
  std::map<std::string, int64_t> dims;
  for (const std::string& text : texts) {
    const size_t eq = text.find('=');
    const int64_t n = eq == std::string::npos ? 0 : std::atoll(text.c_str() + eq + 1);
    if (n <= 0) throw CLI::ValidationError("--dim", "must be NAME=N with N >= 1, not '" + text + "'");
    dims[text.substr(0, eq)] = n;
  }
  return dims;
}

Difference compare(const Value& got, const Value& want, double rtol, double atol) {
  if (want.is_none() || got.is_none()) {
    return want.is_none() == got.is_none()
               ? Difference{}
               : fail(want.is_none() ? "a value instead of nothing" : "nothing instead of a value");
  }
  if (want.is_tensor() != got.is_tensor()) return fail(want.is_tensor() ? "not a tensor" : "not a sequence");
  if (want.is_tensor()) return compare_tensors(got.tensor(), want.tensor(), rtol, atol);
  if (got.items().size() != want.items().size()) {
    return fail(fmt::format("a sequence of {} instead of {}", got.items().size(), want.items().size()));
  }
  Difference worst;
  for (size_t i = 0; i < got.items().size(); ++i) {
    Difference d = compare(got.items()[i], want.items()[i], rtol, atol);
    worst.max_abs = std::max(worst.max_abs, d.max_abs);
    worst.max_rel = std::max(worst.max_rel, d.max_rel);
    worst.outside += d.outside;
    if (!d.pass && worst.pass) {
      worst.pass = false;
      worst.reason = fmt::format("item {}: {}", i, d.reason);
    }
  }
  return worst;
}

}  // namespace skyline::cli
