#include "graph/passes/contraction.h"

#include <cmath>
#include <limits>

#include "graph/ops/numeric.h"

namespace skyline::passes {
namespace {

// Index of a weight element's output channel: which of them it multiplies into.
struct ChannelOf {
  int64_t inner, channels, outer_stride = 0, group_channels = 0;
  int64_t operator()(int64_t i) const {
    if (group_channels == 0) return i / inner % channels;
    // ConvTranspose, [C, M / group, k...]: the group follows from the row.
    const int64_t row = i / (inner * group_channels);
    return row / outer_stride * group_channels + i / inner % group_channels;
  }
};

ChannelOf channel_of(const Contraction& c, const Tensor& w) {
  const Dims& d = w.dims();
  int64_t taps = 1;
  for (size_t i = 2; i < d.size(); ++i) taps *= d[i];
  switch (c.kind) {
    case Contraction::Kind::conv:
      return {.inner = taps * d[1], .channels = d[0]};
    case Contraction::Kind::conv_transpose: {
      const int64_t group = c.node->attrs.integer("group", 1);
      return {.inner = taps, .channels = c.channels, .outer_stride = d[0] / group, .group_channels = d[1]};
    }
    default: {
      const bool transposed = c.node->attrs.integer("transB", 0) != 0;
      return {.inner = transposed ? d[d.size() - 1] : 1, .channels = c.channels};
    }
  }
}

// The constant bias as one number per channel; zeros when there is none.
std::optional<std::vector<double>> bias_numbers(const Graph& g, const Contraction& c) {
  const auto count = static_cast<size_t>(c.channels);
  if (c.node->in(kBias) == kNoValue) return std::vector<double>(count, 0.0);
  auto bias = along_axis(g, c.node->in(kBias), c.rank, c.rank - 1, c.channels);
  if (!bias || c.kind != Contraction::Kind::gemm) return bias;
  for (double& b : *bias) b *= c.node->attrs.real("beta", 1);
  return bias;
}

bool weights_fit(const Contraction& c, const Tensor& w) {
  if (c.channels <= 0 || !skyline::is_float(w.dtype()) || w.size() == 0) return false;
  if (c.kind == Contraction::Kind::gemm) return w.rank() == 2;
  if (c.kind == Contraction::Kind::matmul) return w.rank() >= 2;
  return w.rank() >= 3;
}

// to[i] = from[i] * factor(i), in double and rounded once; false if one is not finite.
template <class T, class Factor>
bool multiply(const T* from, T* to, int64_t n, Factor&& factor) {
  for (int64_t i = 0; i < n; ++i) to[i] = ops::narrow<T>(ops::widen(from[i]) * factor(i));
  int bad = 0;  // in a loop of its own and no bool, so that compilers find vectors in both
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      bad |= std::fabs(to[i]) <= std::numeric_limits<float>::max() ? 0 : 1;
    } else {
      bad |= std::fabs(ops::widen(to[i])) <= std::numeric_limits<double>::max() ? 0 : 1;
    }
  }
  return bad == 0;
}

// w with each element times alpha * scale of its channel; nothing if one overflows. In runs of one channel,
// or of all of them: models have hundreds of megabytes of weights, and this is part of loading.
std::optional<Tensor> times(const Tensor& w, const ChannelOf& channel, std::vector<double> scale,
                            double alpha) {
  Tensor out(w.dtype(), w.dims());
  for (double& s : scale) s *= alpha;
  const bool rows = channel.inner == 1 && channel.group_channels == 0;
  const int64_t run = rows ? channel.channels : channel.inner;
  bool finite = true;
  ops::visit_type(w.dtype(), ops::FloatTypes{}, [&]<class T>() {
    const T* from = w.data<T>();
    T* to = out.mutable_data<T>();
    for (int64_t at = 0; at < w.size() && finite; at += run) {
      const double* factors = scale.data() + (rows ? 0 : channel(at));
      finite = rows ? multiply(from + at, to + at, run, [factors](int64_t i) { return factors[i]; })
                    : multiply(from + at, to + at, run, [f = *factors](int64_t) { return f; });
    }
  });
  if (!finite) return std::nullopt;
  return out;
}

}  // namespace

std::optional<Contraction> find_contraction(const Graph& g, ValueId v, bool residual_too) {
  const NodeId id = g.producer(v);
  if (id == kNoNode || !used_once(g, v) || !is_float(g, v)) return std::nullopt;
  const Node& n = g.node(id);
  Contraction c{.node = &n};
  if (n.is("Conv") || n.is("FusedConv")) {
    c.kind = Contraction::Kind::conv;
  } else if (n.is("ConvTranspose") || n.is("FusedConvTranspose")) {
    c.kind = Contraction::Kind::conv_transpose;
  } else if (n.is("Gemm") || n.is("FusedGemm")) {
    c.kind = Contraction::Kind::gemm;
  } else if (n.is("MatMul") || n.is("FusedMatMul")) {
    c.kind = Contraction::Kind::matmul;
  } else {
    return std::nullopt;
  }
  c.rank = rank_of(g, v);
  if (c.rank < 1 || n.attrs.text("activation", "none") != "none") return std::nullopt;
  if (n.in(kResidual) != kNoValue && !residual_too) return std::nullopt;
  const bool convolution = c.kind == Contraction::Kind::conv || c.kind == Contraction::Kind::conv_transpose;
  c.axis = convolution && n.attrs.text("layout", "NCHW") == "NCHW" ? 1 : c.rank - 1;
  if (c.axis >= c.rank) return std::nullopt;
  c.channels = dim_of(g, v, c.axis);
  // A vector on the right leaves no axis for its one column.
  if (c.kind == Contraction::Kind::matmul && rank_of(g, n.in(1)) < 2) return std::nullopt;
  return c;
}

std::optional<ValueId> scaled(Patch& patch, const Graph& g, const Contraction& c,
                              const std::vector<double>& scale, const std::vector<double>& shift) {
  const Node& n = *c.node;
  const Tensor* w = g.constant(n.in(1));
  if (!w || !weights_fit(c, *w)) return std::nullopt;
  std::optional<std::vector<double>> bias = bias_numbers(g, c);
  if (!bias) return std::nullopt;
  const double alpha = n.attrs.real("alpha", 1);
  bool has_bias = false, has_scale = alpha != 1;
  for (double s : scale) has_scale = has_scale || s != 1;
  for (size_t i = 0; i < bias->size(); ++i) {
    (*bias)[i] = (*bias)[i] * scale[i] + shift[i];
    has_bias = has_bias || (*bias)[i] != 0;
  }
  Tensor new_bias = tensor_of(w->dtype(), {c.channels}, *bias);
  if (!all_finite(new_bias)) return std::nullopt;
  std::optional<Tensor> new_weights;
  if (has_scale) {
    new_weights = times(*w, channel_of(c, *w), scale, alpha);
    if (!new_weights) return std::nullopt;
  }

  Attrs attrs = n.attrs;
  attrs.erase("alpha");
  attrs.erase("beta");
  std::vector<ValueId> in{n.in(0), n.in(1)};
  if (new_weights) in[1] = patch.constant(std::move(*new_weights), g.value(n.in(1)).name);
  const OpDef* form = n.op;
  if (has_bias || n.in(kBias) != kNoValue) {
    in.push_back(patch.constant(std::move(new_bias), n.name + ".bias"));
    if (n.is("MatMul")) form = fused_form(c);
  }
  return patch.add(*form, in, attrs, n.name);
}

std::vector<ValueId> four_inputs(const Node& n) {
  std::vector<ValueId> in = n.inputs;
  in.resize(4, kNoValue);
  return in;
}

const OpDef* fused_form(const Contraction& c) {
  switch (c.kind) {
    case Contraction::Kind::conv:
      return &op("FusedConv", "skyline");
    case Contraction::Kind::gemm:
      return &op("FusedGemm", "skyline");
    case Contraction::Kind::matmul:
      return &op("FusedMatMul", "skyline");
    case Contraction::Kind::conv_transpose:
      return &op("FusedConvTranspose", "skyline");
  }
  return nullptr;
}

}  // namespace skyline::passes
