#include "engine/plan_file/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "skyline/status.h"

namespace skyline::plan_file {

std::shared_ptr<const Mapping> Mapping::of_file(const std::string& path) {
  const auto fail = [&](const char* what) {
    throw Error(Code::io, std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail("open");
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } const closer{fd};
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail("look at");
  if (!S_ISREG(info.st_mode)) throw Error(Code::io, "'" + path + "' is not a regular file");
  const auto bytes = static_cast<uint64_t>(info.st_size);
  if (bytes == 0) throw Error(Code::parse, "'" + path + "' is empty");
  void* p = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) fail("map");
  return std::shared_ptr<const Mapping>(new Mapping(static_cast<const std::byte*>(p), bytes));
}

std::shared_ptr<const Mapping> Mapping::of_nothing(uint64_t bytes) {
  bytes = std::max<uint64_t>(bytes, 1);
  void* p = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw Error(Code::oom, "cannot reserve " + std::to_string(bytes) + " bytes of addresses");
  return std::shared_ptr<const Mapping>(new Mapping(static_cast<const std::byte*>(p), bytes));
}

Mapping::~Mapping() {
  ::munmap(const_cast<std::byte*>(data_), bytes_);
}

void Mapping::forget(uint64_t offset, uint64_t bytes) const noexcept {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t first = (offset + page - 1) / page * page, last = (offset + bytes) / page * page;
  if (first < last) ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace skyline::plan_file
