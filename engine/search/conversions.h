#pragma once
// What it costs to go from floats to 8 bits and back at an edge between products.
#include <vector>

#include "engine/optimize/cost_table.h"
#include "skyline/session.h"

namespace skyline {

class ConversionCosts {
 public:
  // Measures QuantizeLinear and DequantizeLinear at several sizes, from within L1 to beyond L2, unless the
  // table (null: none) knows them; what is new goes into it.
  explicit ConversionCosts(const SessionOptions& options, CostTable* table = nullptr);

  // Seconds, by bytes of f32: between the sizes that were measured on the straight line, outside of them in
  // proportion.
  double quantize(double bytes) const { return at(quantize_, bytes); }
  double dequantize(double bytes) const { return at(dequantize_, bytes); }

 private:
  static double at(const std::vector<double>& seconds, double bytes);

  std::vector<double> quantize_, dequantize_;  // seconds by size
};

}  // namespace skyline
