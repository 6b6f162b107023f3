#include "engine/frontier/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "skyline/frontier.h"

namespace skyline {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Error(Code::io, "cannot " + what + " '" + path + "': " + std::strerror(errno));
}

// An open file that is closed, and removed unless it is kept.
struct Descriptor {
  int fd = -1;
  std::string remove;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
    if (!remove.empty()) ::unlink(remove.c_str());
  }
};

void write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
}

// The file that a chain of links ends at, so that the link stays a link.
std::string resolved(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path real = std::filesystem::canonical(path, ignored);
  return ignored ? path : real.string();
}

void sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const Descriptor d{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), ""};
  if (d.fd >= 0) ::fsync(d.fd);  // some file systems cannot: then the rename is as durable as they make it
}

}  // namespace

struct WholeFile::Open {
  Descriptor file;
  std::string target;  // what the temporary file becomes; "" if it was written in place
};

WholeFile::WholeFile(const std::string& path) : open_(std::make_unique<Open>()) {
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    open_->file.fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (open_->file.fd < 0) fail("open", path);
    return;
  }
  static std::atomic<unsigned> count{0};
  open_->target = resolved(path);
  const std::string temporary =
      open_->target + ".part." + std::to_string(::getpid()) + "." + std::to_string(count.fetch_add(1));
  open_->file.fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (open_->file.fd < 0) fail("write", temporary);
  open_->file.remove = temporary;
}

WholeFile::~WholeFile() = default;

void WholeFile::write(std::string_view piece) {
  write_all(open_->file.fd, piece, open_->target);
}

void WholeFile::commit() {
  if (open_->target.empty()) return;
  const std::string& temporary = open_->file.remove;
  if (::fsync(open_->file.fd) != 0) fail("sync", temporary);
  if (::rename(temporary.c_str(), open_->target.c_str()) != 0) fail("rename to", open_->target);
  open_->file.remove.clear();
  sync_folder_of(open_->target);
}

void write_file_whole(const std::string& path, std::string_view content) {
  WholeFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace skyline
