#include "engine/runtime/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/memory.h"

namespace skyline {

MemoryPlan plan_memory(std::span<const Interval> intervals) {
  MemoryPlan plan;
  plan.offsets.assign(intervals.size(), 0);
  std::vector<size_t> by_size(intervals.size());
  std::iota(by_size.begin(), by_size.end(), 0);
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return intervals[a].bytes > intervals[b].bytes; });
  std::vector<size_t> placed;  // in order of offset
  for (size_t me : by_size) {
    const Interval& mine = intervals[me];
    const int64_t size = static_cast<int64_t>(kernels::align_up(static_cast<size_t>(mine.bytes)));
    int64_t at = 0, best = -1, best_gap = INT64_MAX;
    for (size_t other : placed) {
      const Interval& o = intervals[other];
      if (o.last < mine.first || mine.last < o.first) continue;
      const int64_t gap = plan.offsets[other] - at;
      if (gap >= size && gap < best_gap) {
        best = at;
        best_gap = gap;
      }
      at = std::max(
          at, plan.offsets[other] + static_cast<int64_t>(kernels::align_up(static_cast<size_t>(o.bytes))));
    }
    plan.offsets[me] = best >= 0 ? best : at;
    plan.total = std::max(plan.total, plan.offsets[me] + size);
    const auto where = std::upper_bound(placed.begin(), placed.end(), me, [&](size_t a, size_t b) {
      return plan.offsets[a] < plan.offsets[b];
    });
    placed.insert(where, me);
  }
  // The lower bound: sweep over the steps.
  int last = 0;
  for (const Interval& i : intervals) last = std::max(last, i.last);
  std::vector<int64_t> delta(static_cast<size_t>(last) + 2, 0);
  for (const Interval& i : intervals) {
    delta[static_cast<size_t>(i.first)] += i.bytes;
    delta[static_cast<size_t>(i.last) + 1] -= i.bytes;
  }
  int64_t live = 0;
  for (int64_t d : delta) plan.lower_bound = std::max(plan.lower_bound, live += d);
  return plan;
}

}  // namespace skyline
