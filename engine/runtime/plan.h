#pragma once
// A plan: the graph for one set of input shapes, lowered to steps over planned memory. Immutable; runs in a
// RunState.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/lower/lowering.h"
#include "graph/ir/op.h"
#include "kernels/base/memory.h"
#include "skyline/session.h"

namespace skyline {

// Where a value is while the plan runs.
struct Place {
  enum class Kind : uint8_t {
    none,      // nobody needs it
    constant,  // in the graph
    arena,     // at `offset` bytes
    input,     // the caller's memory, graph input `index`
    output,    // the result tensor, graph output `index`, `offset` bytes into it
    dynamic,   // a Value in slot `index`: its dtype or shape is known only at run time
  };
  Kind kind = Kind::none;
  int64_t offset = 0;
  uint32_t index = 0;
};

struct Step {
  NodeId node{};
  std::unique_ptr<StepCode> code;  // null: a value step, run through the operator's evaluation
  uint32_t first_operand = 0;      // into RunState::pointers: inputs, then outputs
  uint32_t inputs = 0, outputs = 0;
  std::string kernel;
  size_t workspace = 0;
  Work work;
};

struct PlanOptions {
  IsaSet isa = 0;
  int threads = 1;
  int64_t max_tensor_bytes = int64_t{1} << 36;
  bool kernels = true;                                  // false: every step through its reference evaluation
  std::span<const KernelInfo* const> own_kernels = {};  // the user's rows
  bool owns_constants = false;  // no other plan comes from this graph: what is packed may go
  bool writes_inputs = false;   // inputs are the plan's to write into (skyline.Append)
};

struct RunState;
struct BodyCache;  // engine/runtime/executable.h

class Plan {
 public:
  // Lowers `g`, whose graph inputs have static facts unless they are sequences or strings. Constants stay in
  // `g`, except those that steps have packed, where the options allow it.
  Plan(Graph g, const PlanOptions& options, PackCache& cache);

  const Graph& graph() const { return graph_; }
  // What runs the bodies of this plan's graph; they live no longer than the plan does.
  std::shared_ptr<BodyCache> bodies;
  std::unique_ptr<RunState> make_state() const;
  // Makes `inputs` those of the next run; they must fit the plan and stay alive through it.
  void bind_inputs(RunState& s, std::span<const Value> inputs) const;
  // Gives the static outputs fresh tensors.
  void make_outputs(RunState& s) const;
  void execute(RunState& s, const EvalLimits& limits, Profile* profile) const;

  // A step runs through its reference evaluation, which honours limits and may have bodies.
  bool needs_limits() const { return has_value_steps_; }
  const Session::MemoryUse& memory() const { return memory_; }
  std::string explain() const;

 private:
  struct Patch {  // a pointer in the operand table that changes from run to run
    uint32_t operand, index;
    int64_t offset;  // bytes
  };
  class Builder;

  void run_code(const Step& step, RunState& s) const;
  void value_step(const Step& step, RunState& s, const EvalLimits& limits) const;
  Value load(ValueId v, const RunState& s) const;
  void store(ValueId v, Value value, RunState& s) const;

  Graph graph_;
  PlanOptions options_;
  std::vector<Step> steps_;
  std::vector<Place> places_;    // by ValueId
  std::vector<Fact> facts_;      // by ValueId, of the static ones: dims for views
  std::vector<Place> operands_;  // the operand table's sources
  std::vector<Patch> input_patches_, output_patches_;
  std::vector<std::vector<ValueId>> dying_;  // per step: dynamic values whose last use it is
  uint32_t dynamic_slots_ = 0;
  bool has_value_steps_ = false;
  Session::MemoryUse memory_;
};

// What is mutable in a run. One run at a time.
struct RunState {
  kernels::AlignedBuffer arena, workspace;
  std::vector<void*> pointers;
  std::vector<Value> inputs, outputs, dynamic;
  int threads = 1;
};

}  // namespace skyline
