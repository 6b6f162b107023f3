// Taking tensors apart and putting them together: Transpose, Concat, Split, Slice.
#include <algorithm>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- Transpose
// ---------------------------------------------------------------------------------------------------

std::vector<int> permutation(const Attrs& attrs, int rank) {
  Dims perm = attrs.integers("perm", {});
  if (!attrs.has("perm")) {
    for (int i = rank; i-- > 0;) perm.push_back(i);
  }
  if (static_cast<int>(perm.size()) != rank)
    fail("perm has " + std::to_string(perm.size()) + " entries for rank " + str(rank));
  return normalize_axes(perm, rank, "perm");
}

void infer_transpose(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) {
    const bool given = c.attrs().has("perm");
    return c.out(
        0, given ? Fact(x.dtype, unknown_dims(static_cast<int64_t>(c.attrs().integers("perm").size()))) : x);
  }
  SymDims dims;
  for (int a : permutation(c.attrs(), x.rank())) dims.push_back(x.dims[static_cast<size_t>(a)]);
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_transpose(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims own = row_major_strides(x.dims());
  Dims dims, strides;
  for (int a : permutation(c.attrs(), x.rank())) {
    dims.push_back(x.dim(a));
    strides.push_back(own[static_cast<size_t>(a)]);
  }
  Tensor y = c.make(x.dtype(), dims);
  copy_elements(dims, x, {0, strides}, y, {0, row_major_strides(dims)});
  c.out(0, std::move(y));
}

// ---- Concat
// ------------------------------------------------------------------------------------------------------

void infer_concat(InferContext& c) {
  Fact out = c.in(0);
  for (size_t i = 1; i < c.inputs() && !out.ranked; ++i) {
    if (c.in(i).ranked) out = with_dtype(c.in(i), out.dtype);
  }
  if (!out.ranked) return c.out(0, out);
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), out.rank()));
  Dim total = 0;
  for (size_t i = 0; i < c.inputs(); ++i) {
    const Fact& x = c.in(i);
    if (x.ranked && x.rank() != out.rank())
      fail("input " + std::to_string(i) + " has rank " + str(x.rank()) + ", others " + str(out.rank()));
    const Dim part = x.ranked ? x.dims[axis] : Dim::unknown();
    total = total == Dim(0)                 ? part
            : part == Dim(0)                ? total
            : total.known() && part.known() ? Dim(checked_add(total.value(), part.value()))
                                            : Dim::unknown();
    if (!x.ranked) continue;
    for (size_t a = 0; a < out.dims.size(); ++a) {
      const Dim have = out.dims[a], d = x.dims[a];
      if (a == axis) continue;
      if (have.known() && d.known() && !(have == d)) {
        fail("inputs have " + str(have.value()) + " and " + str(d.value()) + " elements on axis " +
             std::to_string(a));
      }
      if (d.known() || (!have.known() && !have.is_symbol())) out.dims[a] = d;
    }
  }
  out.dims[axis] = total;
  c.out(0, std::move(out));
}

void eval_concat(EvalContext& c) {
  std::vector<Tensor> parts;
  for (size_t i = 0; i < c.inputs(); ++i) parts.push_back(c.in(i));
  c.out(0, concat(c, parts, c.attrs().integer("axis")));
}

// ---- Split
// -------------------------------------------------------------------------------------------------------

// The sizes of the parts of `total` elements: as listed, or by equal division (the last one smaller).
Dims split_sizes(const Attrs& attrs, size_t outputs, int64_t total, const std::optional<Dims>& listed) {
  Dims sizes;
  if (listed) {
    int64_t sum = 0;
    for (int64_t n : *listed) {
      if (n < 0) fail("split has " + str(n));
      sum = checked_add(sum, n);
    }
    if (sum != total) fail("split sums to " + str(sum) + ", the axis has " + str(total));
    sizes = *listed;
  } else {
    const int64_t n = attrs.integer("num_outputs", static_cast<int64_t>(outputs));
    if (n < 1 || n > kMany) fail("num_outputs is " + str(n));
    const int64_t chunk = total / n + (total % n != 0);
    for (int64_t i = 0, rest = total; i < n; ++i, rest -= sizes.back())
      sizes.push_back(std::min(chunk, rest));
  }
  if (sizes.size() < outputs || (attrs.has("num_outputs") && sizes.size() != outputs)) {
    fail("splits in " + std::to_string(sizes.size()) + " parts for " + std::to_string(outputs) + " outputs");
  }
  return sizes;
}

void infer_split(InferContext& c) {
  const Fact& x = c.in(0);
  const auto listed = c.constant_ints(1);
  if (!x.ranked) {
    for (size_t i = 0; i < c.outputs(); ++i) c.out(i, Fact::unranked(x.dtype));
    return;
  }
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis", 0), x.rank()));
  const bool known = x.dims[axis].known() && (listed || !c.has(1));
  if (listed && listed->size() < c.outputs()) fail("split has fewer entries than there are outputs");
  const Dims sizes =
      known ? split_sizes(c.attrs(), c.outputs(), x.dims[axis].value(), listed) : listed.value_or(Dims{});
  for (size_t i = 0; i < c.outputs(); ++i) {
    Fact f = x;
    f.dims[axis] = known || listed ? Dim(sizes[i]) : Dim::unknown();
    c.out(i, std::move(f));
  }
}

void eval_split(EvalContext& c) {
  const Tensor& x = c.in(0);
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis", 0), x.rank()));
  std::optional<Dims> listed;
  if (c.has(1)) listed = c.ints(1);
  const Dims sizes = split_sizes(c.attrs(), c.outputs(), x.dims()[axis], listed);
  for (size_t i = 0, begin = 0; i < c.outputs(); begin += static_cast<size_t>(sizes[i]), ++i) {
    if (c.wants(i)) c.out(i, cut(c, x, axis, static_cast<int64_t>(begin), sizes[i]));
  }
}

// ---- Slice
// -------------------------------------------------------------------------------------------------------

struct Cut {
  int64_t begin = 0, count = 0, step = 1;
};

// Python's slicing of n elements; every int64 is allowed.
Cut slice_axis(int64_t n, int64_t start, int64_t end, int64_t step) {
  if (step == 0) fail("step is 0");
  if (n == 0) return {0, 0, step};
  if (start < 0) start += n;
  if (end < 0) end += n;
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  start = std::clamp(start, step > 0 ? low : 0, high);
  end = std::clamp(end, low, high);
  if (step > 0 ? end <= start : start <= end) return {0, 0, step};
  const auto span = static_cast<uint64_t>(step > 0 ? end - start : start - end);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return {start, static_cast<int64_t>((span - 1) / stride + 1), step};
}

// The optional axes and steps inputs, with their defaults, checked against the length of starts.
struct SliceLists {
  std::vector<int> axes;
  Dims steps;
};
SliceLists slice_lists(size_t n, size_t ends, int rank, const std::optional<Dims>& axes,
                       const std::optional<Dims>& steps) {
  if (ends != n) fail("starts has " + std::to_string(n) + " entries and ends " + std::to_string(ends));
  Dims list = axes.value_or(Dims{});
  if (!axes) {
    for (size_t i = 0; i < n; ++i) list.push_back(static_cast<int64_t>(i));
  }
  SliceLists out{normalize_axes(list, rank, "axes"), steps.value_or(Dims(n, 1))};
  if (out.axes.size() != n || out.steps.size() != n) fail("starts, axes and steps differ in length");
  return out;
}

void infer_slice(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, x);
  const auto starts = c.constant_ints(1), ends = c.constant_ints(2), axes = c.constant_ints(3),
             steps = c.constant_ints(4);
  Fact out = x;
  if ((c.has(3) && !axes) || (!c.has(3) && !starts && list_length(c, 1) < 0)) {
    out.dims = unknown_dims(x.rank());
    return c.out(0, std::move(out));
  }
  const size_t n = axes ? axes->size() : starts ? starts->size() : static_cast<size_t>(list_length(c, 1));
  const SliceLists lists = slice_lists(n, ends ? ends->size() : n, x.rank(), axes, steps);
  if (starts && starts->size() != n) fail("starts and axes differ in length");
  for (size_t i = 0; i < n; ++i) {
    Dim& d = out.dims[static_cast<size_t>(lists.axes[i])];
    if (!starts || !ends || (c.has(4) && !steps)) {
      d = Dim::unknown();
    } else if (d.known()) {
      d = slice_axis(d.value(), (*starts)[i], (*ends)[i], lists.steps[i]).count;
    } else {
      const bool all =
          (*starts)[i] == 0 && lists.steps[i] == 1 && (*ends)[i] >= std::numeric_limits<int32_t>::max();
      if (lists.steps[i] == 0) fail("step is 0");
      if (!all) d = Dim::unknown();
    }
  }
  c.out(0, std::move(out));
}

void eval_slice(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims starts = c.ints(1), ends = c.ints(2);
  std::optional<Dims> axes, steps;
  if (c.has(3)) axes = c.ints(3);
  if (c.has(4)) steps = c.ints(4);
  const SliceLists lists = slice_lists(starts.size(), ends.size(), x.rank(), axes, steps);
  Walk from{0, row_major_strides(x.dims())};
  Dims dims = x.dims();
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<size_t>(lists.axes[i]);
    const Cut cut = slice_axis(dims[axis], starts[i], ends[i], lists.steps[i]);
    from.offset += cut.begin * from.strides[axis];
    // With a single element the step is never taken, and may be too large to multiply.
    from.strides[axis] = cut.count > 1 ? from.strides[axis] * cut.step : 0;
    dims[axis] = cut.count;
  }
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() > 0) copy_elements(dims, x, from, y, {0, row_major_strides(dims)});
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "Transpose",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_transpose,
     .eval = eval_transpose,
     .work = no_flops},
    {.name = "Concat",
     .min_inputs = 1,
     .max_inputs = kMany,
     .infer = infer_concat,
     .eval = eval_concat,
     .work = no_flops},
    {.name = "Split",
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = kMany,
     .infer = infer_split,
     .eval = eval_split,
     .work = no_flops},
    {.name = "Slice",
     .min_inputs = 3,
     .max_inputs = 5,
     .infer = infer_slice,
     .eval = eval_slice,
     .work = no_flops},
};

}  // namespace

Tensor concat(const EvalContext& c, std::span<const Tensor> parts, int64_t axis_attr) {
  require(!parts.empty(), "nothing to concatenate");
  const int rank = parts[0].rank();
  const auto axis = static_cast<size_t>(normalize_axis(axis_attr, rank));
  Dims dims = parts[0].dims();
  dims[axis] = 0;
  for (const Tensor& x : parts) {
    require_dtype(x, parts[0].dtype(), "a part");
    require_rank(x, rank, "a part");
    for (size_t a = 0; a < dims.size(); ++a) {
      if (a != axis && x.dims()[a] != dims[a])
        fail("parts " + to_string(parts[0].dims()) + " and " + to_string(x.dims()) + " do not fit on axis " +
             std::to_string(axis));
    }
    dims[axis] = checked_add(dims[axis], x.dims()[axis]);
  }
  Tensor y = c.make(parts[0].dtype(), dims);
  const Dims strides = row_major_strides(dims);
  int64_t at = 0;
  for (const Tensor& x : parts) {
    if (x.size() > 0)
      copy_elements(x.dims(), x, {0, row_major_strides(x.dims())}, y, {at * strides[axis], strides});
    at += x.dims()[axis];
  }
  return y;
}

Tensor cut(const EvalContext& c, const Tensor& x, size_t axis, int64_t begin, int64_t count) {
  Dims dims = x.dims();
  dims[axis] = count;
  const Dims strides = row_major_strides(x.dims());
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() > 0) copy_elements(dims, x, {begin * strides[axis], strides}, y, {0, row_major_strides(dims)});
  return y;
}

std::span<const OpDef> slice_ops() {
  return kOps;
}

}  // namespace skyline::ops
