#include "quant/equalize.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/passes/match.h"
#include "quant/calibrate.h"

namespace skyline::quant {
namespace {

constexpr int64_t kExamples = 32;
constexpr double kMostFactor = 1e3;
// Chains settle geometrically: scaling one pair moves the balance of its neighbours by a square root.
constexpr int kSweeps = 16;

struct Pair {
  NodeId first, second;
  ValueId between = kNoValue;  // what the second reads
  double bound = INFINITY;     // of the Clip
  std::vector<double> most;    // with a bound: what each channel can reach at all
};

bool takes(const Graph& g, const Node& n) {
  const Tensor* w = g.constant(n.in(1));
  return n.is("Conv") && w && w->dtype() == DType::f32 && w->rank() >= 3 && w->size() > 0 &&
         (n.in(2) == kNoValue || (g.constant(n.in(2)) && g.constant(n.in(2))->size() == w->dim(0)));
}

// What each output of a convolution can reach whose inputs lie within [0, most]; infinite if they may not.
std::vector<double> reachable(const Graph& g, const Node& n) {
  const Tensor& w = *g.constant(n.in(1));
  std::vector<double> out(static_cast<size_t>(w.dim(0)), INFINITY);
  const Node* clip = passes::maker(g, n.in(0), "Clip");
  const auto low = clip ? passes::uniform(g, clip->in(1)) : std::nullopt;
  const auto high = clip && clip->in(2) != kNoValue ? passes::uniform(g, clip->in(2)) : std::nullopt;
  if (!low || *low < 0 || !high) return out;
  const int64_t per_output = w.size() / w.dim(0);
  for (int64_t o = 0; o < w.dim(0); ++o) {
    double sum = n.in(2) == kNoValue ? 0 : g.constant(n.in(2))->data<float>()[o];
    for (int64_t k = 0; k < per_output; ++k)
      sum += std::max(0.0, static_cast<double>(w.data<float>()[o * per_output + k])) * *high;
    out[static_cast<size_t>(o)] = std::max(sum, 0.0) * (1 + 1e-4);  // rounding
  }
  return out;
}

std::optional<Pair> pair_into(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!takes(g, n) || !passes::used_once(g, n.in(0)) || g.is_output(n.in(0))) return std::nullopt;
  Pair p{kNoNode, id, n.in(0)};
  NodeId from = g.producer(n.in(0));
  if (from == kNoNode) return std::nullopt;
  if (const Node& a = g.node(from); a.is("Relu") || a.is("Clip")) {
    if (a.is("Clip")) {
      const auto low = passes::uniform(g, a.in(1));
      const auto high = a.in(2) == kNoValue ? std::optional<double>(INFINITY) : passes::uniform(g, a.in(2));
      if (!low || *low != 0 || !high || !(*high > 0)) return std::nullopt;
      p.bound = *high;
    }
    if (!passes::used_once(g, a.in(0)) || g.is_output(a.in(0))) return std::nullopt;
    from = g.producer(a.in(0));
    if (from == kNoNode) return std::nullopt;
  }
  p.first = from;
  if (!takes(g, g.node(from))) return std::nullopt;
  if (!std::isinf(p.bound)) p.most = reachable(g, g.node(from));
  return p;
}

// f(weight, channel of the input that it meets) for every weight of a convolution.
template <class F>
void each_input(const Node& n, Tensor& w, F f) {
  const int64_t outputs = w.dim(0), inputs = w.dim(1), taps = w.size() / (outputs * inputs);
  const int64_t groups = n.attrs.integer("group", 1), per_group = std::max<int64_t>(outputs / groups, 1);
  float* x = w.mutable_data<float>();
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t t = 0; t < taps; ++t) f(*x++, static_cast<size_t>(o / per_group * inputs + i));
    }
  }
}

class Equalizer {
 public:
  Equalizer(Graph& g, std::vector<Pair> pairs) : g_(g), pairs_(std::move(pairs)) {
    for (const Pair& p : pairs_) {
      for (NodeId id : {p.first, p.second}) {
        for (size_t slot : {1u, 2u}) own(id, slot);
      }
      const Tensor& w = *g_.constant(g_.node(p.first).in(1));
      total_.emplace_back(static_cast<size_t>(w.dim(0)), 1.0);
    }
  }

  // reach: of each pair's channels in the model as it came; empty where it is not known.
  int run(Equalization which, const std::vector<std::vector<double>>& reach) {
    std::vector<bool> changed(pairs_.size());
    const int sweeps = which == Equalization::weights ? kSweeps : 1;
    for (int k = 0; k < sweeps; ++k) {
      for (size_t i = 0; i < pairs_.size(); ++i) {
        if (reach[i].size() != total_[i].size()) continue;
        changed[i] = scale(i, which, reach[i]) || changed[i];
      }
    }
    return static_cast<int>(std::count(changed.begin(), changed.end(), true));
  }

 private:
  // Weights may be shared between nodes: each gets a copy to change.
  void own(NodeId id, size_t slot) {
    const ValueId v = g_.node(id).in(slot);
    if (v == kNoValue || g_.use_count(v) == 1) return;
    g_.set_input(id, slot, g_.add_constant(g_.fresh_name(g_.value(v).name), g_.constant(v)->clone()));
  }
  Tensor& tensor(NodeId id, size_t slot) {
    ValueInfo& v = g_.value(g_.node(id).in(slot));
    v.constant = v.constant.clone();  // copies of graphs share what they hold
    return v.constant;
  }

  // The largest weight that meets each channel.
  std::vector<double> weights_into(const Pair& p, size_t channels) {
    std::vector<double> most(channels, 0.0);
    const Node& n = g_.node(p.second);
    Tensor w = *g_.constant(n.in(1));
    each_input(n, w, [&](float x, size_t c) { most[c] = std::max(most[c], std::fabs(double{x})); });
    return most;
  }
  std::vector<double> weights_out_of(const Pair& p, size_t channels) const {
    std::vector<double> most(channels, 0.0);
    const Tensor& w = *g_.constant(g_.node(p.first).in(1));
    const int64_t per_channel = w.size() / w.dim(0);
    for (int64_t i = 0; i < w.size(); ++i) {
      auto& m = most[static_cast<size_t>(i / per_channel)];
      m = std::max(m, std::fabs(double{w.data<float>()[i]}));
    }
    return most;
  }

  // Divides the channels of pair i by what it multiplies the second one's weights with.
  bool scale(size_t i, Equalization which, const std::vector<double>& reach) {
    const Pair& p = pairs_[i];
    const size_t channels = total_[i].size();
    const Node& second = g_.node(p.second);
    const std::vector<double> into = weights_into(p, channels);
    // Weights have a scale per output: those of a depthwise convolution take any factor.
    const bool depthwise = second.attrs.integer("group", 1) == static_cast<int64_t>(channels);
    const bool by_weights = which == Equalization::weights;
    const std::vector<double> out_of = by_weights ? weights_out_of(p, channels) : std::vector<double>();
    std::vector<double> factor(channels, 1.0);
    double middle = 0;
    for (size_t c = 0; c < channels; ++c) {
      const double own = by_weights ? out_of[c] : reach[c] / total_[i][c];
      const double next = !by_weights && depthwise ? 1 : into[c];
      const double share = !by_weights && depthwise ? 1 : 0.5;
      if (own > 0 && next > 0) factor[c] = std::pow(own / next, share);
      middle += std::log(factor[c]);
    }
    middle = std::exp(middle / static_cast<double>(channels));
    bool changed = false;
    for (size_t c = 0; c < channels; ++c) {
      factor[c] /= middle;
      // What may meet the Clip keeps its scale; the others stay below it.
      if (!std::isinf(p.bound))
        factor[c] = p.most[c] >= p.bound ? 1 : std::max(factor[c], p.most[c] / total_[i][c] / p.bound);
      factor[c] = std::clamp(factor[c], 1 / (kMostFactor * total_[i][c]), kMostFactor / total_[i][c]);
      changed = changed || factor[c] != 1;
    }
    apply(i, factor);
    return changed;
  }

  void apply(size_t i, const std::vector<double>& factor) {
    const Pair& p = pairs_[i];
    Tensor& a = tensor(p.first, 1);
    const int64_t per_channel = a.size() / a.dim(0);
    for (int64_t k = 0; k < a.size(); ++k) {
      float& x = a.mutable_data<float>()[k];
      x = static_cast<float>(x / factor[static_cast<size_t>(k / per_channel)]);
    }
    if (g_.node(p.first).in(2) != kNoValue) {
      Tensor& b = tensor(p.first, 2);
      for (size_t c = 0; c < factor.size(); ++c) {
        float& x = b.mutable_data<float>()[c];
        x = static_cast<float>(x / factor[c]);
      }
    }
    const Node& second = g_.node(p.second);
    each_input(second, tensor(p.second, 1),
               [&](float& x, size_t c) { x = static_cast<float>(x * factor[c]); });
    for (size_t c = 0; c < factor.size(); ++c) total_[i][c] *= factor[c];
  }

  Graph& g_;
  std::vector<Pair> pairs_;
  std::vector<std::vector<double>> total_;  // of each pair's channels: what they have been divided by
};

}  // namespace

std::string_view name(Equalization e) noexcept {
  constexpr std::string_view kNames[] = {"none", "weights", "activations"};
  return kNames[static_cast<size_t>(e)];
}
Equalization equalization_from_name(std::string_view s) {
  for (const auto e : {Equalization::none, Equalization::weights, Equalization::activations}) {
    if (name(e) == s) return e;
  }
  throw Error(Code::invalid,
              "no equalization '" + std::string(s) + "'; there are none, weights, activations");
}

int equalize(Graph& g, Equalization which, const Examples& examples, const MakeRunner& make_runner) {
  if (which == Equalization::none) return 0;
  std::vector<Pair> pairs;
  for (NodeId id : g.order()) {
    if (const auto p = pair_into(g, id)) pairs.push_back(*p);
  }
  if (pairs.empty()) return 0;
  std::vector<Watch> watches;
  for (const Pair& p : pairs) watches.push_back({p.between, true, false});
  Examples few = examples;
  few.count = std::min(few.count, kExamples);
  std::vector<std::vector<double>> reach;
  for (Observation& o : observe(g, watches, few, make_runner, nullptr))
    reach.push_back(std::move(o.magnitude));
  const int changed = Equalizer(g, std::move(pairs)).run(which, reach);
  g.remove_dead_nodes();
  return changed;
}

}  // namespace skyline::quant
