#pragma once
// SmoothQuant: where a few columns of a matrix product's input are much larger than the others, 8 bits for
// all of them leave little for the rest. The columns are divided by what the weights' rows are multiplied by.
#include "skyline/quant.h"

namespace skyline::quant {

// On a prepared graph: inputs that a normalization's own scale and shift can divide, and that only products
// read. Looks at a few of the examples. Returns how many inputs it has changed.
int smooth(Graph& g, const Examples& examples, const MakeRunner& make_runner);

}  // namespace skyline::quant
