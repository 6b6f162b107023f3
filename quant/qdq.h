#pragma once
// Writes a selection into the graph as QuantizeLinear and DequantizeLinear nodes.
#include <map>
#include <optional>
#include <vector>

#include "quant/histogram.h"
#include "quant/select.h"

namespace skyline::quant {

// i8 weights with a scale per output channel and zero point 0.
struct QuantizedWeights {
  Tensor integers;  // i8, of the weights' dims
  std::vector<float> scales;
};
// least: of each scale, so that a bias in units of it stays within 32 bits; empty: none.
QuantizedWeights quantize_weights(const Tensor& w, int axis, const std::vector<double>& least = {});

// What calibration has found, by ValueId.
struct Calibrated {
  std::vector<std::optional<Scheme>> schemes;          // of every rounded value
  std::map<uint32_t, std::vector<double>> means = {};  // per channel of products' inputs; may be empty
  std::map<uint32_t, Tensor> rounded = {};  // integers of weights, by NodeId: instead of the nearest
};

// With means, biases take up what rounding the weights adds to the mean of each output. Error{invalid} names
// the node whose scale is not above 0.
Graph insert_qdq(Graph g, const Selection& s, const Calibrated& c);

}  // namespace skyline::quant
