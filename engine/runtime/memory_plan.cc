#include "engine/runtime/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/memory.h"

namespace skyline {
namespace {

using Order = std::vector<size_t>;

int64_t aligned(const Interval& i) {
  return static_cast<int64_t>(kernels::align_up(static_cast<size_t>(i.bytes)));
}

struct Layout {
  std::vector<int64_t> offsets;
  int64_t total = 0;
};

// Each in turn into the smallest gap that holds it among those placed before that live with it.
Layout place(std::span<const Interval> intervals, const Order& order) {
  Layout out{std::vector<int64_t>(intervals.size(), 0), 0};
  Order placed;  // in order of offset
  for (size_t me : order) {
    const Interval& mine = intervals[me];
    const int64_t size = aligned(mine);
    int64_t at = 0, best = -1, best_gap = INT64_MAX;
    for (size_t other : placed) {
      const Interval& o = intervals[other];
      if (o.last < mine.first || mine.last < o.first) continue;
      const int64_t gap = out.offsets[other] - at;
      if (gap >= size && gap < best_gap) {
        best = at;
        best_gap = gap;
      }
      at = std::max(at, out.offsets[other] + aligned(o));
    }
    out.offsets[me] = best >= 0 ? best : at;
    out.total = std::max(out.total, out.offsets[me] + size);
    const auto where = std::upper_bound(placed.begin(), placed.end(), me,
                                        [&](size_t a, size_t b) { return out.offsets[a] < out.offsets[b]; });
    placed.insert(where, me);
  }
  return out;
}

// The bytes alive at each step.
std::vector<int64_t> live_bytes(std::span<const Interval> intervals) {
  int last = -1;
  for (const Interval& i : intervals) last = std::max(last, i.last);
  std::vector<int64_t> live(static_cast<size_t>(last) + 2, 0);
  for (const Interval& i : intervals) {
    live[static_cast<size_t>(i.first)] += i.bytes;
    live[static_cast<size_t>(i.last) + 1] -= i.bytes;
  }
  std::partial_sum(live.begin(), live.end(), live.begin());
  return live;
}

Order by_size(std::span<const Interval> intervals) {
  Order order(intervals.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return intervals[a].bytes > intervals[b].bytes; });
  return order;
}

// Those of the fullest step first.
Order by_breadth(std::span<const Interval> intervals, const std::vector<int64_t>& live) {
  std::vector<int64_t> fullest;
  for (const Interval& i : intervals)
    fullest.push_back(*std::max_element(live.begin() + i.first, live.begin() + i.last + 1));
  Order order = by_size(intervals);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return fullest[a] > fullest[b]; });
  return order;
}

Order by_length(std::span<const Interval> intervals) {
  Order order = by_size(intervals);
  const auto length = [&](size_t i) { return intervals[i].last - intervals[i].first; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
  return order;
}

// Moves the blocks that make the layout as high as it is to the front.
void promote_highest(std::span<const Interval> intervals, const Layout& layout, Order& order) {
  std::stable_partition(order.begin(), order.end(),
                        [&](size_t i) { return layout.offsets[i] + aligned(intervals[i]) == layout.total; });
}

}  // namespace

MemoryPlan plan_memory(std::span<const Interval> intervals) {
  const std::vector<int64_t> live = live_bytes(intervals);
  const int64_t bound = *std::max_element(live.begin(), live.end());
  // Most plans reach the bound at once; the work on the others, of n^2 each, is limited.
  constexpr int64_t kMostWork = int64_t{1} << 23;
  const auto n = static_cast<int64_t>(intervals.size());
  int64_t left = std::max<int64_t>(3, kMostWork / std::max<int64_t>(1, n * n));
  Layout best;
  best.total = INT64_MAX;
  for (Order order : {by_size(intervals), by_breadth(intervals, live), by_length(intervals)}) {
    for (int round = 0; round < 30 && left > 0 && best.total > bound + bound / 100; ++round, --left) {
      Layout layout = place(intervals, order);
      promote_highest(intervals, layout, order);
      if (layout.total < best.total) best = std::move(layout);
    }
  }
  return {std::move(best.offsets), best.total, bound};
}

}  // namespace skyline
