#include "engine/optimize/widen.h"

#include <algorithm>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "graph/ir/precision.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemv.h"
#include "skyline/half.h"
#include "skyline/status.h"

namespace skyline {
namespace {

bool is_half(DType t) {
  return t == DType::f16 || t == DType::bf16;
}

Tensor widened(const Tensor& t) {
  Tensor out(DType::f32, t.dims());
  auto* from = static_cast<const uint16_t*>(t.raw());
  float* to = out.mutable_data<float>();
  for (int64_t i = 0; i < t.size(); ++i)
    to[i] = t.dtype() == DType::f16 ? f16_bits_to_f32(from[i]) : bf16_bits_to_f32(from[i]);
  return out;
}

bool can_widen(const Graph& g) {
  bool any = false;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.is("BitCast")) return false;
    for (const auto& [key, value] : n.attrs) {
      if (std::holds_alternative<GraphPtr>(value)) return false;
    }
    for (ValueId v : n.outputs) {
      if (v == kNoValue) continue;
      if (g.fact(v).kind != Fact::Kind::tensor) return false;
      any = any || is_half(g.fact(v).dtype);
    }
  }
  for (ValueId v : g.inputs()) {
    if (g.fact(v).kind != Fact::Kind::tensor) return false;
  }
  return any;
}

// The attributes in which operators name the type of what they make.
void widen_attributes(Node& n) {
  for (const char* key : {"to", "dtype", "output_dtype", "output_datatype"}) {
    const AttrValue* value = n.attrs.find(key);
    const auto* type = value ? std::get_if<int64_t>(value) : nullptr;
    if (type && is_half(static_cast<DType>(*type))) n.attrs.set(key, static_cast<int64_t>(DType::f32));
  }
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [key, value] : n.attrs) {
    const auto* t = std::get_if<Tensor>(&value);
    if (t && t->defined() && is_half(t->dtype())) tensors.emplace_back(key, widened(*t));
  }
  for (auto& [key, t] : tensors) n.attrs.set(key, std::move(t));
}

bool has_kernels(Precision p, DType t, IsaSet isa) {
  return kernels::gemv_has(isa, t) ||
         kernels::choose_dense({.m = 16, .n = 16, .k = 16, .const_b = true, .precision = p}, isa) != nullptr;
}

void add_rung(const Graph& g, Node& n, IsaSet isa) {
  const DType t = n.in(1) == kNoValue ? DType::undefined : g.fact(n.in(1)).dtype;
  // Products of two activations are small, and f32 is nearer to what the file says.
  if (!has_precision(n) || !is_half(t) || !g.constant(n.in(1)) || n.attrs.has("precision")) return;
  const Precision p = t == DType::f16 ? Precision::f16 : Precision::bf16;
  if (has_kernels(p, t, isa)) n.attrs.set("precision", std::string(name(p)));
}

ValueId add_cast(Graph& g, ValueId v, DType to) {
  const ValueId out = g.add_value(g.fresh_name(g.value(v).name + "_" + std::string(name(to))));
  g.add_node("Cast", g.fresh_name("cast"), {v}, {out}, {{"to", static_cast<int64_t>(to)}});
  return out;
}

void cast_input(Graph& g, ValueId v) {
  const std::vector<Use> uses = g.value(v).uses;
  const ValueId wide = add_cast(g, v, DType::f32);
  for (const Use& u : uses) g.set_input(u.node, u.slot, wide);
}
void cast_output(Graph& g, ValueId v, DType was) {
  const std::vector<Use> uses = g.value(v).uses;
  const ValueId narrow = g.add_value(g.fresh_name(g.value(v).name + "_" + std::string(name(was))));
  g.replace_uses(v, narrow);  // also as an output
  for (const Use& u : uses) g.set_input(u.node, u.slot, v);
  g.add_node("Cast", g.fresh_name("cast"), {v}, {narrow}, {{"to", static_cast<int64_t>(was)}});
}

void widen(Graph& g, IsaSet isa) {
  const std::vector<NodeId> nodes = g.order();
  for (NodeId id : nodes) add_rung(g, g.node(id), isa);
  std::vector<std::pair<ValueId, DType>> outputs;
  for (NodeId id : nodes) {
    widen_attributes(g.node(id));
    for (ValueId v : g.node(id).outputs) {
      if (v != kNoValue && is_half(g.fact(v).dtype) && g.is_output(v))
        outputs.emplace_back(v, g.fact(v).dtype);
    }
  }
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    ValueInfo& v = g.value(ValueId{i});
    if (!v.constant.defined() || !is_half(v.constant.dtype()) || g.is_output(ValueId{i})) continue;
    v.constant = widened(v.constant);
    v.fact = Fact::of(v.constant);
  }
  for (NodeId id : nodes) {
    for (ValueId v : g.node(id).outputs) {
      if (v != kNoValue) g.value(v).fact = Fact();
    }
  }
  for (ValueId v : g.inputs()) {
    if (is_half(g.fact(v).dtype) && !g.value(v).uses.empty()) cast_input(g, v);
  }
  for (const auto& [v, was] : outputs) cast_output(g, v, was);
  infer_graph(g);
}

}  // namespace

void widen_halves(Graph& g, IsaSet isa) {
  if (!can_widen(g)) return;
  Graph wide = g;
  try {
    widen(wide, isa);
  } catch (const Error&) {
    return;  // an operator that wants the type it was given
  }
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    if (wide.fact(wide.outputs()[i]).dtype != g.fact(g.outputs()[i]).dtype) return;
  }
  g = std::move(wide);
}

}  // namespace skyline
