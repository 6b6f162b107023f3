#pragma once
// A pass looks at one node at a time and proposes a patch; the driver does the rest.
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/ir/patch.h"

namespace skyline {

enum class Stage : uint8_t { portable, target };

struct Pass {
  std::string_view name;  // "fuse-activation": stable, used by logs, --stop-after and the optimizer
  Stage stage = Stage::portable;
  // Proposes a rewrite rooted at `n`, or nothing. Must not depend on anything but the graph.
  std::optional<Patch> (*run)(const Graph& g, NodeId n) = nullptr;
};

struct PassOptions {
  int64_t stop_after = -1;  // apply at most this many patches (bisecting); -1: no bound
  std::function<void(std::string_view pass, std::string_view node)> log;  // called for each patch applied
};

// Applies the passes in order, and the whole list again until nothing fires; then the same to the bodies of
// If, Loop and Scan. Verifies the result. Returns how many patches were applied.
int64_t run_passes(Graph& g, std::span<const Pass> passes, const PassOptions& options = {});

}  // namespace skyline
