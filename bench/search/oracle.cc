#include "bench/search/oracle.h"

#include <algorithm>

#include "engine/search/evaluate.h"

namespace skyline::search {
namespace {

std::vector<std::vector<Value>> first_inputs(const Dataset& data, int64_t examples) {
  std::vector<std::vector<Value>> out;
  for (int64_t i = 0; i < std::min(examples, data.size()); ++i) out.push_back(data.at(i).inputs);
  return out;
}

}  // namespace

Oracle::Oracle(const Variants& variants, const Dataset& data, int64_t examples)
    : variants_(variants),
      inputs_(first_inputs(data, examples)),
      f32_(variants.session(Plan(variants.flow().products.size(), Precision::f32))),
      context_(f32_, inputs_.at(0)) {
  for (const auto& x : inputs_) reference_.push_back(f32_.run(x));
}

double Oracle::ratio_of(const Session& session, double seconds) {
  constexpr int kTurns = 5;
  Context context(session, inputs_[0]);
  Race race;
  const size_t base = race.add([&] { context_.run(); }), me = race.add([&] { context.run(); });
  for (int t = 0; t < kTurns; ++t) race.turn(std::vector<size_t>{base, me}, seconds / (2 * kTurns));
  return race.ratio(me, base).value;
}

void Oracle::measure_again(const std::set<Plan>& plans) {
  constexpr int kTurns = 15;
  constexpr double kTurnSeconds = 4e-3;
  Race race;
  const size_t base = race.add([&] { context_.run(); });
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<size_t> runners{base};
  std::vector<Plan> raced;
  for (const Plan& plan : plans) {
    // What computes the same bits is f32, whatever the clock says.
    again_[plan] = {1, measure(plan).noise};
    if (again_[plan].noise == 0) continue;
    contexts.push_back(std::make_unique<Context>(variants_.session(plan), inputs_[0]));
    runners.push_back(race.add([context = contexts.back().get()] { context->run(); }));
    raced.push_back(plan);
  }
  for (int t = 0; t < kTurns; ++t) race.turn(runners, kTurnSeconds);
  for (size_t i = 0; i < raced.size(); ++i) again_[raced[i]].ratio = race.ratio(runners[i + 1], base).value;
}

TimeAndNoise Oracle::measure(const Plan& plan, double seconds) {
  const auto it = known_.find(plan);
  if (it != known_.end()) return it->second;
  const Session session = variants_.session(plan);
  TimeAndNoise found{ratio_of(session, seconds), 0};
  for (size_t e = 0; e < inputs_.size(); ++e) {
    double noise = 0, signal = 0;
    add_noise(session.run(inputs_[e]), reference_[e], noise, signal);
    found.noise += (signal > 0 ? noise / signal : 0) / static_cast<double>(inputs_.size());
  }
  return known_[plan] = found;
}

}  // namespace skyline::search
