#pragma once
// What noise at the outputs costs in the user's metric.
#include <optional>
#include <span>
#include <vector>

namespace skyline {

struct LossSample {
  double noise = 0;            // share of the outputs' power
  double loss = 0, error = 0;  // in units of the metric, and its standard deviation
};

// loss = scale * noise^power, through the origin: of metrics that count answers which change sides the loss
// grows with the deviation (power 1/2) while few do, of smooth ones with its square (power 1).
struct LossModel {
  double scale = 0, power = 1;
  double loss(double noise) const;
  // Weighted by the samples' errors; the power that explains more. Without samples 0 everywhere.
  static LossModel fit(std::span<const LossSample> samples);
};

// Spearman's correlation between losses and those predicted from all other samples, each by a model fitted
// without it (predicted_noise: of each sample, likewise). Absent with fewer than four samples or if all
// losses are the same.
std::optional<double> held_out_correlation(std::span<const LossSample> samples,
                                           std::span<const double> predicted_noise);

}  // namespace skyline
