#pragma once
// A model with each product on a rung of its own, made runnable.
#include <map>
#include <optional>
#include <span>
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
  // The model as the quantizer prepares it. The example says how large open dimensions are where costs depend
  // on it, and which branches are taken; without one, products of all branches are there, and they have no
  // costs. Error{unsupported} without products.
  Variants(const Model& model, SessionOptions options, std::span<const Value> example = {});

  const Flow& flow() const { return flow_; }
  const SessionOptions& options() const { return options_; }
  // Rungs besides f32 that the product can have here, of those given.
  bool can(size_t product, Precision rung) const;

  // Must come before a variant with int8: ranges of all values that int8 rounds.
  void calibrate(const quant::Examples& examples, const std::function<void(int64_t, int64_t)>& progress);
  void set_ranges(const Ranges& ranges) { quantizer_.emplace(model_, ranges); }
  Ranges ranges() const { return quantizer_ ? quantizer_->ranges() : Ranges(); }

  // On which kernels products run that stay in f32, by name; for all sessions from now on.
  using Kernels = std::map<std::string, std::string>;
  void set_kernels(Kernels kernels) { kernels_ = std::move(kernels); }
  const Kernels& kernels() const { return kernels_; }

  // By product of flow(). threads: 0 for those of options(); kernels: null for those that were set.
  PlanModel model(const std::vector<Precision>& rungs, int threads = 0,
                  const Kernels* kernels = nullptr) const;
  Session session(const std::vector<Precision>& rungs, int threads = 0,
                  const Kernels* kernels = nullptr) const;
  // To take products' times from: runs what the example takes of the model, with every product of flow() a
  // step. The same as session() where the model has no branches; products inside of them are then in f32
  // where a rung is int8.
  bool branches() const { return branches_; }
  bool inside(size_t product) const { return inside_[product]; }  // of a branch
  Session cost_session(const std::vector<Precision>& rungs, const Kernels* kernels = nullptr) const;
  // What a product computes, as cost tables call it (open dimensions as 1).
  std::string signature(size_t product) const;

 private:
  Graph model_;
  Graph prepared_;         // as the quantizer sees it
  Graph static_;           // the same for the example: its shapes, and the branches that it takes
  bool branches_ = false;  // the model has some that its example decides
  Kernels kernels_;
  Flow flow_;
  SessionOptions options_;
  std::optional<quant::Quantizer> quantizer_;
  std::vector<bool> int8_;    // by product: the quantizer takes it
  std::vector<bool> inside_;  // by product: within a branch, where the quantizer does not go
};

}  // namespace skyline
