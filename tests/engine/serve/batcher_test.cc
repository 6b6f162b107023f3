#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <thread>

#include "skyline/serve.h"
#include "skyline/skyline.h"

using namespace skyline;
using namespace std::chrono_literals;

namespace {

Session digits(int threads = 1) {
  return Session(Model::load(std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx"),
                 {.threads = threads});
}

Tensor picture(unsigned seed) {
  Tensor x(DType::f32, {1, 1, 16, 16});
  uint32_t state = seed * 2654435761u + 1;
  for (float& v : x.mutable_span<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 16777216.0f;
  }
  return x;
}
std::vector<Value> request(unsigned seed) {
  return {Value(picture(seed))};
}

// The largest difference, as a share of the largest value.
double difference(const Value& a, const Value& b) {
  const auto x = a.tensor().span<float>(), y = b.tensor().span<float>();
  REQUIRE(a.tensor().dims() == b.tensor().dims());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(x[i]) - y[i]));
    largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
  }
  return worst / largest;
}

// x [n, 4] -> op -> y; n open unless a size is given.
Session one_node(const char* op, const Attrs& attrs = {}, int64_t rows = 0) {
  Graph g;
  const ValueId x =
      g.add_input("x", rows > 0 ? Fact(DType::f32, {rows, 4}) : Fact(DType::f32, {g.symbol("n"), 4}));
  const ValueId y = g.add_value("y");
  g.add_node(op, "node", {x}, {y}, attrs);
  g.add_output(y, "y");
  return Session(Model(std::move(g)), {.threads = 1});
}
Value row_of_four() {
  return Value(Tensor::of<float>({1, 4}, {1, -2, 3, -4}));
}

Code code_of(const std::function<void()>& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.code();
  }
  return Code::ok;
}

}  // namespace

TEST_CASE("every request gets what running it alone gives, however it was joined") {
  const Session session = digits();
  constexpr unsigned kCallers = 4, kEach = 40;
  std::vector<Value> alone;
  for (unsigned i = 0; i < kCallers * kEach; ++i) alone.push_back(session.run(request(i))[0]);
  for (const auto& [streams, most, delay] :
       {std::tuple{1, 1, 0us}, {1, 8, 0us}, {2, 5, 300us}, {3, 16, 1000us}}) {
    CAPTURE(most);
    Batcher batcher(session, request(0), {.streams = streams, .max_batch = most, .max_delay = delay});
    std::vector<double> worst(kCallers);
    {
      std::vector<std::jthread> callers;
      for (unsigned c = 0; c < kCallers; ++c) {
        callers.emplace_back([&, c] {
          std::vector<std::future<Batcher::Outputs>> answers;
          for (unsigned i = 0; i < kEach; ++i) answers.push_back(batcher.submit(request(c * kEach + i)));
          for (unsigned i = 0; i < kEach; ++i)
            worst[c] = std::max(worst[c], difference(alone[c * kEach + i], answers[i].get()[0]));
        });
      }
    }
    for (double w : worst) CHECK(w < 1e-5);
    const Batcher::Counts counts = batcher.counts();
    CHECK(counts.requests == kCallers * kEach);
    CHECK(counts.batches <= counts.requests);
    CHECK(counts.batches * most >= counts.requests);
    CHECK(counts.waiting == 0);
  }
}

TEST_CASE("requests wait for company up to the delay, and not when the batch is full") {
  const Session session = one_node("Relu");
  Batcher batcher(session, std::vector<Value>{row_of_four()}, {.max_batch = 4, .max_delay = 10s});
  std::vector<std::future<Batcher::Outputs>> answers;
  for (int i = 0; i < 4; ++i) answers.push_back(batcher.submit({row_of_four()}));
  for (auto& a : answers) {
    REQUIRE(a.wait_for(5s) == std::future_status::ready);
    const Batcher::Outputs out = a.get();
    const auto y = out[0].tensor().span<float>();
    CHECK(std::vector<float>(y.begin(), y.end()) == std::vector<float>{1, 0, 3, 0});
  }
  CHECK(batcher.counts().batches == 1);
  CHECK(batcher.counts().padding == 0);
  Batcher hurried(session, std::vector<Value>{row_of_four()}, {.max_batch = 4, .max_delay = 1ms});
  CHECK(hurried.run({row_of_four()}).size() == 1);
}

TEST_CASE("what waits when the batcher goes is answered, and a full queue refuses") {
  std::atomic<int> answered{0};
  {
    Batcher batcher(one_node("Relu"), std::vector<Value>{row_of_four()},
                    {.max_batch = 64, .max_delay = 100s, .max_queue = 3});
    for (int i = 0; i < 3; ++i) {
      batcher.submit({row_of_four()}, [&](Batcher::Outputs out, std::exception_ptr error) {
        answered += out.size() == 1 && !error;
      });
    }
    CHECK(code_of([&] { (void)batcher.submit({row_of_four()}); }) == Code::limit);
    CHECK(batcher.counts().waiting == 3);
  }
  CHECK(answered == 3);
}

TEST_CASE("what a callback throws, the next submit throws; the stream goes on") {
  Batcher batcher(one_node("Relu"), std::vector<Value>{row_of_four()}, {.max_batch = 1});
  std::atomic<bool> called{false};
  batcher.submit({row_of_four()}, [&](Batcher::Outputs, std::exception_ptr) {
    called = true;
    throw Error(Code::internal, "from the callback");
  });
  // Counted before the callback runs; it has run when the next request is answered.
  const auto answered = [&] {
    try {
      return batcher.run({row_of_four()}).size() == 1;
    } catch (const Error& e) {
      CHECK(e.code() == Code::internal);
      return false;
    }
  };
  const int good = answered() + answered() + answered();
  CHECK(called);
  CHECK(good == 2);
}

TEST_CASE("models whose requests cannot be joined are refused by name") {
  const auto refusal = [](const Session& s, std::vector<Value> example) {
    std::string message;
    CHECK(code_of([&] { Batcher(s, example, {.max_batch = 4}); }, &message) == Code::unsupported);
    return message;
  };
  CHECK(refusal(one_node("Relu", {}, 1), {row_of_four()})
            .find("'x' cannot be batched: its first dimension is fixed") != std::string::npos);
  const Attrs over_rows{{"axis", int64_t{0}}};
  CHECK(refusal(one_node("Softmax", over_rows), {row_of_four()}).find("rows depend on each other") !=
        std::string::npos);
  CHECK(refusal(one_node("Flatten", over_rows), {row_of_four()}).find("not one row for each request") !=
        std::string::npos);
}

TEST_CASE("bad requests and options are refused") {
  const Session session = one_node("Relu");
  const std::vector<Value> example{row_of_four()};
  Batcher batcher(session, example);
  CHECK(code_of([&] { (void)batcher.submit({Value(Tensor::zeros(DType::f32, {2, 4}))}); }) == Code::input);
  CHECK(code_of([&] { (void)batcher.submit({Value(Tensor::zeros(DType::f64, {1, 4}))}); }) == Code::input);
  CHECK(code_of([&] { (void)batcher.submit({}); }) == Code::input);
  for (const BatcherOptions& o :
       {BatcherOptions{.streams = 0}, BatcherOptions{.max_batch = 0}, BatcherOptions{.max_batch = 1 << 20},
        BatcherOptions{.max_delay = -1ns}, BatcherOptions{.max_delay = 2h}, BatcherOptions{.max_queue = 0}}) {
    CHECK(code_of([&] { Batcher(session, example, o); }) == Code::invalid);
  }
  CHECK(threads_per_stream(8, 3) == 2);
  CHECK(threads_per_stream(2, 5) == 1);
  CHECK(threads_per_stream(0, 1) >= 1);
}
