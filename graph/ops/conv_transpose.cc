// ConvTranspose: the gradient of a convolution with respect to its input, as a layer of its own; and
// FusedConvTranspose, which ends with bias, residual and activation.
#include <algorithm>

#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

// Attributes of one ConvTranspose and the output sizes they give.
struct Geometry {
  int64_t group = 1;
  Window window;
  Dims output_padding, output_shape;  // output_shape is empty when not given
  // Size along one axis; settles the padding of that axis.
  int64_t fit(size_t axis, int64_t in);
};

int64_t Geometry::fit(size_t axis, int64_t in) {
  if (in < 1) reject("empty spatial axis " + std::to_string(axis));
  int64_t span = 0;  // of the output without any padding taken off
  const int64_t tail = output_padding[axis] + window.extent(axis);
  if (__builtin_mul_overflow(window.strides[axis], in - 1, &span) ||
      __builtin_add_overflow(span, tail, &span)) {
    throw Error(Code::limit, "output size overflows 64 bits");
  }
  const bool same = window.auto_pad == AutoPad::same_upper || window.auto_pad == AutoPad::same_lower;
  if (output_shape.empty() && !same) {
    if (window.auto_pad == AutoPad::valid) window.begin[axis] = window.end[axis] = 0;
    const int64_t out = span - window.begin[axis] - window.end[axis];
    if (out < 1) reject("output size " + std::to_string(out) + " on spatial axis " + std::to_string(axis));
    return out;
  }
  const int64_t out = output_shape.empty() ? mul(in, window.strides[axis]).value() : output_shape[axis];
  // What is cut off; where the output is larger than the span, the rest of it holds the bias.
  const int64_t total = std::max<int64_t>(0, span - out);
  window.begin[axis] = window.auto_pad == AutoPad::same_upper ? total / 2 : total - total / 2;
  window.end[axis] = total - window.begin[axis];
  return out;
}

Geometry parse_geometry(const Attrs& a, const Dims& kernel) {
  Geometry g;
  const int rank = static_cast<int>(kernel.size());
  g.group = a.integer("group", 1);
  if (g.group < 1) reject("attribute group is " + std::to_string(g.group));
  const Dims said = a.integers("kernel_shape", kernel);
  if (!said.empty() && said != kernel) {
    reject("attribute kernel_shape is " + to_string(said) + " but the weights have " + to_string(kernel));
  }
  g.window = parse_window(a, kernel);
  g.output_padding = parse_per_axis(a, "output_padding", rank, 0, 0);
  if (!a.integers("output_shape", {}).empty()) g.output_shape = parse_per_axis(a, "output_shape", rank, 1, 1);
  return g;
}

int spatial_rank(int rank) {
  if (rank < 3) reject("input of rank " + std::to_string(rank) + ", expected [N, C, spatial...]");
  if (rank > 5) refuse("convolution over " + std::to_string(rank - 2) + " spatial axes");
  return rank - 2;
}

void infer_conv_transpose(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1);
  require_float(x.dtype, "input");
  if (!x.ranked || !w.ranked) {
    if (!x.ranked && !w.ranked) return c.out(0, Fact::unranked(x.dtype));
    return c.out(0, Fact(x.dtype, SymDims(x.ranked ? x.dims.size() : w.dims.size())));
  }
  const auto rank = static_cast<size_t>(spatial_rank(x.rank())) + 2;
  if (w.rank() != x.rank()) reject("weights of rank " + std::to_string(w.rank()));
  const bool last = is_channels_last(c.node);
  const SymDims xd = channels_first(x.dims, last);
  agree(w.dims[0], xd[1], "input channels");
  Dims kernel;
  for (size_t i = 2; i < rank; ++i) {
    if (w.dims[i].known()) kernel.push_back(w.dims[i].value());
  }
  SymDims out(rank);
  out[0] = xd[0];
  const int64_t group = c.attrs().integer("group", 1);
  out[1] = mul(w.dims[1], Dim(std::max<int64_t>(0, group)));
  if (c.has(2)) require_fact(c.in(2), {out[1]}, "bias");
  if (kernel.size() + 2 == rank) {
    Geometry g = parse_geometry(c.attrs(), kernel);
    if (xd[1].known() && xd[1].value() % group != 0) reject("group does not divide the input channels");
    for (size_t i = 2; i < rank; ++i) {
      if (xd[i].known()) out[i] = g.fit(i - 2, xd[i].value());
    }
  }
  out = channels_last(out, last);
  if (c.has(3)) require_fact(c.in(3), out, "residual");
  c.out(0, Fact(x.dtype, out));
}

void infer_fused_conv_transpose(InferContext& c) {
  parse_activation(c.attrs());
  infer_conv_transpose(c);
}

// Adds w[tap] * x to every output position that the tap of each input position reaches, one plane.
void scatter_plane(const Geometry& g, const Dims& in, const Dims& out, const double* x, const double* w,
                   double* y) {
  const size_t rank = in.size();
  const Dims strides = row_major_strides(out), none(rank, 0);
  const Dims taps = row_major_strides(g.window.kernel);
  for (NdIndex<1> k(g.window.kernel, {taps}); !k.done(); k.next()) {
    const double weight = w[k[0]];
    int64_t at = 0;
    for (NdIndex<1> i(in, {none}); !i.done(); i.next(), ++at) {
      int64_t to = 0;
      bool inside = true;
      for (size_t a = 0; a < rank; ++a) {
        const int64_t pos =
            i.index()[a] * g.window.strides[a] + k.index()[a] * g.window.dilations[a] - g.window.begin[a];
        inside = inside && pos >= 0 && pos < out[a];
        to += pos * strides[a];
      }
      if (inside) y[to] += weight * x[at];
    }
  }
}

void run_conv_transpose(EvalContext& c, const Activation& act) {
  const Tensor &x = c.in(0), &w = c.in(1);
  require_float(x.dtype(), "input");
  spatial_rank(x.rank());
  if (w.rank() != x.rank()) reject("weights of rank " + std::to_string(w.rank()));
  if (w.dtype() != x.dtype()) reject("weights and input differ in dtype");
  Geometry g = parse_geometry(c.attrs(), Dims(w.dims().begin() + 2, w.dims().end()));
  const bool last = is_channels_last(c.node);
  const Dims xd = channels_first(x.dims(), last);
  const int64_t n = xd[0], channels = xd[1], per_group = w.dim(1), m = per_group * g.group;
  if (w.dim(0) != channels)
    reject("weights for " + std::to_string(w.dim(0)) + " channels, input has " + std::to_string(channels));
  if (channels % g.group != 0) reject("group does not divide the input channels");
  if (c.has(2)) require_dims(c.in(2), {m}, "bias");
  const Dims in(xd.begin() + 2, xd.end());
  Dims out;
  for (size_t i = 0; i < in.size(); ++i) out.push_back(g.fit(i, in[i]));
  Dims dims{n, m};
  dims.insert(dims.end(), out.begin(), out.end());
  const Dims yd = channels_last(dims, last);
  if (c.has(3)) require_dims(c.in(3), yd, "residual");
  Tensor y = c.make(x.dtype(), yd);

  std::vector<double> xv = to_doubles(x);
  if (last) xv = move_channels(xv, n, channels, element_count(in), false);
  const std::vector<double> wv = to_doubles(w);
  const std::vector<double> bias = c.has(2) ? to_doubles(c.in(2)) : std::vector<double>();
  std::vector<double> acc(static_cast<size_t>(y.size()));
  const int64_t in_size = element_count(in), out_size = element_count(out),
                taps = element_count(g.window.kernel);
  const int64_t c_per_group = channels / g.group;
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t o = 0; o < m; ++o) {
      poll(c.limits);
      double* plane = acc.data() + (b * m + o) * out_size;
      if (!bias.empty()) std::fill(plane, plane + out_size, bias[static_cast<size_t>(o)]);
      for (int64_t i = 0; i < c_per_group; ++i) {
        const int64_t channel = o / per_group * c_per_group + i;
        scatter_plane(g, in, out, xv.data() + (b * channels + channel) * in_size,
                      wv.data() + (channel * per_group + o % per_group) * taps, plane);
      }
    }
  }
  if (last) acc = move_channels(acc, n, m, out_size, true);
  if (c.has(3)) {
    const std::vector<double> r = to_doubles(c.in(3));
    for (size_t i = 0; i < acc.size(); ++i) acc[i] += r[i];
  }
  for (double& v : acc) v = apply(act, v);
  from_doubles(acc, y);
  c.out(0, y);
}

void eval_conv_transpose(EvalContext& c) {
  run_conv_transpose(c, {});
}
void eval_fused_conv_transpose(EvalContext& c) {
  run_conv_transpose(c, parse_activation(c.attrs()));
}

Work work_conv_transpose(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t per_channel = in[1].elements() / std::max<int64_t>(1, in[1].dims[0].value());
  int64_t extra = in.size() > 3 && node.in(3) != kNoValue ? 1 : 0;
  if (!node.op->domain.empty()) extra += activation_flops(parse_activation(node.attrs).kind);
  return {.flops = 2 * in[0].elements() * per_channel + out[0].elements() * extra};
}

constexpr OpDef kOps[] = {
    {.name = "ConvTranspose",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_conv_transpose,
     .eval = eval_conv_transpose,
     .work = work_conv_transpose},
    {.name = "FusedConvTranspose",
     .domain = "skyline",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_fused_conv_transpose,
     .eval = eval_fused_conv_transpose,
     .work = work_conv_transpose},
};

}  // namespace

std::span<const OpDef> conv_transpose_ops() {
  return kOps;
}

}  // namespace skyline::ops
