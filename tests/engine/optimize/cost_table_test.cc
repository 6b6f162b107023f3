#include "engine/optimize/cost_table.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/search/variants.h"
#include "skyline/frontier.h"

using namespace skyline;

namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               ("skyline_costs_" + std::to_string(reinterpret_cast<uintptr_t>(this)));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
};

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

}  // namespace

TEST_CASE("cost table: what was saved is there again, and what another search saved meanwhile stays") {
  const Folder folder;
  const std::string path = folder.file("deep/costs.json");
  std::string warning;
  CHECK(CostTable::load(path, warning).size() == 0);
  CHECK(warning.empty());
  CostTable a, b;
  a.put("x", 1e-3);
  b.put("y", 2e-3);
  a.save(path);
  b.save(path);
  const CostTable both = CostTable::load(path, warning);
  CHECK(warning.empty());
  CHECK(both.find("x") == 1e-3);
  CHECK(both.find("y") == 2e-3);
  CHECK_FALSE(both.find("z"));
}

TEST_CASE("cost table: damaged files and those of other machines are refused with a reason") {
  const Folder folder;
  const std::string path = folder.file("costs.json");
  CostTable t;
  t.put("x", 1e-3);
  t.save(path);
  const std::string good = text_of(path);
  const auto refused = [&](const std::string& text, const std::string& why) {
    write_file_whole(path, text);
    std::string warning;
    CHECK(CostTable::load(path, warning).size() == 0);
    CHECK(warning.find(why) != std::string::npos);
    CHECK(warning.find("measured anew") != std::string::npos);
  };
  refused("", "damaged");
  refused(good.substr(0, good.size() / 2), "damaged");
  refused("[1, 2]", "not a table of costs");
  std::string other = good;
  other.replace(other.find("skyline 0.1.0"), 7, "someone");
  refused(other, "another machine or version");
  other = good;
  other.replace(other.find("\"version\": 2"), 12, "\"version\": 9");
  refused(other, "another version");
  other = good;
  other.replace(other.find("0.001"), 5, "-1.00");
  refused(other, "the time of 'x' is none");
  for (size_t cut = 1; cut + 2 < good.size(); cut += 7) refused(good.substr(0, cut), "cost table");
}

TEST_CASE("cost table: keys tell rungs, kernels, batches, threads and shapes apart, and not names") {
  const Model model = Model::load(std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx");
  const Variants v(model, {.threads = 1});
  const std::string s = v.cost_key(0, Precision::f32, "");
  CHECK(s.find(v.flow().products[0].name) == std::string::npos);
  CHECK(s != v.cost_key(1, Precision::f32, ""));
  const std::string key = cost_key("s", Precision::f32, "", 1, 1, "l2");
  CHECK(key != cost_key("t", Precision::f32, "", 1, 1, "l2"));
  CHECK(key != cost_key("s", Precision::bf16, "", 1, 1, "l2"));
  CHECK(key != cost_key("s", Precision::f32, "winograd", 1, 1, "l2"));
  CHECK(key != cost_key("s", Precision::f32, "", 2, 1, "l2"));
  CHECK(key != cost_key("s", Precision::f32, "", 1, 2, "l2"));
  CHECK(key != cost_key("s", Precision::f32, "", 1, 1, weights_home(int64_t{1} << 40)));
  CHECK(weights_home(1) == "l2");
  CHECK(speed_factor({{1, 2}, {2, 4}, {1, 9}}) == 2);
  CHECK(speed_factor({}) == 1);
}
