// Reading at indices: Gather, GatherElements, GatherND, and Compress.
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/indices.h"

namespace skyline::ops {
namespace {

// ---- Gather
// ------------------------------------------------------------------------------------------------------

// data's dims with `axis` replaced by all of `indices`.
template <class D>
std::vector<D> gather_dims(const std::vector<D>& data, const std::vector<D>& indices, int axis) {
  std::vector<D> dims(data.begin(), data.begin() + axis);
  dims.insert(dims.end(), indices.begin(), indices.end());
  dims.insert(dims.end(), data.begin() + axis + 1, data.end());
  return dims;
}

void infer_gather(InferContext& c) {
  const Fact &x = c.in(0), &i = c.in(1);
  if (!x.ranked) return c.out(0, x);
  const int axis = normalize_axis(c.attrs().integer("axis", 0), x.rank());
  c.out(0, i.ranked ? Fact(x.dtype, gather_dims(x.dims, i.dims, axis)) : Fact::unranked(x.dtype));
}

void eval_gather(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1);
  const int axis = normalize_axis(c.attrs().integer("axis", 0), x.rank());
  const Dims index = checked_indices(indices, x.dim(axis));
  Tensor y = c.make(x.dtype(), gather_dims(x.dims(), indices.dims(), axis));
  const int64_t inner = row_major_strides(x.dims())[static_cast<size_t>(axis)];
  const int64_t outer = y.size() == 0 ? 0 : y.size() / (inner * indices.size());
  visit_size(x.dtype(), [&]<class T>() {
    const T* from = static_cast<const T*>(x.raw());
    T* to = static_cast<T*>(y.mutable_raw());
    for (int64_t o = 0; o < outer; ++o, from += x.dim(axis) * inner) {
      for (int64_t i : index) to = std::copy(from + i * inner, from + (i + 1) * inner, to);
    }
  });
  c.out(0, std::move(y));
}

// ---- GatherElements
// ----------------------------------------------------------------------------------------------

void infer_gather_elements(InferContext& c) {
  const Fact &x = c.in(0), &i = c.in(1);
  if (x.ranked) normalize_axis(c.attrs().integer("axis", 0), x.rank());
  if (x.ranked && i.ranked && x.rank() != i.rank())
    fail("indices has rank " + str(i.rank()) + ", data " + str(x.rank()));
  c.out(0, with_dtype(i, x.dtype));
}

void eval_gather_elements(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1);
  const int axis = normalize_axis(c.attrs().integer("axis", 0), x.rank());
  check_elements_shape(x, indices, axis);
  const Dims index = checked_indices(indices, x.dim(axis));
  Tensor y = c.make(x.dtype(), indices.dims());
  const Dims strides = row_major_strides(x.dims());
  const auto a = static_cast<size_t>(axis);
  visit_size(x.dtype(), [&]<class T>() {
    const T* from = static_cast<const T*>(x.raw());
    T* to = static_cast<T*>(y.mutable_raw());
    for (NdIndex<1> it(indices.dims(), {strides}); !it.done(); it.next(), ++to) {
      *to = from[it[0] + (index[static_cast<size_t>(to - static_cast<T*>(y.mutable_raw()))] - it.index()[a]) *
                             strides[a]];
    }
  });
  c.out(0, std::move(y));
}

// ---- GatherND
// ----------------------------------------------------------------------------------------------------

void infer_gather_nd(InferContext& c) {
  const Fact &x = c.in(0), &i = c.in(1);
  const int64_t batch = c.attrs().integer("batch_dims", 0);
  if (!x.ranked || !i.ranked || i.rank() < 1 || !i.dims.back().known())
    return c.out(0, Fact::unranked(x.dtype));
  const int64_t depth = i.dims.back().value();
  if (batch < 0 || batch >= i.rank() || depth < 1 || batch + depth > x.rank()) {
    fail("indices of depth " + str(depth) + " and batch_dims " + str(batch) + " do not fit data of rank " +
         str(x.rank()));
  }
  SymDims dims(i.dims.begin(), i.dims.end() - 1);
  dims.insert(dims.end(), x.dims.begin() + batch + depth, x.dims.end());
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_gather_nd(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1);
  const int64_t batch = c.attrs().integer("batch_dims", 0);
  const TupleIndex at = checked_tuples(x.dims(), indices, batch);
  Dims dims(indices.dims().begin(), indices.dims().end() - 1);
  dims.insert(dims.end(), x.dims().begin() + batch + at.depth, x.dims().end());
  Tensor y = c.make(x.dtype(), dims);
  visit_size(x.dtype(), [&]<class T>() {
    const T* from = static_cast<const T*>(x.raw());
    T* to = static_cast<T*>(y.mutable_raw());
    for (int64_t offset : at.offsets) to = std::copy(from + offset, from + offset + at.slice, to);
  });
  c.out(0, std::move(y));
}

// ---- Compress
// ----------------------------------------------------------------------------------------------------

void infer_compress(InferContext& c) {
  const Fact& x = c.in(0);
  if (!c.attrs().has("axis")) return c.out(0, Fact(x.dtype, {Dim::unknown()}));
  if (!x.ranked) return c.out(0, x);
  Fact out = x;
  out.dims[static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), x.rank()))] = Dim::unknown();
  c.out(0, std::move(out));
}

void eval_compress(EvalContext& c) {
  const bool flat = !c.attrs().has("axis");
  const Tensor x = flat ? c.in(0).reshaped({c.in(0).size()}) : c.in(0);
  const auto axis = static_cast<size_t>(flat ? 0 : normalize_axis(c.attrs().integer("axis"), x.rank()));
  require_rank(c.in(1), 1, "condition");
  require_dtype(c.in(1), DType::boolean, "condition");
  const auto keep = c.in(1).span<bool>();
  if (static_cast<int64_t>(keep.size()) > x.dims()[axis])
    fail("condition has " + std::to_string(keep.size()) + " entries for an axis of " + str(x.dims()[axis]));
  std::vector<Dims> maps(x.dims().size());
  for (size_t i = 0; i < keep.size(); ++i) {
    if (keep[i]) maps[axis].push_back(static_cast<int64_t>(i));
  }
  Dims dims = x.dims();
  dims[axis] = static_cast<int64_t>(maps[axis].size());
  Tensor y = c.make(x.dtype(), dims);
  for (size_t a = 0; a < maps.size() && y.size() > 0; ++a) {
    for (int64_t i = 0; i < x.dims()[a] && a != axis; ++i) maps[a].push_back(i);
  }
  gather_by_axis(x, y, maps);
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "Gather",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_gather,
     .eval = eval_gather,
     .work = no_flops},
    {.name = "GatherElements",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_gather_elements,
     .eval = eval_gather_elements,
     .work = no_flops},
    {.name = "GatherND",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_gather_nd,
     .eval = eval_gather_nd,
     .work = no_flops},
    {.name = "Compress",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_compress,
     .eval = eval_compress,
     .work = no_flops},
};

}  // namespace

Dims checked_indices(const Tensor& indices, int64_t n) {
  Dims out = to_ints(indices);
  for (int64_t& i : out) {
    if (i < -n || i >= n) fail("index " + str(i) + " is outside [" + str(-n) + ", " + str(n - 1) + "]");
    if (i < 0) i += n;
  }
  return out;
}

void check_elements_shape(const Tensor& x, const Tensor& indices, int axis) {
  require_rank(indices, x.rank(), "indices");
  for (int a = 0; a < x.rank(); ++a) {
    if (a != axis && indices.dim(a) > x.dim(a))
      fail("indices " + to_string(indices.dims()) + " are larger than data " + to_string(x.dims()));
  }
}

TupleIndex checked_tuples(const Dims& x, const Tensor& indices, int64_t batch) {
  const Dims& d = indices.dims();
  if (d.empty()) fail("indices is a scalar");
  const auto rank = static_cast<int64_t>(x.size());
  TupleIndex out;
  out.depth = d.back();
  if (batch < 0 || batch >= static_cast<int64_t>(d.size()) || out.depth < 1 || out.depth > rank - batch) {
    fail("indices " + to_string(d) + " with " + str(batch) + " batch dimensions do not fit data " +
         to_string(x));
  }
  int64_t batches = 1;
  for (int64_t i = 0; i < batch; ++i) {
    const auto a = static_cast<size_t>(i);
    if (d[a] != x[a])
      fail("batch dimensions of indices " + to_string(d) + " and data " + to_string(x) + " differ");
    batches = checked_mul(batches, d[a]);
  }
  const Dims strides = row_major_strides(x);
  for (size_t a = static_cast<size_t>(batch + out.depth); a < x.size(); ++a)
    out.slice = checked_mul(out.slice, x[a]);
  int64_t batch_size = 1, tuples = 1;
  for (size_t a = static_cast<size_t>(batch); a < x.size(); ++a) batch_size = checked_mul(batch_size, x[a]);
  for (size_t a = 0; a + 1 < d.size(); ++a) tuples = checked_mul(tuples, d[a]);
  const Dims index = to_ints(indices);
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t offset = t / std::max<int64_t>(1, tuples / batches) * batch_size;
    for (int64_t k = 0; k < out.depth; ++k) {
      const auto a = static_cast<size_t>(batch + k);
      int64_t i = index[static_cast<size_t>(t * out.depth + k)];
      if (i < -x[a] || i >= x[a])
        fail("index " + str(i) + " is outside [" + str(-x[a]) + ", " + str(x[a] - 1) + "]");
      offset += (i < 0 ? i + x[a] : i) * strides[a];
    }
    out.offsets.push_back(offset);
  }
  return out;
}

std::span<const OpDef> gather_ops() {
  return kOps;
}

}  // namespace skyline::ops
