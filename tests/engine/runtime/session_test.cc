#include "skyline/session.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "skyline/skyline.h"
#include "skyline/skyline_c.h"

using namespace skyline;

namespace {

std::string digits_path() {
  return std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx";
}

Tensor picture(int64_t batch, int seed) {
  Tensor x(DType::f32, {batch, 1, 16, 16});
  uint32_t state = static_cast<uint32_t>(seed) * 2654435761u + 1;
  for (float& v : x.mutable_span<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 16777216.0f;
  }
  return x;
}

std::vector<float> floats(const Value& v) {
  const auto s = v.tensor().span<float>();
  return {s.begin(), s.end()};
}

Code code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return Code::ok;
}

// x -> Relu -> y, with an open first dimension.
Model relu_model() {
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {g.symbol("n"), 4}));
  const ValueId y = g.add_value("y");
  g.add_node("Relu", "relu", {x}, {y});
  g.add_output(y, "y");
  return Model(std::move(g));
}

}  // namespace

TEST_CASE("a model that nobody else needs gives up its weights; results and shared models stay") {
  const auto product = [] {
    Graph g;
    const ValueId x = g.add_input("x", Fact(DType::f32, {2, 3})), y = g.add_value("y"), z = g.add_value("z");
    const ValueId w = g.add_constant("w", Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6}));
    const ValueId v = g.add_constant("v", Tensor::of<float>({2, 2}, {1, 0, 1, 1}));
    g.add_node("MatMul", "packed", {x, w}, {y});
    g.add_node("MatMul", "packed_too", {y, v}, {z});
    g.add_output(z, "z");
    g.add_output(v, "v");  // read as it is: stays
    return Model(std::move(g));
  };
  const std::vector<Value> in{Value(Tensor::of<float>({2, 3}, {1, 0, 0, 0, 1, 0}))};
  const std::vector<float> want{3, 2, 7, 4}, v{1, 0, 1, 1};
  const Model shared = product();
  const Session from_shared(shared, {.threads = 1}), from_own(product(), {.threads = 1});
  for (const Session* s : {&from_shared, &from_own}) {
    for (int run = 0; run < 2; ++run) {
      const std::vector<Value> out = s->run(in);
      CHECK(floats(out[0]) == want);
      CHECK(floats(out[1]) == v);
    }
    CHECK(s->explain_plan(in).size() > 0);
  }
  int defined = 0;
  for (uint32_t i = 0; i < shared.graph().value_slots(); ++i)
    defined += shared.graph().value(ValueId{i}).constant.defined();
  CHECK(defined == 2);
  // Packed once and the source gone: less than both.
  CHECK(from_own.memory_use(in).constants <= from_shared.memory_use(in).constants);
}

TEST_CASE("weights that go back to the system while they are packed give the results of those that stay") {
  constexpr int64_t kDepth = 2080, kWidth = 2176;  // 18 MB: several pieces
  for (const int64_t transposed : {0, 1}) {
    Tensor w(DType::f32, transposed ? Dims{kWidth, kDepth} : Dims{kDepth, kWidth});
    int64_t i = 0;
    for (float& v : w.mutable_span<float>()) v = static_cast<float>(i++ * 7919 % 1013 - 506);
    const auto product = [&](const Tensor& weights) {
      Graph g;
      const ValueId x = g.add_input("x", Fact(DType::f32, {1, kDepth})), y = g.add_value("y");
      Attrs attrs;
      attrs.set("transB", transposed);
      g.add_node("Gemm", "wide", {x, g.add_constant("w", weights)}, {y}, attrs);
      g.add_output(y, "y");
      return Model(std::move(g));
    };
    Tensor x(DType::f32, {1, kDepth});
    for (float& v : x.mutable_span<float>()) v = static_cast<float>(i++ % 17 - 8);
    const std::vector<Value> in{Value(x)};
    const Model stays = product(w);
    const std::vector<float> want = floats(Session(stays, {.threads = 1}).run(in)[0]);
    CHECK(want == floats(Session(stays, {.threads = 1, .optimize = false}).run(in)[0]));
    CHECK(want == floats(Session(stays, {.threads = 1}).run(in)[0]));  // they were not given back
    Tensor own(DType::f32, w.dims());
    std::memcpy(own.mutable_raw(), w.raw(), static_cast<size_t>(w.bytes()));
    Model goes = product(own);
    own = Tensor();
    CHECK(want == floats(Session(std::move(goes), {.threads = 1}).run(in)[0]));
  }
}

TEST_CASE("any number of threads inside gives the same bits") {
  const Model model = Model::load(digits_path());
  for (int64_t batch : {1, 7}) {
    const std::vector<Value> in{Value(picture(batch, 3))};
    const std::vector<float> one = floats(Session(model, {.threads = 1}).run(in)[0]);
    for (int threads : {2, 3, 4, 8}) CHECK(floats(Session(model, {.threads = threads}).run(in)[0]) == one);
  }
}

TEST_CASE("a hundred threads calling one session get the bits that one gets") {
  const Session session(Model::load(digits_path()), {.threads = 2});
  std::vector<std::vector<float>> alone;
  alone.reserve(10);
  for (int i = 0; i < 10; ++i)
    alone.push_back(floats(session.run(std::vector<Value>{Value(picture(1 + i % 3, i))})[0]));
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  callers.reserve(100);
  for (int t = 0; t < 100; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const int k = (i + t) % 10;
        if (floats(session.run(std::vector<Value>{Value(picture(1 + k % 3, k))})[0]) !=
            alone[static_cast<size_t>(k)])
          ++wrong;
      }
    });
  }
  for (std::thread& t : callers) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("kernels agree with the reference evaluation on every ISA level of this CPU") {
  const Model model = Model::load(digits_path());
  const std::vector<Value> in{Value(picture(5, 1))};
  const std::vector<float> want = floats(Session(model, {.threads = 1, .optimize = false}).run(in)[0]);
  for (const char* level : {"sse2", "avx2", "avx512", "neon"}) {
    CAPTURE(level);
    if (code_of([&] { (void)isa_level(level); }) != Code::ok) continue;  // not this CPU's
    const Session session(model, {.threads = 1, .isa = level});
    CHECK(session.options().isa == level);
    const std::vector<float> got = floats(session.run(in)[0]);
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-4));
  }
}

TEST_CASE("inputs that do not fit are refused, naming the input") {
  const Session session(relu_model());
  const Tensor good = Tensor::zeros(DType::f32, {2, 4});
  CHECK(session.run({{"x", good}}).at("y").tensor().dims() == Dims{2, 4});
  CHECK(code_of([&] { (void)session.run(ValueMap{}); }) == Code::input);
  CHECK(code_of([&] { (void)session.run({{"x", good}, {"z", good}}); }) == Code::input);
  CHECK(code_of([&] { (void)session.run({{"x", Tensor::zeros(DType::f64, {2, 4})}}); }) == Code::input);
  CHECK(code_of([&] { (void)session.run({{"x", Tensor::zeros(DType::f32, {2, 5})}}); }) == Code::input);
  CHECK(code_of([&] { (void)session.run({{"x", Tensor::zeros(DType::f32, {8})}}); }) == Code::input);
  CHECK(code_of([&] { (void)session.run({{"x", Value::sequence({})}}); }) == Code::input);
  CHECK(code_of([&] {
          (void)session.run({{"x", Tensor::view(DType::f32, {2, 4}, nullptr)}});
        }) == Code::input);
  alignas(8) static const char bytes[64] = {};
  CHECK(code_of([&] {
          (void)session.run({{"x", Tensor::view(DType::f32, {2, 4}, bytes + 1)}});
        }) == Code::input);
  try {
    (void)session.run({{"x", Tensor::zeros(DType::f32, {2, 5})}});
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("'x'") != std::string::npos);
    CHECK(std::string(e.what()).find("[2,5]") != std::string::npos);
    CHECK(std::string(e.what()).find("[n,4]") != std::string::npos);
  }
}

TEST_CASE(
    "a dynamic dimension of 0 gives an empty result, an absurd one an error before any memory is taken") {
  const Session session(relu_model(), {.max_tensor_bytes = 1 << 20});
  CHECK(session.run({{"x", Tensor::zeros(DType::f32, {0, 4})}}).at("y").tensor().dims() == Dims{0, 4});
  static const float one = 0;
  CHECK(code_of([&] {
          (void)session.run({{"x", Tensor::view(DType::f32, {int64_t{1} << 40, 4}, &one)}});
        }) == Code::limit);
  CHECK(session.run({{"x", Tensor::zeros(DType::f32, {1, 4})}}).at("y").tensor().size() ==
        4);  // still usable
}

TEST_CASE("bad session options are refused") {
  for (int threads : {-1, 1000000}) {
    CHECK(code_of([&] { Session(relu_model(), {.threads = threads}); }) == Code::invalid);
  }
  CHECK(Session(relu_model(), {.threads = 0}).options().threads >= 1);
  CHECK(code_of([&] { Session(relu_model(), {.isa = "avx1024"}); }) == Code::invalid);
}

TEST_CASE(
    "a loop that never ends is stopped by its deadline or by cancelling, and the session stays usable") {
  Graph body;
  const ValueId i = body.add_input("i", Fact::fixed(DType::i64, {}));
  const ValueId keep = body.add_input("keep", Fact::fixed(DType::boolean, {}));
  const ValueId v = body.add_input("v", Fact::fixed(DType::f32, {}));
  const ValueId next = body.add_value("next"), cond = body.add_value("cond");
  body.add_node("Add", "step", {v, v}, {next});
  body.add_node("Identity", "same", {keep}, {cond});
  body.add_output(cond, "cond");
  body.add_output(next, "next");
  (void)i;
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {}));
  const ValueId go = g.add_input("go", Fact::fixed(DType::boolean, {}));
  const ValueId y = g.add_value("y");
  Attrs attrs{{"body", std::make_shared<const Graph>(std::move(body))}, {"captures", int64_t{0}}};
  g.add_node("Loop", "loop", {kNoValue, go, x}, {y}, attrs);
  g.add_output(y, "y");
  const Session session{Model(std::move(g))};
  const std::vector<Value> endless{Value(Tensor::scalar(1.0f)), Value(Tensor::scalar(true))};
  RunOptions deadline;
  deadline.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  CHECK(code_of([&] { (void)session.run(endless, deadline); }) == Code::cancelled);
  std::atomic<bool> cancel{false};
  RunOptions cancelled;
  cancelled.cancel = &cancel;
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    cancel = true;
  });
  CHECK(code_of([&] { (void)session.run(endless, cancelled); }) == Code::cancelled);
  later.join();
  const std::vector<Value> none{Value(Tensor::scalar(3.0f)), Value(Tensor::scalar(false))};
  CHECK(floats(session.run(none)[0]) == std::vector<float>{3.0f});
}

TEST_CASE("a context runs again and again over refilled inputs, and keeps type and shape") {
  const Session session(relu_model());
  Tensor x = Tensor::of<float>({1, 4}, {-1, 2, -3, 4});
  const std::vector<Value> in{Value(x)};
  Context context(session, in);
  context.run();
  CHECK(floats(context.output(0)) == std::vector<float>{0, 2, 0, 4});
  x.mutable_data<float>()[0] = 5;
  context.run();
  CHECK(floats(context.output(0)) == std::vector<float>{5, 2, 0, 4});
  context.set_input(0, Tensor::of<float>({1, 4}, {1, -1, 1, -1}));
  context.run();
  CHECK(floats(context.output(0)) == std::vector<float>{1, 0, 1, 0});
  CHECK(code_of([&] { context.set_input(0, Tensor::zeros(DType::f32, {2, 4})); }) == Code::input);
  CHECK(code_of([&] { context.set_input(1, x); }) == Code::input);
}

TEST_CASE("outputs that are inputs or constants are the caller's own copies") {
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {2}));
  const ValueId c = g.add_constant("c", Tensor::of<float>({2}, {7, 8}));
  g.add_output(x, "same");
  g.add_output(c, "constant");
  g.add_output(c, "again");
  const Session session{Model(std::move(g))};
  Tensor in = Tensor::of<float>({2}, {1, 2});
  ValueMap out = session.run({{"x", in}});
  in.mutable_data<float>()[0] = 99;
  CHECK(floats(out.at("same")) == std::vector<float>{1, 2});
  Tensor mine = out.at("constant").tensor();
  mine.mutable_data<float>()[0] = 99;
  CHECK(floats(session.run({{"x", in}}).at("again")) == std::vector<float>{7, 8});
}

TEST_CASE("many shapes in turn: plans come and go") {
  const Session session(relu_model());
  for (int round = 0; round < 2; ++round) {
    for (int64_t n = 1; n <= 150; ++n) {
      CHECK(session.run({{"x", Tensor::zeros(DType::f32, {n, 4})}}).at("y").tensor().dim(0) == n);
    }
  }
}

TEST_CASE("the C API returns codes and messages for every misuse") {
  skyline_session* session = nullptr;
  skyline_results* results = nullptr;
  skyline_error error;
  CHECK(skyline_session_load("no such file", nullptr, &session, &error) == SKYLINE_IO);
  CHECK(std::strlen(error.message) > 0);
  CHECK(skyline_session_load(nullptr, nullptr, &session, &error) == SKYLINE_INPUT);
  CHECK(skyline_session_parse("text", 4, nullptr, &session, nullptr) == SKYLINE_PARSE);
  skyline_options options;
  skyline_options_init(&options);
  options.threads = -3;
  CHECK(skyline_session_load(digits_path().c_str(), &options, &session, &error) == SKYLINE_INVALID);
  options.threads = 1;
  REQUIRE(skyline_session_load(digits_path().c_str(), &options, &session, &error) == SKYLINE_OK);
  CHECK(skyline_input_count(session) == 1);
  CHECK(std::string(skyline_input_name(session, 0)) == "images");
  CHECK(skyline_input_name(session, 1) == nullptr);
  int64_t shape[4] = {};
  CHECK(skyline_input_shape(session, 0, shape, 4) == 4);
  CHECK(shape[0] == -1);
  CHECK(shape[3] == 16);
  static const float pixels[256] = {};
  const int64_t dims[4] = {1, 1, 16, 16}, huge[4] = {1, 1, int64_t{1} << 62, 16};
  skyline_tensor x{SKYLINE_F32, 4, dims, pixels};
  CHECK(skyline_run(session, &x, 0, 0, &results, &error) == SKYLINE_INPUT);
  CHECK(skyline_run(session, nullptr, 1, 0, &results, &error) == SKYLINE_INPUT);
  x.dims = huge;
  CHECK(skyline_run(session, &x, 1, 0, &results, &error) == SKYLINE_INPUT);
  x.dims = dims;
  x.dtype = 77;
  CHECK(skyline_run(session, &x, 1, 0, &results, &error) == SKYLINE_INPUT);
  x.dtype = SKYLINE_F32;
  REQUIRE(skyline_run(session, &x, 1, 0, &results, &error) == SKYLINE_OK);
  skyline_tensor y;
  CHECK(skyline_results_get(results, 0, &y, &error) == SKYLINE_OK);
  CHECK(y.dims[1] == 10);
  CHECK(skyline_results_get(results, 1, &y, &error) == SKYLINE_INPUT);
  skyline_results_free(results);
  skyline_session_free(session);
  skyline_session_free(nullptr);
}
