#pragma once
// Bytes to a message of the schema.
#include <google/protobuf/message_lite.h>

#include <span>

#include "graph/onnx/wire.h"
#include "skyline/model.h"

namespace skyline::onnx {

// check_wire(), then protobuf. Error{parse}, {invalid}, {limit}.
void parse_message(std::span<const char> bytes, Message kind, const ModelLimits& limits,
                   google::protobuf::MessageLite& to);

}  // namespace skyline::onnx
