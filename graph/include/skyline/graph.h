#pragma once
// The intermediate representation: a directed acyclic graph of nodes over values. Not thread-safe while it is
// changed.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "skyline/tensor.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

struct OpDef;  // graph/ir/op.h
class Graph;

// Indices into one graph; stable while the node or value lives.
enum class NodeId : uint32_t {};
enum class ValueId : uint32_t {};
inline constexpr ValueId kNoValue{0xffffffffu};  // an omitted optional input or output
inline constexpr NodeId kNoNode{0xffffffffu};    // producer of inputs and constants

// A dimension: a number, a named symbol (equal symbols are equal numbers), or unknown.
class Dim {
 public:
  constexpr Dim() = default;
  constexpr Dim(int64_t n) : v_(n) {}  // NOLINT: implicit on purpose; n >= 0
  static constexpr Dim unknown() { return Dim(); }
  static constexpr Dim symbol(int index) { return Dim(-2 - static_cast<int64_t>(index)); }
  constexpr bool known() const { return v_ >= 0; }
  constexpr bool is_symbol() const { return v_ <= -2; }
  constexpr int64_t value() const { return v_; }  // only if known()
  constexpr int symbol_index() const { return static_cast<int>(-2 - v_); }
  // Equal for certain: two unknowns are not.
  friend constexpr bool operator==(Dim a, Dim b) { return a.v_ == b.v_ && a.v_ != -1; }

 private:
  int64_t v_ = -1;
};

using SymDims = std::vector<Dim>;

// What is known of a value before it is computed.
struct Fact {
  enum class Kind : uint8_t { tensor, sequence, optional };
  Kind kind = Kind::tensor;
  DType dtype = DType::undefined;  // of the elements; undefined = not known
  bool ranked = false;             // false: not even the rank is known; dims is empty
  SymDims dims;                    // of the tensor (of each element for a sequence)

  Fact() = default;
  Fact(DType t, SymDims d) : dtype(t), ranked(true), dims(std::move(d)) {}
  static Fact of(const Tensor& t) { return fixed(t.dtype(), t.dims()); }
  static Fact fixed(DType t, const Dims& d) { return Fact(t, SymDims(d.begin(), d.end())); }
  static Fact unranked(DType t) {
    Fact f;
    f.dtype = t;
    return f;
  }
  int rank() const { return static_cast<int>(dims.size()); }  // only if ranked
  bool is_static() const;                                     // a tensor with dtype and every dim known
  Dims static_dims() const;                                   // only if is_static()
  int64_t elements() const;                                   // -1 unless every dim is known
  int64_t bytes() const;                                      // -1 unless is_static()
};

// An attribute's value. Graphs (bodies of If, Loop, Scan) are shared and immutable once attached.
using GraphPtr = std::shared_ptr<const Graph>;
using AttrValue = std::variant<int64_t, float, std::string, Tensor, GraphPtr, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>, std::vector<Tensor>>;

// A small name -> value map in insertion order. Getters without a fallback throw Error{invalid} naming the
// attribute when it is missing; all throw Error{invalid} when it is of another type.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<std::string, AttrValue>> items) : items_(items) {}
  bool has(std::string_view name) const { return find(name) != nullptr; }
  const AttrValue* find(std::string_view name) const;
  Attrs& set(std::string name, AttrValue value);  // adds or replaces
  void erase(std::string_view name);

  int64_t integer(std::string_view name) const;
  int64_t integer(std::string_view name, int64_t fallback) const;
  float real(std::string_view name) const;
  float real(std::string_view name, float fallback) const;
  const std::string& text(std::string_view name) const;
  std::string text(std::string_view name, std::string_view fallback) const;
  const Dims& integers(std::string_view name) const;
  Dims integers(std::string_view name, const Dims& fallback) const;
  std::vector<float> reals(std::string_view name, const std::vector<float>& fallback) const;
  std::vector<std::string> texts(std::string_view name, const std::vector<std::string>& fallback) const;
  const Tensor& tensor(std::string_view name) const;
  const Graph& graph(std::string_view name) const;

  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  size_t size() const { return items_.size(); }

 private:
  std::vector<std::pair<std::string, AttrValue>> items_;
};

// A computation. Inputs and outputs may hold kNoValue where the operator allows an omission; trailing
// omissions are trimmed. The bodies of If, Loop and Scan are closed graphs: what they use of the outer graph
// is passed in as extra trailing inputs of the node and, in the same order, of every body (see
// graph/ops/control.cc).
struct Node {
  const OpDef* op = nullptr;
  std::string name;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;

  bool is(std::string_view op_name) const;  // by name in the default domain "" or "skyline"
  ValueId in(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
  ValueId out(size_t i) const { return i < outputs.size() ? outputs[i] : kNoValue; }
};

struct Use {
  NodeId node;
  uint32_t slot;  // index into the node's inputs
};

struct ValueInfo {
  std::string name;
  Fact fact;
  NodeId producer = kNoNode;
  Tensor constant;  // defined for initializers and folded values
  std::vector<Use> uses;
};

class Graph {
 public:
  std::string name;

  // Building. Facts of a node's outputs start empty: infer_node() or infer_graph() (graph/ir/infer.h) fills
  // them.
  ValueId add_input(std::string name, Fact fact);
  ValueId add_constant(std::string name, Tensor tensor);
  ValueId add_value(std::string name);  // produced by a node that comes later
  NodeId add_node(const OpDef& op, std::string name, std::vector<ValueId> inputs,
                  std::vector<ValueId> outputs, Attrs attrs = {});
  // By the operator's name; Error{unsupported} if there is none.
  NodeId add_node(std::string_view op, std::string name, std::vector<ValueId> inputs,
                  std::vector<ValueId> outputs, Attrs attrs = {}, std::string_view domain = "");
  void add_output(ValueId v, std::string as_name);

  // Reading.
  const Node& node(NodeId id) const { return nodes_[static_cast<size_t>(id)]; }
  Node& node(NodeId id) { return nodes_[static_cast<size_t>(id)]; }
  bool alive(NodeId id) const { return nodes_[static_cast<size_t>(id)].op != nullptr; }
  const ValueInfo& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  ValueInfo& value(ValueId id) { return values_[static_cast<size_t>(id)]; }
  size_t node_slots() const { return nodes_.size(); }  // dead ones included; ids are below
  size_t value_slots() const { return values_.size(); }
  size_t node_count() const { return live_nodes_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  const std::vector<std::string>& output_names() const { return output_names_; }
  const Fact& fact(ValueId id) const { return value(id).fact; }
  const Tensor* constant(ValueId id) const {  // null if not constant or kNoValue
    return id != kNoValue && value(id).constant.defined() ? &value(id).constant : nullptr;
  }
  NodeId producer(ValueId id) const { return id == kNoValue ? kNoNode : value(id).producer; }
  // Number of consumers; being a graph output counts as one (each time it is listed).
  size_t use_count(ValueId id) const;
  bool is_output(ValueId id) const;
  bool is_input(ValueId id) const;
  // Live nodes, producers before consumers; stable: ties in order of creation. Throws Error{invalid} naming
  // the nodes of a cycle.
  std::vector<NodeId> order() const;

  // Changing.
  void set_input(NodeId n, size_t slot, ValueId v);
  void replace_uses(ValueId from, ValueId to);  // in nodes and graph outputs
  void make_constant(ValueId v, Tensor t);      // v keeps its uses and loses its producer's claim on it
  void remove_node(NodeId n);                   // its outputs must be unused
  size_t remove_dead_nodes();                   // returns how many went
  void remove_output(size_t i);
  std::string fresh_name(std::string_view stem);

  // Symbols of dimensions, by name; shared by copies of the graph.
  Dim symbol(std::string_view name);
  std::string dim_name(Dim d) const;  // "3", "batch", "?"

 private:
  std::vector<Node> nodes_;
  std::vector<ValueInfo> values_;
  std::vector<ValueId> inputs_, outputs_;
  std::vector<std::string> output_names_;
  std::vector<std::string> symbols_;
  size_t live_nodes_ = 0;
  uint64_t fresh_ = 0;
};

std::string to_string(const Graph& g, const Fact& f);  // "f32[batch,3,224,224]"

}  // namespace skyline
#pragma GCC visibility pop
