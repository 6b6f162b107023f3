// Names: where a value comes from, what a body captures, what a call of a function stands for.
#include <algorithm>
#include <queue>

#include "graph/ir/infer.h"
#include "graph/onnx/importer.h"
#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

[[noreturn]] void invalid(const std::string& what) {
  throw Error(Code::invalid, what);
}

template <class F>
void for_each_body(const NodeProto& n, F&& f) {
  for (const AttributeProto& a : n.attribute()) {
    if (a.has_g()) f(a.g());
    for (const GraphProto& g : a.graphs()) f(g);
  }
}

}  // namespace

std::string describe(const NodeProto& proto, size_t index) {
  const std::string which = proto.name().empty() ? "#" + std::to_string(index) : quoted(proto.name());
  return "node " + which + " (" + proto.op_type() + ")";
}

// Names that a body uses and does not define itself, in order of first use.
const std::vector<std::string>& Importer::free_names(const GraphProto& graph) {
  const auto known = free_names_.find(&graph);
  if (known != free_names_.end()) return known->second;
  std::unordered_set<std::string> own;
  for (const ValueInfoProto& v : graph.input()) own.insert(v.name());
  for (const TensorProto& t : graph.initializer()) own.insert(t.name());
  for (const SparseTensorProto& t : graph.sparse_initializer()) own.insert(t.values().name());
  for (const NodeProto& n : graph.node()) own.insert(n.output().begin(), n.output().end());
  std::vector<std::string> free;
  const auto use = [&](const std::string& name) {
    if (!name.empty() && own.insert(name).second) free.push_back(name);
  };
  for (const NodeProto& n : graph.node()) {
    for (const std::string& in : n.input()) use(in);
    for_each_body(n, [&](const GraphProto& body) {
      for (const std::string& name : free_names(body)) use(name);
    });
  }
  for (const ValueInfoProto& v : graph.output()) use(v.name());
  return free_names_.emplace(&graph, std::move(free)).first->second;
}

// Producers before consumers, otherwise as in the file. Files are to be sorted already, but not all are.
std::vector<size_t> Importer::order_of(const Nodes& nodes) {
  const auto count = static_cast<size_t>(nodes.size());
  std::unordered_map<std::string_view, size_t> producer;
  for (size_t i = 0; i < count; ++i) {
    for (const std::string& out : nodes[static_cast<int>(i)].output()) {
      if (out.empty()) continue;
      if (!producer.emplace(out, i).second) invalid("the value " + quoted(out) + " is produced twice");
    }
  }
  std::vector<std::vector<size_t>> consumers(count);
  std::vector<size_t> waits_for(count);
  bool sorted = true;
  const auto use = [&](const std::string& name, size_t by) {
    const auto at = producer.find(name);
    if (name.empty() || at == producer.end()) return;
    sorted = sorted && at->second < by;
    consumers[at->second].push_back(by);
    ++waits_for[by];
  };
  for (size_t i = 0; i < count; ++i) {
    const NodeProto& n = nodes[static_cast<int>(i)];
    for (const std::string& in : n.input()) use(in, i);
    for_each_body(n, [&](const GraphProto& body) {
      for (const std::string& name : free_names(body)) use(name, i);
    });
  }
  std::vector<size_t> order;
  order.reserve(count);
  if (sorted) {
    for (size_t i = 0; i < count; ++i) order.push_back(i);
    return order;
  }
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < count; ++i) {
    if (waits_for[i] == 0) ready.push(i);
  }
  while (!ready.empty()) {
    const size_t i = ready.top();
    ready.pop();
    order.push_back(i);
    for (size_t c : consumers[i]) {
      if (--waits_for[c] == 0) ready.push(c);
    }
  }
  if (order.size() == count) return order;
  std::string stuck;
  for (size_t i = 0, listed = 0; i < count && listed < 5; ++i) {
    if (waits_for[i] == 0) continue;
    stuck += (listed++ ? ", " : "") + describe(nodes[static_cast<int>(i)], i);
  }
  invalid("the graph has a cycle among " + stuck);
}

ValueId Importer::resolve(Scope& s, const std::string& name) {
  const auto at = s.values.find(name);
  if (at != s.values.end()) return at->second;
  invalid("the value " + quoted(name) + " is used but never defined");
}

void Importer::define(Scope& s, const std::string& name, ValueId v) {
  if (!s.values.emplace(name, v).second) invalid("the value " + quoted(name) + " is defined twice");
}

std::string Importer::value_name(Scope& s, const std::string& name) {
  const auto at = s.preferred_names.find(name);
  return s.build.unique_value(at != s.preferred_names.end() ? at->second : s.prefix + name);
}

// What the file says of a value where inference does not know. Claimed dims are believed only where no input
// is dynamic: files are often edited to another batch without a change of what they say about the inside.
void Importer::claim(Scope& s, const std::string& name, ValueId v) {
  const auto at = s.claims.find(name);
  if (at == s.claims.end()) return;
  Fact said;
  try {
    said = fact_of_type(*at->second, s.build);
  } catch (const Error&) {
    return;
  }
  if (!static_inputs_) {
    for (Dim& d : said.dims) d = Dim::unknown();
  }
  Fact& fact = s.build.graph.value(v).fact;
  if (auto merged = merge_facts(fact, said)) fact = std::move(*merged);
}

// The fact of a body's input that is declared without a type, from the node that runs the body.
Fact Importer::body_input_fact(const Draft& draft, const Graph& outer, size_t i, size_t formal) const {
  const auto of_input = [&](size_t k) { return draft.in(k) == kNoValue ? Fact() : outer.fact(draft.in(k)); };
  if (draft.op == "Loop") {
    if (i == 0) return Fact(DType::i64, {});
    if (i == 1) return Fact(DType::boolean, {});
    Fact f = of_input(i);
    f.ranked = false;  // the shape may change from one iteration to the next
    f.dims.clear();
    return f;
  }
  if (draft.op == "Scan" || draft.op == "SequenceMap") {
    Fact f = of_input(i);
    const auto scanned = static_cast<size_t>(std::max<int64_t>(0, draft.attrs.integer("num_scan_inputs", 0)));
    if (draft.op == "Scan" && i + scanned < formal) return f;
    return f.kind == Fact::Kind::tensor && draft.op == "SequenceMap" ? f : Fact::unranked(f.dtype);
  }
  return {};
}

GraphPtr Importer::import_body(Scope& s, const Draft& draft, GraphProto& proto,
                               const std::vector<ValueId>& captures,
                               const std::unordered_map<std::string, ValueId>& captured) {
  GraphBuild build;
  build.graph.name = proto.name();
  intern_symbols(build.graph);
  Scope body(build, s.opsets);
  body.outer = &s;
  body.caller = s.caller;
  body.function = s.function;
  body.bindings = s.bindings;
  body.body_depth = s.body_depth + 1;
  body.call_depth = s.call_depth;
  if (body.body_depth > options_.limits.max_nesting) {
    throw Error(Code::limit, "bodies nest deeper than " + std::to_string(options_.limits.max_nesting));
  }
  const Graph& outer = s.build.graph;
  for (int i = 0; i < proto.input_size(); ++i) {
    const ValueInfoProto& v = proto.input(i);
    if (v.name().empty()) invalid("a body's input without a name");
    Fact fact = fact_of_type(v.type(), build);
    const Fact known =
        body_input_fact(draft, outer, static_cast<size_t>(i), static_cast<size_t>(proto.input_size()));
    if (auto merged = merge_facts(fact, known)) fact = std::move(*merged);
    define(body, v.name(), build.graph.add_input(build.unique_value(v.name()), fact));
  }
  std::unordered_map<uint32_t, ValueId> inner;
  for (ValueId v : captures) {
    const ValueInfo& from = outer.value(v);
    inner.emplace(static_cast<uint32_t>(v), build.graph.add_input(build.unique_value(from.name), from.fact));
  }
  for (const std::string& name : free_names(proto)) {
    const ValueId v = captured.at(name);
    if (v == kNoValue) {
      define(body, name, kNoValue);
    } else if (const Tensor* constant = outer.constant(v)) {
      define(body, name, build.graph.add_constant(build.unique_value(name), *constant));
    } else {
      define(body, name, inner.at(static_cast<uint32_t>(v)));
    }
  }
  import_initializers(body, proto);
  note_claims(body, proto.value_info());
  note_claims(body, proto.output());
  import_nodes(body, *proto.mutable_node());
  for (const ValueInfoProto& v : proto.output()) {
    const ValueId id = resolve(body, v.name());
    if (id == kNoValue) invalid("the body's output " + quoted(v.name()) + " is omitted");
    build.graph.add_output(id, v.name());
  }
  return std::make_shared<const Graph>(std::move(build.graph));
}

// Bodies become closed graphs: see Node in skyline/graph.h.
void Importer::import_bodies(Scope& s, Draft& draft, std::vector<Body>& bodies) {
  std::unordered_map<std::string, ValueId> captured;
  std::vector<ValueId> captures;
  std::unordered_set<uint32_t> seen;
  for (const Body& b : bodies) {
    for (const std::string& name : free_names(*b.proto)) {
      if (captured.contains(name)) continue;
      const ValueId v = resolve(s, name);
      captured.emplace(name, v);
      if (v == kNoValue || s.build.graph.constant(v)) continue;
      if (seen.insert(static_cast<uint32_t>(v)).second) captures.push_back(v);
    }
  }
  for (Body& b : bodies) {
    try {
      draft.attrs.set(b.attribute, import_body(s, draft, *b.proto, captures, captured));
    } catch (Error& e) {
      throw e.in(b.attribute);
    }
  }
  draft.inputs.insert(draft.inputs.end(), captures.begin(), captures.end());
  draft.attrs.set("captures", static_cast<int64_t>(captures.size()));
}

// True if the node calls a function of the model: then its nodes are in the graph and its results are
// defined.
bool Importer::inline_function(Scope& s, NodeProto& proto, const Draft& draft) {
  const auto at = functions_.find(function_key(proto.domain(), proto.op_type(), proto.overload()));
  if (at == functions_.end()) return false;
  FunctionProto& f = *at->second;
  count_node();
  for (const Scope* c = &s; c; c = c->caller) {
    if (c->function == &f) invalid("the function " + quoted(f.name()) + " calls itself");
  }
  if (s.call_depth >= options_.limits.max_call_depth) {
    throw Error(Code::limit,
                "functions call each other deeper than " + std::to_string(options_.limits.max_call_depth));
  }
  if (proto.input_size() > f.input_size())
    invalid("more inputs than the function " + quoted(f.name()) + " takes");
  if (proto.output_size() > f.output_size())
    invalid("more outputs than the function " + quoted(f.name()) + " gives");

  Bindings bindings;
  for (AttributeProto& a : *f.mutable_attribute_proto()) bindings[a.name()] = &a;
  for (AttributeProto& a : *proto.mutable_attribute()) {
    AttributeProto* given = &a;
    if (!a.ref_attr_name().empty()) {
      const auto bound = s.bindings ? s.bindings->find(a.ref_attr_name()) : Bindings::const_iterator();
      if (!s.bindings || bound == s.bindings->end()) continue;
      given = bound->second;
    }
    bindings[a.name()] = given;
  }

  Scope call(s.build, function_opsets_.at(&f));
  call.caller = &s;
  call.function = &f;
  call.bindings = &bindings;
  call.body_depth = s.body_depth;
  call.call_depth = s.call_depth + 1;
  call.prefix = s.prefix + (proto.name().empty() ? f.name() : proto.name()) + "/";
  for (int i = 0; i < f.input_size(); ++i) {
    define(call, f.input(i),
           static_cast<size_t>(i) < draft.inputs.size() ? draft.inputs[static_cast<size_t>(i)] : kNoValue);
  }
  for (int i = 0; i < proto.output_size(); ++i) {
    const auto named = s.preferred_names.find(proto.output(i));
    const std::string& name = named != s.preferred_names.end() ? named->second : proto.output(i);
    if (!name.empty())
      call.preferred_names.emplace(f.output(i), named != s.preferred_names.end() ? name : s.prefix + name);
  }
  note_claims(call, f.value_info());
  try {
    import_nodes(call, *f.mutable_node());
    for (int i = 0; i < proto.output_size(); ++i) {
      if (!proto.output(i).empty()) define(s, proto.output(i), resolve(call, f.output(i)));
    }
  } catch (Error& e) {
    throw e.in("function " + quoted(f.name()));
  }
  return true;
}

}  // namespace skyline::onnx
