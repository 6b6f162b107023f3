// DeformConv (taps move by learned offsets) and CausalConvWithState (depthwise over time, with carried
// history).
#include <cmath>

#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

// ---- DeformConv: X [N, C, H, W], W [M, C/group, kh, kw], offset, [B], [mask]
// -----------------------------------------

struct Deform {
  int64_t group = 1, offset_group = 1;
  Window window;
};

Deform parse_deform(const Attrs& a, const Dims& kernel) {
  Deform d{a.integer("group", 1), a.integer("offset_group", 1), {}};
  if (d.group < 1 || d.offset_group < 1) reject("attributes group and offset_group must be at least 1");
  const Dims said = a.integers("kernel_shape", kernel);
  if (!said.empty() && said != kernel) {
    reject("attribute kernel_shape is " + to_string(said) + " but the weights have " + to_string(kernel));
  }
  d.window = parse_window(a, kernel);
  return d;
}

void infer_deform(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1);
  require_float(x.dtype, "input");
  if (!x.ranked || !w.ranked) return c.out(0, Fact::unranked(x.dtype));
  if (x.rank() != 4)
    refuse("DeformConv over " + std::to_string(x.rank() - 2) + " spatial axes; two are supported");
  if (w.rank() != 4) reject("weights of rank " + std::to_string(w.rank()));
  SymDims out{x.dims[0], w.dims[0], Dim::unknown(), Dim::unknown()};
  if (c.has(3)) require_fact(c.in(3), {w.dims[0]}, "bias");
  if (w.dims[2].known() && w.dims[3].known()) {
    Deform d = parse_deform(c.attrs(), {w.dims[2].value(), w.dims[3].value()});
    const SymDims fitted = d.window.fit(SymDims{x.dims[2], x.dims[3]});
    out[2] = fitted[0];
    out[3] = fitted[1];
    const int64_t taps = w.dims[2].value() * w.dims[3].value();
    require_fact(c.in(2), {x.dims[0], Dim(d.offset_group * taps * 2), out[2], out[3]}, "offset");
    if (c.has(4)) require_fact(c.in(4), {x.dims[0], Dim(d.offset_group * taps), out[2], out[3]}, "mask");
  }
  c.out(0, Fact(x.dtype, out));
}

// Bilinear, zero outside.
double sample(const double* plane, int64_t h, int64_t w, double y, double x) {
  if (!(y > -1 && y < static_cast<double>(h) && x > -1 && x < static_cast<double>(w))) return 0;
  const auto y0 = static_cast<int64_t>(std::floor(y)), x0 = static_cast<int64_t>(std::floor(x));
  const double fy = y - static_cast<double>(y0), fx = x - static_cast<double>(x0);
  const auto at = [&](int64_t i, int64_t j) {
    return i < 0 || i >= h || j < 0 || j >= w ? 0 : plane[i * w + j];
  };
  return (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
         fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
}

void eval_deform(EvalContext& c) {
  const Tensor &x = c.in(0), &w = c.in(1), &offset = c.in(2);
  require_float(x.dtype(), "input");
  if (x.rank() != 4)
    refuse("DeformConv over " + std::to_string(x.rank() - 2) + " spatial axes; two are supported");
  if (w.rank() != 4) reject("weights of rank " + std::to_string(w.rank()));
  Deform d = parse_deform(c.attrs(), {w.dim(2), w.dim(3)});
  const int64_t n = x.dim(0), channels = x.dim(1), h = x.dim(2), width = x.dim(3), m = w.dim(0),
                per_group = w.dim(1);
  if (channels != per_group * d.group) reject("weights do not match the input channels");
  if (m % d.group != 0) reject("group does not divide the output channels");
  if (channels % d.offset_group != 0) reject("offset_group does not divide the input channels");
  const Dims out = d.window.fit(Dims{h, width});
  const int64_t oh = out[0], ow = out[1], kh = w.dim(2), kw = w.dim(3), taps = kh * kw, area = oh * ow;
  require_dims(offset, {n, d.offset_group * taps * 2, oh, ow}, "offset");
  if (c.has(3)) require_dims(c.in(3), {m}, "bias");
  if (c.has(4)) require_dims(c.in(4), {n, d.offset_group * taps, oh, ow}, "mask");
  Tensor y = c.make(x.dtype(), {n, m, oh, ow});

  const std::vector<double> xv = to_doubles(x), wv = to_doubles(w), ov = to_doubles(offset);
  const std::vector<double> bias =
      c.has(3) ? to_doubles(c.in(3)) : std::vector<double>(static_cast<size_t>(m), 0.0);
  const std::vector<double> mask = c.has(4) ? to_doubles(c.in(4)) : std::vector<double>();
  std::vector<double> acc(static_cast<size_t>(y.size()));
  std::vector<double> column(
      static_cast<size_t>(channels * taps));  // what the taps see at one output position
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t p = 0; p < area; ++p) {
      poll(c.limits);
      for (int64_t ch = 0; ch < channels; ++ch) {
        const int64_t og = ch / (channels / d.offset_group);
        for (int64_t t = 0; t < taps; ++t) {
          const double* shift = ov.data() + ((b * d.offset_group + og) * taps + t) * 2 * area + p;
          const double py = static_cast<double>(p / ow * d.window.strides[0] - d.window.begin[0] +
                                                t / kw * d.window.dilations[0]) +
                            shift[0];
          const double px = static_cast<double>(p % ow * d.window.strides[1] - d.window.begin[1] +
                                                t % kw * d.window.dilations[1]) +
                            shift[area];
          double v = sample(xv.data() + (b * channels + ch) * h * width, h, width, py, px);
          if (!mask.empty())
            v *= mask[static_cast<size_t>(((b * d.offset_group + og) * taps + t) * area + p)];
          column[static_cast<size_t>(ch * taps + t)] = v;
        }
      }
      for (int64_t o = 0; o < m; ++o) {
        double sum = bias[static_cast<size_t>(o)];
        const double* seen = column.data() + o / (m / d.group) * per_group * taps;
        const double* weights = wv.data() + o * per_group * taps;
        for (int64_t i = 0; i < per_group * taps; ++i) sum += weights[i] * seen[i];
        acc[static_cast<size_t>((b * m + o) * area + p)] = sum;
      }
    }
  }
  from_doubles(acc, y);
  c.out(0, y);
}

Work work_deform(const Node&, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t per_output = in[1].elements() / std::max<int64_t>(1, in[1].dims[0].value());
  return {.flops = 2 * out[0].elements() * per_output};
}

// ---- CausalConvWithState: input [N, C, L], weight [C, 1, k], [bias C], [past N, C, k - 1]
// ---------------------------

Activation causal_activation(const Attrs& a) {
  const std::string f = a.text("activation", "none");
  if (f == "none") return {};
  if (f == "silu" || f == "swish") return make_activation("silu", {});
  reject("attribute activation is '" + f + "', expected none, silu or swish");
}

void infer_causal(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1);
  require_float(x.dtype, "input");
  causal_activation(c.attrs());
  const SymDims xd = x.ranked ? x.dims : SymDims(3), wd = w.ranked ? w.dims : SymDims(3);
  if (xd.size() != 3 || wd.size() != 3) reject("input and weight must have rank 3");
  const Dim channels = agree(xd[1], wd[0], "channels");
  agree(wd[1], 1, "second dimension of the weight");
  if (wd[2].known() && wd[2].value() < 1) reject("kernel size 0");
  const Dim history = wd[2].known() ? Dim(wd[2].value() - 1) : Dim::unknown();
  if (c.has(2)) require_fact(c.in(2), {channels}, "bias");
  if (c.has(3)) require_fact(c.in(3), {xd[0], channels, history}, "past_state");
  c.out(0, Fact(x.dtype, {xd[0], channels, xd[2]}));
  c.out(1, Fact(x.dtype, {xd[0], channels, history}));
}

void eval_causal(EvalContext& c) {
  const Tensor &x = c.in(0), &w = c.in(1);
  require_float(x.dtype(), "input");
  const Activation act = causal_activation(c.attrs());
  if (x.rank() != 3 || w.rank() != 3) reject("input and weight must have rank 3");
  const int64_t n = x.dim(0), channels = x.dim(1), length = x.dim(2), k = w.dim(2);
  require_dims(w, {channels, 1, k}, "weight");
  if (k < 1) reject("kernel size 0");
  if (c.has(2)) require_dims(c.in(2), {channels}, "bias");
  if (c.has(3)) require_dims(c.in(3), {n, channels, k - 1}, "past_state");
  Tensor y = c.make(x.dtype(), x.dims()), state = c.make(x.dtype(), {n, channels, k - 1});
  const std::vector<double> xv = to_doubles(x), wv = to_doubles(w);
  const std::vector<double> bias = c.has(2) ? to_doubles(c.in(2)) : std::vector<double>();
  const std::vector<double> past = c.has(3) ? to_doubles(c.in(3)) : std::vector<double>();
  std::vector<double> out, carried, line(static_cast<size_t>(k - 1 + length));
  out.reserve(xv.size());
  for (int64_t row = 0; row < n * channels; ++row) {
    poll(c.limits);
    for (int64_t i = 0; i < k - 1; ++i) {
      line[static_cast<size_t>(i)] = past.empty() ? 0 : past[static_cast<size_t>(row * (k - 1) + i)];
    }
    std::copy(xv.begin() + row * length, xv.begin() + (row + 1) * length, line.begin() + (k - 1));
    const int64_t channel = row % channels;
    for (int64_t t = 0; t < length; ++t) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(channel)];
      for (int64_t i = 0; i < k; ++i) {
        sum += wv[static_cast<size_t>(channel * k + i)] * line[static_cast<size_t>(t + i)];
      }
      out.push_back(apply(act, sum));
    }
    carried.insert(carried.end(), line.end() - (k - 1), line.end());
  }
  from_doubles(out, y);
  from_doubles(carried, state);
  c.out(0, y);
  c.out(1, state);
}

Work work_causal(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t act = activation_flops(causal_activation(node.attrs).kind);
  return {.flops = out[0].elements() * (2 * in[1].dims[2].value() + act)};
}

constexpr OpDef kOps[] = {
    {.name = "DeformConv",
     .min_inputs = 3,
     .max_inputs = 5,
     .infer = infer_deform,
     .eval = eval_deform,
     .work = work_deform},
    {.name = "CausalConvWithState",
     .min_inputs = 2,
     .max_inputs = 4,
     .max_outputs = 2,
     .infer = infer_causal,
     .eval = eval_causal,
     .work = work_causal},
};

}  // namespace

std::span<const OpDef> conv_special_ops() {
  return kOps;
}

}  // namespace skyline::ops
