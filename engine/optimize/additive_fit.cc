#include "engine/optimize/additive_fit.h"

#include <algorithm>
#include <cmath>

#include "skyline/status.h"

namespace skyline {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Of a symmetric positive definite matrix: by Cholesky's factor and its columns.
Matrix inverse_of(Matrix a) {
  const size_t n = a.size();
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) a[j][j] -= a[j][k] * a[j][k];
    a[j][j] = std::sqrt(std::max(a[j][j], 1e-30));
    for (size_t i = j + 1; i < n; ++i) {
      for (size_t k = 0; k < j; ++k) a[i][j] -= a[i][k] * a[j][k];
      a[i][j] /= a[j][j];
    }
  }
  Matrix out(n, std::vector<double>(n, 0));
  for (size_t c = 0; c < n; ++c) {
    std::vector<double> x(n, 0);
    x[c] = 1;
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = 0; k < i; ++k) x[i] -= a[i][k] * x[k];
      x[i] /= a[i][i];
    }
    for (size_t i = n; i-- > 0;) {
      for (size_t k = i + 1; k < n; ++k) x[i] -= a[k][i] * x[k];
      x[i] /= a[i][i];
    }
    for (size_t i = 0; i < n; ++i) out[i][c] = x[i];
  }
  return out;
}

}  // namespace

size_t AdditiveFit::add_part(double size, double spread) {
  prior_.push_back(size);
  fitted_.push_back(size);
  spread_.push_back(spread);
  return prior_.size() - 1;
}

void AdditiveFit::observe(Terms terms, double value, double error) {
  if (!(value > 0) || !(error > 0)) throw Error(Code::internal, "a fit takes positive values and errors");
  seen_.push_back({std::move(terms), value, error});
}

double AdditiveFit::sum(const std::vector<double>& parts, const Terms& terms) {
  double s = 0;
  for (const auto& [part, times] : terms) s += parts[part] * times;
  return s;
}

void AdditiveFit::fit() {
  const size_t n = seen_.size();
  fitted_ = prior_;
  // Rows over all parts, in units of what was seen.
  Matrix rows(n, std::vector<double>(prior_.size(), 0));
  std::vector<double> unexplained(n);
  for (size_t i = 0; i < n; ++i) {
    for (const auto& [part, times] : seen_[i].terms) rows[i][part] += times / seen_[i].value;
    unexplained[i] = 1 - sum(prior_, seen_[i].terms) / seen_[i].value;
  }
  Matrix covariance(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double c = i == j ? seen_[i].error * seen_[i].error : 0;
      for (size_t p = 0; p < prior_.size(); ++p) c += rows[i][p] * spread_[p] * spread_[p] * rows[j][p];
      covariance[i][j] = covariance[j][i] = c;
    }
  }
  inverse_ = inverse_of(std::move(covariance));
  weighted_.assign(n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) weighted_[i] += inverse_[i][j] * unexplained[j];
  }
  for (size_t p = 0; p < prior_.size(); ++p) {
    for (size_t i = 0; i < n; ++i) fitted_[p] += spread_[p] * spread_[p] * rows[i][p] * weighted_[i];
  }
  rows_ = std::move(rows);
}

double AdditiveFit::spread(const Terms& terms) const {
  double variance = 0;
  for (const auto& [part, times] : terms) variance += times * times * spread_[part] * spread_[part];
  std::vector<double> shared(rows_.size(), 0);
  for (size_t i = 0; i < rows_.size(); ++i) {
    for (const auto& [part, times] : terms)
      shared[i] += times * spread_[part] * spread_[part] * rows_[i][part];
  }
  for (size_t i = 0; i < rows_.size(); ++i) {
    for (size_t j = 0; j < rows_.size(); ++j) variance -= shared[i] * inverse_[i][j] * shared[j];
  }
  return std::sqrt(std::max(variance, 0.0));
}

double AdditiveFit::held_out(size_t i) const {
  return seen_[i].value * (1 - weighted_[i] / inverse_[i][i]);
}

}  // namespace skyline
