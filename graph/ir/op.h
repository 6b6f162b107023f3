#pragma once
// What an operator is: one row of data per operator, in its family's file under graph/ops. Only the newest
// form of an operator exists here: the importer rewrites older forms (graph/onnx/upgrade.cc).
//
// Adding one: a row and its functions in graph/ops/<family>.cc, a test in tests/graph/ops. See ADD_AN_OP.md.
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "skyline/graph.h"

namespace skyline {

// Limits that evaluation honours; a breach throws Error{limit} (or {cancelled} for the deadline).
struct EvalLimits {
  int64_t max_bytes = int64_t{1} << 36;  // of one allocation
  std::function<void()> check;           // called now and then in long work (loops); may throw
  // Runs a body of If, Loop or Scan; null: interpret(). The engine runs a compiled plan of the body here.
  std::function<std::vector<Value>(const Graph& body, std::span<const Value> inputs)> run_body;
};

// Shape and type inference of one node. Inputs are facts, plus tensors where they are constant.
class InferContext {
 public:
  InferContext(const Node& node, std::span<const Fact> in, std::span<const Tensor* const> constants)
      : node(node), in_(in), constants_(constants), out_(node.outputs.size()) {}
  const Node& node;
  const Attrs& attrs() const { return node.attrs; }
  size_t inputs() const { return node.inputs.size(); }
  size_t outputs() const { return node.outputs.size(); }
  bool has(size_t i) const { return node.in(i) != kNoValue; }
  bool wants(size_t i) const { return node.out(i) != kNoValue; }
  const Fact& in(size_t i) const;          // Error{invalid} if the input is missing
  const Tensor* constant(size_t i) const;  // null if missing or not constant
  // The values of a constant integer tensor (i64 or i32), or nothing.
  std::optional<Dims> constant_ints(size_t i) const;
  void out(size_t i, Fact f) {  // ignored when the output is not wanted
    if (i < out_.size()) out_[i] = std::move(f);
  }
  std::vector<Fact>& facts() { return out_; }

 private:
  std::span<const Fact> in_;
  std::span<const Tensor* const> constants_;
  std::vector<Fact> out_;
};

// Reference evaluation of one node: plain and obviously right; the oracle for everything fast.
class EvalContext {
 public:
  EvalContext(const Node& node, std::span<const Value> in, const EvalLimits& limits)
      : node(node), limits(limits), in_(in), out_(node.outputs.size()) {}
  const Node& node;
  const EvalLimits& limits;
  const Attrs& attrs() const { return node.attrs; }
  size_t inputs() const { return node.inputs.size(); }
  size_t outputs() const { return node.outputs.size(); }
  bool has(size_t i) const { return i < in_.size() && !in_[i].is_none(); }
  bool wants(size_t i) const { return node.out(i) != kNoValue; }
  const Value& value(size_t i) const;  // Error{invalid} if the input is missing
  const Tensor& in(size_t i) const { return value(i).tensor(); }
  // Integers of an i64 or i32 tensor input.
  Dims ints(size_t i) const;
  // A new tensor for a result, within the limits (Error{limit}).
  Tensor make(DType t, Dims dims) const;
  void out(size_t i, Value v) {  // ignored when the output is not wanted
    if (i < out_.size()) out_[i] = std::move(v);
  }
  std::vector<Value>& values() { return out_; }

 private:
  std::span<const Value> in_;
  std::vector<Value> out_;
};

struct Work {
  int64_t flops = 0;  // a fused multiply-add counts two
  int64_t bytes = 0;  // read and written once each
};

using InferFn = void (*)(InferContext&);
using EvalFn = void (*)(EvalContext&);
// Facts are static. Bytes are filled in by work_of() when left 0.
using WorkFn = Work (*)(const Node&, std::span<const Fact> in, std::span<const Fact> out);

inline constexpr int kMany = 1 << 20;

enum OpFlags : uint32_t {
  kOpPlain = 0,
  kOpNondeterministic = 1u << 0,  // never folded, never merged (random)
  kOpControl = 1u << 1,           // has bodies
  kOpElementwise = 1u << 2,       // output element i depends on (broadcast) input elements i only
  kOpCommutative = 1u << 3,
  kOpShapeOnly =
      1u << 4,  // the result depends on the inputs' shapes only, not on their elements (Shape, Size)
};

struct OpDef {
  std::string_view name;
  std::string_view domain;  // "" is ai.onnx; ours is "skyline"; also "com.microsoft", "ai.onnx.ml"
  int min_inputs = 0, max_inputs = 0;
  int min_outputs = 1, max_outputs = 1;
  InferFn infer = nullptr;  // never null
  EvalFn eval = nullptr;    // never null
  WorkFn work = nullptr;    // null: one flop per output element
  uint32_t flags = kOpPlain;
};

// Null if there is no such operator.
const OpDef* find_op(std::string_view domain, std::string_view name);
// For our own code: throws Error{internal} if there is no such operator.
const OpDef& op(std::string_view name, std::string_view domain = "");
// Every operator, family by family.
const std::vector<const OpDef*>& all_ops();

// "node conv_3 (Conv)", as used in error contexts.
std::string describe(const Node& node);

Work work_of(const Node& node, std::span<const Fact> in, std::span<const Fact> out);

}  // namespace skyline
