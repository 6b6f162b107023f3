// One node: its attributes, its rewriting to the newest form, its place in the graph.
#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "graph/onnx/importer.h"
#include "graph/onnx/types.h"
#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

[[noreturn]] void invalid(const std::string& what) {
  throw Error(Code::invalid, what);
}

// AttributeProto.type
enum AttributeType : int32_t {
  kUndefined = 0,
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kGraph = 5,
  kFloats = 6,
  kInts = 7,
  kStrings = 8,
  kTensors = 9,
  kGraphs = 10,
  kSparseTensor = 11,
  kSparseTensors = 12,
  kTypeProto = 13,
  kTypeProtos = 14,
};

// The type: as said, or where the file is silent (old exporters), by the field that is set. A field of
// another type than said is an error.
int32_t type_of(const AttributeProto& a) {
  const std::pair<bool, AttributeType> set[] = {
      {a.has_f(), kFloat},
      {a.has_i(), kInt},
      {a.has_s(), kString},
      {a.has_t(), kTensor},
      {a.has_g(), kGraph},
      {a.floats_size() > 0, kFloats},
      {a.ints_size() > 0, kInts},
      {a.strings_size() > 0, kStrings},
      {a.tensors_size() > 0, kTensors},
      {a.graphs_size() > 0, kGraphs},
      {a.has_sparse_tensor(), kSparseTensor},
      {a.sparse_tensors_size() > 0, kSparseTensors},
      {a.has_tp(), kTypeProto},
      {a.type_protos_size() > 0, kTypeProtos},
  };
  int32_t type = a.type();
  if (type < kUndefined || type > kTypeProtos)
    invalid("attribute " + quoted(a.name()) + " is of an unknown type");
  for (const auto& [is_set, t] : set) {
    if (!is_set || t == type) continue;
    if (type != kUndefined)
      invalid("attribute " + quoted(a.name()) + " has a value of another type than it says");
    type = t;
  }
  return type;
}

}  // namespace

// Adds nodes on behalf of upgrade().
class NodeRewrite final : public Rewrite {
 public:
  NodeRewrite(Importer& importer, Scope& scope, Draft& draft)
      : Rewrite(draft, scope.build.graph), importer_(importer), scope_(scope) {}

  std::vector<ValueId> add(std::string_view op, std::vector<ValueId> inputs, Attrs attrs, size_t outputs,
                           std::string_view domain) override {
    const OpDef* def = find_op(domain, op);
    if (!def)
      throw Error(Code::unsupported, "its newest form needs " + std::string(op) + ", which is not there");
    importer_.count_node();
    const std::string stem = (node.name.empty() ? node.op : node.name) + "/" + std::string(op);
    std::vector<ValueId> out;
    for (size_t i = 0; i < outputs; ++i) out.push_back(graph.add_value(scope_.build.unique_value(stem)));
    const NodeId id =
        graph.add_node(*def, scope_.build.unique_node(stem), std::move(inputs), out, std::move(attrs));
    infer_node(graph, id);
    return out;
  }
  ValueId constant(Tensor t, std::string_view stem) override {
    const std::string name = (node.name.empty() ? node.op : node.name) + "/" + std::string(stem);
    return graph.add_constant(scope_.build.unique_value(name), std::move(t));
  }

 private:
  Importer& importer_;
  Scope& scope_;
};

void Importer::count_node() {
  if (++nodes_ > options_.limits.max_nodes) {
    throw Error(Code::limit, "more than " + std::to_string(options_.limits.max_nodes) + " nodes");
  }
}

// Inside a function the same proto is read at every call, so its bytes must stay where they are.
Tensor Importer::tensor_of(const Scope& s, TensorProto& proto) {
  if (!s.function) return tensors_.read(proto);
  const auto known = shared_tensors_.find(&proto);
  if (known != shared_tensors_.end()) return known->second;
  return shared_tensors_.emplace(&proto, tensors_.read(proto)).first->second;
}

Tensor Importer::tensor_of(const Scope& s, SparseTensorProto& proto) {
  if (!s.function) return tensors_.read(proto);
  const auto known = shared_tensors_.find(&proto);
  if (known != shared_tensors_.end()) return known->second;
  return shared_tensors_.emplace(&proto, tensors_.read(proto)).first->second;
}

void Importer::read_attribute(Scope& s, const std::string& name, AttributeProto& a, Draft& draft,
                              std::vector<Body>& bodies) {
  Attrs& attrs = draft.attrs;
  switch (type_of(a)) {
    case kUndefined:
      invalid("attribute " + quoted(name) + " has no value");
    case kFloat:
      attrs.set(name, a.f());
      break;
    case kInt:
      attrs.set(name, static_cast<int64_t>(a.i()));
      break;
    case kString:
      attrs.set(name, a.s());
      break;
    case kTensor:
      attrs.set(name, tensor_of(s, *a.mutable_t()));
      break;
    case kGraph:
      bodies.push_back({name, a.mutable_g()});
      break;
    case kFloats:
      attrs.set(name, std::vector<float>(a.floats().begin(), a.floats().end()));
      break;
    case kInts:
      attrs.set(name, std::vector<int64_t>(a.ints().begin(), a.ints().end()));
      break;
    case kStrings:
      attrs.set(name, std::vector<std::string>(a.strings().begin(), a.strings().end()));
      break;
    case kTensors: {
      std::vector<Tensor> list;
      for (TensorProto& t : *a.mutable_tensors()) list.push_back(tensor_of(s, t));
      attrs.set(name, std::move(list));
      break;
    }
    case kSparseTensor:
      attrs.set(name, tensor_of(s, *a.mutable_sparse_tensor()));
      break;
    case kTypeProto: {
      // As two attributes: what kind of value, and of which elements.
      const Fact f = fact_of_type(a.tp(), s.build);
      constexpr const char* kKinds[] = {"tensor", "sequence", "optional"};
      attrs.set(name, std::string(kKinds[static_cast<size_t>(f.kind)]));
      attrs.set(name + "_dtype", static_cast<int64_t>(f.dtype));
      break;
    }
    default:
      throw Error(Code::unsupported,
                  "attribute " + quoted(name) + ": a list of graphs, types or sparse tensors");
  }
}

void Importer::read_attributes(Scope& s, NodeProto& proto, Draft& draft, std::vector<Body>& bodies) {
  std::unordered_set<std::string> seen;
  for (AttributeProto& a : *proto.mutable_attribute()) {
    if (a.name().empty()) invalid("an attribute without a name");
    if (!seen.insert(a.name()).second) invalid("two attributes " + quoted(a.name()));
    if (a.ref_attr_name().empty()) {
      read_attribute(s, a.name(), a, draft, bodies);
      continue;
    }
    if (!s.bindings) invalid("attribute " + quoted(a.name()) + " refers to a function's, outside of one");
    const auto bound = s.bindings->find(a.ref_attr_name());
    if (bound == s.bindings->end()) continue;  // not given and without default: as if it were not there
    if (type_of(*bound->second) == kGraph) throw Error(Code::unsupported, "a body as a function's attribute");
    read_attribute(s, a.name(), *bound->second, draft, bodies);
  }
}

bool Importer::constant_node(Scope& s, const NodeProto& proto, Draft& draft) {
  if (draft.op != "Constant" || !draft.domain.empty()) return false;
  if (draft.attrs.size() != 1) invalid("a Constant has exactly one attribute");
  if (!draft.inputs.empty() || proto.output_size() != 1) invalid("a Constant has no input and one output");
  const auto& [key, value] = *draft.attrs.begin();
  Tensor t;
  if (key == "value" || key == "sparse_value") {
    t = draft.attrs.tensor(key);
  } else if (key == "value_float") {
    t = Tensor::scalar(draft.attrs.real(key));
  } else if (key == "value_int") {
    t = Tensor::scalar(draft.attrs.integer(key));
  } else if (key == "value_string") {
    t = Tensor::scalar(draft.attrs.text(key));
  } else if (key == "value_floats") {
    const auto list = draft.attrs.reals(key, {});
    t = Tensor::of<float>({static_cast<int64_t>(list.size())}, list);
  } else if (key == "value_ints") {
    t = Tensor::vector(draft.attrs.integers(key));
  } else if (key == "value_strings") {
    const auto list = draft.attrs.texts(key, {});
    t = Tensor::of<std::string>({static_cast<int64_t>(list.size())}, list);
  } else {
    invalid("attribute " + quoted(key) + " of a Constant");
  }
  const std::string& name = proto.output(0);
  define(s, name, s.build.graph.add_constant(value_name(s, name), std::move(t)));
  return true;
}

void Importer::refuse(const Draft& draft, std::string why) {
  refusals_.add({draft.op, draft.domain, draft.opset, draft.name.empty() ? "(no name)" : quoted(draft.name),
                 std::move(why)});
}

// After a refusal: the outputs exist, so that the rest of the model can be looked at too.
void Importer::define_unknown(Scope& s, const NodeProto& proto) {
  for (const std::string& out : proto.output()) {
    if (!out.empty() && !s.values.contains(out)) define(s, out, s.build.graph.add_value(value_name(s, out)));
  }
}

void Importer::emit(Scope& s, const NodeProto& proto, Draft& draft) {
  NodeRewrite rewrite(*this, s, draft);
  upgrade(rewrite);
  Graph& g = s.build.graph;
  if (rewrite.replaced()) {
    for (int i = 0; i < proto.output_size(); ++i) {
      const std::string& name = proto.output(i);
      if (name.empty()) continue;
      const ValueId v = rewrite.result(static_cast<size_t>(i));
      if (v == kNoValue) throw Error(Code::unsupported, "output " + std::to_string(i) + " of its old form");
      if (g.producer(v) != kNoNode) g.value(v).name = value_name(s, name);
      define(s, name, v);
      claim(s, name, v);
    }
    return;
  }
  const OpDef* def = find_op(draft.domain, draft.op);
  if (!def) throw Error(Code::unsupported, "no such operator" + nearest_operator(draft.domain, draft.op));
  while (!draft.inputs.empty() && draft.inputs.back() == kNoValue) draft.inputs.pop_back();
  const auto inputs = static_cast<int64_t>(draft.inputs.size()) - draft.attrs.integer("captures", 0);
  if (inputs < def->min_inputs || inputs > def->max_inputs) {
    invalid(std::to_string(inputs) + " inputs, it takes " + std::to_string(def->min_inputs) + " to " +
            std::to_string(def->max_inputs));
  }
  if (proto.output_size() == 0) invalid("no outputs");
  std::vector<ValueId> outputs;
  int last = proto.output_size();
  while (last > 0 && proto.output(last - 1).empty()) --last;
  if (last > def->max_outputs) {
    invalid(std::to_string(last) + " outputs, it gives up to " + std::to_string(def->max_outputs));
  }
  for (int i = 0; i < last; ++i) {
    const std::string& name = proto.output(i);
    outputs.push_back(name.empty() ? kNoValue : g.add_value(value_name(s, name)));
    if (!name.empty()) define(s, name, outputs.back());
  }
  const std::string stem = s.prefix + (draft.name.empty() ? draft.op : draft.name);
  const NodeId id =
      g.add_node(*def, s.build.unique_node(stem), draft.inputs, outputs, std::move(draft.attrs));
  infer_node(g, id);
  for (int i = 0; i < last; ++i) {
    if (outputs[static_cast<size_t>(i)] != kNoValue)
      claim(s, proto.output(i), outputs[static_cast<size_t>(i)]);
  }
}

void Importer::import_node(Scope& s, NodeProto& proto) {
  count_node();
  Draft draft;
  draft.op = proto.op_type();
  draft.domain = plain_domain(proto.domain());
  draft.name = proto.name();
  if (draft.op.empty()) invalid("no operator is given");
  for (const std::string& in : proto.input()) {
    draft.inputs.push_back(in.empty() ? kNoValue : resolve(s, in));
  }
  for (const std::string& out : proto.output()) draft.wanted.push_back(!out.empty());
  if (inline_function(s, proto, draft)) return;
  const auto opset = s.opsets.find(draft.domain);
  if (opset != s.opsets.end()) draft.opset = opset->second;
  std::vector<Body> bodies;
  try {
    add_node(s, proto, draft, bodies);
  } catch (const Error& e) {
    if (e.code() != Code::unsupported) throw;
    refuse(draft, e.message());
    define_unknown(s, proto);
  }
}

void Importer::add_node(Scope& s, NodeProto& proto, Draft& draft, std::vector<Body>& bodies) {
  read_attributes(s, proto, draft, bodies);
  if (draft.domain.empty()) {
    if (draft.opset == 0) throw Error(Code::unsupported, "the model does not say which opset it uses");
    if (draft.opset > kNewestOpset) {
      throw Error(Code::unsupported,
                  "the opset is newer than " + std::to_string(kNewestOpset) + ", the newest known");
    }
  }
  if (constant_node(s, proto, draft)) return;
  if (!bodies.empty()) {
    const OpDef* def = find_op(draft.domain, draft.op);
    if (def && !(def->flags & kOpControl))
      invalid("attribute " + quoted(bodies[0].attribute) + " is a graph");
    import_bodies(s, draft, bodies);
  }
  emit(s, proto, draft);
}

}  // namespace skyline::onnx
