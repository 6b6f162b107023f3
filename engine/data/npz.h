#pragma once
// Arrays of many examples, read row by row: .npy files, and .npz archives as np.savez writes them.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/npy.h"
#include "graph/onnx/file.h"

namespace skyline::data {

// An array in a file, of which rows are read when asked for.
class ArrayFile {
 public:
  // `bytes` of the file from `start` on are a .npy file. Error{input} if they are not.
  ArrayFile(std::shared_ptr<const onnx::RegularFile> file, int64_t start, int64_t bytes, std::string name);
  // A .npy file.
  static ArrayFile open(const std::string& path);

  DType dtype() const { return header_.dtype; }
  const Dims& dims() const { return header_.dims; }
  Tensor all() const;
  // Row i of the first axis, with a leading 1 if `keep_axis`, else without that axis.
  Tensor row(int64_t i, bool keep_axis) const;

 private:
  Tensor read(Dims dims, int64_t offset) const;

  std::shared_ptr<const onnx::RegularFile> file_;
  int64_t start_ = 0;
  std::string name_;
  NpyHeader header_;
};

// The arrays of an archive by name. Error{input} if it is damaged, or compressed (np.savez_compressed).
std::map<std::string, ArrayFile> open_npz(const std::string& path);

}  // namespace skyline::data
