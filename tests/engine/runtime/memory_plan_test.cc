#include "engine/runtime/memory_plan.h"

#include <doctest/doctest.h>

#include <random>

using namespace skyline;

namespace {

// No two blocks that live at the same step overlap, and nothing lies outside the arena.
void check_plan(const std::vector<Interval>& blocks, const MemoryPlan& plan) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    CHECK(plan.offsets[i] % 64 == 0);
    CHECK(plan.offsets[i] + blocks[i].bytes <= plan.total);
    for (size_t j = 0; j < i; ++j) {
      const bool together = blocks[i].first <= blocks[j].last && blocks[j].first <= blocks[i].last;
      const bool overlap = plan.offsets[i] < plan.offsets[j] + blocks[j].bytes &&
                           plan.offsets[j] < plan.offsets[i] + blocks[i].bytes;
      CHECK_FALSE((together && overlap && blocks[i].bytes > 0 && blocks[j].bytes > 0));
    }
  }
}

}  // namespace

TEST_CASE("a chain of equal blocks takes the memory of two") {
  std::vector<Interval> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back({1024, i, i + 1});
  const MemoryPlan plan = plan_memory(blocks);
  check_plan(blocks, plan);
  CHECK(plan.lower_bound == 2 * 1024);
  CHECK(plan.total == plan.lower_bound);
}

TEST_CASE("random lifetimes never overlap and stay near the lower bound") {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<Interval> blocks;
    for (int i = 0; i < 80; ++i) {
      const int first = static_cast<int>(random() % 100);
      blocks.push_back(
          {static_cast<int64_t>(random() % 100) * 64, first, first + static_cast<int>(random() % 12)});
    }
    const MemoryPlan plan = plan_memory(blocks);
    check_plan(blocks, plan);
    CHECK(plan.total >= plan.lower_bound);
    CHECK(plan.total <= plan.lower_bound * 23 / 20);
  }
}

TEST_CASE("an empty plan takes nothing") {
  const MemoryPlan plan = plan_memory({});
  CHECK(plan.total == 0);
  CHECK(plan.lower_bound == 0);
}
