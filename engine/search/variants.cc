#include "engine/search/variants.h"

#include "graph/ir/infer.h"
#include "graph/ir/precision.h"
#include "kernels/gemm/gemm.h"
#include "quant/prepare.h"
#include "quant/select.h"
#include "skyline/quantize.h"

namespace skyline {
namespace {

// Open dimensions as 1, to know what products cost; the graph that runs keeps them open.
Graph with_static_shapes(Graph g) {
  for (ValueId v : g.inputs()) {
    for (Dim& d : g.value(v).fact.dims) {
      if (!d.known()) d = Dim(1);
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

}  // namespace

Variants::Variants(const Model& model, SessionOptions options)
    : model_(model.graph()), prepared_(quant::prepare(model_)), options_(std::move(options)) {
  flow_ = flow_of(with_static_shapes(prepared_));
  if (flow_.products.empty()) {
    throw Error(
        Code::unsupported,
        "the model has no Conv, ConvTranspose, Gemm or MatMul with constant weights: there is nothing to "
        "choose a precision for");
  }
  const quant::Selection all = quant::select_int8(prepared_, {});
  for (const Flow::Product& p : flow_.products) int8_.push_back(all.role(p.id) == quant::Role::product);
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
  // A plan is written down as ranges, which must be enough to make it again.
  o.correct_bias = o.smooth = false;
  o.progress = progress;
  SessionOptions f32 = options_;
  f32.precision = Precision::model;
  quantizer_.emplace(model_, examples, session_runner(f32), o);
}

PlanModel Variants::model(const std::vector<Precision>& rungs, int threads) const {
  SessionOptions o = options_;
  if (threads > 0) o.threads = threads;
  o.precision = Precision::model;
  o.node_precision.clear();
  quant::Choice choice;
  bool any_int8 = false;
  for (size_t i = 0; i < rungs.size(); ++i) {
    if (rungs[i] == Precision::f32) continue;
    choice[flow_.products[i].name] = rungs[i];
    any_int8 |= rungs[i] == Precision::int8;
  }
  if (any_int8) {
    if (!quantizer_) throw Error(Code::internal, "int8 before calibration");
    return {Model(quantizer_->build(choice).graph), o};
  }
  o.node_precision = choice;
  return {Model(prepared_), o};
}

Session Variants::session(const std::vector<Precision>& rungs, int threads) const {
  PlanModel m = model(rungs, threads);
  return Session(std::move(m.model), m.options);
}

}  // namespace skyline
