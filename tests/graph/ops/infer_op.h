#pragma once
// Shape inference of one operator, from facts and constants.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"

namespace skyline::test {

// An input of which only the fact is known, or a constant.
struct Known {
  Known(Fact f) : fact(std::move(f)) {}                           // NOLINT: implicit on purpose
  Known(Tensor t) : fact(Fact::of(t)), constant(std::move(t)) {}  // NOLINT: implicit on purpose
  Fact fact;
  Tensor constant;
};

// The inferred fact of the first output, as text: "f32[n,3,?]". Symbols are by position: see symbol().
inline std::string infer_op(std::string_view name, const std::vector<Known>& inputs,
                            const Attrs& attrs = {}) {
  Graph g;
  g.symbol("n");  // symbol 0
  g.symbol("m");  // symbol 1
  std::vector<ValueId> in;
  for (const Known& k : inputs) {
    const std::string label = "x" + std::to_string(in.size());
    in.push_back(k.constant.defined() ? g.add_constant(label, k.constant) : g.add_input(label, k.fact));
  }
  const ValueId out = g.add_value("y");
  g.add_node(op(name), "tested", in, {out}, attrs);
  infer_graph(g);
  return to_string(g, g.fact(out));
}

inline Dim sym(int i) {
  return Dim::symbol(i);
}

}  // namespace skyline::test
