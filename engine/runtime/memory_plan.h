#pragma once
// Where each intermediate lives in the arena.
#include <cstdint>
#include <span>
#include <vector>

namespace skyline {

// A block that is written at step `first` and last read at step `last` (inclusive).
struct Interval {
  int64_t bytes = 0;
  int first = 0, last = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // per interval, multiples of 64
  int64_t total = 0;
  int64_t lower_bound = 0;  // the largest sum of simultaneously live blocks: no plan takes less
};

// Blocks that live at the same step do not overlap. Greedy into the gap that fits best (Pisarchyk and Lee,
// "Efficient memory management for deep neural net inference", 2020), in several orders until one comes
// within a hundredth of the lower bound: by size, by how full their fullest step is, by length, each time
// again with the highest blocks first.
MemoryPlan plan_memory(std::span<const Interval> intervals);

}  // namespace skyline
