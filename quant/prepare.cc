#include "quant/prepare.h"

#include <array>
#include <cmath>
#include <map>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::quant {
namespace {

using namespace passes;

// The portable passes without those whose results are fused operators of ours.
const std::array kFolding = {kInlineIf,         kFoldConstants,       kRemoveIdentity,  kMergeCommon,
                             kSplitSum,         kRecogniseActivation, kRecogniseGelu,   kRecogniseNorm,
                             kRecogniseSoftmax, kMergeReshapes,       kFoldNormScale,   kFoldPad,
                             kFoldBatchNorm,    kFoldScaleAfter,      kFoldScaleBefore, kDecomposeBatchNorm};

// Folding gives a MatMul its bias, which only our own form has: FusedMatMul(a, b, bias) -> Gemm, or MatMul
// and Add where the product is not one of matrices.
std::optional<Patch> spell_out_bias(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("FusedMatMul") || n.in(3) != kNoValue || n.attrs.has("activation") ||
      n.attrs.real("alpha", 1) != 1 || n.attrs.integer("transA", 0) || n.attrs.integer("transB", 0)) {
    return std::nullopt;
  }
  Patch patch(g);
  if (n.in(2) != kNoValue && rank_of(g, n.in(0)) == 2 && rank_of(g, n.in(1)) == 2) {
    patch.replace(n.out(0), patch.add(op("Gemm"), {n.in(0), n.in(1), n.in(2)}, {}, n.name));
    return patch;
  }
  ValueId y = patch.add(op("MatMul"), {n.in(0), n.in(1)}, {}, n.name);
  if (n.in(2) != kNoValue) y = patch.add(op("Add"), {y, n.in(2)}, {}, n.name + ".add");
  patch.replace(n.out(0), y);
  return patch;
}

// Swish is younger than what most runtimes read.
std::optional<Patch> spell_out_swish(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Swish")) return std::nullopt;
  Patch patch(g);
  ValueId x = n.in(0);
  if (const float alpha = n.attrs.real("alpha", 1); alpha != 1) {
    const ValueId a = patch.constant(tensor_of(g.fact(x).dtype, {}, {alpha}), n.name + ".alpha");
    x = patch.add(op("Mul"), {x, a}, {}, n.name + ".scaled");
  }
  const ValueId gate = patch.add(op("Sigmoid"), {x}, {}, n.name + ".sigmoid");
  patch.replace(n.out(0), patch.add(op("Mul"), {n.in(0), gate}, {}, n.name));
  return patch;
}

const std::array kSpelling = {Pass{"spell-out-bias", Stage::portable, spell_out_bias},
                              Pass{"spell-out-swish", Stage::portable, spell_out_swish}};

void check_finite(const Graph& g) {
  for (NodeId id : g.order()) {
    for (ValueId v : g.node(id).inputs) {
      const Tensor* t = g.constant(v);
      // Infinities are common as bounds and masks, which are not weights.
      if (!t || t->dtype() != DType::f32 || t->size() < 2) continue;
      const Node& n = g.node(id);
      const bool weights = n.is("Conv") || n.is("ConvTranspose") || n.is("MatMul") || n.is("Gemm");
      for (float x : t->span<float>()) {
        if (std::isfinite(x) || (!weights && !std::isnan(x))) continue;
        throw Error(Code::invalid, std::string("its constant '") + g.value(v).name + "' holds " +
                                       (std::isnan(x) ? "NaN" : "an infinity"))
            .in(describe(n));
      }
    }
  }
}

// Overrides and reports are by name: nodes without one get that of their result.
void name_nodes(Graph& g) {
  std::map<std::string, int> seen;
  for (NodeId id : g.order()) {
    Node& n = g.node(id);
    if (n.name.empty() && n.out(0) != kNoValue) n.name = g.value(n.out(0)).name;
    const int copies = seen[n.name]++;
    if (copies > 0) n.name += "#" + std::to_string(copies + 1);
  }
}

}  // namespace

Graph prepare(const Graph& model) {
  Graph g = model;
  infer_graph(g);
  check_finite(g);
  run_passes(g, kFolding);
  run_passes(g, kSpelling);
  infer_graph(g);
  check_finite(g);
  name_nodes(g);
  return g;
}

}  // namespace skyline::quant
