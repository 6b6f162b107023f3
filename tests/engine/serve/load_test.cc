#include "engine/serve/load.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "skyline/skyline.h"

using namespace skyline;
using namespace skyline::serve;

namespace {

Session digits() {
  return Session(Model::load(std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx"),
                 {.threads = 1});
}
std::vector<Value> picture() {
  return {Value(Tensor::zeros(DType::f32, {1, 1, 16, 16}))};
}

// A server whose 99th percentile is 1 ms / (1 - rate / capacity).
OpenLoad queue_model(double rate, double capacity) {
  OpenLoad load;
  load.rate = rate;
  load.kept_up = rate < capacity;
  const double p99 = load.kept_up ? 1e-3 / (1 - rate / capacity) : 1;
  load.latencies.assign(1000, p99);
  load.completions.assign(1000, 1);
  load.seconds = 1;
  return load;
}

}  // namespace

TEST_CASE("arrivals are a Poisson process that the seed fixes") {
  const std::vector<double> a = arrivals(1000, 50, 7);
  CHECK(a == arrivals(1000, 50, 7));
  CHECK(a != arrivals(1000, 50, 8));
  CHECK(std::is_sorted(a.begin(), a.end()));
  CHECK(static_cast<double>(a.size()) == doctest::Approx(50000).epsilon(0.02));
  int64_t long_gaps = 0;
  for (size_t i = 1; i < a.size(); ++i) long_gaps += a[i] - a[i - 1] > 1e-3;
  CHECK(static_cast<double>(long_gaps) / static_cast<double>(a.size()) ==
        doctest::Approx(std::exp(-1)).epsilon(0.02));
  // Counts in windows of 10 ms have variance equal to their mean.
  std::vector<double> counts(5000);
  for (double t : a) ++counts[std::min<size_t>(4999, static_cast<size_t>(t * 100))];
  double squares = 0;
  for (double c : counts) squares += (c - 10) * (c - 10);
  CHECK(squares / 5000 == doctest::Approx(10).epsilon(0.1));
}

TEST_CASE("the largest rate within a bound is found by bisection") {
  for (const double capacity : {1000.0, 37.0}) {
    int trials = 0;
    const RateSearch s = find_rate([&](double rate, int) { return queue_model(rate, capacity); }, 5e-3, 1000,
                                   [&](const RateTrial&) { ++trials; });
    CHECK(s.rate <= 0.8 * capacity);
    CHECK(s.rate >= 0.8 * capacity / 1.03);
    CHECK(s.best.rate == s.rate);
    CHECK(trials == static_cast<int>(s.trials.size()));
    CHECK(trials <= 13);
  }
  const RateSearch none = find_rate([&](double rate, int) { return queue_model(rate, 1000); }, 0.5e-3, 1000);
  CHECK(none.rate == 0);
  CHECK(none.trials.size() <= 13);
  CHECK(find_rate([&](double rate, int) { return queue_model(rate, 1e9); }, 5e-3, 1000).rate == 1000);
}

TEST_CASE("closed loops count every run, on every stream") {
  const Session session = digits();
  for (const int streams : {1, 3}) {
    const Load load = closed_loop(session, picture(),
                                  {.streams = streams, .examples_each = 1, .seconds = 0.06, .warmup = 0.01});
    CHECK(load.latencies.size() >= static_cast<size_t>(streams));
    CHECK(load.latencies.size() == load.completions.size());
    CHECK(*std::min_element(load.latencies.begin(), load.latencies.end()) > 0);
    CHECK(load.seconds >= 0.05);
    const Estimate rate = throughput(load);
    CHECK(rate.value == doctest::Approx(static_cast<double>(load.examples()) / load.seconds));
    CHECK(rate.low <= rate.value);
    CHECK(rate.value <= rate.high);
    const Estimate p90 = latency_at(load, 0.9), p50 = latency_at(load, 0.5);
    CHECK(p50.value <= p90.value);
    CHECK(p90.low <= p90.value);
    CHECK(latency_mean(load).value > 0);
  }
}

TEST_CASE("throughput is right for whatever runs fall into the time") {
  Load load;
  load.examples_each = 4;
  for (int i = 1; i <= 10; ++i) {
    load.latencies.push_back(0.1);
    load.completions.push_back(0.1 * i);
  }
  load.seconds = 1;
  const Estimate e = throughput(load);
  CHECK(e.value == doctest::Approx(40));
  CHECK(e.high - e.low < 1e-6);
  load.latencies = {0.5};
  load.completions = {0.5};
  load.seconds = 0.5;
  CHECK(throughput(load) == Estimate::exactly(8));
}

TEST_CASE("an open loop answers what was due, and counts from when it was due") {
  const Session session = digits();
  Batcher batcher(session, picture(), {.max_batch = 4});
  const OpenLoop options{.rate = 500, .seconds = 0.2, .warmup = 0.05, .seed = 3, .give_up = 10};
  const OpenLoad load = open_loop(batcher, picture(), options);
  CHECK(load.kept_up);
  const std::vector<double> due = arrivals(options.rate, 0.25, 3);
  CHECK(static_cast<int64_t>(load.latencies.size()) ==
        std::count_if(due.begin(), due.end(), [](double t) { return t >= 0.05; }));
  CHECK(*std::min_element(load.latencies.begin(), load.latencies.end()) > 0);
  CHECK(batcher.counts().requests == static_cast<int64_t>(due.size()));
}

TEST_CASE("more requests than can be kept are refused at once") {
  const Session session = digits();
  Batcher batcher(session, picture(), {.max_batch = 1});
  CHECK_THROWS_AS(open_loop(batcher, picture(), {.rate = 1e7, .seconds = 86400}), Error);
  CHECK_THROWS_AS(open_loop(batcher, picture(), {.rate = 0}), Error);
}

TEST_CASE("a rate that cannot be kept up ends early and says so") {
  const Session session = digits();
  Batcher batcher(session, picture(), {.max_batch = 1, .max_queue = 200});
  const OpenLoad load =
      open_loop(batcher, picture(), {.rate = 3e6, .seconds = 1, .warmup = 0, .seed = 1, .give_up = 0.05});
  CHECK_FALSE(load.kept_up);
  CHECK(load.seconds < 1);
}

TEST_CASE("what fails on a stream's thread reaches the caller of the load generator") {
  Graph g;
  const ValueId at = g.add_input("at", Fact::fixed(DType::i64, {1})), y = g.add_value("y");
  const Tensor table = Tensor::of<float>({3}, {1, 2, 3});
  g.add_node("Gather", "gather", {g.add_constant("table", table), at}, {y});
  g.add_output(y, "y");
  const Session session(Model(std::move(g)), {.threads = 1});
  const std::vector<Value> outside{Value(Tensor::of<int64_t>({1}, {9}))};
  for (const int streams : {1, 3})
    CHECK_THROWS_AS(closed_loop(session, outside, {.streams = streams, .seconds = 0.02, .warmup = 0.005}),
                    Error);
  const std::vector<Value> inside{Value(Tensor::of<int64_t>({1}, {1}))};
  CHECK(!closed_loop(session, inside, {.streams = 3, .seconds = 0.01, .warmup = 0}).latencies.empty());
}
