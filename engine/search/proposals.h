#pragma once
// Which plans are worth measuring: the frontier that costs and noises predict.
#include <vector>

#include "engine/optimize/node_costs.h"
#include "engine/optimize/trade_off.h"
#include "engine/search/variants.h"

namespace skyline {

// Seconds per byte of f32 that QuantizeLinear and DequantizeLinear take here.
struct ConversionCosts {
  double quantize = 0, dequantize = 0;
};
ConversionCosts measure_conversions(const SessionOptions& options);

struct Prediction {
  double seconds = 0, noise = 0;
};

// Costs and noises of every product on every rung, and what changing the rung between neighbours costs.
class Proposals {
 public:
  Proposals(const Variants& variants, NodeCosts costs, std::vector<std::vector<double>> noise,
            const ConversionCosts& conversions);

  const std::vector<Precision>& rungs() const { return costs_.rungs; }
  double seconds(size_t product, Precision rung) const { return costs_.seconds[product][index(rung)]; }
  double noise(size_t product, Precision rung) const { return noise_[product][index(rung)]; }

  Prediction predict(const std::vector<Precision>& plan) const;
  // By increasing noise, f32 first. exact: nothing is missing.
  struct Plan {
    std::vector<Precision> rungs;
    Prediction predicted;
  };
  const std::vector<Plan>& frontier() const { return frontier_; }
  bool exact() const { return exact_; }
  // What was measured of f32 whole, to scale predictions with.
  void calibrate(double f32_seconds) { scale_ = f32_seconds / predict_raw(f32_plan()).seconds; }

 private:
  size_t index(Precision rung) const;
  std::vector<Precision> f32_plan() const {
    return std::vector<Precision>(costs_.nodes.size(), Precision::f32);
  }
  Prediction predict_raw(const std::vector<Precision>& plan) const;
  void build(const Variants& variants, const ConversionCosts& conversions);

  NodeCosts costs_;
  std::vector<std::vector<double>> noise_;
  std::vector<std::vector<size_t>> options_;  // by product: indices of rungs that it can have
  TradeOff problem_;
  std::vector<Plan> frontier_;
  bool exact_ = true;
  double scale_ = 1;
};

}  // namespace skyline
