#pragma once
// NumPy's .npy files (format versions 1 to 3, little-endian, C order).
#include <string>
#include <string_view>

#include "skyline/tensor.h"

namespace skyline::data {

// Throws Error{io} if the file cannot be read, Error{input} naming what is wrong with it.
Tensor read_npy(const std::string& path);
// The same from memory; `path` is for messages.
Tensor parse_npy(std::string_view file, const std::string& path);

// What precedes the elements. `file` may end early, behind the header.
struct NpyHeader {
  DType dtype = DType::undefined;
  Dims dims;
  int64_t offset = 0, bytes = 0;  // of the elements
};
NpyHeader parse_npy_header(std::string_view file, const std::string& path);
// Error{input} unless the file has exactly the elements that its header says.
void check_npy_size(const NpyHeader& h, int64_t file_bytes, const std::string& path);

// Through a temporary file and a rename. bf16 is written as f32; strings are Error{unsupported}.
void write_npy(const std::string& path, const Tensor& t);

}  // namespace skyline::data
