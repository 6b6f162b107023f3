#include "graph/onnx/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "graph/onnx/sha1.h"
#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

[[noreturn]] void io_error(const std::string& what, int error) {
  throw Error(Code::io, what + ": " + std::strerror(error));
}

// Reads exactly n bytes; false at an early end of the file.
bool read_exactly(int fd, char* to, int64_t n, int64_t offset, const std::string& name) {
  constexpr int64_t kMost = int64_t{1} << 30;  // Linux moves at most 2^31 - 4096 bytes in one call
  while (n > 0) {
    const ssize_t got = ::pread(fd, to, static_cast<size_t>(std::min(n, kMost)), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) io_error("reading " + quoted(name), errno);
    if (got == 0) return false;
    to += got, n -= got, offset += got;
  }
  return true;
}

void check_location(const std::string& location) {
  const auto bad = [&](const char* why) {
    throw Error(Code::invalid, "external data location " + quoted(location) + " " + why);
  };
  if (location.empty()) bad("is empty");
  if (location.size() > 4096) bad("is too long");
  if (location[0] == '/') bad("is an absolute path");
  if (location.find('\\') != location.npos) bad("has a backslash");
  if (location.find('\0') != location.npos) bad("holds a NUL");
  for (size_t at = 0; at <= location.size();) {
    const size_t end = std::min(location.find('/', at), location.size());
    const std::string part = location.substr(at, end - at);
    if (part == "..") bad("leaves the model's directory");
    if (part.empty() || (part == "." && location.size() == 1)) bad("is not a file name");
    at = end + 1;
  }
}

// Opens one path component after the other: for kernels without openat2.
int open_stepwise(int root, const std::string& location) {
  Fd dir;
  int at = root;
  size_t begin = 0;
  for (;;) {
    const size_t end = location.find('/', begin);
    const std::string part = location.substr(begin, end == location.npos ? end : end - begin);
    const bool last = end == location.npos;
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (last ? O_NONBLOCK : O_DIRECTORY);
    const int fd = ::openat(at, part.c_str(), flags);
    if (last || fd < 0) return fd;
    dir = Fd(fd);
    at = dir.get();
    begin = end + 1;
  }
}

int open_beneath(int root, const std::string& location) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const auto fd = static_cast<int>(::syscall(SYS_openat2, root, location.c_str(), &how, sizeof how));
  // EPERM: a container's filter that does not know the call.
  return fd < 0 && (errno == ENOSYS || errno == EPERM) ? open_stepwise(root, location) : fd;
}

std::string sha1_of(int fd, int64_t size, const std::string& name) {
  Sha1 sum;
  std::vector<char> buffer(size_t{1} << 20);
  for (int64_t at = 0; at < size;) {
    const int64_t n = std::min(size - at, static_cast<int64_t>(buffer.size()));
    if (!read_exactly(fd, buffer.data(), n, at, name)) throw Error(Code::io, quoted(name) + " shrank");
    sum.add(buffer.data(), static_cast<size_t>(n));
    at += n;
  }
  return sum.hex();
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

RegularFile open_file(const std::string& path, int64_t max_bytes) {
  RegularFile file{Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0, path};
  if (!file.fd) io_error("opening " + quoted(path), errno);
  struct stat st {};
  if (::fstat(file.fd.get(), &st) != 0) io_error("looking at " + quoted(path), errno);
  if (!S_ISREG(st.st_mode)) throw Error(Code::io, quoted(path) + " is not a regular file");
  if (st.st_size > max_bytes) {
    throw Error(Code::limit, quoted(path) + " has " + std::to_string(st.st_size) + " bytes, the limit is " +
                                 std::to_string(max_bytes));
  }
  file.size = st.st_size;
  return file;
}

void read_exactly(const RegularFile& file, void* to, int64_t n, int64_t offset) {
  if (!read_exactly(file.fd.get(), static_cast<char*>(to), n, offset, file.path)) {
    throw Error(Code::io, quoted(file.path) + " shrank while it was read");
  }
}

std::string read_file(const std::string& path, int64_t max_bytes) {
  const RegularFile file = open_file(path, max_bytes);
  std::string bytes;
  try {
    bytes.resize(static_cast<size_t>(file.size));
  } catch (const std::bad_alloc&) {
    throw Error(Code::oom, "no memory for the " + std::to_string(file.size) + " bytes of " + quoted(path));
  }
  read_exactly(file, bytes.data(), file.size, 0);
  return bytes;
}

void write_file(const std::string& path, std::string_view bytes) {
  std::string name = path + ".XXXXXX";
  Fd fd(::mkstemp(name.data()));
  if (!fd) io_error("creating a file beside " + quoted(path), errno);
  const auto fail = [&](const char* what) {
    const int error = errno;
    ::unlink(name.c_str());
    io_error(what + quoted(path), error);
  };
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t put = ::write(fd.get(), bytes.data() + at, std::min(bytes.size() - at, size_t{1} << 30));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("writing ");
    at += static_cast<size_t>(put);
  }
  const mode_t mask = ::umask(0);  // mkstemp made it private; give it the mode of any other file
  ::umask(mask);
  if (::fchmod(fd.get(), 0666 & ~mask) != 0 || ::fsync(fd.get()) != 0) fail("writing ");
  if (::rename(name.c_str(), path.c_str()) != 0) fail("renaming to ");
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

ExternalFiles::File& ExternalFiles::open(const std::string& location) {
  if (directory_.empty())
    throw Error(Code::invalid, "external data " + quoted(location) + ": no directory was given for it");
  check_location(location);
  const auto known = files_.find(location);
  if (known != files_.end()) return known->second;
  constexpr size_t kMostFiles = 256;
  if (files_.size() >= kMostFiles) throw Error(Code::limit, "more than 256 external data files");
  if (!root_) {
    root_ = Fd(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root_) io_error("opening the directory " + quoted(directory_), errno);
  }
  Fd fd(open_beneath(root_.get(), location));
  if (!fd) {
    // ELOOP: a symbolic link. EXDEV: a way out of the directory.
    if (errno == ELOOP || errno == EXDEV || errno == ENOTDIR || errno == ENXIO) {
      throw Error(Code::invalid,
                  "external data " + quoted(location) + " is not a plain file below the model's directory");
    }
    io_error("opening external data " + quoted(location), errno);
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) io_error("looking at external data " + quoted(location), errno);
  if (!S_ISREG(st.st_mode))
    throw Error(Code::invalid, "external data " + quoted(location) + " is not a regular file");
  if (st.st_nlink > 1)
    throw Error(Code::invalid, "external data " + quoted(location) + " has another hard link");
  File file{std::move(fd), st.st_size, {}};
  return files_.emplace(location, std::move(file)).first->second;
}

void ExternalFiles::check(const Place& place, int64_t bytes) {
  File& file = open(place.location);
  const auto bad = [&](const std::string& what) {
    throw Error(Code::invalid, "external data " + quoted(place.location) + " " + what);
  };
  if (place.offset < 0 || place.offset > file.size) {
    bad("has " + std::to_string(file.size) + " bytes, the tensor begins at " + std::to_string(place.offset));
  }
  const int64_t rest = file.size - place.offset;
  if (place.length >= 0 && place.length > rest)
    bad("ends before the tensor's length of " + std::to_string(place.length));
  const int64_t have = place.length >= 0 ? place.length : rest;
  if (place.length >= 0 ? have != bytes : have < bytes) {
    bad("gives " + std::to_string(have) + " bytes where the tensor takes " + std::to_string(bytes));
  }
  if (place.checksum.empty()) return;
  if (file.sha1.empty()) file.sha1 = sha1_of(file.fd.get(), file.size, place.location);
  if (file.sha1 != place.checksum) bad("has the SHA-1 " + file.sha1 + ", expected " + quoted(place.checksum));
}

void ExternalFiles::read(const Place& place, void* to, int64_t bytes) {
  check(place, bytes);
  if (!read_exactly(open(place.location).fd.get(), static_cast<char*>(to), bytes, place.offset,
                    place.location)) {
    throw Error(Code::io, "external data " + quoted(place.location) + " shrank while it was read");
  }
}

}  // namespace skyline::onnx
