#include "skyline/frontier.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/frontier/random_frontier.h"

using namespace skyline;
using test::point;

namespace {

std::vector<std::string> ids(const Frontier& f, const std::vector<size_t>& which) {
  std::vector<std::string> out;
  for (size_t i : which) out.push_back(f.points[i].id);
  return out;
}
using Ids = std::vector<std::string>;

Frontier frontier(std::vector<Point> points) {
  Frontier f;
  f.points = std::move(points);
  return f;
}
Selection select(const Frontier& f, std::vector<std::string> constraints, std::string_view objective) {
  return f.select(parse_constraints(constraints), parse_objective(objective));
}

}  // namespace

TEST_CASE("the Pareto set without intervals is what comparing all pairs gives") {
  Frontier f = test::random_frontier(3, 60);
  for (Point& p : f.points) {
    p.state = PointState::measured;
    if (!p.measured.accuracy) p.measured = p.predicted;
    for (auto* e : {&p.measured.latency[1], &p.measured.throughput, &p.measured.accuracy})
      *e = Estimate::exactly((*e)->value);
  }
  std::vector<size_t> want;
  for (size_t i = 0; i < f.points.size(); ++i) {
    const Figures& a = f.points[i].measured;
    const bool beaten = std::any_of(f.points.begin(), f.points.end(), [&](const Point& q) {
      const Figures& b = q.measured;
      const bool no_worse = b.latency[1]->value <= a.latency[1]->value &&
                            b.throughput->value >= a.throughput->value &&
                            b.accuracy->value >= a.accuracy->value;
      return no_worse && &b != &a;
    });
    if (!beaten) want.push_back(i);
  }
  CHECK(f.pareto() == want);
  CHECK(want.size() > 3);
}

TEST_CASE("points that the intervals cannot tell apart both stay") {
  CHECK(ids(frontier({point("a", 1.00, 10, 0.7, 0.02), point("b", 1.01, 9.9, 0.699, 0.02)}),
            frontier({point("a", 1.00, 10, 0.7, 0.02), point("b", 1.01, 9.9, 0.699, 0.02)}).pareto()) ==
        Ids{"a", "b"});
  Frontier f = frontier({point("a", 1.0, 10, 0.7, 0.02), point("b", 1.1, 9.9, 0.699, 0.02)});
  CHECK(ids(f, f.pareto()) == Ids{"a"});
  f = frontier({point("a", 1, 10, 0.7), point("b", 1, 10, 0.7)});  // twins
  CHECK(ids(f, f.pareto()) == Ids{"a", "b"});
}

TEST_CASE("an axis that some point lacks is left out; metrics that count errors are turned around") {
  Frontier f = frontier({point("a", 1, 10, 0.7), point("b", 2, 5, 0.8)});
  CHECK(f.pareto().size() == 2);
  f.points[0].measured.accuracy.reset();
  CHECK(ids(f, f.pareto()) == Ids{"a"});
  f = frontier({point("a", 1, 10, 0.7), point("b", 2, 5, 0.8)});
  f.info.metric = {"mean absolute error", false, false};
  CHECK(ids(f, f.pareto()) == Ids{"a"});
}

TEST_CASE("nobody is dominated by a guess") {
  Frontier f = frontier({point("slow", 2, 5, 0.7), point("guess", 1, 10, 0.7)});
  std::swap(f.points[1].predicted, f.points[1].measured);
  f.points[1].state = PointState::predicted;
  f.update_states();
  CHECK(f.points[0].state == PointState::measured);
  CHECK(f.points[1].state == PointState::predicted);
  CHECK(f.points[1].figure({Axis::latency})->value == 1);
  f.points.push_back(point("fast", 1, 10, 0.7));
  f.update_states();
  CHECK(f.points[0].state == PointState::dominated);
  CHECK(select(f, {}, "minimize latency").point == 2);  // not the guess
}

TEST_CASE("selecting takes the best point whose interval meets every constraint") {
  Frontier f = frontier({point("fast", 1e-3, 900, 0.60, 0.01), point("edge", 1.99e-3, 500, 0.68, 0.01),
                         point("exact", 4e-3, 240, 0.70, 0.01)});
  for (Point& p : f.points)
    p.measured.accuracy_drop =
        Estimate{0.7 - p.measured.accuracy->value, 0, 0.7 - p.measured.accuracy->value};
  Selection s = select(f, {"latency.p99<=2ms"}, "maximize accuracy");
  CHECK(s.feasible);
  CHECK(f.points[s.point].id == "fast");  // edge has 1.99 ms, but up to 2.01
  s = select(f, {"latency.p99<=2.1ms"}, "maximize accuracy");
  CHECK(f.points[s.point].id == "edge");
  CHECK(s.objective == 0.68);
  REQUIRE(s.checks.size() == 1);
  CHECK(s.checks[0].met);
  CHECK(*s.checks[0].bound_of_point == doctest::Approx(2.0099e-3));
  s = select(f, {"accuracy.drop<=3pp", "throughput>=100/s"}, "minimize latency/throughput");
  CHECK(f.points[s.point].id == "edge");
  CHECK(*s.binding == 0);
  s = select(f, {"accuracy.drop<=1%"}, "minimize latency");  // of 0.7
  CHECK(f.points[s.point].id == "exact");
  s = select(f, {"accuracy.drop<=3%"}, "minimize latency");  // 2 points of 70 are 2.86 %
  CHECK(f.points[s.point].id == "edge");
  CHECK(select(f, {}, "minimize latency").feasible);
  CHECK(f.points[select(f, {}, "minimize latency").point].id == "fast");
}

TEST_CASE("infeasible is a result: the nearest point and the constraint to give way on") {
  const Frontier f = frontier({point("fast", 1e-3, 900, 0.60), point("exact", 4e-3, 240, 0.70)});
  Selection s = select(f, {"latency.p50<=0.8ms"}, "maximize accuracy");
  CHECK_FALSE(s.feasible);
  CHECK(f.points[s.point].id == "fast");
  CHECK(s.checks[0].violation == doctest::Approx(0.25));
  CHECK(s.explanation ==
        "No point meets latency.p50<=800us, even alone; fast comes nearest, with up to 1.00 ms at "
        "95 % confidence.");
  // Each can be met alone, but not together: fast lacks 13 % of the accuracy, exact takes three times too
  // long.
  s = select(f, {"latency.p50<=1ms", "accuracy>=0.69"}, "maximize throughput");
  CHECK_FALSE(s.feasible);
  CHECK(f.points[s.point].id == "fast");
  CHECK(*s.binding == 1);
  CHECK(s.explanation.find("not together") != std::string::npos);
  // Nothing is known of the drop.
  s = select(f, {"accuracy.drop<=1pp"}, "minimize latency");
  CHECK_FALSE(s.feasible);
  CHECK(std::isinf(s.checks[0].violation));
  CHECK(s.explanation.find("not measured") != std::string::npos);
  CHECK_THROWS_AS(select(Frontier{}, {}, "minimize latency"), Error);
}

TEST_CASE("a dominated point is chosen when it alone fits into the memory") {
  Frontier f = frontier({point("a", 1, 10, 0.7), point("b", 2, 5, 0.6)});
  f.points[1].measured.memory = Estimate::exactly(1e3);
  f.update_states();
  CHECK(f.points[1].state == PointState::dominated);
  CHECK(f.points[select(f, {"memory<=1KB"}, "minimize latency").point].id == "b");
}

TEST_CASE("for a metric that counts errors, maximizing accuracy means fewer errors") {
  Frontier f = frontier({point("a", 1, 10, 0.2), point("b", 2, 5, 0.1)});
  f.info.metric = {"mean absolute error", false, false};
  CHECK(f.points[select(f, {}, "maximize accuracy").point].id == "b");
  CHECK(f.points[select(f, {"accuracy<=0.15"}, "minimize latency").point].id == "b");
  CHECK(f.points[select(f, {}, "minimize latency/accuracy").point].id ==
        "a");  // 1 * 0.2 equals 2 * 0.1: the faster
}

TEST_CASE("the knee lies where the curve bends") {
  const Frontier f =
      frontier({point("a", 1.0, 100, 0.50), point("b", 1.2, 90, 0.68), point("c", 3.0, 30, 0.70)});
  CHECK(f.points[*f.knee()].id == "b");
  CHECK_FALSE(Frontier{}.knee());
}

TEST_CASE("merging joins what says the same, keeps the better known, and refuses what does not fit") {
  Frontier a = test::random_frontier(1, 5), b = test::random_frontier(2, 6);
  b.points[0].choices = a.points[0].choices;
  b.points[0].batch = a.points[0].batch;
  b.points[0].streams = a.points[0].streams;
  b.points[0].threads = a.points[0].threads;
  b.points[0].layouts = a.points[0].layouts;
  b.points[0].state = a.points[0].state = PointState::measured;
  b.points[0].samples = 1000;
  b.points[0].provenance = "measured longer";
  Frontier merged = a;
  merged.merge(b);
  CHECK(merged.points.size() == 10);
  CHECK(merged.find("p0")->provenance == "measured longer");
  CHECK(merged.find("p1.2") != nullptr);
  const Frontier again = merged;
  merged.merge(b);
  CHECK(merged.points.size() == again.points.size());

  const auto refused = [&](auto&& change) {
    Frontier other = b;
    change(other);
    try {
      Frontier(a).merge(other);
    } catch (const Error& e) {
      CHECK(e.code() == Code::input);
      return e.message();
    }
    return std::string();
  };
  CHECK(refused([](Frontier& f) { f.info.model_sha1[0] = 'b'; }).find("different models") !=
        std::string::npos);
  CHECK(refused([](Frontier& f) { f.info.machine["cpus"] = "4"; }).find("cpus is '4' there and '2' here") !=
        std::string::npos);
  CHECK(refused([](Frontier& f) { f.info.metric.name = "top-5"; }).find("top-5") != std::string::npos);
  CHECK(refused([](Frontier& f) { f.info.data.report = 1; }).find("data") != std::string::npos);
  CHECK(refused([](Frontier& f) { f.info.machine["os"] = "Linux 7"; }).empty());
}

TEST_CASE("a point says how to make a session, and a missing id is named") {
  const Frontier f = test::random_frontier(4, 3);
  const SessionOptions o = session_options(f.points[1]);
  CHECK(o.threads == f.points[1].threads);
  CHECK(o.node_precision.size() == 5);
  CHECK(o.node_precision.at("conv_2") == f.points[1].choice("conv_2")->rung);
  CHECK(f.points[1].choice("nonsense") == nullptr);
  CHECK(f.index_of("p2") == 2);
  CHECK_THROWS_WITH_AS((void)f.index_of("p9"), "INPUT: no point 'p9'; there are p0, p1, p2", Error);
  CHECK(machine_difference(machine_facts(), machine_facts()).empty());
  CHECK(machine_facts().at("cpus") != "0");
}
