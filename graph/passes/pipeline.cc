#include "graph/passes/passes.h"

namespace skyline {

std::span<const Pass> portable_passes() {
  return {};
}
std::span<const Pass> target_passes() {
  return {};
}

}  // namespace skyline
