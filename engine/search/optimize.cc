// The search: what products cost and what noise they add is measured, the frontier of both is computed, and
// plans on it are measured whole, where it matters most.
#include "skyline/optimize.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "engine/search/candidates.h"
#include "engine/search/noise.h"
#include "engine/serve/load.h"
#include "kernels/base/cpu.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;
using Rungs = std::vector<Precision>;

// Shares of the budget that may be used when a stage ends.
constexpr double kNoiseEnds = 0.3, kVerifyEnds = 0.55, kRefineEnds = 0.75, kFinalEnds = 0.82,
                 kStreamsEnd = 0.9, kReportEnds = 1.1;
constexpr size_t kFirstPlans = 10;  // of the predicted frontier
constexpr int kProfileRounds = 15;  // runs of each rung that products' times come from
constexpr size_t kNoiseExamples = 4;
constexpr int kMostFlips = 8;
constexpr int kTurns = 5;            // of every plan that is measured
constexpr double kLeastTurn = 0.02;  // seconds

bool is_fraction(MetricKind m) {
  return m != MetricKind::mae && m != MetricKind::sqnr;
}

class Search {
 public:
  Search(const Model& model, const Dataset& data, const OptimizeOptions& options)
      : data_(data), options_(options), start_(Clock::now()), variants_(model, resolved(options.session)) {}

  OptimizeResult run() {
    begin();
    calibrate();
    learn();
    propose();
    verify();
    refine();
    settle();
    try_streams();
    report();
    return std::move(result_);
  }

 private:
  static SessionOptions resolved(SessionOptions o) {
    if (o.threads == 0) o.threads = kernels::cpu_info().usable_cpus;
    return o;
  }
  double used() const {
    return std::chrono::duration<double>(Clock::now() - start_).count() / options_.budget_seconds;
  }
  bool cancelled() const { return options_.cancel && options_.cancel->load(std::memory_order_relaxed); }
  bool over(double share) const { return cancelled() || used() > share; }
  void say(const std::string& stage) const {
    if (options_.progress) options_.progress(stage, std::min(used(), 1.0));
  }
  size_t products() const { return variants_.flow().products.size(); }

  // ---- the data and the plain f32 plan
  void begin() {
    say("f32");
    if (data_.size() == 0) throw Error(Code::input, "there are no examples");
    const Split parts =
        split(data_.size(), options_.seed, options_.calibration_share, options_.selection_share);
    calibration_ = parts.calibration;
    if (calibration_.size() > static_cast<size_t>(std::max<int64_t>(options_.most_calibration, 1)))
      calibration_.resize(static_cast<size_t>(std::max<int64_t>(options_.most_calibration, 1)));
    selection_ = parts.selection.empty() ? parts.calibration : parts.selection;
    report_ = parts.report;
    candidates_.emplace(variants_, data_.at(calibration_.at(0)).inputs);
    const size_t f32 = candidates_->add(Rungs(products(), Precision::f32), {}, "all products in f32");
    const Session& session = *(*candidates_)[f32].session;
    const MetricKind metric = options_.metric ? *options_.metric : default_metric(data_, session);
    evaluator_.emplace(data_, selection_, metric, session, [this] { return used() > 0.2; });
    (*candidates_)[f32].quality = Evaluator::Result{evaluator_->baseline(), 0};
    FrontierInfo& info = result_.frontier.info;
    info.machine = machine_facts();
    info.metric = {std::string(name(metric)), higher_is_better(metric), is_fraction(metric)};
    info.model = options_.model_name;
    info.model_sha1 = options_.model_sha1;
    info.data = {options_.data_source.empty() ? data_.kind() : options_.data_source,
                 static_cast<int64_t>(calibration_.size()), evaluator_->examples(),
                 static_cast<int64_t>(report_.size())};
    info.seed = options_.seed;
    info.tool = "skyline 0.1.0";
    warn_of_few_examples();
  }

  void warn_of_few_examples() {
    for (const Constraint& c : options_.constraints) {
      if (c.quantity.axis != Axis::accuracy_drop || !is_fraction(evaluator_->metric())) continue;
      const double least = 1 / static_cast<double>(evaluator_->examples());
      if (c.bound > 3 * least) continue;
      result_.warnings.push_back("one of the " + std::to_string(evaluator_->examples()) +
                                 " examples that plans are chosen by is " + std::to_string(100 * least) +
                                 " pp: they can hardly tell whether '" + to_string(c) + "' is met");
    }
  }

  void calibrate() {
    std::vector<Precision> wanted = options_.rungs;
    if (wanted.empty()) wanted = {Precision::bf16x3, Precision::f16, Precision::bf16, Precision::int8};
    for (Precision r : wanted) {
      bool can = false;
      for (size_t i = 0; i < products(); ++i) can = can || variants_.can(i, r);
      if (can && r != Precision::f32) rungs_.push_back(r);
      if (!can && !options_.rungs.empty())
        result_.warnings.push_back("no product can be in " + std::string(name(r)) + " here");
    }
    if (std::find(rungs_.begin(), rungs_.end(), Precision::int8) == rungs_.end()) return;
    if (options_.resume && !options_.resume->info.ranges.empty()) {
      variants_.set_ranges(options_.resume->info.ranges);
    } else {
      variants_.calibrate(examples_of(data_, calibration_), [this](int64_t done, int64_t total) {
        say("calibration " + std::to_string(done) + " of " + std::to_string(total));
      });
    }
    result_.frontier.info.ranges = variants_.ranges();
  }

  // The plan with all products on one rung, where they can.
  Rungs uniform(Precision r) const {
    Rungs plan(products(), Precision::f32);
    for (size_t i = 0; i < products(); ++i) {
      if (variants_.can(i, r)) plan[i] = r;
    }
    return plan;
  }

  // ---- what products cost, and what noise they add
  void learn() {
    std::vector<std::string> names;
    for (const auto& p : variants_.flow().products) names.push_back(p.name);
    std::vector<RungSession> sessions{{Precision::f32, (*candidates_)[0].session.get()}};
    for (Precision r : rungs_) {
      const size_t c = candidates_->add(uniform(r), {}, "all that can in " + std::string(name(r)));
      sessions.push_back({r, (*candidates_)[c].session.get()});
    }
    const std::vector<Value> x = data_.at(calibration_.at(0)).inputs;
    NodeCosts costs = measure_node_costs(names, sessions, x, kProfileRounds, [this](int done, int total) {
      say("profile " + std::to_string(done) + " of " + std::to_string(total));
    });
    std::vector<std::vector<Value>> examples;
    for (size_t i = 0; i < std::min(kNoiseExamples, calibration_.size()); ++i)
      examples.push_back(data_.at(calibration_[i]).inputs);
    auto noise = measure_noise(
        variants_, costs.rungs, examples, [this] { return over(kNoiseEnds); },
        [this](size_t done, size_t total) {
          say("noise of product " + std::to_string(done) + " of " + std::to_string(total));
        });
    proposals_.emplace(variants_, std::move(costs), std::move(noise),
                       measure_conversions(variants_.options()));
  }

  // ---- plans worth measuring
  void propose() {
    say("plans");
    for (size_t i = 0; i < candidates_->size(); ++i)
      (*candidates_)[i].predicted = proposals_->predict((*candidates_)[i].rungs);
    const auto& plans = proposals_->frontier();
    // Evenly along the predicted frontier, by time: noise spans too many magnitudes.
    for (size_t k = 0; k < kFirstPlans; ++k) {
      const double share = static_cast<double>(k) / (kFirstPlans - 1);
      const double slow = plans.front().predicted.seconds, fast = plans.back().predicted.seconds;
      const double wanted = slow + share * (fast - slow);
      const auto at = std::min_element(plans.begin(), plans.end(), [&](const auto& a, const auto& b) {
        return std::fabs(a.predicted.seconds - wanted) < std::fabs(b.predicted.seconds - wanted);
      });
      add(at->rungs, "predicted frontier");
    }
  }

  std::optional<size_t> add(const Rungs& rungs, const std::string& provenance) {
    if (candidates_->has(rungs)) return std::nullopt;
    return candidates_->add(rungs, proposals_->predict(rungs), provenance);
  }

  double turn_seconds(size_t plans) const {
    const double left = std::max(0.0, kRefineEnds - used()) * options_.budget_seconds;
    return std::clamp(left / static_cast<double>(plans * kTurns * 8), kLeastTurn, 0.25);
  }

  void evaluate(size_t i) {
    Candidate& c = (*candidates_)[i];
    if (c.quality) return;
    try {
      c.quality = evaluator_->evaluate(*c.session, [this] { return cancelled(); });
    } catch (const Error& e) {
      if (e.code() == Code::cancelled) return;  // the plan stays one that is only predicted
      throw;
    }
    result_.evaluated_examples += evaluator_->examples();
  }

  void verify() {
    std::vector<size_t> all;
    for (size_t i = 0; i < candidates_->size(); ++i) all.push_back(i);
    const double seconds = turn_seconds(all.size());
    for (int t = 0; t < kTurns && (t == 0 || !over(kVerifyEnds)); ++t) {
      say("timing " + std::to_string(all.size()) + " plans, turn " + std::to_string(t + 1));
      candidates_->turn(all, seconds);
      if (t == 1) drop_slow(all);
    }
    proposals_->calibrate(candidates_->p50(0));
    for (size_t i = 0; i < candidates_->size(); ++i)
      (*candidates_)[i].predicted = proposals_->predict((*candidates_)[i].rungs);
    // The fastest first: if time runs out, they are what the search is for.
    std::sort(all.begin(), all.end(),
              [&](size_t a, size_t b) { return candidates_->p50(a) < candidates_->p50(b); });
    for (size_t k = 0; k < all.size(); ++k) {
      if (over(kVerifyEnds) && k >= 3) break;
      say("accuracy of plan " + std::to_string(k + 1) + " of " + std::to_string(all.size()));
      evaluate(all[k]);
    }
    publish();
  }

  // Plans that are clearly slower than f32 are not timed further.
  void drop_slow(std::vector<size_t>& plans) const {
    std::erase_if(plans, [&](size_t i) { return i != 0 && candidates_->p50(i) > 1.1 * candidates_->p50(0); });
  }

  bool feasible(size_t i) const {
    const Figures f = candidates_->figures(i);
    return std::all_of(options_.constraints.begin(), options_.constraints.end(), [&](const Constraint& c) {
      const auto& e = f.get(c.quantity);
      if (!e) return false;
      const double bound = c.relative ? c.bound * std::fabs(evaluator_->baseline().value.value) : c.bound;
      return c.at_most ? e->high <= bound : e->low >= bound;
    });
  }

  std::vector<size_t> known() const {
    std::vector<size_t> out;
    for (size_t i = 0; i < candidates_->size(); ++i) {
      if (candidates_->timed(i) && (*candidates_)[i].quality) out.push_back(i);
    }
    return out;
  }

  // ---- where the constraint binds, or where the measured frontier has its largest gap
  void refine() {
    while (!over(kRefineEnds)) {
      const std::optional<Rungs> next = options_.constraints.empty() ? in_largest_gap() : near_best();
      if (!next) break;
      const std::optional<size_t> i =
          add(*next, options_.constraints.empty() ? "gap of the measured frontier"
                                                  : "near the best that is feasible");
      if (!i) break;
      say("plan " + std::to_string(candidates_->size()) + ": " + std::to_string(known().size()) +
          " measured");
      const size_t best = fastest_feasible();
      std::set<size_t> who{0, best, *i};
      for (int t = 0; t < kTurns; ++t)
        candidates_->turn({who.begin(), who.end()}, turn_seconds(who.size() * 4));
      evaluate(*i);
      publish();
    }
  }

  size_t fastest_feasible() const {
    size_t best = 0;
    for (size_t i : known()) {
      if (feasible(i) && candidates_->p50(i) < candidates_->p50(best)) best = i;
    }
    return best;
  }

  // Noise that is known to be too much: the least of a plan that is not feasible and faster than the best.
  std::optional<Rungs> near_best() {
    const size_t best = fastest_feasible();
    double too_much = std::numeric_limits<double>::infinity();
    for (size_t i : known()) {
      const double n = (*candidates_)[i].predicted.noise;
      if (!feasible(i) && n > (*candidates_)[best].predicted.noise) too_much = std::min(too_much, n);
    }
    const double least = (*candidates_)[best].predicted.noise;
    // Of the predicted frontier between the two, the plan in the middle by time.
    std::vector<const Proposals::Plan*> between;
    for (const Proposals::Plan& p : proposals_->frontier()) {
      if (p.predicted.noise > least && p.predicted.noise < too_much && !candidates_->has(p.rungs))
        between.push_back(&p);
    }
    if (!between.empty()) {
      const double slow = between.front()->predicted.seconds, fast = between.back()->predicted.seconds;
      const auto at = std::min_element(between.begin(), between.end(), [&](const auto* a, const auto* b) {
        const double middle = (slow + fast) / 2;
        return std::fabs(a->predicted.seconds - middle) < std::fabs(b->predicted.seconds - middle);
      });
      return (*at)->rungs;
    }
    return flip(best);
  }

  // One product of the best plan on another rung: the model of costs may be wrong by a little where it saw
  // almost no difference. Only flips that do not add noise beyond what the best may have.
  std::optional<Rungs> flip(size_t best) {
    if (flips_++ == kMostFlips) return std::nullopt;
    const Candidate& c = (*candidates_)[best];
    std::optional<Rungs> chosen;
    double least = 1.02 * c.predicted.seconds;
    for (size_t i = 0; i < products(); ++i) {
      for (Precision r : proposals_->rungs()) {
        if (r == c.rungs[i] || !variants_.can(i, r)) continue;
        Rungs other = c.rungs;
        other[i] = r;
        const Prediction p = proposals_->predict(other);
        if (!(p.seconds < least) || p.noise > 1.05 * c.predicted.noise || candidates_->has(other)) continue;
        least = p.seconds;
        chosen = std::move(other);
      }
    }
    return chosen;
  }

  std::optional<Rungs> in_largest_gap() const {
    std::vector<double> noises;
    for (size_t i : known()) noises.push_back((*candidates_)[i].predicted.noise);
    std::optional<Rungs> best;
    double widest = 0.3;  // in decades
    for (const Proposals::Plan& p : proposals_->frontier()) {
      if (p.predicted.noise <= 0 || candidates_->has(p.rungs)) continue;
      double nearest = std::numeric_limits<double>::infinity();
      for (double n : noises) {
        if (n > 0) nearest = std::min(nearest, std::fabs(std::log10(p.predicted.noise / n)));
      }
      if (nearest <= widest) continue;
      widest = nearest;
      best = p.rungs;
    }
    return best;
  }

  // ---- the contenders once more, side by side with f32
  void settle() {
    std::vector<size_t> order = known();
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const bool fa = feasible(a), fb = feasible(b);
      return fa != fb ? fa : candidates_->p50(a) < candidates_->p50(b);
    });
    if (order.size() > 4) order.resize(4);
    if (std::find(order.begin(), order.end(), 0) == order.end()) order.push_back(0);
    const double seconds = turn_seconds(order.size() * 2);
    for (int t = 0; t < 2 * kTurns && !over(kFinalEnds); ++t) {
      say("the best once more, turn " + std::to_string(t + 1));
      candidates_->turn(order, seconds);
    }
    publish();
  }

  void publish() {
    Frontier& f = result_.frontier;
    f.points.clear();
    for (size_t i = 0; i < candidates_->size(); ++i) {
      if (candidates_->timed(i))
        f.points.push_back(candidates_->point(i, proposals_ ? &*proposals_ : nullptr));
    }
    for (const Point& p : with_streams_) f.points.push_back(p);
    if (options_.resume) f.merge(*options_.resume);
    f.update_states();
    result_.measured_runs = candidates_->all_samples();
    if (options_.found) options_.found(f);
  }

  // ---- several requests at a time
  void try_streams() {
    std::vector<int> wanted = options_.streams;
    const int threads = variants_.options().threads;
    if (wanted.empty() && threads > 1) wanted = {threads};
    std::set<size_t> plans{0, fastest_feasible()};
    for (size_t i : known()) {
      if (candidates_->p50(i) < 1.2 * candidates_->p50(fastest_feasible()) && plans.size() < 4)
        plans.insert(i);
    }
    for (int streams : wanted) {
      if (streams <= 1) continue;
      for (size_t i : plans) {
        if (over(kStreamsEnd)) return publish();
        say(std::to_string(streams) + " streams");
        const int each = threads_per_stream(threads, streams);
        const Session session = variants_.session((*candidates_)[i].rungs, each);
        const double seconds = std::clamp(20 * candidates_->p50(i) * streams, 0.2, 1.0);
        const serve::Load load = serve::closed_loop(session, data_.at(calibration_.at(0)).inputs,
                                                    {.streams = streams, .seconds = seconds, .warmup = 0.03});
        Point p = candidates_->point(i, &*proposals_);
        p.id += "x" + std::to_string(streams);
        p.streams = streams;
        p.threads = each;
        p.predicted = {};
        p.measured.latency = {serve::latency_mean(load), serve::latency_at(load, 0.5),
                              serve::latency_at(load, 0.9), serve::latency_at(load, 0.99)};
        p.measured.throughput = serve::throughput(load);
        p.samples = load.examples();
        p.provenance += ", " + std::to_string(streams) + " streams";
        with_streams_.push_back(std::move(p));
      }
    }
    publish();
  }

  // ---- what it all came to
  void report() {
    publish();
    result_.selection = result_.frontier.select(options_.constraints, options_.objective);
    rate_predictions();
    if (report_.empty()) return;
    const Evaluator unseen(data_, report_, evaluator_->metric(), *(*candidates_)[0].session,
                           [this] { return over(kReportEnds); });
    const auto n = unseen.examples();
    result_.report.push_back({"f32", unseen.baseline().value, Estimate::exactly(0), n});
    const Point& chosen = result_.frontier.points[result_.selection.point];
    for (size_t i = 1; i < candidates_->size(); ++i) {
      const std::string& id = (*candidates_)[i].id;
      if (chosen.id != id && chosen.id.rfind(id + "x", 0) != 0) continue;
      say("the chosen plan on unseen examples");
      const Evaluator::Result r = unseen.evaluate(*(*candidates_)[i].session);
      result_.report.push_back({chosen.id, r.accuracy.value, r.accuracy.drop, n});
    }
  }

  void rate_predictions() {
    std::vector<double> residuals, noise, loss;
    for (size_t i : known()) {
      if (i == 0) continue;
      const Candidate& c = (*candidates_)[i];
      residuals.push_back(std::fabs(c.predicted.seconds / candidates_->p50(i) - 1));
      noise.push_back(c.predicted.noise);
      loss.push_back(c.quality->accuracy.drop.value);
    }
    if (residuals.size() < 3) return;
    const double correlation = rank_correlation(noise, loss);
    result_.noise_correlation = std::isnan(correlation) ? 0 : correlation;
    std::sort(residuals.begin(), residuals.end());
    result_.latency_residual = residuals[residuals.size() / 2];
  }

  const Dataset& data_;
  const OptimizeOptions& options_;
  const Clock::time_point start_;
  Variants variants_;
  std::vector<int64_t> calibration_, selection_, report_;
  std::vector<Precision> rungs_;  // besides f32
  std::optional<Candidates> candidates_;
  std::optional<Evaluator> evaluator_;
  std::optional<Proposals> proposals_;
  std::vector<Point> with_streams_;
  int flips_ = 0;
  OptimizeResult result_;
};

}  // namespace

OptimizeResult optimize(const Model& model, const Dataset& data, const OptimizeOptions& options) {
  if (!(options.budget_seconds > 0)) throw Error(Code::invalid, "the budget must be more than 0 seconds");
  check_consistent(options.constraints);
  return Search(model, data, options).run();
}

PlanModel plan_model(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options) {
  SessionOptions o = options;
  if (o.threads == 0) o.threads = point.threads;
  o.layouts = point.layouts;
  Variants variants(model, o);
  variants.set_ranges(frontier.info.ranges);
  std::map<std::string, Precision> rungs;
  for (const NodeChoice& c : point.choices) rungs[c.node] = c.rung;
  const Precision others = point.precision == Precision::model ? Precision::f32 : point.precision;
  std::vector<Precision> plan;
  for (const Flow::Product& p : variants.flow().products) {
    const auto it = rungs.find(p.name);
    plan.push_back(it == rungs.end() ? others : it->second);
    if (it != rungs.end()) rungs.erase(it);
  }
  if (!rungs.empty()) {
    throw Error(Code::invalid,
                "the plan is of another model: this one has no product '" + rungs.begin()->first + "'");
  }
  return variants.model(plan);
}

Session plan_session(const Model& model, const Frontier& frontier, const Point& point,
                     const SessionOptions& options) {
  PlanModel m = plan_model(model, frontier, point, options);
  return Session(std::move(m.model), m.options);
}

}  // namespace skyline
