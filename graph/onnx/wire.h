#pragma once
// The first look at a file's bytes, before protobuf allocates anything for them.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace skyline::onnx {

enum class Message : uint8_t {
  model,
  graph,
  function,
  node,
  attribute,
  tensor,
  segment,
  sparse,
  value_info,
  type,
  type_tensor,
  type_nested,
  type_map,
  type_opaque,
  shape,
  dim,
  opset,
  entry,
  sequence,
  optional,
};

struct WireLimits {
  int max_depth = 100;                        // of nested messages
  int64_t max_messages = int64_t{1} << 24;    // in all
  int64_t max_name_bytes = int64_t{1} << 16;  // of one name
};

// Walks `bytes` as a message of the schema without recursion or allocation by the input's numbers. Throws
// Error{parse} for a broken encoding or a known field of another wire type, {invalid} for a name that is not
// UTF-8 or holds a NUL, {limit} beyond the limits. Unknown fields are skipped. Linear in the number of
// fields.
void check_wire(std::span<const char> bytes, Message root, const WireLimits& limits = {});

bool is_utf8(std::string_view s);
// For messages: in single quotes, control characters and invalid bytes escaped, shortened when long.
std::string quoted(std::string_view s);

}  // namespace skyline::onnx
