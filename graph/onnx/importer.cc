#include "graph/onnx/importer.h"

#include <algorithm>

#include "graph/onnx/types.h"
#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

constexpr int64_t kNewestIr = 14;
constexpr size_t kMostSymbols = 512;  // further named dims are just unknown

[[noreturn]] void invalid(const std::string& what) {
  throw Error(Code::invalid, what);
}

ModelInfo info_of(const ModelProto& p, const Opsets& opsets) {
  ModelInfo info;
  info.ir_version = p.ir_version();
  info.opsets.assign(opsets.begin(), opsets.end());
  info.producer_name = p.producer_name();
  info.producer_version = p.producer_version();
  info.domain = p.domain();
  info.doc = p.doc_string();
  info.graph_name = p.graph().name();
  info.model_version = p.model_version();
  for (const Entry& e : p.metadata_props()) info.metadata.emplace_back(e.key(), e.value());
  return info;
}

}  // namespace

std::string GraphBuild::unique(const std::string& stem, std::unordered_set<std::string>& names) {
  if (!stem.empty() && names.insert(stem).second) return stem;
  for (;;) {
    std::string name = graph.fresh_name(stem);
    if (names.insert(name).second) return name;
  }
}

std::string plain_domain(const std::string& domain) {
  return domain == "ai.onnx" ? "" : domain;
}

std::string function_key(const std::string& domain, const std::string& name, const std::string& overload) {
  std::string key = plain_domain(domain);  // no NUL inside: check_wire() saw to it
  key += '\0';
  key += name;
  key += '\0';
  return key + overload;
}

Opsets opsets_of(const google::protobuf::RepeatedPtrField<OpsetProto>& imports) {
  Opsets out;
  for (const OpsetProto& o : imports) {
    if (o.version() < 1)
      invalid("opset version " + std::to_string(o.version()) + " of domain " + quoted(o.domain()));
    const auto [at, fresh] = out.emplace(plain_domain(o.domain()), o.version());
    if (!fresh && at->second != o.version())
      invalid("two versions of the opset of domain " + quoted(o.domain()));
  }
  return out;
}

Importer::Importer(ModelProto& proto, const LoadOptions& options, const std::string& base_dir,
                   Payloads payloads)
    : proto_(proto),
      options_(options),
      files_(options.external_data ? base_dir : ""),
      tensors_(files_, options.limits.max_constant_bytes, std::move(payloads)) {}

Model Importer::run() {
  if (proto_.ir_version() < 1) invalid("no IR version: not an ONNX model");
  if (!proto_.has_graph()) invalid("the model has no graph");
  if (proto_.ir_version() > kNewestIr) {
    throw Error(Code::unsupported, "IR version " + std::to_string(proto_.ir_version()) +
                                       "; the newest known is " + std::to_string(kNewestIr));
  }
  opsets_ = opsets_of(proto_.opset_import());
  if (proto_.ir_version() < 3 && opsets_.empty()) opsets_[""] = 1;
  note_functions();
  collect_symbols();

  GraphProto& graph = *proto_.mutable_graph();
  GraphBuild build;
  build.graph.name = graph.name();
  intern_symbols(build.graph);
  Scope scope(build, opsets_);
  std::vector<Port> inputs = declare_inputs(scope, graph);
  import_initializers(scope, graph);
  note_claims(scope, graph.value_info());
  note_claims(scope, graph.output());
  import_nodes(scope, *graph.mutable_node());
  std::vector<Port> outputs = declare_outputs(scope, graph);
  if (!refusals_.empty()) throw refusals_.error();
  ModelInfo info = info_of(proto_, opsets_);
  return Model(std::move(build.graph), std::move(info), std::move(inputs), std::move(outputs));
}

// All graphs of a model give a dimension's name the same symbol: facts can pass into bodies and out of them.
void Importer::collect_symbols() {
  note_symbols(proto_.graph());
  for (const FunctionProto& f : proto_.functions()) {
    for (const ValueInfoProto& v : f.value_info()) note_symbols(v.type());
    for (const NodeProto& n : f.node()) note_symbols(n);
  }
}

void Importer::note_symbols(const TypeProto& type) {
  if (type.has_sequence_type()) return note_symbols(type.sequence_type().elem_type());
  if (type.has_optional_type()) return note_symbols(type.optional_type().elem_type());
  for (const auto& d : type.tensor_type().shape().dim()) {
    if (d.has_dim_value() || d.dim_param().empty() || symbols_.size() >= kMostSymbols) continue;
    const auto [at, fresh] = symbol_index_.emplace(d.dim_param(), static_cast<int>(symbols_.size()));
    if (fresh) symbols_.push_back(at->first);
  }
}

void Importer::note_symbols(const NodeProto& node) {
  for (const AttributeProto& a : node.attribute()) {
    if (a.has_g()) note_symbols(a.g());
    for (const GraphProto& g : a.graphs()) note_symbols(g);
  }
}

void Importer::note_symbols(const GraphProto& graph) {
  for (const ValueInfoProto& v : graph.input()) note_symbols(v.type());
  for (const ValueInfoProto& v : graph.output()) note_symbols(v.type());
  for (const ValueInfoProto& v : graph.value_info()) note_symbols(v.type());
  for (const NodeProto& n : graph.node()) note_symbols(n);
}

void Importer::intern_symbols(Graph& g) const {
  for (const std::string& s : symbols_) (void)g.symbol(s);
}

Fact Importer::fact_of_type(const TypeProto& type, const GraphBuild&) const {
  return fact_of(type, [this](const std::string& name) {
    const auto at = symbol_index_.find(name);
    return at == symbol_index_.end() ? Dim::unknown() : Dim::symbol(at->second);
  });
}

void Importer::note_functions() {
  for (FunctionProto& f : *proto_.mutable_functions()) {
    if (f.name().empty()) invalid("a function without a name");
    if (!functions_.emplace(function_key(f.domain(), f.name(), f.overload()), &f).second) {
      invalid("two functions named " + quoted(f.name()));
    }
    Opsets own = opsets_of(f.opset_import());
    // A function need not repeat what the model imports.
    own.insert(opsets_.begin(), opsets_.end());
    function_opsets_.emplace(&f, std::move(own));
  }
}

void Importer::note_claims(Scope& s, const google::protobuf::RepeatedPtrField<ValueInfoProto>& infos) {
  for (const ValueInfoProto& v : infos) {
    if (v.has_type()) s.claims.emplace(v.name(), &v.type());
  }
}

std::vector<Port> Importer::declare_inputs(Scope& s, const GraphProto& graph) {
  std::unordered_set<std::string> constants;
  for (const TensorProto& t : graph.initializer()) constants.insert(t.name());
  for (const SparseTensorProto& t : graph.sparse_initializer()) constants.insert(t.values().name());
  std::vector<Port> ports;
  std::unordered_set<std::string> seen;
  static_inputs_ = true;
  for (const ValueInfoProto& v : graph.input()) {
    if (v.name().empty()) invalid("a graph input without a name");
    if (!seen.insert(v.name()).second) invalid("two graph inputs are named " + quoted(v.name()));
    if (constants.contains(v.name())) continue;  // an input with a default value is that constant
    Fact fact;
    try {
      fact = fact_of_type(v.type(), s.build);
    } catch (Error& e) {
      throw e.in("graph input " + quoted(v.name()));
    }
    static_inputs_ = static_inputs_ && (fact.is_static() || fact.kind != Fact::Kind::tensor);
    ports.push_back({v.name(), fact, v.doc_string()});
    define(s, v.name(), s.build.graph.add_input(s.build.unique_value(v.name()), fact));
  }
  return ports;
}

void Importer::import_initializers(Scope& s, GraphProto& graph) {
  for (TensorProto& t : *graph.mutable_initializer()) {
    const std::string name = t.name();
    if (name.empty()) invalid("an initializer without a name");
    Tensor tensor = tensor_of(s, t);
    define(s, name, s.build.graph.add_constant(value_name(s, name), std::move(tensor)));
  }
  for (SparseTensorProto& t : *graph.mutable_sparse_initializer()) {
    const std::string name = t.values().name();
    if (name.empty()) invalid("a sparse initializer without a name");
    Tensor tensor = tensor_of(s, t);
    define(s, name, s.build.graph.add_constant(value_name(s, name), std::move(tensor)));
  }
}

void Importer::import_nodes(Scope& s, Nodes& nodes) {
  for (size_t i : order_of(nodes)) {
    NodeProto& n = *nodes.Mutable(static_cast<int>(i));
    try {
      import_node(s, n);
    } catch (Error& e) {
      throw e.in(describe(n, i));
    }
  }
}

std::vector<Port> Importer::declare_outputs(Scope& s, const GraphProto& graph) {
  std::vector<Port> ports;
  std::unordered_set<std::string> seen;
  for (const ValueInfoProto& v : graph.output()) {
    if (!seen.insert(v.name()).second) invalid("two graph outputs are named " + quoted(v.name()));
    try {
      const ValueId id = resolve(s, v.name());
      if (id == kNoValue) invalid("the value is omitted");
      s.build.graph.add_output(id, v.name());
      const Fact declared = fact_of_type(v.type(), s.build);
      ports.push_back(
          {v.name(), declared.dtype == DType::undefined ? s.build.graph.fact(id) : declared, v.doc_string()});
    } catch (Error& e) {
      throw e.in("graph output " + quoted(v.name()));
    }
  }
  if (graph.output().empty()) invalid("the graph has no outputs");
  return ports;
}

}  // namespace skyline::onnx
