#pragma once
// A graph for people: as text, and for Graphviz.
#include <string>

#include "skyline/graph.h"

namespace skyline {

// One line a node: "name: out:fact, ... = Op(in, ...) {attr=value, ...}"; bodies indented below their node.
std::string dump_text(const Graph& g);
// A digraph for `dot -Tsvg`; names are escaped.
std::string dump_dot(const Graph& g);

}  // namespace skyline
