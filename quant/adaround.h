#pragma once
// AdaRound (Nagel et al. 2020): each weight goes up or down by what is best for its layer's outputs together,
// not to the nearer integer. The error of an output is a quadratic form of its weights' errors, with the
// second moments of the layer's inputs: those are all that is kept of the examples.
#include <map>

#include "quant/qdq.h"
#include "quant/select.h"
#include "skyline/quant.h"

namespace skyline::quant {

// One layer, or one group of a convolution.
struct RoundingProblem {
  int64_t outputs = 0, rows = 0;
  std::vector<float> real;     // [outputs, rows]: weights in units of their output's scale
  std::vector<float> moments;  // [rows, rows] of the inputs
};
// errors [outputs, rows] -> errors * moments.
using Multiply = std::function<std::vector<float>(const std::vector<float>& errors)>;
// [outputs, rows]: floor or ceiling of each weight, within -127 .. 127. No output's quadratic form is larger
// than with the nearest integers.
std::vector<int8_t> round_together(const RoundingProblem& p, int iterations, const Multiply& multiply);
// The plain loop.
std::vector<float> times_moments(const RoundingProblem& p, const std::vector<float>& errors);

// Integers of the weights of selected products, by NodeId, for the scales that quantize_weights chooses.
// central: the mean of an input does not count, because a bias makes up for it. Memory: of one run and
// options.most_bytes of moments; layers with more keep the nearest integers, and are not in the result.
std::map<uint32_t, Tensor> adaround(const Graph& g, const Selection& s, const Examples& examples,
                                    const MakeRunner& make_runner, const Options& options);

}  // namespace skyline::quant
