#include "engine/optimize/measure.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "engine/optimize/layout_model.h"
#include "engine/runtime/plan.h"
#include "graph/ir/infer.h"
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline {
namespace {

using passes::LayoutChoice;
using passes::LayoutForm;
using Clock = std::chrono::steady_clock;

// A measurement ends after so many seconds or runs, whichever comes first, but has at least kLeastRuns: the
// first one or two of them fetch code and data.
constexpr double kSeconds = 1e-3;
constexpr int kLeastRuns = 4, kMostRuns = 50;
constexpr double kNoise = 0.05;

// ---- nodes as a graph of their own ----

Graph alone(const Graph& g, const LayoutChoice& choice, LayoutForm::Kind kind) {
  Graph out;
  std::map<ValueId, ValueId> of;
  const auto value = [&](ValueId v) {
    if (v == kNoValue) return v;
    const auto [it, is_new] = of.emplace(v, kNoValue);
    if (!is_new) return it->second;
    const std::string name = out.fresh_name("v");
    it->second = g.constant(v) ? out.add_constant(name, *g.constant(v)) : out.add_input(name, g.fact(v));
    return it->second;
  };
  std::vector<NodeId> nodes = choice.others;
  std::reverse(nodes.begin(), nodes.end());
  nodes.push_back(choice.node);
  NodeId last{};
  for (NodeId id : nodes) {
    const Node& n = g.node(id);
    std::vector<ValueId> in, results;
    for (ValueId v : n.inputs) in.push_back(value(v));
    for (ValueId v : n.outputs) {
      results.push_back(v == kNoValue ? v : out.add_value(out.fresh_name("v")));
      if (v != kNoValue) of[v] = results.back();
    }
    last = out.add_node(*n.op, n.name, std::move(in), results, n.attrs);
    infer_node(out, last);
  }
  for (ValueId v : out.node(last).outputs) {
    if (v != kNoValue) out.add_output(v, out.fresh_name("y"));
  }
  passes::assign_layout(out, last, kind);
  run_passes(out, layout_passes());
  return out;
}

// ---- timing ----

Value made_up(const Fact& f) {
  Tensor t(f.dtype, f.static_dims());
  if (f.dtype == DType::f32) {
    const auto x = t.mutable_span<float>();
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 23) / 23.0f - 0.5f;
  }
  return t;
}

// A move between the graph's border and its nodes: what is being measured pays for it elsewhere.
bool is_border_move(const Graph& g, const Node& n) {
  if (!n.is("Transpose")) return false;
  const auto perm = passes::perm_of(g, n);
  const int rank = static_cast<int>(perm->size());
  return rank >= 3 && ((g.is_input(n.in(0)) && *perm == passes::to_channels_last(rank)) ||
                       (g.is_output(n.out(0)) && *perm == passes::to_channels_first(rank)));
}

// Seconds of a run of the graph, the least of several, without its border moves.
double seconds(Graph g, IsaSet isa, int threads, bool with_moves) {
  std::vector<Value> inputs;
  for (ValueId v : g.inputs()) inputs.push_back(made_up(g.fact(v)));
  std::vector<std::string> skipped;
  for (NodeId id : g.order()) {
    if (!with_moves && is_border_move(g, g.node(id))) skipped.push_back(g.node(id).name);
  }
  PackCache cache;
  const Plan plan(std::move(g), {.isa = isa, .threads = threads}, cache);
  const auto state = plan.make_state();
  plan.bind_inputs(*state, inputs);
  plan.make_outputs(*state);
  double least = 1e30;
  const auto end = Clock::now() + std::chrono::duration<double>(kSeconds);
  for (int run = 0; run < kMostRuns && (run < kLeastRuns || Clock::now() < end); ++run) {
    Profile profile;
    plan.execute(*state, {}, &profile);
    double sum = 0;
    for (const StepRecord& r : profile) {
      if (r.op != "Transpose" || std::find(skipped.begin(), skipped.end(), r.node) == skipped.end())
        sum += 1e-6 * r.duration_us;
    }
    least = std::min(least, sum);
  }
  return least;
}

// ---- what is known ----

struct Known {
  std::mutex mutex;
  std::map<std::string, double> seconds;
};
Known& known() {
  static Known instance;
  return instance;
}

}  // namespace

// One measurement at a time: two would disturb each other.
template <class F>
double MeasuredLayoutCosts::once(const std::string& what, F&& measure) {
  const std::string key = what + "@" + std::to_string(isa_) + "x" + std::to_string(threads_);
  Known& k = known();
  const std::lock_guard lock(k.mutex);
  const auto it = k.seconds.find(key);
  const auto from_table = table_ && it == k.seconds.end() ? table_->find(key) : std::nullopt;
  const double seconds = it != k.seconds.end() ? it->second : from_table ? *from_table : measure();
  k.seconds[key] = seconds;
  if (table_) table_->put(key, seconds);
  return seconds;
}

double MeasuredLayoutCosts::node(const Graph& g, const LayoutChoice& choice, const LayoutForm& form) {
  if (g.node(choice.node).is("Transpose")) return transpose_cost(g, choice, form, *this);
  if (is_convolution(g.node(choice.node)) && form.kind == LayoutForm::Kind::plain)
    return node(g, choice, choice.forms[1]) + moves_around(g, form, *this);
  const double all =
      once(operator_signature(g, choice.node) + "|alone, " + std::string(passes::name(form.kind)),
           [&] { return seconds(alone(g, choice, form.kind), isa_, threads_, false); });
  const Copying c = copying_of(g, choice.node, form);
  // Noise is not to decide between forms that run the same loops: of equals the channels-last one.
  const double tie = form.kind == LayoutForm::Kind::plain ? kNoise * all : 0;
  return c.share * (all + tie) + c.in_rows;
}

double MeasuredLayoutCosts::move(const Fact& fact, passes::Layout from) {
  std::string key = from == passes::Layout::first ? "move to last " : "move to first ";
  append_fact(key, fact);
  return once(key, [&] {
    const int rank = fact.rank();
    const Dims perm =
        from == passes::Layout::first ? passes::to_channels_last(rank) : passes::to_channels_first(rank);
    Fact before = fact;
    if (from == passes::Layout::last) {
      for (int i = 0; i < rank; ++i) {
        before.dims[static_cast<size_t>(i)] =
            fact.dims[static_cast<size_t>(passes::to_channels_last(rank)[static_cast<size_t>(i)])];
      }
    }
    Graph g;
    const ValueId x = g.add_input("x", before), y = g.add_value("y");
    infer_node(g, g.add_node(op("Transpose"), "move", {x}, {y}, {{"perm", perm}}));
    g.add_output(y, "y");
    return seconds(std::move(g), isa_, threads_, true);
  });
}

}  // namespace skyline
