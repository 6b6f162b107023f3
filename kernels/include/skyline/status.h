#pragma once
// The one exception type of the library. Kernels never throw; everything above them may.
#include <exception>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// What went wrong, in the terms that a caller can act on. The numbers are stable (C API).
enum class Code : int {
  ok = 0,
  parse = 1,        // the bytes are not the format
  invalid = 2,      // well-formed, but breaks the format's or an operator's rules
  unsupported = 3,  // legal, but not run by this build; the message names op, domain, opset, dtype
  limit = 4,        // over a documented limit (size, depth, count, time)
  io = 5,           // a file or a stream could not be read or written
  input = 6,        // what the caller passed to run does not fit the model
  oom = 7,          // memory could not be had
  internal = 8,     // a bug of ours
  cancelled = 9,    // stopped by the caller, or by its deadline
};
std::string_view name(Code c) noexcept;  // "PARSE", "INVALID", ...

// what(): "CODE: outermost > ... > innermost: message". Add context while unwinding with in().
class Error : public std::exception {
 public:
  Error(Code code, std::string message);
  Code code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  // Prepends a place ("file m.onnx", "node conv_3 (Conv)") to the context chain; returns *this to rethrow.
  Error& in(std::string_view place);
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  Code code_;
  std::string message_;
  std::string context_;
  std::string what_;
};

}  // namespace skyline
#pragma GCC visibility pop
