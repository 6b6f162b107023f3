#pragma once
// The graph as quantization wants it: BatchNorm and constants folded into weights, patterns recognised, and
// every operator still one that an ONNX file can hold.
#include "skyline/graph.h"

namespace skyline::quant {

// A copy with facts inferred. Error{invalid} names a node whose weights are not finite.
Graph prepare(const Graph& model);

}  // namespace skyline::quant
