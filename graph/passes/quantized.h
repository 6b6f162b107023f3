#pragma once
// What the rewrites of 8-bit regions share.
#include "graph/passes/match.h"

namespace skyline::passes {

// One scale and zero point for a whole tensor of bytes.
struct Quantized {
  ValueId q = kNoValue, scale_id = kNoValue, zero_id = kNoValue;
  float scale = 0;
  int32_t zero = 0;
  DType type = DType::undefined;
  bool same_grid(const Quantized& o) const { return type == o.type && scale == o.scale && zero == o.zero; }
};
// What v was dequantized from.
std::optional<Quantized> dequantized(const Graph& g, ValueId v);
// The zero point, or a constant 0 where none is given.
ValueId zero_of(Patch& patch, ValueId given, DType type);

// What lies between DequantizeLinear and `q`, a QuantizeLinear to y, where it is no arithmetic of several
// tensors: functions of one code (as a table), what moves elements, Concat, Softmax.
std::optional<Patch> quantized_function(const Graph& g, const Node& q, const Quantized& y);
std::optional<Patch> quantized_move(const Graph& g, const Node& q, const Quantized& y);
std::optional<Patch> quantized_concat(const Graph& g, const Node& q, const Quantized& y);
std::optional<Patch> quantized_softmax(const Graph& g, const Node& q, const Quantized& y);

}  // namespace skyline::passes
