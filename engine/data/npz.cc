#include "engine/data/npz.h"

#include <algorithm>
#include <cstring>

namespace skyline::data {
namespace {

constexpr int64_t kMaxFile = int64_t{1} << 40;
constexpr int64_t kMostEntries = 1 << 12;

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Error(Code::input, "'" + path + "' is not a usable .npz file: " + what);
}

template <class T>
T number(std::string_view bytes, size_t at) {
  T v{};
  if (at + sizeof v <= bytes.size()) std::memcpy(&v, bytes.data() + at, sizeof v);
  return v;
}

std::string read(const onnx::RegularFile& f, int64_t offset, int64_t n) {
  if (offset < 0 || n < 0 || offset > f.size || n > f.size - offset) bad(f.path, "truncated");
  std::string out(static_cast<size_t>(n), '\0');
  onnx::read_exactly(f, out.data(), n, offset);
  return out;
}

// Where the list of entries is: the end record is the last thing in the file but for a comment. NumPy writes
// 64-bit sizes into each entry only where they are needed, and the end record in the old form until then.
struct Directory {
  int64_t offset = 0, bytes = 0, entries = 0;
};
Directory find_directory(const onnx::RegularFile& f) {
  const int64_t tail = std::min<int64_t>(f.size, 22 + 65535);
  const std::string end = read(f, f.size - tail, tail);
  const size_t at = end.rfind(std::string_view("PK\x05\x06", 4));
  if (at == std::string::npos || at + 22 > end.size()) bad(f.path, "no list of entries");
  const std::string_view e = std::string_view(end).substr(at);
  Directory d{number<uint32_t>(e, 16), number<uint32_t>(e, 12), number<uint16_t>(e, 10)};
  if (d.offset == 0xffffffff) {
    if (at < 20 || std::memcmp(end.data() + at - 20, "PK\x06\x07", 4) != 0) bad(f.path, "no 64-bit end");
    const auto where = number<int64_t>(end, at - 20 + 8);
    const std::string r = read(f, where, 56);
    if (std::memcmp(r.data(), "PK\x06\x06", 4) != 0) bad(f.path, "no 64-bit end");
    d = {number<int64_t>(r, 48), number<int64_t>(r, 40), number<int64_t>(r, 32)};
  }
  if (d.entries < 0 || d.entries > kMostEntries || d.bytes < 0 || d.bytes > (1 << 26))
    bad(f.path, "too many entries");
  return d;
}

struct Entry {
  std::string name;
  int64_t header = 0, packed = 0, size = 0;
  int method = 0;
};

Entry parse_entry(std::string_view d, size_t& at, const std::string& path) {
  if (at + 46 > d.size() || std::memcmp(d.data() + at, "PK\x01\x02", 4) != 0) bad(path, "damaged list");
  Entry e;
  e.method = number<uint16_t>(d, at + 10);
  e.packed = number<uint32_t>(d, at + 20);
  e.size = number<uint32_t>(d, at + 24);
  e.header = number<uint32_t>(d, at + 42);
  const size_t name = number<uint16_t>(d, at + 28), extra = number<uint16_t>(d, at + 30),
               comment = number<uint16_t>(d, at + 32);
  if (at + 46 + name + extra + comment > d.size()) bad(path, "damaged list");
  e.name = std::string(d.substr(at + 46, name));
  // The 64-bit values of those fields that did not fit, in this order.
  std::string_view x = d.substr(at + 46 + name, extra);
  while (x.size() >= 4) {
    const size_t n = number<uint16_t>(x, 2);
    if (n + 4 > x.size()) break;
    if (number<uint16_t>(x, 0) == 1) {
      size_t k = 4;
      for (int64_t* field : {&e.size, &e.packed, &e.header}) {
        if (*field != 0xffffffff) continue;
        if (k + 8 > n + 4) bad(path, "damaged list");
        *field = number<int64_t>(x, k);
        k += 8;
      }
    }
    x.remove_prefix(n + 4);
  }
  at += 46 + name + extra + comment;
  return e;
}

}  // namespace

ArrayFile::ArrayFile(std::shared_ptr<const onnx::RegularFile> file, int64_t start, int64_t bytes,
                     std::string name)
    : file_(std::move(file)), start_(start), name_(std::move(name)) {
  if (start < 0 || bytes < 0 || start > file_->size || bytes > file_->size - start)
    throw Error(Code::input, "'" + name_ + "' is truncated");
  header_ = parse_npy_header(data::read(*file_, start, std::min<int64_t>(bytes, 1 << 16)), name_);
  check_npy_size(header_, bytes, name_);
}

ArrayFile ArrayFile::open(const std::string& path) {
  auto file = std::make_shared<onnx::RegularFile>(onnx::open_file(path, kMaxFile));
  const int64_t size = file->size;
  return ArrayFile(std::move(file), 0, size, path);
}

Tensor ArrayFile::read(Dims dims, int64_t offset) const {
  Tensor t(header_.dtype, std::move(dims));
  if (t.bytes() > 0) onnx::read_exactly(*file_, t.mutable_raw(), t.bytes(), start_ + header_.offset + offset);
  return t;
}
Tensor ArrayFile::all() const {
  return read(header_.dims, 0);
}
Tensor ArrayFile::row(int64_t i, bool keep_axis) const {
  if (header_.dims.empty() || i < 0 || i >= header_.dims[0])
    throw Error(Code::input, "'" + name_ + "' has no row " + std::to_string(i));
  const int64_t bytes = header_.bytes / header_.dims[0];
  Dims dims(header_.dims.begin() + 1, header_.dims.end());
  if (keep_axis) dims.insert(dims.begin(), 1);
  return read(std::move(dims), i * bytes);
}

std::map<std::string, ArrayFile> open_npz(const std::string& path) {
  const auto file = std::make_shared<onnx::RegularFile>(onnx::open_file(path, kMaxFile));
  const Directory d = find_directory(*file);
  const std::string list = read(*file, d.offset, d.bytes);
  std::map<std::string, ArrayFile> out;
  size_t at = 0;
  for (int64_t i = 0; i < d.entries; ++i) {
    Entry e = parse_entry(list, at, path);
    if (!e.name.ends_with(".npy")) continue;
    if (e.method != 0 || e.packed != e.size) bad(path, "'" + e.name + "' is compressed: save with np.savez");
    const std::string local = read(*file, e.header, 30);
    if (std::memcmp(local.data(), "PK\x03\x04", 4) != 0) bad(path, "damaged entry");
    const int64_t start = e.header + 30 + number<uint16_t>(local, 26) + number<uint16_t>(local, 28);
    e.name.resize(e.name.size() - 4);
    out.insert_or_assign(e.name, ArrayFile(file, start, e.size, path + "/" + e.name));
  }
  return out;
}

}  // namespace skyline::data
