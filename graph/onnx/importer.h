#pragma once
// ModelProto to Model. Reading order: run(), then import_graph(), then import_node() in node_import.cc;
// bodies and functions are in scope.cc.
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/onnx/refusals.h"
#include "graph/onnx/tensors.h"
#include "graph/onnx/upgrade.h"
#include "onnx_schema.pb.h"
#include "skyline/model.h"

namespace skyline::onnx {

using Opsets = std::map<std::string, int64_t, std::less<>>;
// A function's attributes, by their formal name: what the call gives, or the default.
using Bindings = std::unordered_map<std::string, AttributeProto*>;

// One Graph under construction.
struct GraphBuild {
  Graph graph;
  std::unordered_set<std::string> value_names, node_names;  // given so far

  std::string unique_value(const std::string& stem) { return unique(stem, value_names); }
  std::string unique_node(const std::string& stem) { return unique(stem, node_names); }

 private:
  std::string unique(const std::string& stem, std::unordered_set<std::string>& names);
};

// One name space: a graph, a body, or a call of a function (which builds into its caller's graph).
struct Scope {
  Scope(GraphBuild& b, const Opsets& o) : build(b), opsets(o) {}

  GraphBuild& build;
  const Opsets& opsets;
  Scope* outer = nullptr;                                        // of a body: where its captures come from
  const Scope* caller = nullptr;                                 // of a function call
  const FunctionProto* function = nullptr;                       // of a function call
  const Bindings* bindings = nullptr;                            // inside a function, bodies included
  std::unordered_map<std::string, ValueId> values;               // kNoValue: an omitted input of a function
  std::unordered_map<std::string, const TypeProto*> claims;      // what value_info says
  std::unordered_map<std::string, std::string> preferred_names;  // of a function's results
  std::string prefix;                                            // of names inside a function
  int body_depth = 0;
  int call_depth = 0;
};

class Importer {
 public:
  Importer(ModelProto& proto, const LoadOptions& options, const std::string& base_dir,
           Payloads payloads = {});
  Model run();

 private:
  friend class NodeRewrite;
  using Nodes = google::protobuf::RepeatedPtrField<NodeProto>;
  struct Body {
    std::string attribute;
    GraphProto* proto;
  };

  // importer.cc
  void collect_symbols();
  void note_symbols(const TypeProto& type);
  void note_symbols(const GraphProto& graph);
  void note_symbols(const NodeProto& node);
  void note_functions();
  std::vector<Port> declare_inputs(Scope& s, const GraphProto& graph);
  void import_initializers(Scope& s, GraphProto& graph);
  void import_nodes(Scope& s, Nodes& nodes);
  std::vector<Port> declare_outputs(Scope& s, const GraphProto& graph);
  void note_claims(Scope& s, const google::protobuf::RepeatedPtrField<ValueInfoProto>& infos);
  Fact fact_of_type(const TypeProto& type, const GraphBuild& build) const;
  void intern_symbols(Graph& g) const;

  // node_import.cc
  void import_node(Scope& s, NodeProto& proto);
  void add_node(Scope& s, NodeProto& proto, Draft& draft, std::vector<Body>& bodies);
  void read_attributes(Scope& s, NodeProto& proto, Draft& draft, std::vector<Body>& bodies);
  void read_attribute(Scope& s, const std::string& name, AttributeProto& a, Draft& draft,
                      std::vector<Body>& bodies);
  bool constant_node(Scope& s, const NodeProto& proto, Draft& draft);
  void emit(Scope& s, const NodeProto& proto, Draft& draft);
  void refuse(const Draft& draft, std::string why);
  void define_unknown(Scope& s, const NodeProto& proto);
  void count_node();
  Tensor tensor_of(const Scope& s, TensorProto& proto);
  Tensor tensor_of(const Scope& s, SparseTensorProto& proto);

  // scope.cc
  const std::vector<std::string>& free_names(const GraphProto& graph);
  std::vector<size_t> order_of(const Nodes& nodes);
  ValueId resolve(Scope& s, const std::string& name);
  void define(Scope& s, const std::string& name, ValueId v);
  std::string value_name(Scope& s, const std::string& name);
  void claim(Scope& s, const std::string& name, ValueId v);
  void import_bodies(Scope& s, Draft& draft, std::vector<Body>& bodies);
  GraphPtr import_body(Scope& s, const Draft& draft, GraphProto& proto, const std::vector<ValueId>& captures,
                       const std::unordered_map<std::string, ValueId>& captured);
  Fact body_input_fact(const Draft& draft, const Graph& outer, size_t i, size_t formal) const;
  bool inline_function(Scope& s, NodeProto& proto, const Draft& draft);

  ModelProto& proto_;
  const LoadOptions& options_;
  ExternalFiles files_;
  TensorReader tensors_;
  Refusals refusals_;
  Opsets opsets_;
  std::unordered_map<std::string, FunctionProto*> functions_;
  std::unordered_map<const FunctionProto*, Opsets> function_opsets_;
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, int> symbol_index_;
  std::unordered_map<const GraphProto*, std::vector<std::string>> free_names_;
  std::unordered_map<const void*, Tensor> shared_tensors_;  // of functions, which are read more than once
  bool static_inputs_ = false;
  int64_t nodes_ = 0;
};

// "node 'conv_3' (Conv)"; by position where there is no name.
std::string describe(const NodeProto& proto, size_t index);
Opsets opsets_of(const google::protobuf::RepeatedPtrField<OpsetProto>& imports);
// "" for "ai.onnx".
std::string plain_domain(const std::string& domain);
std::string function_key(const std::string& domain, const std::string& name, const std::string& overload);

}  // namespace skyline::onnx
