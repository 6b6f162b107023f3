#include "engine/serve/load.h"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <random>
#include <system_error>
#include <thread>

#include "kernels/base/parallel_backends.h"

namespace skyline::serve {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return Seconds(Clock::now() - start).count();
}
Clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

struct Run {
  double begin, end;
};

// Puts runs into the order in which they began.
Load as_load(std::vector<Run> runs, int64_t examples_each) {
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
  Load load;
  load.examples_each = examples_each;
  for (const Run& r : runs) {
    load.latencies.push_back(r.end - r.begin);
    load.completions.push_back(r.end);
    load.seconds = std::max(load.seconds, r.end);
  }
  return load;
}

// Runs until `seconds` have passed, at least once. Times are counted from `start`.
void run_until(Context& context, double seconds, Clock::time_point start, std::vector<Run>* runs) {
  do {
    const double begin = since(start);
    context.run();
    const double end = since(start);
    if (runs) runs->push_back({begin, end});
  } while (since(start) < seconds);
}

}  // namespace

Estimate latency_at(const Load& load, double q) {
  std::vector<double> sorted = load.latencies;
  std::sort(sorted.begin(), sorted.end());
  return quantile_estimate(sorted, q);
}

Estimate latency_mean(const Load& load) {
  return mean_estimate(load.latencies);
}

// Slices end where a run does: whole runs over the time that they took, so that long runs leave no remainder.
Estimate throughput(const Load& load) {
  std::vector<double> ends = load.completions;
  std::sort(ends.begin(), ends.end());
  const size_t n = ends.size(), slices = std::min<size_t>(20, n);
  const double rate = static_cast<double>(load.examples()) / std::max(load.seconds, 1e-9);
  if (slices < 2) return Estimate::exactly(rate);
  std::vector<double> rates;
  for (size_t s = 0; s < slices; ++s) {
    const size_t from = n * s / slices, to = n * (s + 1) / slices;
    const double begin = from == 0 ? 0 : ends[from - 1], took = ends[to - 1] - begin;
    if (took > 0)
      rates.push_back(static_cast<double>(static_cast<int64_t>(to - from) * load.examples_each) / took);
  }
  if (rates.size() < 2) return Estimate::exactly(rate);
  const Estimate e = mean_estimate(rates);
  const double half = (e.high - e.low) / 2;
  return {rate, std::max(0.0, rate - half), rate + half};
}

Load closed_loop(const Session& session, std::span<const Value> inputs, const ClosedLoop& options) {
  const auto streams = static_cast<size_t>(std::max(1, options.streams));
  std::vector<Context> contexts;
  for (size_t i = 0; i < streams; ++i) contexts.emplace_back(session, inputs);
  kernels::reserve_helpers(static_cast<int>(streams) * (session.options().threads - 1));

  std::vector<std::vector<Run>> runs(streams);
  std::vector<std::exception_ptr> errors(streams);
  for (auto& r : runs) r.reserve(1 << 14);
  Clock::time_point start;
  std::barrier ready(static_cast<std::ptrdiff_t>(streams), [&]() noexcept { start = Clock::now(); });
  const auto serve = [&](size_t i) {
    try {
      run_until(contexts[i], options.warmup, Clock::now(), nullptr);
    } catch (...) {
      errors[i] = std::current_exception();
    }
    ready.arrive_and_wait();
    if (errors[i]) return;
    try {
      run_until(contexts[i], options.seconds, start, &runs[i]);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(streams);
    for (size_t i = 1; i < streams; ++i) {
      try {
        threads.emplace_back(serve, i);
      } catch (const std::system_error&) {
        errors[i] = std::make_exception_ptr(Error(Code::oom, "no thread could be had for a stream"));
        (void)ready.arrive();
      }
    }
    serve(0);
  }
  for (const std::exception_ptr& e : errors) {
    if (e) std::rethrow_exception(e);
  }
  std::vector<Run> all;
  for (const auto& r : runs) all.insert(all.end(), r.begin(), r.end());
  return as_load(std::move(all), options.examples_each);
}

std::vector<double> arrivals(double rate, double seconds, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> out;
  for (double t = 0;;) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;  // in [0, 1), the same everywhere
    t -= std::log1p(-u) / rate;
    if (t >= seconds) return out;
    out.push_back(t);
  }
}

OpenLoad open_loop(Batcher& batcher, std::span<const Value> request, const OpenLoop& options) {
  constexpr double kMostRequests = 1e8;  // a figure is kept for each
  if (!(options.rate > 0) || !(options.rate * (options.warmup + options.seconds) <= kMostRequests))
    throw Error(Code::limit, "server: more than 1e8 requests; lower the rate or the duration");
  const std::vector<double> due = arrivals(options.rate, options.warmup + options.seconds, options.seed);
  const std::vector<Value> inputs(request.begin(), request.end());
  std::vector<double> done(due.size(), -1);
  std::atomic<size_t> finished{0}, failed{0};
  std::exception_ptr error, refused;
  OpenLoad out;
  out.rate = options.rate;

  // Sleeping as exactly as the system can: the default slack of 50 us would be counted as latency.
  ::prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
  const Clock::time_point start = Clock::now();
  size_t sent = 0;
  for (; sent < due.size(); ++sent) {
    std::this_thread::sleep_until(start + to_duration(due[sent]));
    const double late = since(start) - due[sent];
    out.latest_send = std::max(out.latest_send, late);
    // The oldest request under way is at least as many places back as there are unfinished ones.
    const size_t open = sent - finished.load();
    if (late > options.give_up || (open > 0 && since(start) - due[sent - open] > options.give_up)) {
      out.kept_up = false;
      break;
    }
    const size_t i = sent;
    try {
      batcher.submit(inputs, [&, i](Batcher::Outputs, std::exception_ptr e) {
        done[i] = since(start);
        if (e && failed.fetch_add(1) == 0) error = e;
        finished.fetch_add(1);  // the last that it does with our variables
      });
    } catch (const Error& e) {
      if (e.code() != Code::limit) refused = std::current_exception();
      out.kept_up = false;
      break;
    }
  }
  // What was sent is waited for in any case: the answers are written to this function's variables.
  while (finished.load() < sent) std::this_thread::sleep_for(std::chrono::microseconds(200));
  for (const std::exception_ptr& e : {refused, error}) {
    if (e) std::rethrow_exception(e);
  }
  for (size_t i = 0; i < sent; ++i) {
    if (due[i] < options.warmup) continue;
    out.latencies.push_back(done[i] - due[i]);
    out.completions.push_back(done[i] - options.warmup);
    out.seconds = std::max(out.seconds, out.completions.back());
  }
  return out;
}

RateSearch find_rate(const std::function<OpenLoad(double, int)>& run, double bound, double most,
                     const std::function<void(const RateTrial&)>& tried) {
  constexpr double kFinest = 1.03, kSpan = 1000;
  RateSearch search;
  const auto meets = [&](double rate) {
    OpenLoad load = run(rate, static_cast<int>(search.trials.size()));
    RateTrial trial{rate, {}, false, static_cast<int64_t>(load.latencies.size())};
    if (!load.latencies.empty()) {
      trial.p99 = latency_at(load, 0.99);
      trial.met = load.kept_up && trial.p99.high <= bound;
    }
    search.trials.push_back(trial);
    if (tried) tried(trial);
    if (trial.met && rate > search.rate) {
      search.rate = rate;
      search.best = std::move(load);
    }
    return trial.met;
  };
  double low = most / kSpan, high = most;
  if (meets(high)) return search;
  // Rates that fail are tried from above by halves: most servers keep most of what they can do.
  while (high > low && !meets(std::max(low, high / 2))) high /= 2;
  if (search.rate == 0) return search;
  for (low = search.rate; high / low > kFinest;) {
    const double middle = std::sqrt(low * high);
    (meets(middle) ? low : high) = middle;
  }
  return search;
}

RateSearch find_rate(Batcher& batcher, std::span<const Value> request, double bound, double most,
                     const OpenLoop& options, const std::function<void(const RateTrial&)>& tried) {
  const auto run = [&](double rate, int trial) {
    OpenLoop o = options;
    o.rate = rate;
    o.seed = options.seed + static_cast<uint64_t>(trial);
    o.give_up = std::max(20 * bound, 0.25);  // far beyond what could still meet the bound
    return open_loop(batcher, request, o);
  };
  return find_rate(run, bound, most, tried);
}

}  // namespace skyline::serve
