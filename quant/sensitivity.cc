// What each product on each rung does to the outputs.
#include <algorithm>
#include <cmath>

#include "skyline/quant.h"

namespace skyline::quant {
namespace {

// Kept per example: the float outputs of f32.
using Outputs = std::vector<Tensor>;

bool counts(const Value& v) {
  return v.is_tensor() && v.tensor().dtype() == DType::f32 && v.tensor().size() > 0;
}

Outputs kept(const std::vector<Value>& results) {
  Outputs out;
  for (const Value& v : results) out.push_back(counts(v) ? v.tensor().clone() : Tensor());
  return out;
}

// log of the probabilities that scores stand for: of themselves when they are some, else of their softmax.
std::vector<double> log_probabilities(const float* x, int64_t n) {
  double sum = 0;
  float least = x[0], most = x[0];
  for (int64_t i = 0; i < n; ++i) {
    sum += x[i];
    least = std::min(least, x[i]);
    most = std::max(most, x[i]);
  }
  std::vector<double> out;
  if (least >= 0 && std::fabs(sum - 1) < 1e-3) {
    for (int64_t i = 0; i < n; ++i) out.push_back(std::log(std::max<double>(x[i], 1e-12)));
    return out;
  }
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += std::exp(static_cast<double>(x[i]) - most);
  for (int64_t i = 0; i < n; ++i) out.push_back(x[i] - most - std::log(total));
  return out;
}

double divergence(const Tensor& want, const Tensor& got) {
  const int64_t classes = want.rank() == 0 ? 1 : want.dim(want.rank() - 1);
  if (classes < 2 || want.size() != got.size()) return 0;
  double sum = 0;
  for (int64_t at = 0; at < want.size(); at += classes) {
    const auto p = log_probabilities(want.data<float>() + at, classes);
    const auto q = log_probabilities(got.data<float>() + at, classes);
    for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return sum * static_cast<double>(classes) / static_cast<double>(want.size());
}

// Noise over signal of each output; a model of several is as noisy as their mean.
class Noise {
 public:
  void add(const Outputs& want, const std::vector<Value>& got) {
    if (signal_.empty()) signal_.resize(want.size()), noise_.resize(want.size());
    for (size_t k = 0; k < want.size(); ++k) {
      if (!want[k].defined() || !counts(got[k]) || got[k].tensor().size() != want[k].size()) continue;
      const float *a = want[k].data<float>(), *b = got[k].tensor().data<float>();
      for (int64_t i = 0; i < want[k].size(); ++i) {
        const double d = static_cast<double>(b[i]) - a[i];
        signal_[k] += static_cast<double>(a[i]) * a[i];
        // A rung that overflows is as bad as can be.
        noise_[k] += std::isfinite(d) ? d * d : 1e30;
      }
      if (k == 0) divergence_ += divergence(want[k], got[k].tensor());
    }
    ++examples_;
  }
  double power() const {
    double sum = 0;
    int outputs = 0;
    for (size_t k = 0; k < signal_.size(); ++k) {
      if (signal_[k] <= 0) continue;
      sum += noise_[k] / signal_[k];
      ++outputs;
    }
    return outputs ? sum / outputs : 0;
  }
  double mean_divergence() const { return examples_ ? divergence_ / static_cast<double>(examples_) : 0; }

 private:
  std::vector<double> signal_, noise_;
  double divergence_ = 0;
  int64_t examples_ = 0;
};

class Measurement {
 public:
  Measurement(const Quantizer& q, const Examples& examples, const MakeRunner& make_runner,
              const SensitivityOptions& options)
      : q_(q), make_runner_(make_runner), options_(options) {
    if (examples.count <= 0) throw Error(Code::input, "there are no examples to measure on");
    for (int64_t i = 0; i < examples.count; ++i) inputs_.push_back(examples.at(i));
    total_ = 1;
    for (const Precision rung : options.rungs) {
      total_ += 1;
      for (const Quantizer::Product& p : q.products()) total_ += possible(p, rung) * (options.others ? 2 : 1);
    }
  }

  NodeNoise run(const Choice& choice) {
    Sensitivity s;
    reference(s);
    return measure(choice, s.metric);
  }

  Sensitivity run() {
    Sensitivity s;
    s.rungs = options_.rungs;
    reference(s);
    for (const Quantizer::Product& p : q_.products()) {
      s.nodes.push_back(p.name);
      s.ops.push_back(p.op);
    }
    s.noise.assign(s.nodes.size(), std::vector<NodeNoise>(s.rungs.size()));
    for (size_t r = 0; r < s.rungs.size(); ++r) rung(s, r);
    return s;
  }

 private:
  static bool possible(const Quantizer::Product& p, Precision rung) {
    return rung != Precision::int8 || p.int8;
  }

  void reference(Sensitivity& s) {
    const Runner run = make_runner_(q_.graph());
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const std::vector<Value> results = run(inputs_[i]);
      references_.push_back(kept(results));
      if (options_.metric) s.metric += options_.metric(static_cast<int64_t>(i), results);
    }
    s.metric /= static_cast<double>(inputs_.size());
    step();
  }

  void rung(Sensitivity& s, size_t r) {
    Choice all;
    for (const Quantizer::Product& p : q_.products()) {
      if (possible(p, s.rungs[r])) all[p.name] = s.rungs[r];
    }
    s.all.push_back(measure(all, s.metric));
    for (size_t k = 0; k < s.nodes.size(); ++k) {
      if (!all.contains(s.nodes[k])) continue;
      NodeNoise& n = s.noise[k][r];
      n = measure({{s.nodes[k], s.rungs[r]}}, s.metric);
      if (!options_.others) continue;
      Choice others = all;
      others.erase(s.nodes[k]);
      n.others = measure(others, s.metric).alone;
    }
  }

  NodeNoise measure(const Choice& choice, double metric) {
    NodeNoise n;
    n.possible = true;
    const Runner run = make_runner_(q_.build(choice).graph);
    Noise noise;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const std::vector<Value> results = run(inputs_[i]);
      noise.add(references_[i], results);
      if (options_.metric) n.metric += options_.metric(static_cast<int64_t>(i), results);
    }
    n.alone = noise.power();
    n.divergence = noise.mean_divergence();
    n.metric = options_.metric ? n.metric / static_cast<double>(inputs_.size()) - metric : 0;
    step();
    return n;
  }

  void step() {
    if (options_.progress) options_.progress(++done_, total_);
  }

  const Quantizer& q_;
  const MakeRunner& make_runner_;
  const SensitivityOptions& options_;
  std::vector<std::vector<Value>> inputs_;
  std::vector<Outputs> references_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

Sensitivity measure_sensitivity(const Quantizer& quantizer, const Examples& examples,
                                const MakeRunner& make_runner, const SensitivityOptions& options) {
  return Measurement(quantizer, examples, make_runner, options).run();
}

NodeNoise measure_choice(const Quantizer& quantizer, const Choice& choice, const Examples& examples,
                         const MakeRunner& make_runner, const SensitivityOptions& options) {
  return Measurement(quantizer, examples, make_runner, options).run(choice);
}

}  // namespace skyline::quant
