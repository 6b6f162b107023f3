#pragma once
// Choices that trade cost for noise: each node takes one of its options, an option costs and adds noise, a
// pair of options at the ends of an edge costs (a conversion). Both are sums over the graph. Wanted are all
// assignments that no other beats in both: the frontier, including the points that no weighted sum finds.
//
// Solved by label setting: nodes are decided one after the other, and of the partial assignments that agree
// on the nodes with undecided neighbours only those are kept that no other beats in both sums. That is exact.
// Where it grows too large, of those whose noise is almost the same only the cheapest is kept, and at last
// only the cheapest ways to agree: then the answer is marked.
#include <cstdint>
#include <span>
#include <vector>

namespace skyline {

class TradeOff {
 public:
  // By option, at least one; noise is not negative. Returns the node's index. Nodes that are neighbours
  // should come close after each other, as in the order of a graph.
  int add_node(std::vector<double> costs, std::vector<double> noises);
  // Adds costs[i * options(b) + j] to the pair (option i of a, option j of b); a != b.
  void add_edge(int a, int b, std::vector<double> costs);

  int size() const { return static_cast<int>(nodes_.size()); }
  int options(int node) const { return static_cast<int>(nodes_[static_cast<size_t>(node)].costs.size()); }

  struct Assignment {
    std::vector<int> options;  // by node
    double cost = 0, noise = 0;
  };
  Assignment evaluate(std::vector<int> options) const;

  struct Limits {
    int labels = 4096;     // kept per way to agree, before noises are bucketed
    int ways = 4096;       // ways to agree on the open nodes
    double bucket = 0.01;  // noises that differ by this share of themselves are almost the same
  };
  struct Frontier {
    std::vector<Assignment> points;  // by increasing noise, and so decreasing cost
    bool exact = true;
  };
  Frontier solve(const Limits& limits) const;
  Frontier solve() const { return solve(Limits()); }
  // The same by trying everything; for tests.
  Frontier brute_force() const;

 private:
  struct Edge {
    int other;
    std::vector<double> costs;  // of (option of this node, option of other)
  };
  struct Node {
    std::vector<double> costs, noises;
    std::vector<Edge> back;  // to earlier nodes
    int last_reader = -1;    // the last node with an edge to this one
  };
  class Solver;
  std::vector<Node> nodes_;
};

}  // namespace skyline
