#pragma once
// What the numeric families (convolution, pooling, normalization, ...) share: references compute in double on
// copies of their inputs, so that one plain body serves every float type.
#include <span>
#include <string>
#include <vector>

#include "graph/ir/op.h"
#include "graph/ops/util.h"

namespace skyline::ops {

[[noreturn]] void reject(const std::string& message);  // Error{invalid}
[[noreturn]] void refuse(const std::string& message);  // Error{unsupported}

// The elements of a numeric or bool tensor as doubles (64-bit integers above 2^53 are rounded).
std::vector<double> to_doubles(const Tensor& t);
// Rounds each value once to t's element type (binary16 and bfloat16 through f32); sizes agree.
void from_doubles(std::span<const double> values, Tensor& t);
// A new result tensor of those values.
Tensor make_from(const EvalContext& c, DType t, Dims dims, std::span<const double> values);

// Error{unsupported} unless t is f32, f64, f16 or bf16; undefined passes (facts not known yet).
void require_float(DType t, std::string_view what);
// Error{invalid} unless the tensor has exactly these dims.
void require_dims(const Tensor& t, const Dims& dims, std::string_view what);
// The same for facts: contradictions only.
void require_fact(const Fact& f, const SymDims& dims, std::string_view what);
// Both known and different: Error{invalid} naming `what`. Returns the better known one.
Dim agree(Dim a, Dim b, std::string_view what);

// Product of dims[from, to).
int64_t span_count(const Dims& dims, int from, int to);

// An attribute that is 0 or 1.
bool flag(const Attrs& a, std::string_view name, bool fallback = false);

// dims between channels-first [n, c, spatial...] and channels-last [n, spatial..., c].
template <class D>
std::vector<D> channels_first(std::vector<D> d, bool from_last) {
  if (from_last && d.size() > 2) {
    const D c = d.back();
    d.pop_back();
    d.insert(d.begin() + 1, c);
  }
  return d;
}
template <class D>
std::vector<D> channels_last(std::vector<D> d, bool to_last) {
  if (to_last && d.size() > 2) {
    const D c = d[1];
    d.erase(d.begin() + 1);
    d.push_back(c);
  }
  return d;
}
// The elements, moved likewise: n * c * spatial of them.
std::vector<double> move_channels(const std::vector<double>& x, int64_t n, int64_t c, int64_t spatial,
                                  bool to_last);

// True when the node's attribute `layout` is "NHWC". Only operators of our own domain have it.
bool is_channels_last(const Node& node);
// The same of its input alone, which `input_layout` may set apart.
bool is_input_channels_last(const Node& node);

// Long work calls this between rows: it may throw (deadline, cancel).
inline void poll(const EvalLimits& limits) {
  if (limits.check) limits.check();
}

}  // namespace skyline::ops
