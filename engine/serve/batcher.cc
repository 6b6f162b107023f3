#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/base/cpu.h"
#include "kernels/base/parallel_backends.h"
#include "skyline/serve.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;
using Outputs = Batcher::Outputs;

struct Request {
  std::vector<Value> inputs;
  Batcher::Done done;
  Clock::time_point deadline;  // when it has waited long enough for company
};

// Of each octave the power of two and half of it more: at most a third of a batch is padding.
std::vector<int64_t> batch_sizes(int64_t most) {
  std::vector<int64_t> out;
  for (int64_t n = 1; n < most; n *= 2) {
    out.push_back(n);
    if (n >= 2 && n + n / 2 < most) out.push_back(n + n / 2);
  }
  out.push_back(most);
  return out;
}

[[noreturn]] void no_batch_axis(const std::string& what, const std::string& name, const std::string& why) {
  throw Error(Code::unsupported, what + " '" + name + "' cannot be batched: " + why);
}

// Rows [from, from + count) of the first axis. `from` and `count` are within t.
Tensor rows_of(const Tensor& t, int64_t from, int64_t count) {
  Dims dims = t.dims();
  const int64_t row = t.dim(0) > 0 ? t.bytes() / t.dim(0) : 0;
  dims[0] = count;
  Tensor out(t.dtype(), dims);
  std::memcpy(out.mutable_raw(), static_cast<const std::byte*>(t.raw()) + from * row,
              static_cast<size_t>(count * row));
  return out;
}

// One batch of a given size, ready to be filled and run. For one thread at a time.
class Batch {
 public:
  Batch(const Session& session, std::span<const Value> example, int64_t size)
      : size_(size), inputs_(joined(example, size)), context_(session, inputs_) {}

  // At most `size` requests; rows without one repeat the last.
  void fill(std::span<const Request> requests) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i].is_tensor()) continue;
      Tensor all = inputs_[i].tensor();
      const int64_t each = all.bytes() / size_;
      for (int64_t r = 0; r < size_; ++r) {
        const auto from =
            static_cast<size_t>(std::min<int64_t>(r, static_cast<int64_t>(requests.size()) - 1));
        std::memcpy(static_cast<std::byte*>(all.mutable_raw()) + r * each,
                    requests[from].inputs[i].tensor().raw(), static_cast<size_t>(each));
      }
    }
  }
  void run() { context_.run(); }
  // The rows of request r; every output has `rows` of them for each.
  Outputs take(int64_t r, std::span<const int64_t> rows) const {
    Outputs out;
    for (size_t i = 0; i < context_.outputs(); ++i) {
      const Value& v = context_.output(i);
      if (!v.is_tensor() || v.tensor().rank() == 0 || v.tensor().dim(0) != rows[i] * size_) {
        throw Error(Code::unsupported, "output " + std::to_string(i) + " has not one row for each request: " +
                                           (v.is_tensor() ? to_string(v.tensor().dims()) : "no tensor"));
      }
      out.emplace_back(rows_of(v.tensor(), r * rows[i], rows[i]));
    }
    return out;
  }
  const Context& context() const { return context_; }
  int64_t size() const { return size_; }

 private:
  static std::vector<Value> joined(std::span<const Value> example, int64_t size) {
    std::vector<Value> out;
    for (const Value& v : example) {
      if (!v.is_tensor()) {
        out.push_back(v);
        continue;
      }
      Dims dims = v.tensor().dims();
      dims[0] *= size;
      Tensor all(v.tensor().dtype(), dims);
      for (int64_t r = 0; r < size; ++r) {
        std::memcpy(static_cast<std::byte*>(all.mutable_raw()) + r * v.tensor().bytes(), v.tensor().raw(),
                    static_cast<size_t>(v.tensor().bytes()));
      }
      out.emplace_back(all);
    }
    return out;
  }

  int64_t size_;
  std::vector<Value> inputs_;
  Context context_;
};

void check_example(const Session& session, std::span<const Value> example) {
  session.check_inputs(example);
  for (size_t i = 0; i < example.size(); ++i) {
    const ValueDescription& d = session.inputs()[i];
    if (example[i].is_none()) continue;
    if (!example[i].is_tensor()) no_batch_axis("input", d.name, "it is no tensor");
    const Tensor& t = example[i].tensor();
    if (t.dtype() == DType::string) no_batch_axis("input", d.name, "it is text");
    if (t.rank() == 0 || t.dim(0) == 0) no_batch_axis("input", d.name, "it has no rows");
    if (d.fact.ranked && d.fact.dims[0].known())
      no_batch_axis("input", d.name,
                    "its first dimension is fixed at " + std::to_string(d.fact.dims[0].value()));
  }
}

void check_options(const BatcherOptions& o) {
  const auto fail = [](const std::string& what) { throw Error(Code::invalid, "batcher: " + what); };
  if (o.streams < 1 || o.streams > 256) fail("streams must be 1 to 256, not " + std::to_string(o.streams));
  if (o.max_batch < 1 || o.max_batch > 65536)
    fail("max_batch must be 1 to 65536, not " + std::to_string(o.max_batch));
  if (o.max_delay.count() < 0 || o.max_delay > std::chrono::hours(1)) fail("max_delay must be 0 to an hour");
  if (o.max_queue < 1) fail("max_queue must be at least 1");
}

// Whether two answers to the same request agree to more than rounding can change.
bool agree(const Tensor& a, const Tensor& b) {
  if (a.dtype() != DType::f32 || a.dims() != b.dims()) return a.dims() == b.dims();
  double largest = 0, worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double x = a.data<float>()[i], y = b.data<float>()[i];
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    largest = std::max(largest, std::fabs(x));
    worst = std::max(worst, std::fabs(x - y));
  }
  return worst <= 1e-2 * largest;
}

}  // namespace

int threads_per_stream(int threads, int streams) {
  const int all = threads > 0 ? threads : kernels::cpu_info().usable_cpus;
  return std::max(1, all / std::max(1, streams));
}

struct Batcher::Impl {
  Session session;
  std::vector<Value> example;
  BatcherOptions options;
  std::vector<int64_t> rows;                                 // of each output, for one request
  std::vector<std::vector<std::unique_ptr<Batch>>> batches;  // [stream][size], sizes ascending

  mutable std::mutex mutex;
  std::condition_variable news;
  std::deque<Request> queue;
  bool stopping = false;
  std::exception_ptr failure;               // what a callback has thrown
  std::vector<std::vector<Request>> taken;  // by stream, with room for a batch: next() allocates nothing
  Counts counts;
  std::vector<std::thread> threads;

  Impl(const Session& s, std::span<const Value> e, const BatcherOptions& o)
      : session(s), example(e.begin(), e.end()), options(o) {}

  void prepare();
  void stop();
  void check_request(std::span<const Value> inputs) const;
  void serve(size_t stream);
  bool next(std::vector<Request>& taken);
  void answer(size_t stream, std::vector<Request>& taken);
  void reply(Request& request, Outputs outputs, std::exception_ptr error) noexcept;
};

// Makes all plans and contexts, and sees that requests can be joined at all.
void Batcher::Impl::prepare() {
  const std::vector<int64_t> sizes = batch_sizes(options.max_batch);
  batches.resize(static_cast<size_t>(options.streams));
  taken.resize(batches.size());
  for (auto& t : taken) t.reserve(static_cast<size_t>(options.max_batch));
  for (auto& mine : batches) {
    for (int64_t n : sizes) mine.push_back(std::make_unique<Batch>(session, example, n));
  }
  Batch& one = *batches[0][0];
  one.run();
  for (size_t i = 0; i < one.context().outputs(); ++i) {
    const Value& v = one.context().output(i);
    const std::string& name = session.outputs()[i].name;
    if (!v.is_tensor()) no_batch_axis("output", name, "it is no tensor");
    if (v.tensor().dtype() == DType::string) no_batch_axis("output", name, "it is text");
    if (v.tensor().rank() == 0) no_batch_axis("output", name, "it is a scalar");
    rows.push_back(v.tensor().dim(0));
  }
  if (sizes.size() == 1) return;  // max_batch is 1: nothing is ever joined
  const Outputs alone = one.take(0, rows);
  Batch& two = *batches[0][1];
  two.run();
  for (int64_t r = 0; r < two.size(); ++r) {
    const Outputs joined = two.take(r, rows);
    for (size_t i = 0; i < joined.size(); ++i) {
      if (!agree(alone[i].tensor(), joined[i].tensor()))
        no_batch_axis("output", session.outputs()[i].name, "its rows depend on each other");
    }
  }
}

void Batcher::Impl::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
  }
  news.notify_all();
  for (std::thread& t : threads) t.join();
}

void Batcher::Impl::check_request(std::span<const Value> inputs) const {
  session.check_inputs(inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool same = inputs[i].is_tensor()
                          ? example[i].is_tensor() && inputs[i].tensor().dims() == example[i].tensor().dims()
                          : !example[i].is_tensor();
    if (!same)
      throw Error(Code::input,
                  "input '" + session.inputs()[i].name + "' has not the shape of the batcher's example");
  }
}

// Takes the requests of one batch off the queue, waiting for them; false when there will be none.
bool Batcher::Impl::next(std::vector<Request>& taken) {
  const auto most = static_cast<size_t>(options.max_batch);
  std::unique_lock lock(mutex);
  for (;;) {
    news.wait(lock, [&] { return stopping || !queue.empty(); });
    if (queue.empty()) return false;
    const Clock::time_point deadline = queue.front().deadline;
    if (stopping || queue.size() >= most || Clock::now() >= deadline) break;
    news.wait_until(lock, deadline);
  }
  const size_t n = std::min(most, queue.size());
  taken.assign(std::make_move_iterator(queue.begin()),
               std::make_move_iterator(queue.begin() + static_cast<std::ptrdiff_t>(n)));
  queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(n));
  counts.requests += static_cast<int64_t>(n);
  ++counts.batches;
  if (!queue.empty()) news.notify_one();
  return true;
}

void Batcher::Impl::answer(size_t stream, std::vector<Request>& taken) {
  const auto n = static_cast<int64_t>(taken.size());
  const auto& mine = batches[stream];
  Batch& batch = **std::find_if(mine.begin(), mine.end(), [&](const auto& b) { return b->size() >= n; });
  {
    const std::lock_guard lock(mutex);
    counts.padding += batch.size() - n;
  }
  std::vector<Outputs> results(taken.size());
  std::exception_ptr error;
  try {
    batch.fill(taken);
    batch.run();
    for (int64_t r = 0; r < n; ++r) results[static_cast<size_t>(r)] = batch.take(r, rows);
  } catch (...) {
    error = std::current_exception();
  }
  for (size_t r = 0; r < taken.size(); ++r) reply(taken[r], error ? Outputs() : std::move(results[r]), error);
}

void Batcher::Impl::reply(Request& request, Outputs outputs, std::exception_ptr error) noexcept {
  try {
    request.done(std::move(outputs), std::move(error));
  } catch (...) {  // for who comes next: the caller that it should have reached has no place for it
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
  }
}

void Batcher::Impl::serve(size_t stream) {
  std::vector<Request>& mine = taken[stream];
  while (next(mine)) {
    try {
      answer(stream, mine);
    } catch (...) {  // no memory for the results: nobody has been answered yet
      for (Request& r : mine) reply(r, {}, std::current_exception());
    }
    mine.clear();
  }
}

Batcher::Batcher(const Session& session, std::span<const Value> example, const BatcherOptions& options) {
  check_options(options);
  check_example(session, example);
  impl_ = std::make_unique<Impl>(session, example, options);
  impl_->prepare();
  kernels::reserve_helpers(options.streams * (session.options().threads - 1));
  try {
    for (size_t i = 0; i < static_cast<size_t>(options.streams); ++i)
      impl_->threads.emplace_back([impl = impl_.get(), i] { impl->serve(i); });
  } catch (...) {
    impl_->stop();
    throw Error(Code::oom, "batcher: no thread could be had for a stream");
  }
}

Batcher::~Batcher() {
  impl_->stop();
}

void Batcher::submit(std::vector<Value> inputs, Done done) {
  impl_->check_request(inputs);
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->failure) std::rethrow_exception(std::exchange(impl_->failure, nullptr));
    if (impl_->queue.size() >= impl_->options.max_queue)
      throw Error(Code::limit, "batcher: " + std::to_string(impl_->queue.size()) + " requests wait already");
    impl_->queue.push_back({std::move(inputs), std::move(done), Clock::now() + impl_->options.max_delay});
  }
  impl_->news.notify_one();
}

std::future<Outputs> Batcher::submit(std::vector<Value> inputs) {
  auto promise = std::make_shared<std::promise<Outputs>>();
  std::future<Outputs> result = promise->get_future();
  submit(std::move(inputs), [promise](Outputs out, std::exception_ptr error) {
    if (error) {
      promise->set_exception(error);
    } else {
      promise->set_value(std::move(out));
    }
  });
  return result;
}

Outputs Batcher::run(std::vector<Value> inputs) {
  return submit(std::move(inputs)).get();
}

Batcher::Counts Batcher::counts() const {
  const std::lock_guard lock(impl_->mutex);
  Counts c = impl_->counts;
  c.waiting = impl_->queue.size();
  return c;
}

}  // namespace skyline
