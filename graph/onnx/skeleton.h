#pragma once
// A model file without the numbers of its initializers: these are most of it, and are read later, each
// straight into its tensor.
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "graph/onnx/file.h"

namespace skyline::onnx {

// Bytes of a file.
struct Extent {
  int64_t offset = 0, bytes = 0;
};

struct Skeleton {
  std::string bytes;                         // of the ModelProto, with raw_data empty where it was left out
  std::unordered_map<int, Extent> payloads;  // what was left out, by the index of the graph's initializer
};

// Nothing if the file is not the sequence of fields that a model is: whoever reads it whole finds out why.
// What is kept is not checked. Error{io} if reading fails.
std::optional<Skeleton> read_skeleton(const RegularFile& file);

}  // namespace skyline::onnx
