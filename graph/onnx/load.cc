// Model::load and Model::parse.
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <limits>
#include <new>

#include "graph/onnx/importer.h"
#include "graph/onnx/parse.h"
#include "graph/onnx/skeleton.h"

namespace skyline {
namespace onnx {
namespace {

// What protobuf can read, or less.
void check_size(int64_t bytes, const ModelLimits& limits) {
  const int64_t most = std::min<int64_t>(limits.max_file_bytes, std::numeric_limits<int>::max());
  if (bytes > most)
    throw Error(Code::limit, std::to_string(bytes) + " bytes, the limit is " + std::to_string(most));
}

}  // namespace
}  // namespace onnx

Model Model::load(const std::string& path, const LoadOptions& options) {
  try {
    const onnx::RegularFile file = onnx::open_file(path, options.limits.max_file_bytes);
    onnx::check_size(file.size, options.limits);
    onnx::ModelProto proto;
    onnx::Payloads payloads{.file = &file};
    if (std::optional<onnx::Skeleton> skeleton = onnx::read_skeleton(file)) {
      onnx::parse_message(skeleton->bytes, onnx::Message::model, options.limits, proto);
      for (const auto& [i, extent] : skeleton->payloads) {
        if (i >= proto.graph().initializer_size())
          throw Error(Code::parse, "protobuf cannot read the message");
        payloads.of.emplace(&proto.graph().initializer(i), extent);
      }
    } else {
      const std::string bytes = onnx::read_file(path, options.limits.max_file_bytes);
      onnx::parse_message(bytes, onnx::Message::model, options.limits, proto);
    }
    return onnx::Importer(proto, options, onnx::directory_of(path), payloads).run();
  } catch (Error& e) {
    throw e.in("file " + onnx::quoted(path));
  } catch (const std::bad_alloc&) {
    throw Error(Code::oom, "no memory to load " + onnx::quoted(path));
  }
}

Model Model::parse(std::span<const char> bytes, const LoadOptions& options, const std::string& base_dir) {
  try {
    onnx::ModelProto proto;
    onnx::parse_message(bytes, onnx::Message::model, options.limits, proto);
    return onnx::Importer(proto, options, base_dir).run();
  } catch (const std::bad_alloc&) {
    throw Error(Code::oom, "no memory to load the model");
  }
}

namespace onnx {

void parse_message(std::span<const char> bytes, Message kind, const ModelLimits& limits,
                   google::protobuf::MessageLite& to) {
  check_size(static_cast<int64_t>(bytes.size()), limits);
  WireLimits wire;
  wire.max_messages = limits.max_messages;
  wire.max_name_bytes = limits.max_name_bytes;
  check_wire(bytes, kind, wire);
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetRecursionLimit(2 * wire.max_depth);  // check_wire() bounds it already
  if (!to.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    throw Error(Code::parse, "protobuf cannot read the message");
  }
}

}  // namespace onnx
}  // namespace skyline
