#pragma once
// The frontier of a model on this machine: which precision each product should have, found from what products
// cost and what noise they add, and measured.
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skyline/constraint.h"
#include "skyline/data.h"
#include "skyline/frontier.h"
#include "skyline/model.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

struct OptimizeOptions {
  double budget_seconds = 120;  // of the search, calibration included; it ends within about a tenth more
  // Threads (0: the CPUs that this process may use), isa and layouts of all sessions.
  SessionOptions session;
  std::vector<Precision> rungs;  // besides f32; empty: all that this machine has
  // Empty: top1 where there are labels of classes, else agreement for outputs that rank classes, else cosine.
  std::optional<MetricKind> metric;
  // What the search should look into most; the frontier holds other points too.
  std::vector<Constraint> constraints;
  Objective objective = {false, {{{Axis::latency, Statistic::p50}, 1}}};
  std::string model_name, model_sha1,
      data_source;  // for FrontierInfo; the source defaults to the data's kind
  uint64_t seed = 1;
  double calibration_share = 0.2, selection_share = 0.4;  // of the examples; the rest is for the report
  int64_t most_calibration = 64;                          // examples that ranges are taken from
  // Operating points that are tried for throughput. Streams: empty for 1, and as many as there are threads.
  // Batches, where all inputs leave their first axis open: empty for powers of two up to 64 if throughput is
  // asked for, else 1.
  std::vector<int> streams;
  std::vector<int64_t> batches;
  // A file of what operators cost here, read before and written after: searches of this and other models need
  // not measure them again. "": none.
  std::string cost_table;
  // What is happening, and how much of the budget is used, 0 to 1.
  std::function<void(const std::string& stage, double share)> progress;
  std::function<void(const Frontier&)> found;  // whenever the frontier has got better
  const std::atomic<bool>* cancel = nullptr;   // ends the search soon, with what has been found
  // A frontier of the same model, machine, data and seed: its points are not measured again.
  std::optional<Frontier> resume;
};

// Measures, on this machine, now. The model must have f32 products with constant weights (Error{unsupported}
// otherwise) and take the data (Error{input}). The first point is always plain f32. Points were measured on
// the selection part of the data; Frontier::info says what the split was, and `report` holds accuracies on
// the part that nothing was chosen by.
struct OptimizeResult {
  Frontier frontier;
  Selection selection;  // by the constraints and the objective
  struct Report {
    std::string point;  // id
    Estimate accuracy, drop;
    int64_t examples = 0;
  };
  std::vector<Report> report;  // f32 and the selected point
  // How good predictions were of plans that they had not seen: of each point its latency and noise are
  // predicted from what was measured of products and of all other points. Medians of |predicted / measured -
  // 1|, with and without what plans taught (additive: products alone), and Spearman's correlations; absent
  // with fewer than four points.
  std::optional<double> latency_residual, additive_residual;
  std::optional<double> noise_correlation;      // of predicted with measured noise at the outputs
  std::optional<double> accuracy_correlation;   // of predicted with measured loss in the metric
  int64_t losses = 0, losses_resolved = 0;      // points; those whose loss is not 0 with confidence
  int64_t costs_known = 0, costs_measured = 0;  // entries of the cost table that were there, and new ones
  int64_t grid_points = 0, grid_measured = 0;   // operating points of (batch, streams, threads) of a plan
  int64_t measured_runs = 0, evaluated_examples = 0;
  std::vector<std::string> warnings;
};
OptimizeResult optimize(const Model& model, const Dataset& data, const OptimizeOptions& options = {});

// The model as a point of that frontier has it, and the options to run it with: what plan_session() runs, and
// compile_plan() (plan_file.h) writes down. Options and errors as there.
struct PlanModel {
  Model model;
  SessionOptions options;
};
PlanModel plan_model(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options = {});

// A session that computes as a point of that frontier says. options: isa, and threads (0: the point's); the
// rest is the point's. Error{invalid} if the model has no such nodes.
Session plan_session(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options = {});

}  // namespace skyline
#pragma GCC visibility pop
