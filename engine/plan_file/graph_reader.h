#pragma once
// Graphs out of a verified FlatBuffers table. Its numbers may be anything: each is checked here.
#include <memory>
#include <vector>

#include "engine/plan_file/layout.h"
#include "engine/plan_file/mapping.h"
#include "plan_generated.h"
#include "skyline/graph.h"

namespace skyline::plan_file {

namespace schema = skyline::plan_schema;

class GraphReader {
 public:
  // The places of all blobs must lie in the file. Error{invalid} for tensors that do not fit theirs.
  GraphReader(const schema::Plan& plan, std::shared_ptr<const Mapping> file, uint64_t data_start);

  // With facts as they are written; the caller infers. Error{invalid}, {unsupported} for unknown operators.
  Graph graph(const schema::Graph& g);

  // Where a blob is. One without a place in the file has an address all the same (is_absent), of zeros.
  const std::byte* address(uint32_t blob) const { return addresses_.at(blob); }
  std::shared_ptr<const void> owner(uint32_t blob) const;
  bool is_absent(uint32_t blob) const;
  // Of that many bytes at the blob's address, for an entry of a PackCache.
  Tensor bytes_of(uint32_t blob) const;

 private:
  void read_tensors();
  Tensor read_tensor(const schema::Tensor& t);
  const Tensor& tensor(uint32_t index) const;
  AttrValue attribute(const schema::Attribute& a);
  void node(const schema::Node& n, Graph& g);

  const schema::Plan& plan_;
  std::shared_ptr<const Mapping> file_, nothing_;
  std::vector<const std::byte*> addresses_;  // by blob
  std::vector<Tensor> tensors_;
};

}  // namespace skyline::plan_file
