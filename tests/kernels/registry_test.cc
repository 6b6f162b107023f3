#include <doctest/doctest.h>

#include <set>
#include <string>

#include "skyline/kernel.h"

using namespace skyline;

TEST_CASE("kernel names are unique and every row says what it needs") {
  std::set<std::string> names;
  for (const KernelInfo* k : all_kernels()) {
    CAPTURE(k->name);
    CHECK(names.insert(std::string(k->name)).second);
    CHECK_FALSE(k->op.empty());
    CHECK(k->needs != kIsaNone);
  }
}

TEST_CASE("a family lists its best kernels first: the first usable one has the highest ISA level") {
  const IsaSet isa = isa_detected();
  std::set<std::string> seen;
  for (const KernelInfo* k : all_kernels()) {
    if (!usable(*k, isa)) continue;
    if (std::string key =
            std::string(k->op) + ' ' + std::string(name(k->in)) + ' ' + std::string(name(k->weights));
        !seen.insert(key).second) {
      continue;
    }
    for (const KernelInfo* other : all_kernels()) {
      if (other->op == k->op && other->in == k->in && other->weights == k->weights && usable(*other, isa)) {
        CAPTURE(other->name);
        CHECK(other->needs <= k->needs);
      }
    }
  }
}
