// Graph to ONNX file.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "graph/ir/op.h"
#include "graph/onnx/file.h"
#include "graph/onnx/refusals.h"
#include "graph/onnx/tensors.h"
#include "graph/onnx/types.h"
#include "graph/onnx/wire.h"
#include "skyline/model.h"

namespace skyline {
namespace onnx {
namespace {

// What is written unless an operator needs more: read by every current runtime.
constexpr int64_t kBaseOpset = 21;
constexpr int64_t kBaseIr = 10;
constexpr int64_t kNewestIr = 13;

// Operators and attributes that are younger than kBaseOpset.
struct Young {
  std::string_view op, attribute;  // no attribute: the operator itself
  int64_t since;
};
constexpr Young kYoung[] = {
    {"Attention", "", 23},
    {"RotaryEmbedding", "", 23},
    {"RMSNormalization", "", 23},
    {"Swish", "", 24},
    {"TensorScatter", "", 24},
    {"QuantizeLinear", "precision", 23},
    {"DequantizeLinear", "output_dtype", 23},
    {"Cast", "round_mode", 24},
    {"CastLike", "round_mode", 24},
    {"BitCast", "", 26},
    {"CumProd", "", 26},
    {"Range", "stash_type", 27},
    {"CausalConvWithState", "", 27},
    {"LinearAttention", "", 27},
    {"SpaceToDepth", "mode", 28},
    {"SwiGLU", "", 28},
};

int64_t opset_for(const Node& n) {
  int64_t need = kBaseOpset;
  if (!n.op->domain.empty()) return need;
  for (const Young& y : kYoung) {
    if (y.op == n.op->name && (y.attribute.empty() || n.attrs.has(y.attribute)))
      need = std::max(need, y.since);
  }
  return need;
}

int64_t opset_for(DType t) {
  if (t == DType::bf16) return 22;  // Conv and the pools take it from there on
  if (t == DType::f4e2m1) return 23;
  if (t == DType::f8e8m0) return 24;
  return t == DType::u2 || t == DType::i2 ? 25 : kBaseOpset;
}

// IR versions by the opset they came with.
int64_t ir_for(int64_t opset) {
  if (opset <= 22) return kBaseIr;
  return opset <= 23 ? 11 : opset <= 24 ? 12 : kNewestIr;
}

class Exporter {
 public:
  ModelProto run(const Graph& g, const ModelInfo& info) {
    GraphProto& graph = *model_.mutable_graph();
    graph.set_name(g.name.empty() ? "graph" : g.name);
    Names names;
    for (ValueId v : g.inputs()) {
      name_value(names, g, v, g.value(v).name);
      ValueInfoProto& port = *graph.add_input();
      port.set_name(names.at(key(v)));
      write_type(g.fact(v), g, *port.mutable_type());
    }
    write_graph(g, graph, names, true);
    if (!refusals_.empty()) throw refusals_.error();
    finish(info);
    return std::move(model_);
  }

 private:
  using Names = std::unordered_map<uint32_t, std::string>;
  static uint32_t key(ValueId v) { return static_cast<uint32_t>(v); }

  // Names are unique in the whole file: a body must not hide a value of the graph around it.
  std::string unique(const std::string& wanted) {
    std::string name = wanted.empty() ? "v" : wanted;
    for (int i = 1; !used_.insert(name).second; ++i) name = wanted + "_" + std::to_string(i);
    return name;
  }
  const std::string& name_value(Names& names, const Graph& g, ValueId v, const std::string& wanted) {
    const auto known = names.find(key(v));
    if (known != names.end()) return known->second;
    return names.emplace(key(v), unique(wanted)).first->second;
  }

  void write_graph(const Graph& g, GraphProto& to, Names& names, bool top) {
    // What leaves the graph keeps its name; a value that leaves twice, or came in, leaves through an
    // Identity.
    std::vector<std::pair<std::string, std::string>> copies;
    for (size_t i = 0; i < g.outputs().size(); ++i) {
      const ValueId v = g.outputs()[i];
      const std::string wanted = g.output_names()[i];
      ValueInfoProto& port = *to.add_output();
      if (g.producer(v) != kNoNode && !names.contains(key(v))) {
        port.set_name(name_value(names, g, v, wanted));
      } else if (top && names.contains(key(v)) && names.at(key(v)) == wanted) {
        port.set_name(wanted);  // an input that is also an output, under its own name
      } else {
        port.set_name(unique(wanted));
        copies.emplace_back(name_value(names, g, v, g.value(v).name), port.name());
      }
      if (top && port.name() != wanted) throw Error(Code::invalid, "two values are named " + quoted(wanted));
      write_type(g.fact(v), g, *port.mutable_type());
    }
    std::unordered_set<uint32_t> written;
    for (NodeId id : g.order()) {
      for (ValueId v : g.node(id).inputs) write_constant(g, v, to, names, written);
      write_node(g, g.node(id), *to.add_node(), names);
    }
    for (ValueId v : g.outputs()) write_constant(g, v, to, names, written);
    for (const auto& [from, name] : copies) {
      NodeProto& n = *to.add_node();
      n.set_op_type("Identity");
      n.add_input(from);
      n.add_output(name);
    }
  }

  void write_constant(const Graph& g, ValueId v, GraphProto& to, Names& names,
                      std::unordered_set<uint32_t>& written) {
    const Tensor* t = g.constant(v);
    if (!t || !written.insert(key(v)).second) return;
    // What protobuf can serialize is bounded; weights this large belong into external data, which is not
    // written.
    bytes_ += stored_bytes(t->dtype(), t->size());
    if (bytes_ > ModelLimits().max_file_bytes - (1 << 20))
      throw Error(Code::limit, "the constants exceed 2 GiB, what a file can hold");
    TensorProto& p = *to.add_initializer();
    write_tensor(*t, p);
    p.set_name(name_value(names, g, v, g.value(v).name));
    opset_ = std::max(opset_, opset_for(t->dtype()));
  }

  void write_node(const Graph& g, const Node& n, NodeProto& to, Names& names) {
    if (n.op->domain == "skyline") {
      refusals_.add({std::string(n.op->name), "skyline", 1, quoted(n.name),
                     "an operator of ours, which no ONNX file can hold"});
    }
    opset_ = std::max(opset_, opset_for(n));
    if (!n.op->domain.empty()) domains_.insert(std::string(n.op->domain));
    to.set_op_type(std::string(n.op->name));
    to.set_domain(std::string(n.op->domain));
    to.set_name(n.name);
    const auto captures = static_cast<size_t>(std::max<int64_t>(0, n.attrs.integer("captures", 0)));
    const size_t own = n.inputs.size() - std::min(captures, n.inputs.size());
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.inputs[i];
      const std::string& name = v == kNoValue ? kOmitted : name_value(names, g, v, g.value(v).name);
      if (i < own) to.add_input(name);
    }
    while (to.input_size() > 0 && to.input(to.input_size() - 1).empty()) to.mutable_input()->RemoveLast();
    for (ValueId v : n.outputs)
      to.add_output(v == kNoValue ? kOmitted : name_value(names, g, v, g.value(v).name));
    for (const auto& [name, value] : n.attrs) {
      if (name == "captures" || name == "type_dtype") continue;
      AttributeProto& a = *to.add_attribute();
      a.set_name(name);
      if (name == "type" && n.is("Optional")) {
        write_optional_type(n, a);
      } else {
        write_attribute(g, n, own, value, a, names);
      }
    }
  }

  static void write_optional_type(const Node& n, AttributeProto& a) {
    Fact f = Fact::unranked(static_cast<DType>(n.attrs.integer("type_dtype")));
    const std::string kind = n.attrs.text("type");
    f.kind = kind == "sequence"   ? Fact::Kind::sequence
             : kind == "optional" ? Fact::Kind::optional
                                  : Fact::Kind::tensor;
    a.set_type(13);
    write_type(f, Graph(), *a.mutable_tp());
  }

  // The numbers are those of AttributeProto.type.
  void write_attribute(const Graph& g, const Node& n, size_t own, const AttrValue& value, AttributeProto& a,
                       Names& names) {
    if (const auto* i = std::get_if<int64_t>(&value)) {
      a.set_type(2), a.set_i(*i);
    } else if (const auto* f = std::get_if<float>(&value)) {
      a.set_type(1), a.set_f(*f);
    } else if (const auto* s = std::get_if<std::string>(&value)) {
      a.set_type(3), a.set_s(*s);
    } else if (const auto* t = std::get_if<Tensor>(&value)) {
      a.set_type(4), write_tensor(*t, *a.mutable_t());
      opset_ = std::max(opset_, opset_for(t->dtype()));
    } else if (const auto* body = std::get_if<GraphPtr>(&value)) {
      a.set_type(5), write_body(g, n, own, **body, *a.mutable_g(), names);
    } else if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) {
      a.set_type(7), a.mutable_ints()->Add(ints->begin(), ints->end());
    } else if (const auto* floats = std::get_if<std::vector<float>>(&value)) {
      a.set_type(6), a.mutable_floats()->Add(floats->begin(), floats->end());
    } else if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
      a.set_type(8);
      for (const std::string& s : *texts) a.add_strings(s);
    } else if (const auto* tensors = std::get_if<std::vector<Tensor>>(&value)) {
      a.set_type(9);
      for (const Tensor& t : *tensors) write_tensor(t, *a.add_tensors());
    }
  }

  // The trailing inputs of a body are values of the graph around it: in the file they are used by their outer
  // name.
  void write_body(const Graph& g, const Node& n, size_t own, const Graph& body, GraphProto& to,
                  Names& outer) {
    to.set_name(body.name.empty() ? "body" : body.name);
    Names names;
    const size_t captures = n.inputs.size() - own;
    const size_t formal = body.inputs().size() - std::min(captures, body.inputs().size());
    for (size_t i = 0; i < body.inputs().size(); ++i) {
      const ValueId v = body.inputs()[i];
      if (i >= formal) {
        names.emplace(key(v), outer.at(key(n.inputs[own + i - formal])));
        continue;
      }
      ValueInfoProto& port = *to.add_input();
      port.set_name(name_value(names, body, v, body.value(v).name));
      write_type(body.fact(v), body, *port.mutable_type());
    }
    write_graph(body, to, names, false);
  }

  void finish(const ModelInfo& info) {
    model_.set_ir_version(ir_for(opset_));
    OpsetProto& opset = *model_.add_opset_import();
    opset.set_domain("");
    opset.set_version(opset_);
    for (const std::string& domain : domains_) {
      OpsetProto& o = *model_.add_opset_import();
      o.set_domain(domain);
      const auto known = std::find_if(info.opsets.begin(), info.opsets.end(),
                                      [&](const auto& p) { return p.first == domain; });
      o.set_version(known == info.opsets.end() ? 1 : known->second);
    }
    model_.set_producer_name("skyline");
    model_.set_doc_string(info.doc);
    model_.set_domain(info.domain);
    model_.set_model_version(info.model_version);
    for (const auto& [k, v] : info.metadata) {
      Entry& e = *model_.add_metadata_props();
      e.set_key(k);
      e.set_value(v);
    }
  }

  inline static const std::string kOmitted;

  ModelProto model_;
  Refusals refusals_;
  std::unordered_set<std::string> used_, domains_;
  int64_t opset_ = kBaseOpset;
  int64_t bytes_ = 0;
};

}  // namespace
}  // namespace onnx

std::string serialize_onnx(const Graph& graph, const ModelInfo& info) {
  std::string bytes;
  if (!onnx::Exporter().run(graph, info).SerializeToString(&bytes)) {
    throw Error(Code::limit, "the model exceeds what a file can hold");
  }
  return bytes;
}

void save_onnx(const Graph& graph, const std::string& path, const ModelInfo& info) {
  onnx::write_file(path, serialize_onnx(graph, info));
}

}  // namespace skyline
