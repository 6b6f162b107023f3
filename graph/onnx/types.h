#pragma once
// TypeProto to facts, and back.
#include <functional>

#include "onnx_schema.pb.h"
#include "skyline/graph.h"

namespace skyline::onnx {

// Turns a dimension's name into a symbol of some graph.
using SymbolOf = std::function<Dim(const std::string&)>;

// An absent type gives an empty fact. Error{unsupported} for maps, sparse tensors and opaque types and for
// element types that we do not have.
Fact fact_of(const TypeProto& type, const SymbolOf& symbol_of);
// `graph` gives the names of symbols.
void write_type(const Fact& fact, const Graph& graph, TypeProto& type);

}  // namespace skyline::onnx
