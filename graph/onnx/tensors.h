#pragma once
// TensorProto and SparseTensorProto to tensors, and back.
#include <unordered_map>

#include "graph/onnx/file.h"
#include "graph/onnx/skeleton.h"
#include "onnx_schema.pb.h"
#include "skyline/tensor.h"

namespace skyline::onnx {

// Error{invalid} for no type, Error{unsupported} for one that we do not have (complex, unknown numbers).
DType dtype_of(int64_t onnx_number);

// The raw data of some tensors, which are still in the file. Borrowed by the reader.
struct Payloads {
  const RegularFile* file = nullptr;
  std::unordered_map<const TensorProto*, Extent> of;
};

class TensorReader {
 public:
  TensorReader(ExternalFiles& files, int64_t max_bytes, Payloads payloads = {})
      : files_(files), left_(max_bytes), payloads_(std::move(payloads)) {}

  // The tensor, checked: dims against the data that is there, before memory is taken. May take the raw bytes
  // out of `proto` instead of copying them. Errors name the tensor.
  Tensor read(TensorProto& proto);
  Tensor read(SparseTensorProto& proto);  // as a dense tensor

 private:
  Tensor decode(TensorProto& proto);
  Tensor from_raw(TensorProto& proto, DType t, Dims dims);
  Tensor from_payload(const Extent& extent, DType t, Dims dims);
  Tensor from_external(const TensorProto& proto, DType t, Dims dims);
  void take(int64_t bytes);  // from the budget; Error{limit}

  ExternalFiles& files_;
  int64_t left_;
  Payloads payloads_;
};

// Bytes of a tensor in a file, where 4- and 2-bit elements are packed.
int64_t stored_bytes(DType t, int64_t elements);
// Fills everything but the name. Numbers go to raw_data, strings to string_data.
void write_tensor(const Tensor& t, TensorProto& proto);

}  // namespace skyline::onnx
