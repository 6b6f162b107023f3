#pragma once
// From an operator with static facts to a bound kernel call. One file per family; registry.cc lists them.
//
// A lowering function looks at one node and returns the code of a step, or nothing when no kernel fits: the
// node then runs through its reference evaluation. All decisions, tables and packing happen here, once; the
// code only computes.
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "graph/ir/op.h"
#include "kernels/base/memory.h"
#include "skyline/isa.h"
#include "skyline/kernel.h"

namespace skyline {
namespace kernels {
struct GemmKernel;
}

// What a step gets at run time. Operands are in the node's order; an omitted one is null.
struct StepArgs {
  void* const* in;
  void* const* out;
  std::byte* workspace;  // at least Lowered::workspace bytes, 64-byte aligned; garbage at entry
  int threads;
  const char** problem;  // see fail()
  template <class T>
  const T* input(size_t i) const {
    return static_cast<const T*>(in[i]);
  }
  template <class T>
  T* output(size_t i) const {
    return static_cast<T*>(out[i]);
  }
  // The data do not allow the step (an index out of range): the run ends with Error{input} naming the node
  // and `why`, a string literal. The outputs must still be within bounds; what is in them does not matter.
  void fail(const char* why) const noexcept { *problem = why; }
};

class StepCode {
 public:
  virtual ~StepCode() = default;
  virtual void run(const StepArgs& args) const noexcept = 0;
};

struct Lowered {
  std::unique_ptr<StepCode> code;  // null with alias >= 0: nothing runs
  std::string kernel;              // for profiles and explain: the kernel's name
  size_t workspace = 0;            // bytes
  int in_place = -1;  // output 0 may use the memory of this input, if it dies here and is as large
  int alias = -1;     // output 0 is this input's memory: under other dims (Reshape), or written by the code
};

// Packed weights and tables, shared by all plans of a session: key -> memory. Thread-safe.
class PackCache {
 public:
  using Packed = std::shared_ptr<const void>;
  struct Entry {
    Tensor source;  // kept alive: its address is the key
    std::string form;
    Packed packed;
    size_t bytes = 0;
  };
  // What `make` returned for this key the first time. The key names the source constant and the form it is
  // packed into. Error{invalid} if what was put there has another size.
  Packed get(const Tensor& source, const std::string& form, size_t bytes,
             const std::function<Packed()>& make);
  // What a plan file has already. Absent: the source has no elements to pack from, only an address.
  void put(Entry entry, bool absent);
  bool is_absent(const Tensor& source) const;
  // Drops what was packed from this source, whose memory may soon be another's. Steps keep what they use.
  void forget(const Tensor& source);
  // From now on nothing is forgotten.
  void keep() { keep_ = true; }
  bool keeps() const { return keep_; }
  std::vector<Entry> entries() const;
  int64_t bytes() const;  // of what was packed here or put

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_set<const void*> absent_;
  int64_t bytes_ = 0;
  bool keep_ = false;
};

// Where the planner has put operands of a node inside wider tensors. Empty vectors: nowhere.
struct OperandRows {
  // Elements between rows (of the last axis); 0: the operand is contiguous.
  std::vector<int64_t> in, out;
  // Concat: the input is in its place in the result already. Split: the output is read inside the input.
  std::vector<bool> placed;
};

// A node as its lowering function sees it: every input and output has a static fact.
class Lowering {
 public:
  Lowering(const Graph& g, const Node& node, IsaSet isa, int threads, PackCache& cache, OperandRows rows = {})
      : graph(g), node(node), isa(isa), threads(threads), cache_(cache), rows_(std::move(rows)) {}
  const Graph& graph;
  const Node& node;
  const IsaSet isa;   // kernels must not need more
  const int threads;  // of the session; StepArgs::threads at run time is at most this
  std::span<const KernelInfo* const> own_kernels = {};  // the user's rows
  // The row of op "gemm" for f32 that the node wishes for and the ISA has; null if none.
  const kernels::GemmKernel* wanted_gemm() const;

  // The same for a node of a graph that belongs to this node (a body).
  Lowering at(const Graph& g, const Node& n) const {
    Lowering other(g, n, isa, threads, cache_);
    other.own_kernels = own_kernels;
    return other;
  }

  const Attrs& attrs() const { return node.attrs; }
  bool has(size_t i) const { return node.in(i) != kNoValue; }
  DType in_type(size_t i) const { return graph.fact(node.in(i)).dtype; }
  DType out_type(size_t i = 0) const { return graph.fact(node.out(i)).dtype; }
  Dims in_dims(size_t i) const { return graph.fact(node.in(i)).static_dims(); }
  Dims out_dims(size_t i = 0) const { return graph.fact(node.out(i)).static_dims(); }
  // Elements between rows of the last axis where the operand lies in a wider tensor, else 0. Operators whose
  // LowerRow has no `rows` need not ask: theirs are contiguous.
  int64_t in_ld(size_t i) const { return i < rows_.in.size() ? rows_.in[i] : 0; }
  int64_t out_ld(size_t i = 0) const { return i < rows_.out.size() ? rows_.out[i] : 0; }
  bool placed(size_t i) const { return i < rows_.placed.size() && rows_.placed[i]; }
  // Elements between neighbours along each axis.
  Dims in_strides(size_t i) const;
  Dims out_strides(size_t i = 0) const;
  const Tensor* constant(size_t i) const { return graph.constant(node.in(i)); }  // null if not constant
  bool all_inputs(DType t) const;  // every present input has dtype t
  // The values of a constant i64 / i32 input; nothing if it is not constant.
  std::optional<Dims> constant_ints(size_t i) const;

  // Packed form of constant input i, made once per session. `bytes` of aligned memory are handed to fill.
  // What is packed may be freed: the step must not read input i.
  std::shared_ptr<const std::byte> pack(size_t i, const std::string& form, size_t bytes,
                                        const std::function<void(std::byte*)>& fill) const;
  bool packed(size_t i) const { return i < 64 && (packed_ >> i & 1) != 0; }
  // For `fill` of a large constant that is packed once: its first `bytes` will not be read again. They go
  // back to the system if nobody else reads them, so that a weight and its packed form are not in memory both
  // as a whole.
  void spent(size_t i, size_t bytes) const;
  uint64_t last_reads = 0;  // inputs that no other node reads, and that no other plan needs

 private:
  mutable uint64_t packed_ = 0;  // inputs
  mutable uint64_t dispensable_ = 0;
  mutable size_t dropped_ = 0;  // bytes
  PackCache& cache_;
  OperandRows rows_;
};

template <class F>
std::unique_ptr<StepCode> step_code(F f) {
  struct Code final : StepCode {
    explicit Code(F g) : f(std::move(g)) {}
    void run(const StepArgs& args) const noexcept override { f(args); }
    F f;
  };
  return std::make_unique<Code>(std::move(f));
}

using LowerFn = std::optional<Lowered> (*)(Lowering&);

enum class Side : uint8_t { in, out };
// Whether the lowering of a node takes that input, or writes that output, as rows inside a wider tensor (see
// Lowering::in_ld). Facts of the node are static.
using RowsFn = bool (*)(const Graph& g, const Node& n, Side side, size_t index);

struct LowerRow {
  std::string_view op;
  std::string_view domain;
  LowerFn lower;
  RowsFn rows = nullptr;  // null: never
};

// The row of an operator, or null.
const LowerRow* find_lowering(const OpDef& op);

}  // namespace skyline
