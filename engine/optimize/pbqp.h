#pragma once
// Partitioned boolean quadratic problems: each node takes one of its states; a state costs something, and so
// does every pair of states at the ends of an edge; the sum is to be as small as possible. What choosing
// among kernels, layouts or precisions comes down to, where what is next to each other has to fit.
//
// Solved by reduction (Scholz, Eckstein 2002): nodes with at most two neighbours are eliminated exactly, and
// those come first, so that chains, trees and series-parallel graphs (residual blocks) are solved exactly.
// When only nodes with three or more neighbours are left, the state of one of them is fixed by what looks
// best around it. Deterministic: the same problem gives the same answer.
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace skyline {

class Pbqp {
 public:
  static constexpr double kForbidden = std::numeric_limits<double>::infinity();

  // Costs of its states, at least one; returns its index. Costs are not NaN, and not below zero where others
  // are forbidden.
  int add_node(std::vector<double> costs);
  // Adds costs[i * states(b) + j] to the pair (state i of a, state j of b); a != b. Edges between the same
  // two nodes add up.
  void add_edge(int a, int b, std::span<const double> costs);

  int size() const { return static_cast<int>(nodes_.size()); }
  int states(int node) const { return static_cast<int>(nodes_[static_cast<size_t>(node)].costs.size()); }

  struct Solution {
    std::vector<int> states;  // by node
    double cost = 0;          // kForbidden if it was found to be impossible, or the heuristic met a dead end
    bool exact = true;        // no heuristic was needed
  };
  Solution solve() const;
  double cost(std::span<const int> states) const;

 private:
  struct Edge {
    int a, b;
    std::vector<double> costs;  // states(a) x states(b)
  };
  struct Node {
    std::vector<double> costs;
    std::vector<int> edges;
  };
  class Solver;
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
};

}  // namespace skyline
