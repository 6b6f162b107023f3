#pragma once
// How good a session is on examples, and how much it loses against another, with intervals.
#include <functional>
#include <optional>
#include <vector>

#include "skyline/data.h"
#include "skyline/estimate.h"
#include "skyline/session.h"

namespace skyline {

struct Accuracy {
  Estimate value;
  Estimate drop;  // lost against the baseline, in units of the metric; more is worse, whatever the metric
};

// The interval of a drop that is one of `plans` measured on the same examples, for whoever takes the best of
// them: it reaches as high as all of them stay below at once (95 %), counted from no gain, since noise makes
// no model better: a plan that seems to gain was lucky with the examples.
Estimate drop_among(const Estimate& drop, size_t plans);

// top1 where labels are classes, else agreement for outputs that rank classes, else cosine.
MetricKind default_metric(const Dataset& data, const Session& session);

class Evaluator {
 public:
  // Runs the baseline on these examples of the data, and keeps its outputs where they are small.
  Evaluator(const Dataset& data, std::vector<int64_t> indices, MetricKind metric, const Session& baseline,
            const std::function<bool()>& stop = {});

  int64_t examples() const { return static_cast<int64_t>(indices_.size()); }
  MetricKind metric() const { return metric_; }
  const Accuracy& baseline() const { return baseline_; }
  // Mean over the examples of (squared error of all outputs) / (their squares), against the baseline's.
  struct Result {
    Accuracy accuracy;
    double noise = 0;
  };
  Result evaluate(const Session& session, const std::function<bool()>& stop = {}) const;

 private:
  struct Row {
    Example example;  // without inputs where they are read again
    std::vector<Value> outputs;
    double margin = 0;  // of the label over the best other class; top1 only
  };
  std::vector<Value> reference(size_t i, const std::vector<Value>& inputs) const;
  Accuracy compare(const Metric& found, const std::vector<double>& margins,
                   const std::vector<Metric>& folds) const;

  Dataset data_;
  std::vector<int64_t> indices_;
  MetricKind metric_;
  Session session_;
  std::vector<Row> rows_;
  bool kept_ = true;  // outputs of the baseline
  Accuracy baseline_;
  std::vector<double> each_;         // of the baseline, by example, where the metric has it
  std::vector<double> fold_values_;  // of the baseline, by fold
  double margin_scale_ = 0;          // spread of margins
};

// Signal-to-noise terms of outputs against reference ones: adds to both sums. Outputs that are no floats of
// the same shape count nothing.
void add_noise(std::span<const Value> outputs, std::span<const Value> reference, double& noise,
               double& signal);

}  // namespace skyline
