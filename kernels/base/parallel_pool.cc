// A pool of threads that take pieces of work; nobody waits for a thread that has not come.
//
// Why this is the default and OpenMP (parallel_openmp.cc) the alternative: a parallel region ends when all
// threads of the team have been there. On a machine that runs anything else, one of them often is not running
// at the moment, and everybody waits for a time slice of some milliseconds: 256^3 products on two threads had
// a median of 16 ms instead of 0.1 (2-core Xeon, one busy process beside). Here the caller starts at once,
// whoever wakes up in time helps, and who comes late finds nothing left.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "kernels/base/parallel_backends.h"

namespace skyline::kernels {
namespace {

constexpr int kQueues = 64;  // more threads than this share queues
constexpr int64_t kMostHands = 1024;
constexpr int kJobs = 16;  // calls that can have helpers at a time; others run alone
constexpr int kPiecesPerThread =
    16;  // so that a thread that is slowed down or interrupted leaves little to wait for
// How long an idle thread looks out for work before it sleeps: longer than a serial step between two parallel
// ones, or than the time between two runs of a small model. Waking a sleeper costs the caller 5 us, and the
// sleeper comes 10 to 30 us later (2-core virtual machine).
constexpr auto kSpin = std::chrono::milliseconds(1);

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Pieces of work that one thread takes first, and others when they have finished theirs: neighbouring pieces
// stay with one thread, in its cache, from call to call.
struct alignas(64) Queue {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

struct Job {
  // From the top: whether helpers may enter, how many may, how many have, and how many are still inside.
  static constexpr uint64_t kOpen = uint64_t{1} << 63, kWanted = uint64_t{1} << 32, kEntered = 1 << 16,
                            kInside = 1, kCount = 0x7fff;
  alignas(64) std::atomic<uint64_t> gate{0};
  std::atomic<bool> taken{false};
  RangeBody body = nullptr;
  void* self = nullptr;
  int64_t n = 0, grain = 0, blocks = 0, pieces = 0;
  int queues = 0;
  Queue queue[kQueues];

  // The index of the helper that has entered; 0 if there is nothing to do.
  int enter() {
    uint64_t g = gate.load(std::memory_order_relaxed);
    while (g & kOpen) {
      const uint64_t entered = g / kEntered & kCount;
      if (entered >= (g / kWanted & kCount)) return 0;
      if (gate.compare_exchange_weak(g, g + kEntered + kInside, std::memory_order_acquire))
        return static_cast<int>(entered) + 1;
    }
    return 0;
  }
  void leave() { gate.fetch_sub(kInside, std::memory_order_release); }

  void work(int index) {
    const ParallelScope scope(index);
    for (int q = 0; q < queues; ++q) {
      Queue& from = queue[(index + q) % queues];
      for (int64_t i; (i = from.next.fetch_add(1, std::memory_order_relaxed)) < from.end;) {
        body(self, blocks * i / pieces * grain, std::min(n, blocks * (i + 1) / pieces * grain));
      }
    }
  }
};

struct Pool {
  Job jobs[kJobs];
  alignas(64) std::atomic<uint32_t> news{0};  // changes with every job
  alignas(64) std::atomic<int> sleeping{0};
  std::atomic<int> spinning{0};
  std::atomic<bool> stopped{false};
  std::atomic<int> started{0};
  std::mutex starting;
  std::vector<std::thread> threads;
  pid_t owner = 0;

  void serve() {
    while (!stopped.load(std::memory_order_relaxed)) {
      const uint32_t seen = news.load();
      bool helped = false;
      for (Job& job : jobs) {
        if (const int index = job.enter()) {
          job.work(index);
          job.leave();
          helped = true;
        }
      }
      if (!helped) wait(seen);
    }
  }

  void wait(uint32_t seen) {
    using Clock = std::chrono::steady_clock;
    spinning.fetch_add(1);
    for (const auto end = Clock::now() + kSpin; Clock::now() < end;) {
      for (int i = 0; i < 16; ++i) {
        if (news.load(std::memory_order_relaxed) != seen) {
          spinning.fetch_sub(1);
          return;
        }
        relax();
      }
    }
    sleeping.fetch_add(1);
    spinning.fetch_sub(1);
    news.wait(seen);
    sleeping.fetch_sub(1);
  }

  // Has at least `count` threads, if they can be had.
  void start(int count) noexcept {
    count = std::min(count, most());
    if (started.load(std::memory_order_acquire) >= count) return;
    const std::lock_guard lock(starting);
    sigset_t all, old;  // signals are for the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      while (started.load() < count) {
        threads.emplace_back([this] { serve(); });
        owner = getpid();
        started.fetch_add(1, std::memory_order_release);
      }
    } catch (...) {  // fewer helpers, then
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }
  // Threads beyond the CPUs help nobody; a few are there so that their case can be tested anywhere.
  static int most() {
    static const int count = std::max(8, static_cast<int>(std::thread::hardware_concurrency())) - 1;
    return count;
  }

  ~Pool() {
    stopped = true;
    if (owner != getpid()) {  // after a fork there are no threads to join
      for (std::thread& t : threads) t.detach();
      return;
    }
    news.fetch_add(1);
    news.notify_all();
    for (std::thread& t : threads) t.join();
  }
};

Pool& pool() {
  static Pool instance;
  return instance;
}

Job* free_job(Pool& p) {
  for (Job& job : p.jobs) {
    if (!job.taken.load(std::memory_order_relaxed) && !job.taken.exchange(true, std::memory_order_acquire))
      return &job;
  }
  return nullptr;
}

void finish(Job& job) {
  job.gate.fetch_and(~Job::kOpen, std::memory_order_relaxed);
  // A helper that was interrupted may need this CPU to get on.
  for (int i = 0; (job.gate.load(std::memory_order_acquire) & Job::kCount) != 0; ++i) {
    if (i < 2000) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
  job.taken.store(false, std::memory_order_release);
}

}  // namespace

void reserve_helpers(int count) noexcept {
  if (Pool& p = pool(); !p.stopped && count > 0) p.start(count);
}

void pool_for(int threads, int64_t n, int64_t grain, RangeBody body, void* self) noexcept {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t blocks = (n + grain - 1) / grain;
  const int hands = static_cast<int>(std::min<int64_t>({threads, blocks, kMostHands}));
  if (hands <= 1 || ParallelScope::inside()) return body(self, 0, n);  // a nested call stays on its thread
  Pool& p = pool();
  Job* job = p.stopped ? nullptr : free_job(p);
  if (!job) return body(self, 0, n);
  p.start(hands - 1);
  job->body = body;
  job->self = self;
  job->n = n;
  job->grain = grain;
  job->blocks = blocks;
  job->pieces = std::min<int64_t>(blocks, int64_t{hands} * kPiecesPerThread);
  job->queues = std::min(hands, kQueues);
  for (int q = 0; q < job->queues; ++q) {
    job->queue[q].next.store(job->pieces * q / job->queues, std::memory_order_relaxed);
    job->queue[q].end = job->pieces * (q + 1) / job->queues;
  }
  job->gate.store(Job::kOpen + Job::kWanted * static_cast<uint64_t>(hands - 1), std::memory_order_release);
  p.news.fetch_add(1);
  if (p.sleeping.load() > 0) {
    for (int i = p.spinning.load(); i < hands - 1; ++i) p.news.notify_one();
  }
  job->work(0);
  finish(*job);
}

}  // namespace skyline::kernels
