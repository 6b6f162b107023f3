#pragma once
// Plans that are being measured, side by side.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/optimize/race.h"
#include "engine/search/evaluate.h"
#include "engine/search/proposals.h"
#include "engine/search/variants.h"
#include "skyline/frontier.h"

namespace skyline {

struct Candidate {
  std::string id, provenance;
  std::vector<Precision> rungs;
  Wishes wishes;
  Prediction predicted;
  std::unique_ptr<Session> session;
  std::unique_ptr<Context> context;
  size_t runner = 0;
  std::optional<Evaluator::Result> quality;
  int64_t memory = 0;
};

class Candidates {
 public:
  // inputs: what is timed.
  Candidates(const Variants& variants, std::vector<Value> inputs)
      : variants_(variants), inputs_(std::move(inputs)) {}

  // The index of the one with these rungs with the variants' wishes of now, made if there is none yet. The
  // first one is f32.
  size_t add(const std::vector<Precision>& rungs, const Prediction& predicted, const std::string& provenance);
  bool has(const std::vector<Precision>& rungs) const;
  size_t size() const { return all_.size(); }
  Candidate& operator[](size_t i) { return *all_[i]; }
  const Candidate& operator[](size_t i) const { return *all_[i]; }

  // Times these for a turn of about `seconds` each.
  void turn(const std::vector<size_t>& who, double seconds);
  // The time of one as a share of another's, measured in the same turns.
  Estimate ratio(size_t i, size_t base) const { return race_.ratio(all_[i]->runner, all_[base]->runner); }
  double p50(size_t i) const { return race_.latency(all_[i]->runner, Statistic::p50).value; }
  bool timed(size_t i) const { return race_.turns(all_[i]->runner) > 0; }
  // The drop is that of one among all plans whose accuracy was measured (drop_among).
  Figures figures(size_t i) const;
  size_t evaluated() const;  // but for f32
  int64_t samples(size_t i) const { return static_cast<int64_t>(race_.samples(all_[i]->runner)); }
  int64_t all_samples() const;

  // As a point of a frontier; the reasons come from the proposals, where there are any.
  Point point(size_t i, const Proposals* proposals) const;

 private:
  const Variants& variants_;
  std::vector<Value> inputs_;
  std::vector<std::unique_ptr<Candidate>> all_;
  Race race_;
};

}  // namespace skyline
