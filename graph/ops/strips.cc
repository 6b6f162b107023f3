#include "graph/ops/strips.h"

#include "graph/ir/interpret.h"
#include "graph/ops/control.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

const Graph& body_of(const Node& n) {
  const Graph& body = n.attrs.graph("body");
  require_body(body, n.inputs.size(), 1);
  return body;
}

void infer_strips(InferContext& c) {
  std::vector<Fact> in;
  for (size_t i = 0; i < c.inputs(); ++i) in.push_back(c.in(i));
  c.out(0, infer_body(body_of(c.node), in, {}).at(0));
}

void eval_strips(EvalContext& c) {
  std::vector<Value> in;
  for (size_t i = 0; i < c.inputs(); ++i) in.push_back(c.value(i));
  c.out(0, run_body(body_of(c.node), in, c.limits).at(0));
}

Work work_strips(const Node& n, std::span<const Fact>, std::span<const Fact>) {
  const Graph& body = n.attrs.graph("body");
  Work sum;
  for (NodeId id : body.order()) {
    const Node& conv = body.node(id);
    std::vector<Fact> in, out;
    for (ValueId v : conv.inputs) in.push_back(v == kNoValue ? Fact() : body.fact(v));
    for (ValueId v : conv.outputs) out.push_back(body.fact(v));
    sum.flops += work_of(conv, in, out).flops;
  }
  return sum;
}

constexpr OpDef kOps[] = {
    {.name = "Strips",
     .domain = "skyline",
     .min_inputs = 3,
     .max_inputs = kMany,
     .infer = infer_strips,
     .eval = eval_strips,
     .work = work_strips},
};

}  // namespace

Chain open_chain(const Graph& outer, const Node& strips) {
  Chain chain{body_of(strips), {}};
  for (size_t i = 0; i < strips.inputs.size(); ++i) {
    const Tensor* constant = outer.constant(strips.inputs[i]);
    if (constant) chain.graph.value(chain.graph.inputs()[i]).constant = *constant;
  }
  chain.convs = chain.graph.order();
  return chain;
}

std::span<const OpDef> strips_ops() {
  return kOps;
}

}  // namespace skyline::ops
