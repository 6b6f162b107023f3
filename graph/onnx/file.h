#pragma once
// Files, with suspicion: what is opened is a regular file, what is read was measured first.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "skyline/tensor.h"

namespace skyline::onnx {

// An open file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A regular file, open for reading. Error{io} if it cannot be opened or is not a regular file (nothing blocks
// on a FIFO), Error{limit} if it is larger than max_bytes.
struct RegularFile {
  Fd fd;
  int64_t size = 0;
  std::string path;  // for messages
};
RegularFile open_file(const std::string& path, int64_t max_bytes);
// Exactly n bytes at `offset`; Error{io} if that fails or the file has shrunk.
void read_exactly(const RegularFile& file, void* to, int64_t n, int64_t offset);

// The whole of a regular file. Error{io} if it cannot be opened or is not a regular file (nothing blocks on a
// FIFO), Error{limit} if it is larger than max_bytes: before anything is read.
std::string read_file(const std::string& path, int64_t max_bytes);

// Writes beside `path` and renames, so that a reader sees the old file or the new one. Error{io}.
void write_file(const std::string& path, std::string_view bytes);

// "" for a bare file name means the current directory.
std::string directory_of(const std::string& path);

// The files beside a model that hold its external tensors. Only regular files below the directory are opened:
// no symbolic link on the way, no second hard link.
class ExternalFiles {
 public:
  // An empty directory: no external data is allowed.
  explicit ExternalFiles(std::string directory) : directory_(std::move(directory)) {}

  struct Place {
    std::string location;
    int64_t offset = 0;
    int64_t length = -1;   // -1: to the end of the file
    std::string checksum;  // SHA-1 of the whole file in hexadecimal, or empty
  };
  // Exactly `bytes` bytes into `to`. Error{invalid} if the place breaks a rule or does not hold that much,
  // Error{io} if the file cannot be read.
  void read(const Place& place, void* to, int64_t bytes);
  // Checks all that read() would check, without reading.
  void check(const Place& place, int64_t bytes);

 private:
  struct File {
    Fd fd;
    int64_t size = 0;
    std::string sha1;  // once asked for
  };
  File& open(const std::string& location);

  std::string directory_;
  Fd root_;
  std::map<std::string, File> files_;
};

}  // namespace skyline::onnx
