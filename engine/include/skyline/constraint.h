#pragma once
// What a user wants of a plan: constraints, and an objective. As text:
//
//   latency.p99<=5ms      mean, p50, p90 or p99 (latency alone is p50); ns, us, ms or s
//   throughput>=800/s     examples per second
//   accuracy>=0.71        in the metric's own unit; 71% is 0.71
//   accuracy.drop<=0.5pp  lost against f32: pp, percentage points; %, of what f32 reaches
//   memory<=200MB         B, KB, MB, GB, KiB, MiB or GiB
//   minimize latency.p99/throughput       products and quotients of latency, throughput, accuracy and memory
//
// and in C++, with `using namespace skyline::axes` and std::chrono's literals:
//
//   frontier.select({latency_p99 <= 5ms, accuracy_drop <= 0.005}, maximize(throughput));
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "skyline/status.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

enum class Axis : uint8_t { latency, throughput, accuracy, accuracy_drop, memory };
enum class Statistic : uint8_t { mean, p50, p90, p99 };
inline constexpr int kStatistics = 4;

// Something about a plan that can be measured.
struct Quantity {
  Axis axis = Axis::latency;
  Statistic statistic = Statistic::p50;  // of latency; p50 for all others
  friend bool operator==(const Quantity&, const Quantity&) = default;
};
std::string to_string(Quantity q);  // "latency.p99", "accuracy.drop"

struct Constraint {
  Quantity quantity;
  bool at_most = true;  // else at least
  // In seconds, examples per second, units of the metric (a fraction for top-1), or bytes.
  double bound = 0;
  bool relative = false;  // accuracy_drop only: the bound is a fraction of what f32 reaches
  friend bool operator==(const Constraint&, const Constraint&) = default;
};
std::string to_string(const Constraint& c);  // parses back to the same, but for the last bit of odd bounds

// One constraint as text. Error{invalid} shows the text, the place and what to write instead.
Constraint parse_constraint(std::string_view text);
// Each text holds one or more, separated by commas or "and"; the result has been checked as below.
std::vector<Constraint> parse_constraints(std::span<const std::string> texts);
// Error{invalid} naming two constraints that nothing can meet together, such as latency.p50>=5ms beside
// latency.p99<=1ms.
void check_consistent(std::span<const Constraint> constraints);

// A product of quantities, each with exponent 1 or -1, to be made as small or as large as possible.
//
// Note the product latency*throughput: for a closed loop it is the number of requests in flight (Little's
// law), the same for every plan with the same batch and streams; asking for its minimum asks for batch 1 on
// one stream. latency/throughput is what is usually meant: small when both are good.
struct Objective {
  struct Factor {
    Quantity quantity;
    int exponent = 1;
    friend bool operator==(const Factor&, const Factor&) = default;
  };
  bool maximize = false;
  std::vector<Factor> factors;
  friend bool operator==(const Objective&, const Objective&) = default;
};
std::string to_string(const Objective& o);  // "minimize latency.p99/throughput"
// "minimize ..." or "maximize ...". Error{invalid} as for constraints; also for asking for the bad end of an
// axis (maximize latency). Of accuracy the good end is always asked by "maximize", whatever the metric.
Objective parse_objective(std::string_view text);
// The same with the direction apart, for --minimize and --maximize.
Objective parse_objective(bool maximize, std::string_view expression);

// A value with a unit for people: "3.21 ms", "812 /s", "71.4 %", "12.6 MB". `fraction`: accuracies are
// shown as percent, drops as percentage points; else as plain numbers.
std::string format_quantity(Quantity q, double value, bool fraction = true);

// The C++ spelling.
namespace axes {

struct LatencyAxis {
  Statistic statistic;
  constexpr operator Quantity() const { return {Axis::latency, statistic}; }  // NOLINT: a spelling of it
};
template <Axis A>
struct NumberAxis {
  constexpr operator Quantity() const { return {A}; }  // NOLINT: a spelling of it
};
struct Bytes {
  double count;
};

inline constexpr LatencyAxis latency{Statistic::p50}, latency_mean{Statistic::mean},
    latency_p50{Statistic::p50}, latency_p90{Statistic::p90}, latency_p99{Statistic::p99};
inline constexpr NumberAxis<Axis::throughput> throughput;        // per second
inline constexpr NumberAxis<Axis::accuracy> accuracy;            // units of the metric
inline constexpr NumberAxis<Axis::accuracy_drop> accuracy_drop;  // units of the metric: 0.005 is 0.5pp
inline constexpr NumberAxis<Axis::memory> memory;                // bytes: 200_MB

constexpr Bytes operator""_KB(unsigned long long n) {
  return {static_cast<double>(n) * 1e3};
}
constexpr Bytes operator""_MB(unsigned long long n) {
  return {static_cast<double>(n) * 1e6};
}
constexpr Bytes operator""_GB(unsigned long long n) {
  return {static_cast<double>(n) * 1e9};
}
constexpr Bytes operator""_MiB(unsigned long long n) {
  return {static_cast<double>(n) * 1048576.0};
}

template <class Rep, class Period>
Constraint operator<=(LatencyAxis a, std::chrono::duration<Rep, Period> d) {
  return {a, true, std::chrono::duration<double>(d).count()};
}
template <class Rep, class Period>
Constraint operator>=(LatencyAxis a, std::chrono::duration<Rep, Period> d) {
  return {a, false, std::chrono::duration<double>(d).count()};
}
template <Axis A>
requires(A != Axis::memory) Constraint operator<=(NumberAxis<A> a, double bound) {
  return {a, true, bound};
}
template <Axis A>
requires(A != Axis::memory) Constraint operator>=(NumberAxis<A> a, double bound) {
  return {a, false, bound};
}
inline Constraint operator<=(NumberAxis<Axis::memory> a, Bytes b) {
  return {a, true, b.count};
}

struct Expression {
  std::vector<Objective::Factor> factors;
  Expression(Quantity q) : factors{{q, 1}} {}                          // NOLINT: implicit on purpose
  Expression(LatencyAxis a) : Expression(static_cast<Quantity>(a)) {}  // NOLINT
  template <Axis A>
  Expression(NumberAxis<A> a) : Expression(static_cast<Quantity>(a)) {}  // NOLINT
};
inline Expression operator*(Expression a, const Expression& b) {
  a.factors.insert(a.factors.end(), b.factors.begin(), b.factors.end());
  return a;
}
inline Expression operator/(Expression a, const Expression& b) {
  for (const Objective::Factor& f : b.factors) a.factors.push_back({f.quantity, -f.exponent});
  return a;
}
inline Objective minimize(Expression e) {
  return {false, std::move(e.factors)};
}
inline Objective maximize(Expression e) {
  return {true, std::move(e.factors)};
}

}  // namespace axes
}  // namespace skyline
#pragma GCC visibility pop
