#include "engine/search/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace skyline {
namespace {

constexpr double kNormal95 = 1.959964;
// Outputs of the baseline are kept up to this many bytes; beyond, it runs again beside every candidate.
constexpr int64_t kMostKept = int64_t{256} << 20;
// For metrics that are no means over examples: the difference is measured on each of so many parts.
constexpr size_t kFolds = 8;

int64_t bytes_of(const std::vector<Value>& values) {
  int64_t n = 0;
  for (const Value& v : values) n += v.is_tensor() ? v.tensor().bytes() : 0;
  return n;
}

std::vector<Value> copy_of(const std::vector<Value>& values) {
  std::vector<Value> out;
  out.reserve(values.size());
  for (const Value& v : values) out.push_back(v.is_tensor() ? Value(v.tensor().clone()) : v);
  return out;
}

double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}

// The label's score less the best other one's; nothing if the output does not rank the label.
std::optional<double> margin_of(const Example& e, std::span<const Value> outputs) {
  if (outputs.empty() || !outputs[0].is_tensor() || outputs[0].tensor().dtype() != DType::f32)
    return std::nullopt;
  const Tensor& y = outputs[0].tensor();
  if (!e.label.defined() || e.label.size() != 1 || e.label.dtype() != DType::i64) return std::nullopt;
  const int64_t label = e.label.data<int64_t>()[0];
  if (label < 0 || label >= y.size() || y.size() < 2) return std::nullopt;
  const float* p = y.data<float>();
  float other = -INFINITY;
  for (int64_t i = 0; i < y.size(); ++i) {
    if (i != label) other = std::max(other, p[i]);
  }
  const double m = double{p[label]} - double{other};
  return std::isfinite(m) ? std::optional(m) : std::nullopt;
}

Estimate mean_with_interval(const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
  if (x.size() < 2) return Estimate::exactly(mean);
  double squares = 0;
  for (double v : x) squares += (v - mean) * (v - mean);
  const double half = kNormal95 * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

}  // namespace

void add_noise(std::span<const Value> outputs, std::span<const Value> reference, double& noise,
               double& signal) {
  for (size_t i = 0; i < outputs.size() && i < reference.size(); ++i) {
    if (!outputs[i].is_tensor() || !reference[i].is_tensor()) continue;
    const Tensor &a = outputs[i].tensor(), &b = reference[i].tensor();
    if (a.dtype() != DType::f32 || b.dtype() != DType::f32 || a.dims() != b.dims()) continue;
    for (int64_t j = 0; j < a.size(); ++j) {
      const double right = double{b.data<float>()[j]}, d = double{a.data<float>()[j]} - right;
      if (!std::isfinite(right)) continue;
      noise += std::isfinite(d) ? d * d : right * right + 1;
      signal += right * right;
    }
  }
}

Estimate drop_among(const Estimate& drop, size_t plans) {
  if (drop.high <= drop.low || plans == 0) return drop;
  // The quantile of the normal distribution that `plans` independent ones stay below, by halving.
  const double wanted = std::pow(0.95, 1.0 / static_cast<double>(plans));
  double low = kNormal95, high = 8;
  while (high - low > 1e-6) {
    const double middle = (low + high) / 2;
    (normal_cdf(middle) < wanted ? low : high) = middle;
  }
  const double wider = low / kNormal95;
  return {drop.value, drop.value - wider * (drop.value - drop.low),
          std::max(drop.value, 0.0) + wider * (drop.high - drop.value)};
}

MetricKind default_metric(const Dataset& data, const Session& session) {
  const Fact& y = session.outputs().at(0).fact;
  const bool ranks = y.dtype == DType::f32 && y.ranked && y.rank() >= 1 && y.rank() <= 2 &&
                     (!y.dims.back().known() || y.dims.back().value() > 1);
  if (data.labelled() && data.size() > 0) {
    const Tensor label = data.at(0).label;
    if (label.defined() && label.dtype() == DType::i64 && label.size() == 1 && ranks) return MetricKind::top1;
    if (label.defined() && label.dtype() == DType::i64) return MetricKind::sequence;
  }
  return ranks ? MetricKind::agreement : MetricKind::cosine;
}

Evaluator::Evaluator(const Dataset& data, std::vector<int64_t> indices, MetricKind metric,
                     const Session& baseline, const std::function<bool()>& stop)
    : data_(data), indices_(std::move(indices)), metric_(metric), session_(baseline) {
  if (indices_.empty()) throw Error(Code::input, "no examples to measure accuracy on");
  Metric found(metric);
  std::vector<Metric> folds(std::min(kFolds, indices_.size()), Metric(metric));
  int64_t bytes = 0;
  std::vector<double> margins;
  for (size_t i = 0; i < indices_.size(); ++i) {
    if (stop && stop() && i >= 8) {
      indices_.resize(i);
      break;
    }
    Row row{data.at(indices_[i]), {}, 0};
    const std::vector<Value> y = baseline.run(row.example.inputs);
    found.add(row.example, y, y);
    folds[i % folds.size()].add(row.example, y, y);
    if (const auto m = metric == MetricKind::top1 ? margin_of(row.example, y) : std::nullopt) {
      row.margin = *m;
      margins.push_back(*m);
    }
    bytes += bytes_of(y) + bytes_of(row.example.inputs);
    kept_ = kept_ && bytes <= kMostKept;
    if (kept_) row.outputs = copy_of(y);
    rows_.push_back(std::move(row));
  }
  if (!kept_) {
    for (Row& r : rows_) {
      r.outputs.clear();
      r.example.inputs.clear();
    }
  }
  each_ = found.each();
  for (const Metric& m : folds) fold_values_.push_back(m.value());
  if (margins.size() == rows_.size()) {
    const Estimate mean = mean_with_interval(margins);
    double squares = 0;
    for (double m : margins) squares += (m - mean.value) * (m - mean.value);
    margin_scale_ = std::sqrt(squares / static_cast<double>(margins.size()));
  }
  baseline_.value = each_.empty() ? Estimate::exactly(found.value()) : mean_with_interval(each_);
  baseline_.value.value = found.value();
  baseline_.drop = Estimate::exactly(0);
}

std::vector<Value> Evaluator::reference(size_t i, const std::vector<Value>& inputs) const {
  return kept_ ? rows_[i].outputs : session_.run(inputs);
}

// Of a classifier, few examples change sides, so that counting them tells little; but all margins move. The
// share of positive margins is the margins' distribution at 0: smoothed over a fifth of their spread its
// difference is known several times better, for a bias that shrinks with the square of that width.
Accuracy Evaluator::compare(const Metric& found, const std::vector<double>& margins,
                            const std::vector<Metric>& folds) const {
  const double sign = higher_is_better(metric_) ? 1 : -1;
  Accuracy a;
  if (!each_.empty() && found.each().size() == each_.size()) {
    a.value = mean_with_interval(found.each());
    std::vector<double> lost;
    for (size_t i = 0; i < each_.size(); ++i) lost.push_back(sign * (each_[i] - found.each()[i]));
    if (margins.size() == rows_.size() && margin_scale_ > 0) {
      const double width = margin_scale_ / 5;
      for (size_t i = 0; i < lost.size(); ++i)
        lost[i] = normal_cdf(rows_[i].margin / width) - normal_cdf(margins[i] / width);
    }
    a.drop = mean_with_interval(lost);
    return a;
  }
  a.value = Estimate::exactly(found.value());
  std::vector<double> lost;
  for (size_t f = 0; f < folds.size(); ++f) {
    const double d = sign * (fold_values_[f] - folds[f].value());
    if (std::isfinite(d)) lost.push_back(d);
  }
  const Estimate spread = lost.empty() ? Estimate::exactly(0) : mean_with_interval(lost);
  const double drop = sign * (baseline_.value.value - found.value());
  a.drop = {drop, drop - (spread.value - spread.low), drop + (spread.high - spread.value)};
  return a;
}

Evaluator::Result Evaluator::evaluate(const Session& session, const std::function<bool()>& stop) const {
  Metric found(metric_);
  std::vector<Metric> folds(fold_values_.size(), Metric(metric_));
  std::vector<double> margins;
  double noise = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (stop && stop()) throw Error(Code::cancelled, "the search was stopped");
    const Example again = kept_ ? Example{} : data_.at(indices_[i]);
    const Example& e = kept_ ? rows_[i].example : again;
    const std::vector<Value> right = reference(i, e.inputs), y = session.run(e.inputs);
    found.add(e, y, right);
    folds[i % folds.size()].add(e, y, right);
    if (metric_ == MetricKind::top1) {
      if (const auto m = margin_of(e, y)) margins.push_back(*m);
    }
    double squares = 0, signal = 0;
    add_noise(y, right, squares, signal);
    noise += signal > 0 ? squares / signal : 0;
  }
  return {compare(found, margins, folds), noise / static_cast<double>(rows_.size())};
}

}  // namespace skyline
