#pragma once
// The frontier: what an optimizer found out about a model on a machine, as points to choose from.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skyline/constraint.h"
#include "skyline/estimate.h"
#include "skyline/precision.h"
#include "skyline/session.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// What is known about a point: predicted by a model of costs, or measured. What nobody knows is absent.
struct Figures {
  // Seconds from one request in to its result out, by Statistic.
  std::array<std::optional<Estimate>, kStatistics> latency;
  std::optional<Estimate> throughput;  // examples per second, at the point's batch, streams and threads
  std::optional<Estimate> accuracy;    // in units of the metric
  std::optional<Estimate>
      accuracy_drop;               // f32's less this, the right way round; paired, so narrower than both
  std::optional<Estimate> memory;  // bytes: weights, activations and workspace of all streams

  const std::optional<Estimate>& get(Quantity q) const;
  std::optional<Estimate>& get(Quantity q);
  friend bool operator==(const Figures&, const Figures&) = default;
};

// Where one node is on the ladder, and why. Products are all there; other nodes where their layout is chosen.
struct NodeChoice {
  std::string node, op;  // the node's name in the model (SessionOptions::node_precision's key), its operator
  Precision rung = Precision::f32;
  std::string kernel;       // what it was bound to; "" if unknown
  double time_share = 0;    // of the plan's time, 0 to 1
  double noise = 0;         // its share of the error at the output, in the search's own unit; 0 for f32
  std::string reason;       // "stays f32: +0.31 pp for 0.2 ms"; "" if the search says nothing
  std::string layout = {};  // as SessionOptions::node_layouts has it; "": as `layouts` of the point says
  friend bool operator==(const NodeChoice&, const NodeChoice&) = default;
};

enum class PointState : uint8_t { predicted, measured, dominated };
std::string_view name(PointState s) noexcept;

// One way to run the model.
struct Point {
  std::string id;                   // unique in its frontier: "f32", "p17"
  std::vector<NodeChoice> choices;  // in the graph's order, node names unique; other nodes stay as they are
  Precision precision = Precision::model;  // of contractions that are not among the choices
  int64_t batch = 1;
  int streams = 1, threads = 1;  // threads inside each stream
  LayoutPolicy layouts = LayoutPolicy::modelled;
  Figures predicted, measured;
  int64_t samples = 0;     // timed runs behind `measured`
  std::string provenance;  // how the search came upon it
  PointState state = PointState::predicted;

  // Measured if it is, else predicted, else absent.
  const std::optional<Estimate>& figure(Quantity q) const;
  const NodeChoice* choice(std::string_view node) const;  // null if there is none
  friend bool operator==(const Point&, const Point&) = default;
};

// The options with which a session computes as the point says; its streams and batches are a Batcher's
// (serve.h).
SessionOptions session_options(const Point& p);

struct AccuracyMetric {
  std::string name = "top-1";
  bool larger_is_better = true;
  bool fraction = true;  // between 0 and 1, shown as percent; else a number of its own (dB, an error)
  friend bool operator==(const AccuracyMetric&, const AccuracyMetric&) = default;
};

struct DataSplit {
  std::string source;                                  // where the examples came from
  int64_t calibration = 0, selection = 0, report = 0;  // examples; the three are disjoint
  friend bool operator==(const DataSplit&, const DataSplit&) = default;
};

struct FrontierInfo {
  std::string model, model_sha1;               // file name; SHA-1 of its bytes, 40 hex digits, or ""
  std::map<std::string, std::string> machine;  // as machine_facts() gives them
  AccuracyMetric metric;
  DataSplit data;
  uint64_t seed = 0;
  std::string tool;  // name and version of what wrote it
  // Of activations by name, low to high: what int8 nodes take their scales from.
  std::map<std::string, std::pair<double, double>> ranges = {};
  // Of those among them that products read, by channel: what int8 nodes correct their biases by.
  std::map<std::string, std::vector<double>> means = {};
  friend bool operator==(const FrontierInfo&, const FrontierInfo&) = default;
};

// This machine, as far as times depend on it: cpu, isa, cpus, caches; and os.
std::map<std::string, std::string> machine_facts();
// Why figures measured on one cannot stand beside figures of the other; "" if they can. The os may differ.
std::string machine_difference(const std::map<std::string, std::string>& a,
                               const std::map<std::string, std::string>& b);

// How a point stands to one constraint.
struct ConstraintCheck {
  Constraint constraint;
  bool met = false;
  std::optional<double>
      bound_of_point;    // the unfavourable end of its interval, which must meet the constraint
  double violation = 0;  // how far outside, as a share of the bound; 0 if met, infinite if unknown
};

struct Selection {
  bool feasible = false;
  size_t point = 0;                     // into Frontier::points; the least-violating one if infeasible
  std::optional<double> objective;      // its value there; absent if a figure is
  std::vector<ConstraintCheck> checks;  // of that point, in the order of the constraints
  std::optional<size_t>
      binding;              // infeasible: the constraint to give way on. Feasible: the one with least room
  std::string explanation;  // one or two sentences for people
};

class Frontier {
 public:
  FrontierInfo info;
  std::vector<Point> points;

  const Point* find(std::string_view id) const;  // null if there is none
  size_t index_of(std::string_view id) const;    // Error{input} naming the ids that there are

  // The points that count: those measured, or all of them as long as none is. Indices, ascending.
  std::vector<size_t> candidates() const;
  // Of the candidates, those that no other dominates in latency (p50), throughput and accuracy, as far as all
  // have them. One point dominates another if its values are nowhere worse and somewhere better by more than
  // the intervals: two that cannot be told apart both stay.
  std::vector<size_t> pareto() const;
  // Sets the state of measured and dominated points by it. Predicted points stay predicted: nobody is
  // dominated by a guess.
  void update_states();

  // The best point that meets all constraints, without measuring anything. A constraint is met when the
  // unfavourable end of the interval meets it; a figure that is not known meets nothing. All candidates take
  // part, dominated ones too: they may be smaller. Error{input} on an empty frontier.
  Selection select(std::span<const Constraint> constraints, const Objective& objective) const;
  Selection select(std::initializer_list<Constraint> constraints, const Objective& objective) const {
    return select(std::span(constraints.begin(), constraints.size()), objective);
  }

  // The point of the Pareto set that is farthest out when every axis (latency and throughput by their
  // logarithms) is scaled to its range there: where giving up more on one axis begins to buy less on the
  // others. Absent if there are no points.
  std::optional<size_t> knee() const;

  // What `other` knows is added. Points that say the same are joined, and the one measured on more runs wins;
  // ids that clash are made unique. Error{input} unless model, machine, metric and data are the same.
  void merge(const Frontier& other);

  friend bool operator==(const Frontier&, const Frontier&) = default;
};

// Volume dominated by `points` up to `reference`, all coordinates to be minimized; exact, O(n log n) in two
// dimensions and O(n^2) in three. Points that are not better than the reference everywhere add nothing.
double hypervolume(std::span<const std::array<double, 2>> points, const std::array<double, 2>& reference);
double hypervolume(std::span<const std::array<double, 3>> points, const std::array<double, 3>& reference);

// The candidates of a frontier as coordinates to be minimized: latency p50 in seconds, throughput and
// accuracy turned around. Points that lack one are left out.
std::vector<std::array<double, 3>> to_minimize(const Frontier& f);
std::vector<std::array<double, 2>> to_minimize_latency_accuracy(const Frontier& f);
// A reference for both: 1.1 times the slowest, no throughput, and the least accuracy less a tenth of the
// range (at least 0.001). To compare frontiers, take the reference of their union.
std::array<double, 3> default_reference(std::span<const std::array<double, 3>> points);
std::array<double, 2> default_reference(std::span<const std::array<double, 2>> points);

// A frontier as JSON (schema "skyline.frontier", version 1), and back. What is read is checked: sizes,
// ranges, that numbers are finite, intervals hold their values and names are unique. Error{parse} for what is
// no JSON, {invalid} with the place for what is not a frontier, {unsupported} for a later version.
std::string to_json(const Frontier& f);
Frontier frontier_from_json(std::string_view json);
// Files of the same. Saving writes a temporary file beside the old one, syncs and renames it: whatever
// happens, the old or the new file is there, whole. Error{io}.
void save_frontier(const Frontier& f, const std::string& path);
Frontier load_frontier(const std::string& path);
// One row a point, for spreadsheets: RFC 4180, seconds and bytes.
std::string to_csv(const Frontier& f);

// The choice alone is a frontier of one point: the schema "skyline.plan" in its place. load_frontier reads
// both, and the choice in a plan file (plan_file.h).
void save_plan(const Frontier& f, size_t point, const std::string& path);

struct ReportOptions {
  std::string title;                    // "" for the model's name
  std::string selected;                 // id of the point to show first; "" for the knee
  std::vector<Constraint> constraints;  // shaded in the plots
  std::string objective;                // as text, shown beside the selected point
};
// One HTML file that needs nothing else: plots linked by hover and click, and why each node is where it is.
std::string report_html(const Frontier& f, const ReportOptions& options = {});

// Writes a file so that a reader, or a crash at any moment, sees the old or the new content and nothing
// between. What is not a regular file (a pipe, /dev/stdout) is written in place. Error{io}.
void write_file_whole(const std::string& path, std::string_view content);

}  // namespace skyline
#pragma GCC visibility pop
