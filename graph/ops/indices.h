#pragma once
// Index tensors, validated before anything is read or written through them. Shared by gather.cc and
// scatter.cc.
#include "graph/ops/move.h"

namespace skyline::ops {

// Every index in [-n, n), made nonnegative; Error{invalid} otherwise.
Dims checked_indices(const Tensor& indices, int64_t n);

// GatherElements and ScatterElements: indices no larger than data on any axis but `axis`. Error{invalid}
// otherwise.
void check_elements_shape(const Tensor& x, const Tensor& indices, int axis);

// GatherND and ScatterND: each row of `indices` is the start of an index into data of dims x, after `batch`
// shared leading dimensions. Error{invalid} unless all fit.
struct TupleIndex {
  int64_t depth = 0;  // length of a row
  int64_t slice = 1;  // elements that a row stands for
  Dims offsets;       // of the first of them, per row
};
TupleIndex checked_tuples(const Dims& x, const Tensor& indices, int64_t batch);

}  // namespace skyline::ops
