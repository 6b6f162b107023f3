#pragma once
// Builds small graphs in a line per node, and checks that passes do not change what they compute.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "graph/ir/dump.h"
#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/ops/numeric.h"
#include "graph/passes/passes.h"

namespace skyline::test {

// Small numbers, the same on every machine.
class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
  uint32_t bits() { return state_ = state_ * 1664525u + 1013904223u; }
  int below(int n) { return static_cast<int>((bits() >> 8) % static_cast<uint32_t>(n)); }
  float real() { return static_cast<float>(bits() >> 8) / static_cast<float>(1 << 23) - 1.0f; }  // [-1, 1)

 private:
  uint32_t state_;
};

inline Tensor random_tensor(Dims dims, Random& random, float scale = 1, float offset = 0) {
  Tensor t(DType::f32, std::move(dims));
  for (float& x : t.mutable_span<float>()) x = random.real() * scale + offset;
  return t;
}

struct Build {
  Graph g;
  Random random{7};

  ValueId input(SymDims dims, DType t = DType::f32) {
    return g.add_input(g.fresh_name("in"), Fact(t, std::move(dims)));
  }
  ValueId constant(Tensor t) { return g.add_constant(g.fresh_name("c"), std::move(t)); }
  ValueId number(float x, Dims dims = {}) {
    return constant(Tensor::of<float>(dims, std::vector<float>(static_cast<size_t>(element_count(dims)), x)));
  }
  ValueId numbers(Dims dims, std::vector<float> v) { return constant(Tensor::of<float>(std::move(dims), v)); }
  ValueId weights(Dims dims, float scale = 1, float offset = 0) {
    return constant(random_tensor(std::move(dims), random, scale, offset));
  }
  ValueId ints(std::vector<int64_t> v) { return constant(Tensor::vector(v)); }
  std::vector<ValueId> nodes(std::string_view name, std::vector<ValueId> in, size_t outputs, Attrs attrs = {},
                             std::string_view domain = "") {
    std::vector<ValueId> out;
    for (size_t i = 0; i < outputs; ++i) out.push_back(g.add_value(g.fresh_name("v")));
    infer_node(g, g.add_node(op(name, domain), g.fresh_name("n"), std::move(in), out, std::move(attrs)));
    return out;
  }
  ValueId node(std::string_view name, std::vector<ValueId> in, Attrs attrs = {},
               std::string_view domain = "") {
    return nodes(name, std::move(in), 1, std::move(attrs), domain)[0];
  }
  void output(ValueId v) { g.add_output(v, g.fresh_name("out")); }
};

inline std::map<std::string, int> count_ops(const Graph& g) {
  std::map<std::string, int> out;
  for (NodeId n : g.order()) ++out[std::string(g.node(n).op->name)];
  return out;
}

inline const Node& only(const Graph& g, std::string_view name) {
  const Node* found = nullptr;
  for (NodeId n : g.order()) {
    if (g.node(n).op->name != name) continue;
    REQUIRE(!found);
    found = &g.node(n);
  }
  REQUIRE(found);
  return *found;
}

// Random inputs; a dim that is not known gets 2.
inline std::vector<Value> random_inputs(const Graph& g, Random& random) {
  std::vector<Value> out;
  for (ValueId v : g.inputs()) {
    Dims dims;
    for (Dim d : g.fact(v).dims) dims.push_back(d.known() ? d.value() : 2);
    if (g.fact(v).dtype == DType::f32) {
      out.emplace_back(random_tensor(dims, random, 3));
    } else {
      Tensor t = Tensor::zeros(g.fact(v).dtype, dims);
      out.emplace_back(t);
    }
  }
  return out;
}

// Largest difference relative to the largest magnitude; infinite when the shapes or kinds differ.
inline double difference(const Value& a, const Value& b) {
  if (!a.is_tensor() || !b.is_tensor()) return a.is_none() && b.is_none() ? 0 : INFINITY;
  if (a.tensor().dims() != b.tensor().dims() || a.tensor().dtype() != b.tensor().dtype()) return INFINITY;
  const std::vector<double> x = ops::to_doubles(a.tensor()), y = ops::to_doubles(b.tensor());
  double worst = 0, scale = 1e-6;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    if (x[i] == y[i]) continue;
    worst = std::max(worst, std::isfinite(x[i] - y[i]) ? std::abs(x[i] - y[i]) : INFINITY);
    if (std::isfinite(x[i])) scale = std::max(scale, std::abs(x[i]));
  }
  return worst / scale;
}

// Runs the passes over a copy and checks that the outputs, their shapes and their facts stay.
inline Graph optimized(const Graph& g, std::vector<Pass> passes, double tolerance = 2e-6,
                       int64_t* fired = nullptr) {
  Graph after = g;
  std::string log;
  PassOptions options;
  options.log = [&](std::string_view pass, std::string_view where) {
    log += std::string(pass) + " at " + std::string(where) + "\n";
  };
  const int64_t count = run_passes(after, passes, options);
  if (fired) *fired = count;
  Random random(11);
  const std::vector<Value> in = random_inputs(g, random);
  const std::vector<Value> x = interpret(g, in), y = interpret(after, in);
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(log);
    CHECK(difference(x[i], y[i]) <= tolerance);
    CHECK(merge_facts(after.fact(after.outputs()[i]), Fact::of(y[i].tensor())));
  }
  return after;
}

inline bool fires(const Build& b, const Pass& pass) {
  int64_t count = 0;
  optimized(b.g, {pass}, 1e-5, &count);
  return count > 0;
}

}  // namespace skyline::test
