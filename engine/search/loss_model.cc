#include "engine/search/loss_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "skyline/data.h"

namespace skyline {

double LossModel::loss(double noise) const {
  return scale * std::pow(std::max(noise, 0.0), power);
}

LossModel LossModel::fit(std::span<const LossSample> samples) {
  LossModel best;
  double least = std::numeric_limits<double>::infinity(), floor = 0;
  // Errors that are said to be 0 are not: losses come in steps of an example.
  for (const LossSample& s : samples) floor = std::max(floor, std::fabs(s.loss));
  for (const double power : {0.5, 1.0}) {
    double xy = 0, xx = 0, unexplained = 0;
    const auto weight = [&](const LossSample& s) {
      const double e = std::max({s.error, 1e-3 * floor, 1e-12});
      return 1 / (e * e);
    };
    for (const LossSample& s : samples) {
      const double x = std::pow(s.noise, power);
      xy += weight(s) * x * s.loss;
      xx += weight(s) * x * x;
    }
    const LossModel m{xx > 0 ? xy / xx : 0, power};
    for (const LossSample& s : samples) {
      const double d = s.loss - m.loss(s.noise);
      unexplained += weight(s) * d * d;
    }
    if (unexplained >= least) continue;
    least = unexplained;
    best = m;
  }
  return best;
}

std::optional<double> held_out_correlation(std::span<const LossSample> samples,
                                           std::span<const double> predicted_noise) {
  if (samples.size() < 4) return std::nullopt;
  std::vector<double> predicted, measured;
  for (size_t i = 0; i < samples.size(); ++i) {
    std::vector<LossSample> others(samples.begin(), samples.end());
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    predicted.push_back(LossModel::fit(others).loss(predicted_noise[i]));
    measured.push_back(samples[i].loss);
  }
  const double r = rank_correlation(predicted, measured);
  return std::isnan(r) ? std::nullopt : std::optional(r);
}

}  // namespace skyline
