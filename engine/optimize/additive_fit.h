#pragma once
// Sums of parts whose sizes are roughly known, corrected by whole sums that were measured.
#include <cstddef>
#include <utility>
#include <vector>

namespace skyline {

// Bayes' linear regression. Each part has a size that is known beforehand up to a spread (a standard
// deviation), all of them independent; what is observed are sums of some of them. An observation moves the
// parts it holds in proportion to their spreads' squares, so that few observations of many parts do no harm.
class AdditiveFit {
 public:
  using Terms = std::vector<std::pair<size_t, double>>;  // part, how often

  // Returns the part's index.
  size_t add_part(double size, double spread);
  // `value` > 0, `error` its standard deviation as a share of the value.
  void observe(Terms terms, double value, double error);
  // Takes the observations into account; until then predictions are those known beforehand.
  void fit();

  size_t observations() const { return seen_.size(); }
  double part(size_t i) const { return fitted_[i]; }
  double prior(size_t i) const { return prior_[i]; }
  double predict(const Terms& terms) const { return sum(fitted_, terms); }
  // Standard deviation of what is predicted, after fit().
  double spread(const Terms& terms) const;
  double predict_before(const Terms& terms) const { return sum(prior_, terms); }
  // What all other observations say of the i-th one; after fit().
  double held_out(size_t i) const;

 private:
  struct Seen {
    Terms terms;
    double value, error;
  };
  static double sum(const std::vector<double>& parts, const Terms& terms);
  std::vector<double> prior_, spread_, fitted_;
  std::vector<Seen> seen_;
  // Of observations divided by their values: inverse of their covariance, and that times what is unexplained.
  std::vector<std::vector<double>> inverse_, rows_;
  std::vector<double> weighted_;
};

}  // namespace skyline
