// Normalizations of ai.onnx.
#include "graph/ops/norm.h"

#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

void require_float_input(InferContext& c) {
  require_float(c.in(0).dtype, "input");
}

// Channels of [N, C, ...]; a vector [N] has one.
Dim channels_of(const SymDims& d) {
  return d.size() < 2 ? Dim(1) : d[1];
}
int64_t channels_of(const Dims& d) {
  return d.size() < 2 ? 1 : d[1];
}

// ---- BatchNormalization
// ------------------------------------------------------------------------------------------------

void infer_batch(InferContext& c) {
  require_float_input(c);
  const bool training = flag(c.attrs(), "training_mode");
  if (!training && c.outputs() > 1) reject("extra outputs exist in training mode only");
  const Fact& x = c.in(0);
  const Dim channels = x.ranked ? channels_of(x.dims) : Dim::unknown();
  if (x.ranked && x.rank() == 0) reject("input is a scalar");
  for (size_t i = 1; i < 5; ++i) require_fact(c.in(i), {channels}, "scale, B, mean and var");
  c.out(0, x);
  for (size_t i = 1; i < 3; ++i) c.out(i, Fact(c.in(3).dtype, {channels}));
}

struct Moments {
  std::vector<double> mean, var;
};

// Over all but the channel axis; population variance.
Moments channel_moments(const std::vector<double>& x, int64_t n, int64_t channels, int64_t size) {
  const auto count = static_cast<double>(n * size);
  Moments m{std::vector<double>(static_cast<size_t>(channels)),
            std::vector<double>(static_cast<size_t>(channels))};
  for (int64_t ch = 0; ch < channels; ++ch) {
    double sum = 0, squares = 0;
    for (int64_t b = 0; b < n; ++b) {
      for (int64_t i = 0; i < size; ++i) sum += x[static_cast<size_t>((b * channels + ch) * size + i)];
    }
    const double mean = sum / count;
    for (int64_t b = 0; b < n; ++b) {
      for (int64_t i = 0; i < size; ++i) {
        const double d = x[static_cast<size_t>((b * channels + ch) * size + i)] - mean;
        squares += d * d;
      }
    }
    m.mean[static_cast<size_t>(ch)] = mean;
    m.var[static_cast<size_t>(ch)] = squares / count;
  }
  return m;
}

void eval_batch(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  if (x.rank() == 0) reject("input is a scalar");
  const bool training = flag(c.attrs(), "training_mode");
  if (!training && c.outputs() > 1) reject("extra outputs exist in training mode only");
  const double epsilon = c.attrs().real("epsilon", 1e-5f), momentum = c.attrs().real("momentum", 0.9f);
  const int64_t n = x.dim(0), channels = channels_of(x.dims()), size = span_count(x.dims(), 2, x.rank());
  for (size_t i = 1; i < 5; ++i) require_dims(c.in(i), {channels}, "scale, B, mean and var");
  std::vector<double> v = to_doubles(x);
  const std::vector<double> scale = to_doubles(c.in(1)), bias = to_doubles(c.in(2));
  Moments m{to_doubles(c.in(3)), to_doubles(c.in(4))};
  if (training) {
    const Moments given = m;
    m = channel_moments(v, n, channels, size);
    Moments running = m;
    for (size_t i = 0; i < running.mean.size(); ++i) {
      running.mean[i] = given.mean[i] * momentum + m.mean[i] * (1 - momentum);
      running.var[i] = given.var[i] * momentum + m.var[i] * (1 - momentum);
    }
    if (c.wants(1)) c.out(1, make_from(c, c.in(3).dtype(), {channels}, running.mean));
    if (c.wants(2)) c.out(2, make_from(c, c.in(4).dtype(), {channels}, running.var));
  }
  for (int64_t row = 0; row < n * channels; ++row) {
    const auto ch = static_cast<size_t>(row % channels);
    const double factor = scale[ch] / std::sqrt(m.var[ch] + epsilon);
    for (int64_t i = 0; i < size; ++i) {
      double& e = v[static_cast<size_t>(row * size + i)];
      e = (e - m.mean[ch]) * factor + bias[ch];
    }
  }
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

// ---- InstanceNormalization, GroupNormalization
// -------------------------------------------------------------------------

void infer_grouped(InferContext& c) {
  require_float_input(c);
  const Fact& x = c.in(0);
  if (x.ranked) {
    if (x.rank() < 3 && c.node.op->name == "InstanceNormalization") reject("input needs spatial axes");
    if (x.rank() < 2) reject("input of rank " + std::to_string(x.rank()) + ", expected [N, C, ...]");
    require_fact(c.in(1), {x.dims[1]}, "scale");
    require_fact(c.in(2), {x.dims[1]}, "bias");
  }
  c.out(0, x);
}

void eval_grouped(EvalContext& c, int64_t groups) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  if (x.rank() < 2) reject("input of rank " + std::to_string(x.rank()) + ", expected [N, C, ...]");
  const int64_t n = x.dim(0), channels = x.dim(1), size = span_count(x.dims(), 2, x.rank());
  if (groups < 1 || channels % groups != 0) {
    reject(std::to_string(groups) + " groups do not divide " + std::to_string(channels) + " channels");
  }
  require_dims(c.in(1), {channels}, "scale");
  require_dims(c.in(2), {channels}, "bias");
  const double epsilon = c.attrs().real("epsilon", 1e-5f);
  std::vector<double> v = to_doubles(x);
  const std::vector<double> scale = to_doubles(c.in(1)), bias = to_doubles(c.in(2));
  const int64_t per_group = channels / groups;
  for (int64_t g = 0; g < n * groups; ++g) {
    double* from = v.data() + g * per_group * size;
    normalize_row(from, per_group * size, epsilon, true);
    for (int64_t k = 0; k < per_group; ++k) {
      const auto ch = static_cast<size_t>(g % groups * per_group + k);
      for (int64_t i = 0; i < size; ++i) from[k * size + i] = from[k * size + i] * scale[ch] + bias[ch];
    }
  }
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

void eval_instance(EvalContext& c) {
  if (c.in(0).rank() < 3) reject("input needs spatial axes");
  eval_grouped(c, std::max<int64_t>(1, c.in(0).dim(1)));
}
void eval_group(EvalContext& c) {
  eval_grouped(c, c.attrs().integer("num_groups"));
}
void infer_group(InferContext& c) {
  const int64_t groups = c.attrs().integer("num_groups");
  infer_grouped(c);
  const Fact& x = c.in(0);
  if (groups < 1 || (x.ranked && x.dims[1].known() && x.dims[1].value() % groups != 0)) {
    reject("num_groups " + std::to_string(groups) + " does not divide the channels");
  }
}

// ---- LayerNormalization, RMSNormalization
// ------------------------------------------------------------------------------

// Dims with those from `axis` on replaced by 1.
template <class D>
std::vector<D> statistics_dims(std::vector<D> d, int axis) {
  std::fill(d.begin() + axis, d.end(), D(1));
  return d;
}

DType stash_type(const Attrs& a, DType input) {
  const int64_t t = a.integer("stash_type", 1);
  if (t == 1) return input == DType::f64 ? DType::f64 : DType::f32;
  if (t == 10 || t == 11 || t == 16) return static_cast<DType>(t);
  reject("attribute stash_type is " + std::to_string(t));
}

void check_scale(InferContext& c, size_t i) {
  const Fact &x = c.in(0), &s = c.in(i);
  if (!x.ranked || !s.ranked) return;
  if (s.rank() > x.rank()) reject("scale has more axes than the input");
  const size_t lead = x.dims.size() - s.dims.size();
  for (size_t k = 0; k < s.dims.size(); ++k) {
    if (s.dims[k] != Dim(1)) agree(s.dims[k], x.dims[lead + k], "scale or bias");
  }
}

void infer_layer(InferContext& c) {
  require_float_input(c);
  const Fact& x = c.in(0);
  for (size_t i = 1; i < c.inputs(); ++i) {
    if (c.has(i)) check_scale(c, i);
  }
  const DType stash = stash_type(c.attrs(), x.dtype);
  const int64_t axis = c.attrs().integer("axis", -1);
  // RMSNormalization takes its type from the scale.
  Fact y = x;
  if (c.node.op->name != "LayerNormalization" && c.in(1).dtype != DType::undefined) y.dtype = c.in(1).dtype;
  c.out(0, y);
  const Fact stats =
      x.ranked ? Fact(stash, statistics_dims(x.dims, normalize_axis(axis, x.rank()))) : Fact::unranked(stash);
  c.out(1, stats);
  c.out(2, stats);
}

// [mean, inverse deviation] or [inverse root mean square] of every row.
void eval_layer(EvalContext& c, bool centered) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  const int axis = normalize_axis(c.attrs().integer("axis", -1), x.rank());
  const double epsilon = c.attrs().real("epsilon", 1e-5f);
  const DType stash = stash_type(c.attrs(), x.dtype());
  const int64_t rows = span_count(x.dims(), 0, axis), size = span_count(x.dims(), axis, x.rank());
  std::vector<double> v = to_doubles(x), mean, inverse;
  for (int64_t r = 0; r < rows && size > 0; ++r) {
    poll(c.limits);
    const RowMoments m = normalize_row(v.data() + r * size, size, epsilon, centered);
    mean.push_back(m.mean);
    inverse.push_back(m.inverse);
  }
  mean.resize(static_cast<size_t>(rows));
  inverse.resize(static_cast<size_t>(rows));
  if (x.dtype() == DType::f16 || x.dtype() == DType::bf16) {
    // The first stage ends with a cast back to the input's type.
    Tensor rounded = make_from(c, x.dtype(), x.dims(), v);
    v = to_doubles(rounded);
  }
  scale_shift(v, x.dims(), c.in(1), c.has(2) ? &c.in(2) : nullptr);
  c.out(0, make_from(c, centered ? x.dtype() : c.in(1).dtype(), x.dims(), v));
  const Dims stats = statistics_dims(x.dims(), axis);
  if (!centered) {
    if (c.wants(1)) c.out(1, make_from(c, stash, stats, inverse));
    return;
  }
  if (c.wants(1)) c.out(1, make_from(c, stash, stats, mean));
  if (c.wants(2)) c.out(2, make_from(c, stash, stats, inverse));
}

void eval_layer_norm(EvalContext& c) {
  eval_layer(c, true);
}
void eval_rms_norm(EvalContext& c) {
  eval_layer(c, false);
}

// ---- LRN, MeanVarianceNormalization, LpNormalization
// ---------------------------------------------------------------------

int64_t lrn_size(const Attrs& a) {
  const int64_t size = a.integer("size");
  if (size < 1) reject("attribute size is " + std::to_string(size) + ", expected at least 1");
  return size;
}

void infer_lrn(InferContext& c) {
  require_float_input(c);
  lrn_size(c.attrs());
  if (c.in(0).ranked && c.in(0).rank() < 2) reject("input needs a channel axis");
  c.out(0, c.in(0));
}

// Channels are axis 1, or the last with layout "NHWC" (domain skyline).
void eval_lrn(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  if (x.rank() < 2) reject("input needs a channel axis");
  const int64_t size = lrn_size(c.attrs());
  const bool is_last = is_channels_last(c.node);
  const double alpha = c.attrs().real("alpha", 1e-4f), beta = c.attrs().real("beta", 0.75f);
  const double bias = c.attrs().real("bias", 1.0f);
  const int64_t channels = x.dim(is_last ? x.rank() - 1 : 1);
  const int64_t n = is_last ? span_count(x.dims(), 0, x.rank() - 1) : x.dim(0);
  const int64_t area = is_last ? 1 : span_count(x.dims(), 2, x.rank());
  const std::vector<double> v = to_doubles(x);
  std::vector<double> out(v.size());
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t ch = 0; ch < channels; ++ch) {
      poll(c.limits);
      const int64_t first = std::max<int64_t>(0, ch - before), last = std::min(channels - 1, ch + after);
      for (int64_t i = 0; i < area; ++i) {
        double squares = 0;
        for (int64_t k = first; k <= last; ++k) {
          const double e = v[static_cast<size_t>((b * channels + k) * area + i)];
          squares += e * e;
        }
        const auto at = static_cast<size_t>((b * channels + ch) * area + i);
        out[at] = v[at] / std::pow(bias + alpha / static_cast<double>(size) * squares, beta);
      }
    }
  }
  c.out(0, make_from(c, x.dtype(), x.dims(), out));
}

std::vector<int> mvn_axes(const Attrs& a, int rank) {
  return normalize_axes(a.integers("axes", {0, 2, 3}), rank);
}

void infer_mvn(InferContext& c) {
  require_float_input(c);
  if (c.in(0).ranked) mvn_axes(c.attrs(), c.in(0).rank());
  c.out(0, c.in(0));
}

void eval_mvn(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  Dims kept = x.dims();
  double count = 1;
  for (int a : mvn_axes(c.attrs(), x.rank())) {
    count *= static_cast<double>(kept[static_cast<size_t>(a)]);
    kept[static_cast<size_t>(a)] = 1;
  }
  const Dims strides = broadcast_strides(kept, x.dims());
  std::vector<double> v = to_doubles(x);
  std::vector<double> mean(static_cast<size_t>(element_count(kept))), var(mean.size());
  const auto each = [&](auto&& f) {
    size_t i = 0;
    for (NdIndex<1> it(x.dims(), {strides}); !it.done(); it.next(), ++i) f(v[i], static_cast<size_t>(it[0]));
  };
  each([&](double e, size_t at) { mean[at] += e / count; });
  each([&](double e, size_t at) { var[at] += (e - mean[at]) * (e - mean[at]) / count; });
  each([&](double& e, size_t at) { e = (e - mean[at]) / (std::sqrt(var[at]) + 1e-9); });
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

int64_t lp_order(const Attrs& a) {
  const int64_t p = a.integer("p", 2);
  if (p != 1 && p != 2) reject("attribute p is " + std::to_string(p) + ", expected 1 or 2");
  return p;
}

void infer_lp(InferContext& c) {
  require_float_input(c);
  lp_order(c.attrs());
  if (c.in(0).ranked) normalize_axis(c.attrs().integer("axis", -1), c.in(0).rank());
  c.out(0, c.in(0));
}

void eval_lp(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  const int64_t p = lp_order(c.attrs());
  const int axis = normalize_axis(c.attrs().integer("axis", -1), x.rank());
  const int64_t n = x.dim(axis), outer = span_count(x.dims(), 0, axis),
                inner = span_count(x.dims(), axis + 1, x.rank());
  std::vector<double> v = to_doubles(x);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      double* line = v.data() + o * n * inner + i;
      double sum = 0;
      for (int64_t k = 0; k < n; ++k)
        sum += p == 1 ? std::fabs(line[k * inner]) : line[k * inner] * line[k * inner];
      const double norm = p == 1 ? sum : std::sqrt(sum);
      for (int64_t k = 0; k < n; ++k) line[k * inner] = norm == 0 ? 0 : line[k * inner] / norm;
    }
  }
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

template <int kPerElement>
Work work_per_element(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = kPerElement * in[0].elements()};
}
Work work_lrn(const Node& node, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements() * (2 * lrn_size(node.attrs) + 10)};
}

constexpr OpDef kOps[] = {
    {.name = "BatchNormalization",
     .min_inputs = 5,
     .max_inputs = 5,
     .max_outputs = 3,
     .infer = infer_batch,
     .eval = eval_batch,
     .work = work_per_element<2>},
    {.name = "InstanceNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_grouped,
     .eval = eval_instance,
     .work = work_per_element<6>},
    {.name = "GroupNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_group,
     .eval = eval_group,
     .work = work_per_element<6>},
    {.name = "LayerNormalization",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 3,
     .infer = infer_layer,
     .eval = eval_layer_norm,
     .work = work_per_element<7>},
    {.name = "RMSNormalization",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_layer,
     .eval = eval_rms_norm,
     .work = work_per_element<4>},
    // What exporters of ONNX Runtime call RMSNormalization; they put it in either domain.
    {.name = "SimplifiedLayerNormalization",
     .min_inputs = 2,
     .max_inputs = 2,
     .max_outputs = 2,
     .infer = infer_layer,
     .eval = eval_rms_norm,
     .work = work_per_element<4>},
    {.name = "SimplifiedLayerNormalization",
     .domain = "com.microsoft",
     .min_inputs = 2,
     .max_inputs = 2,
     .max_outputs = 2,
     .infer = infer_layer,
     .eval = eval_rms_norm,
     .work = work_per_element<4>},
    {.name = "LRN", .min_inputs = 1, .max_inputs = 1, .infer = infer_lrn, .eval = eval_lrn, .work = work_lrn},
    {.name = "LRN",
     .domain = "skyline",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_lrn,
     .eval = eval_lrn,
     .work = work_lrn},
    {.name = "MeanVarianceNormalization",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_mvn,
     .eval = eval_mvn,
     .work = work_per_element<7>},
    {.name = "LpNormalization",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_lp,
     .eval = eval_lp,
     .work = work_per_element<3>},
};

}  // namespace

RowMoments normalize_row(double* x, int64_t n, double epsilon, bool centered) {
  RowMoments m;
  if (n == 0) return m;
  const auto count = static_cast<double>(n);
  if (centered) {
    for (int64_t i = 0; i < n; ++i) m.mean += x[i];
    m.mean /= count;
  }
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - m.mean) * (x[i] - m.mean);
  m.inverse = 1 / std::sqrt(squares / count + epsilon);
  for (int64_t i = 0; i < n; ++i) x[i] = (x[i] - m.mean) * m.inverse;
  return m;
}

void scale_shift(std::vector<double>& v, const Dims& dims, const Tensor& scale, const Tensor* bias) {
  if (broadcast_dims(scale.dims(), dims) != dims) {
    reject("scale of " + to_string(scale.dims()) + " does not broadcast to " + to_string(dims));
  }
  if (bias && broadcast_dims(bias->dims(), dims) != dims) {
    reject("bias of " + to_string(bias->dims()) + " does not broadcast to " + to_string(dims));
  }
  const std::vector<double> s = to_doubles(scale), b = bias ? to_doubles(*bias) : std::vector<double>{0};
  const Dims bias_strides = bias ? broadcast_strides(bias->dims(), dims) : Dims(dims.size(), 0);
  size_t i = 0;
  for (NdIndex<2> it(dims, {broadcast_strides(scale.dims(), dims), bias_strides}); !it.done();
       it.next(), ++i) {
    v[i] = v[i] * s[static_cast<size_t>(it[0])] + b[static_cast<size_t>(it[1])];
  }
}

std::span<const OpDef> norm_ops() {
  return kOps;
}

}  // namespace skyline::ops
