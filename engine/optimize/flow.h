#pragma once
// A graph as the search over precisions sees it: products, and what flows between them.
#include <functional>
#include <string>
#include <vector>

#include "skyline/graph.h"

namespace skyline {

struct Flow {
  struct Product {
    NodeId id;
    std::string name, op;
    int64_t flops = 0;
    int64_t from_outside = 0;  // bytes that it takes from the graph's inputs, through whatever is between
  };
  // What `from` makes reaches `to` directly or through nodes that are no products; bytes of what it makes.
  struct Edge {
    int from, to;
    int64_t bytes;
  };
  std::vector<Product> products;  // producers first
  std::vector<Edge> edges;
};

// Products are Conv, ConvTranspose, Gemm and MatMul with constant weights, of those that `choosable` says yes
// to (null: all). Facts are static. Of a value that many products have a part in (a Concat of a dense block)
// only the last few are seen: the others reach it through them, or are as far from it as the rest of the
// graph.
Flow flow_of(const Graph& g, const std::function<bool(const Node&)>& choosable = {});

}  // namespace skyline
