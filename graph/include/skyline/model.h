#pragma once
// A model: a graph and what its file says about it. Immutable; copies share.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skyline/graph.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// What loading refuses with Error{limit}.
struct ModelLimits {
  int64_t max_file_bytes = (int64_t{1} << 31) - 1;  // of the model file itself: what protobuf can hold
  int64_t max_constant_bytes = int64_t{1} << 38;    // of all constants in memory, external data included
  int64_t max_messages = int64_t{1} << 24;          // parts of the file: nodes, attributes, tensors, ...
  int64_t max_nodes = int64_t{1} << 20;             // after functions are inlined, bodies included
  int64_t max_name_bytes = int64_t{1} << 16;
  int max_nesting = 32;     // of bodies (If, Loop, Scan) within bodies
  int max_call_depth = 64;  // of functions that call functions
};

struct LoadOptions {
  ModelLimits limits;
  bool external_data = true;  // false: a model with tensors in other files is refused
};

// An input or output as the model declares it. Symbols in the fact are those of the graph.
struct Port {
  std::string name;
  Fact fact;
  std::string doc;
};

struct ModelInfo {
  int64_t ir_version = 0;                               // 0: not from a file
  std::vector<std::pair<std::string, int64_t>> opsets;  // domain ("" is ai.onnx), version
  std::string producer_name, producer_version, domain, doc, graph_name;
  int64_t model_version = 0;
  std::vector<std::pair<std::string, std::string>> metadata;
};

class Model {
 public:
  // Verifies the graph: Error{invalid}. Inputs and outputs are described by its facts.
  explicit Model(Graph graph, ModelInfo info = {});
  Model(Graph graph, ModelInfo info, std::vector<Port> inputs, std::vector<Port> outputs);

  // Reads an ONNX file; its external tensors are looked for in its directory. Throws Error{io}, {parse},
  // {invalid}, {limit}, {oom}, or one {unsupported} that lists everything that this build cannot run.
  static Model load(const std::string& path, const LoadOptions& options = {});
  // The same from memory. Without base_dir, external data is refused (Error{invalid}).
  static Model parse(std::span<const char> bytes, const LoadOptions& options = {},
                     const std::string& base_dir = "");

  const Graph& graph() const { return *graph_; }
  const std::shared_ptr<const Graph>& shared_graph() const { return graph_; }
  const ModelInfo& info() const { return data_->info; }
  const std::vector<Port>& inputs() const { return data_->inputs; }
  const std::vector<Port>& outputs() const { return data_->outputs; }

 private:
  struct Data {
    ModelInfo info;
    std::vector<Port> inputs, outputs;
  };
  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<const Data> data_;
};

// Writes a graph as an ONNX file (through a temporary file and a rename). Error{unsupported} names the nodes
// that the format cannot express: operators of our own domain. `info` gives producer and metadata; opsets are
// chosen here.
void save_onnx(const Graph& graph, const std::string& path, const ModelInfo& info = {});
// The bytes of that file.
std::string serialize_onnx(const Graph& graph, const ModelInfo& info = {});

}  // namespace skyline
#pragma GCC visibility pop
