#include "engine/optimize/storage.h"

#include <algorithm>

#include "engine/lower/attention.h"
#include "engine/lower/conv_shape.h"
#include "graph/ir/precision.h"

namespace skyline {
namespace {

using namespace kernels;

bool is_f32(const Graph& g, ValueId v) {
  return g.fact(v).is_static() && g.fact(v).dtype == DType::f32;
}

// Which of its activations a node can take in bf16: those that it reads, by slot, and its result.
struct Narrow {
  unsigned reads = 0;
  bool writes = false;
  bool hands_on = false;  // its result has the dtype of what it reads
  bool takes(size_t slot) const { return slot < 8 && (reads >> slot & 1) != 0; }
};
constexpr unsigned kProductSlots = 1u << 0 | 1u << 3;  // A and the residual
constexpr unsigned kAttentionSlots = 1u << 0 | 1u << 1 | 1u << 2;

// Whether there is a kernel with these activations.
bool has_conv(ConvProblem p, DType x, DType y, IsaSet isa) {
  p.a = x;
  p.c = y;
  try {
    const ConvPlan plan = conv_plan(p, isa);
    return plan.gemm.dense || plan.depthwise;
  } catch (const Error&) {
    return false;
  }
}

Narrow conv_can(const Graph& g, const Node& n, IsaSet isa) {
  if (!n.is("FusedConv") || n.attrs.text("layout", "NCHW") != "NHWC") return {};
  PackCache cache;
  const auto shape = lower::conv_shape(Lowering(g, n, isa, 1, cache), 1);
  if (!shape) return {};
  ConvProblem p = shape->problem;
  constexpr DType f32 = DType::f32, bf16 = DType::bf16;
  if (p.planar) {  // is reordered before the product, see engine/lower/conv.cc
    p.planar = false;
    return {0, has_conv(p, f32, f32, isa) && has_conv(p, f32, bf16, isa)};
  }
  const bool both =
      has_conv(p, bf16, bf16, isa) && has_conv(p, bf16, f32, isa) && has_conv(p, f32, bf16, isa);
  return {both ? kProductSlots : 0, both};
}

bool product_can(const Graph& g, const Node& n, IsaSet isa) {
  if (!n.is("MatMul") && !n.is("FusedMatMul") && !n.is("FusedGemm")) return false;
  const Dims a = g.fact(n.in(0)).static_dims(), b = g.fact(n.in(1)).static_dims();
  if (a.size() < 2 || b.size() != 2 || n.attrs.integer("transA", 0) != 0) return false;
  const GemmProblem p{.m = element_count(a) / std::max<int64_t>(a.back(), 1),
                      .n = g.fact(n.out(0)).static_dims().back(),
                      .k = a.back(),
                      .const_b = true,
                      .a = DType::bf16,
                      .c = DType::bf16,
                      .precision = precision_of(n)};
  return choose_dense(p, isa) != nullptr;
}

Narrow attention_can(const Graph& g, const Node& n, IsaSet isa) {
  const ops::FusedAttention f = ops::parse_fused_attention(n.attrs);
  for (size_t slot : {0, 1, 2}) {
    if (!is_f32(g, n.in(slot))) return {};
  }
  const lower::BoundAttention::Options options{
      .q = DType::bf16, .k = DType::bf16, .v = DType::bf16, .y = DType::bf16};
  const bool can = is_f32(g, n.out(0)) && lower::BoundAttention(f, options, isa, 1).takes_types();
  return {can ? kAttentionSlots : 0, can};
}

Narrow narrow(const Graph& g, const Node& n, IsaSet isa) {
  if (n.is("FusedAttention")) return attention_can(g, n, isa);
  if (!has_precision(n) || n.op->domain == "com.microsoft" || precision_of(n) != Precision::bf16) return {};
  if (!g.constant(n.in(1)) || !is_f32(g, n.out(0))) return {};
  for (ValueId v : n.inputs) {
    if (v != kNoValue && !is_f32(g, v)) return {};
  }
  if (product_can(g, n, isa)) return {kProductSlots, true};
  return conv_can(g, n, isa);
}

// Whether all that read v are nodes that can read it in bf16.
bool all_take(const Graph& g, ValueId v, const std::vector<Narrow>& can) {
  const auto& uses = g.value(v).uses;
  return !g.is_output(v) && !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
    return can[static_cast<size_t>(u.node)].takes(u.slot);
  });
}

// The largest of some numbers is one of them.
bool is_pool(const Graph& g, const Node& n) {
  return n.is("MaxPool") && n.attrs.text("layout", "NCHW") == "NHWC" && n.out(1) == kNoValue &&
         is_f32(g, n.in(0)) && g.fact(n.in(0)).rank() <= 5;
}

}  // namespace

void assign_storage(Graph& g, IsaSet isa) {
  const std::vector<NodeId> order = g.order();
  std::vector<Narrow> can(g.node_slots());
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const Node& n = g.node(*it);
    Narrow& how = can[static_cast<size_t>(*it)];
    how = narrow(g, n, isa);
    if (is_pool(g, n) && all_take(g, n.out(0), can)) how = {.reads = 1, .writes = true, .hands_on = true};
  }
  for (NodeId id : order) {
    const ValueId v = g.node(id).out(0);
    const Narrow& how = can[static_cast<size_t>(id)];
    if (!how.writes || !all_take(g, v, can)) continue;
    if (how.hands_on && g.fact(g.node(id).in(0)).dtype != DType::bf16) continue;
    const auto fused = [&](NodeId n) {
      if (g.node(n).is("MatMul")) g.node(n).op = &op("FusedMatMul", "skyline");
    };
    fused(id);
    for (const Use& u : g.value(v).uses) fused(u.node);
    if (!how.hands_on) store_as(g.node(id), DType::bf16);
    g.value(v).fact.dtype = DType::bf16;
  }
}

}  // namespace skyline
