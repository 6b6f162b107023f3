#include "engine/optimize/storage.h"

#include <algorithm>

#include "engine/lower/conv_shape.h"
#include "graph/ir/precision.h"

namespace skyline {
namespace {

using namespace kernels;

// What the rung rounds to, where epilogues add residuals of that type: f16 ones take f32 only.
DType type_of(Precision p) {
  return p == Precision::bf16 ? DType::bf16 : DType::undefined;
}

bool is_f32(const Graph& g, ValueId v) {
  return g.fact(v).is_static() && g.fact(v).dtype == DType::f32;
}

bool conv_can(const Graph& g, const Node& n, DType type, IsaSet isa) {
  if (!n.is("FusedConv") || n.attrs.text("layout", "NCHW") != "NHWC" || n.attrs.has("input_layout"))
    return false;
  PackCache cache;
  const auto shape = lower::conv_shape(Lowering(g, n, isa, 1, cache), 1);
  if (!shape) return false;
  ConvProblem p = shape->problem;
  const auto dense = [&] { return conv_plan(p, isa).gemm.dense != nullptr; };
  if (!dense()) return false;  // on this one f32 is faster
  p.a = p.c = type;
  try {
    return dense();
  } catch (const Error&) {
    return false;
  }
}

bool product_can(const Graph& g, const Node& n, DType type, IsaSet isa) {
  if (!n.is("MatMul") && !n.is("FusedMatMul") && !n.is("FusedGemm")) return false;
  const Dims a = g.fact(n.in(0)).static_dims(), b = g.fact(n.in(1)).static_dims();
  if (a.size() < 2 || b.size() != 2 || n.attrs.integer("transA", 0) != 0) return false;
  const GemmProblem p{.m = element_count(a) / std::max<int64_t>(a.back(), 1),
                      .n = g.fact(n.out(0)).static_dims().back(),
                      .k = a.back(),
                      .const_b = true,
                      .a = type,
                      .c = type,
                      .precision = precision_of(n)};
  return choose_dense(p, isa) != nullptr;
}

// The type in which the node can read its activations and write its result; undefined: f32 only.
DType narrow_type(const Graph& g, const Node& n, IsaSet isa) {
  if (!has_precision(n) || n.op->domain == "com.microsoft") return DType::undefined;
  const DType type = type_of(precision_of(n));
  if (type == DType::undefined || !g.constant(n.in(1))) return DType::undefined;
  for (ValueId v : n.inputs) {
    if (v != kNoValue && !is_f32(g, v)) return DType::undefined;
  }
  if (!is_f32(g, n.out(0))) return DType::undefined;
  return conv_can(g, n, type, isa) || product_can(g, n, type, isa) ? type : DType::undefined;
}

bool is_activation(size_t slot) {
  return slot == 0 || slot == 3;
}

}  // namespace

void assign_storage(Graph& g, IsaSet isa) {
  const std::vector<NodeId> order = g.order();
  std::vector<DType> types(g.node_slots(), DType::undefined);
  for (NodeId id : order) types[static_cast<size_t>(id)] = narrow_type(g, g.node(id), isa);
  for (NodeId id : order) {
    const DType type = types[static_cast<size_t>(id)];
    const ValueId v = g.node(id).out(0);
    if (type == DType::undefined || g.is_output(v) || g.value(v).uses.empty()) continue;
    const auto& uses = g.value(v).uses;
    if (!std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
          return is_activation(u.slot) && types[static_cast<size_t>(u.node)] == type;
        })) {
      continue;
    }
    const auto fused = [&](NodeId n) {
      if (g.node(n).is("MatMul")) g.node(n).op = &op("FusedMatMul", "skyline");
    };
    fused(id);
    for (const Use& u : uses) fused(u.node);
    store_as(g.node(id), type);
    g.value(v).fact.dtype = type;
  }
}

}  // namespace skyline
