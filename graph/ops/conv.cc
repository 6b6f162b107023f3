// Conv, and FusedConv: a convolution that ends with bias, residual and activation.
#include "graph/ir/precision.h"
#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

constexpr int kMaxSpatial = 3;

int spatial_rank(int rank) {
  if (rank < 3) reject("input of rank " + std::to_string(rank) + ", expected [N, C, spatial...]");
  if (rank > 2 + kMaxSpatial) refuse("convolution over " + std::to_string(rank - 2) + " spatial axes");
  return rank - 2;
}

int64_t group_of(const Attrs& a) {
  const int64_t group = a.integer("group", 1);
  if (group < 1) reject("attribute group is " + std::to_string(group));
  return group;
}

void check_channels(Dim c, Dim m, Dim c_per_group, int64_t group) {
  if (c.known() && c_per_group.known()) agree(c, mul(c_per_group, group), "input channels");
  if (m.known() && m.value() % group != 0) {
    reject("group " + std::to_string(group) + " does not divide " + std::to_string(m.value()) +
           " output channels");
  }
}

// Spatial sizes of the kernel: the weights' own, which kernel_shape must repeat if it is there.
Dims kernel_dims(const Attrs& a, const Dims& weight) {
  Dims own(weight.begin() + 2, weight.end());
  const Dims said = a.integers("kernel_shape", own);
  if (!said.empty() && said != own) {
    reject("attribute kernel_shape is " + to_string(said) + " but the weights have " + to_string(own));
  }
  return own;
}

DType result_type(const Node& n, DType x, DType w) {
  return takes_mixed_types(n) ? stored_as(n, w) : x;
}

void infer_conv(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1);
  require_float(x.dtype, "input");
  if (!x.ranked && !w.ranked) return c.out(0, Fact::unranked(x.dtype));
  const int rank = x.ranked ? x.rank() : w.rank();
  const int spatial = spatial_rank(rank);
  const auto unknown = [&] { return Fact(x.dtype, SymDims(static_cast<size_t>(rank))); };
  const Fact xf = x.ranked ? x : unknown(), wf = w.ranked ? w : unknown();
  if (wf.rank() != rank)
    reject("weights of rank " + std::to_string(wf.rank()) + ", expected " + std::to_string(rank));
  const bool last = is_channels_last(c.node);
  const SymDims xd = channels_first(xf.dims, is_input_channels_last(c.node));
  const int64_t group = group_of(c.attrs());
  check_channels(xd[1], wf.dims[0], wf.dims[1], group);
  if (c.has(2)) require_fact(c.in(2), {wf.dims[0]}, "bias");

  const SymDims kernel_sym(wf.dims.begin() + 2, wf.dims.end());
  Dims kernel;
  for (Dim d : kernel_sym) {
    if (d.known()) kernel.push_back(d.value());
  }
  SymDims out{xd[0], wf.dims[0]};
  if (static_cast<int>(kernel.size()) == spatial) {
    Dims weight{0, 0};
    weight.insert(weight.end(), kernel.begin(), kernel.end());
    Window window = parse_window(c.attrs(), kernel_dims(c.attrs(), weight));
    const SymDims fitted = window.fit(SymDims(xd.begin() + 2, xd.end()));
    out.insert(out.end(), fitted.begin(), fitted.end());
  } else {
    out.resize(static_cast<size_t>(rank));
  }
  out = channels_last(out, last);
  if (c.has(3)) require_fact(c.in(3), out, "residual");
  c.out(0, Fact(result_type(c.node, x.dtype, w.dtype), out));
}

void infer_fused_conv(InferContext& c) {
  parse_activation(c.attrs());
  infer_conv(c);
}

// One convolution, spatial axes padded to three with ones in front.
struct Problem {
  int64_t n = 0, c = 0, m = 0, group = 1;
  int64_t in[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, pad[3] = {0, 0, 0};
  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

Problem make_problem(const Dims& x, const Dims& w, int64_t group, const Window& window, const Dims& out) {
  Problem p{.n = x[0], .c = x[1], .m = w[0], .group = group};
  const size_t rank = out.size(), lead = 3 - rank;
  for (size_t i = 0; i < rank; ++i) {
    p.in[lead + i] = x[2 + i];
    p.kernel[lead + i] = window.kernel[i];
    p.out[lead + i] = out[i];
    p.stride[lead + i] = window.strides[i];
    p.dilation[lead + i] = window.dilations[i];
    p.pad[lead + i] = window.begin[i];
  }
  return p;
}

// Output positions o in [first, last) for which o * stride + shift is in [0, in).
struct Range {
  int64_t first, last;
};
Range valid_range(int64_t out, int64_t in, int64_t stride, int64_t shift) {
  const int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const int64_t last = in - 1 - shift < 0 ? 0 : (in - 1 - shift) / stride + 1;
  return {first, std::max(first, std::min(last, out))};
}

// acc[out] += w[tap] * x[in position of the tap], over one channel's plane.
void add_plane(const Problem& p, const double* x, const double* w, double* acc) {
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
    const int64_t sd = kd * p.dilation[0] - p.pad[0];
    const Range rd = valid_range(p.out[0], p.in[0], p.stride[0], sd);
    for (int64_t kh = 0; kh < p.kernel[1]; ++kh) {
      const int64_t sh = kh * p.dilation[1] - p.pad[1];
      const Range rh = valid_range(p.out[1], p.in[1], p.stride[1], sh);
      for (int64_t kw = 0; kw < p.kernel[2]; ++kw) {
        const double weight = w[(kd * p.kernel[1] + kh) * p.kernel[2] + kw];
        const int64_t sw = kw * p.dilation[2] - p.pad[2];
        const Range rw = valid_range(p.out[2], p.in[2], p.stride[2], sw);
        for (int64_t d = rd.first; d < rd.last; ++d) {
          for (int64_t h = rh.first; h < rh.last; ++h) {
            const double* row = x + ((d * p.stride[0] + sd) * p.in[1] + h * p.stride[1] + sh) * p.in[2] + sw;
            double* to = acc + (d * p.out[1] + h) * p.out[2];
            if (p.stride[2] == 1) {
              for (int64_t i = rw.first; i < rw.last; ++i) to[i] += weight * row[i];
            } else {
              for (int64_t i = rw.first; i < rw.last; ++i) to[i] += weight * row[i * p.stride[2]];
            }
          }
        }
      }
    }
  }
}

// y [n, m, out] from x [n, c, in] and w [m, c / group, kernel].
std::vector<double> convolve(const Problem& p, const std::vector<double>& x, const std::vector<double>& w,
                             const std::vector<double>& bias, const EvalLimits& limits) {
  std::vector<double> y(static_cast<size_t>(p.n * p.m * p.out_size()));
  const int64_t per_group = p.c / p.group, m_per_group = p.m / p.group;
  for (int64_t n = 0; n < p.n; ++n) {
    for (int64_t m = 0; m < p.m; ++m) {
      poll(limits);
      double* acc = y.data() + (n * p.m + m) * p.out_size();
      if (!bias.empty()) std::fill(acc, acc + p.out_size(), bias[static_cast<size_t>(m)]);
      for (int64_t i = 0; i < per_group; ++i) {
        const int64_t channel = m / m_per_group * per_group + i;
        add_plane(p, x.data() + (n * p.c + channel) * p.in_size(), w.data() + (m * per_group + i) * p.taps(),
                  acc);
      }
    }
  }
  return y;
}

// X, W, [B], [residual]: the checks and the sum before any activation.
struct ConvResult {
  Dims dims;
  std::vector<double> values;
};
ConvResult run_conv(EvalContext& c, const Activation& act) {
  const Tensor &x = c.in(0), &w = c.in(1);
  require_float(x.dtype(), "input");
  const bool last = is_channels_last(c.node);
  const int spatial = spatial_rank(x.rank());
  if (w.rank() != x.rank()) reject("weights of rank " + std::to_string(w.rank()));
  if (w.dtype() != x.dtype() && !takes_mixed_types(c.node)) reject("weights and input differ in dtype");
  const int64_t group = group_of(c.attrs());
  const bool last_in = is_input_channels_last(c.node);
  const Dims xd = channels_first(x.dims(), last_in);
  check_channels(xd[1], w.dim(0), w.dim(1), group);
  if (c.has(2)) require_dims(c.in(2), {w.dim(0)}, "bias");
  Window window = parse_window(c.attrs(), kernel_dims(c.attrs(), w.dims()));
  const Dims out = window.fit(Dims(xd.begin() + 2, xd.end()));
  Dims yd{xd[0], w.dim(0)};
  yd.insert(yd.end(), out.begin(), out.end());
  yd = channels_last(yd, last);
  if (c.has(3)) require_dims(c.in(3), yd, "residual");
  c.make(x.dtype(), yd);  // the limit on size, before any scratch memory

  const Problem p = make_problem(xd, w.dims(), group, window, out);
  std::vector<double> xv = to_doubles(x);
  if (last_in) xv = move_channels(xv, p.n, p.c, span_count(xd, 2, 2 + spatial), false);
  const std::vector<double> bias = c.has(2) ? to_doubles(c.in(2)) : std::vector<double>();
  std::vector<double> y = convolve(p, xv, to_doubles(w), bias, c.limits);
  if (last) y = move_channels(y, p.n, p.m, p.out_size(), true);
  if (c.has(3)) {
    const std::vector<double> r = to_doubles(c.in(3));
    for (size_t i = 0; i < y.size(); ++i) y[i] += r[i];
  }
  for (double& v : y) v = apply(act, v);
  return {yd, std::move(y)};
}

void eval_conv(EvalContext& c) {
  const ConvResult r = run_conv(c, {});
  c.out(0, make_from(c, c.in(0).dtype(), r.dims, r.values));
}

void eval_fused_conv(EvalContext& c) {
  const ConvResult r = run_conv(c, parse_activation(c.attrs()));
  c.out(0, make_from(c, result_type(c.node, c.in(0).dtype(), c.in(1).dtype()), r.dims, r.values));
}

// com.microsoft writes the same activations with its own names.
Activation microsoft_activation(const Attrs& a) {
  const std::string given = a.text("activation", "");
  const std::vector<float> params = a.reals("activation_params", {});
  if (given.empty()) return {};
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"Relu", "relu"},           {"Tanh", "tanh"},
      {"Sigmoid", "sigmoid"},     {"LeakyRelu", "leaky_relu"},
      {"Clip", "clip"},           {"HardSigmoid", "hard_sigmoid"},
      {"HardSwish", "hard_swish"}};
  for (const auto& [theirs, ours] : kNames) {
    if (theirs == given) return make_activation(std::string(ours), params);
  }
  refuse("activation " + given);
}

void infer_microsoft_conv(InferContext& c) {
  microsoft_activation(c.attrs());
  infer_conv(c);
}

void eval_microsoft_conv(EvalContext& c) {
  const ConvResult r = run_conv(c, microsoft_activation(c.attrs()));
  c.out(0, make_from(c, c.in(0).dtype(), r.dims, r.values));
}

Work work_conv(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t m = std::max<int64_t>(1, in[1].dims[0].value());
  const int64_t per_output = in[1].elements() / m;
  int64_t extra = in.size() > 2 && node.in(2) != kNoValue ? 1 : 0;
  extra += in.size() > 3 && node.in(3) != kNoValue ? 1 : 0;
  if (node.op->domain == "skyline") extra += activation_flops(parse_activation(node.attrs).kind);
  return {.flops = out[0].elements() * (2 * per_output + extra)};
}

constexpr OpDef kOps[] = {
    {.name = "Conv",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_conv,
     .eval = eval_conv,
     .work = work_conv},
    {.name = "FusedConv",
     .domain = "skyline",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_fused_conv,
     .eval = eval_fused_conv,
     .work = work_conv},
    {.name = "FusedConv",
     .domain = "com.microsoft",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_microsoft_conv,
     .eval = eval_microsoft_conv,
     .work = work_conv},
};

}  // namespace

std::span<const OpDef> conv_ops() {
  return kOps;
}

}  // namespace skyline::ops
