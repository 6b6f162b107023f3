// A node that returns its first input, bit for bit => that input.
#include <cmath>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

bool keeps_shape(const Graph& g, const Node& n) {
  return same_type(g, n.in(0), n.out(0));
}

bool all_ones(const std::optional<Dims>& v) {
  if (!v) return false;
  for (int64_t x : *v) {
    if (x != 1) return false;
  }
  return true;
}

bool all_zero(const std::optional<Dims>& v) {
  if (!v) return false;
  for (int64_t x : *v) {
    if (x != 0) return false;
  }
  return true;
}

bool no_bound(const Graph& g, ValueId v, double none) {
  return v == kNoValue || is_uniform(g, v, none);
}

bool is_identity_perm(const Dims& perm) {
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return !perm.empty();
}

// x op c where c does not change a bit of x: x * 1, x / 1, x - 0, x + -0, x ^ 1. (x + 0 turns -0 into 0.)
ValueId neutral_operand(const Graph& g, const Node& n) {
  const auto m = with_constant(g, n);
  if (!m || !same_type(g, m->x, n.out(0))) return kNoValue;
  const auto c = uniform(g, m->constant);
  if (!c) return kNoValue;
  const bool integer = !is_float(g, m->x);
  const bool commutes = n.is("Mul") || n.is("Add");
  if (m->constant_first && !commutes) return kNoValue;
  bool neutral = false;
  if (n.is("Mul") || n.is("Div") || n.is("Pow")) neutral = *c == 1;
  if (n.is("Sub")) neutral = *c == 0 && (integer || !std::signbit(*c));
  if (n.is("Add")) neutral = *c == 0 && (integer || std::signbit(*c));
  return neutral ? m->x : kNoValue;
}

bool is_unit_pool(const Graph& g, const Node& n) {
  const Dims kernel = n.attrs.integers("kernel_shape", {0});
  return all_ones(kernel) && all_ones(n.attrs.integers("strides", kernel)) &&
         all_zero(n.attrs.integers("pads", {})) && keeps_shape(g, n) && (n.out(1) == kNoValue);
}

bool returns_input(const Graph& g, const Node& n) {
  if (n.is("Identity")) return true;
  if (n.is("Dropout")) {
    const bool mask = n.out(1) != kNoValue && g.use_count(n.out(1)) > 0;
    const Tensor* training = g.constant(n.in(2));
    return !mask &&
           (n.in(2) == kNoValue || (training && training->dtype() == DType::boolean &&
                                    training->size() == 1 && !*static_cast<const bool*>(training->raw())));
  }
  if (n.is("Cast") || n.is("CastLike")) {
    const DType t = g.fact(n.in(0)).dtype;
    return t != DType::undefined && t == g.fact(n.out(0)).dtype;
  }
  if (n.is("Transpose")) return is_identity_perm(n.attrs.integers("perm", {}));
  if (n.is("Clip"))
    return is_float(g, n.in(0)) && no_bound(g, n.in(1), -INFINITY) && no_bound(g, n.in(2), INFINITY);
  if (n.is("Pad")) return all_zero(integers(g, n.in(1)));
  if (n.is("Tile")) return all_ones(integers(g, n.in(1)));
  if (n.is("Concat") || n.is("Sum") || n.is("Max") || n.is("Min") || n.is("Mean"))
    return n.inputs.size() == 1;
  if (n.is("Split")) return n.outputs.size() == 1;
  if (n.is("Reshape") || n.is("Expand") || n.is("Squeeze") || n.is("Flatten")) return keeps_shape(g, n);
  if (n.is("Slice")) return (n.in(4) == kNoValue || all_ones(integers(g, n.in(4)))) && keeps_shape(g, n);
  if (n.is("MaxPool") || n.is("AveragePool")) return is_unit_pool(g, n);
  return false;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.in(0) == kNoValue || n.out(0) == kNoValue) return std::nullopt;
  ValueId now = kNoValue;
  if (returns_input(g, n)) {
    now = n.in(0);
  } else if (n.is("Mul") || n.is("Div") || n.is("Add") || n.is("Sub") || n.is("Pow")) {
    now = neutral_operand(g, n);
  }
  if (now == kNoValue || !merge_facts(g.fact(now), g.fact(n.out(0)))) return std::nullopt;
  Patch patch(g);
  patch.replace(n.out(0), now);
  return patch;
}

}  // namespace

constinit const Pass kRemoveIdentity{"remove-identity", Stage::portable, run};

}  // namespace skyline::passes
