#pragma once
// Which nodes of a prepared graph compute on 8 bits, and which values are rounded for it.
#include <set>
#include <string>
#include <vector>

#include "skyline/quant.h"

namespace skyline::quant {

// What a node is to quantization.
enum class Role : uint8_t {
  none,     // stays f32
  product,  // Conv, MatMul, Gemm with constant weights
  join,     // Add, Mul of two activations
  pool,     // averages: a range of its own
  table,    // a function of one element: a range of its own
  concat,   // of activations that are rounded all: a range of its own
  move,     // its result has its input's elements, and so its range
};

struct Selection {
  std::vector<Role> roles;          // by node; size node_slots()
  std::vector<bool> rounded;        // by value: gets a QuantizeLinear; size value_slots()
  std::vector<bool> on_grid;        // by value: made by a quantized node, so every reader gets it rounded
  std::vector<Decision> decisions;  // of every node that computes

  Role role(NodeId n) const { return roles[static_cast<size_t>(n)]; }
  bool is_rounded(ValueId v) const { return v != kNoValue && rounded[static_cast<size_t>(v)]; }
  bool is_on_grid(ValueId v) const { return v != kNoValue && on_grid[static_cast<size_t>(v)]; }
};

// keep: names of nodes, or of operators where no node is called so, that stay f32; Error{invalid} if one is
// neither.
Selection select_int8(const Graph& g, const std::vector<std::string>& keep);

// Conv, MatMul, Gemm or ConvTranspose: what work is in.
bool is_product(const Node& n);
// The index in a product's weights of its outputs' axis: 0, or 1 for a MatMul and an untransposed Gemm.
int output_axis(const Node& n);
// The value that the quantized result of a product is: behind a Relu, or a Clip around 0, which nothing else
// comes between.
ValueId after_activation(const Graph& g, ValueId v);

}  // namespace skyline::quant
