// Two nodes that compute the same of the same inputs => one.
#include <algorithm>
#include <cstring>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

// A value read by very many is searched only so far, to keep the pass linear.
constexpr size_t kMaxCandidates = 64;
constexpr int64_t kSmallConstant = 4096;

bool same_tensor(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims() || a.dtype() == DType::string) return false;
  return a.raw() == b.raw() || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

bool same_attr(const AttrValue& a, const AttrValue& b) {
  if (a.index() != b.index()) return false;
  if (const auto* t = std::get_if<Tensor>(&a)) return same_tensor(*t, std::get<Tensor>(b));
  if (std::holds_alternative<std::vector<Tensor>>(a)) return false;
  if (const auto* f = std::get_if<float>(&a)) return std::memcmp(f, &std::get<float>(b), sizeof *f) == 0;
  if (const auto* i = std::get_if<int64_t>(&a)) return *i == std::get<int64_t>(b);
  if (const auto* s = std::get_if<std::string>(&a)) return *s == std::get<std::string>(b);
  if (const auto* p = std::get_if<GraphPtr>(&a)) return *p == std::get<GraphPtr>(b);
  if (const auto* l = std::get_if<Dims>(&a)) return *l == std::get<Dims>(b);
  if (const auto* l = std::get_if<std::vector<float>>(&a)) return *l == std::get<std::vector<float>>(b);
  if (const auto* l = std::get_if<std::vector<std::string>>(&a))
    return *l == std::get<std::vector<std::string>>(b);
  return false;
}

bool same_attrs(const Attrs& a, const Attrs& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& item) {
           const AttrValue* other = b.find(item.first);
           return other && same_attr(item.second, *other);
         });
}

bool same_input(const Graph& g, ValueId a, ValueId b) {
  if (a == b) return true;
  if (a == kNoValue || b == kNoValue) return false;
  const Tensor* t = g.constant(a);
  return t && t->bytes() <= kSmallConstant && same_value(g, a, b);
}

bool same_node(const Graph& g, const Node& a, const Node& b) {
  if (a.op != b.op || a.inputs.size() != b.inputs.size() || a.outputs.size() != b.outputs.size())
    return false;
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    if (!same_input(g, a.inputs[i], b.inputs[i])) {
      const bool swapped = (a.op->flags & kOpCommutative) && a.inputs.size() == 2 &&
                           same_input(g, a.inputs[0], b.inputs[1]) && same_input(g, a.inputs[1], b.inputs[0]);
      if (!swapped) return false;
      break;
    }
  }
  return same_attrs(a.attrs, b.attrs);
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.op->flags & (kOpNondeterministic | kOpControl)) return std::nullopt;
  // An equal node reads the same inputs, so it is among the readers of the rarest of them.
  ValueId rarest = kNoValue;
  for (ValueId v : n.inputs) {
    if (v == kNoValue || g.constant(v)) continue;
    if (rarest == kNoValue || g.value(v).uses.size() < g.value(rarest).uses.size()) rarest = v;
  }
  if (rarest == kNoValue) return std::nullopt;
  const auto& uses = g.value(rarest).uses;
  for (size_t i = 0; i < std::min(uses.size(), kMaxCandidates); ++i) {
    const NodeId other = uses[i].node;
    if (other >= id || !same_node(g, n, g.node(other))) continue;
    Patch patch(g);
    bool all = true;
    for (size_t k = 0; k < n.outputs.size() && all; ++k) {
      if (n.outputs[k] == kNoValue || g.use_count(n.outputs[k]) == 0) continue;
      const ValueId now = g.node(other).outputs[k];
      all = now != kNoValue && merge_facts(g.fact(now), g.fact(n.outputs[k]));
      patch.replace(n.outputs[k], now);
    }
    if (all) return patch;
  }
  return std::nullopt;
}

}  // namespace

constinit const Pass kMergeCommon{"merge-common", Stage::portable, run};

}  // namespace skyline::passes
