#pragma once
// A file that is written piece by piece, and there as a whole or not at all.
#include <memory>
#include <string>
#include <string_view>

namespace skyline {

class WholeFile {
 public:
  // Begins a temporary file beside `path`; what is not a regular file is written in place. All throw
  // Error{io}.
  explicit WholeFile(const std::string& path);
  ~WholeFile();  // without commit() the temporary file goes
  void write(std::string_view piece);
  void commit();  // syncs and renames

 private:
  struct Open;
  std::unique_ptr<Open> open_;
};

}  // namespace skyline
