#pragma once
// Old forms of operators become the newest one, the only one that the rest of the engine knows.
#include <string>
#include <string_view>
#include <vector>

#include "skyline/graph.h"

namespace skyline::onnx {

inline constexpr int64_t kNewestOpset = 28;

// A node as the file has it, with its values found.
struct Draft {
  std::string op, domain, name;
  int64_t opset = 0;            // of its domain
  std::vector<ValueId> inputs;  // kNoValue where omitted
  std::vector<bool> wanted;     // its outputs: false where omitted
  Attrs attrs;

  ValueId in(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
  bool wants(size_t i) const { return i < wanted.size() && wanted[i]; }
};

// What an upgrade works with. It changes `node` in place, or builds the results out of other nodes and names
// them with result(): then the node itself is dropped.
class Rewrite {
 public:
  virtual ~Rewrite() = default;
  Rewrite(Draft& draft, Graph& g) : node(draft), graph(g) {}

  Draft& node;
  Graph& graph;

  // A node in its newest form, with its facts; its outputs.
  virtual std::vector<ValueId> add(std::string_view op, std::vector<ValueId> inputs, Attrs attrs,
                                   size_t outputs, std::string_view domain = "") = 0;
  virtual ValueId constant(Tensor t, std::string_view stem) = 0;

  ValueId add1(std::string_view op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    return add(op, std::move(inputs), std::move(attrs), 1)[0];
  }
  ValueId constant(const std::vector<int64_t>& ints, std::string_view stem) {
    return constant(Tensor::vector(ints), stem);
  }
  void result(size_t i, ValueId v) {
    if (results_.size() <= i) results_.resize(i + 1, kNoValue);
    results_[i] = v;
    replaced_ = true;
  }
  bool replaced() const { return replaced_; }
  ValueId result(size_t i) const { return i < results_.size() ? results_[i] : kNoValue; }

  const Fact& fact(size_t i) const;  // of an input; Error{invalid} if it is omitted
  int rank(size_t i) const;          // Error{unsupported} if it is not known
  DType dtype(size_t i) const;       // Error{unsupported} if it is not known
  // Puts v at input i, padding with omissions.
  void set_input(size_t i, ValueId v);
  // Moves an attribute of integers, if it is there, to input i.
  void ints_to_input(std::string_view attr, size_t i);

 private:
  std::vector<ValueId> results_;
  bool replaced_ = false;
};

// Applies every row of the table that concerns the node's opset, oldest first. Error{unsupported} where an
// old form has no newest equivalent, Error{invalid} where the node breaks the old form's rules.
void upgrade(Rewrite& r);

}  // namespace skyline::onnx
