#pragma once
// The shapes of a matrix product by NumPy's rules: stacks of matrices broadcast, vectors are promoted and
// dropped again.
#include "graph/ir/op.h"

namespace skyline::ops {

struct Product {
  int64_t m = 1, k = 1, n = 1;
  Dims batch, a_strides, b_strides;  // strides in matrices
  Dims out;
};

// Of a factor of shape `a` and one of shape `b`. Error{invalid} if one is a scalar or they do not match.
Product make_product(Dims a, Dims b);

}  // namespace skyline::ops
