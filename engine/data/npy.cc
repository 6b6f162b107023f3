#include "engine/data/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "graph/onnx/file.h"

namespace skyline::data {
namespace {

constexpr int64_t kMaxFile = int64_t{1} << 36;

struct Descr {
  std::string_view text;
  DType type;
};
constexpr Descr kDescrs[] = {{"<f4", DType::f32}, {"<f8", DType::f64},  {"<f2", DType::f16},
                             {"|u1", DType::u8},  {"|i1", DType::i8},   {"<u2", DType::u16},
                             {"<i2", DType::i16}, {"<i4", DType::i32},  {"<i8", DType::i64},
                             {"<u4", DType::u32}, {"<u8", DType::u64},  {"|b1", DType::boolean},
                             {"<c8", DType::c64}, {"<c16", DType::c128}};

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Error(Code::input, "'" + path + "' is not a usable .npy file: " + what);
}

// The text after `key` in the header's dictionary.
std::string_view after(std::string_view header, std::string_view key, const std::string& path) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) bad(path, "no " + std::string(key) + " in its header");
  std::string_view rest = header.substr(at + key.size());
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos) bad(path, "malformed header");
  rest.remove_prefix(colon + 1);
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  return rest;
}

Dims parse_shape(std::string_view text, const std::string& path) {
  const size_t close = text.find(')');
  if (text.empty() || text.front() != '(' || close == std::string_view::npos) bad(path, "malformed shape");
  text = text.substr(1, close - 1);
  Dims dims;
  while (true) {
    while (!text.empty() && (text.front() == ' ' || text.front() == ',')) text.remove_prefix(1);
    if (text.empty()) return dims;
    int64_t d = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), d);
    if (error != std::errc() || d < 0) bad(path, "malformed shape");
    dims.push_back(d);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
}

}  // namespace

Tensor read_npy(const std::string& path) {
  return parse_npy(onnx::read_file(path, kMaxFile), path);
}

NpyHeader parse_npy_header(std::string_view file, const std::string& path) {
  if (file.size() < 10 || std::memcmp(file.data(), "\x93NUMPY", 6) != 0) bad(path, "wrong magic");
  const int major = static_cast<unsigned char>(file[6]);
  if (major < 1 || major > 3) bad(path, "format version " + std::to_string(major));
  size_t length = 0, start = 0;
  if (major == 1) {
    uint16_t n = 0;
    std::memcpy(&n, file.data() + 8, 2);
    length = n;
    start = 10;
  } else {
    if (file.size() < 12) bad(path, "truncated header");
    uint32_t n = 0;
    std::memcpy(&n, file.data() + 8, 4);
    length = n;
    start = 12;
  }
  if (length > file.size() - start) bad(path, "truncated header");
  const std::string_view header(file.data() + start, length);
  std::string_view descr = after(header, "'descr'", path);
  if (descr.empty() || (descr.front() != '\'' && descr.front() != '"'))
    bad(path, "structured dtypes are not supported");
  descr = descr.substr(1, descr.find(descr.front(), 1) - 1);
  if (after(header, "'fortran_order'", path).substr(0, 4) == "True")
    bad(path, "fortran_order: save it with np.ascontiguousarray");
  const auto* found =
      std::find_if(std::begin(kDescrs), std::end(kDescrs), [&](const Descr& d) { return d.text == descr; });
  if (found == std::end(kDescrs))
    bad(path, "dtype '" + std::string(descr.substr(0, 40)) + "' is not supported");
  NpyHeader out{found->type, parse_shape(after(header, "'shape'", path), path),
                static_cast<int64_t>(start + length), 0};
  try {
    out.bytes = byte_count(out.dtype, out.dims);
  } catch (const Error& e) {
    bad(path, e.message());
  }
  return out;
}

void check_npy_size(const NpyHeader& h, int64_t file_bytes, const std::string& path) {
  if (h.bytes == file_bytes - h.offset) return;
  bad(path, "shape " + to_string(h.dims) + " needs " + std::to_string(h.bytes) + " bytes, the file has " +
                std::to_string(file_bytes - h.offset));
}

Tensor parse_npy(std::string_view file, const std::string& path) {
  NpyHeader h = parse_npy_header(file, path);
  check_npy_size(h, static_cast<int64_t>(file.size()), path);
  Tensor t(h.dtype, std::move(h.dims));
  if (h.bytes) std::memcpy(t.mutable_raw(), file.data() + h.offset, static_cast<size_t>(h.bytes));
  return t;
}

void write_npy(const std::string& path, const Tensor& t) {
  if (t.dtype() == DType::bf16) {
    Tensor wide(DType::f32, t.dims());
    for (int64_t i = 0; i < t.size(); ++i) wide.mutable_data<float>()[i] = t.data<BFloat16>()[i];
    return write_npy(path, wide);
  }
  DType type = t.dtype();
  if (type == DType::i4 || type == DType::i2) type = DType::i8;
  if (type == DType::u4 || type == DType::u2) type = DType::u8;
  const auto* found =
      std::find_if(std::begin(kDescrs), std::end(kDescrs), [&](const Descr& d) { return d.type == type; });
  if (found == std::end(kDescrs))
    throw Error(Code::unsupported, "a tensor of " + std::string(name(t.dtype())) + " has no .npy form");
  std::string shape = "(";
  for (int64_t d : t.dims()) shape += std::to_string(d) + ",";
  std::string header =
      "{'descr': '" + std::string(found->text) + "', 'fortran_order': False, 'shape': " + shape + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');  // the data starts at a multiple of 64
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  const auto n = static_cast<uint16_t>(header.size());
  file.append(reinterpret_cast<const char*>(&n), 2).append(header);
  file.append(static_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes()));
  onnx::write_file(path, file);
}

}  // namespace skyline::data
