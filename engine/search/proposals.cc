#include "engine/search/proposals.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skyline {
namespace {

// How far parts of a plan's time may be from what profiles said, as shares of it; measured plans of small
// models on a Xeon (model 143) differ by about this much.
constexpr double kProductSpread = 0.25, kRungSpread = 0.3, kConversionSpread = 0.6, kRestSpread = 0.1;
// Of noises: they add up in squares where errors are independent, which they are to within a factor.
constexpr double kNoiseSpread = 0.7, kRungNoiseSpread = 0.7, kNoiseError = 0.15;
constexpr size_t kNone = static_cast<size_t>(-1);

}  // namespace

Proposals::Proposals(const Variants& variants, NodeCosts costs, std::vector<std::vector<double>> noise,
                     const ConversionCosts& conversions)
    : costs_(std::move(costs)), noise_(std::move(noise)) {
  collect(variants, conversions);
  make_fits();
  const auto f32 = options_of(std::vector<Precision>(options_.size(), Precision::f32));
  raw_f32_ = time_.predict(time_terms(*f32));
  solve();
}

void Proposals::collect(const Variants& variants, const ConversionCosts& conversions) {
  const auto& products = variants.flow().products;
  for (size_t i = 0; i < products.size(); ++i) {
    std::vector<size_t> can;
    std::vector<double> seconds;
    for (size_t r = 0; r < costs_.rungs.size(); ++r) {
      if (!std::isfinite(costs_.seconds[i][r]) || !std::isfinite(noise_[i][r])) continue;
      const bool quantizes = costs_.rungs[r] == Precision::int8;
      can.push_back(r);
      seconds.push_back(
          costs_.seconds[i][r] +
          (quantizes ? conversions.quantize(static_cast<double>(products[i].from_outside)) : 0));
    }
    if (can.empty()) throw Error(Code::internal, "product '" + products[i].name + "' was never measured");
    options_.push_back(std::move(can));
    base_.push_back(std::move(seconds));
  }
  // What stands between products is cheaper, or dearer, where both sides are on integers: shared out by
  // bytes. Between bf16 products values stay in bf16: at their borders they are converted.
  double all_bytes = 0, rest = 0;
  for (const Flow::Edge& e : variants.flow().edges) all_bytes += static_cast<double>(e.bytes);
  for (size_t r = 0; r < costs_.rungs.size(); ++r) {
    if (costs_.rungs[r] == Precision::int8) rest = costs_.rest[r] - costs_.rest[0];
  }
  for (const Flow::Edge& e : variants.flow().edges) {
    EdgeCost cost{static_cast<size_t>(e.from), static_cast<size_t>(e.to), {}};
    const auto bytes = static_cast<double>(e.bytes);
    for (const size_t i : options_[cost.a]) {
      for (const size_t j : options_[cost.b]) {
        const Precision from = costs_.rungs[i], to = costs_.rungs[j];
        const bool narrow = (from == Precision::bf16) != (to == Precision::bf16);
        cost.of.push_back(from == Precision::int8 && to == Precision::int8
                              ? std::pair{kWithin, rest * bytes / std::max(all_bytes, 1.0)}
                          : from == Precision::int8 ? std::pair{kDequantize, conversions.dequantize(bytes)}
                          : to == Precision::int8
                              ? std::pair{kQuantize, conversions.quantize(bytes)}
                              : std::pair{kNarrow, narrow ? conversions.dequantize(bytes) : 0});
      }
    }
    edges_.push_back(std::move(cost));
  }
}

void Proposals::make_fits() {
  for (size_t i = 0; i < options_.size(); ++i) {
    time_part_.emplace_back();
    noise_part_.emplace_back();
    for (size_t o = 0; o < options_[i].size(); ++o) {
      time_part_[i].push_back(time_.add_part(base_[i][o], kProductSpread * base_[i][o]));
      const double n = noise_[i][options_[i][o]];
      noise_part_[i].push_back(noises_.add_part(n, kNoiseSpread * n));
    }
  }
  for (size_t r = 0; r < costs_.rungs.size(); ++r) {
    rung_time_.push_back(time_.add_part(0, kRungSpread));
    rung_noise_.push_back(noises_.add_part(0, kRungNoiseSpread));
  }
  for (size_t k = 0; k < kKinds; ++k) kind_part_[k] = time_.add_part(k == kNarrow ? 0 : 1, kConversionSpread);
  rest_part_ = time_.add_part(1, kRestSpread);
}

AdditiveFit::Terms Proposals::time_terms(const std::vector<size_t>& options) const {
  AdditiveFit::Terms terms;
  std::vector<double> by_rung(costs_.rungs.size(), 0), by_kind(kKinds, 0);
  for (size_t i = 0; i < options.size(); ++i) {
    terms.emplace_back(time_part_[i][options[i]], 1);
    by_rung[options_[i][options[i]]] += base_[i][options[i]];
  }
  for (const EdgeCost& e : edges_) {
    const auto& [kind, cost] = e.of[options[e.a] * options_[e.b].size() + options[e.b]];
    by_kind[kind] += cost;
  }
  for (size_t r = 0; r < by_rung.size(); ++r) terms.emplace_back(rung_time_[r], by_rung[r]);
  for (size_t k = 0; k < kKinds; ++k) terms.emplace_back(kind_part_[k], by_kind[k]);
  terms.emplace_back(rest_part_, costs_.rest[0]);
  return terms;
}

AdditiveFit::Terms Proposals::noise_terms(const std::vector<size_t>& options) const {
  AdditiveFit::Terms terms;
  std::vector<double> by_rung(costs_.rungs.size(), 0);
  for (size_t i = 0; i < options.size(); ++i) {
    terms.emplace_back(noise_part_[i][options[i]], 1);
    by_rung[options_[i][options[i]]] += noise_[i][options_[i][options[i]]];
  }
  for (size_t r = 0; r < by_rung.size(); ++r) terms.emplace_back(rung_noise_[r], by_rung[r]);
  return terms;
}

// A product's part as it is now, with its share of what is its rung's. Never nothing: what takes no time, or
// adds no noise, would be chosen for that alone.
double Proposals::time_of(size_t product, size_t option) const {
  const double base = base_[product][option];
  const double now =
      time_.part(time_part_[product][option]) + base * time_.part(rung_time_[options_[product][option]]);
  return std::max(now, 0.1 * base);
}
double Proposals::noise_of(size_t product, size_t option) const {
  const double base = noise_[product][options_[product][option]];
  const double now = noises_.part(noise_part_[product][option]) +
                     base * noises_.part(rung_noise_[options_[product][option]]);
  return std::max(now, 0.05 * base);
}

void Proposals::solve() {
  TradeOff problem;
  for (size_t i = 0; i < options_.size(); ++i) {
    std::vector<double> seconds, noises;
    for (size_t o = 0; o < options_[i].size(); ++o) {
      seconds.push_back(time_of(i, o));
      noises.push_back(noise_of(i, o));
    }
    problem.add_node(std::move(seconds), std::move(noises));
  }
  for (const EdgeCost& e : edges_) {
    std::vector<double> costs;
    for (const auto& [kind, cost] : e.of) costs.push_back(cost * time_.part(kind_part_[kind]));
    problem.add_edge(static_cast<int>(e.a), static_cast<int>(e.b), std::move(costs));
  }
  const TradeOff::Frontier f = problem.solve();
  exact_ = f.exact;
  frontier_.clear();
  for (const TradeOff::Assignment& a : f.points) {
    Plan p;
    for (size_t i = 0; i < options_.size(); ++i)
      p.rungs.push_back(costs_.rungs[options_[i][static_cast<size_t>(a.options[i])]]);
    p.predicted = predict(p.rungs);
    frontier_.push_back(std::move(p));
  }
}

void Proposals::learn(const std::vector<Observation>& observations) {
  AdditiveFit time, noises;
  std::swap(time, time_);
  std::swap(noises, noises_);
  time_part_.clear();
  noise_part_.clear();
  rung_time_.clear();
  rung_noise_.clear();
  make_fits();
  // f32 is what ratios refer to.
  time_.observe(time_terms(*options_of(std::vector<Precision>(options_.size(), Precision::f32))), raw_f32_,
                5e-3);
  std::vector<std::optional<size_t>> with_noise;
  for (const Observation& o : observations) {
    const auto options = options_of(o.plan);
    if (!options) throw Error(Code::internal, "a plan was measured that cannot be");
    time_.observe(time_terms(*options), o.ratio * raw_f32_, std::max(o.error, 5e-3));
    with_noise.push_back(std::nullopt);
    if (!o.noise || !(*o.noise > 0)) continue;
    with_noise.back() = noises_.observations();
    noises_.observe(noise_terms(*options), *o.noise, kNoiseError);
  }
  time_.fit();
  noises_.fit();
  checks_.clear();
  for (size_t i = 0; i < observations.size(); ++i) {
    Check c;
    c.ratio = time_.held_out(i + 1) / raw_f32_;
    c.ratio_before = time_.predict_before(time_terms(*options_of(observations[i].plan))) / raw_f32_;
    if (with_noise[i]) c.noise = noises_.held_out(*with_noise[i]);
    checks_.push_back(c);
  }
  solve();
}

size_t Proposals::index(Precision rung) const {
  const auto at = std::find(costs_.rungs.begin(), costs_.rungs.end(), rung);
  if (at == costs_.rungs.end()) throw Error(Code::internal, "a rung that was not measured");
  return static_cast<size_t>(at - costs_.rungs.begin());
}

size_t Proposals::option_of(size_t product, Precision rung) const {
  const auto& o = options_[product];
  const auto at = std::find(o.begin(), o.end(), index(rung));
  return at == o.end() ? kNone : static_cast<size_t>(at - o.begin());
}

double Proposals::seconds(size_t product, Precision rung) const {
  const size_t o = option_of(product, rung);
  return o == kNone ? std::numeric_limits<double>::infinity() : time_of(product, o);
}
double Proposals::noise(size_t product, Precision rung) const {
  const size_t o = option_of(product, rung);
  return o == kNone ? std::numeric_limits<double>::infinity() : noise_of(product, o);
}

std::optional<std::vector<size_t>> Proposals::options_of(const std::vector<Precision>& plan) const {
  std::vector<size_t> out;
  for (size_t i = 0; i < plan.size(); ++i) {
    out.push_back(option_of(i, plan[i]));
    if (out.back() == kNone) return std::nullopt;
  }
  return out;
}

std::vector<Precision> Proposals::rungs_of(size_t product) const {
  std::vector<Precision> out;
  for (const size_t r : options_[product]) out.push_back(costs_.rungs[r]);
  return out;
}

Prediction Proposals::optimistic(const std::vector<Precision>& plan, double deviations) const {
  const auto options = options_of(plan);
  Prediction p = predict(plan);
  if (!options) return p;
  p.seconds = std::max(p.seconds - deviations * scale_ * time_.spread(time_terms(*options)), 0.5 * p.seconds);
  p.noise = std::max(p.noise - deviations * noises_.spread(noise_terms(*options)), 0.25 * p.noise);
  return p;
}

Prediction Proposals::predict(const std::vector<Precision>& plan) const {
  const auto options = options_of(plan);
  if (!options) return {std::numeric_limits<double>::infinity(), 0};
  double noise = 0;
  for (size_t i = 0; i < plan.size(); ++i) noise += noise_of(i, (*options)[i]);
  const double seconds = std::max(time_.predict(time_terms(*options)), 0.02 * raw_f32_);
  return {seconds * scale_, noise};
}

}  // namespace skyline
