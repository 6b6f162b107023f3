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

// What channels between two convolutions are scaled by (Nagel et al. 2019), before anything is rounded.
//   weights      by the largest weights on either side, as published; weights have a scale per channel here,
//                so that only what the second convolution reads is balanced
//   activations  by what the channels reach, against the weights that read them
enum class Equalization : uint8_t { none, weights, activations };
std::string_view name(Equalization e) noexcept;
Equalization equalization_from_name(std::string_view s);  // Error{invalid} listing the known names

// Weights rounded together, layer by layer (Nagel et al. 2020).
struct AdaRoundOptions {
  bool on = false;
  int iterations = 1000;         // at most, for each layer; fewer where they would take long
  int64_t examples = 64;         // at most, of the calibration
  int64_t most_bytes = 1 << 28;  // of what is kept of layers' inputs at a time
  uint64_t seed = 1;             // of the places where they are sampled
  std::function<void(int64_t done, int64_t total)> progress;  // may throw to stop
};

struct Options {
  // Clipping 0.005 % of the values is nearer to f32 on average (divergence of the outputs on examples held
  // out of calibration, in nats: MobileNetV2 0.013 instead of 0.032, PP-OCR's recogniser 0.06 instead of
  // 0.15), but a text line is right as a whole or not at all, and 7.5 points of PP-OCR's lines were lost by
  // it: outliers matter there.
  Method method = Method::minmax;
  double percentile = 99.995;     // of the values, kept on either side
  std::vector<std::string> keep;  // nodes that stay f32, by name or by operator; Error{invalid} if unknown
  bool correct_bias = true;       // take off the mean error that rounding the weights makes
  bool smooth = true;             // move the spread of a MatMul's columns into its weights
  Equalization equalization = Equalization::none;
  AdaRoundOptions adaround;
  // quantize_int8 only: noise over signal (powers) of the outputs that is accepted. Where there is more, the
  // products that add most by themselves stay f32, half of them at most. 0: none does.
  double most_noise = 0.02;
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

// Product (Conv, ConvTranspose, MatMul, Gemm) by name -> the rung it computes on.
using Choice = std::map<std::string, Precision>;

struct Selection;  // quant/select.h

// A model that has been calibrated once, and is then written with any product on any rung. Holds the model
// with BatchNorm and constants folded, and columns scaled, which computes the same up to rounding.
class Quantizer {
 public:
  // One pass over the examples. Memory: of one run, and a histogram per activation. Error{invalid} names the
  // node whose weights or results are not finite; Error{input} without examples.
  Quantizer(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
            const Options& options = {});

  // The same from what an earlier one found out, without examples: the model must be the same one. Columns
  // are not scaled and weights rounded to the nearest: all that needs more than ranges and means. Biases are
  // corrected where means are there; one outside of its range counts as the range's end.
  Quantizer(const Graph& model, const std::map<std::string, std::pair<double, double>>& ranges,
            const std::map<std::string, std::vector<double>>& means = {});
  // Of every activation that may be rounded, by name.
  std::map<std::string, std::pair<double, double>> ranges() const;
  // By channel, of those that products read; empty without correct_bias.
  std::map<std::string, std::vector<double>> means() const;

  struct Product {
    std::string name, op;
    bool int8 = false;   // can run on integers
    std::string reason;  // if it cannot
  };
  const std::vector<Product>& products() const { return products_; }
  const Graph& graph() const { return graph_; }

  // The model with these choices; products that are not named stay f32. int8 is DequantizeLinear -> operator
  // -> QuantizeLinear: u8 activations, i8 weights with one scale per channel and zero point 0, i32 biases;
  // what lies between such products becomes integers where it can. The other rungs are the attribute
  // "precision", which sessions read and files do not have. Error{invalid} for a name that is no product, or
  // one that cannot be int8.
  Result build(const Choice& choice) const;
  // All that can be int8, but for what the options keep.
  Choice everything() const;

 private:
  void list_products(const Selection& all);

  Graph graph_;
  Options options_;
  std::vector<Product> products_;
  std::map<uint32_t, std::pair<double, double>> ranges_;  // by ValueId
  std::map<uint32_t, std::vector<double>> means_;         // per channel of products' inputs, by ValueId
  std::map<uint32_t, Tensor> rounded_;                    // integers of weights, by NodeId; those of AdaRound
};

// Quantizer(...).build(everything()), but for what most_noise keeps in f32.
Result quantize_int8(const Graph& model, const Examples& calibration, const MakeRunner& make_runner,
                     const Options& options = {});

struct WeightsOnlyOptions {
  int bits = 8;                   // or 4
  int64_t block = 0;              // rows that share a scale; 0: a scale per column
  std::vector<std::string> keep;  // nodes that stay f32, by name or by operator; Error{invalid} if unknown
};

// The model with the constant matrices of MatMul and Gemm as integers behind DequantizeLinear (per column, or
// blocked as of opset 21); everything computes in f32. Needs no examples.
Result weights_only(const Graph& model, const WeightsOnlyOptions& options = {});

// The same products on integers, with activations quantized as they come: MatMulInteger behind
// DynamicQuantizeLinear (one scale for a tensor), or with a scale for each row of the activation, which is
// spelled out in standard operators. Needs no examples.
Result dynamic_int8(const Graph& model, bool per_token, const std::vector<std::string>& keep = {});

struct HalfOptions {
  std::vector<std::string> keep;  // nodes that stay f32, by name or by operator; Error{invalid} if unknown
  // Also runs these, up to 16, and keeps nodes in f32 whose results come near what the type holds. Without
  // examples only constants are looked at.
  Examples examples;
  MakeRunner make_runner;
  std::function<void(int64_t done, int64_t total)> progress;
};

// The model with f16 or bf16 tensors between nodes, and Cast nodes where they meet f32; inputs and outputs
// keep their types. In f32 stay, with the reason: operators whose results the type's range or precision does
// not suit (sums of squares, exponentials), nodes with constants that it cannot hold, and what has no such
// form.
Result to_half(const Graph& model, DType type, const HalfOptions& options = {});

struct SensitivityOptions {
  std::vector<Precision> rungs{Precision::int8};  // each other than f32
  // The user's metric of one example's outputs, higher is better; null: none.
  std::function<double(int64_t example, std::span<const Value> outputs)> metric;
  bool others = true;  // also run with all on the rung but the one
  std::function<void(int64_t done, int64_t total)> progress;
};

// What a product on a rung does to the model's outputs.
struct NodeNoise {
  bool possible = false;  // the product can be on that rung; else all is 0
  double alone = 0;       // noise over signal, powers, with this product on the rung and the others in f32
  double others = 0;      // the same with this one in f32 and all others on the rung
  double divergence = 0;  // alone: mean Kullback-Leibler divergence of the outputs' softmax, nats
  double metric = 0;      // alone: mean of the user's metric less that of f32
};

struct Sensitivity {
  std::vector<std::string> nodes;  // the quantizer's products
  std::vector<std::string> ops;
  std::vector<Precision> rungs;
  std::vector<std::vector<NodeNoise>> noise;  // [node][rung]
  std::vector<NodeNoise> all;                 // [rung]: every product that can be on it
  double metric = 0;                          // of f32
};

// Runs the model once per product and rung (twice with `others`) over the examples, which are few: their
// outputs in f32 are kept. They should not be those of the calibration.
Sensitivity measure_sensitivity(const Quantizer& quantizer, const Examples& examples,
                                const MakeRunner& make_runner, const SensitivityOptions& options = {});
// The same of any choice: `alone` is the noise of all of it together.
NodeNoise measure_choice(const Quantizer& quantizer, const Choice& choice, const Examples& examples,
                         const MakeRunner& make_runner, const SensitivityOptions& options = {});

}  // namespace skyline::quant
#pragma GCC visibility pop
