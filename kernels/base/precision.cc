#include "skyline/precision.h"

#include <iterator>
#include <string>

#include "skyline/status.h"

namespace skyline {
namespace {
constexpr std::string_view kNames[] = {"model", "f32", "bf16x6", "bf16x3", "bf16", "f16", "int8"};
}

std::string_view name(Precision p) noexcept {
  return kNames[static_cast<size_t>(p)];
}

Precision precision_from_name(std::string_view s) {
  std::string known;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (s == kNames[i]) return static_cast<Precision>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  throw Error(Code::invalid, "unknown precision '" + std::string(s) + "'; known: " + known);
}

}  // namespace skyline
