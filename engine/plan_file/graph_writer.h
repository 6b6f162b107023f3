#pragma once
// Graphs, tensors and blobs of a plan file, as they are collected for writing.
#include <map>
#include <string>
#include <vector>

#include "engine/plan_file/layout.h"
#include "plan_generated.h"
#include "skyline/graph.h"

namespace skyline::plan_file {

namespace schema = skyline::plan_schema;

class GraphWriter {
 public:
  explicit GraphWriter(flatbuffers::FlatBufferBuilder& to) : to_(to) {}

  flatbuffers::Offset<schema::Graph> graph(const Graph& g);
  // The blob of these bytes; the same for the same memory. `keep` holds them until the file is written.
  uint32_t blob(const void* data, uint64_t bytes);
  // Its place in the file is left out: no graph may need its elements.
  void leave_out(uint32_t blob) { pieces_[blob].stored = false; }

  // What is to be written, in order; places are set by lay_out().
  struct Piece {
    const void* data;
    uint64_t bytes;
    bool stored = true;
    uint64_t offset = kNoPlace;
  };
  // Gives all stored blobs their places.
  const std::vector<Piece>& lay_out();

  flatbuffers::Offset<flatbuffers::Vector<const schema::Blob*>> blobs();
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<schema::Tensor>>> tensors();

 private:
  using Symbols = std::map<std::string, int64_t>;
  flatbuffers::Offset<schema::Attribute> attribute(const std::string& name, const AttrValue& value);
  flatbuffers::Offset<schema::Fact> fact(const Graph& g, const Fact& f, Symbols& symbols);
  uint32_t tensor(const Tensor& t);

  flatbuffers::FlatBufferBuilder& to_;
  std::vector<flatbuffers::Offset<schema::Tensor>> tensors_;
  std::vector<Tensor> held_;
  std::map<std::tuple<const void*, int, Dims>, uint32_t> tensor_at_;
  std::map<std::pair<const void*, uint64_t>, uint32_t> blob_at_;
  std::vector<Piece> pieces_;
};

}  // namespace skyline::plan_file
