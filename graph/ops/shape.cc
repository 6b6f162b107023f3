// Operators on shapes alone: the elements stay where they are (Expand and Tile repeat them).
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- Shape, Size
// -------------------------------------------------------------------------------------------------

struct Range1 {
  int64_t begin, end;
};
// Shape's start and end, counted from the back when negative, clamped to [0, rank].
Range1 shape_range(const Attrs& attrs, int64_t rank) {
  const auto clamp = [rank](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  const int64_t begin = clamp(attrs.integer("start", 0));
  return {begin, std::max(begin, clamp(attrs.integer("end", rank)))};
}

void infer_shape(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, Fact(DType::i64, {Dim::unknown()}));
  const Range1 r = shape_range(c.attrs(), x.rank());
  c.out(0, Fact(DType::i64, {r.end - r.begin}));
}

void eval_shape(EvalContext& c) {
  const Dims& d = c.in(0).dims();
  const Range1 r = shape_range(c.attrs(), c.in(0).rank());
  c.out(0, Tensor::vector(Dims(d.begin() + r.begin, d.begin() + r.end)));
}

void infer_size(InferContext& c) {
  c.out(0, Fact(DType::i64, {}));
}
void eval_size(EvalContext& c) {
  c.out(0, Tensor::scalar<int64_t>(c.in(0).size()));
}

// ---- Reshape, Flatten
// --------------------------------------------------------------------------------------------

// Replaces zeros by the input's dims (unless allowzero) and checks the rest; returns the position of -1, or
// -1.
int reshape_target(const Dims& wanted, bool allow_zero) {
  int free = -1;
  bool zero = false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] < -1) fail("shape has the dimension " + str(wanted[i]));
    zero = zero || wanted[i] == 0;
    if (wanted[i] != -1) continue;
    if (free >= 0) fail("shape " + to_string(wanted) + " has more than one -1");
    free = static_cast<int>(i);
  }
  if (allow_zero && zero && free >= 0)
    fail("shape " + to_string(wanted) + " has both 0 and -1 under allowzero");
  return free;
}

// What -1 stands for when every symbol of `rest` cancels against one of `from`; unknown otherwise.
Dim symbolic_quotient(SymDims from, const SymDims& rest) {
  Dim divisor = 1;
  for (Dim d : rest) {
    const auto same = d.is_symbol() ? std::find(from.begin(), from.end(), d) : from.end();
    if (same != from.end()) {
      from.erase(same);
    } else {
      divisor = d.known() ? mul(divisor, d) : Dim::unknown();
      if (!divisor.known()) return Dim::unknown();
    }
  }
  Dim known = 1, symbol = 1;
  for (Dim d : from) (d.known() ? known : symbol) = mul(d.known() ? known : symbol, d);
  if (!known.known() || divisor == Dim(0)) return Dim::unknown();
  if (symbol == Dim(1)) {
    if (known.value() % divisor.value() != 0) {
      fail("cannot reshape: " + str(known.value()) + " elements do not divide by " + str(divisor.value()));
    }
    return known.value() / divisor.value();
  }
  return known == divisor ? symbol : known == Dim(0) ? Dim(0) : Dim::unknown();
}

void infer_reshape(InferContext& c) {
  const Fact& x = c.in(0);
  const auto wanted = c.constant_ints(1);
  if (!wanted) {
    const int64_t rank = list_length(c, 1);
    return c.out(0, rank >= 0 ? Fact(x.dtype, unknown_dims(rank)) : Fact::unranked(x.dtype));
  }
  const bool allow_zero = c.attrs().integer("allowzero", 0) != 0;
  const int free = reshape_target(*wanted, allow_zero);
  SymDims dims, rest;
  for (size_t i = 0; i < wanted->size(); ++i) {
    Dim d = (*wanted)[i] == -1 ? Dim::unknown() : Dim((*wanted)[i]);
    if ((*wanted)[i] == 0 && !allow_zero) {
      if (x.ranked && i >= x.dims.size())
        fail("shape takes dimension " + str(static_cast<int64_t>(i)) + " of a smaller rank");
      d = x.ranked ? x.dims[i] : Dim::unknown();
    }
    dims.push_back(d);
    if (static_cast<int>(i) != free) rest.push_back(d);
  }
  if (free >= 0 && x.ranked) dims[static_cast<size_t>(free)] = symbolic_quotient(x.dims, rest);
  const int64_t have = x.elements(), want = Fact(x.dtype, dims).elements();
  if (have >= 0 && want >= 0 && have != want) {
    fail("cannot reshape " + str(have) + " elements to " + to_string(*wanted));
  }
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_reshape(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_rank(c.in(1), 1, "shape");
  Dims dims = c.ints(1);
  const bool allow_zero = c.attrs().integer("allowzero", 0) != 0;
  const int free = reshape_target(dims, allow_zero);
  int64_t rest = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !allow_zero) {
      if (i >= x.dims().size())
        fail("shape takes dimension " + str(static_cast<int64_t>(i)) + " of " + to_string(x.dims()));
      dims[i] = x.dims()[i];
    }
    if (static_cast<int>(i) != free) rest = checked_mul(rest, dims[i]);
  }
  if (free >= 0) {
    if (rest == 0 ? x.size() != 0 : x.size() % rest != 0)
      fail("cannot reshape " + to_string(x.dims()) + " to " + to_string(dims));
    dims[static_cast<size_t>(free)] = rest == 0 ? 0 : x.size() / rest;
  }
  c.out(0, x.reshaped(std::move(dims)));
}

int flatten_axis(const Attrs& attrs, int rank) {
  const int64_t axis = attrs.integer("axis", 1);
  if (axis < -rank || axis > rank)
    fail("axis " + str(axis) + " is outside [" + str(-rank) + ", " + str(rank) + "]");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

void infer_flatten(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, Fact(x.dtype, unknown_dims(2)));
  const auto axis = static_cast<size_t>(flatten_axis(c.attrs(), x.rank()));
  const std::span<const Dim> d(x.dims);
  c.out(0, Fact(x.dtype, {product(d.first(axis)), product(d.subspan(axis))}));
}

void eval_flatten(EvalContext& c) {
  const Tensor& x = c.in(0);
  const int axis = flatten_axis(c.attrs(), x.rank());
  int64_t rows = 1, cols = 1;
  for (int i = 0; i < x.rank(); ++i) (i < axis ? rows : cols) = checked_mul(i < axis ? rows : cols, x.dim(i));
  c.out(0, x.reshaped({rows, cols}));
}

// ---- Squeeze, Unsqueeze
// ------------------------------------------------------------------------------------------

void infer_squeeze(InferContext& c) {
  const Fact& x = c.in(0);
  const auto axes = c.constant_ints(1);
  const bool known = x.ranked && (axes || (!c.has(1) && x.elements() >= 0));
  if (!known) {
    const int64_t n = list_length(c, 1);
    if (x.ranked && n >= 0 && n <= x.rank()) return c.out(0, Fact(x.dtype, unknown_dims(x.rank() - n)));
    return c.out(0, Fact::unranked(x.dtype));
  }
  std::vector<int> drop;
  if (axes) {
    drop = normalize_axes(*axes, x.rank(), "axes");
  } else {
    for (int i = 0; i < x.rank(); ++i) {
      if (x.dims[static_cast<size_t>(i)] == Dim(1)) drop.push_back(i);
    }
  }
  SymDims dims;
  for (int i = 0; i < x.rank(); ++i) {
    const Dim d = x.dims[static_cast<size_t>(i)];
    if (std::find(drop.begin(), drop.end(), i) == drop.end()) {
      dims.push_back(d);
    } else if (d.known() && d.value() != 1) {
      fail("axis " + str(i) + " to squeeze has " + str(d.value()) + " elements");
    }
  }
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_squeeze(EvalContext& c) {
  const Tensor& x = c.in(0);
  std::vector<bool> drop(static_cast<size_t>(x.rank()));
  if (c.has(1)) {
    for (int axis : normalize_axes(c.ints(1), x.rank(), "axes")) drop[static_cast<size_t>(axis)] = true;
  }
  Dims dims;
  for (int i = 0; i < x.rank(); ++i) {
    const bool gone = c.has(1) ? drop[static_cast<size_t>(i)] : x.dim(i) == 1;
    if (gone && x.dim(i) != 1) fail("axis " + str(i) + " to squeeze of " + to_string(x.dims()) + " is not 1");
    if (!gone) dims.push_back(x.dim(i));
  }
  c.out(0, x.reshaped(std::move(dims)));
}

// Inserts ones at `axes` (of the result) into dims.
template <class D>
std::vector<D> unsqueezed(const std::vector<D>& dims, const Dims& axes) {
  const size_t rank = dims.size() + axes.size();
  if (rank > static_cast<size_t>(kMaxRank))
    throw Error(Code::limit, "rank " + std::to_string(rank) + " is over the limit");
  std::vector<D> out(rank, D(-1));
  std::vector<bool> one(rank);
  for (int a : normalize_axes(axes, static_cast<int>(rank), "axes")) one[static_cast<size_t>(a)] = true;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) out[i] = one[i] ? D(1) : dims[next++];
  return out;
}

void infer_unsqueeze(InferContext& c) {
  const Fact& x = c.in(0);
  if (const auto axes = c.constant_ints(1); axes && x.ranked)
    return c.out(0, Fact(x.dtype, unsqueezed(x.dims, *axes)));
  const int64_t n = list_length(c, 1);
  c.out(0, x.ranked && n >= 0 ? Fact(x.dtype, unknown_dims(x.rank() + n)) : Fact::unranked(x.dtype));
}

void eval_unsqueeze(EvalContext& c) {
  c.out(0, c.in(0).reshaped(unsqueezed(c.in(0).dims(), c.ints(1))));
}

// ---- Expand, Tile
// ------------------------------------------------------------------------------------------------

void require_nonnegative(const Dims& dims, const char* what) {
  for (int64_t d : dims) {
    if (d < 0) fail(std::string(what) + " has " + str(d));
  }
}

void infer_expand(InferContext& c) {
  const Fact& x = c.in(0);
  if (const auto shape = c.constant_ints(1); shape && x.ranked) {
    return c.out(0, Fact(x.dtype, broadcast_dims(x.dims, fixed_dims(*shape, "shape"))));
  }
  const int64_t n = list_length(c, 1);
  c.out(0, x.ranked && n >= 0 ? Fact(x.dtype, unknown_dims(std::max<int64_t>(n, x.rank())))
                              : Fact::unranked(x.dtype));
}

void eval_expand(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims shape = c.ints(1);
  require_nonnegative(shape, "shape");
  const Dims dims = broadcast_dims(x.dims(), shape);
  Tensor y = c.make(x.dtype(), dims);
  copy_elements(dims, x, {0, broadcast_strides(x.dims(), dims)}, y, {0, row_major_strides(dims)});
  c.out(0, std::move(y));
}

void infer_tile(InferContext& c) {
  const Fact& x = c.in(0);
  const auto repeats = c.constant_ints(1);
  if (!x.ranked) {
    const int64_t n = list_length(c, 1);
    return c.out(0, n >= 0 ? Fact(x.dtype, unknown_dims(n)) : Fact::unranked(x.dtype));
  }
  if (!repeats) return c.out(0, Fact(x.dtype, unknown_dims(x.rank())));
  require_nonnegative(*repeats, "repeats");
  if (repeats->size() != x.dims.size())
    fail("repeats has " + std::to_string(repeats->size()) + " entries for rank " + str(x.rank()));
  SymDims dims;
  for (size_t i = 0; i < x.dims.size(); ++i) dims.push_back(mul(x.dims[i], (*repeats)[i]));
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_tile(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims repeats = c.ints(1);
  require_nonnegative(repeats, "repeats");
  if (repeats.size() != x.dims().size())
    fail("repeats has " + std::to_string(repeats.size()) + " entries for " + to_string(x.dims()));
  // The output seen as [r0, d0, r1, d1, ...]: along the r axes the input is read with stride 0.
  const Dims own = row_major_strides(x.dims());
  Dims dims, pairs, strides;
  for (size_t i = 0; i < repeats.size(); ++i) {
    dims.push_back(checked_mul(x.dims()[i], repeats[i]));
    pairs.insert(pairs.end(), {repeats[i], x.dims()[i]});
    strides.insert(strides.end(), {0, own[i]});
  }
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() > 0) copy_elements(pairs, x, {0, strides}, y, {0, row_major_strides(pairs)});
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "Shape",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_shape,
     .eval = eval_shape,
     .work = no_flops,
     .flags = kOpShapeOnly},
    {.name = "Size",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_size,
     .eval = eval_size,
     .work = no_flops,
     .flags = kOpShapeOnly},
    {.name = "Reshape",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_reshape,
     .eval = eval_reshape,
     .work = no_flops},
    {.name = "Flatten",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_flatten,
     .eval = eval_flatten,
     .work = no_flops},
    {.name = "Squeeze",
     .min_inputs = 1,
     .max_inputs = 2,
     .infer = infer_squeeze,
     .eval = eval_squeeze,
     .work = no_flops},
    {.name = "Unsqueeze",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_unsqueeze,
     .eval = eval_unsqueeze,
     .work = no_flops},
    {.name = "Expand",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_expand,
     .eval = eval_expand,
     .work = no_flops},
    {.name = "Tile",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_tile,
     .eval = eval_tile,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> shape_ops() {
  return kOps;
}

}  // namespace skyline::ops
