#include <unordered_set>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"

namespace skyline {
namespace {

class Verifier {
 public:
  Verifier(const Graph& g, Code code) : g_(g), code_(code), produced_(g.value_slots(), 0) {}

  void run() {
    for (ValueId v : g_.inputs()) produce(v, "graph input");
    for (uint32_t n = 0; n < g_.node_slots(); ++n) {
      if (g_.alive(NodeId{n})) check_node(NodeId{n});
    }
    for (size_t i = 0; i < g_.outputs().size(); ++i) check_available(g_.outputs()[i], "graph output");
    for (uint32_t n = 0; n < g_.node_slots(); ++n) {
      if (!g_.alive(NodeId{n})) continue;
      for (ValueId v : g_.node(NodeId{n}).inputs) {
        if (v != kNoValue) check_available(v, describe(g_.node(NodeId{n})));
      }
    }
    check_names(g_.inputs());
    (void)g_.order();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(code_, what); }

  void in_range(ValueId v, const std::string& where) const {
    if (static_cast<size_t>(v) >= g_.value_slots()) fail("a value id out of range at " + where);
  }
  void produce(ValueId v, const std::string& where) {
    in_range(v, where);
    if (produced_[static_cast<size_t>(v)]++)
      fail("value '" + g_.value(v).name + "' is produced twice, again at " + where);
    if (g_.value(v).constant.defined())
      fail("value '" + g_.value(v).name + "' is a constant and also produced at " + where);
  }
  void check_available(ValueId v, const std::string& where) const {
    in_range(v, where);
    if (!produced_[static_cast<size_t>(v)] && !g_.value(v).constant.defined()) {
      fail("value '" + g_.value(v).name + "' used at " + where + " is never produced");
    }
  }
  void check_node(NodeId id) {
    const Node& n = g_.node(id);
    const OpDef& d = *n.op;
    auto arity = [&](size_t have, int low, int high, const char* what) {
      if (static_cast<int64_t>(have) < low || static_cast<int64_t>(have) > high) {
        fail(describe(n) + " has " + std::to_string(have) + " " + what + ", takes " + std::to_string(low) +
             " to " + (high >= kMany ? "many" : std::to_string(high)));
      }
    };
    arity(n.inputs.size(), d.min_inputs, d.max_inputs, "inputs");
    arity(n.outputs.size(), 0, d.max_outputs, "outputs");
    for (uint32_t slot = 0; slot < n.inputs.size(); ++slot) {
      const ValueId v = n.inputs[slot];
      if (v == kNoValue) continue;
      in_range(v, describe(n));
    }
    for (ValueId v : n.outputs) {
      if (v == kNoValue) continue;
      produce(v, describe(n));
      if (g_.producer(v) != id)
        fail("value '" + g_.value(v).name + "' does not know its producer " + describe(n));
    }
  }
  void check_names(const std::vector<ValueId>& ids) const {
    std::unordered_set<std::string> seen;
    for (ValueId v : ids) {
      if (!seen.insert(g_.value(v).name).second)
        fail("two graph inputs are named '" + g_.value(v).name + "'");
    }
  }

  const Graph& g_;
  Code code_;
  std::vector<int> produced_;
};

}  // namespace

void verify_graph(const Graph& g, bool ours) {
  Verifier(g, ours ? Code::internal : Code::invalid).run();
}

}  // namespace skyline
