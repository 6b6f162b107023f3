#include "engine/search/variants.h"

#include <algorithm>
#include <set>

#include "engine/optimize/cost_table.h"
#include "engine/search/taken_branches.h"
#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "graph/ir/precision.h"
#include "kernels/gemm/gemm.h"
#include "quant/prepare.h"
#include "quant/select.h"
#include "skyline/quantize.h"

namespace skyline {
namespace {

// Open dimensions as those of the example, else as `size`; throws where the model cannot take them.
Graph with_sizes(Graph g, std::span<const Value> example, int64_t size) {
  for (size_t i = 0; i < g.inputs().size(); ++i) {
    Fact& fact = g.value(g.inputs()[i]).fact;
    if (i < example.size() && example[i].is_tensor()) fact = Fact::of(example[i].tensor());
    for (Dim& d : fact.dims) {
      if (!d.known()) d = Dim(size);
    }
  }
  for (NodeId id : g.order()) {
    for (ValueId v : g.node(id).outputs) {
      if (v != kNoValue) g.value(v).fact = Fact();
    }
  }
  infer_graph(g);
  return g;
}

// To know what products cost; the graph that runs keeps its dimensions open. Without an example sizes are
// tried, for windows may be wider than 1.
Graph with_static_shapes(const Graph& g, std::span<const Value> example) {
  for (const int64_t size : {1, 64, 640}) {
    try {
      return with_sizes(g, example, size);
    } catch (const Error&) {
      if (!example.empty()) throw;
    }
  }
  return with_sizes(g, example, 4096);
}

// Names of contractions, those of bodies apart.
struct Names {
  std::set<std::string, std::less<>> outer, inner;
};
void collect_names(const Graph& g, bool inside, Names& names) {
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (has_precision(n)) (inside ? names.inner : names.outer).insert(n.name);
    for (const auto& [key, value] : n.attrs) {
      const auto* body = std::get_if<GraphPtr>(&value);
      if (body && *body) collect_names(**body, true, names);
    }
  }
}

}  // namespace

Variants::Variants(const Model& model, SessionOptions options, std::span<const Value> example)
    : model_(model.graph()), prepared_(quant::prepare(model_)), options_(std::move(options)) {
  static_ = with_static_shapes(prepared_, example);
  Names names;
  collect_names(prepared_, false, names);
  if (!example.empty() && !names.inner.empty()) {
    static_ = with_taken_branches(std::move(static_), example, options_);
    branches_ = true;
  }
  flow_ = flow_of(static_, [&](const Node& n) {
    return !n.name.empty() && (names.outer.contains(n.name) || names.inner.contains(n.name));
  });
  if (example.empty()) {  // which branches are taken is not known, and for building a plan need not be
    for (const std::string& name : names.inner) {
      if (!name.empty() && !names.outer.contains(name))
        flow_.products.push_back({.id = kNoNode, .name = name, .op = {}});
    }
  }
  if (flow_.products.empty()) {
    throw Error(
        Code::unsupported,
        "the model has no Conv, ConvTranspose, Gemm or MatMul with constant weights: there is nothing to "
        "choose a precision for");
  }
  int64_t weights = 0;
  for (const Flow::Product& p : flow_.products) {
    if (p.id == kNoNode) continue;
    for (ValueId v : static_.node(p.id).inputs) {
      if (v != kNoValue && static_.constant(v)) weights += static_.constant(v)->bytes();
    }
  }
  weights_home_ = weights_home(weights);
  const quant::Selection all = quant::select_int8(prepared_, {});
  std::set<std::string> integers;
  for (NodeId id : prepared_.order()) {
    if (all.role(id) == quant::Role::product) integers.insert(prepared_.node(id).name);
  }
  for (const Flow::Product& p : flow_.products) {
    inside_.push_back(!names.outer.contains(p.name));
    int8_.push_back(integers.contains(p.name));
  }
}

bool Variants::can(size_t product, Precision rung) const {
  if (rung == Precision::f32) return true;
  if (rung == Precision::int8) return int8_[product];
  const IsaSet isa = isa_level(options_.isa);
  return kernels::choose_dense({.m = 16, .n = 16, .k = 16, .const_b = true, .precision = rung}, isa) !=
         nullptr;
}

void Variants::calibrate(const quant::Examples& examples,
                         const std::function<void(int64_t, int64_t)>& progress) {
  quant::Options o;
  // A plan is written down as ranges and means, which must be enough to make it again.
  o.smooth = false;
  o.progress = progress;
  SessionOptions f32 = options_;
  f32.precision = Precision::model;
  quantizer_.emplace(model_, examples, session_runner(f32), o);
}

std::string Variants::op_of(const std::string& node) const {
  std::string op;
  for (NodeId id : prepared_.order()) {
    const Node& n = prepared_.node(id);
    if (n.name != node) continue;
    if (!op.empty()) return "";
    op = n.op->name;
  }
  return op;
}

std::string Variants::cost_key(size_t product, Precision rung, const std::string& kernel) const {
  return skyline::cost_key(cost_signature(static_, flow_.products[product].id), rung, kernel, 1,
                           options_.threads, weights_home_);
}

std::string Variants::cost_key(const std::string& signature, Precision rung) const {
  return skyline::cost_key(signature, rung, "", 1, options_.threads, weights_home_);
}

PlanModel Variants::model(const std::vector<Precision>& rungs, int threads, const Wishes* wishes) const {
  SessionOptions o = options_;
  if (threads > 0) o.threads = threads;
  o.precision = Precision::model;
  o.node_precision.clear();
  const Wishes& wanted = wishes ? *wishes : wishes_;
  o.node_kernels = wanted.kernels;
  o.node_layouts = wanted.layouts;
  for (size_t i = 0; i < rungs.size(); ++i) {
    if (rungs[i] == Precision::f32) continue;
    o.node_kernels.erase(flow_.products[i].name);
    o.node_layouts.erase(flow_.products[i].name);
  }
  quant::Choice choice, inside;
  bool any_int8 = false;
  for (size_t i = 0; i < rungs.size(); ++i) {
    if (rungs[i] == Precision::f32) continue;
    (inside_[i] ? inside : choice)[flow_.products[i].name] = rungs[i];
    any_int8 |= rungs[i] == Precision::int8;
  }
  if (any_int8) {
    if (!quantizer_) throw Error(Code::internal, "int8 before calibration");
    o.node_precision = std::move(inside);
    Graph g = quantizer_->build(choice).graph;
    // Of what the quantizer replaced nothing can be wished.
    std::set<std::string, std::less<>> there;
    for (NodeId id : g.order()) there.insert(g.node(id).name);
    std::erase_if(o.node_layouts, [&](const auto& wish) { return !there.contains(wish.first); });
    return {Model(std::move(g)), o};
  }
  o.node_precision = std::move(choice);
  o.node_precision.merge(inside);
  return {Model(prepared_), o};
}

Session Variants::session(const std::vector<Precision>& rungs, int threads, const Wishes* wishes) const {
  PlanModel m = model(rungs, threads, wishes);
  return Session(std::move(m.model), m.options);
}

Session Variants::cost_session(const std::vector<Precision>& rungs, const Wishes* wishes) const {
  if (!branches_ || std::find(rungs.begin(), rungs.end(), Precision::int8) != rungs.end())
    return session(rungs, 0, wishes);
  PlanModel m = model(rungs, 0, wishes);
  return Session(Model(static_), m.options);
}

}  // namespace skyline
