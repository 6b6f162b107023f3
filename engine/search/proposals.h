#pragma once
// Which plans are worth measuring: the frontier that costs and noises predict, and what plans that were
// measured say about both.
#include <optional>
#include <vector>

#include "engine/optimize/additive_fit.h"
#include "engine/optimize/node_costs.h"
#include "engine/optimize/trade_off.h"
#include "engine/search/conversions.h"
#include "engine/search/variants.h"

namespace skyline {

struct Prediction {
  double seconds = 0, noise = 0;
};

// Costs and noises of every product on every rung, and what changing the rung between neighbours costs.
//
// The time of a plan is a sum of parts: products on their rungs, a share for each rung as a whole (what
// profiles of one rung see may differ from what products take among others), conversions at edges by kind,
// and the rest. The noise of a plan is a sum over products. Both are known beforehand up to a spread, and
// corrected by plans that were measured (AdditiveFit).
class Proposals {
 public:
  Proposals(const Variants& variants, NodeCosts costs, std::vector<std::vector<double>> noise,
            const ConversionCosts& conversions);

  const std::vector<Precision>& rungs() const { return costs_.rungs; }
  double seconds(size_t product, Precision rung) const;
  double noise(size_t product, Precision rung) const;

  Prediction predict(const std::vector<Precision>& plan) const;
  // As good as it may be: so many standard deviations better in both.
  Prediction optimistic(const std::vector<Precision>& plan, double deviations = 1) const;
  // Rungs that the product can have, f32 included.
  std::vector<Precision> rungs_of(size_t product) const;
  // By increasing noise, f32 first. exact: nothing is missing.
  struct Plan {
    std::vector<Precision> rungs;
    Prediction predicted;
  };
  const std::vector<Plan>& frontier() const { return frontier_; }
  bool exact() const { return exact_; }

  // A plan that was measured: its time as a share of f32's (error: as a share of that), and its noise where
  // it is known. f32 itself need not be told.
  struct Observation {
    std::vector<Precision> plan;
    double ratio = 1, error = 0.02;
    std::optional<double> noise;
  };
  // All that is known now; computes the frontier again.
  void learn(const std::vector<Observation>& observations);
  // What was measured of f32 whole, to scale predictions with.
  void calibrate(double f32_seconds) { scale_ = f32_seconds / raw_f32_; }

  // Of the i-th observation of learn(): time as a share of f32's and noise, as predicted without it; and the
  // share by products and conversions alone. The noise is absent where it was not observed.
  struct Check {
    double ratio = 0, ratio_before = 0;
    std::optional<double> noise;
  };
  Check check(size_t i) const { return checks_[i]; }

 private:
  enum Kind : size_t { kDequantize, kQuantize, kWithin, kNarrow, kKinds };
  struct EdgeCost {
    size_t a, b;
    std::vector<std::pair<Kind, double>> of;  // by (option of a, option of b)
  };
  size_t index(Precision rung) const;
  size_t option_of(size_t product, Precision rung) const;  // npos where the product cannot
  AdditiveFit::Terms time_terms(const std::vector<size_t>& options) const;
  AdditiveFit::Terms noise_terms(const std::vector<size_t>& options) const;
  std::optional<std::vector<size_t>> options_of(const std::vector<Precision>& plan) const;
  void collect(const Variants& variants, const ConversionCosts& conversions);
  void make_fits();
  void solve();
  double time_of(size_t product, size_t option) const;
  double noise_of(size_t product, size_t option) const;

  NodeCosts costs_;
  std::vector<std::vector<double>> noise_;
  std::vector<std::vector<size_t>> options_;  // by product: indices of rungs that it can have
  std::vector<std::vector<double>> base_;     // by product and option: seconds, quantizing inputs included
  std::vector<EdgeCost> edges_;
  AdditiveFit time_, noises_;
  std::vector<std::vector<size_t>> time_part_, noise_part_;  // by product and option
  std::vector<size_t> rung_time_, rung_noise_;               // by rung
  size_t kind_part_[kKinds] = {}, rest_part_ = 0;
  std::vector<Plan> frontier_;
  std::vector<Check> checks_;
  bool exact_ = true;
  double scale_ = 1, raw_f32_ = 1;
};

}  // namespace skyline
