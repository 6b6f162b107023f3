#pragma once
// Rotary position embedding, for the operators that have it as a step.
#include <vector>

#include "skyline/tensor.h"

namespace skyline::ops {

// [batch, heads, len, size] if heads_first, else [batch, len, heads, size].
struct RotaryShape {
  int64_t batch = 0, heads = 0, len = 0, size = 0;
  bool heads_first = false;
};
// Of an input of rank 4 (heads first) or 3 (packed; `heads` says how many). Error{invalid}.
RotaryShape rotary_shape(const Dims& d, int64_t heads);

// The first `dim` elements of every head are rotated in pairs: (i, i + dim / 2), or (2i, 2i + 1) when
// interleaved. cos and sin have rows of dim / 2; rows[b * len + t] is the row of a token. The caller has
// checked all of it.
struct Rotary {
  bool interleaved = false;
  int64_t dim = 0;
  std::vector<double> cos, sin;
  Dims rows;
};
void rotate(std::vector<double>& v, const RotaryShape& s, const Rotary& r);

}  // namespace skyline::ops
