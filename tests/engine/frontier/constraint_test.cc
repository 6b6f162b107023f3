#include "skyline/constraint.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace skyline;

namespace {

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.code() == Code::invalid);
    return e.message();
  }
  return "";
}
std::string bad(std::string_view text) {
  return error_of([&] { (void)parse_constraint(text); });
}
std::vector<Constraint> all(std::vector<std::string> texts) {
  return parse_constraints(texts);
}
bool has(const std::string& s, std::string_view part) {
  INFO(s);
  return s.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("constraints are read in the base unit of their axis") {
  const auto is = [](std::string_view text, Axis axis, Statistic s, bool at_most, double bound,
                     bool relative = false) {
    CAPTURE(std::string(text));
    const Constraint c = parse_constraint(text);
    CHECK(c.quantity == Quantity{axis, s});
    CHECK(c.at_most == at_most);
    CHECK(c.bound == doctest::Approx(bound).epsilon(1e-12));
    CHECK(c.relative == relative);
    CHECK(parse_constraint(to_string(c)) == c);
  };
  is("latency.p99<=5ms", Axis::latency, Statistic::p99, true, 5e-3);
  is("latency.mean <= 250 us", Axis::latency, Statistic::mean, true, 250e-6);
  is("latency.p90<=250µs", Axis::latency, Statistic::p90, true, 250e-6);
  is("latency≤1.5s", Axis::latency, Statistic::p50, true, 1.5);
  is("latency.p50>=10ns", Axis::latency, Statistic::p50, false, 10e-9);
  is("throughput>=800/s", Axis::throughput, Statistic::p50, false, 800);
  is("throughput >= 1e3 /s", Axis::throughput, Statistic::p50, false, 1000);
  is("accuracy.drop<=0.5pp", Axis::accuracy_drop, Statistic::p50, true, 0.005);
  is("accuracy.drop<=0pp", Axis::accuracy_drop, Statistic::p50, true, 0);
  is("accuracy.drop<=0.5%", Axis::accuracy_drop, Statistic::p50, true, 0.005, true);
  is("accuracy>=0.71", Axis::accuracy, Statistic::p50, false, 0.71);
  is("accuracy>=71%", Axis::accuracy, Statistic::p50, false, 0.71);
  is("memory<=200MB", Axis::memory, Statistic::p50, true, 200e6);
  is("memory<=1.5GiB", Axis::memory, Statistic::p50, true, 1.5 * 1073741824);
  is("memory<=64KiB", Axis::memory, Statistic::p50, true, 65536);
  is("memory<=12B", Axis::memory, Statistic::p50, true, 12);
}

TEST_CASE("a constraint is written as one would") {
  for (const char* text :
       {"latency.p99<=5ms", "latency.p50<=250us", "throughput>=800/s", "accuracy.drop<=0.5pp",
        "accuracy.drop<=0.5%", "accuracy>=0.71", "memory<=200MB"}) {
    CHECK(to_string(parse_constraint(text)) == text);
  }
}

TEST_CASE("several constraints in one text or in several") {
  CHECK(all({"latency.p99<=5ms, accuracy.drop<=1pp", "memory<=1GB"}).size() == 3);
  CHECK(all({"latency.p99<=5ms and throughput>=10/s && memory<=1MB"}).size() == 3);
  CHECK(all({}).empty());
  CHECK(has(error_of([] { all({"latency.p99<=5ms throughput>=3/s"}); }), "separate constraints by commas"));
  CHECK(has(error_of([] { all({"latency.p99<=5ms,"}); }), "name of a quantity is missing"));
}

TEST_CASE("an error shows the text, the place and the fix") {
  CHECK(bad("latency.p99<=5") ==
        "constraint: the unit is missing\n"
        "    latency.p99<=5\n"
        "                  ^ write 5ms, or another of ns, us, ms or s");
  CHECK(bad("latencies<=5ms") ==
        "constraint: 'latencies' is not a quantity\n"
        "    latencies<=5ms\n"
        "    ^ known are latency.mean, latency.p50, latency.p90, latency.p99, throughput, accuracy, "
        "accuracy.drop "
        "and memory");
  CHECK(has(bad("latency.p95<=5ms"), "latency has mean, p50, p90 and p99"));
  CHECK(has(bad("latency.p99<=5msec"), "write 5ms"));
  CHECK(has(bad("latency.p99<=5MS"), "write 5ms"));
  CHECK(has(bad("latency.p99<=5m"), "write one of ns, us, ms or s"));
  CHECK(has(bad("throughput>=800"), "write 800/s"));
  CHECK(has(bad("throughput>=800fps"), "write 800/s"));
  CHECK(has(bad("accuracy.drop<=0.5"), "0.5pp (percentage points) or 0.5%"));
  CHECK(has(bad("memory<=200mb"), "write 200MB"));
  CHECK(has(bad("memory<=200"), "write 200MB"));
  CHECK(has(bad("latency.p99<5ms"), "write <="));
  CHECK(has(bad("latency.p99=5ms"), "a comparison is missing"));
  CHECK(has(bad("latency.p99"), "a comparison is missing"));
  CHECK(has(bad("latency.p99<=ms"), "a number is missing"));
  CHECK(has(bad("latency.p99<=-5ms"), "always above 0"));
  CHECK(has(bad("latency.p99<=0s"), "always above 0"));
  CHECK(has(bad("latency.p99<=1e999ms"), "out of range"));
  CHECK(has(bad("throughput>=nan/s"), "finite"));
  CHECK(has(bad("throughput>=inf/s"), "finite"));
  CHECK(has(bad("accuracy.drop<=-1pp"), "more than f32"));
  CHECK(has(bad("accuracy>=120%"), "at most 100%"));
  CHECK(has(bad(""), "missing"));
  CHECK(has(bad("latency.p99<=5ms;memory<=1MB"), "separate"));
  CHECK(has(bad(std::string(5000, 'x')), "longer than"));
  // The mark stands below the place, counted in characters.
  CHECK(has(bad("latency≤5"), "    latency≤5\n             ^"));
}

TEST_CASE("contradictions are refused, and only those") {
  CHECK(has(error_of([] {
              all({"latency<=1ms", "latency>=5ms"});
            }),
            "latency.p50<=1ms and latency.p50>=5ms contradict each other"));
  CHECK(has(error_of([] { all({"latency.p99<=1ms", "latency.p50>=5ms"}); }), "latency.p50 is never above"));
  CHECK(has(error_of([] { all({"throughput>=10/s,throughput<=9/s"}); }), "contradict"));
  CHECK(all({"latency.p50<=1ms", "latency.p99>=5ms"}).size() == 2);
  CHECK(all({"latency.mean>=5ms", "latency.p99<=1ms"}).size() == 2);  // the mean may be above any percentile
  CHECK(all({"latency<=5ms", "latency<=3ms", "latency>=3ms"}).size() == 3);
}

TEST_CASE("objectives are products and quotients") {
  CHECK(to_string(parse_objective("minimize latency.p99")) == "minimize latency.p99");
  CHECK(to_string(parse_objective(" maximize  throughput ")) == "maximize throughput");
  const Objective o = parse_objective(false, "latency/throughput*memory");
  REQUIRE(o.factors.size() == 3);
  CHECK(o.factors[1].exponent == -1);
  CHECK(o.factors[2].exponent == 1);
  CHECK(parse_objective(to_string(o)) == o);
  const auto bad_objective = [](std::string_view text) {
    return error_of([&] { (void)parse_objective(text); });
  };
  CHECK(has(bad_objective("maximize latency"), "write minimize latency"));
  CHECK(has(bad_objective("minimize throughput"), "write maximize throughput"));
  CHECK(has(bad_objective("minimize accuracy.drop"), "write maximize accuracy"));
  CHECK(has(bad_objective("latency"), "direction is missing"));
  CHECK(has(bad_objective("minimize latency+memory"), "write * or /"));
  CHECK(has(bad_objective("minimize speed"), "'speed' is not a quantity"));
  CHECK(has(bad_objective("minimize latency/"), "missing"));
}

TEST_CASE("the C++ spelling says the same") {
  using namespace axes;
  using namespace std::chrono_literals;
  CHECK((latency_p99 <= 5ms) == parse_constraint("latency.p99<=5ms"));
  CHECK((latency >= 5us) == parse_constraint("latency>=5us"));
  CHECK((throughput >= 800) == parse_constraint("throughput>=800/s"));
  CHECK((accuracy_drop <= 0.005) == parse_constraint("accuracy.drop<=0.5pp"));
  CHECK((accuracy >= 0.71) == parse_constraint("accuracy>=0.71"));
  CHECK((memory <= 200_MB) == parse_constraint("memory<=200MB"));
  CHECK(minimize(latency_p99 / throughput) == parse_objective("minimize latency.p99/throughput"));
  CHECK(maximize(throughput) == parse_objective("maximize throughput"));
  CHECK(minimize(latency * memory / (throughput / accuracy)) ==
        parse_objective("minimize latency*memory/throughput*accuracy"));
}

TEST_CASE("quantities are shown with units") {
  CHECK(format_quantity({Axis::latency}, 3.2149e-3) == "3.21 ms");
  CHECK(format_quantity({Axis::latency}, 0.9999e-3) == "1.00 ms");
  CHECK(format_quantity({Axis::latency}, 17.25e-6) == "17.2 us");
  CHECK(format_quantity({Axis::throughput}, 12345.6) == "12346 /s");
  CHECK(format_quantity({Axis::accuracy}, 0.7142) == "71.4 %");
  CHECK(format_quantity({Axis::accuracy}, 31.25, false) == "31.2");
  CHECK(format_quantity({Axis::accuracy_drop}, 0.0031) == "0.31 pp");
  CHECK(format_quantity({Axis::memory}, 12.6e6) == "12.6 MB");
  CHECK(format_quantity({Axis::accuracy_drop}, 0) == "0.00 pp");
}

TEST_CASE("no text makes the parsers do anything but answer or refuse") {
  std::mt19937 random(7);
  const std::string_view pieces[] = {"latency", ".p99", "<=", ">=",     "5",        "ms",    ",",
                                     "and ",    "/s",   "%",  "pp",     "accuracy", ".drop", "1e308",
                                     "GB",      "\xff", "-",  "memory", " ",        "µ",     "\n"};
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 8); n >= 0; --n) text += pieces[random() % std::size(pieces)];
    try {
      for (const Constraint& c : all({text})) {
        CHECK(std::isfinite(c.bound));
        CHECK(parse_constraint(to_string(c)) == c);
      }
    } catch (const Error& e) {
      CHECK(e.code() == Code::invalid);
    }
  }
}
