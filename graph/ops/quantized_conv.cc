// Convolutions of 8-bit tensors: ConvInteger and QLinearConv. Zero points go first, so that padding is plain
// zero. With layout "NHWC" (domain skyline) channels of x and y are last.
#include <array>

#include "graph/ops/cast.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/quantize.h"
#include "graph/ops/util.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

// ---- shapes
// ----------------------------------------------------------------------------------------------------------

void check_ranks(int x, int w) {
  if (x < 3 || x > 5 || w != x) {
    throw Error(x > 5 ? Code::unsupported : Code::invalid,
                "input and weights have ranks " + std::to_string(x) + " and " + std::to_string(w) +
                    "; [N, C, spatial...] is needed");
  }
}

int64_t group_of(const Attrs& attrs) {
  const int64_t group = attrs.integer("group", 1);
  if (group < 1) throw Error(Code::invalid, "attribute group is " + std::to_string(group));
  return group;
}

void check_channels(int64_t in, int64_t out, int64_t in_per_group, int64_t group) {
  if (in % group != 0 || in / group != in_per_group || out % group != 0) {
    throw Error(Code::invalid, std::to_string(group) + " groups, " + std::to_string(in) + " input and " +
                                   std::to_string(out) + " output channels do not fit weights of " +
                                   std::to_string(in_per_group) + " channels");
  }
}

// The weights' spatial sizes, which kernel_shape must repeat if it is there.
Window window_of(const Attrs& attrs, const Dims& kernel) {
  const Dims said = attrs.integers("kernel_shape", kernel);
  if (!said.empty() && said != kernel) {
    throw Error(Code::invalid, "attribute kernel_shape is " + to_string(said) + " but the weights have " +
                                   to_string(kernel));
  }
  return parse_window(attrs, kernel);
}

void infer_conv(InferContext& c, DType t, size_t weights) {
  const Fact &x = c.in(0), &w = c.in(weights);
  require_byte(x.dtype, "the input");
  require_byte(w.dtype, "the weights");
  const int64_t group = group_of(c.attrs());
  if (!x.ranked || !w.ranked) return c.out(0, Fact::unranked(t));
  check_ranks(x.rank(), w.rank());
  const bool last = is_channels_last(c.node);
  const SymDims xd = channels_first(x.dims, last);
  if (xd[1].known() && w.dims[0].known() && w.dims[1].known()) {
    check_channels(xd[1].value(), w.dims[0].value(), w.dims[1].value(), group);
  }
  SymDims out{xd[0], w.dims[0]};
  Dims kernel;
  for (size_t i = 2; i < w.dims.size() && w.dims[i].known(); ++i) kernel.push_back(w.dims[i].value());
  if (kernel.size() + 2 == w.dims.size()) {
    const SymDims spatial = window_of(c.attrs(), kernel).fit(SymDims(xd.begin() + 2, xd.end()));
    out.insert(out.end(), spatial.begin(), spatial.end());
  } else {
    out.resize(xd.size());
  }
  c.out(0, Fact(t, channels_last(out, last)));
}

// One convolution; spatial axes are three, with ones in front. Zero-points are gone from x and w.
struct Problem {
  int64_t batch = 0, in_channels = 0, out_channels = 0, group = 1;
  std::array<int64_t, 3> in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1},
      pad{0, 0, 0};
  bool last = false;  // channels of the result; those of x have been moved
  Dims dims;          // of the result
  Tensor x, w;
  int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  int64_t out_plane() const { return out[0] * out[1] * out[2]; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t depth() const { return in_channels / group * taps(); }
  // Of element i of the plane that would begin at `plane` with channels first, of channel m.
  int64_t place(int64_t m, int64_t plane, int64_t i) const {
    return last ? (plane / (out_channels * out_plane()) * out_plane() + i) * out_channels + m : plane + i;
  }
};

// [N, pixels, C] -> [N, C, pixels].
Tensor channels_to_front(const EvalContext& c, const Tensor& x, int64_t batch, int64_t channels) {
  Tensor out = c.make(DType::i32, x.dims());
  const int64_t plane = batch * channels == 0 ? 0 : x.size() / (batch * channels);
  const int32_t* from = x.data<int32_t>();
  int32_t* to = out.mutable_data<int32_t>();
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t ch = 0; ch < channels; ++ch) {
      for (int64_t i = 0; i < plane; ++i)
        to[(n * channels + ch) * plane + i] = from[(n * plane + i) * channels + ch];
    }
  }
  return out;
}

Problem make_problem(const EvalContext& c, size_t weights) {
  const Tensor &x = c.in(0), &w = c.in(weights);
  check_ranks(x.rank(), w.rank());
  Problem p;
  p.group = group_of(c.attrs());
  p.last = is_channels_last(c.node);
  const Dims xd = channels_first(x.dims(), p.last);
  p.batch = xd[0];
  p.in_channels = xd[1];
  p.out_channels = w.dim(0);
  check_channels(p.in_channels, p.out_channels, w.dim(1), p.group);
  Window window = window_of(c.attrs(), Dims(w.dims().begin() + 2, w.dims().end()));
  const Dims out = window.fit(Dims(xd.begin() + 2, xd.end()));
  p.dims = {p.batch, p.out_channels};
  p.dims.insert(p.dims.end(), out.begin(), out.end());
  p.dims = channels_last(p.dims, p.last);
  const size_t lead = 3 - out.size();
  for (size_t i = 0; i < out.size(); ++i) {
    p.in[lead + i] = xd[i + 2];
    p.out[lead + i] = out[i];
    p.kernel[lead + i] = window.kernel[i];
    p.stride[lead + i] = window.strides[i];
    p.dilation[lead + i] = window.dilations[i];
    p.pad[lead + i] = window.begin[i];
  }
  if (p.taps() == 1 && p.in == p.out && p.stride == std::array<int64_t, 3>{1, 1, 1}) {
    p.in = p.out = {1, 1, p.in_plane()};  // a pointwise convolution has one long row
  }
  return p;
}

// A byte tensor as i32, less its zero point: one, or (weights) one per leading index.
Tensor centered(const EvalContext& c, const Tensor& x, size_t zero_input) {
  const Tensor zeros = zero_points(c, zero_input, x.dtype());
  if (zeros.size() != 1 && zeros.dims() != Dims{x.dim(0)}) {
    throw Error(Code::invalid, "a zero point has shape " + to_string(zeros.dims()) + " for a tensor of " +
                                   to_string(x.dims()));
  }
  require_byte(x.dtype(), "an operand");
  Tensor out = c.make(DType::i32, x.dims());
  const int64_t rows = zeros.size() == 1 ? 1 : x.dim(0), run = rows == 0 ? 0 : x.size() / rows;
  visit_type(x.dtype(), TypeList<int8_t, uint8_t>{}, [&]<class T>() {
    const T* in = x.data<T>();
    int32_t* to = out.mutable_data<int32_t>();
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t zero = zeros.data<int32_t>()[r];
      for (int64_t i = 0; i < run; ++i) to[r * run + i] = in[r * run + i] - zero;
    }
  });
  return out;
}

// Output positions o in [first, last) whose input position o * stride + shift exists.
struct Span {
  int64_t first, last;
};
Span valid_span(int64_t out, int64_t in, int64_t stride, int64_t shift) {
  const int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const int64_t last = in - shift <= 0 ? 0 : (in - 1 - shift) / stride + 1;
  return {first, std::max(first, std::min(last, out))};
}

// sum[out] += weight * x[where the tap reads], over one plane.
template <class Acc>
void add_tap(const Problem& p, const int32_t* x, Acc weight, const std::array<int64_t, 3>& shift, Acc* sum) {
  std::array<Span, 3> s;
  for (size_t a = 0; a < 3; ++a) s[a] = valid_span(p.out[a], p.in[a], p.stride[a], shift[a]);
  for (int64_t d = s[0].first; d < s[0].last; ++d) {
    for (int64_t h = s[1].first; h < s[1].last; ++h) {
      const int64_t line = (d * p.stride[0] + shift[0]) * p.in[1] + h * p.stride[1] + shift[1];
      const int32_t* row = x + line * p.in[2] + shift[2];
      Acc* to = sum + (d * p.out[1] + h) * p.out[2];
      const int64_t stride = p.stride[2];
      for (int64_t i = s[2].first; i < s[2].last; ++i) to[i] += weight * row[i * stride];
    }
  }
}

template <class Acc>
void convolve_plane(const Problem& p, int64_t n, int64_t m, Acc* sum) {
  const int64_t per_group = p.in_channels / p.group, first = m / (p.out_channels / p.group) * per_group;
  std::fill(sum, sum + p.out_plane(), Acc{0});
  const int32_t* w = p.w.data<int32_t>() + m * p.depth();
  for (int64_t ch = 0; ch < per_group; ++ch) {
    const int32_t* x = p.x.data<int32_t>() + (n * p.in_channels + first + ch) * p.in_plane();
    for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
      for (int64_t kh = 0; kh < p.kernel[1]; ++kh) {
        for (int64_t kw = 0; kw < p.kernel[2]; ++kw) {
          const std::array<int64_t, 3> shift{kd * p.dilation[0] - p.pad[0], kh * p.dilation[1] - p.pad[1],
                                             kw * p.dilation[2] - p.pad[2]};
          add_tap<Acc>(p, x, *w++, shift, sum);
        }
      }
    }
  }
}

// Sums of more than this many products of 9-bit differences may leave 32 bits.
constexpr int64_t kMaxDepth32 = std::numeric_limits<int32_t>::max() / (255 * 255);

// Calls plane(output channel, first output element, exact sums of the plane) for all planes in order.
template <class F>
void for_planes(const EvalContext& c, const Problem& p, F plane) {
  const bool narrow = p.depth() <= kMaxDepth32;
  Tensor sums = c.make(narrow ? DType::i32 : DType::i64, {p.out_plane()});
  for (int64_t n = 0; n < p.batch; ++n) {
    for (int64_t m = 0; m < p.out_channels; ++m) {
      const int64_t at = (n * p.out_channels + m) * p.out_plane();
      if (narrow) {
        int32_t* sum = sums.mutable_data<int32_t>();
        convolve_plane(p, n, m, sum);
        plane(m, at, sum);
      } else {
        int64_t* sum = sums.mutable_data<int64_t>();
        convolve_plane(p, n, m, sum);
        plane(m, at, sum);
      }
      if (c.limits.check) c.limits.check();
    }
  }
}

// ---- ConvInteger: (x, w, x_zero_point, w_zero_point)
// -------------------------------------------------------------------

void infer_conv_integer(InferContext& c) {
  infer_conv(c, DType::i32, 1);
}

void eval_conv_integer(EvalContext& c) {
  Problem p = make_problem(c, 1);
  Tensor y = c.make(DType::i32, p.dims);
  if (c.has(2) && c.in(2).size() != 1) throw Error(Code::invalid, "x_zero_point is not a scalar");
  p.x = centered(c, c.in(0), 2);
  p.w = centered(c, c.in(1), 3);
  int32_t* out = y.mutable_data<int32_t>();
  for_planes(c, p, [&](int64_t, int64_t at, const auto* sum) {
    for (int64_t i = 0; i < p.out_plane(); ++i) out[at + i] = static_cast<int32_t>(sum[i]);
  });
  c.out(0, y);
}

// ---- QLinearConv: (x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias)
// ----------------------

void infer_qlinear_conv(InferContext& c) {
  infer_conv(c, c.in(7).dtype, 3);
}

void eval_qlinear_conv(EvalContext& c) {
  Problem p = make_problem(c, 3);
  const DType t = c.in(7).dtype();
  require_byte(t, "y_zero_point");
  Tensor y = c.make(t, p.dims);
  const float x_scale = single_scale(c.in(1), "x_scale"), y_scale = single_scale(c.in(6), "y_scale", false);
  const Tensor& w_scale = c.in(4);
  check_scales(w_scale, "w_scale", true);
  if (w_scale.size() != 1 && w_scale.dims() != Dims{p.out_channels}) {
    throw Error(Code::invalid, "w_scale has shape " + to_string(w_scale.dims()) + "; a scalar or " +
                                   std::to_string(p.out_channels) + " elements are needed");
  }
  if (c.has(8) && (c.in(8).dims() != Dims{p.out_channels} || c.in(8).dtype() != DType::i32)) {
    throw Error(Code::invalid, "bias is " + std::string(name(c.in(8).dtype())) + to_string(c.in(8).dims()) +
                                   "; i32 of " + std::to_string(p.out_channels) + " elements is needed");
  }
  single_zero_point(c, 2, c.in(0).dtype());
  const auto zero = static_cast<float>(single_zero_point(c, 7, t));
  const auto range = range_of(t);
  const auto low = static_cast<float>(range.low), high = static_cast<float>(range.high);
  p.x = centered(c, c.in(0), 2);
  if (p.last) p.x = channels_to_front(c, p.x, p.batch, p.in_channels);
  p.w = centered(c, c.in(3), 5);
  const float* ws = w_scale.data<float>();
  const int32_t* bias = c.has(8) ? c.in(8).data<int32_t>() : nullptr;
  uint8_t* out = static_cast<uint8_t*>(y.mutable_raw());
  for_planes(c, p, [&](int64_t m, int64_t at, const auto* sum) {
    // In f32 and in this order: the integers that come out are then those of ONNX Runtime.
    const float scale = x_scale * ws[w_scale.size() == 1 ? 0 : m] / y_scale;
    const int64_t add = bias ? bias[m] : 0;
    for (int64_t i = 0; i < p.out_plane(); ++i) {
      const float v = static_cast<float>(sum[i] + add) * scale;
      out[p.place(m, at, i)] = static_cast<uint8_t>(quantize(v, zero, low, high));
    }
  });
  c.out(0, y);
}

template <int kWeights>
Work work_conv(const Node&, std::span<const Fact> in, std::span<const Fact> out) {
  const Fact& w = in[kWeights];
  const int64_t outputs = w.dims[0].value();
  return {.flops = outputs == 0 ? 0 : 2 * out[0].elements() * (w.elements() / outputs)};
}

constexpr OpDef kOps[] = {
    {.name = "ConvInteger",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_conv_integer,
     .eval = eval_conv_integer,
     .work = work_conv<1>},
    {.name = "QLinearConv",
     .min_inputs = 8,
     .max_inputs = 9,
     .infer = infer_qlinear_conv,
     .eval = eval_qlinear_conv,
     .work = work_conv<3>},
    {.name = "QLinearConv",
     .domain = "skyline",
     .min_inputs = 8,
     .max_inputs = 9,
     .infer = infer_qlinear_conv,
     .eval = eval_qlinear_conv,
     .work = work_conv<3>},
};

}  // namespace

std::span<const OpDef> quantized_conv_ops() {
  return kOps;
}

}  // namespace skyline::ops
