#include "quant/qdq.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"

namespace skyline::quant {
namespace {

// Biases are kept below this many units, which leaves room for the sum of products.
constexpr double kMostBias = 1 << 30;

class Inserter {
 public:
  Inserter(Graph g, const Selection& s, const Calibrated& c) : g_(std::move(g)), s_(s), c_(c) {}

  Graph run() {
    const auto nodes = g_.order();
    const size_t values = s_.rounded.size();
    for (NodeId id : nodes) {
      if (s_.role(id) == Role::product) product(id);
    }
    for (uint32_t v = 0; v < values; ++v) {
      if (s_.rounded[v]) round(ValueId{v});
    }
    g_.remove_dead_nodes();
    infer_graph(g_);
    verify_graph(g_, true);
    return std::move(g_);
  }

 private:
  const Scheme& scheme(ValueId v) const {
    const auto& s = c_.schemes[static_cast<size_t>(v)];
    const std::string what = "value '" + g_.value(v).name + "'";
    if (!s) throw Error(Code::internal, what + " is to be rounded but has no scheme");
    if (!(s->scale > 0) || !std::isfinite(s->scale))
      throw Error(Code::invalid, what + " has scale " + std::to_string(s->scale) + ", which must be above 0");
    if (s->zero < 0 || s->zero > 255)
      throw Error(Code::invalid, what + " has zero point " + std::to_string(s->zero) + ", not one of u8");
    return *s;
  }

  ValueId constant(const std::string& stem, Tensor t) {
    return g_.add_constant(g_.fresh_name(stem), std::move(t));
  }
  ValueId add(std::string_view op, const std::string& stem, std::vector<ValueId> in, Attrs attrs = {}) {
    const ValueId y = g_.add_value(g_.fresh_name(stem));
    infer_node(g_, g_.add_node(op, g_.fresh_name(stem), std::move(in), {y}, std::move(attrs)));
    return y;
  }

  // Weights and bias of a product, in units of their own.
  void product(NodeId id) {
    const Node n = g_.node(id);
    const Tensor w = *g_.constant(n.in(1));
    const int axis = output_axis(n);
    const double x_scale = scheme(n.in(0)).scale;
    const auto outputs = static_cast<size_t>(w.dim(axis));
    std::vector<double> bias;
    if (!n.is("MatMul") && n.in(2) != kNoValue) {
      bias = *passes::numbers(g_, n.in(2));
      if (bias.size() != outputs)
        throw Error(Code::invalid, "its bias has " + std::to_string(bias.size()) + " elements, not " +
                                       std::to_string(outputs))
            .in(describe(n));
    }
    std::vector<double> least;
    for (double b : bias) least.push_back(std::fabs(b) / (x_scale * kMostBias));
    QuantizedWeights q = quantize_weights(w, axis, least);
    // They are for the scales without bounds.
    if (const auto it = c_.rounded.find(static_cast<uint32_t>(id));
        it != c_.rounded.end() && quantize_weights(w, axis).scales == q.scales) {
      q.integers = it->second;
    }
    const auto means = c_.means.find(static_cast<uint32_t>(n.in(0)));
    if (!n.is("MatMul") && means != c_.means.end()) {
      const std::vector<double> shift = mean_error(n, w, q, means->second);
      if (bias.empty() && !shift.empty()) bias.assign(outputs, 0.0);
      for (size_t i = 0; i < shift.size(); ++i) bias[i] -= shift[i];
    }
    const auto count = static_cast<int64_t>(outputs);
    const std::string stem = g_.value(n.in(1)).name;
    const ValueId scales = constant(stem + "_scale", Tensor::of<float>({count}, q.scales));
    const ValueId zeros = constant(stem + "_zero", Tensor::zeros(DType::i8, {count}));
    const ValueId integers = constant(stem + "_i8", q.integers);
    g_.set_input(id, 1,
                 add("DequantizeLinear", stem + "_dq", {integers, scales, zeros}, {{"axis", int64_t{axis}}}));
    if (bias.empty()) return;
    std::vector<int32_t> b;
    std::vector<float> units;
    for (size_t i = 0; i < outputs; ++i) {
      units.push_back(static_cast<float>(x_scale) * q.scales[i]);
      b.push_back(static_cast<int32_t>(std::nearbyint(bias[i] / units.back())));
    }
    const std::string name = n.in(2) == kNoValue ? stem + "_bias" : g_.value(n.in(2)).name;
    const ValueId unit = constant(name + "_scale", Tensor::of<float>({count}, units));
    const ValueId zero = constant(name + "_zero", Tensor::zeros(DType::i32, {count}));
    const ValueId whole = constant(name + "_i32", Tensor::of<int32_t>({count}, b));
    const ValueId dq = add("DequantizeLinear", name + "_dq", {whole, unit, zero}, {{"axis", int64_t{0}}});
    g_.node(id).inputs.resize(std::max<size_t>(n.inputs.size(), 3), kNoValue);
    g_.set_input(id, 2, dq);
  }

  // How far rounding its weights moves the mean of each output. A convolution's edges, where fewer taps
  // count, are taken for its middle.
  static std::vector<double> mean_error(const Node& n, const Tensor& w, const QuantizedWeights& q,
                                        const std::vector<double>& means) {
    const int axis = output_axis(n);
    const int64_t outputs = w.dim(axis), per_output = w.size() / outputs;
    const auto* rounded = q.integers.data<int8_t>();
    const bool conv = n.is("Conv");
    const int64_t inputs = conv ? w.dim(1) : per_output, taps = per_output / std::max<int64_t>(inputs, 1);
    const int64_t groups = conv ? n.attrs.integer("group", 1) : 1;
    if (static_cast<int64_t>(means.size()) != inputs * groups) return {};
    std::vector<double> out(static_cast<size_t>(outputs), 0.0);
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t first = o / (outputs / groups) * inputs;
      for (int64_t k = 0; k < per_output; ++k) {
        const int64_t at = axis == 0 ? o * per_output + k : k * outputs + o;
        const double error = rounded[at] * static_cast<double>(q.scales[static_cast<size_t>(o)]) -
                             static_cast<double>(w.data<float>()[at]);
        out[static_cast<size_t>(o)] += error * means[static_cast<size_t>(first + k / taps)];
      }
    }
    return out;
  }

  // A Relu or Clip whose effect rounding to these integers has by itself.
  bool superfluous(const Node& n, const Scheme& s) const {
    if (n.is("Relu")) return s.zero == 0;
    if (!n.is("Clip")) return false;
    const auto low = n.in(1) == kNoValue ? std::optional<double>(-INFINITY) : passes::uniform(g_, n.in(1));
    const auto high = n.in(2) == kNoValue ? std::optional<double>(INFINITY) : passes::uniform(g_, n.in(2));
    return low && high && std::nearbyint(*low / s.scale) + s.zero <= 0 &&
           std::nearbyint(*high / s.scale) + s.zero >= 255;
  }

  void round(ValueId v) {
    const Scheme& s = scheme(v);
    const std::vector<Use> uses = g_.value(v).uses;
    ValueId from = v;
    const NodeId maker = g_.producer(v);
    if (s_.is_on_grid(v) && maker != kNoNode && superfluous(g_.node(maker), s)) from = g_.node(maker).in(0);
    const std::string stem = g_.value(v).name;
    const ValueId scale = constant(stem + "_scale", Tensor::scalar(s.scale));
    const ValueId zero = constant(stem + "_zero", Tensor::scalar(static_cast<uint8_t>(s.zero)));
    const ValueId q = add("QuantizeLinear", stem + "_q", {from, scale, zero});
    const ValueId dq = add("DequantizeLinear", stem + "_dq", {q, scale, zero});
    for (const Use& u : uses) {
      const Role role = s_.role(u.node);
      const bool activation =
          role == Role::concat || (role == Role::join ? u.slot < 2 : role != Role::none && u.slot == 0);
      if (s_.is_on_grid(v) || activation) g_.set_input(u.node, u.slot, dq);
    }
  }

  Graph g_;
  const Selection& s_;
  const Calibrated& c_;
};

}  // namespace

QuantizedWeights quantize_weights(const Tensor& w, int axis, const std::vector<double>& least) {
  const auto channels = static_cast<size_t>(w.dim(axis));
  int64_t inner = 1;
  for (int i = axis + 1; i < w.rank(); ++i) inner *= w.dim(i);
  std::vector<double> most(channels, 0);
  const float* x = w.data<float>();
  const auto channel = [&](int64_t i) { return static_cast<size_t>(i / inner) % channels; };
  for (int64_t i = 0; i < w.size(); ++i)
    most[channel(i)] = std::max(most[channel(i)], std::fabs(static_cast<double>(x[i])));
  QuantizedWeights out{Tensor(DType::i8, w.dims()), {}};
  for (size_t c = 0; c < channels; ++c) {
    const double scale = std::max(most[c] / 127, least.empty() ? 0 : least[c]);
    // A channel of zeros has any scale.
    out.scales.push_back(scale >= std::numeric_limits<float>::min() ? static_cast<float>(scale) : 1.0f);
  }
  auto* q = out.integers.mutable_data<int8_t>();
  for (int64_t i = 0; i < w.size(); ++i) {
    q[i] = static_cast<int8_t>(std::clamp(std::nearbyint(x[i] / out.scales[channel(i)]), -127.0f, 127.0f));
  }
  return out;
}

Graph insert_qdq(Graph g, const Selection& s, const Calibrated& c) {
  return Inserter(std::move(g), s, c).run();
}

}  // namespace skyline::quant
