#include "graph/onnx/value_io.h"

#include "graph/onnx/parse.h"
#include "graph/onnx/tensors.h"

namespace skyline::onnx {
namespace {

// SequenceProto.elem_type and OptionalProto.elem_type
enum Element : int32_t { kTensor = 1, kSparse = 2, kSequence = 3, kMap = 4, kOptional = 5 };

Value from(SequenceProto& p, TensorReader& reader, DType declared = DType::undefined);

Value from(OptionalProto& p, TensorReader& reader) {
  if (p.has_tensor_value()) return reader.read(*p.mutable_tensor_value());
  if (p.has_sparse_tensor_value()) return reader.read(*p.mutable_sparse_tensor_value());
  if (p.has_sequence_value()) return from(*p.mutable_sequence_value(), reader);
  if (p.has_optional_value()) return from(*p.mutable_optional_value(), reader);
  return {};
}

Value from(SequenceProto& p, TensorReader& reader, DType declared) {
  std::vector<Value> items;
  for (TensorProto& t : *p.mutable_tensor_values()) items.emplace_back(reader.read(t));
  for (SparseTensorProto& t : *p.mutable_sparse_tensor_values()) items.emplace_back(reader.read(t));
  for (SequenceProto& s : *p.mutable_sequence_values()) items.push_back(from(s, reader));
  for (OptionalProto& o : *p.mutable_optional_values()) items.push_back(from(o, reader));
  if (p.elem_type() == kMap) throw Error(Code::unsupported, "a sequence of maps");
  const DType element = items.empty() ? declared : items.front().element_type();
  return Value::sequence(std::move(items), element);
}

void write(const Value& v, SequenceProto& p) {
  const auto& items = v.items();
  p.set_elem_type(!items.empty() && items.front().is_sequence() ? kSequence : kTensor);
  for (const Value& item : items) {
    if (item.is_sequence()) {
      write(item, *p.add_sequence_values());
    } else {
      write_tensor(item.tensor(), *p.add_tensor_values());
    }
  }
}

// Files that were written before their type had a number hold its bits as unsigned integers.
Value as_declared(Value v, DType declared) {
  if (!v.is_tensor() || declared == DType::undefined || v.tensor().dtype() == declared) return v;
  const Tensor& t = v.tensor();
  const bool same_bits = is_unsigned_int(t.dtype()) && storage_bits(t.dtype()) == storage_bits(declared);
  if (!same_bits || !(is_float(declared) || is_small_float(declared))) return v;
  return Tensor::view(declared, t.dims(), t.raw(), t.owner());
}

template <class Proto>
Value parse_as(std::span<const char> bytes, Message kind, DType declared) {
  Proto p;
  const ModelLimits limits;
  parse_message(bytes, kind, limits, p);
  ExternalFiles none("");
  // A dense value takes what it has in the file; sparse ones have their own bound.
  TensorReader reader(none, limits.max_constant_bytes);
  if constexpr (std::is_same_v<Proto, TensorProto>) {
    return as_declared(reader.read(p), declared);
  } else if constexpr (std::is_same_v<Proto, SequenceProto>) {
    return from(p, reader, declared);
  } else {
    return from(p, reader);
  }
}

}  // namespace

Value parse_value(std::span<const char> bytes, const Fact& expected) {
  try {
    const DType t = expected.dtype;
    switch (expected.kind) {
      case Fact::Kind::tensor:
        return parse_as<TensorProto>(bytes, Message::tensor, t);
      case Fact::Kind::sequence:
        return parse_as<SequenceProto>(bytes, Message::sequence, t);
      case Fact::Kind::optional:
        return parse_as<OptionalProto>(bytes, Message::optional, t);
    }
    return {};
  } catch (const Error& e) {
    throw Error(Code::input, e.what());
  }
}

Value load_value(const std::string& path, const Fact& expected) {
  try {
    const std::string bytes = read_file(path, ModelLimits().max_file_bytes);
    return parse_value(bytes, expected);
  } catch (Error& e) {
    throw e.in("file " + quoted(path));
  }
}

std::string serialize_value(const Value& v, std::string_view name) {
  if (v.is_tensor()) {
    TensorProto p;
    p.set_name(std::string(name));
    write_tensor(v.tensor(), p);
    return p.SerializeAsString();
  }
  if (v.is_sequence()) {
    SequenceProto p;
    p.set_name(std::string(name));
    write(v, p);
    return p.SerializeAsString();
  }
  OptionalProto p;
  p.set_name(std::string(name));
  return p.SerializeAsString();
}

void save_value(const std::string& path, const Value& v, std::string_view name) {
  write_file(path, serialize_value(v, name));
}

}  // namespace skyline::onnx
