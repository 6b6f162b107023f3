#pragma once
// Flags of the commands that read examples.
#include <optional>
#include <string>
#include <vector>

#include "engine/cli/cli.h"
#include "skyline/data.h"

namespace skyline::cli {

struct DataFlags {
  std::string preprocess;
  int64_t resize = -1, crop = -1;
  std::vector<double> mean, std;
  bool bgr = false;
  uint64_t seed = 1;

  void add(CLI::App& command);
  // What the flags say, on top of the file they name; nothing if they say nothing.
  std::optional<Preprocess> how() const;
  Dataset open(const std::string& path, const Session& session) const;
};

// "3 0 7 ..." of at most so many.
std::string list(const std::vector<int64_t>& indices, size_t most = 10);

}  // namespace skyline::cli
