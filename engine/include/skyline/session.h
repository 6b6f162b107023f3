#pragma once
// Running a model.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "skyline/graph.h"
#include "skyline/kernel.h"
#include "skyline/model.h"
#include "skyline/precision.h"
#include "skyline/tensor.h"

namespace skyline {

// How activations are laid out. modelled: what a cost model finds best for the whole graph, the same at every
// load and on every machine. measured: what timing the kernels at load finds best: plans take several runs'
// time to make, and may differ from load to load, so that results may differ in their last bits. The others
// are for comparing.
enum class LayoutPolicy : uint8_t { modelled, measured, channels_first, channels_last };
std::string_view name(LayoutPolicy p) noexcept;
LayoutPolicy layout_policy_from_name(std::string_view s);  // Error{invalid} listing the known names

struct SessionOptions {
  int threads = 0;  // 0: the CPUs that this process may use; otherwise 1 to 1024
  // In which arithmetic contractions of f32 are computed; f32: the model must not have lower ones of its own.
  // Error{unsupported} if the CPU (or `isa`) has no kernel for the rung; int8 needs a quantized model.
  Precision precision = Precision::model;
  std::map<std::string, Precision> node_precision = {};  // of contractions by name, instead of `precision`
  // On which kernel contractions run, by name of the node: a convolution's algorithm ("winograd", "direct",
  // "gemm", ...), a row of op "gemm" (`skyline kernels list`), or "apart" for the default one outside of
  // chains that are computed in strips. A wish: a node that the kernel cannot take runs on the default.
  std::map<std::string, std::string> node_kernels = {};
  // How activations of single nodes are laid out, by name of the node, whatever `layouts` says of the others:
  // "channels_first", "channels_last", or "planes" for a convolution that reads the one and writes the other.
  // A wish: a node that passes make part of another, or that has no such form, is laid out by `layouts`.
  std::map<std::string, std::string> node_layouts = {};
  // The user's own rows, which `node_kernels` may name too (ADD_A_KERNEL.md). They must outlive the session.
  std::vector<const KernelInfo*> kernels = {};
  std::string isa = "native";  // a level as isa_level() takes it; caps which kernels are chosen
  LayoutPolicy layouts = LayoutPolicy::modelled;
  bool optimize = true;  // false: run the graph as imported, node by node (for comparing)
  int64_t max_tensor_bytes = int64_t{1} << 36;  // Error{limit} for a tensor above it
  int64_t stop_after_pass = -1;                 // apply at most this many rewrites (bisecting); -1: no bound

  // Defaults overridden by SKYLINE_THREADS and SKYLINE_ISA. The only function of the library that reads the
  // environment.
  static SessionOptions from_environment();
};

// When a long run is to stop: checked between steps and loop iterations. Throws Error{cancelled} out of
// run().
struct RunOptions {
  std::optional<std::chrono::steady_clock::time_point> deadline;
  const std::atomic<bool>* cancel = nullptr;
};

// One line of a profile: a step of the plan, in the order in which it ran.
struct StepRecord {
  std::string node, op, kernel;  // kernel: what the node was bound to, "reference" for the fallback
  double start_us = 0, duration_us = 0;
  int64_t flops = 0, bytes = 0;  // of the node, as its operator counts them
};
using Profile = std::vector<StepRecord>;

struct ValueDescription {
  std::string name;
  Fact fact;                           // symbols: dim_names gives them in order
  std::vector<std::string> dim_names;  // "batch", "3", "?"
};

using ValueMap = std::map<std::string, Value>;

class Executable;  // engine/runtime
class PlanFile;    // plan_file.h

// A model made ready to run: immutable and thread-safe; copies share everything. The plan is specialised for
// each combination of input shapes on first use and cached; at once if the model fixes them all.
class Session {
 public:
  explicit Session(const Model& model, const SessionOptions& options = {});
  // The same from a model that nobody else needs: where the input shapes are fixed, its weights are freed as
  // they are packed, so that memory holds them once.
  explicit Session(Model&& model, const SessionOptions& options = {});
  // The same bits as from the model that the plan was made of, without the work: weights stay in the file,
  // which stays mapped as long as anything of the session. Error{unsupported} if the plan is for another
  // machine or build, {invalid} if it breaks a rule.
  explicit Session(const PlanFile& plan);

  const std::vector<ValueDescription>& inputs() const;
  const std::vector<ValueDescription>& outputs() const;
  const SessionOptions& options() const;  // with threads and isa resolved

  // Inputs by name, outputs by name. Error{input} names the input that is missing, unknown or of another type
  // or shape.
  ValueMap run(const ValueMap& inputs, const RunOptions& options = {}) const;
  // The same by position, without the maps: inputs in the order of inputs(), outputs in that of outputs().
  std::vector<Value> run(std::span<const Value> inputs, const RunOptions& options = {}) const;
  // Throws the Error{input} that run() would throw for inputs that are not what the model declares.
  void check_inputs(std::span<const Value> inputs) const;
  // Runs once and says where the time went.
  std::vector<Value> run_profiled(std::span<const Value> inputs, Profile& profile) const;

  // The specialised plan as text: each step, its kernel, its operands' places in memory. Compiles if need be.
  std::string explain_plan(std::span<const Value> inputs) const;
  // Bytes of the plan for these inputs: activations as planned, the lower bound for them (the largest sum of
  // simultaneously live values), and constants.
  struct MemoryUse {
    int64_t arena = 0, arena_lower_bound = 0, workspace = 0, constants = 0;
  };
  MemoryUse memory_use(std::span<const Value> inputs) const;

 private:
  friend class Context;
  friend class Recurrence;
  struct Impl;
  Session(Graph graph, const SessionOptions& options);
  std::shared_ptr<const Impl> impl_;
};

// For callers who run the same shapes again and again and count nanoseconds: inputs and outputs stay bound,
// nothing is allocated by run(). One context is for one thread at a time; many contexts may share a session.
class Context {
 public:
  // Shapes are fixed by these first inputs; the tensors stay referenced and may be refilled between runs.
  Context(const Session& session, std::span<const Value> inputs);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  // Another tensor of the same dtype and dims (Error{input} otherwise).
  void set_input(size_t i, const Tensor& t);
  void run(const RunOptions& options = {});
  // Valid until the next run(), which overwrites it in place; data-dependent outputs are replaced instead.
  const Value& output(size_t i) const;
  size_t outputs() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skyline
