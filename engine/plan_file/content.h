#pragma once
// What is behind a PlanFile, and how sessions take it over.
#include <string>
#include <vector>

#include "engine/lower/lowering.h"
#include "engine/plan_file/mapping.h"
#include "skyline/plan_file.h"

namespace skyline {

struct PlanFile::Content {
  std::shared_ptr<const plan_file::Mapping> file;
  std::string path, mismatch, model_sha1;
  SessionOptions options;
  std::vector<std::vector<Dims>> shapes;
  int64_t packed_bytes = 0;
};

namespace plan_file {

// Graphs whose constants and packed weights are the file's own memory. Names are those of the file.
struct Loaded {
  std::optional<Graph> base;    // for other shapes
  std::vector<Graph> prepared;  // with facts
};
// Packed weights go into `cache`. Error{invalid} for what breaks a graph's rules.
Loaded load(const PlanFile::Content& content, PackCache& cache);

// "" or why a plan with this key cannot run here.
struct Key {
  std::string skyline, build, cpu_isa;
  int64_t l1d = 0, l2 = 0, l3 = 0;
};
Key key_of_here();
std::string difference(const Key& plan, const Key& here);

}  // namespace plan_file
}  // namespace skyline
