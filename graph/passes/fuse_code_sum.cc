// QLinearConv, QLinearMatMul or QGemm -> QLinearAdd with another tensor => one operator, whose kernel reads
// the other codes while its own are in registers. The integers are those of the two.
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

struct Summed {
  std::string_view product, domain, sum;
  size_t inputs;
};
constexpr Summed kSummed[] = {{"QLinearConv", "", "QLinearConvAdd", 9},
                              {"QLinearConv", "skyline", "QLinearConvAdd", 9},
                              {"QLinearMatMul", "", "QLinearMatMulAdd", 8},
                              {"QGemm", "com.microsoft", "QGemmAdd", 9}};

const Summed* find(const Node& product) {
  for (const Summed& s : kSummed) {
    if (product.op->name == s.product && product.op->domain == s.domain) return &s;
  }
  return nullptr;
}

bool is_scale(const Graph& g, ValueId v) {
  const auto s = uniform(g, v);
  return s && g.constant(v)->size() == 1 && g.constant(v)->dtype() == DType::f32 && *s > 0 &&
         std::isfinite(*s);
}
bool is_zero_point(const Graph& g, ValueId v, DType of) {
  return v == kNoValue || (g.constant(v) && g.constant(v)->size() == 1 && g.fact(v).dtype == of);
}

// The product that makes operand `slot` of the sum, whose kernels could add the other one.
const Node* product_at(const Graph& g, const Node& add, size_t slot) {
  const ValueId v = add.in(slot), other = add.in(3 - slot);
  if (!used_once(g, v) || g.producer(v) == kNoNode) return nullptr;
  const Node& n = g.node(g.producer(v));
  if (!find(n) || n.attrs.integer("group", 1) != 1) return nullptr;
  const DType t = g.fact(v).dtype;
  if (!same_type(g, v, other) || !same_type(g, v, add.out(0)) || (t != DType::u8 && t != DType::i8))
    return nullptr;
  // The result's parameters are the operand's.
  const size_t scale = find(n)->product == "QGemm" ? 7 : 6;
  if (!same_value(g, n.in(scale), add.in(slot + 1))) return nullptr;
  if (n.in(scale + 1) != add.in(slot + 2) && (n.in(scale + 1) == kNoValue || add.in(slot + 2) == kNoValue ||
                                              !same_value(g, n.in(scale + 1), add.in(slot + 2))))
    return nullptr;
  return &n;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.op->name != "QLinearAdd" || n.op->domain != "com.microsoft") return std::nullopt;
  const DType t = g.fact(n.out(0)).dtype;
  for (const size_t i : {1, 4, 6}) {
    if (!is_scale(g, n.in(i)) || !is_zero_point(g, n.in(i + 1), t)) return std::nullopt;
  }
  for (const size_t slot : {0, 3}) {
    const Node* product = product_at(g, n, slot);
    if (!product) continue;
    const Summed& s = *find(*product);
    const size_t r = 3 - slot;
    std::vector<ValueId> in = product->inputs;
    in.resize(s.inputs, kNoValue);
    in.insert(in.end(), {n.in(r), n.in(r + 1), n.in(r + 2), n.in(6), n.in(7)});
    Attrs attrs = product->attrs;
    attrs.set("codes_first", int64_t{slot != 0});
    Patch patch(g);
    patch.replace(n.out(0), patch.add(op(s.sum, "skyline"), in, attrs, product->name));
    return patch;
  }
  return std::nullopt;
}

}  // namespace

constinit const Pass kFuseCodeSum{"fuse-code-sum", Stage::target, run};

}  // namespace skyline::passes
