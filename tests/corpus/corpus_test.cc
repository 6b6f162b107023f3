// The models of cases.py (bad ones, and ones at the edge that must give a defined answer) through Session:
// each ends in a status that the case allows, again and again, and integers agree on every ISA level with the
// reference evaluation.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "graph/onnx/value_io.h"
#include "skyline/isa.h"
#include "skyline/skyline.h"

using namespace skyline;

namespace {

struct Case {
  std::string name, allowed;
  double timeout = 0;
  std::vector<std::string> inputs;
};

std::vector<std::string> split(const std::string& line, char at) {
  std::vector<std::string> parts;
  std::istringstream in(line);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

std::vector<Case> cases(const std::string& folder) {
  std::vector<Case> out;
  std::ifstream in(folder + "/cases.tsv");
  for (std::string line; std::getline(in, line);) {
    const auto parts = split(line, '\t');
    REQUIRE(parts.size() >= 3);
    out.push_back({parts[0], parts[1], std::stod(parts[2]), {parts.begin() + 3, parts.end()}});
  }
  return out;
}

// The status of one run, and what came out.
struct Outcome {
  std::string status = "OK", message;
  std::vector<Value> outputs;
};

template <class F>
Outcome outcome(F&& f) {
  Outcome o;
  try {
    o.outputs = f();
  } catch (const Error& e) {
    o.status = name(e.code());
    o.message = e.what();
  }
  return o;
}

bool allowed(const Case& c, const std::string& status) {
  for (const std::string& s : split(c.allowed, '|')) {
    if (s == status) return true;
  }
  return false;
}

std::vector<Value> run(const Session& session, const Case& c, const std::string& folder) {
  std::vector<Value> in;
  for (const ValueDescription& port : session.inputs())
    in.push_back(onnx::load_value(folder + "/" + c.name + "/" + port.name + ".pb", port.fact));
  RunOptions options;
  if (c.timeout > 0) {
    options.deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<int64_t>(c.timeout * 250));
  }
  return session.run(in, options);
}

// Whether all integer outputs are the same.
bool same_integers(const std::vector<Value>& a, const std::vector<Value>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].is_tensor() || is_float(a[i].tensor().dtype())) continue;
    const Tensor &x = a[i].tensor(), &y = b[i].tensor();
    if (x.dims() != y.dims() || x.dtype() != y.dtype()) return false;
    if (x.bytes() != 0 && std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) != 0) return false;
  }
  return true;
}

void check(const Case& c, const std::string& folder) {
  INFO(c.name);
  std::vector<Value> reference;
  for (const char* level : {"reference", "sse2", "avx2", "native"}) {
    const bool plain = std::strcmp(level, "reference") == 0;
    if (!plain && outcome([&] { return (void)isa_level(level), std::vector<Value>{}; }).status != "OK")
      continue;
    INFO(std::string(level));
    std::optional<Session> session;
    const Outcome made = outcome([&] {
      session.emplace(Model::load(folder + "/" + c.name + "/model.onnx"),
                      SessionOptions{.threads = 2, .isa = plain ? "native" : level, .optimize = !plain});
      return std::vector<Value>{};
    });
    INFO(made.message);
    if (!session) {
      CHECK_MESSAGE(allowed(c, made.status), made.status);
      continue;
    }
    for (int again = 0; again < 2; ++again) {
      const Outcome ran = outcome([&] { return run(*session, c, folder); });
      INFO(ran.message);
      CHECK_MESSAGE(allowed(c, ran.status), ran.status);
      if (ran.status != "OK") continue;
      if (plain) reference = ran.outputs;
      CHECK((reference.empty() || same_integers(reference, ran.outputs)));
    }
  }
}

}  // namespace

TEST_CASE("models that are wrong or at the edge end in the status that they should") {
  const char* folder = std::getenv("SKYLINE_CORPUS");
  if (!folder) {
    MESSAGE("SKIPPED: run through ctest, which writes the models and names their folder in SKYLINE_CORPUS");
    return;
  }
  const auto all = cases(folder);
  CHECK(all.size() > 1000);
  for (const Case& c : all) check(c, folder);
}
