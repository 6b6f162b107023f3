#include "skyline/status.h"

#include <utility>

namespace skyline {

std::string_view name(Code c) noexcept {
  switch (c) {
    case Code::ok:
      return "OK";
    case Code::parse:
      return "PARSE";
    case Code::invalid:
      return "INVALID";
    case Code::unsupported:
      return "UNSUPPORTED";
    case Code::limit:
      return "LIMIT";
    case Code::io:
      return "IO";
    case Code::input:
      return "INPUT";
    case Code::oom:
      return "OOM";
    case Code::internal:
      return "INTERNAL";
    case Code::cancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

Error::Error(Code code, std::string message) : code_(code), message_(std::move(message)) {
  what_ = std::string(name(code_)) + ": " + message_;
}

Error& Error::in(std::string_view place) {
  context_ = context_.empty() ? std::string(place) : std::string(place) + " > " + context_;
  what_ = std::string(name(code_)) + ": " + context_ + ": " + message_;
  return *this;
}

}  // namespace skyline
