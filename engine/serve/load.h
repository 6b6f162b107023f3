#pragma once
// Load on a session, in the manner of MLPerf's scenarios, and what came of it.
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "skyline/estimate.h"
#include "skyline/serve.h"

namespace skyline::serve {

using Seconds = std::chrono::duration<double>;

// What a load measured. Times in seconds.
struct Load {
  std::vector<double> latencies;    // of each run or request, in the order in which they began
  std::vector<double> completions;  // when each was done, since the start of measuring
  double seconds = 0;               // measured in all
  int64_t examples_each = 1;        // examples in a run or request

  int64_t examples() const { return static_cast<int64_t>(latencies.size()) * examples_each; }
};

// Latency at a quantile, and its mean; examples per second, with the interval from the rates of successive
// slices of the time. The load must not be empty.
Estimate latency_at(const Load& load, double q);
Estimate latency_mean(const Load& load);
Estimate throughput(const Load& load);

struct ClosedLoop {
  int streams = 1;            // callers, each with a context of its own; the first on the calling thread
  int64_t examples_each = 1;  // examples in one run
  double seconds = 3, warmup = 0.3;
};
// Every stream runs the same inputs over and over, the next run as soon as the last is done: single-stream
// with one stream (latency), offline with many or with batches (throughput).
Load closed_loop(const Session& session, std::span<const Value> inputs, const ClosedLoop& options);

struct OpenLoop {
  double rate = 100;  // requests per second, on average
  double seconds = 3, warmup = 0.3;
  uint64_t seed = 1;
  // A request that is not done so long after it was due ends the run: the rate cannot be kept up.
  double give_up = 10;
};
struct OpenLoad : Load {
  bool kept_up = true;     // else the figures are those of what was done until it was given up
  double rate = 0;         // that was asked for
  double latest_send = 0;  // by how much a request was sent later than due, at worst
};
// Server: requests arrive as a Poisson process, whether or not earlier ones are done. Latency counts from the
// time at which a request was due, so that one that is sent late because the machine was busy counts as late
// (no coordinated omission). Arrivals depend on rate and seed only. Error{limit} above 1e8 requests.
OpenLoad open_loop(Batcher& batcher, std::span<const Value> request, const OpenLoop& options);

// The times at which `open_loop` sends, in seconds from the start: for tests.
std::vector<double> arrivals(double rate, double seconds, uint64_t seed);

struct RateTrial {
  double rate = 0;
  Estimate p99;
  bool met = false;
  int64_t requests = 0;
};
struct RateSearch {
  double rate = 0;  // the largest that was seen to meet the bound; 0 if none did
  OpenLoad best;    // the load at that rate
  std::vector<RateTrial> trials;
};
// The largest rate whose 99th percentile stays within `bound` seconds: its interval's upper end must.
// Bisection between `most` (what the machine can do at all) and a thousandth of it, to 3 %; each rate is
// tried for options.seconds. `tried` is called after each trial.
RateSearch find_rate(Batcher& batcher, std::span<const Value> request, double bound, double most,
                     const OpenLoop& options, const std::function<void(const RateTrial&)>& tried = {});
// The same search on any server, for tests: `run` loads it at a rate.
RateSearch find_rate(const std::function<OpenLoad(double rate, int trial)>& run, double bound, double most,
                     const std::function<void(const RateTrial&)>& tried = {});

}  // namespace skyline::serve
