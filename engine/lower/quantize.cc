// QuantizeLinear and DequantizeLinear, DynamicQuantizeLinear, and the QLinear elementwise operators and pools
// of com.microsoft. The integers are those of the reference on every ISA.
#include "kernels/quantize/quantize.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "engine/lower/families.h"
#include "engine/lower/quantized.h"
#include "graph/ops/util.h"
#include "kernels/base/parallel.h"
#include "kernels/quantize/lookup.h"

namespace skyline::lower {
namespace {

using namespace kernels;

// ---- QuantizeLinear, DequantizeLinear

// Which scale belongs to which element: x as [outer, channels, inner].
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;
};
std::optional<Layout> layout_of(const Lowering& l) {
  const Dims x = l.in_dims(0), scale = l.in_dims(1);
  if (l.attrs().integer("block_size", 0) != 0 || scale.size() > 1) return std::nullopt;
  Layout out;
  if (element_count(scale) == 1) {
    out.inner = element_count(x);
    return out;
  }
  if (x.empty()) return std::nullopt;
  const auto axis = static_cast<size_t>(
      x.size() == 1 ? 0 : ops::normalize_axis(l.attrs().integer("axis", 1), static_cast<int>(x.size())));
  if (scale[0] != x[axis]) return std::nullopt;
  for (size_t i = 0; i < axis; ++i) out.outer *= x[i];
  for (size_t i = axis + 1; i < x.size(); ++i) out.inner *= x[i];
  out.channels = x[axis];
  return out;
}

// Constant zero points as i32; empty: zeros. Nothing if they are not constant or do not fit.
std::optional<std::vector<int32_t>> zero_points(const Lowering& l, size_t i, DType of, int64_t count) {
  if (!l.has(i)) return std::vector<int32_t>();
  const Tensor* t = l.constant(i);
  if (!t || t->dtype() != of || t->size() != count) return std::nullopt;
  std::vector<int32_t> out;
  for (int64_t k = 0; k < count; ++k) out.push_back(integer_at(t->raw(), of, k));
  return out;
}

std::optional<Lowered> lower_quantize(Lowering& l) {
  const auto layout = layout_of(l);
  const DType type = l.out_type();
  if (!layout || l.in_type(0) != DType::f32 || l.in_type(1) != DType::f32 ||
      l.attrs().integer("precision", 0))
    return std::nullopt;
  const QuantizeFn fn = find_quantize(quantize_kernels(l.isa), type);
  const auto zeros = zero_points(l, 2, type, layout->channels);
  const auto scales = constant_scales(l, 1, layout->channels, false);
  if (!fn || !zeros || !scales || element_count(l.in_dims(0)) == 0) return std::nullopt;
  return Lowered{.code = step_code([fn, v = *layout, zeros = *zeros, scales = *scales](const StepArgs& s) {
                   fn(s.input<float>(0), s.out[0], scales.data(), zeros.empty() ? nullptr : zeros.data(),
                      v.outer, v.channels, v.inner, s.threads);
                 }),
                 .kernel = "quantize_" + std::string(name(type))};
}

std::optional<Lowered> lower_dequantize(Lowering& l) {
  const auto layout = layout_of(l);
  const DType type = l.in_type(0);
  if (!layout || l.in_type(1) != DType::f32 || l.out_type() != DType::f32) return std::nullopt;
  const DequantizeFn fn = find_dequantize(quantize_kernels(l.isa), type);
  const auto zeros = zero_points(l, 2, type, layout->channels);
  const auto scales = constant_scales(l, 1, layout->channels, true);
  if (!fn || !zeros || !scales || element_count(l.in_dims(0)) == 0) return std::nullopt;
  // The kernel subtracts in 32 bits, the reference in 64: they differ for i32 with a zero point only.
  if (type == DType::i32 && std::any_of(zeros->begin(), zeros->end(), [](int32_t z) { return z != 0; }))
    return std::nullopt;
  return Lowered{.code = step_code([fn, v = *layout, zeros = *zeros, scales = *scales](const StepArgs& s) {
                   fn(s.in[0], s.output<float>(0), scales.data(), zeros.empty() ? nullptr : zeros.data(),
                      v.outer, v.channels, v.inner, s.threads);
                 }),
                 .kernel = "dequantize_" + std::string(name(type))};
}

std::optional<Lowered> lower_dynamic_quantize(Lowering& l) {
  const int64_t n = element_count(l.in_dims(0));
  if (l.in_type(0) != DType::f32 || n == 0) return std::nullopt;
  const bool y = l.node.out(0) != kNoValue, scale = l.node.out(1) != kNoValue,
             zero = l.node.out(2) != kNoValue;
  if (!y) return std::nullopt;
  const QuantizeTable& table = quantize_kernels(l.isa);
  return Lowered{.code = step_code([&table, n, scale, zero](const StepArgs& s) {
                   if (!dynamic_range_is_finite(s.input<float>(0), n))
                     return s.fail("dynamic quantization of an infinity or a NaN");
                   const QuantParams p =
                       dynamic_quantize_u8(table, s.input<float>(0), s.output<uint8_t>(0), n, s.threads);
                   if (scale) *s.output<float>(1) = p.scale;
                   if (zero) *s.output<uint8_t>(2) = static_cast<uint8_t>(p.zero);
                 }),
                 .kernel = "dynamic_quantize_u8"};
}

// ---- QLinearAdd, QLinearMul: (A, A_scale, A_zero, B, B_scale, B_zero, C_scale, C_zero)

std::optional<QuantParams> params(const Lowering& l, size_t scale, size_t zero, DType t,
                                  bool result = false) {
  const auto s = constant_scale(l, scale, !result);
  const auto z = constant_zero(l, zero, t);
  if (!s || !z) return std::nullopt;
  return QuantParams{*s, *z};
}

template <bool kAdd>
std::optional<Lowered> lower_qlinear_binary(Lowering& l) {
  const DType t = l.in_type(0);
  if (!is_byte(t) || l.in_type(3) != t || l.out_type() != t) return std::nullopt;
  const auto a = params(l, 1, 2, t), b = params(l, 4, 5, t), y = params(l, 6, 7, t, true);
  if (!a || !b || !y) return std::nullopt;
  const Dims da = l.in_dims(0), db = l.in_dims(3);
  NdPlan plan;
  const std::span<const int64_t> shapes[] = {da, db};
  if (!make_broadcast_plan(l.out_dims(), shapes, &plan)) return std::nullopt;
  const QuantizeTable& table = quantize_kernels(l.isa);
  const SpanFn fn = (kAdd ? table.add : table.mul)[t == DType::i8];
  const int64_t size = element_count(l.out_dims());
  return Lowered{.code = step_code([=, p = QBinaryParams{*a, *b, *y}](const StepArgs& s) {
                   run_binary(fn, plan, 1, 1, s.in[0], s.in[3], s.out[0], &p, s.threads);
                 }),
                 .kernel = kAdd ? "qlinear_add" : "qlinear_mul",
                 .in_place = element_count(da) == size   ? 0
                             : element_count(db) == size ? 3
                                                         : -1};
}

// ---- tables of 256: (X, X_scale, X_zero, Y_scale, Y_zero)

using Table = std::array<uint8_t, 256>;

// f of the real value of each code, quantized as the reference does it.
template <class F>
Table make_table(DType t, const QuantParams& x, const QuantParams& y, F f) {
  Table table{};
  const float low = t == DType::i8 ? -128.0f : 0.0f, high = low + 255.0f, zero = static_cast<float>(y.zero);
  for (int bits = 0; bits < 256; ++bits) {
    const int32_t v = t == DType::i8 ? static_cast<int8_t>(bits) : bits;
    const float q = f(x.scale * static_cast<float>(v - x.zero)) / y.scale;
    const float clamped = q > low - zero ? std::min(q, high - zero) : low - zero;
    table[static_cast<size_t>(bits)] =
        static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(clamped)) + y.zero);
  }
  return table;
}

Lowered lookup(const LookupKernel& kernel, const Table& table, int64_t n) {
  return {.code = step_code([&kernel, n, table](const StepArgs& s) {
            lookup_u8(kernel, s.input<uint8_t>(0), s.output<uint8_t>(0), n, table.data(), s.threads);
          }),
          .kernel = std::string(kernel.name),
          .in_place = 0};
}

template <class F>
std::optional<Lowered> lower_table(Lowering& l, F f) {
  const DType t = l.in_type(0);
  if (!is_byte(t) || l.out_type() != t) return std::nullopt;
  const auto x = params(l, 1, 2, t), y = params(l, 3, 4, t, true);
  if (!x || !y) return std::nullopt;
  const int64_t n = element_count(l.out_dims());
  return lookup(lookup_kernel(l.isa), make_table(t, *x, *y, f), n);
}

std::optional<Lowered> lower_lookup(Lowering& l) {
  const Tensor& t = l.attrs().tensor("table");
  if (!is_byte(l.in_type(0)) || !is_byte(t.dtype()) || t.size() != 256) return std::nullopt;
  Table table;
  std::memcpy(table.data(), t.raw(), table.size());
  return lookup(lookup_kernel(l.isa), table, element_count(l.out_dims()));
}

std::optional<Lowered> lower_qlinear_sigmoid(Lowering& l) {
  return lower_table(l,
                     [](float x) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x)))); });
}
std::optional<Lowered> lower_qlinear_leaky_relu(Lowering& l) {
  const float alpha = l.attrs().real("alpha", 0.01f);
  return lower_table(l, [=](float x) { return x >= 0 ? x : alpha * x; });
}

// ---- QLinearConcat: (Y_scale, Y_zero, then X, X_scale, X_zero for each tensor)

std::optional<Lowered> lower_qlinear_concat(Lowering& l) {
  const size_t n = (l.node.inputs.size() - 2) / 3;
  const DType t = l.out_type();
  const auto py = params(l, 0, 1, t, true);
  const Dims y = l.out_dims();
  if (!is_byte(t) || !py || y.empty()) return std::nullopt;
  const int axis = ops::normalize_axis(l.attrs().integer("axis"), static_cast<int>(y.size()));
  int64_t outer = 1, row = 1;
  for (int i = 0; i < static_cast<int>(y.size()); ++i) (i < axis ? outer : row) *= y[static_cast<size_t>(i)];
  struct Piece {
    size_t input;
    int64_t at, run;
    bool same;  // the codes are those of the result
    Table table;
  };
  std::vector<Piece> pieces;
  int64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    const auto px = params(l, 3 + 3 * i, 4 + 3 * i, t);
    if (l.in_type(2 + 3 * i) != t || !px) return std::nullopt;
    const int64_t run = outer ? element_count(l.in_dims(2 + 3 * i)) / outer : 0;
    Piece p{2 + 3 * i, at, run, false, make_table(t, *px, *py, [](float v) { return v; })};
    p.same = true;
    for (int k = 0; k < 256; ++k) p.same = p.same && p.table[static_cast<size_t>(k)] == k;
    pieces.push_back(p);
    at += run;
  }
  if (at != row) return std::nullopt;
  const LookupKernel& kernel = lookup_kernel(l.isa);
  return Lowered{.code = step_code([=, &kernel](const StepArgs& s) {
                   parallel_for(s.threads, outer, (1 << 15) / (row + 1) + 1,
                                [&](int64_t begin, int64_t end) noexcept {
                                  for (const Piece& p : pieces) {
                                    for (int64_t o = begin; o < end; ++o) {
                                      const uint8_t* from = s.input<uint8_t>(p.input) + o * p.run;
                                      uint8_t* to = s.output<uint8_t>(0) + o * row + p.at;
                                      if (p.same) {
                                        std::memcpy(to, from, static_cast<size_t>(p.run));
                                      } else {
                                        kernel.run(from, to, p.run, p.table.data());
                                      }
                                    }
                                  }
                                });
                 }),
                 .kernel = "qlinear_concat"};
}

// ---- QLinearGlobalAveragePool: (X, x_scale, x_zero, y_scale, y_zero)

struct GlobalPool {
  int64_t batch, channels, plane;
  bool last;
  float scale;
  QuantParams x, y;
  float low, high;

  static constexpr int64_t kWidth = 64;
  // Sums of `width` channels, kCount of them if that is not 0, in 16 bits for as many pixels as these hold.
  template <class T, int64_t kCount>
  void add_columns(const T* in, int64_t width, int32_t* sums) const noexcept {
    using Sum = std::conditional_t<std::is_signed_v<T>, int16_t, uint16_t>;
    constexpr int64_t kPixels = 256;
    const int64_t columns = kCount ? kCount : width;
    for (int64_t begin = 0; begin < plane; begin += kPixels) {
      const int64_t end = std::min(plane, begin + kPixels);
      Sum some[kWidth] = {};
      for (int64_t k = begin; k < end; ++k) {
        const T* const pixel = in + k * channels;
        for (int64_t c = 0; c < columns; ++c) some[c] = static_cast<Sum>(some[c] + pixel[c]);
      }
      for (int64_t c = 0; c < columns; ++c) sums[c] += some[c];
    }
  }

  template <class T>
  void run(const T* in, T* out, int32_t* sums) const noexcept {
    for (int64_t n = 0; n < batch; ++n, in += channels * plane, out += channels) {
      for (int64_t c = 0; c < channels; ++c) sums[c] = 0;
      if (last) {
        for (int64_t c = 0; c < channels; c += kWidth) {
          if (channels - c >= kWidth) {
            add_columns<T, kWidth>(in + c, kWidth, sums + c);
          } else {
            add_columns<T, 0>(in + c, channels - c, sums + c);
          }
        }
      } else {
        for (int64_t c = 0; c < channels; ++c) {
          for (int64_t k = 0; k < plane; ++k) sums[c] += in[c * plane + k];
        }
      }
      for (int64_t c = 0; c < channels; ++c) {
        const float zero = static_cast<float>(y.zero);
        const float v = static_cast<float>(sums[c] - plane * x.zero) * scale;
        const float clamped = v > low - zero ? std::min(v, high - zero) : low - zero;
        out[c] = static_cast<T>(static_cast<int32_t>(std::nearbyint(clamped)) + y.zero);
      }
    }
  }
};

std::optional<Lowered> lower_qlinear_global_pool(Lowering& l) {
  const Dims x = l.in_dims(0);
  const DType t = l.in_type(0);
  if (!is_byte(t) || x.size() < 3 || element_count(x) == 0) return std::nullopt;
  const auto px = params(l, 1, 2, t), py = params(l, 3, 4, t, true);
  if (!px || !py) return std::nullopt;
  GlobalPool p{};
  p.last = l.attrs().integer("channels_last", 0) != 0;
  p.batch = x[0];
  p.channels = p.last ? x.back() : x[1];
  p.plane = element_count(x) / (p.batch * p.channels);
  if (p.plane > (1 << 22)) return std::nullopt;  // sums stay within 32 bits
  p.scale = px->scale / (py->scale * static_cast<float>(p.plane));
  p.x = *px;
  p.y = *py;
  p.low = t == DType::i8 ? -128.0f : 0.0f;
  p.high = p.low + 255.0f;
  const bool is_signed = t == DType::i8;
  return Lowered{.code = step_code([p, is_signed](const StepArgs& s) {
                   auto* sums = reinterpret_cast<int32_t*>(s.workspace);
                   if (is_signed) {
                     p.run(s.input<int8_t>(0), s.output<int8_t>(0), sums);
                   } else {
                     p.run(s.input<uint8_t>(0), s.output<uint8_t>(0), sums);
                   }
                 }),
                 .kernel = "qlinear_global_pool",
                 .workspace = static_cast<size_t>(p.channels) * 4};
}

// ---- QLinearSoftmax: (X, x_scale, x_zero, y_scale, y_zero)

// The reference's arithmetic: a table of the exponentials of the steps below the largest, sums in double.
struct ByteSoftmax {
  int64_t outer, n, inner;
  std::array<double, 256> exponentials;
  QuantParams y;
  float low;

  template <class T>
  void run(const T* x, T* out, int threads) const noexcept {
    parallel_for(threads, outer * inner, 4096 / n + 1, [&](int64_t begin, int64_t end) noexcept {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row / inner * inner * n + row % inner;
        T top = x[at];
        for (int64_t i = 1; i < n; ++i) top = std::max(top, x[at + i * inner]);
        const auto e = [&](int64_t i) { return exponentials[static_cast<size_t>(top - x[at + i * inner])]; };
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += e(i);
        for (int64_t i = 0; i < n; ++i)
          out[at + i * inner] = code<T>(static_cast<float>(e(i) / sum) / y.scale);
      }
    });
  }
  template <class T>
  T code(float q) const noexcept {
    const float zero = static_cast<float>(y.zero), bottom = low - zero, top = low + 255.0f - zero;
    const float clamped = q > bottom ? std::min(q, top) : bottom;
    return static_cast<T>(static_cast<int32_t>(std::nearbyint(clamped)) + y.zero);
  }
};

std::optional<Lowered> lower_qlinear_softmax(Lowering& l) {
  const Dims x = l.in_dims(0);
  const DType t = l.in_type(0);
  if (!is_byte(t) || l.out_type() != t || x.empty() || element_count(x) == 0) return std::nullopt;
  const auto px = params(l, 1, 2, t), py = params(l, 3, 4, t, true);
  if (!px || !py) return std::nullopt;
  const int rank = static_cast<int>(x.size()),
            axis = ops::normalize_axis(l.attrs().integer("axis", -1), rank);
  // Before opset 13 a softmax runs over all axes from the one named.
  const bool flat = l.attrs().integer("opset", 13) < 13;
  ByteSoftmax s{1, 1, 1, {}, *py, t == DType::i8 ? -128.0f : 0.0f};
  for (int i = 0; i < rank; ++i)
    (i < axis ? s.outer : i == axis || flat ? s.n : s.inner) *= x[static_cast<size_t>(i)];
  for (int d = 0; d < 256; ++d) {
    s.exponentials[static_cast<size_t>(d)] = std::exp(px->scale * static_cast<double>(-d));
  }
  return Lowered{.code = step_code([s, t](const StepArgs& a) {
                   if (t == DType::i8) {
                     s.run(a.input<int8_t>(0), a.output<int8_t>(0), a.threads);
                   } else {
                     s.run(a.input<uint8_t>(0), a.output<uint8_t>(0), a.threads);
                   }
                 }),
                 .kernel = "qlinear_softmax"};
}

constexpr LowerRow kRows[] = {
    {"QuantizeLinear", "", lower_quantize},
    {"QuantizeLinear", "com.microsoft", lower_quantize},
    {"DequantizeLinear", "", lower_dequantize},
    {"DequantizeLinear", "com.microsoft", lower_dequantize},
    {"DynamicQuantizeLinear", "", lower_dynamic_quantize},
    {"QLinearAdd", "com.microsoft", lower_qlinear_binary<true>},
    {"QLinearMul", "com.microsoft", lower_qlinear_binary<false>},
    {"Lookup", "skyline", lower_lookup},
    {"QLinearSigmoid", "com.microsoft", lower_qlinear_sigmoid},
    {"QLinearLeakyRelu", "com.microsoft", lower_qlinear_leaky_relu},
    {"QLinearConcat", "com.microsoft", lower_qlinear_concat},
    {"QLinearSoftmax", "com.microsoft", lower_qlinear_softmax},
    {"QLinearGlobalAveragePool", "com.microsoft", lower_qlinear_global_pool},
};

}  // namespace

bool dynamic_range_is_finite(const float* x, int64_t n) noexcept {
  constexpr uint32_t kExponent = 0x7f800000u;
  bool special = false;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    special |= (bits & kExponent) == kExponent;
  }
  return !special;
}

std::span<const LowerRow> quantize_rows() {
  return kRows;
}

}  // namespace skyline::lower
