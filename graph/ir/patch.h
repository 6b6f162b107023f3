#pragma once
// A rewrite as data: what a pass wants added, and what it should replace. The driver applies and checks it.
#include <string>
#include <vector>

#include "graph/ir/op.h"
#include "skyline/graph.h"

namespace skyline {

class Patch {
 public:
  explicit Patch(const Graph& g) : base_(g.value_slots()) {}

  // A constant; `stem` names it (made unique).
  ValueId constant(Tensor t, std::string stem);
  // A node with one output, or several; returns ids that later add() and replace() calls may use.
  ValueId add(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string name);
  std::vector<ValueId> add_multi(const OpDef& op, std::vector<ValueId> inputs, size_t outputs, Attrs attrs,
                                 std::string name);
  // Every use of `old` (graph outputs included) is to read `now` instead. Dead nodes go afterwards.
  void replace(ValueId old, ValueId now);
  bool empty() const { return replacements_.empty(); }

  // Applies to the graph it was made for: adds, infers the facts of the new nodes, checks that each
  // replacement agrees in dtype and does not contradict in shape (Error{internal} naming `pass`), rewires,
  // infers again what reads a value that is now known better, removes what died. Returns the nodes that may
  // have become interesting to a pass: the new ones, and those that read a replaced value.
  std::vector<NodeId> apply(Graph& g, std::string_view pass) &&;

 private:
  struct NewConstant {
    ValueId id;
    Tensor tensor;
    std::string stem;
  };
  struct NewNode {
    const OpDef* op;
    std::vector<ValueId> inputs, outputs;
    Attrs attrs;
    std::string name;
  };
  struct Item {  // in order of creation: a constant or a node
    bool is_node;
    size_t index;
  };
  void rewire(Graph& g, ValueId old, ValueId now, std::string_view pass, std::vector<NodeId>& touched) const;
  void remove_orphans(Graph& g) const;
  ValueId fresh() { return ValueId{static_cast<uint32_t>(base_ + issued_++)}; }

  size_t base_;  // ids from here on are the patch's own until applied
  size_t issued_ = 0;
  std::vector<NewConstant> constants_;
  std::vector<NewNode> nodes_;
  std::vector<Item> items_;
  std::vector<std::pair<ValueId, ValueId>> replacements_;
};

}  // namespace skyline
