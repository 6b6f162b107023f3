#include "engine/plan_file/graph_writer.h"

#include "graph/ir/op.h"

namespace skyline::plan_file {
namespace {

std::vector<uint32_t> numbers_of(const std::vector<ValueId>& values, const std::vector<uint32_t>& number) {
  std::vector<uint32_t> out;
  for (ValueId v : values) out.push_back(v == kNoValue ? kNone : number[static_cast<size_t>(v)]);
  return out;
}

}  // namespace

uint32_t GraphWriter::blob(const void* data, uint64_t bytes) {
  const auto [it, is_new] = blob_at_.emplace(std::pair(data, bytes), static_cast<uint32_t>(pieces_.size()));
  if (is_new) pieces_.push_back({data, bytes});
  return it->second;
}

uint32_t GraphWriter::tensor(const Tensor& t) {
  const auto number = static_cast<uint32_t>(tensors_.size());
  const auto [it, is_new] =
      tensor_at_.emplace(std::tuple(t.raw(), static_cast<int>(t.dtype()), t.dims()), number);
  // Without elements there is no address either: each such tensor is its own.
  if (!is_new && t.size() > 0) return it->second;
  held_.push_back(t);
  const auto dims = to_.CreateVector(t.dims());
  if (t.dtype() == DType::string) {
    const auto texts =
        to_.CreateVectorOfStrings({t.span<std::string>().begin(), t.span<std::string>().end()});
    tensors_.push_back(schema::CreateTensor(to_, static_cast<uint8_t>(t.dtype()), dims, kNone, texts));
  } else {
    const uint32_t b = t.size() > 0 ? blob(t.raw(), static_cast<uint64_t>(t.bytes())) : kNone;
    tensors_.push_back(schema::CreateTensor(to_, static_cast<uint8_t>(t.dtype()), dims, b));
  }
  return number;
}

flatbuffers::Offset<schema::Fact> GraphWriter::fact(const Graph& g, const Fact& f, Symbols& symbols) {
  std::vector<int64_t> dims;
  for (Dim d : f.dims) {
    if (d.is_symbol()) {
      const auto it = symbols.emplace(g.dim_name(d), static_cast<int64_t>(symbols.size())).first;
      dims.push_back(-2 - it->second);
    } else {
      dims.push_back(d.known() ? d.value() : -1);
    }
  }
  return schema::CreateFact(to_, static_cast<uint8_t>(f.kind), static_cast<uint8_t>(f.dtype), f.ranked,
                            to_.CreateVector(dims));
}

flatbuffers::Offset<schema::Attribute> GraphWriter::attribute(const std::string& key,
                                                              const AttrValue& value) {
  const auto name = to_.CreateString(key);
  flatbuffers::Offset<flatbuffers::Vector<int64_t>> integers;
  flatbuffers::Offset<flatbuffers::Vector<float>> reals;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> texts;
  flatbuffers::Offset<flatbuffers::Vector<uint32_t>> tensors;
  flatbuffers::Offset<schema::Graph> body;
  auto kind = schema::AttributeKind_integer;
  if (const auto* i = std::get_if<int64_t>(&value)) {
    integers = to_.CreateVector(i, 1);
  } else if (const auto* f = std::get_if<float>(&value)) {
    kind = schema::AttributeKind_real;
    reals = to_.CreateVector(f, 1);
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    kind = schema::AttributeKind_text;
    texts = to_.CreateVectorOfStrings({*s});
  } else if (const auto* t = std::get_if<Tensor>(&value)) {
    kind = schema::AttributeKind_tensor;
    tensors = to_.CreateVector(std::vector<uint32_t>{tensor(*t)});
  } else if (const auto* g = std::get_if<GraphPtr>(&value)) {
    kind = schema::AttributeKind_graph;
    body = graph(**g);
  } else if (const auto* is = std::get_if<std::vector<int64_t>>(&value)) {
    kind = schema::AttributeKind_integers;
    integers = to_.CreateVector(*is);
  } else if (const auto* fs = std::get_if<std::vector<float>>(&value)) {
    kind = schema::AttributeKind_reals;
    reals = to_.CreateVector(*fs);
  } else if (const auto* ss = std::get_if<std::vector<std::string>>(&value)) {
    kind = schema::AttributeKind_texts;
    texts = to_.CreateVectorOfStrings(*ss);
  } else {
    kind = schema::AttributeKind_tensors;
    std::vector<uint32_t> list;
    for (const Tensor& item : std::get<std::vector<Tensor>>(value)) list.push_back(tensor(item));
    tensors = to_.CreateVector(list);
  }
  return schema::CreateAttribute(to_, name, kind, integers, reals, texts, tensors, body);
}

flatbuffers::Offset<schema::Graph> GraphWriter::graph(const Graph& g) {
  const std::vector<NodeId> order = g.order();
  std::vector<bool> used(g.value_slots(), false);
  const auto use = [&](const std::vector<ValueId>& values) {
    for (ValueId v : values) {
      if (v != kNoValue) used[static_cast<size_t>(v)] = true;
    }
  };
  use(g.outputs());
  for (NodeId id : order) {
    use(g.node(id).inputs);
    use(g.node(id).outputs);
  }
  Symbols symbols;
  std::vector<uint32_t> number(g.value_slots(), kNone);
  std::vector<flatbuffers::Offset<schema::Value>> values;
  const auto add = [&](ValueId v) {
    number[static_cast<size_t>(v)] = static_cast<uint32_t>(values.size());
    used[static_cast<size_t>(v)] = false;
    const ValueInfo& info = g.value(v);
    const auto name = to_.CreateString(info.name);
    const auto known = fact(g, info.fact, symbols);
    const uint32_t constant = info.constant.defined() ? tensor(info.constant) : kNone;
    values.push_back(schema::CreateValue(to_, name, known, constant));
  };
  for (ValueId v : g.inputs()) add(v);
  for (uint32_t v = 0; v < g.value_slots(); ++v) {
    if (used[v]) add(ValueId{v});
  }
  std::vector<flatbuffers::Offset<schema::Node>> nodes;
  for (NodeId id : order) {
    const Node& n = g.node(id);
    std::vector<flatbuffers::Offset<schema::Attribute>> attributes;
    for (const auto& [key, value] : n.attrs) attributes.push_back(attribute(key, value));
    const auto op = to_.CreateSharedString(std::string(n.op->name));
    const auto domain = to_.CreateSharedString(std::string(n.op->domain));
    const auto name = to_.CreateString(n.name);
    const auto inputs = to_.CreateVector(numbers_of(n.inputs, number));
    const auto outputs = to_.CreateVector(numbers_of(n.outputs, number));
    nodes.push_back(schema::CreateNode(to_, op, domain, name, inputs, outputs, to_.CreateVector(attributes)));
  }
  std::vector<std::string> names(symbols.size());
  for (const auto& [name, i] : symbols) names[static_cast<size_t>(i)] = name;
  const auto name = to_.CreateString(g.name);
  const auto symbol_names = to_.CreateVectorOfStrings(names);
  const auto all_values = to_.CreateVector(values);
  const auto all_nodes = to_.CreateVector(nodes);
  const auto outputs = to_.CreateVector(numbers_of(g.outputs(), number));
  return schema::CreateGraph(to_, name, symbol_names, all_values, all_nodes,
                             static_cast<uint32_t>(g.inputs().size()), outputs,
                             to_.CreateVectorOfStrings(g.output_names()));
}

const std::vector<GraphWriter::Piece>& GraphWriter::lay_out() {
  uint64_t at = 0;
  for (Piece& p : pieces_) {
    if (!p.stored) continue;
    at = align_up(at, p.bytes >= 16 * kPage ? kPage : kBlobAlign);
    p.offset = at;
    at += p.bytes;
  }
  return pieces_;
}

flatbuffers::Offset<flatbuffers::Vector<const schema::Blob*>> GraphWriter::blobs() {
  std::vector<schema::Blob> out;
  for (const Piece& p : pieces_)
    out.emplace_back(p.offset, p.bytes, p.stored ? checksum(p.data, p.bytes) : 0);
  return to_.CreateVectorOfStructs(out);
}

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<schema::Tensor>>> GraphWriter::tensors() {
  return to_.CreateVector(tensors_);
}

}  // namespace skyline::plan_file
