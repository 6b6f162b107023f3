#pragma once
// What passes ask of a graph. Everything returns "no" rather than throw when a fact is not known.
#include <optional>
#include <string_view>
#include <vector>

#include "graph/ir/op.h"
#include "graph/ir/pass.h"

namespace skyline::passes {

// The node that makes v as its first output, if its operator has that name (in the default domain or ours).
const Node* maker(const Graph& g, ValueId v, std::string_view op);
// The same, when nothing else reads v.
const Node* sole_maker(const Graph& g, ValueId v, std::string_view op);
inline bool used_once(const Graph& g, ValueId v) {
  return g.use_count(v) == 1;
}

bool is_float(const Graph& g, ValueId v);
bool same_value(const Graph& g, ValueId a, ValueId b);  // the same id, or constants with the same bytes
bool same_dims(const Fact& a, const Fact& b);           // for certain
bool same_type(const Graph& g, ValueId a, ValueId b);   // dtype and dims, for certain
// -1 if not known.
int rank_of(const Graph& g, ValueId v);
// Dimension `axis` (may be negative) when it is a number, else -1.
int64_t dim_of(const Graph& g, ValueId v, int axis);
std::optional<Dims> static_dims(const Graph& g, ValueId v);

// Every element of the constant, when there are at most `most` and they are integers or floats.
std::optional<std::vector<double>> numbers(const Graph& g, ValueId v, int64_t most = 1 << 26);
std::optional<Dims> integers(const Graph& g, ValueId v);
// The one number that all elements of a small constant equal.
std::optional<double> uniform(const Graph& g, ValueId v);
bool is_uniform(const Graph& g, ValueId v, double wanted, double tolerance = 0);
bool is_near(double a, double b, double relative = 1e-6);

// A binary node with one constant operand.
struct WithConstant {
  ValueId x, constant;
  bool constant_first;
};
std::optional<WithConstant> with_constant(const Graph& g, const Node& n);
// The other operand of a binary node that reads v; kNoValue if it does not, or reads it twice.
ValueId other_operand(const Node& n, ValueId v);

// A constant operand that, broadcast to a tensor of `rank`, varies along `axis` only: its `count` numbers. It
// does not make the tensor larger.
std::optional<std::vector<double>> along_axis(const Graph& g, ValueId v, int rank, int axis, int64_t count);

// v as a product: the uniform constants in it, multiplied, and the other factors. Looks through Mul, and Div
// by a constant, whose results nothing else reads; v itself may be read by many.
struct Product {
  double constant = 1;
  std::vector<ValueId> factors;
};
Product product_of(const Graph& g, ValueId v);
// v = x + c for a uniform constant c.
struct Sum {
  ValueId x;
  double constant;
};
std::optional<Sum> sum_of(const Graph& g, ValueId v);

Tensor tensor_of(DType t, Dims dims, const std::vector<double>& values);  // rounded once
bool all_finite(const Tensor& t);

// axes of a Reduce, Squeeze or Unsqueeze node (input 1, constant, or attribute), normalized to [0, rank) and
// sorted. Nothing if they are not known or given.
std::optional<std::vector<int>> axes_of(const Graph& g, const Node& n, int rank);

}  // namespace skyline::passes
