// The search: what products cost and what noise they add is measured, the frontier of both is computed, and
// plans on it are measured whole, where it matters most.
#include "skyline/optimize.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <set>

#include "engine/optimize/cost_table.h"
#include "engine/search/acquire.h"
#include "engine/search/candidates.h"
#include "engine/search/kernel_choice.h"
#include "engine/search/known_costs.h"
#include "engine/search/layout_choice.h"
#include "engine/search/loss_model.h"
#include "engine/search/noise.h"
#include "engine/search/operating_points.h"
#include "kernels/base/cpu.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;
using Rungs = std::vector<Precision>;

// Shares of the budget that may be used when a stage ends.
constexpr double kKernelsEnd = 0.12, kLayoutsEnd = 0.16, kNoiseEnds = 0.35, kVerifyEnds = 0.55,
                 kRefineEnds = 0.75, kFinalEnds = 0.82, kGridEnds = 0.93, kReportEnds = 1.1;
constexpr size_t kFirstPlans = 10;  // of the predicted frontier
constexpr size_t kNoiseExamples = 4;
constexpr int kMostFlips = 8;
constexpr int kTurns = 5;            // of every plan that is measured
constexpr double kLeastTurn = 0.02;  // seconds

bool is_fraction(MetricKind m) {
  return m != MetricKind::mae && m != MetricKind::sqnr;
}

bool counts(MetricKind m) {
  return m == MetricKind::top1 || m == MetricKind::top5 || m == MetricKind::agreement ||
         m == MetricKind::sequence;
}

class Search {
 public:
  Search(const Model& model, const Dataset& data, const OptimizeOptions& options)
      : data_(data),
        options_(options),
        start_(Clock::now()),
        variants_(model, resolved(options.session), first_inputs(data)) {}

  OptimizeResult run() {
    begin();
    calibrate();
    pick_wishes();
    learn();
    propose();
    verify();
    refine();
    settle();
    try_grid();
    report();
    return std::move(result_);
  }

 private:
  static std::vector<Value> first_inputs(const Dataset& data) {
    return data.size() > 0 ? data.at(0).inputs : std::vector<Value>();
  }
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
    if (!options_.cost_table.empty()) {
      std::string warning;
      table_ = CostTable::load(options_.cost_table, warning);
      if (!warning.empty()) result_.warnings.push_back(warning);
    }
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

  // Where a metric counts examples, one of them is the least that it can tell.
  void warn_of_few_examples() {
    for (const Constraint& c : options_.constraints) {
      if (c.quantity.axis != Axis::accuracy_drop || !counts(evaluator_->metric())) continue;
      const double least = 1 / static_cast<double>(evaluator_->examples());
      if (c.bound > 3 * least) continue;
      result_.warnings.push_back("one of the " + std::to_string(evaluator_->examples()) +
                                 " examples that plans are chosen by is " + std::to_string(100 * least) +
                                 " pp: they can hardly tell whether '" + to_string(c) + "' is met");
    }
  }

  // Whatever the metric is: plans that seem to meet a bound on accuracy, are faster than the chosen one, and
  // were not taken because the examples leave it open.
  void warn_of_wide_intervals(double chosen_p50) {
    for (const Constraint& c : options_.constraints) {
      if (c.quantity.axis != Axis::accuracy_drop || !c.at_most) continue;
      std::vector<double> half;
      for (size_t i : known()) {
        const Estimate drop = *candidates_->figures(i).accuracy_drop;
        if (i != 0 && drop.value <= bound_of(c) && drop.high > bound_of(c) &&
            candidates_->p50(i) < chosen_p50)
          half.push_back(drop.high - std::max(drop.value, 0.0));
      }
      if (half.empty()) continue;
      char within[32];
      std::snprintf(within, sizeof within, "%.2g%s",
                    (is_fraction(evaluator_->metric()) ? 100 : 1) * median_of(half),
                    is_fraction(evaluator_->metric()) ? " pp" : "");
      result_.warnings.push_back(std::to_string(half.size()) + " faster plans seem to meet '" + to_string(c) +
                                 "', but " + std::to_string(evaluator_->examples()) +
                                 " examples know their loss to within " + within +
                                 " only: more examples may let them through");
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
      variants_.set_ranges(options_.resume->info.ranges, options_.resume->info.means);
    } else {
      variants_.calibrate(examples_of(data_, calibration_), [this](int64_t done, int64_t total) {
        say("calibration " + std::to_string(done) + " of " + std::to_string(total));
      });
    }
    result_.frontier.info.ranges = variants_.ranges();
    result_.frontier.info.means = variants_.means();
  }

  // ---- on which kernels, and in which layouts, f32 is fastest; the default ones stay a candidate
  void pick_wishes() {
    const std::vector<Value> x = data_.at(calibration_.at(0)).inputs;
    CostTable* table = table_ ? &*table_ : nullptr;
    const auto progress = [this](const std::string& stage) { say(stage); };
    Wishes wishes;
    wishes.kernels = choose_kernels(
        variants_, x, table, [this] { return over(kKernelsEnd); }, progress);
    adopt(wishes, "all products in f32, on the kernels that are fastest here");
    wishes = variants_.wishes();
    wishes.layouts = choose_node_layouts(
        variants_, x, table, [this] { return over(kLayoutsEnd); }, progress);
    adopt(wishes, "all products in f32, in the layouts that are fastest here");
  }

  // What single steps seem to save the whole must save, too.
  void adopt(const Wishes& wishes, const std::string& provenance) {
    const Wishes before = variants_.wishes();
    if (wishes == before) return;
    variants_.set_wishes(wishes);
    const size_t base = candidates_->add(Rungs(products(), Precision::f32), {}, provenance);
    for (int t = 0; t < kTurns; ++t) candidates_->turn({base_, base}, kLeastTurn);
    if (candidates_->ratio(base, base_).value < 0.99) {
      base_ = base;
    } else {
      variants_.set_wishes(before);
    }
  }

  // The plan with all products on one rung, where they can.
  Rungs uniform(Precision r) const {
    Rungs plan(products(), Precision::f32);
    for (size_t i = 0; i < products(); ++i) {
      if (variants_.can(i, r)) plan[i] = r;
    }
    return plan;
  }

  void save_costs() {
    if (!table_) return;
    try {
      table_->save(options_.cost_table);
    } catch (const Error& e) {
      result_.warnings.push_back("the cost table was not written: " + std::string(e.what()));
      table_.reset();
    }
  }

  // ---- what products cost, and what noise they add
  void learn() {
    std::vector<std::string> names;
    for (const auto& p : variants_.flow().products) names.push_back(p.name);
    std::deque<Session> apart;  // of what the example takes of a model with branches
    const auto to_profile = [&](const Rungs& plan, size_t candidate) {
      if (!variants_.branches()) return (*candidates_)[candidate].session.get();
      apart.push_back(variants_.cost_session(plan));
      return &apart.back();
    };
    std::vector<RungSession> sessions{{Precision::f32, to_profile(Rungs(products(), Precision::f32), base_)}};
    for (Precision r : rungs_) {
      const size_t c = candidates_->add(uniform(r), {}, "all that can in " + std::string(name(r)));
      sessions.push_back({r, to_profile(uniform(r), c)});
    }
    const std::vector<Value> x = data_.at(calibration_.at(0)).inputs;
    KnownCosts known(variants_, table_ ? &*table_ : nullptr);
    NodeCosts costs = known.measure(names, sessions, x, [this](int done, int total) {
      say("profile " + std::to_string(done) + " of " + std::to_string(total));
    });
    result_.costs_known = known.known();
    result_.costs_measured = known.measured();
    save_costs();
    std::vector<std::vector<Value>> examples;
    for (size_t i = 0; i < std::min(kNoiseExamples, calibration_.size()); ++i)
      examples.push_back(data_.at(calibration_[i]).inputs);
    auto noise = measure_noise(
        variants_, costs.rungs, examples, [this] { return over(kNoiseEnds); },
        [this](size_t done, size_t total) {
          say("noise of product " + std::to_string(done) + " of " + std::to_string(total));
        });
    proposals_.emplace(variants_, std::move(costs), std::move(noise),
                       ConversionCosts(variants_.options(), table_ ? &*table_ : nullptr));
    save_costs();
  }

  // ---- plans worth measuring
  void propose() {
    say("plans");
    predict_all();
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
    teach();
    // The fastest first: if time runs out, they are what the search is for.
    std::sort(all.begin(), all.end(),
              [&](size_t a, size_t b) { return candidates_->p50(a) < candidates_->p50(b); });
    for (size_t k = 0; k < all.size(); ++k) {
      if (over(kVerifyEnds) && k >= 3) break;
      say("accuracy of plan " + std::to_string(k + 1) + " of " + std::to_string(all.size()));
      evaluate(all[k]);
    }
    teach();
    publish();
  }

  void predict_all() {
    for (size_t i = 0; i < candidates_->size(); ++i) {
      if (explains(i) || i == base_)
        (*candidates_)[i].predicted = proposals_->predict((*candidates_)[i].rungs);
    }
  }
  // Plans whose times the model of costs speaks of: with the wishes that it has seen.
  bool explains(size_t i) const {
    return i != base_ && (*candidates_)[i].wishes == variants_.wishes() && candidates_->timed(i);
  }

  // What was measured of whole plans goes back into the models of costs and of noise.
  void teach() {
    const auto begin = used();
    std::vector<Proposals::Observation> seen;
    taught_.clear();
    for (size_t i = 0; i < candidates_->size(); ++i) {
      if (!explains(i)) continue;
      const Estimate ratio = candidates_->ratio(i, base_);
      Proposals::Observation o{(*candidates_)[i].rungs, ratio.value, 0.02, std::nullopt};
      o.error = std::max(0.015, (ratio.high - ratio.low) / 4 / ratio.value);
      if ((*candidates_)[i].quality) o.noise = (*candidates_)[i].quality->noise;
      seen.push_back(std::move(o));
      taught_.push_back(i);
    }
    proposals_->learn(seen);
    proposals_->calibrate(candidates_->p50(base_));
    predict_all();
    teaching_ = used() - begin;
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
      return c.at_most ? e->high <= bound_of(c) : e->low >= bound_of(c);
    });
  }
  double bound_of(const Constraint& c) const {
    return c.relative ? c.bound * std::fabs(evaluator_->baseline().value.value) : c.bound;
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
      std::set<size_t> who{0, base_, best, *i};
      for (int t = 0; t < kTurns; ++t)
        candidates_->turn({who.begin(), who.end()}, turn_seconds(who.size() * 4));
      evaluate(*i);
      if (teaching_ < 0.01 || options_.constraints.empty()) teach();
      publish();
    }
    teach();
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
    std::vector<TimeAndNoise> measured{{1, 0}};
    std::vector<Rungs> plans{Rungs(products(), Precision::f32)};
    for (size_t i : taught_) {
      const Candidate& c = (*candidates_)[i];
      measured.push_back(
          {candidates_->ratio(i, base_).value, c.quality ? c.quality->noise : c.predicted.noise});
      plans.push_back(c.rungs);
    }
    return most_promising(*proposals_, candidates_->p50(base_), measured, plans);
  }

  // ---- the contenders once more, side by side with f32
  void settle() {
    std::vector<size_t> order = known();
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const bool fa = feasible(a), fb = feasible(b);
      return fa != fb ? fa : candidates_->p50(a) < candidates_->p50(b);
    });
    // The best single rung is among them: what is returned must not be slower.
    const auto single = std::find_if(order.begin(), order.end(), [&](size_t i) { return is_uniform(i); });
    const std::optional<size_t> rung = single == order.end() ? std::nullopt : std::optional(*single);
    if (order.size() > 4) order.resize(4);
    for (const std::optional<size_t> i : {std::optional<size_t>(0), std::optional(base_), rung}) {
      if (i && std::find(order.begin(), order.end(), *i) == order.end()) order.push_back(*i);
    }
    const double seconds = turn_seconds(order.size() * 2);
    for (int t = 0; t < 2 * kTurns && !over(kFinalEnds); ++t) {
      say("the best once more, turn " + std::to_string(t + 1));
      candidates_->turn(order, seconds);
    }
    publish();
  }

  bool is_uniform(size_t i) const {
    return std::any_of(rungs_.begin(), rungs_.end(),
                       [&](Precision r) { return (*candidates_)[i].rungs == uniform(r); });
  }

  // As a point, with what is predicted of its loss.
  Point point(size_t i) const {
    Point p = candidates_->point(i, proposals_ ? &*proposals_ : nullptr);
    if (!proposals_ || i == 0) return p;
    const double loss = losses_.loss((*candidates_)[i].predicted.noise);
    p.predicted.accuracy_drop = Estimate::exactly(loss);
    return p;
  }

  void publish() {
    fit_losses();
    Frontier& f = result_.frontier;
    f.points.clear();
    for (size_t i = 0; i < candidates_->size(); ++i) {
      if (candidates_->timed(i)) f.points.push_back(point(i));
    }
    for (const Point& p : with_streams_) f.points.push_back(p);
    if (options_.resume) f.merge(*options_.resume);
    f.update_states();
    result_.measured_runs = candidates_->all_samples();
    if (options_.found) options_.found(f);
  }

  // ---- several requests at a time, and several examples in one
  void try_grid() {
    std::set<size_t> plans{0, fastest_feasible()};
    for (size_t i : known()) {
      if (candidates_->p50(i) < 1.2 * candidates_->p50(fastest_feasible()) && plans.size() < 4)
        plans.insert(i);
    }
    const std::vector<Value> x = data_.at(calibration_.at(0)).inputs;
    if (over(kGridEnds)) return;
    GridOptions o = grid_options(options_, variants_, *(*candidates_)[0].session, x, result_.warnings);
    size_t left = plans.size();
    // The fastest last in the set's order may matter most: each gets its share of the time.
    for (size_t i : plans) {
      if (over(kGridEnds)) break;
      say("batches and streams of " + (*candidates_)[i].id);
      o.seconds_in_all =
          std::max(0.0, kGridEnds - used()) * options_.budget_seconds / static_cast<double>(left--);
      o.seconds = std::clamp(20 * candidates_->p50(i), 0.02, o.seconds_in_all / 12);
      const GridResult r = search_grid(
          [&](int threads) {
            return variants_.session((*candidates_)[i].rungs, threads, &(*candidates_)[i].wishes);
          },
          x, o, [this] { return over(kGridEnds); });
      result_.grid_points += static_cast<int64_t>(r.points);
      result_.grid_measured += static_cast<int64_t>(r.measured.size());
      for (const GridPoint& g : r.measured) add_operating_point(i, g);
    }
    publish();
  }

  void add_operating_point(size_t i, const GridPoint& g) {
    if (g.at == OperatingPoint{1, 1, variants_.options().threads}) return;  // the plan itself
    with_streams_.push_back(at_operating_point(point(i), g));
  }

  // ---- what it all came to
  void report() {
    publish();
    result_.selection = result_.frontier.select(options_.constraints, options_.objective);
    rate_predictions();
    const Point& chosen = result_.frontier.points[result_.selection.point];
    const auto& latency = chosen.figure({Axis::latency, Statistic::p50});
    warn_of_wide_intervals(latency ? latency->value : candidates_->p50(0));
    if (report_.empty()) return;
    const Evaluator unseen(data_, report_, evaluator_->metric(), *(*candidates_)[0].session,
                           [this] { return over(kReportEnds); });
    const auto n = unseen.examples();
    result_.report.push_back({"f32", unseen.baseline().value, Estimate::exactly(0), n});
    for (size_t i = 1; i < candidates_->size(); ++i) {
      const std::string& id = (*candidates_)[i].id;
      if (chosen.id != id && chosen.id.rfind(id + "x", 0) != 0) continue;
      say("the chosen plan on unseen examples");
      const Evaluator::Result r = unseen.evaluate(*(*candidates_)[i].session);
      result_.report.push_back({chosen.id, r.accuracy.value, r.accuracy.drop, n});
    }
  }

  // Losses and noises of the plans that both are known of.
  std::vector<LossSample> loss_samples(std::vector<double>* predicted_noise) const {
    std::vector<LossSample> out;
    for (size_t k = 0; k < taught_.size(); ++k) {
      const Candidate& c = (*candidates_)[taught_[k]];
      if (!c.quality || !(c.quality->noise > 0)) continue;
      const Estimate& drop = c.quality->accuracy.drop;
      out.push_back({c.quality->noise, drop.value, (drop.high - drop.low) / 4});
      if (predicted_noise) {
        const auto held_out = proposals_->check(k).noise;
        predicted_noise->push_back(held_out.value_or(c.predicted.noise));
      }
    }
    return out;
  }
  void fit_losses() { losses_ = LossModel::fit(loss_samples(nullptr)); }

  void rate_predictions() {
    if (!proposals_ || taught_.size() < 4) return;
    std::vector<double> residuals, before, predicted, noise;
    for (size_t k = 0; k < taught_.size(); ++k) {
      const double measured = candidates_->ratio(taught_[k], base_).value;
      const Proposals::Check check = proposals_->check(k);
      residuals.push_back(std::fabs(check.ratio / measured - 1));
      before.push_back(std::fabs(check.ratio_before / measured - 1));
    }
    result_.latency_residual = median_of(residuals);
    result_.additive_residual = median_of(before);
    const std::vector<LossSample> samples = loss_samples(&predicted);
    for (const LossSample& s : samples) {
      noise.push_back(s.noise);
      result_.losses_resolved += std::fabs(s.loss) > 2 * s.error;
    }
    result_.losses = static_cast<int64_t>(samples.size());
    if (samples.size() < 4) return;
    const double r = rank_correlation(predicted, noise);
    if (!std::isnan(r)) result_.noise_correlation = r;
    result_.accuracy_correlation = held_out_correlation(samples, predicted);
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
  std::optional<CostTable> table_;
  size_t base_ = 0;             // f32 on the kernels that were chosen: what ratios of times refer to
  std::vector<size_t> taught_;  // candidates, as the proposals were told of them
  double teaching_ = 0;         // share of the budget that it took
  LossModel losses_;
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

}  // namespace skyline
