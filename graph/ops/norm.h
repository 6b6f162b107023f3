#pragma once
// Steps that normalizations share.
#include <vector>

#include "graph/ir/op.h"

namespace skyline::ops {

struct RowMoments {
  double mean = 0;
  double inverse = 0;  // 1 / sqrt(mean square of (x - mean) + epsilon)
};
// x[0, n) becomes (x - mean) * inverse; not centered: mean stays 0 (RMS normalization).
RowMoments normalize_row(double* x, int64_t n, double epsilon, bool centered);

// v of `dims` becomes v * scale + bias, both broadcast to dims; Error{invalid} if they do not. bias may be
// null.
void scale_shift(std::vector<double>& v, const Dims& dims, const Tensor& scale, const Tensor* bias);

}  // namespace skyline::ops
