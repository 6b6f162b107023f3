#pragma once
// Facts of a whole graph.
#include "skyline/graph.h"

namespace skyline {

// Recomputes the facts of one node's outputs from its inputs. An inferred dim or dtype refines what was known
// before; a contradiction throws Error{invalid} with the node's name in the context.
void infer_node(Graph& g, NodeId n);
// The same for all nodes in order.
void infer_graph(Graph& g);
// a refined by b, or nothing if they contradict. A symbol is refined by a number.
std::optional<Fact> merge_facts(const Fact& a, const Fact& b);
// What holds of a value that is either a or b (the branches of an If).
Fact join_facts(const Fact& a, const Fact& b);

// Checks every structural rule: ids in range, one producer each, arities, no cycle, uses consistent, names
// unique. Throws Error{invalid} (or {internal} when `ours`: after one of our own passes).
void verify_graph(const Graph& g, bool ours = false);

}  // namespace skyline
