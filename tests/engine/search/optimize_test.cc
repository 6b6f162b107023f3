#include "skyline/optimize.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/data/npy.h"
#include "engine/search/conversions.h"
#include "engine/search/evaluate.h"
#include "engine/search/noise.h"
#include "engine/search/variants.h"

using namespace skyline;

namespace {

std::string digits(const std::string& file) {
  return std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/" + file;
}

Model digit_model() {
  return Model::load(digits("model.onnx"));
}

Dataset digit_data(int64_t most) {
  const Tensor images = data::read_npy(digits("test_images.npy")),
               labels = data::read_npy(digits("test_labels.npy"));
  std::vector<Example> examples;
  const int64_t each = images.size() / images.dim(0);
  for (int64_t i = 0; i < std::min(most, images.dim(0)); ++i) {
    Tensor x(DType::f32, {1, 1, 16, 16});
    for (int64_t j = 0; j < each; ++j)
      x.mutable_data<float>()[j] = static_cast<float>(images.data<uint8_t>()[i * each + j]) / 255.0f;
    examples.push_back(
        {std::to_string(i), {Value(x)}, {}, Tensor::of<int64_t>({}, {labels.data<uint8_t>()[i]})});
  }
  return Dataset::of(std::move(examples), "digits");
}

OptimizeOptions quick(std::vector<std::string> constraints = {}) {
  OptimizeOptions o;
  o.session.threads = 1;
  o.budget_seconds = 1.5;
  o.constraints = parse_constraints(constraints);
  return o;
}

std::vector<Value> first_inputs(const Dataset& d) {
  return d.at(0).inputs;
}

bool same(const Value& a, const Value& b) {
  const auto x = a.tensor().span<float>(), y = b.tensor().span<float>();
  return std::equal(x.begin(), x.end(), y.begin(), y.end());
}

}  // namespace

TEST_CASE("optimize: f32 is always there, what is chosen meets the constraints and is not slower") {
  const Dataset data = digit_data(120);
  int found = 0;
  OptimizeOptions o = quick({"accuracy.drop<=5pp", "memory<=100MB"});
  o.found = [&](const Frontier& f) {
    ++found;
    CHECK(!f.points.empty());
  };
  const OptimizeResult r = optimize(digit_model(), data, o);
  CHECK(found > 0);
  REQUIRE(r.frontier.find("f32"));
  CHECK(r.selection.feasible);
  const Point& best = r.frontier.points[r.selection.point];
  const Quantity p50{Axis::latency, Statistic::p50};
  CHECK(best.measured.get(p50)->value <= r.frontier.find("f32")->measured.get(p50)->value);
  CHECK(best.measured.accuracy_drop->high <= 0.05);
  CHECK(best.choices.size() >= 8);
  for (const NodeChoice& c : best.choices) CHECK(!c.reason.empty());
  REQUIRE(r.report.size() >= 1);
  CHECK(r.report[0].examples > 0);
  const DataSplit& split = r.frontier.info.data;
  CHECK(split.calibration + split.selection + split.report <= 120);
  // It can be saved, and run from what was saved.
  const Frontier again = frontier_from_json(to_json(r.frontier));
  CHECK(again == r.frontier);
  const Session a = plan_session(digit_model(), r.frontier, best);
  const Session b = plan_session(digit_model(), again, *again.find(best.id));
  CHECK(same(a.run(first_inputs(data))[0], b.run(first_inputs(data))[0]));
}

TEST_CASE("optimize: what nothing meets is a result, with the constraint that binds") {
  const OptimizeResult r = optimize(digit_model(), digit_data(40), quick({"latency.p50<=1ns"}));
  CHECK_FALSE(r.selection.feasible);
  REQUIRE(r.selection.binding);
  CHECK(r.selection.checks[*r.selection.binding].constraint.quantity.axis == Axis::latency);
}

TEST_CASE("optimize: stopped at once, it still knows f32; a later search goes on from there") {
  const std::atomic<bool> stop{true};
  OptimizeOptions o = quick();
  o.cancel = &stop;
  const Dataset data = digit_data(40);
  const OptimizeResult first = optimize(digit_model(), data, o);
  REQUIRE(first.frontier.find("f32"));
  o.cancel = nullptr;
  o.resume = first.frontier;
  const OptimizeResult second = optimize(digit_model(), data, o);
  CHECK(second.frontier.points.size() >= first.frontier.points.size());
  CHECK(second.frontier.info.ranges == first.frontier.info.ranges);
  CHECK(second.frontier.info.means == first.frontier.info.means);
}

TEST_CASE("optimize: no data, no products, no budget, a plan of another model are errors") {
  const auto code = [](const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.code();
    }
    return Code::ok;
  };
  const Dataset data = digit_data(3);
  CHECK(code([&] { (void)optimize(digit_model(), Dataset::of({}, "nothing"), quick()); }) == Code::input);
  OptimizeOptions o = quick();
  o.budget_seconds = 0;
  CHECK(code([&] { (void)optimize(digit_model(), data, o); }) == Code::invalid);
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {1})), y = g.add_value("y");
  g.add_node("Relu", "relu", {x}, {y});
  g.add_output(y, "y");
  const Model relu(std::move(g));
  CHECK(code([&] { (void)optimize(relu, data, quick()); }) == Code::unsupported);
  Frontier f;
  Point p;
  p.id = "p";
  p.choices.push_back({"nobody", "Conv"});
  CHECK(code([&] { (void)plan_session(digit_model(), f, p); }) == Code::invalid);
}

TEST_CASE("evaluate: the baseline loses nothing to itself; noise and loss grow with the error") {
  const Dataset data = digit_data(60);
  const Model model = digit_model();
  SessionOptions o;
  o.threads = 1;
  Variants variants(model, o);
  const size_t n = variants.flow().products.size();
  const Session f32 = variants.session(std::vector<Precision>(n, Precision::f32));
  std::vector<int64_t> all;
  for (int64_t i = 0; i < data.size(); ++i) all.push_back(i);
  const Evaluator e(data, all, MetricKind::top1, f32);
  const Evaluator::Result itself = e.evaluate(f32);
  CHECK(itself.noise == 0);
  CHECK(itself.accuracy.drop.value == 0);
  CHECK(itself.accuracy.value.value == e.baseline().value.value);
  variants.calibrate(examples_of(data, all), {});
  CHECK(!variants.means().empty());
  std::vector<Precision> int8(n, Precision::f32);
  for (size_t i = 0; i < n; ++i) {
    if (variants.can(i, Precision::int8)) int8[i] = Precision::int8;
  }
  const Session integers = variants.session(int8);
  const Evaluator::Result q = e.evaluate(integers);
  // Ranges and means are enough to make the same again; biases are not those of ranges alone.
  Variants again(model, o);
  again.set_ranges(variants.ranges(), variants.means());
  CHECK(same(again.session(int8).run(first_inputs(data))[0], integers.run(first_inputs(data))[0]));
  again.set_ranges(variants.ranges());
  CHECK_FALSE(same(again.session(int8).run(first_inputs(data))[0], integers.run(first_inputs(data))[0]));
  CHECK(q.noise > 1e-7);
  CHECK(q.noise < 0.1);
  CHECK(std::fabs(q.accuracy.drop.value) < 0.1);
  CHECK(q.accuracy.drop.low <= q.accuracy.drop.value);

  // One product at a time adds less than all together do, and none adds nothing.
  const auto noise = measure_noise(variants, {Precision::f32, Precision::int8}, {first_inputs(data)}, {}, {});
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    CHECK(noise[i][0] == 0);
    if (variants.can(i, Precision::int8)) {
      CHECK(noise[i][1] > 0);
      sum += noise[i][1];
    } else {
      CHECK(std::isinf(noise[i][1]));
    }
  }
  CHECK(sum < 0.1);
}

TEST_CASE("drop_among: wider the more plans there are, and nothing is gained") {
  const Estimate one{0.002, -0.004, 0.008};
  CHECK(drop_among(one, 1).high == doctest::Approx(one.high));
  double before = one.high;
  for (const size_t plans : {size_t{5}, size_t{20}, size_t{100}}) {
    const Estimate e = drop_among(one, plans);
    CHECK(e.value == one.value);
    CHECK(e.high > before);
    before = e.high;
  }
  // 2.57 deviations hold for ten normal numbers at once, 1.96 of which were the interval.
  CHECK(drop_among({0, -0.00196, 0.00196}, 10).high == doctest::Approx(0.002568).epsilon(0.002));
  CHECK(drop_among({-0.01, -0.02, 0.0}, 1).high == doctest::Approx(0.01));
  CHECK(drop_among(Estimate::exactly(-0.01), 9).high == -0.01);
}

TEST_CASE("conversions: known from the table the second time, dearer for more bytes") {
  CostTable table;
  const SessionOptions o{.threads = 1};
  const ConversionCosts first(o, &table);
  CHECK(table.size() == 10);
  const ConversionCosts again(o, &table);
  for (const double bytes : {1e2, 5e3, 1e5, 3e6, 1e8}) {
    CHECK(first.quantize(bytes) > 0);
    CHECK(first.quantize(bytes) == again.quantize(bytes));
    CHECK(first.dequantize(bytes) == again.dequantize(bytes));
    CHECK(first.quantize(100 * bytes) > first.quantize(bytes));
  }
}
