#pragma once
// A model with each product on a rung of its own, made runnable.
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/optimize/flow.h"
#include "skyline/model.h"
#include "skyline/optimize.h"
#include "skyline/quant.h"
#include "skyline/session.h"

namespace skyline {

using Ranges = std::map<std::string, std::pair<double, double>>;

class Variants {
 public:
  // The model as the quantizer prepares it. Error{unsupported} without products.
  Variants(const Model& model, SessionOptions options);

  const Flow& flow() const { return flow_; }
  const SessionOptions& options() const { return options_; }
  // Rungs besides f32 that the product can have here, of those given.
  bool can(size_t product, Precision rung) const;

  // Must come before a variant with int8: ranges of all values that int8 rounds.
  void calibrate(const quant::Examples& examples, const std::function<void(int64_t, int64_t)>& progress);
  void set_ranges(const Ranges& ranges) { quantizer_.emplace(model_, ranges); }
  Ranges ranges() const { return quantizer_ ? quantizer_->ranges() : Ranges(); }

  // By product of flow(). threads: 0 for those of options().
  PlanModel model(const std::vector<Precision>& rungs, int threads = 0) const;
  Session session(const std::vector<Precision>& rungs, int threads = 0) const;

 private:
  Graph model_;
  Graph prepared_;  // as the quantizer sees it
  Flow flow_;
  SessionOptions options_;
  std::optional<quant::Quantizer> quantizer_;
  std::vector<bool> int8_;  // by product: the quantizer takes it
};

}  // namespace skyline
