// The QLinear operators of com.microsoft on 8-bit tensors. Where the order of f32 operations decides which
// integer comes out, it is that of ONNX Runtime on a CPU with fused multiply-add.
#include <array>

#include "graph/ops/cast.h"
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/quantize.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

// Scale and zero point of one tensor.
struct Params {
  float scale = 1;
  int32_t zero = 0;
  Range range{};
};

Params params(const EvalContext& c, size_t scale, size_t zero, DType t, bool is_result = false) {
  require_byte(t, "a tensor");
  return {single_scale(c.in(scale), is_result ? "the result's scale" : "a scale", !is_result),
          single_zero_point(c, zero, t), range_of(t)};
}

int32_t to_quantized(float x, const Params& p) {
  return quantize(x, static_cast<float>(p.zero), static_cast<float>(p.range.low),
                  static_cast<float>(p.range.high));
}
// x holds the zero point already.
int32_t saturate_rounded(float x, const Params& p) {
  return quantize(x, 0.0f, static_cast<float>(p.range.low), static_cast<float>(p.range.high));
}

// A function of one byte as a table of all 256 (index: the bits).
using Table = std::array<uint8_t, 256>;

template <class F>
Table make_table(DType from, const Params& x, const Params& y, F f) {
  Table table{};
  for (int bits = 0; bits < 256; ++bits) {
    const int32_t v = from == DType::i8 ? static_cast<int8_t>(bits) : bits;
    table[static_cast<size_t>(bits)] =
        static_cast<uint8_t>(to_quantized(f(x.scale * static_cast<float>(v - x.zero)) / y.scale, y));
  }
  return table;
}

// A byte tensor as integers.
template <class F>
void visit_bytes(const Tensor& x, F f) {
  visit_type(x.dtype(), TypeList<int8_t, uint8_t>{}, [&]<class T>() { f(x.data<T>()); });
}

uint8_t* result_bytes(Tensor& y) {
  return static_cast<uint8_t*>(y.mutable_raw());
}

// ---- QLinearAdd, QLinearMul: (A, A_scale, A_zero, B, B_scale, B_zero, C_scale, C_zero)
// -----------------------------------

void infer_binary(InferContext& c) {
  const Fact &a = c.in(0), &b = c.in(3);
  require_byte(a.dtype, "A");
  require_byte(b.dtype, "B");
  if (!a.ranked || !b.ranked) return c.out(0, Fact::unranked(a.dtype));
  c.out(0, Fact(a.dtype, broadcast_dims(a.dims, b.dims)));
}

template <class Make>
void eval_binary(EvalContext& c, Make make) {
  require_same_dtype(c, 0, 3);
  const Tensor &a = c.in(0), &b = c.in(3);
  const DType t = a.dtype();
  const Params pa = params(c, 1, 2, t), pb = params(c, 4, 5, t), pc = params(c, 6, 7, t, true);
  Tensor z = c.make(t, broadcast_dims(a.dims(), b.dims()));
  const auto f = make(pa, pb, pc);
  visit_type(t, TypeList<int8_t, uint8_t>{}, [&]<class T>() {
    map_broadcast<T, T, T>(a, b, z, [&](T x, T y) { return static_cast<T>(saturate_rounded(f(x, y), pc)); });
  });
  c.out(0, z);
}

void eval_add(EvalContext& c) {
  eval_binary(c, [](const Params& a, const Params& b, const Params& y) {
    const float ra = a.scale / y.scale, rb = b.scale / y.scale;
    const float fixed =
        static_cast<float>(y.zero) - (ra * static_cast<float>(a.zero) + rb * static_cast<float>(b.zero));
    return [=](int32_t p, int32_t q) {
      return std::fma(static_cast<float>(q), rb, std::fma(static_cast<float>(p), ra, fixed));
    };
  });
}

void eval_mul(EvalContext& c) {
  eval_binary(c, [](const Params& a, const Params& b, const Params& y) {
    const float ratio = a.scale * b.scale / y.scale;
    return [=](int32_t p, int32_t q) {
      const float product = static_cast<float>((p - a.zero) * (q - b.zero));
      return product * ratio + static_cast<float>(y.zero);
    };
  });
}

// ---- tables: (X, X_scale, X_zero, Y_scale, Y_zero)
// -----------------------------------------------------------------------

void infer_same(InferContext& c) {
  require_byte(c.in(0).dtype, "X");
  c.out(0, c.in(0));
}

template <class F>
void eval_table(EvalContext& c, F f) {
  const Tensor& x = c.in(0);
  const DType t = x.dtype();
  const Table table = make_table(t, params(c, 1, 2, t), params(c, 3, 4, t, true), f);
  Tensor y = c.make(t, x.dims());
  const uint8_t* in = static_cast<const uint8_t*>(x.raw());
  for (int64_t i = 0; i < x.size(); ++i) result_bytes(y)[i] = table[in[i]];
  c.out(0, y);
}

void eval_sigmoid(EvalContext& c) {
  eval_table(c, [](float x) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x)))); });
}

void eval_leaky_relu(EvalContext& c) {
  const float alpha = c.attrs().real("alpha", 0.01f);
  eval_table(c, [=](float x) { return x >= 0 ? x : alpha * x; });
}

// ---- skyline.Lookup: an i8 or u8 tensor, each element replaced by the one of attribute "table" (256, of the
// result's dtype) that its bits name.

const Tensor& lookup_table(const Attrs& attrs) {
  const Tensor& t = attrs.tensor("table");
  require_byte(t.dtype(), "attribute table");
  if (t.size() != 256)
    throw Error(Code::invalid, "attribute table has " + std::to_string(t.size()) + " elements, not 256");
  return t;
}

void infer_lookup(InferContext& c) {
  require_byte(c.in(0).dtype, "X");
  Fact f = c.in(0);
  f.dtype = lookup_table(c.attrs()).dtype();
  c.out(0, f);
}

void eval_lookup(EvalContext& c) {
  const Tensor &x = c.in(0), &table = lookup_table(c.attrs());
  require_byte(x.dtype(), "X");
  Tensor y = c.make(table.dtype(), x.dims());
  const auto *in = static_cast<const uint8_t*>(x.raw()), *t = static_cast<const uint8_t*>(table.raw());
  for (int64_t i = 0; i < x.size(); ++i) result_bytes(y)[i] = t[in[i]];
  c.out(0, y);
}

// ---- QLinearSoftmax
// ------------------------------------------------------------------------------------------------------

void infer_softmax(InferContext& c) {
  infer_same(c);
  if (c.in(0).ranked) normalize_axis(c.attrs().integer("axis", -1), c.in(0).rank());
}

void eval_softmax(EvalContext& c) {
  const Tensor& x = c.in(0);
  const DType t = x.dtype();
  const Params px = params(c, 1, 2, t), py = params(c, 3, 4, t, true);
  const int axis = normalize_axis(c.attrs().integer("axis", -1), x.rank());
  // Before opset 13 a softmax runs over all axes from the one named.
  const bool flat = c.attrs().integer("opset", 13) < 13;
  const int64_t inner = flat ? 1 : span_count(x.dims(), axis + 1, x.rank());
  const int64_t n = flat ? span_count(x.dims(), axis, x.rank()) : x.dim(axis);
  Tensor y = c.make(t, x.dims());
  visit_bytes(x, [&](const auto* in) {
    for (int64_t start = 0; n > 0 && start < x.size() / n; ++start) {
      const int64_t at = start / inner * inner * n + start % inner;
      int32_t top = in[at];
      for (int64_t i = 1; i < n; ++i) top = std::max<int32_t>(top, in[at + i * inner]);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += std::exp(px.scale * static_cast<double>(in[at + i * inner] - top));
      for (int64_t i = 0; i < n; ++i) {
        const double p = std::exp(px.scale * static_cast<double>(in[at + i * inner] - top)) / sum;
        result_bytes(y)[at + i * inner] =
            static_cast<uint8_t>(to_quantized(static_cast<float>(p) / py.scale, py));
      }
    }
  });
  c.out(0, y);
}

// ---- pools: (X, x_scale, x_zero, y_scale, y_zero)
// --------------------------------------------------------------------------

bool channels_are_last(const Attrs& attrs) {
  return attrs.integer("channels_last", 0) != 0;
}

void check_pooled(int rank) {
  if (rank < 3 || rank > 5)
    throw Error(Code::invalid, "input of rank " + std::to_string(rank) + " to a pool");
}

void infer_global_pool(InferContext& c) {
  infer_same(c);
  Fact f = c.in(0);
  if (!f.ranked) return;
  check_pooled(f.rank());
  f.dims = channels_first(f.dims, channels_are_last(c.attrs()));
  for (size_t i = 2; i < f.dims.size(); ++i) f.dims[i] = 1;
  f.dims = channels_last(f.dims, channels_are_last(c.attrs()));
  c.out(0, f);
}

void eval_global_pool(EvalContext& c) {
  const Tensor& x = c.in(0);
  check_pooled(x.rank());
  const DType t = x.dtype();
  const Params px = params(c, 1, 2, t), py = params(c, 3, 4, t, true);
  const bool last = channels_are_last(c.attrs());
  const Dims dims = channels_first(x.dims(), last);
  const int64_t n = dims[0], channels = dims[1], plane = span_count(dims, 2, x.rank());
  if (plane == 0) throw Error(Code::invalid, "a pool over no elements");
  Dims out_dims(dims.size(), 1);
  out_dims[0] = n;
  out_dims[1] = channels;
  Tensor y = c.make(t, channels_last(out_dims, last));
  const float scale = px.scale / (py.scale * static_cast<float>(plane));
  const int64_t channel_step = last ? 1 : plane, step = last ? channels : 1;
  visit_bytes(x, [&](const auto* in) {
    for (int64_t i = 0; i < n * channels; ++i) {
      const auto* from = in + i / channels * channels * plane + i % channels * channel_step;
      int64_t sum = -plane * px.zero;
      for (int64_t k = 0; k < plane; ++k) sum += from[k * step];
      result_bytes(y)[i] = static_cast<uint8_t>(to_quantized(static_cast<float>(sum) * scale, py));
    }
  });
  c.out(0, y);
}

Window pool_window(const Attrs& attrs, size_t spatial) {
  const Dims& kernel = attrs.integers("kernel_shape");
  if (kernel.size() != spatial) {
    throw Error(Code::invalid, "attribute kernel_shape is " + to_string(kernel) + " for " +
                                   std::to_string(spatial) + " spatial axes");
  }
  return parse_window(attrs, kernel);
}

void infer_average_pool(InferContext& c) {
  infer_same(c);
  Fact f = c.in(0);
  if (!f.ranked) return;
  check_pooled(f.rank());
  const bool last = channels_are_last(c.attrs());
  const SymDims d = channels_first(f.dims, last);
  SymDims out{d[0], d[1]};
  Window w = pool_window(c.attrs(), d.size() - 2);
  for (const Dim o : w.fit(SymDims(d.begin() + 2, d.end()))) out.push_back(o);
  f.dims = channels_last(out, last);
  c.out(0, f);
}

// The sum over one window, in f32, and how many elements it divides by.
struct WindowSum {
  float sum = 0;
  int64_t inside = 0, all = 1;
};

template <class T>
WindowSum window_sum(const Window& w, const Dims& in, const Dims& at, const T* plane, int64_t step,
                     const Params& p) {
  WindowSum r;
  Dims low(in.size()), count(in.size());
  int64_t lead = 0;
  r.inside = 1;
  Dims strides = row_major_strides(in);
  for (size_t a = 0; a < in.size(); ++a) {
    const int64_t start = at[a] * w.strides[a] - w.begin[a];
    // Taps from the first inside to the last inside, and those inside the padding too.
    const int64_t skip = start < 0 ? (-start + w.dilations[a] - 1) / w.dilations[a] : 0;
    const int64_t stop = start >= in[a] ? 0 : std::min(w.kernel[a], (in[a] - 1 - start) / w.dilations[a] + 1);
    const int64_t padded = std::min(w.kernel[a], (in[a] + w.end[a] - 1 - start) / w.dilations[a] + 1);
    count[a] = std::max<int64_t>(0, stop - skip);
    lead += (start + skip * w.dilations[a]) * strides[a];
    strides[a] *= w.dilations[a];
    r.inside *= count[a];
    r.all *= padded;
  }
  for (NdIndex<1> it(count, {strides}); !it.done(); it.next()) {
    r.sum += p.scale * static_cast<float>(plane[(lead + it[0]) * step] - p.zero);
  }
  return r;
}

void eval_average_pool(EvalContext& c) {
  const Tensor& x = c.in(0);
  check_pooled(x.rank());
  const DType t = x.dtype();
  const Params px = params(c, 1, 2, t), py = params(c, 3, 4, t, true);
  const bool last = channels_are_last(c.attrs()), count_pads = c.attrs().integer("count_include_pad", 0) != 0;
  const Dims dims = channels_first(x.dims(), last), in(dims.begin() + 2, dims.end());
  Window w = pool_window(c.attrs(), in.size());
  const Dims out = w.fit(in);
  Dims out_dims{dims[0], dims[1]};
  out_dims.insert(out_dims.end(), out.begin(), out.end());
  Tensor y = c.make(t, channels_last(out_dims, last));
  const int64_t channels = dims[1], in_plane = element_count(in), out_plane = element_count(out);
  const int64_t step = last ? channels : 1;
  const Dims none(out.size(), 0);
  visit_bytes(x, [&](const auto* from) {
    for (int64_t i = 0; i < dims[0] * channels; ++i) {
      const int64_t n = i / channels, ch = i % channels;
      const auto* plane = from + n * channels * in_plane + ch * (last ? 1 : in_plane);
      uint8_t* to = result_bytes(y) + n * channels * out_plane + ch * (last ? 1 : out_plane);
      for (NdIndex<1> it(out, {none}); !it.done(); it.next(), to += step) {
        const WindowSum s = window_sum(w, in, it.index(), plane, step, px);
        const int64_t divisor = std::max<int64_t>(1, count_pads ? s.all : s.inside);
        const float mean = s.sum / static_cast<float>(divisor);
        *to = static_cast<uint8_t>(saturate_rounded(mean / py.scale + static_cast<float>(py.zero), py));
      }
    }
  });
  c.out(0, y);
}

// ---- QLinearConcat: (Y_scale, Y_zero, then X, X_scale, X_zero for each tensor)
// ---------------------------------------------

size_t concat_operands(size_t inputs) {
  if (inputs < 5 || (inputs - 2) % 3 != 0) {
    throw Error(Code::invalid, std::to_string(inputs) + " inputs are not a scale, a zero point and triples");
  }
  return (inputs - 2) / 3;
}

void infer_concat(InferContext& c) {
  const size_t n = concat_operands(c.inputs());
  Fact f = c.in(2);
  f.dtype = c.in(1).dtype;
  for (size_t i = 0; i < n; ++i) {
    if (!c.in(2 + 3 * i).ranked) return c.out(0, Fact::unranked(f.dtype));
  }
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), f.rank()));
  for (size_t i = 1; i < n; ++i) {
    const Fact& other = c.in(2 + 3 * i);
    if (other.rank() != f.rank()) throw Error(Code::invalid, "the tensors have different ranks");
    for (size_t d = 0; d < f.dims.size(); ++d) {
      const Dim o = other.dims[d];
      if (d == axis) {
        f.dims[d] = f.dims[d].known() && o.known() ? Dim(f.dims[d].value() + o.value()) : Dim::unknown();
      } else {
        f.dims[d] = agree(f.dims[d], o, "axis " + std::to_string(d));
      }
    }
  }
  c.out(0, f);
}

void eval_concat(EvalContext& c) {
  const size_t n = concat_operands(c.inputs());
  const DType t = c.in(1).dtype();
  const Params py = params(c, 0, 1, t, true);
  Dims dims = c.in(2).dims();
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), c.in(2).rank()));
  dims[axis] = 0;
  for (size_t i = 0; i < n; ++i) {
    Dims d = c.in(2 + 3 * i).dims();
    if (d.size() != dims.size()) throw Error(Code::invalid, "the tensors have different ranks");
    dims[axis] += std::exchange(d[axis], dims[axis]);
    d[axis] = dims[axis];
    if (d != dims) throw Error(Code::invalid, "the tensors do not agree off the axis");
  }
  Tensor y = c.make(t, dims);
  const int rank = y.rank(), split = static_cast<int>(axis);
  const int64_t outer = span_count(dims, 0, split), row = span_count(dims, split, rank);
  int64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    const Tensor& x = c.in(2 + 3 * i);
    if (x.dtype() != t) throw Error(Code::invalid, "the tensors have different dtypes");
    const Table table = make_table(t, params(c, 3 + 3 * i, 4 + 3 * i, t), py, [](float v) { return v; });
    const uint8_t* in = static_cast<const uint8_t*>(x.raw());
    const int64_t run = span_count(x.dims(), split, rank);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t k = 0; k < run; ++k) result_bytes(y)[o * row + at + k] = table[in[o * run + k]];
    }
    at += run;
  }
  c.out(0, y);
}

Work work_pool(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

constexpr OpDef kOps[] = {
    quantized_row("com.microsoft", "QLinearAdd", 7, 8, infer_binary, eval_add, work_per_element<4>),
    quantized_row("com.microsoft", "QLinearMul", 7, 8, infer_binary, eval_mul, work_per_element<4>),
    quantized_row("com.microsoft", "QLinearSigmoid", 4, 5, infer_same, eval_sigmoid, nullptr),
    quantized_row("com.microsoft", "QLinearLeakyRelu", 4, 5, infer_same, eval_leaky_relu, nullptr),
    quantized_row("skyline", "Lookup", 1, 1, infer_lookup, eval_lookup, work_per_element<1>),
    quantized_row("com.microsoft", "QLinearSoftmax", 5, 5, infer_softmax, eval_softmax, work_per_element<12>),
    quantized_row("com.microsoft", "QLinearGlobalAveragePool", 4, 5, infer_global_pool, eval_global_pool,
                  work_pool),
    quantized_row("com.microsoft", "QLinearAveragePool", 4, 5, infer_average_pool, eval_average_pool,
                  work_pool),
    quantized_row("com.microsoft", "QLinearConcat", 5, kMany, infer_concat, eval_concat, nullptr),
};

}  // namespace

std::span<const OpDef> quantized_contrib_ops() {
  return kOps;
}

}  // namespace skyline::ops
