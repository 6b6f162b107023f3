#include "graph/ir/infer.h"

#include "graph/ir/op.h"

namespace skyline {

std::optional<Fact> merge_facts(const Fact& a, const Fact& b) {
  Fact out = a;
  if (a.dtype == DType::undefined) {
    out.dtype = b.dtype;
  } else if (b.dtype != DType::undefined && a.dtype != b.dtype) {
    return std::nullopt;
  }
  const bool a_empty = a.dtype == DType::undefined && !a.ranked,
             b_empty = b.dtype == DType::undefined && !b.ranked;
  if (a_empty) {
    out.kind = b.kind;
  } else if (!b_empty && a.kind != b.kind) {
    // An optional that is known to be filled is its content.
    if (a.kind != Fact::Kind::optional && b.kind != Fact::Kind::optional) return std::nullopt;
    out.kind = a.kind == Fact::Kind::optional ? b.kind : a.kind;
  }
  if (!a.ranked) {
    out.ranked = b.ranked;
    out.dims = b.dims;
  } else if (b.ranked) {
    if (a.dims.size() != b.dims.size()) return std::nullopt;
    for (size_t i = 0; i < a.dims.size(); ++i) {
      const Dim x = a.dims[i], y = b.dims[i];
      if (x.known() && y.known() && x.value() != y.value()) return std::nullopt;
      out.dims[i] = x.known() ? x : y.known() ? y : x.is_symbol() ? x : y;
    }
  }
  return out;
}

Fact join_facts(const Fact& a, const Fact& b) {
  Fact out;
  out.kind = a.kind == b.kind ? a.kind : Fact::Kind::optional;
  out.dtype = a.dtype == b.dtype ? a.dtype : DType::undefined;
  if (a.ranked && b.ranked && a.dims.size() == b.dims.size()) {
    out.ranked = true;
    for (size_t i = 0; i < a.dims.size(); ++i)
      out.dims.push_back(a.dims[i] == b.dims[i] ? a.dims[i] : Dim::unknown());
  }
  return out;
}

void infer_node(Graph& g, NodeId id) {
  const Node& n = g.node(id);
  std::vector<Fact> in(n.inputs.size());
  std::vector<const Tensor*> constants(n.inputs.size());
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.inputs[i] == kNoValue) continue;
    in[i] = g.fact(n.inputs[i]);
    constants[i] = g.constant(n.inputs[i]);
  }
  InferContext c(n, in, constants);
  try {
    n.op->infer(c);
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] == kNoValue) continue;
      ValueInfo& v = g.value(n.outputs[i]);
      auto merged = merge_facts(c.facts()[i], v.fact);
      if (!merged) {
        throw Error(Code::invalid, "output '" + v.name + "' is inferred as " + to_string(g, c.facts()[i]) +
                                       " but declared as " + to_string(g, v.fact));
      }
      v.fact = std::move(*merged);
    }
  } catch (Error& e) {
    throw e.in(describe(n));
  }
}

void infer_graph(Graph& g) {
  for (NodeId n : g.order()) infer_node(g, n);
}

}  // namespace skyline
