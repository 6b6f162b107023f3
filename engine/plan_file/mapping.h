#pragma once
// A file in memory, read only.
#include <cstdint>
#include <memory>
#include <string>

namespace skyline::plan_file {

class Mapping {
 public:
  // Error{io} naming the path. The file must not be cut short while it is mapped; files are replaced by
  // renaming, which leaves the old one to those who have it.
  static std::shared_ptr<const Mapping> of_file(const std::string& path);
  // Zeros that take no memory: addresses for what is known by its size only. Error{oom}.
  static std::shared_ptr<const Mapping> of_nothing(uint64_t bytes);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  // The pages of this part need not stay in memory: they come back from the file when they are read.
  void forget(uint64_t offset, uint64_t bytes) const noexcept;

 private:
  Mapping(const std::byte* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  const std::byte* data_;
  uint64_t bytes_;
};

}  // namespace skyline::plan_file
