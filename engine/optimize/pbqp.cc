#include "engine/optimize/pbqp.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace skyline {
namespace {

size_t at(int i) {
  return static_cast<size_t>(i);
}

}  // namespace

int Pbqp::add_node(std::vector<double> costs) {
  nodes_.push_back({std::move(costs), {}});
  return size() - 1;
}

void Pbqp::add_edge(int a, int b, std::span<const double> costs) {
  if (states(a) == 1 || states(b) == 1) {  // no pair to choose: costs of one end alone
    Node& free = nodes_[at(states(a) == 1 ? b : a)];
    for (size_t i = 0; i < costs.size(); ++i) free.costs[i] += costs[i];
    return;
  }
  for (int e : nodes_[at(a)].edges) {
    Edge& edge = edges_[at(e)];
    if (edge.a != b && edge.b != b) continue;
    const int columns = states(b);
    for (int i = 0; i < states(a); ++i) {
      for (int j = 0; j < columns; ++j) {
        edge.costs[at(edge.a == a ? i * columns + j : j * states(a) + i)] += costs[at(i * columns + j)];
      }
    }
    return;
  }
  const int index = static_cast<int>(edges_.size());
  edges_.push_back({a, b, {costs.begin(), costs.end()}});
  nodes_[at(a)].edges.push_back(index);
  nodes_[at(b)].edges.push_back(index);
}

double Pbqp::cost(std::span<const int> states) const {
  double sum = 0;
  for (size_t n = 0; n < nodes_.size(); ++n) sum += nodes_[n].costs[at(states[n])];
  for (const Edge& e : edges_) {
    sum += e.costs[at(states[at(e.a)] * this->states(e.b) + states[at(e.b)])];
  }
  return sum;
}

// A copy that shrinks. What is eliminated is decided afterwards, the last first, when its neighbours' states
// are known.
class Pbqp::Solver {
 public:
  explicit Solver(Pbqp problem) : p_(std::move(problem)) {
    for (int n = 0; n < p_.size(); ++n) waiting_.emplace(degree(n), n);
  }

  Solution run() {
    Solution s;
    while (!waiting_.empty()) {
      const auto [edges, n] = *waiting_.begin();
      if (edges == 0) {
        eliminate(n, {});
      } else if (edges == 1) {
        into_neighbour(n);
      } else if (edges == 2) {
        into_edge(n);
      } else {
        s.exact = false;
        fix(std::prev(waiting_.end())->second);
      }
    }
    s.states.assign(p_.nodes_.size(), 0);
    for (size_t i = gone_.size(); i-- > 0;) s.states[at(gone_[i].node)] = best_state(gone_[i], s.states);
    return s;
  }

 private:
  // An eliminated node, with the edges that it had then.
  struct Gone {
    int node;
    std::vector<Edge> edges;
  };

  int degree(int n) const { return static_cast<int>(p_.nodes_[at(n)].edges.size()); }
  std::vector<double>& costs(int n) { return p_.nodes_[at(n)].costs; }
  static int other(const Edge& e, int n) { return e.a == n ? e.b : e.a; }
  // Of the edge, with n in state i and the other end in state j.
  double pair(const Edge& e, int n, int i, int j) const {
    return e.a == n ? e.costs[at(i * p_.states(e.b) + j)] : e.costs[at(j * p_.states(e.b) + i)];
  }

  int best_state(const Gone& gone, const std::vector<int>& states) const {
    int best = 0;
    double least = kForbidden;
    for (int i = 0; i < p_.states(gone.node); ++i) {
      double sum = p_.nodes_[at(gone.node)].costs[at(i)];
      for (const Edge& e : gone.edges) sum += pair(e, gone.node, i, states[at(other(e, gone.node))]);
      if (sum < least) {
        least = sum;
        best = i;
      }
    }
    return best;
  }

  void cut(int n, int edge) {
    waiting_.erase({degree(n), n});
    std::erase(p_.nodes_[at(n)].edges, edge);
    waiting_.emplace(degree(n), n);
  }

  // Takes n out of the graph, to be decided later by `edges`.
  void eliminate(int n, std::vector<Edge> edges) {
    const std::vector<int> own = p_.nodes_[at(n)].edges;
    for (int e : own) cut(other(p_.edges_[at(e)], n), e);
    waiting_.erase({degree(n), n});
    p_.nodes_[at(n)].edges.clear();
    gone_.push_back({n, std::move(edges)});
  }

  // Degree 1: the least over its states becomes a cost of the neighbour's.
  void into_neighbour(int n) {
    const Edge e = p_.edges_[at(p_.nodes_[at(n)].edges[0])];
    const int m = other(e, n);
    for (int j = 0; j < p_.states(m); ++j) {
      double least = kForbidden;
      for (int i = 0; i < p_.states(n); ++i) least = std::min(least, costs(n)[at(i)] + pair(e, n, i, j));
      costs(m)[at(j)] += least;
    }
    eliminate(n, {e});
  }

  // Degree 2: the least over its states becomes a cost of the pair of its neighbours.
  void into_edge(int n) {
    const Edge left = p_.edges_[at(p_.nodes_[at(n)].edges[0])],
               right = p_.edges_[at(p_.nodes_[at(n)].edges[1])];
    const int a = other(left, n), b = other(right, n);
    std::vector<double> between(at(p_.states(a) * p_.states(b)), kForbidden);
    for (int j = 0; j < p_.states(a); ++j) {
      for (int k = 0; k < p_.states(b); ++k) {
        double& least = between[at(j * p_.states(b) + k)];
        for (int i = 0; i < p_.states(n); ++i) {
          least = std::min(least, costs(n)[at(i)] + pair(left, n, i, j) + pair(right, n, i, k));
        }
      }
    }
    eliminate(n, {left, right});
    waiting_.erase({degree(a), a});
    waiting_.erase({degree(b), b});
    p_.add_edge(a, b, between);
    waiting_.emplace(degree(a), a);
    waiting_.emplace(degree(b), b);
  }

  // The heuristic: the state that is best if every neighbour could choose what suits it.
  void fix(int n) {
    int best = 0;
    double least = kForbidden;
    for (int i = 0; i < p_.states(n); ++i) {
      double sum = costs(n)[at(i)];
      for (int e : p_.nodes_[at(n)].edges) {
        const Edge& edge = p_.edges_[at(e)];
        const int m = other(edge, n);
        double near = kForbidden;
        for (int j = 0; j < p_.states(m); ++j) near = std::min(near, pair(edge, n, i, j) + costs(m)[at(j)]);
        sum += near;
      }
      if (sum < least) {
        least = sum;
        best = i;
      }
    }
    for (int e : p_.nodes_[at(n)].edges) {
      const Edge& edge = p_.edges_[at(e)];
      const int m = other(edge, n);
      for (int j = 0; j < p_.states(m); ++j) costs(m)[at(j)] += pair(edge, n, best, j);
    }
    for (int i = 0; i < p_.states(n); ++i) {
      if (i != best) costs(n)[at(i)] = kForbidden;
    }
    eliminate(n, {});
  }

  Pbqp p_;
  std::set<std::pair<int, int>> waiting_;  // (degree, node)
  std::vector<Gone> gone_;
};

Pbqp::Solution Pbqp::solve() const {
  Solution s = Solver(*this).run();
  s.cost = cost(s.states);
  return s;
}

}  // namespace skyline
