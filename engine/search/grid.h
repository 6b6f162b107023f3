#pragma once
// Throughput over batch, streams and threads: which of them serves most examples a second.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/serve/load.h"
#include "skyline/session.h"

namespace skyline {

struct OperatingPoint {
  int64_t batch = 1;
  int streams = 1, threads = 1;  // threads of each stream
  friend bool operator==(const OperatingPoint&, const OperatingPoint&) = default;
};

// Whether the model leaves the first axis of all inputs open, so that examples can be joined along it, and
// gives rows of outputs for each. Runs the session twice.
bool can_batch(const Session& session, std::span<const Value> example);
// The example `batch` times over along the first axis.
std::vector<Value> repeated(std::span<const Value> example, int64_t batch);

struct GridOptions {
  std::vector<int64_t> batches = {1};
  std::vector<int> streams = {1};
  int threads = 1;       // of all streams together
  bool prune = true;     // false: everything is measured (the oracle of tests and benches)
  double seconds = 0.1;  // of one measurement
  double seconds_in_all = 5;
  // What this machine can do: operations a second on all threads at the plan's rung, and operations of an
  // example; 0 where unknown.
  double peak = 0, work = 0;
};

struct GridPoint {
  OperatingPoint at;
  serve::Load load;     // of the last measurement; the finalists' is the longest
  Estimate throughput;  // examples a second
  double bound = 0;     // what it could reach at most, as known before it was measured
};

struct GridResult {
  std::vector<GridPoint> measured;  // the best first
  size_t points = 0;                // of the whole grid
};

// session_of makes the plan's session with so many threads. Points are tried in the order of their bounds:
// one thread's rate at that batch times the threads in use (cores that share caches and memory do not help
// each other), and no more than the roofline. A point whose bound is below what another reaches is not
// measured, batches stop growing where the rate falls, and the best three are measured once more, in turns.
GridResult search_grid(const std::function<Session(int threads)>& session_of, std::span<const Value> example,
                       const GridOptions& options, const std::function<bool()>& stop = {});

}  // namespace skyline
