#pragma once
// Lower precision for a trained model: 8-bit integers by calibration, f16, bf16; and what each node's
// precision costs. Works on graphs alone: whoever calls says how a graph is run.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "skyline/graph.h"
#include "skyline/precision.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline::quant {

// Runs a graph: inputs in its order, outputs in its order. Results may be overwritten by the next call.
using Runner = std::function<std::vector<Value>(std::span<const Value>)>;
// Makes a runner of a graph, which need not outlive the call.
using MakeRunner = std::function<Runner(const Graph&)>;

// Examples to calibrate on, read one by one: at(i), 0 <= i < count, gives the inputs in the graph's order.
struct Examples {
  int64_t count = 0;
  std::function<std::vector<Value>(int64_t)> at;
};

// How the range of an activation follows from what was observed.
//   minmax      all that was seen
//   percentile  all but a share of the values on either side
//   mse         least mean squared error of clipping and rounding together
//   entropy     least Kullback-Leibler divergence of the distribution from its rounded self
enum class Method : uint8_t { minmax, percentile, mse, entropy };
std::string_view name(Method m) noexcept;
Method method_from_name(std::string_view s);  // Error{invalid} listing the known names

struct Options {
  Method method = Method::mse;
  double percentile = 99.995;  // of the values, kept on either side
  // Ranges that are known already, as a Result has them: those values are not observed again.
  std::map<std::string, std::pair<double, double>> ranges;
  std::vector<std::string> keep;  // nodes that stay f32, by name or by operator; Error{invalid} if unknown
  bool equalize = true;           // scale channels between depthwise-separable convolutions
  bool correct_bias = true;       // take off the mean error that rounding the weights makes
  bool smooth = true;             // move the spread of a MatMul's columns into its weights
  std::function<void(int64_t done, int64_t total)> progress;  // of the calibration; may throw to stop
};

// What became of a node, and why: "int8", or "f32: softmax loses what 8 bits leave out".
struct Decision {
  std::string node, op;
  Precision precision = Precision::f32;
  std::string reason;  // of staying f32
};

struct Result {
  Graph graph;  // ONNX operators only
  std::vector<Decision> decisions;
  // Ranges of the quantized activations, by the value's name.
  std::map<std::string, std::pair<double, double>> ranges;
};

// The model on 8-bit integers, as DequantizeLinear -> operator -> QuantizeLinear: u8 activations, i8 weights
// with one scale per channel and zero point 0, i32 biases. Memory: of one run, and a histogram per
// activation. Error{invalid} names the node whose weights or results are not finite; Error{input} without
// examples.
Result quantize_int8(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
                     const Options& options = {});

// The ranges of all activations of the model, by name, as quantize_int8 would choose them: for
// Options::ranges, where the same model is quantized in many ways.
std::map<std::string, std::pair<double, double>> activation_ranges(const Graph& model,
                                                                   const Examples& calibration,
                                                                   const MakeRunner& make_runner,
                                                                   const Options& options = {});

}  // namespace skyline::quant
#pragma GCC visibility pop
