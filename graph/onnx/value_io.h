#pragma once
// Values in .pb files: the inputs and outputs of ONNX test data.
#include <span>
#include <string>
#include <string_view>

#include "skyline/graph.h"

namespace skyline::onnx {

// Reads a TensorProto, SequenceProto or OptionalProto, as `expected.kind` says (nothing in such a file does).
// An empty optional is an empty Value. Error{io}, or Error{input} for bytes that do not hold such a value.
Value load_value(const std::string& path, const Fact& expected);
Value parse_value(std::span<const char> bytes, const Fact& expected);

// A tensor as TensorProto, a sequence as SequenceProto, nothing as OptionalProto.
std::string serialize_value(const Value& v, std::string_view name);
void save_value(const std::string& path, const Value& v, std::string_view name);

}  // namespace skyline::onnx
