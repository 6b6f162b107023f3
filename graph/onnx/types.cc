#include "graph/onnx/types.h"

#include "graph/onnx/tensors.h"

namespace skyline::onnx {
namespace {

Fact tensor_fact(const TypeProto::Tensor& t, const SymbolOf& symbol_of) {
  Fact f;
  f.dtype = t.elem_type() == 0 ? DType::undefined : dtype_of(t.elem_type());
  if (!t.has_shape()) return f;
  if (t.shape().dim_size() > kMaxRank)
    throw Error(Code::limit, "rank " + std::to_string(t.shape().dim_size()));
  f.ranked = true;
  for (const auto& d : t.shape().dim()) {
    if (d.has_dim_value()) {
      // Some exporters write -1 for "not known".
      f.dims.push_back(d.dim_value() >= 0 ? Dim(d.dim_value()) : Dim::unknown());
    } else {
      f.dims.push_back(d.dim_param().empty() ? Dim::unknown() : symbol_of(d.dim_param()));
    }
  }
  return f;
}

void write_tensor_type(const Fact& fact, const Graph& graph, TypeProto::Tensor& t) {
  t.set_elem_type(static_cast<int32_t>(fact.dtype));
  if (!fact.ranked) return;
  ShapeProto& shape = *t.mutable_shape();
  for (Dim d : fact.dims) {
    ShapeProto::Dim& to = *shape.add_dim();
    if (d.known()) {
      to.set_dim_value(d.value());
    } else if (d.is_symbol()) {
      to.set_dim_param(graph.dim_name(d));
    }
  }
}

}  // namespace

Fact fact_of(const TypeProto& type, const SymbolOf& symbol_of) {
  switch (type.value_case()) {
    case TypeProto::kTensorType:
      return tensor_fact(type.tensor_type(), symbol_of);
    case TypeProto::kSequenceType:
    case TypeProto::kOptionalType: {
      const bool sequence = type.has_sequence_type();
      Fact f = fact_of((sequence ? type.sequence_type() : type.optional_type()).elem_type(), symbol_of);
      f.kind = sequence ? Fact::Kind::sequence : Fact::Kind::optional;
      return f;
    }
    case TypeProto::VALUE_NOT_SET:
      return {};
    case TypeProto::kMapType:
      throw Error(Code::unsupported, "a map");
    case TypeProto::kSparseTensorType:
      throw Error(Code::unsupported, "a sparse tensor");
    case TypeProto::kOpaqueType:
      throw Error(Code::unsupported, "an opaque type");
  }
  return {};
}

void write_type(const Fact& fact, const Graph& graph, TypeProto& type) {
  switch (fact.kind) {
    case Fact::Kind::tensor:
      return write_tensor_type(fact, graph, *type.mutable_tensor_type());
    case Fact::Kind::sequence:
      return write_tensor_type(fact, graph,
                               *type.mutable_sequence_type()->mutable_elem_type()->mutable_tensor_type());
    case Fact::Kind::optional:
      return write_tensor_type(fact, graph,
                               *type.mutable_optional_type()->mutable_elem_type()->mutable_tensor_type());
  }
}

}  // namespace skyline::onnx
