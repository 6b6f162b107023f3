// Is the search worth its measurements? Ways to choose plans to measure are compared by the hypervolume of
// what they found (time as a share of f32's, decades of noise at the outputs), each with the same number of
// measured plans. All see the same figures: a plan is measured once.
//   bench_search MODEL DATA [--plans N] [--products N] [--exhaustive] [--rungs R...] [--threads N] [--json]
// --exhaustive measures every plan of the `--products` (default 8) products with most work, and gives the
// others a twentieth of that number. --grid compares the operating point (batch, streams) that the pruned
// grid chooses with the best of the whole one, for f32. Exit status: 0; 1 if a bar is missed (0.98 of
// exhaustive search; better than greedy, random and single rungs; throughput within 3 %); 2 usage; 3 a file
// cannot be used.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>

#include "bench/search/oracle.h"
#include "engine/search/grid.h"
#include "engine/search/known_costs.h"
#include "engine/search/noise.h"
#include "skyline/status.h"

namespace {

using namespace skyline;
using namespace skyline::search;
using Json = nlohmann::ordered_json;

struct Options {
  std::string model, data;
  std::vector<std::string> rungs;
  int threads = 1, plans = 16;
  size_t products = 0;
  bool exhaustive = false, grid = false, json = false;
  uint64_t seed = 1;
};

struct Found {
  std::string name;
  std::vector<Plan> plans;
  std::vector<TimeAndNoise> front;  // of those that were measured again, f32 first
  double volume = 0;
};

class Comparison {
 public:
  Comparison(const Variants& variants, Oracle& oracle, std::vector<Precision> rungs, const Options& o)
      : variants_(variants), oracle_(oracle), rungs_(std::move(rungs)), o_(o) {
    f32_ = Plan(variants.flow().products.size(), Precision::f32);
    std::vector<size_t> order(f32_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return variants.flow().products[a].flops > variants.flow().products[b].flops;
    });
    const size_t most = o.products ? o.products : o.exhaustive ? 8 : order.size();
    if (order.size() > most) order.resize(most);
    free_ = order;
  }

  void run(int budget) {
    learn();
    compare("model of costs", budget, [&](int n) { return by_model(n); });
    compare("greedy", budget, [&](int n) { return greedy(n); });
    compare("random", budget, [&](int n) { return random(n); });
    compare("one rung for all", budget, [&](int) { return singles(); });
  }
  int64_t all_plans() const {
    int64_t n = 1;
    for (size_t i : free_) n *= static_cast<int64_t>(options(i).size());
    return n;
  }
  void exhaustive() {
    std::vector<Plan> all{f32_};
    for (size_t i : free_) {
      std::vector<Plan> next;
      for (const Plan& p : all) {
        for (Precision r : options(i)) {
          next.push_back(p);
          next.back()[i] = r;
        }
      }
      all = std::move(next);
    }
    found_.push_back({"exhaustive", all, {}, 0});
    const double seconds = std::clamp(25.0 / static_cast<double>(all.size()), 0.03, 0.1);
    for (const Plan& p : all) (void)oracle_.measure(p, seconds);
  }
  // Volumes of all, up to the same least noise. Of many measurements the best ones are lucky, so what a
  // strategy found best, or close to it, is measured once more and in turns, and only that counts.
  // Whatever was measured again is known to exhaustive search too.
  std::vector<Found> finish() {
    std::vector<std::vector<Plan>> finalists;
    std::set<Plan> all;
    for (const Found& f : found_) {
      finalists.push_back(best_of(f.plans));
      all.insert(finalists.back().begin(), finalists.back().end());
    }
    oracle_.measure_again(all);
    double least = 1;
    for (const Plan& p : all) {
      const double n = oracle_.again(p).noise;
      if (n > 0) least = std::min(least, n);
    }
    for (size_t k = 0; k < found_.size(); ++k) {
      Found& f = found_[k];
      if (f.name == "exhaustive") finalists[k].assign(all.begin(), all.end());
      f.front.emplace_back();
      for (const Plan& p : finalists[k]) f.front.push_back(oracle_.again(p));
      f.volume = frontier_volume(f.front, least / 2);
    }
    return found_;
  }

 private:
  // Plans that no other of them beats clearly; all where they are few.
  std::vector<Plan> best_of(const std::vector<Plan>& plans) {
    if (plans.size() <= 50) return plans;
    constexpr double kClose = 0.92;
    std::vector<Plan> out;
    for (const Plan& p : plans) {
      const TimeAndNoise me = oracle_.measure(p);
      const bool beaten = std::any_of(plans.begin(), plans.end(), [&](const Plan& o) {
        const TimeAndNoise other = oracle_.measure(o);
        return other.ratio < kClose * me.ratio && other.noise <= me.noise;
      });
      if (!beaten) out.push_back(p);
    }
    return out;
  }

  std::vector<Precision> options(size_t product) const {
    std::vector<Precision> out{Precision::f32};
    for (Precision r : rungs_) {
      if (variants_.can(product, r)) out.push_back(r);
    }
    return out;
  }
  Plan uniform(Precision r) const {
    Plan p = f32_;
    for (size_t i : free_) {
      if (variants_.can(i, r)) p[i] = r;
    }
    return p;
  }
  void compare(const std::string& name, int budget, const std::function<std::vector<Plan>(int)>& plans) {
    found_.push_back({name, plans(budget), {}, 0});
  }

  // Costs of products and their noise alone, as the search learns them.
  void learn() {
    std::vector<std::string> names;
    for (const auto& p : variants_.flow().products) names.push_back(p.name);
    std::vector<Session> sessions;
    sessions.reserve(rungs_.size() + 1);
    sessions.push_back(variants_.cost_session(f32_));
    std::vector<RungSession> by_rung{{Precision::f32, sessions.data()}};
    for (Precision r : rungs_) {
      sessions.push_back(variants_.cost_session(uniform(r)));
      by_rung.push_back({r, &sessions.back()});
    }
    costs_ = KnownCosts(variants_, nullptr).measure(names, by_rung, oracle_.inputs()[0], {});
    const auto& x = oracle_.inputs();
    noise_ = measure_noise(variants_, costs_.rungs,
                           {x.begin(), x.begin() + std::min<std::ptrdiff_t>(4, std::ssize(x))}, {}, {});
    for (size_t i = 0; i < f32_.size(); ++i) {
      const bool is_free = std::find(free_.begin(), free_.end(), i) != free_.end();
      for (size_t r = 1; !is_free && r < costs_.rungs.size(); ++r) noise_[i][r] = INFINITY;
    }
    conversions_.emplace(variants_.options());
  }

  std::vector<Plan> by_model(int budget) {
    Proposals proposals(variants_, costs_, noise_, *conversions_);
    std::vector<Plan> plans{f32_};
    std::vector<TimeAndNoise> points{{1, 0}};
    std::vector<Proposals::Observation> seen;
    const auto take = [&](const Plan& p) {
      if (std::find(plans.begin(), plans.end(), p) != plans.end()) return;
      points.push_back(oracle_.measure(p));
      plans.push_back(p);
      seen.push_back({p, points.back().ratio, 0.02, points.back().noise});
      proposals.learn(seen);
    };
    proposals.calibrate(1);
    for (Precision r : rungs_) take(uniform(r));
    while (static_cast<int>(plans.size()) <= budget) {
      const auto next = most_promising(proposals, 1, points, plans);
      if (!next) break;
      take(*next);
    }
    plans.erase(plans.begin());
    return plans;
  }

  // One product after the other to the rung that saves most time for its noise; measured evenly on the way.
  std::vector<Plan> greedy(int budget) const {
    struct Move {
      size_t product, rung;
      double worth;
    };
    std::vector<Move> moves;
    for (size_t i : free_) {
      for (size_t r = 1; r < costs_.rungs.size(); ++r) {
        const double saved = costs_.seconds[i][0] - costs_.seconds[i][r];
        if (variants_.can(i, costs_.rungs[r]) && saved > 0 && std::isfinite(noise_[i][r]))
          moves.push_back({i, r, saved / std::max(noise_[i][r], 1e-30)});
      }
    }
    std::stable_sort(moves.begin(), moves.end(),
                     [](const Move& a, const Move& b) { return a.worth > b.worth; });
    std::vector<Plan> path;
    Plan p = f32_;
    for (const Move& m : moves) {
      p[m.product] = costs_.rungs[m.rung];
      path.push_back(p);
    }
    std::vector<Plan> out;
    for (int k = 1; k <= budget && !path.empty(); ++k) {
      const size_t at = path.size() * static_cast<size_t>(k) / static_cast<size_t>(budget);
      if (at > 0 && (out.empty() || out.back() != path[at - 1])) out.push_back(path[at - 1]);
    }
    return out;
  }

  std::vector<Plan> random(int budget) const {
    std::mt19937_64 random(o_.seed);
    std::vector<Plan> out;
    for (int k = 0; k < budget; ++k) {
      Plan p = f32_;
      for (size_t i : free_) {
        const auto all = options(i);
        p[i] = all[random() % all.size()];
      }
      out.push_back(std::move(p));
    }
    return out;
  }
  std::vector<Plan> singles() const {
    std::vector<Plan> out;
    for (Precision r : rungs_) out.push_back(uniform(r));
    return out;
  }

  const Variants& variants_;
  Oracle& oracle_;
  std::vector<Precision> rungs_;
  const Options& o_;
  Plan f32_;
  std::vector<size_t> free_;
  NodeCosts costs_;
  std::vector<std::vector<double>> noise_;
  std::optional<ConversionCosts> conversions_;
  std::vector<Found> found_;
};

// Throughput of what the pruned grid chooses, and of the best of the whole, in turns.
Json compare_grids(const Variants& variants, const std::vector<Value>& x, const Options& o) {
  const Plan f32(variants.flow().products.size(), Precision::f32);
  const auto make = [&](int threads) { return variants.session(f32, threads); };
  GridOptions g;
  g.threads = o.threads;
  g.streams = {1};
  if (o.threads > 1) g.streams.push_back(o.threads);
  if (can_batch(make(1), x)) g.batches = {1, 2, 4, 8, 16, 32, 64};
  g.seconds = 0.15;
  g.seconds_in_all = 25;
  const GridResult chosen = search_grid(make, x, g);
  g.prune = false;
  g.seconds_in_all = 60;
  const GridResult all = search_grid(make, x, g);
  const OperatingPoint a = chosen.measured.at(0).at, b = all.measured.at(0).at;
  const auto rate = [&](const OperatingPoint& p) {
    GridOptions one = g;
    one.batches = {p.batch};
    one.streams = {p.streams};
    return search_grid(make, x, one).measured.at(0).throughput.value;
  };
  std::vector<double> ratios(7);
  for (double& ratio : ratios) ratio = a == b ? 1 : rate(a) / rate(b);
  const auto point = [](const OperatingPoint& p) {
    return Json{{"batch", p.batch}, {"streams", p.streams}, {"threads", p.threads}};
  };
  return {{"chosen", point(a)},         {"best", point(b)},
          {"share", median_of(ratios)}, {"measured", chosen.measured.size()},
          {"points", all.points},       {"throughput", all.measured[0].throughput.value}};
}

Json run(const Options& o) {
  const Model model = Model::load(o.model);
  SessionOptions session;
  session.threads = o.threads;
  const Session plain(model, session);
  const Dataset data = Dataset::open(o.data, plain.inputs(), plain.outputs());
  Variants variants(model, session, data.at(0).inputs);
  if (o.grid) return {{"model", o.model}, {"grid", compare_grids(variants, data.at(0).inputs, o)}};
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < std::min<int64_t>(32, data.size()); ++i) indices.push_back(i);
  variants.calibrate(examples_of(data, indices), {});
  std::vector<Precision> rungs;
  for (const std::string& r : o.rungs) {
    const Precision p = precision_from_name(r);
    for (size_t i = 0; i < variants.flow().products.size(); ++i) {
      if (!variants.can(i, p)) continue;
      rungs.push_back(p);
      break;
    }
  }
  Oracle oracle(variants, data, 8);
  Comparison c(variants, oracle, rungs, o);
  int budget = o.plans;
  if (o.exhaustive) {
    if (c.all_plans() > 5000) throw Error(Code::limit, "more than 5000 plans: fewer --products or --rungs");
    c.exhaustive();
    budget = std::max(3, static_cast<int>(c.all_plans() / 20));
  }
  c.run(budget);
  Json found = Json::array();
  for (const Found& f : c.finish()) {
    Json front = Json::array();
    for (const TimeAndNoise& p : f.front) front.push_back({p.ratio, p.noise});
    found.push_back({{"strategy", f.name},
                     {"plans", f.plans.size()},
                     {"hypervolume", f.volume},
                     {"time and noise", front}});
  }
  return {{"model", o.model}, {"budget", budget}, {"strategies", found}};
}

// Whether the model of costs is at its bars; and the table.
bool report(const Json& r) {
  if (r.contains("grid")) {
    const Json& g = r["grid"];
    fmt::print(
        "{}: chosen batch {} x {} streams, best {} x {}: {:.3f} of its throughput; {} of {} measured\n",
        r["model"].get<std::string>(), g["chosen"]["batch"].dump(), g["chosen"]["streams"].dump(),
        g["best"]["batch"].dump(), g["best"]["streams"].dump(), g["share"].get<double>(),
        g["measured"].dump(), g["points"].dump());
    return g["share"].get<double>() >= 0.97;
  }
  double ours = 0;
  for (const Json& s : r["strategies"]) {
    if (s["strategy"] == "model of costs") ours = s["hypervolume"].get<double>();
  }
  bool good = true;
  fmt::print("{}: {} plans each\n", r["model"].get<std::string>(), r["budget"].get<int>());
  for (const Json& s : r["strategies"]) {
    const double v = s["hypervolume"].get<double>();
    fmt::print("  {:<18} {:>5} plans  hypervolume {:.4f}  ours / this {:.3f}\n",
               s["strategy"].get<std::string>(), s["plans"].get<int>(), v, v > 0 ? ours / v : 1);
    good = good && ours >= (s["strategy"] == "exhaustive" ? 0.98 : 1.0) * v;
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  o.rungs = {"bf16x3", "bf16", "f16", "int8"};
  CLI::App app("Ways to choose plans, by what they find with the same number of measurements");
  app.add_option("model", o.model)->required();
  app.add_option("data", o.data)->required();
  app.add_option("--plans", o.plans)->check(CLI::Range(2, 1000));
  app.add_option("--products", o.products);
  app.add_option("--rungs", o.rungs);
  app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024));
  app.add_option("--seed", o.seed);
  app.add_flag("--exhaustive", o.exhaustive);
  app.add_flag("--grid", o.grid);
  app.add_flag("--json", o.json);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    const Json r = run(o);
    const bool good = o.json ? true : report(r);
    if (o.json) fmt::print("{}\n", r.dump(2));
    return good ? 0 : 1;
  } catch (const skyline::Error& e) {
    fmt::print(stderr, "bench_search: {}\n", e.what());
    return 3;
  }
}
