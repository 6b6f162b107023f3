#include "quant/adaround.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"
#include "quant/calibrate.h"

namespace skyline::quant {
namespace {

// ---- the method; constants are the authors' but for the rate, which suits fewer steps

constexpr float kStretch = 1.2f, kShift = -0.1f;  // of the sigmoid, so that it reaches 0 and 1
constexpr double kRate = 0.04;
constexpr float kRegularization = 0.05f;
constexpr float kFirstBeta = 20, kLastBeta = 2;
constexpr float kWarmUp = 0.2f;  // of the steps, without regularization

// A layer's steps take at most so many multiplications: seconds.
constexpr double kMostWork = 1e11;
constexpr int kFewestIterations = 100;
// Sampled outputs of an example.
constexpr int64_t kPositions = 64;
// Below, a plain loop is done before a session would have started.
constexpr int64_t kSmallLayer = 1 << 16;

float soft(float v) {
  return std::clamp(kStretch / (1 + std::exp(-v)) + kShift, 0.0f, 1.0f);
}

std::vector<double> forms(const RoundingProblem& p, const std::vector<float>& errors,
                          const Multiply& multiply) {
  const std::vector<float> product = multiply(errors);
  std::vector<double> out(static_cast<size_t>(p.outputs), 0.0);
  for (size_t i = 0; i < errors.size(); ++i)
    out[i / static_cast<size_t>(p.rows)] += static_cast<double>(errors[i]) * product[i];
  return out;
}

// Where v of rank spatial + 2 is read by one output of a convolution.
struct Window {
  Dims kernel, strides, dilations, pads;
};
std::optional<Window> window_of(const Node& n, const Tensor& w) {
  if (n.attrs.text("auto_pad", "NOTSET") != "NOTSET") return std::nullopt;
  const auto rank = static_cast<size_t>(w.rank() - 2);
  Window out{Dims(w.dims().begin() + 2, w.dims().end()), n.attrs.integers("strides", Dims(rank, 1)),
             n.attrs.integers("dilations", Dims(rank, 1)), n.attrs.integers("pads", Dims(2 * rank, 0))};
  return out;
}

// A layer whose inputs are sampled.
class Layer {
 public:
  Layer(const Graph& g, NodeId id) : id_(id), node_(g.node(id)), w_(*g.constant(node_.in(1))) {
    const bool conv = node_.is("Conv");
    groups_ = conv ? node_.attrs.integer("group", 1) : 1;
    const int axis = output_axis(node_);
    outputs_ = w_.dim(axis) / groups_;
    rows_ = w_.size() / w_.dim(axis);
    if (conv) window_ = window_of(node_, w_);
    possible_ = groups_ > 0 && outputs_ > 0 && rows_ > 0 && (!conv || window_);
  }

  NodeId id() const { return id_; }
  const std::string& name() const { return node_.name; }
  ValueId input() const { return node_.in(0); }
  bool possible() const { return possible_; }
  int64_t bytes() const { return groups_ * rows_ * (rows_ + 1) * 4; }

  void start() {
    moments_.assign(static_cast<size_t>(groups_ * rows_ * rows_), 0);
    means_.assign(static_cast<size_t>(groups_ * rows_), 0);
    count_ = 0;
  }
  void add(const Tensor& x, std::mt19937_64& random) {
    if (window_) {
      add_windows(x, random);
    } else {
      const int64_t lines = x.size() / rows_;
      for (int64_t k = 0; k < std::min(lines, kPositions); ++k) {
        const int64_t line =
            lines <= kPositions ? k : static_cast<int64_t>(random() % static_cast<uint64_t>(lines));
        add_row(0, x.data<float>() + line * rows_);
        ++count_;
      }
    }
  }

  Tensor solve(bool central, const AdaRoundOptions& options, const MakeRunner& make_runner) {
    const int axis = output_axis(node_);
    const QuantizedWeights nearest = quantize_weights(w_, axis);
    Tensor out = nearest.integers.clone();
    const int64_t all = w_.dim(axis);
    for (int64_t group = 0; group < groups_; ++group) {
      RoundingProblem p{outputs_, rows_, {}, moments_of(group, central)};
      p.real.resize(static_cast<size_t>(outputs_ * rows_));
      const auto place = [&](int64_t o, int64_t k) {
        return axis == 0 ? (group * outputs_ + o) * rows_ + k : k * all + o;
      };
      for (int64_t o = 0; o < outputs_; ++o) {
        const float scale = nearest.scales[static_cast<size_t>(group * outputs_ + o)];
        for (int64_t k = 0; k < rows_; ++k)
          p.real[static_cast<size_t>(o * rows_ + k)] = w_.data<float>()[place(o, k)] / scale;
      }
      const double work = static_cast<double>(w_.size()) * static_cast<double>(rows_);
      const int iterations = std::min(
          options.iterations, std::max(kFewestIterations, static_cast<int>(std::min(kMostWork / work, 1e6))));
      const std::vector<int8_t> rounded = round_together(p, iterations, multiplier(p, make_runner));
      for (int64_t o = 0; o < outputs_; ++o) {
        for (int64_t k = 0; k < rows_; ++k)
          out.mutable_data<int8_t>()[place(o, k)] = rounded[static_cast<size_t>(o * rows_ + k)];
      }
    }
    moments_ = {};
    return out;
  }

 private:
  // The rows of a group: [rows] of x; the upper triangle is kept.
  void add_row(int64_t group, const float* x) {
    float* m = moments_.data() + group * rows_ * rows_;
    float* mean = means_.data() + group * rows_;
    for (int64_t i = 0; i < rows_; ++i) {
      mean[i] += x[i];
      if (x[i] == 0) continue;
      float* line = m + i * rows_;
      for (int64_t k = i; k < rows_; ++k) line[k] += x[i] * x[k];
    }
  }

  void add_windows(const Tensor& x, std::mt19937_64& random) {
    const auto rank = window_->kernel.size();
    if (x.rank() != static_cast<int>(rank + 2)) return;
    Dims size(x.dims().begin() + 2, x.dims().end()), places(rank);
    int64_t positions = x.dim(0), taps = 1, plane = 1;
    for (size_t d = 0; d < rank; ++d) {
      const int64_t span = (window_->kernel[d] - 1) * window_->dilations[d] + 1;
      places[d] = (size[d] + window_->pads[d] + window_->pads[d + rank] - span) / window_->strides[d] + 1;
      positions *= std::max<int64_t>(places[d], 0);
      taps *= window_->kernel[d];
      plane *= size[d];
    }
    std::vector<float> row(static_cast<size_t>(rows_));
    const int64_t inputs = rows_ / taps;
    for (int64_t s = 0; s < std::min(positions, kPositions); ++s) {
      int64_t at =
          positions <= kPositions ? s : static_cast<int64_t>(random() % static_cast<uint64_t>(positions));
      Dims origin(rank);
      for (size_t d = rank; d-- > 0; at /= places[d])
        origin[d] = at % places[d] * window_->strides[d] - window_->pads[d];
      const float* image = x.data<float>() + at * x.dim(1) * plane;
      for (int64_t group = 0; group < groups_; ++group) {
        for (int64_t k = 0; k < rows_; ++k) row[static_cast<size_t>(k)] = 0;
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t offset = offset_of(t, origin, size);
          if (offset < 0) continue;
          for (int64_t c = 0; c < inputs; ++c)
            row[static_cast<size_t>(c * taps + t)] = image[(group * inputs + c) * plane + offset];
        }
        add_row(group, row.data());
      }
      ++count_;
    }
  }
  // Of tap t in a plane; -1 in the padding.
  int64_t offset_of(int64_t t, const Dims& origin, const Dims& size) const {
    int64_t offset = 0, step = 1;
    for (size_t d = size.size(); d-- > 0; t /= window_->kernel[d]) {
      const int64_t at = origin[d] + t % window_->kernel[d] * window_->dilations[d];
      if (at < 0 || at >= size[d]) return -1;
      offset += at * step;
      step *= size[d];
    }
    return offset;
  }

  // Scaled so that an error of a step costs 1 on average.
  std::vector<float> moments_of(int64_t group, bool central) const {
    std::vector<float> out(static_cast<size_t>(rows_ * rows_));
    const float* m = moments_.data() + group * rows_ * rows_;
    const float* mean = means_.data() + group * rows_;
    const double n = static_cast<double>(std::max<int64_t>(count_, 1));
    double trace = 0;
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t k = i; k < rows_; ++k) {
        const double x = m[i * rows_ + k] / n - (central ? mean[i] / n * (mean[k] / n) : 0);
        out[static_cast<size_t>(i * rows_ + k)] = out[static_cast<size_t>(k * rows_ + i)] =
            static_cast<float>(x);
        if (i == k) trace += x;
      }
    }
    const auto unit = static_cast<float>(trace > 0 ? static_cast<double>(rows_) / trace : 1);
    for (float& x : out) x *= unit;
    return out;
  }

  Multiply multiplier(const RoundingProblem& p, const MakeRunner& make_runner) const {
    if (p.outputs * p.rows <= kSmallLayer / 64 || p.outputs < 4)
      return [&p](const std::vector<float>& e) { return times_moments(p, e); };
    Graph g;
    const ValueId e = g.add_input("errors", Fact::fixed(DType::f32, {p.outputs, p.rows}));
    const ValueId m = g.add_constant("moments", Tensor::of<float>({p.rows, p.rows}, p.moments));
    const ValueId y = g.add_value("product");
    g.add_node("MatMul", "product", {e, m}, {y});
    g.add_output(y, "product");
    infer_graph(g);
    return [run = make_runner(g), dims = Dims{p.outputs, p.rows}](const std::vector<float>& errors) {
      const std::vector<Value> in{Value(Tensor::of<float>(dims, errors))};
      const std::vector<Value> out = run(in);
      const auto all = out.at(0).tensor().span<float>();
      return std::vector<float>(all.begin(), all.end());
    };
  }

  NodeId id_;
  Node node_;
  Tensor w_;
  std::optional<Window> window_;
  int64_t groups_ = 1, outputs_ = 0, rows_ = 0, count_ = 0;
  bool possible_ = false;
  std::vector<float> moments_, means_;
};

void sample(const Graph& g, std::span<Layer*> layers, const Examples& examples, const MakeRunner& make_runner,
            std::mt19937_64& random, const std::function<void()>& step) {
  std::vector<ValueId> made;
  for (const Layer* l : layers) {
    if (!g.is_input(l->input()) && std::find(made.begin(), made.end(), l->input()) == made.end())
      made.push_back(l->input());
  }
  const Runner run = make_runner(with_outputs(g, made));
  for (Layer* l : layers) l->start();
  for (int64_t i = 0; i < examples.count; ++i) {
    const std::vector<Value> inputs = examples.at(i);
    const std::vector<Value> results = run(inputs);
    for (Layer* l : layers) {
      const auto input = std::find(g.inputs().begin(), g.inputs().end(), l->input());
      const auto place = std::find(made.begin(), made.end(), l->input());
      l->add(input != g.inputs().end()
                 ? inputs.at(static_cast<size_t>(input - g.inputs().begin())).tensor()
                 : results.at(g.outputs().size() + static_cast<size_t>(place - made.begin())).tensor(),
             random);
    }
    step();
  }
}

}  // namespace

std::vector<float> times_moments(const RoundingProblem& p, const std::vector<float>& errors) {
  std::vector<float> out(errors.size(), 0.0f);
  for (int64_t o = 0; o < p.outputs; ++o) {
    for (int64_t i = 0; i < p.rows; ++i) {
      const float e = errors[static_cast<size_t>(o * p.rows + i)];
      const float* m = p.moments.data() + i * p.rows;
      float* y = out.data() + o * p.rows;
      for (int64_t k = 0; k < p.rows; ++k) y[k] += e * m[k];
    }
  }
  return out;
}

std::vector<int8_t> round_together(const RoundingProblem& p, int iterations, const Multiply& multiply) {
  const size_t n = p.real.size();
  std::vector<float> low(n), v(n), errors(n), first(n, 0.0f), second(n, 0.0f), nearest(n);
  for (size_t i = 0; i < n; ++i) {
    low[i] = std::clamp(std::floor(p.real[i]), -127.0f, 126.0f);
    const double share =
        std::clamp(static_cast<double>((p.real[i] - low[i] - kShift) / kStretch), 0.01, 0.99);
    v[i] = static_cast<float>(std::log(share / (1 - share)));
    nearest[i] = std::clamp(std::nearbyint(p.real[i]), low[i], low[i] + 1);
  }
  const float warm = kWarmUp * static_cast<float>(iterations);
  std::vector<float> sigmoid(n);
  for (int step = 1; step <= iterations; ++step) {
    for (size_t i = 0; i < n; ++i) {
      sigmoid[i] = 1 / (1 + std::exp(-v[i]));
      errors[i] = low[i] + std::clamp(sigmoid[i] * kStretch + kShift, 0.0f, 1.0f) - p.real[i];
    }
    const std::vector<float> product = multiply(errors);
    const float t = std::max(
        0.0f, (static_cast<float>(step) - warm) / std::max(static_cast<float>(iterations) - warm, 1.0f));
    const float beta = kFirstBeta + (kLastBeta - kFirstBeta) * t;
    const auto rate =
        static_cast<float>(kRate * std::sqrt(1 - std::pow(0.999, step)) / (1 - std::pow(0.9, step)));
    const float force = static_cast<float>(step) > warm ? 2 * kRegularization * beta : 0;
    for (size_t i = 0; i < n; ++i) {
      const float h = sigmoid[i] * kStretch + kShift;
      if (h <= 0 || h >= 1) continue;
      const float away = 2 * h - 1;
      float slope = 2 * product[i];
      if (force > 0) slope -= force * std::copysign(std::pow(std::fabs(away), beta - 1), away);
      slope *= kStretch * sigmoid[i] * (1 - sigmoid[i]);
      first[i] = 0.9f * first[i] + 0.1f * slope;
      second[i] = 0.999f * second[i] + 0.001f * slope * slope;
      v[i] -= rate * first[i] / (std::sqrt(second[i]) + 1e-8f);
    }
  }
  std::vector<float> rounded(n);
  for (size_t i = 0; i < n; ++i) {
    rounded[i] = low[i] + (soft(v[i]) >= 0.5f ? 1.0f : 0.0f);
    errors[i] = rounded[i] - p.real[i];
  }
  const std::vector<double> ours = forms(p, errors, multiply);
  for (size_t i = 0; i < n; ++i) errors[i] = nearest[i] - p.real[i];
  const std::vector<double> theirs = forms(p, errors, multiply);
  std::vector<int8_t> out(n);
  for (size_t i = 0; i < n; ++i) {
    const size_t o = i / static_cast<size_t>(p.rows);
    out[i] = static_cast<int8_t>(ours[o] < theirs[o] ? rounded[i] : nearest[i]);
  }
  return out;
}

std::map<uint32_t, Tensor> adaround(const Graph& g, const Selection& s, const Examples& examples,
                                    const MakeRunner& make_runner, const Options& options) {
  std::vector<Layer> layers;
  for (NodeId id : g.order()) {
    if (s.role(id) != Role::product) continue;
    Layer l(g, id);
    if (l.possible() && l.bytes() <= options.adaround.most_bytes) layers.push_back(std::move(l));
  }
  Examples few = examples;
  few.count = std::min(few.count, options.adaround.examples);
  std::vector<std::pair<size_t, size_t>> batches;
  for (size_t i = 0, end = 0; i < layers.size(); i = end) {
    int64_t bytes = 0;
    while (end < layers.size() && (end == i || bytes + layers[end].bytes() <= options.adaround.most_bytes))
      bytes += layers[end++].bytes();
    batches.emplace_back(i, end);
  }
  const int64_t total =
      few.count * static_cast<int64_t>(batches.size()) + static_cast<int64_t>(layers.size());
  int64_t done = 0;
  const auto step = [&] {
    if (options.adaround.progress) options.adaround.progress(++done, total);
  };
  std::mt19937_64 random(options.adaround.seed);
  std::map<uint32_t, Tensor> out;
  for (const auto& [begin, end] : batches) {
    std::vector<Layer*> batch;
    for (size_t i = begin; i < end; ++i) batch.push_back(&layers[i]);
    sample(g, batch, few, make_runner, random, step);
    for (Layer* l : batch) {
      const bool central = options.correct_bias && !g.node(l->id()).is("MatMul");
      out[static_cast<uint32_t>(l->id())] = l->solve(central, options.adaround, make_runner);
      step();
    }
  }
  return out;
}

}  // namespace skyline::quant
