#pragma once
// Moving elements without looking at them, and reading attributes and shape inputs: what the shape, gather,
// resize and sequence families share.
#include <string>
#include <vector>

#include "graph/ops/numeric.h"
#include "graph/ops/util.h"

namespace skyline::ops {

[[noreturn]] void fail(const std::string& message);  // Error{invalid}
void require(bool ok, const char* message);          // Error{invalid} unless ok
std::string str(int64_t n);

// dst[dst_offset + i * dst_strides] = src[src_offset + i * src_strides] for every index i below dims. Strides
// and offsets are in elements; the caller guarantees that both sides stay inside their tensors.
struct Walk {
  int64_t offset = 0;
  Dims strides;
};
void copy_elements(const Dims& dims, const Tensor& src, const Walk& from, Tensor& dst, const Walk& to);
// Sets every element to the first element of `value` (of the same dtype), or to zero / the empty string.
void fill(Tensor& t, const Tensor* value = nullptr);
// dst[i0,i1,..] = src[maps[0][i0], maps[1][i1], ..], or what `value` says (see fill) where any of the maps is
// -1. maps[a] has dst.dim(a) entries in [-1, src.dim(a)).
void gather_by_axis(const Tensor& src, Tensor& dst, const std::vector<Dims>& maps,
                    const Tensor* value = nullptr);

// The single element of a scalar or one-element tensor as an integer / a real. Error{invalid} otherwise.
int64_t one_int(const Tensor& t, const char* what);
double one_real(const Tensor& t, const char* what);

// The parts one after the other along an axis (-rank..rank-1). Error{invalid} unless they fit.
Tensor concat(const EvalContext& c, std::span<const Tensor> parts, int64_t axis);
// x[.., begin : begin + count, ..] along `axis`; the caller has checked the range.
Tensor cut(const EvalContext& c, const Tensor& x, size_t axis, int64_t begin, int64_t count);

// Every element as int64 (as double: numeric.h); Error{unsupported} for types that are no integers.
Dims to_ints(const Tensor& t);

// Error{invalid} unless the tensor has this rank / this dtype.
void require_rank(const Tensor& t, int rank, const char* what);
void require_dtype(const Tensor& t, DType dtype, const char* what);

// A constant shape as dims; Error{invalid} if one is negative.
SymDims fixed_dims(const Dims& dims, const char* what);
// n unknown dims.
SymDims unknown_dims(int64_t n);
// The number of elements of a shape-like 1-D input, or -1 when it is not known.
int64_t list_length(const InferContext& c, size_t input);
// A positive product of ints checked for overflow (Error{limit}).
int64_t checked_mul(int64_t a, int64_t b);
int64_t checked_add(int64_t a, int64_t b);

// The work of what only moves elements.
Work no_flops(const Node&, std::span<const Fact>, std::span<const Fact>);

}  // namespace skyline::ops
