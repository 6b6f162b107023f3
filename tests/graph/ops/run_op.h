#pragma once
// Runs one operator as a test wants it: inference and evaluation, checked against each other.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"

namespace skyline::test {

// The outputs of the node, from a graph of that node alone. An undefined tensor among the inputs is an
// omitted one. Checks that inference gave the dtype and a shape that the result agrees with.
inline std::vector<Tensor> run_op(std::string_view name, const std::vector<Tensor>& inputs,
                                  const Attrs& attrs = {}, size_t outputs = 1, std::string_view domain = "") {
  Graph g;
  std::vector<ValueId> in, out;
  std::vector<Value> values;
  for (const Tensor& t : inputs) {
    if (!t.defined()) {
      in.push_back(kNoValue);
      continue;
    }
    in.push_back(g.add_input("x" + std::to_string(in.size()), Fact::of(t)));
    values.push_back(t);
  }
  for (size_t i = 0; i < outputs; ++i) out.push_back(g.add_value("y" + std::to_string(i)));
  g.add_node(op(name, domain), "tested", in, out, attrs);
  for (size_t i = 0; i < outputs; ++i) g.add_output(out[i], "y" + std::to_string(i));
  infer_graph(g);
  std::vector<Tensor> results;
  for (const Value& v : interpret(g, values)) results.push_back(v.tensor());
  for (size_t i = 0; i < outputs; ++i) {
    const Fact& f = g.fact(out[i]);
    CHECK(f.dtype == results[i].dtype());
    if (f.is_static()) CHECK(f.static_dims() == results[i].dims());
  }
  return results;
}

// The code of the error that running it gives; Code::ok if none.
inline Code fails(std::string_view name, const std::vector<Tensor>& inputs, const Attrs& attrs = {},
                  size_t outputs = 1, std::string_view domain = "") {
  try {
    run_op(name, inputs, attrs, outputs, domain);
  } catch (const Error& e) {
    return e.code();
  }
  return Code::ok;
}

template <class T>
std::vector<T> values(const Tensor& t) {
  const auto s = t.span<T>();
  return {s.begin(), s.end()};
}

template <class T = float>
Tensor vec(const std::vector<T>& v) {
  return Tensor::of<T>({static_cast<int64_t>(v.size())}, v);
}

}  // namespace skyline::test
