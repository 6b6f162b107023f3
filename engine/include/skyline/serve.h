#pragma once
// Throughput: several executions at a time that share one session's weights, and requests joined into
// batches.
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <vector>

#include "skyline/session.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// How many threads each of `streams` may use where `threads` are there for all (0: the CPUs that this process
// may use): a fair share, at least 1. What to put into SessionOptions::threads.
int threads_per_stream(int threads, int streams);

struct BatcherOptions {
  int streams = 1;        // batches that run at a time, each with the session's threads; 1 to 256
  int64_t max_batch = 8;  // requests joined into one run; 1 to 65536
  // How long the first request of a batch may wait for others while a stream is idle. 0: a batch is what has
  // come while all streams were busy; nobody waits for company. At most an hour.
  std::chrono::nanoseconds max_delay{0};
  size_t max_queue = 1 << 16;  // requests waiting; above it submit() refuses
};

// Answers requests one by one while running them in batches.
//
// A request is what the session takes, with the shapes of `example`; what is joined is the first axis of
// every input, so the model must leave it open, and every output must have one row (or as many as the
// example's) for each request. Each request gets what running it alone gives: the same numbers up to the
// rounding of sums, whose order may depend on the batch.
//
// Batches are padded to a few sizes (1, 2, 3, 4, 6, 8, 12, 16, ...), so that few plans are needed; all are
// made when the batcher is. Thread-safe.
class Batcher {
 public:
  using Outputs = std::vector<Value>;
  // Called on a stream's thread, once, with the outputs or with the error: exactly one is there. What it
  // throws, the next submit() throws.
  using Done = std::function<void(Outputs, std::exception_ptr)>;

  // Error{input} if the example does not fit the session, {unsupported} naming the input or output that has
  // no batch axis, {invalid} for options out of range.
  Batcher(const Session& session, std::span<const Value> example, const BatcherOptions& options = {});
  // Waits for what was submitted.
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Error{input} if the shapes are not the example's, {limit} if the queue is full.
  void submit(std::vector<Value> inputs, Done done);
  std::future<Outputs> submit(std::vector<Value> inputs);
  Outputs run(std::vector<Value> inputs);  // waits

  struct Counts {
    int64_t requests = 0, batches = 0;  // that have run
    int64_t padding = 0;                // rows computed for nobody
    size_t waiting = 0;
  };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skyline
#pragma GCC visibility pop
