#include "engine/plan_file/graph_reader.h"

#include <algorithm>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"

namespace skyline::plan_file {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(Code::invalid, "plan file: " + what);
}

std::string text(const flatbuffers::String* s) {
  return s ? s->str() : std::string();
}

template <class V>
size_t count(const V* vector) {
  return vector ? vector->size() : 0;
}

DType dtype_of(uint8_t number) {
  if (number > static_cast<uint8_t>(DType::i2)) fail("unknown element type " + std::to_string(number));
  return static_cast<DType>(number);
}

Fact read_fact(const schema::Fact& f, const std::vector<Dim>& symbols) {
  Fact out;
  if (f.kind() > static_cast<uint8_t>(Fact::Kind::optional)) fail("unknown kind of value");
  out.kind = static_cast<Fact::Kind>(f.kind());
  out.dtype = dtype_of(f.dtype());
  out.ranked = f.ranked();
  if (count(f.dims()) > static_cast<size_t>(kMaxRank)) fail("a rank above " + std::to_string(kMaxRank));
  if (!out.ranked && count(f.dims()) > 0) fail("dimensions of an unknown rank");
  for (size_t i = 0; i < count(f.dims()); ++i) {
    const int64_t d = f.dims()->Get(static_cast<uint32_t>(i));
    if (d >= 0) {
      out.dims.emplace_back(d);
    } else if (d == -1) {
      out.dims.push_back(Dim::unknown());
    } else {
      const auto symbol = static_cast<uint64_t>(-(d + 2));
      if (symbol >= symbols.size()) fail("an unknown symbol of a dimension");
      out.dims.push_back(symbols[symbol]);
    }
  }
  return out;
}

ValueId value_at(uint32_t index, const Graph& g, bool may_be_none) {
  if (index == kNone && may_be_none) return kNoValue;
  if (index >= g.value_slots()) fail("value " + std::to_string(index) + " is not there");
  return ValueId{index};
}

std::vector<ValueId> values_of(const flatbuffers::Vector<uint32_t>* list, const Graph& g) {
  std::vector<ValueId> out;
  for (size_t i = 0; i < count(list); ++i)
    out.push_back(value_at(list->Get(static_cast<uint32_t>(i)), g, true));
  return out;
}

}  // namespace

GraphReader::GraphReader(const schema::Plan& plan, std::shared_ptr<const Mapping> file, uint64_t data_start)
    : plan_(plan), file_(std::move(file)) {
  // Absent blobs share one region, 64 bytes apart so that each has an address of its own.
  uint64_t largest = 0, absent = 0;
  for (size_t i = 0; i < count(plan.blobs()); ++i) {
    const schema::Blob& b = *plan.blobs()->Get(static_cast<uint32_t>(i));
    if (b.offset() != kNoPlace) continue;
    largest = std::max(largest, b.bytes());
    ++absent;
  }
  // Packed forms are in the file, and none packs more than eight to one.
  if (largest / 8 > file_->bytes()) fail("more bytes are left out than the rest can stand for");
  if (absent > 0) nothing_ = Mapping::of_nothing(largest + absent * kBlobAlign);
  addresses_.reserve(count(plan.blobs()));
  uint64_t next = 0;
  for (size_t i = 0; i < count(plan.blobs()); ++i) {
    const schema::Blob& b = *plan.blobs()->Get(static_cast<uint32_t>(i));
    if (b.offset() == kNoPlace) {
      addresses_.push_back(nothing_->data() + next++ * kBlobAlign);
    } else {
      addresses_.push_back(file_->data() + data_start + b.offset());
    }
  }
  read_tensors();
}

bool GraphReader::is_absent(uint32_t blob) const {
  return plan_.blobs()->Get(blob)->offset() == kNoPlace;
}
std::shared_ptr<const void> GraphReader::owner(uint32_t blob) const {
  return is_absent(blob) ? nothing_ : file_;
}
Tensor GraphReader::bytes_of(uint32_t blob) const {
  return Tensor::view(DType::u8, {static_cast<int64_t>(plan_.blobs()->Get(blob)->bytes())}, address(blob),
                      owner(blob));
}

void GraphReader::read_tensors() {
  tensors_.reserve(count(plan_.tensors()));
  for (size_t i = 0; i < count(plan_.tensors()); ++i)
    tensors_.push_back(read_tensor(*plan_.tensors()->Get(static_cast<uint32_t>(i))));
}

Tensor GraphReader::read_tensor(const schema::Tensor& t) {
  const DType type = dtype_of(t.dtype());
  if (type == DType::undefined) fail("a tensor without element type");
  Dims dims;
  for (size_t i = 0; i < count(t.dims()); ++i) dims.push_back(t.dims()->Get(static_cast<uint32_t>(i)));
  const int64_t elements = element_count(dims), bytes = byte_count(type, dims);
  if (type == DType::string) {
    if (static_cast<uint64_t>(elements) != count(t.texts())) fail("a tensor with too few or too many texts");
    Tensor out(type, std::move(dims));
    for (int64_t i = 0; i < elements; ++i)
      out.mutable_data<std::string>()[i] = text(t.texts()->Get(static_cast<uint32_t>(i)));
    return out;
  }
  if (elements == 0) return Tensor(type, std::move(dims));
  if (t.blob() >= addresses_.size()) fail("a tensor without bytes");
  if (plan_.blobs()->Get(t.blob())->bytes() != static_cast<uint64_t>(bytes))
    fail("a tensor of " + std::string(name(type)) + to_string(dims) + " has another number of bytes");
  const std::byte* data = address(t.blob());
  if (type == DType::boolean && std::any_of(data, data + bytes, [](std::byte b) { return b > std::byte{1}; }))
    fail("a boolean that is neither true nor false");
  return Tensor::view(type, std::move(dims), data, owner(t.blob()));
}

const Tensor& GraphReader::tensor(uint32_t index) const {
  if (index >= tensors_.size()) fail("tensor " + std::to_string(index) + " is not there");
  return tensors_[index];
}

AttrValue GraphReader::attribute(const schema::Attribute& a) {
  const auto only = [&](const auto* list) {
    if (count(list) != 1) fail("attribute '" + text(a.name()) + "' has no value");
    return list->Get(0);
  };
  switch (a.kind()) {
    case schema::AttributeKind_integer:
      return only(a.integers());
    case schema::AttributeKind_real:
      return only(a.reals());
    case schema::AttributeKind_text:
      return text(only(a.texts()));
    case schema::AttributeKind_tensor:
      return tensor(only(a.tensors()));
    case schema::AttributeKind_graph:
      if (!a.graph()) fail("attribute '" + text(a.name()) + "' has no body");
      return std::make_shared<const Graph>(graph(*a.graph()));
    case schema::AttributeKind_integers: {
      std::vector<int64_t> out;
      if (a.integers()) out.assign(a.integers()->begin(), a.integers()->end());
      return out;
    }
    case schema::AttributeKind_reals: {
      std::vector<float> out;
      if (a.reals()) out.assign(a.reals()->begin(), a.reals()->end());
      return out;
    }
    case schema::AttributeKind_texts: {
      std::vector<std::string> out;
      for (size_t i = 0; i < count(a.texts()); ++i)
        out.push_back(text(a.texts()->Get(static_cast<uint32_t>(i))));
      return out;
    }
    case schema::AttributeKind_tensors: {
      std::vector<Tensor> out;
      for (size_t i = 0; i < count(a.tensors()); ++i)
        out.push_back(tensor(a.tensors()->Get(static_cast<uint32_t>(i))));
      return out;
    }
  }
  fail("attribute '" + text(a.name()) + "' is of no known kind");
}

void GraphReader::node(const schema::Node& n, Graph& g) {
  const std::string domain = text(n.domain()), op_name = text(n.op());
  const OpDef* op = find_op(domain, op_name);
  if (!op)
    throw Error(Code::unsupported, "plan file: no operator '" + op_name.substr(0, 80) + "' in domain '" +
                                       domain.substr(0, 80) + "'");
  Attrs attrs;
  for (size_t i = 0; i < count(n.attributes()); ++i) {
    const schema::Attribute& a = *n.attributes()->Get(static_cast<uint32_t>(i));
    attrs.set(text(a.name()), attribute(a));
  }
  const std::vector<ValueId> outputs = values_of(n.outputs(), g);
  for (ValueId v : outputs) {
    if (v != kNoValue && (g.producer(v) != kNoNode || g.constant(v) || g.is_input(v)))
      fail("a value is produced twice");
  }
  g.add_node(*op, text(n.name()), values_of(n.inputs(), g), outputs, std::move(attrs));
}

Graph GraphReader::graph(const schema::Graph& from) {
  Graph g;
  g.name = text(from.name());
  std::vector<Dim> symbols;
  for (size_t i = 0; i < count(from.symbols()); ++i)
    symbols.push_back(g.symbol(text(from.symbols()->Get(static_cast<uint32_t>(i)))));
  if (from.inputs() > count(from.values())) fail("inputs that are not there");
  for (size_t i = 0; i < count(from.values()); ++i) {
    const schema::Value& v = *from.values()->Get(static_cast<uint32_t>(i));
    Fact fact;
    if (v.fact()) fact = read_fact(*v.fact(), symbols);
    if (i < from.inputs()) {
      if (v.tensor() != kNone) fail("an input that is a constant");
      g.add_input(text(v.name()), std::move(fact));
    } else if (v.tensor() != kNone) {
      g.add_constant(text(v.name()), tensor(v.tensor()));
    } else {
      g.value(g.add_value(text(v.name()))).fact = std::move(fact);
    }
  }
  for (size_t i = 0; i < count(from.nodes()); ++i) node(*from.nodes()->Get(static_cast<uint32_t>(i)), g);
  if (count(from.outputs()) != count(from.output_names())) fail("outputs and their names differ in number");
  for (size_t i = 0; i < count(from.outputs()); ++i) {
    const auto at = static_cast<uint32_t>(i);
    g.add_output(value_at(from.outputs()->Get(at), g, false), text(from.output_names()->Get(at)));
  }
  verify_graph(g);
  return g;
}

}  // namespace skyline::plan_file
