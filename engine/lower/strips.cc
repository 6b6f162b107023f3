// Strips: a chain of convolutions, a few rows at a time.
#include "kernels/conv/strips.h"

#include <algorithm>

#include "engine/lower/conv_shape.h"
#include "engine/lower/families.h"
#include "engine/lower/fused.h"
#include "graph/ops/strips.h"
#include "kernels/base/cpu.h"

namespace skyline::lower {
namespace {

using namespace kernels;

constexpr size_t kMostStages = 16;

// A stage's operands; those that are not constant are inputs of the step, by number.
struct Operands {
  std::shared_ptr<const std::byte> w;
  Tensor bias;
  int residual = -1;
  Activation act;
};

std::optional<Lowered> lower_strips(Lowering& l) {
  const ops::Chain chain = ops::open_chain(l.graph, l.node);
  if (chain.convs.size() > kMostStages) return std::nullopt;
  std::vector<StripStage> stages;
  std::vector<Operands> operands;
  for (NodeId id : chain.convs) {
    const Lowering conv = l.at(chain.graph, chain.graph.node(id));
    const auto shape = conv_shape(conv, 1);
    if (!shape || !shape->last || !conv.constant(1)) return std::nullopt;
    stages.push_back({shape->problem, conv.has(3)});
    Operands o;
    if (conv.has(2)) o.bias = *conv.constant(2);
    if (conv.has(3)) {
      const auto& in = chain.graph.inputs();
      o.residual = static_cast<int>(std::find(in.begin(), in.end(), conv.node.in(3)) - in.begin());
    }
    o.act = fused_activation(conv.attrs());
    operands.push_back(std::move(o));
  }
  // Half of L2: the other half is for weights, and for what the stages read and write outside.
  auto found = strip_plan(stages, l.isa, l.threads, std::max<int64_t>(cpu_info().l2, 256 << 10) / 2);
  if (!found) return std::nullopt;
  const auto plan = std::make_shared<const StripPlan>(std::move(*found));
  for (size_t i = 0; i < stages.size(); ++i) {
    const ConvPlan& p = plan->plans[static_cast<size_t>(plan->first_plan[i])];
    const Lowering conv = l.at(chain.graph, chain.graph.node(chain.convs[i]));
    operands[i].w = conv.pack(1, conv_form(p), p.packed_bytes,
                              [&](std::byte* to) { conv_pack(p, {.w = conv.constant(1)->raw()}, to); });
  }
  std::string name = "strips of " + std::to_string(plan->rows) + " rows";
  return Lowered{.code = step_code([plan, operands](const StepArgs& s) {
                   StripOperands stage[kMostStages];
                   for (size_t i = 0; i < operands.size(); ++i) {
                     const Operands& o = operands[i];
                     stage[i] = {o.w.get(), o.bias.defined() ? o.bias.data<float>() : nullptr,
                                 o.residual >= 0 ? s.input<float>(static_cast<size_t>(o.residual)) : nullptr,
                                 o.act};
                   }
                   strip_run(*plan, {s.input<float>(0), s.output<float>(0), {stage, operands.size()}},
                             s.workspace, s.threads);
                 }),
                 .kernel = std::move(name),
                 .workspace = strip_workspace_bytes(*plan, l.threads)};
}

constexpr LowerRow kRows[] = {{"Strips", "skyline", lower_strips}};

}  // namespace

std::span<const LowerRow> strips_rows() {
  return kRows;
}

}  // namespace skyline::lower
