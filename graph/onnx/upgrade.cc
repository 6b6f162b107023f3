#include "graph/onnx/upgrade.h"

namespace skyline::onnx {

const Fact& Rewrite::fact(size_t i) const {
  if (node.in(i) == kNoValue) throw Error(Code::invalid, "input " + std::to_string(i) + " is missing");
  return graph.fact(node.in(i));
}

int Rewrite::rank(size_t i) const {
  if (!fact(i).ranked)
    throw Error(Code::unsupported,
                "its old form where the rank of input " + std::to_string(i) + " is not known");
  return fact(i).rank();
}

DType Rewrite::dtype(size_t i) const {
  if (fact(i).dtype == DType::undefined) {
    throw Error(Code::unsupported,
                "its old form where the type of input " + std::to_string(i) + " is not known");
  }
  return fact(i).dtype;
}

void Rewrite::set_input(size_t i, ValueId v) {
  if (node.inputs.size() <= i) node.inputs.resize(i + 1, kNoValue);
  node.inputs[i] = v;
}

void Rewrite::ints_to_input(std::string_view attr, size_t i) {
  if (!node.attrs.has(attr)) return;
  set_input(i, constant(node.attrs.integers(attr), attr));
  node.attrs.erase(attr);
}

void upgrade(Rewrite&) {}

}  // namespace skyline::onnx
