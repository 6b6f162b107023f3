#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>

#include "skyline/frontier.h"
#include "tests/engine/frontier/random_frontier.h"

using namespace skyline;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("skyline_frontier_" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

Code code_of(auto&& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.code();
  }
  return Code::ok;
}

std::string replaced(std::string s, const std::string& from, const std::string& to) {
  const size_t at = s.find(from);
  REQUIRE(at != std::string::npos);
  return s.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("what is saved is what is loaded, to the last bit") {
  const Folder folder;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Frontier f = test::random_frontier(seed, seed);
    CHECK(frontier_from_json(to_json(f)) == f);
    save_frontier(f, folder / "a.frontier.json");
    CHECK(load_frontier(folder / "a.frontier.json") == f);
  }
  const Frontier f = test::random_frontier(7, 4);
  save_plan(f, 2, folder / "m.plan.json");
  const Frontier plan = load_frontier(folder / "m.plan.json");
  REQUIRE(plan.points.size() == 1);
  CHECK(plan.points[0] == f.points[2]);
  CHECK(plan.info == f.info);
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 2);  // no temporary file stays
}

TEST_CASE("a file that breaks a rule is refused with the place") {
  const std::string good = to_json(test::random_frontier(1, 2));
  const auto refused = [&](const std::string& from, const std::string& to, Code code, const char* part) {
    CAPTURE(to);
    std::string message;
    CHECK(code_of([&] { (void)frontier_from_json(replaced(good, from, to)); }, &message) == code);
    INFO(message);
    CHECK(message.find(part) != std::string::npos);
  };
  refused("\"version\": 1", "\"version\": 2", Code::unsupported, "reads up to 1");
  refused("\"version\": 1", "\"version\": 0", Code::invalid, "version");
  refused("\"version\": 1", "\"version\": 1.5", Code::invalid, "not a whole number");
  refused("skyline.frontier", "other", Code::invalid, "schema is 'other'");
  refused("\"id\": \"p1\"", "\"id\": \"p0\"", Code::invalid, "twice");
  refused("\"id\": \"p1\"", "\"id\": \"\"", Code::invalid, "no id");
  refused("\"id\": \"p1\"", "\"id\": 3", Code::invalid, "points[1].id is not a text");
  refused("\"streams\": ", "\"streams\": 9000", Code::invalid, "streams is 9000");
  refused("\"threads\": ", "\"threads\": -", Code::invalid, "threads");
  refused("\"batch\": ", "\"batch\": 99999999999999999999", Code::invalid, "batch");
  refused("\"state\": \"", "\"state\": \"x", Code::invalid, "points[0].state");
  refused("\"rung\": \"", "\"rung\": \"x", Code::invalid, "choices[0].rung");
  refused("\"latency\": {", "\"latency\": {\"p50\": [1, 2, 3], \"x\": {", Code::parse, "not JSON");
  refused("\"seed\": ", "\"seed\": -", Code::invalid, "seed");
  refused("\"mean\": [", "\"mean\": [1e999, ", Code::parse, "not JSON");
  refused("\"mean\": [", "\"mean\": [0.5, ", Code::invalid, "[value, low, high]");
  refused("\"node\": \"conv_1\"", "\"node\": \"conv_0\"", Code::invalid, "came before");
  refused("\"sha1\": \"a", "\"sha1\": \"z", Code::invalid, "sha1");
  CHECK(code_of([] { (void)frontier_from_json(""); }) == Code::parse);
  CHECK(code_of([] { (void)frontier_from_json("[]"); }) == Code::invalid);
  CHECK(code_of([] { (void)frontier_from_json("null"); }) == Code::invalid);
  CHECK(code_of([] { (void)frontier_from_json(std::string(200000, '[')); }) == Code::parse);
}

TEST_CASE("what could not be loaded again is not saved") {
  Frontier f = test::random_frontier(1, 2);
  f.points[0].measured.accuracy = Estimate{std::nan(""), 0, 1};
  std::string message;
  CHECK(code_of([&] { (void)to_json(f); }, &message) == Code::invalid);
  CHECK(message.find("points[0].measured.accuracy is not a finite number") != std::string::npos);
  f.points[0].measured.accuracy = Estimate{0.5, 0.6, 0.7};
  CHECK(code_of([&] { (void)to_json(f); }) == Code::invalid);
  f.points[0].measured.accuracy = Estimate{0.5, 0.4, std::numeric_limits<double>::infinity()};
  CHECK(code_of([&] { (void)to_csv(f); }) == Code::invalid);
}

TEST_CASE("mutated files are loaded or refused, nothing else") {
  const std::string good = to_json(test::random_frontier(5, 3));
  std::mt19937 random(11);
  int loaded = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      const size_t at = random() % bad.size();
      switch (random() % 4) {
        case 0:
          bad[at] = static_cast<char>(random());
          break;
        case 1:
          bad.erase(at, random() % 40);
          break;
        case 2:
          bad.insert(at, bad.substr(random() % bad.size(), random() % 60));
          break;
        default:
          bad[at] = "{}[]\",:-9eE."[random() % 12];
      }
    }
    const Code c = code_of([&] { (void)frontier_from_json(bad); });
    loaded += c == Code::ok;
    CHECK((c == Code::ok || c == Code::parse || c == Code::invalid || c == Code::unsupported));
  }
  CHECK(loaded > 0);
}

TEST_CASE("killed while saving, the old or the new file is there") {
  const Folder folder;
  const std::string path = folder / "k.frontier.json";
  const Frontier small = test::random_frontier(1, 1), large = test::random_frontier(2, 60);
  save_frontier(small, path);
  int seen_large = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) {
        save_frontier(large, path);
        save_frontier(small, path);
      }
    }
    usleep(3000 + 1700 * round);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const Frontier f = load_frontier(path);
    CHECK((f == small || f == large));
    seen_large += f == large;
  }
  MESSAGE(seen_large, " of 12 times the new one");
}

TEST_CASE("links stay links, other things are refused or written in place") {
  const Folder folder;
  const Frontier f = test::random_frontier(1, 1);
  save_frontier(f, folder / "real.json");
  fs::create_symlink("real.json", folder / "link.json");
  save_frontier(test::random_frontier(2, 2), folder / "link.json");
  CHECK(fs::is_symlink(folder / "link.json"));
  CHECK(load_frontier(folder / "real.json").points.size() == 2);
  CHECK(code_of([&] { save_frontier(f, folder / "none/x.json"); }) == Code::io);
  CHECK(code_of([&] { (void)load_frontier(folder / "none.json"); }) == Code::io);
  CHECK(code_of([&] { (void)load_frontier(folder.path.string()); }) == Code::io);
  CHECK(code_of([&] { write_file_whole("/dev/full", "x"); }) == Code::io);
  write_file_whole("/dev/null", "x");
  CHECK_FALSE(fs::is_regular_file("/dev/null"));
}

TEST_CASE("CSV has a row a point and as many fields in each") {
  const Frontier f = test::random_frontier(3, 8);
  std::istringstream lines(to_csv(f));
  std::string line;
  size_t rows = 0, columns = 0;
  while (std::getline(lines, line)) {
    size_t fields = 1;
    bool inside = false;
    for (char c : line) {
      inside ^= c == '"';
      fields += c == ',' && !inside;
    }
    if (rows++ == 0) columns = fields;
    CHECK(fields == columns);
    CHECK(line.back() == '\r');
  }
  CHECK(rows == 9);
}
