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
using Means = std::map<std::string, std::vector<double>>;

// How nodes are to be computed besides their rungs, by name, where it is not the default.
struct Wishes {
  std::map<std::string, std::string> kernels;  // SessionOptions::node_kernels, of products while in f32
  std::map<std::string, std::string> layouts;  // SessionOptions::node_layouts, of products while in f32
  friend bool operator==(const Wishes&, const Wishes&) = default;
};

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

  // Must come before a variant with int8: ranges of all values that int8 rounds, and means.
  void calibrate(const quant::Examples& examples, const std::function<void(int64_t, int64_t)>& progress);
  void set_ranges(const Ranges& ranges, const Means& means = {}) {
    quantizer_.emplace(model_, ranges, means);
  }
  Ranges ranges() const { return quantizer_ ? quantizer_->ranges() : Ranges(); }
  Means means() const { return quantizer_ ? quantizer_->means() : Means(); }

  // For all sessions from now on.
  void set_wishes(Wishes wishes) { wishes_ = std::move(wishes); }
  const Wishes& wishes() const { return wishes_; }

  // By product of flow(). threads: 0 for those of options(); wishes: null for those that were set.
  PlanModel model(const std::vector<Precision>& rungs, int threads = 0, const Wishes* wishes = nullptr) const;
  Session session(const std::vector<Precision>& rungs, int threads = 0, const Wishes* wishes = nullptr) const;
  // To take products' times from: runs what the example takes of the model, with every product of flow() a
  // step. The same as session() where the model has no branches; products inside of them are then in f32
  // where a rung is int8.
  bool branches() const { return branches_; }
  bool inside(size_t product) const { return inside_[product]; }  // of a branch
  Session cost_session(const std::vector<Precision>& rungs, const Wishes* wishes = nullptr) const;
  // The graph of a cost session, in f32, with the example's shapes.
  const Graph& cost_graph() const { return static_; }
  // The operator of the one node of the model, its bodies apart, that has this name; "" if none or several.
  std::string op_of(const std::string& node) const;
  // The key of a product's time in a CostTable (open dimensions as 1); and of a name that stands for several.
  std::string cost_key(size_t product, Precision rung, const std::string& kernel) const;
  std::string cost_key(const std::string& signature, Precision rung) const;

 private:
  Graph model_;
  Graph prepared_;  // as the quantizer sees it
  Graph static_;    // the same for the example: its shapes, and the branches that it takes
  std::string weights_home_;
  bool branches_ = false;  // the model has some that its example decides
  Wishes wishes_;
  Flow flow_;
  SessionOptions options_;
  std::optional<quant::Quantizer> quantizer_;
  std::vector<bool> int8_;    // by product: the quantizer takes it
  std::vector<bool> inside_;  // by product: within a branch, where the quantizer does not go
};

}  // namespace skyline
