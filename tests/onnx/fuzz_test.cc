// Broken models are refused with a status, or load and keep their graph's rules through inference and every
// portable pass. The seed is fixed; SKYLINE_FUZZ multiplies the number of tries.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "build.h"
#include "graph/ir/infer.h"
#include "graph/passes/passes.h"
#include "mutate.h"

using namespace test;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int effort() {
  const char* times = std::getenv("SKYLINE_FUZZ");
  return times ? std::max(1, std::atoi(times)) : 1;
}

Code survive(const std::string& bytes) {
  return code_of([&] {
    const Model model = parse(bytes);
    skyline::Graph g = model.graph();
    skyline::infer_graph(g);
    run_passes(g, skyline::portable_passes());
  });
}

void fuzz(const std::string& whole, uint64_t seed, int tries) {
  Mutator mutate(seed);
  for (int i = 0; i < tries; ++i) {
    INFO("try ", i);
    CHECK(survive(mutate(whole)) != Code::internal);
  }
}

}  // namespace

TEST_CASE("the digit model with anything broken in it") {
  const std::string whole = read(SKYLINE_SOURCE_DIR "/tests/data/digits/model.onnx");
  REQUIRE(survive(whole) == Code::ok);
  fuzz(whole, 1, 1500 * effort());
}

TEST_CASE("models of the ONNX suite with anything broken in them") {
  const fs::path suite = "/usr/share/libonnx-testdata/data";
  if (!fs::exists(suite)) {
    MESSAGE("SKIPPED: libonnx-testdata is not installed");
    return;
  }
  std::vector<fs::path> models;
  for (const auto& entry : fs::recursive_directory_iterator(suite)) {
    if (entry.path().filename() == "model.onnx" && entry.file_size() < 100'000)
      models.push_back(entry.path());
  }
  std::sort(models.begin(), models.end());
  for (size_t i = 0; i < models.size(); ++i) {
    INFO(models[i].string());
    fuzz(read(models[i]), i, 6 * effort());
  }
}
