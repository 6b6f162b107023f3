#include "engine/search/candidates.h"

#include <algorithm>
#include <cstdio>

namespace skyline {
namespace {

std::string text(const char* format, double a, double b) {
  char out[128];
  std::snprintf(out, sizeof out, format, a, b);
  return out;
}

// What it would bring, and cost, to have a product of the plan on another rung.
std::string reason_of(const Proposals& p, size_t product, Precision rung, double plan_noise) {
  const double f32 = p.seconds(product, Precision::f32), here = p.seconds(product, rung);
  const double noise = p.noise(product, rung);
  if (rung != Precision::f32) {
    const double share = plan_noise > 0 ? 100 * noise / plan_noise : 0;
    if (here < f32) return text("saves %.3g us, adds %.2g %% of the plan's noise", 1e6 * (f32 - here), share);
    return text("takes %.3g us more, but its neighbours need no conversion; adds %.2g %% of the plan's noise",
                1e6 * (here - f32), share);
  }
  size_t best = 0;
  double most = 0;
  for (size_t r = 0; r < p.rungs().size(); ++r) {
    const double saved = f32 - p.seconds(product, p.rungs()[r]);
    if (p.rungs()[r] == Precision::f32 || !(saved > most)) continue;
    most = saved;
    best = r;
  }
  if (most <= 0) return "stays f32: no other rung is faster";
  const double would = p.noise(product, p.rungs()[best]);
  return "stays f32: " + std::string(name(p.rungs()[best])) + " would save " +
         (plan_noise > 0 ? text("%.3g us for %.3g times the plan's noise", 1e6 * most, would / plan_noise)
                         : text("%.3g us for a noise of %.2g", 1e6 * most, would));
}

std::string wish_for(const std::map<std::string, std::string>& wishes, const std::string& node) {
  const auto it = wishes.find(node);
  return it == wishes.end() ? "" : it->second;
}

}  // namespace

bool Candidates::has(const std::vector<Precision>& rungs) const {
  return std::any_of(all_.begin(), all_.end(),
                     [&](const auto& c) { return c->rungs == rungs && c->wishes == variants_.wishes(); });
}

size_t Candidates::add(const std::vector<Precision>& rungs, const Prediction& predicted,
                       const std::string& provenance) {
  for (size_t i = 0; i < all_.size(); ++i) {
    if (all_[i]->rungs == rungs && all_[i]->wishes == variants_.wishes()) return i;
  }
  auto c = std::make_unique<Candidate>();
  c->id = all_.empty() ? "f32" : "p" + std::to_string(all_.size());
  c->provenance = provenance;
  c->rungs = rungs;
  c->wishes = variants_.wishes();
  c->predicted = predicted;
  c->session = std::make_unique<Session>(variants_.session(rungs));
  c->context = std::make_unique<Context>(*c->session, inputs_);
  const Session::MemoryUse use = c->session->memory_use(inputs_);
  c->memory = use.arena + use.workspace + use.constants;
  Context* context = c->context.get();
  c->runner = race_.add([context] { context->run(); });
  all_.push_back(std::move(c));
  return all_.size() - 1;
}

void Candidates::turn(const std::vector<size_t>& who, double seconds) {
  std::vector<size_t> runners;
  runners.reserve(who.size());
  for (size_t i : who) runners.push_back(all_[i]->runner);
  race_.turn(runners, seconds);
}

int64_t Candidates::all_samples() const {
  int64_t n = 0;
  for (size_t i = 0; i < all_.size(); ++i) n += samples(i);
  return n;
}

size_t Candidates::evaluated() const {
  return static_cast<size_t>(
      std::count_if(all_.begin() + 1, all_.end(), [](const auto& c) { return c->quality.has_value(); }));
}

Figures Candidates::figures(size_t i) const {
  const Candidate& c = *all_[i];
  Figures f;
  if (timed(i)) {
    for (int s = 0; s < kStatistics; ++s) {
      const Quantity q{Axis::latency, static_cast<Statistic>(s)};
      f.get(q) = race_.latency(c.runner, q.statistic);
    }
    const Estimate mean = *f.get({Axis::latency, Statistic::mean});
    const double low = std::max(mean.low, 1e-12);
    f.throughput = Estimate{1 / mean.value, 1 / std::max(mean.high, 1e-12), 1 / low};
  }
  if (c.quality) {
    f.accuracy = c.quality->accuracy.value;
    f.accuracy_drop = i == 0 ? c.quality->accuracy.drop : drop_among(c.quality->accuracy.drop, evaluated());
  }
  f.memory = Estimate::exactly(static_cast<double>(c.memory));
  return f;
}

Point Candidates::point(size_t i, const Proposals* proposals) const {
  const Candidate& c = *all_[i];
  Point p;
  p.id = c.id;
  p.precision = Precision::model;
  p.threads = variants_.options().threads;
  p.layouts = variants_.options().layouts;
  p.provenance = c.provenance;
  p.measured = figures(i);
  p.samples = samples(i);
  p.state = timed(i) && c.quality ? PointState::measured : PointState::predicted;
  const auto& products = variants_.flow().products;
  double total = 0, noise = 0;
  for (size_t n = 0; proposals && n < products.size(); ++n) {
    total += proposals->seconds(n, c.rungs[n]);
    noise += proposals->noise(n, c.rungs[n]);
  }
  if (proposals) p.predicted.get({Axis::latency, Statistic::p50}) = Estimate::exactly(c.predicted.seconds);
  for (size_t n = 0; n < products.size(); ++n) {
    NodeChoice choice;
    choice.node = products[n].name;
    choice.op = products[n].op;
    choice.rung = c.rungs[n];
    if (choice.rung == Precision::f32) {
      choice.kernel = wish_for(c.wishes.kernels, choice.node);
      choice.layout = wish_for(c.wishes.layouts, choice.node);
    }
    if (proposals) {
      choice.time_share = total > 0 ? proposals->seconds(n, c.rungs[n]) / total : 0;
      choice.noise = proposals->noise(n, c.rungs[n]);
      choice.reason = reason_of(*proposals, n, c.rungs[n], noise);
    }
    p.choices.push_back(std::move(choice));
  }
  for (const auto& [node, layout] : c.wishes.layouts) {
    if (p.choice(node)) continue;
    NodeChoice choice;
    choice.node = node;
    choice.op = variants_.op_of(node);
    choice.layout = layout;
    choice.reason = layout + ": measured to be faster than what the layout model says";
    p.choices.push_back(std::move(choice));
  }
  return p;
}

}  // namespace skyline
