// Writing at indices: ScatterElements, ScatterND, TensorScatter, MaxUnpool, Col2Im.
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/indices.h"

namespace skyline::ops {
namespace {

// ---- reductions of updates
// ---------------------------------------------------------------------------------------

enum class Reduction { none, add, mul, max, min };

Reduction reduction_of(const Attrs& attrs) {
  const std::string r = attrs.text("reduction", "none");
  if (r == "none") return Reduction::none;
  if (r == "add") return Reduction::add;
  if (r == "mul") return Reduction::mul;
  if (r == "max") return Reduction::max;
  if (r == "min") return Reduction::min;
  fail("reduction is '" + r + "', expected none, add, mul, max or min");
}

template <class T>
T combine(Reduction r, T a, T b) {
  const Wide<T> x = widen(a), y = widen(b);
  switch (r) {
    case Reduction::none:
      return b;
    case Reduction::max:
      return x != x ? a : (y != y || y > x) ? b : a;  // NaN wins
    case Reduction::min:
      return x != x ? a : (y != y || y < x) ? b : a;
    case Reduction::add:
    case Reduction::mul:
      break;
  }
  if constexpr (std::is_integral_v<T>) {  // wraps around, as unsigned arithmetic does
    const auto p = static_cast<uint64_t>(x), q = static_cast<uint64_t>(y);
    return static_cast<T>(r == Reduction::add ? p + q : p * q);
  } else {
    return narrow<T>(r == Reduction::add ? x + y : x * y);
  }
}

// y[at(i)] = combine(y[at(i)], updates[i]) for i in [0, n), in this order.
template <class At>
void scatter(Reduction r, const Tensor& updates, Tensor& y, int64_t n, At at) {
  if (r == Reduction::none) {
    return visit_size(y.dtype(), [&]<class T>() {
      const T* from = static_cast<const T*>(updates.raw());
      T* to = static_cast<T*>(y.mutable_raw());
      for (int64_t i = 0; i < n; ++i) to[at(i)] = from[i];
    });
  }
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    const T* from = updates.data<T>();
    T* to = y.mutable_data<T>();
    for (int64_t i = 0; i < n; ++i) {
      const int64_t j = at(i);
      to[j] = combine(r, to[j], from[i]);
    }
  });
}

Tensor copy_of(EvalContext& c, const Tensor& x) {
  Tensor y = c.make(x.dtype(), x.dims());
  copy_elements({x.size()}, x, {0, {1}}, y, {0, {1}});
  return y;
}

// ---- ScatterElements, ScatterND
// ----------------------------------------------------------------------------------

void infer_scatter_elements(InferContext& c) {
  const Fact& x = c.in(0);
  reduction_of(c.attrs());
  if (x.ranked) normalize_axis(c.attrs().integer("axis", 0), x.rank());
  c.out(0, x);
}

void eval_scatter_elements(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1), &updates = c.in(2);
  const Reduction r = reduction_of(c.attrs());
  const int axis = normalize_axis(c.attrs().integer("axis", 0), x.rank());
  check_elements_shape(x, indices, axis);
  require_dtype(updates, x.dtype(), "updates");
  if (updates.dims() != indices.dims())
    fail("updates " + to_string(updates.dims()) + " and indices " + to_string(indices.dims()) +
         " differ in shape");
  Dims at = checked_indices(indices, x.dim(axis));
  const Dims strides = row_major_strides(x.dims());
  size_t k = 0;
  for (NdIndex<1> it(indices.dims(), {strides}); !it.done(); it.next(), ++k) {
    const auto a = static_cast<size_t>(axis);
    at[k] = it[0] + (at[k] - it.index()[a]) * strides[a];
  }
  Tensor y = copy_of(c, x);
  scatter(r, updates, y, indices.size(), [&](int64_t i) { return at[static_cast<size_t>(i)]; });
  c.out(0, std::move(y));
}

void infer_scatter_nd(InferContext& c) {
  reduction_of(c.attrs());
  c.out(0, c.in(0));
}

void eval_scatter_nd(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1), &updates = c.in(2);
  const Reduction r = reduction_of(c.attrs());
  const TupleIndex at = checked_tuples(x.dims(), indices, 0);
  require_dtype(updates, x.dtype(), "updates");
  Dims expected(indices.dims().begin(), indices.dims().end() - 1);
  expected.insert(expected.end(), x.dims().begin() + at.depth, x.dims().end());
  if (updates.dims() != expected)
    fail("updates has shape " + to_string(updates.dims()) + ", expected " + to_string(expected));
  Tensor y = copy_of(c, x);
  scatter(r, updates, y, updates.size(),
          [&](int64_t i) { return at.offsets[static_cast<size_t>(i / at.slice)] + i % at.slice; });
  c.out(0, std::move(y));
}

// ---- TensorScatter
// -----------------------------------------------------------------------------------------------

void eval_tensor_scatter(EvalContext& c) {
  const Tensor &x = c.in(0), &update = c.in(1);
  const int axis = normalize_axis(c.attrs().integer("axis", -2), x.rank());
  require(axis != 0, "axis is the batch dimension");
  const std::string mode = c.attrs().text("mode", "linear");
  if (mode != "linear" && mode != "circular") fail("mode is '" + mode + "', expected linear or circular");
  require_dtype(update, x.dtype(), "update");
  require_rank(update, x.rank(), "update");
  for (int a = 0; a < x.rank(); ++a) {
    if (a == axis ? update.dim(a) > x.dim(a) : update.dim(a) != x.dim(a))
      fail("update " + to_string(update.dims()) + " does not fit the cache " + to_string(x.dims()));
  }
  const int64_t room = x.dim(axis), length = update.dim(axis);
  Dims begin(static_cast<size_t>(x.dim(0)), 0);
  if (c.has(2)) begin = c.ints(2);
  if (static_cast<int64_t>(begin.size()) != x.dim(0))
    fail("write_indices has " + std::to_string(begin.size()) + " entries for a batch of " + str(x.dim(0)));
  for (int64_t b : begin) {
    if (b < 0 || (mode == "linear" && b > room - length))
      fail("write index " + str(b) + " is outside the cache of " + str(room));
  }
  Tensor y = copy_of(c, x);
  const Dims strides = row_major_strides(x.dims());
  const auto a = static_cast<size_t>(axis);
  Dims at;
  for (NdIndex<1> it(update.dims(), {strides}); !it.done(); it.next()) {
    const int64_t t = it.index()[a], start = begin[static_cast<size_t>(it.index()[0])] % room;
    at.push_back(it[0] + ((start + t) % room - t) * strides[a]);
  }
  scatter(Reduction::none, update, y, update.size(), [&](int64_t i) { return at[static_cast<size_t>(i)]; });
  c.out(0, std::move(y));
}

// ---- MaxUnpool
// ---------------------------------------------------------------------------------------------------

// The spatial attributes with their defaults, checked.
struct Window {
  Dims kernel, strides, dilations, pads;
};
Window window_of(const Attrs& attrs, Dims kernel, size_t spatial) {
  Window w{std::move(kernel), attrs.integers("strides", Dims(spatial, 1)),
           attrs.integers("dilations", Dims(spatial, 1)), attrs.integers("pads", Dims(2 * spatial, 0))};
  if (w.kernel.size() != spatial || w.strides.size() != spatial || w.dilations.size() != spatial ||
      w.pads.size() != 2 * spatial) {
    fail("kernel, strides, dilations or pads do not have " + std::to_string(spatial) + " spatial dimensions");
  }
  constexpr int64_t kMost = int64_t{1} << 31;
  for (const Dims* list : {&w.kernel, &w.strides, &w.dilations}) {
    for (int64_t n : *list) {
      if (n < 1 || n > kMost) fail("a kernel size, stride or dilation is " + str(n));
    }
  }
  for (int64_t n : w.pads) {
    if (n < 0 || n > kMost) fail("a pad is " + str(n));
  }
  return w;
}

// The spatial size that pooling with this window came from.
int64_t unpooled(const Window& w, size_t i, int64_t n) {
  const size_t k = w.kernel.size();
  const int64_t out = checked_add(checked_mul(n - 1, w.strides[i]), w.kernel[i] - w.pads[i] - w.pads[i + k]);
  if (out < 1) fail("axis " + std::to_string(i + 2) + " unpools to " + str(out) + " elements");
  return out;
}

void infer_max_unpool(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, x);
  if (x.rank() < 3) fail("input has rank " + str(x.rank()) + ", expected 3 or more");
  Fact out = x;
  if (c.has(2)) {
    const auto shape = c.constant_ints(2);
    out.dims = shape ? fixed_dims(*shape, "output_shape") : unknown_dims(x.rank());
    return c.out(0, std::move(out));
  }
  const Window w = window_of(c.attrs(), c.attrs().integers("kernel_shape"), x.dims.size() - 2);
  for (size_t i = 2; i < out.dims.size(); ++i) {
    if (out.dims[i].known())
      out.dims[i] = unpooled(w, i - 2, out.dims[i].value());
    else
      out.dims[i] = Dim::unknown();
  }
  c.out(0, std::move(out));
}

void eval_max_unpool(EvalContext& c) {
  const Tensor &x = c.in(0), &indices = c.in(1);
  if (x.rank() < 3) fail("input has rank " + str(x.rank()) + ", expected 3 or more");
  if (indices.dims() != x.dims())
    fail("indices " + to_string(indices.dims()) + " and input " + to_string(x.dims()) + " differ in shape");
  const Window w = window_of(c.attrs(), c.attrs().integers("kernel_shape"), x.dims().size() - 2);
  // Indices count through the whole tensor of the size that the attributes give; output_shape may only be
  // larger, and the tensor then sits in its corner.
  Dims own = x.dims();
  for (size_t i = 2; i < own.size(); ++i) own[i] = unpooled(w, i - 2, own[i]);
  const Dims dims = c.has(2) ? c.ints(2) : own;
  if (dims.size() != own.size())
    fail("output_shape has " + std::to_string(dims.size()) + " entries for rank " + str(x.rank()));
  for (size_t i = 0; i < own.size(); ++i) {
    if (i < 2 ? dims[i] != own[i] : dims[i] < own[i])
      fail("output_shape " + to_string(dims) + " is smaller than " + to_string(own));
  }
  const Dims index = checked_indices(indices, element_count(own));
  Tensor y = c.make(x.dtype(), dims);
  fill(y);
  const Dims to = row_major_strides(dims);
  scatter(Reduction::none, x, y, x.size(), [&](int64_t i) {
    int64_t rest = index[static_cast<size_t>(i)], at = 0;
    for (size_t a = own.size(); a-- > 0; rest /= own[a]) at += rest % own[a] * to[a];
    return at;
  });
  c.out(0, std::move(y));
}

// ---- Col2Im
// ------------------------------------------------------------------------------------------------------

void infer_col2im(InferContext& c) {
  const Fact& x = c.in(0);
  const auto image = c.constant_ints(1), block = c.constant_ints(2);
  const int64_t n = list_length(c, 1);
  if (!image && n < 0) return c.out(0, Fact::unranked(x.dtype));
  if (x.ranked && x.rank() != 3) fail("input has rank " + str(x.rank()) + ", expected 3");
  SymDims dims = unknown_dims(2 + (image ? static_cast<int64_t>(image->size()) : n));
  if (x.ranked) dims[0] = x.dims[0];
  if (x.ranked && block && x.dims[1].known()) {
    int64_t size = 1;
    for (int64_t b : *block) size = checked_mul(size, b);
    if (size < 1 || x.dims[1].value() % size != 0)
      fail("channels " + str(x.dims[1].value()) + " are no multiple of the block's size " + str(size));
    dims[1] = x.dims[1].value() / size;
  }
  for (size_t i = 0; image && i < image->size(); ++i) {
    if ((*image)[i] < 1) fail("image_shape has " + str((*image)[i]));
    dims[2 + i] = (*image)[i];
  }
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_col2im(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims image = c.ints(1);
  require_rank(x, 3, "input");
  const size_t spatial = image.size();
  const Window w = window_of(c.attrs(), c.ints(2), spatial);
  Dims blocks;  // along each axis
  int64_t block = 1, count = 1;
  for (size_t i = 0; i < spatial; ++i) {
    if (image[i] < 1 || image[i] > (int64_t{1} << 31)) fail("image_shape has " + str(image[i]));
    block = checked_mul(block, w.kernel[i]);
    const int64_t span = image[i] + w.pads[i] + w.pads[i + spatial] - w.dilations[i] * (w.kernel[i] - 1) - 1;
    if (span < 0) fail("the block is larger than the padded image on axis " + std::to_string(i));
    blocks.push_back(span / w.strides[i] + 1);
    count = checked_mul(count, blocks.back());
  }
  if (x.dim(1) % block != 0 || x.dim(2) != count) {
    fail("input " + to_string(x.dims()) + " does not hold " + str(count) + " blocks of " + str(block) +
         " elements");
  }
  Dims dims = {x.dim(0), x.dim(1) / block};
  dims.insert(dims.end(), image.begin(), image.end());
  Tensor y = c.make(x.dtype(), dims);
  fill(y);
  const Dims to = row_major_strides(dims);
  // The input as [N * C, kernel..., blocks...].
  Dims view = {dims[0] * dims[1]};
  view.insert(view.end(), w.kernel.begin(), w.kernel.end());
  view.insert(view.end(), blocks.begin(), blocks.end());
  const Dims none(view.size(), 0);
  visit_type(x.dtype(), NumericTypes{}, [&]<class T>() {
    const T* from = x.data<T>();
    std::vector<Wide<T>> sum(static_cast<size_t>(y.size()), Wide<T>(0));
    for (NdIndex<1> it(view, {none}); !it.done(); it.next(), ++from) {
      int64_t at = it.index()[0] * to[1];
      bool inside = true;
      for (size_t i = 0; i < spatial; ++i) {
        const int64_t p =
            it.index()[1 + spatial + i] * w.strides[i] + it.index()[1 + i] * w.dilations[i] - w.pads[i];
        inside = inside && p >= 0 && p < image[i];
        at += p * to[2 + i];
      }
      if (inside)
        sum[static_cast<size_t>(at)] = static_cast<Wide<T>>(sum[static_cast<size_t>(at)] + widen(*from));
    }
    T* out = y.mutable_data<T>();
    for (size_t i = 0; i < sum.size(); ++i) out[i] = narrow<T>(sum[i]);
  });
  c.out(0, std::move(y));
}

Work col2im_work(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}
Work scatter_work(const Node& n, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = n.attrs.text("reduction", "none") == "none" ? 0 : in[2].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "ScatterElements",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_scatter_elements,
     .eval = eval_scatter_elements,
     .work = scatter_work},
    {.name = "ScatterND",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_scatter_nd,
     .eval = eval_scatter_nd,
     .work = scatter_work},
    {.name = "TensorScatter",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_same_as_first,
     .eval = eval_tensor_scatter,
     .work = no_flops},
    {.name = "MaxUnpool",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_max_unpool,
     .eval = eval_max_unpool,
     .work = no_flops},
    {.name = "Col2Im",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_col2im,
     .eval = eval_col2im,
     .work = col2im_work},
};

}  // namespace

std::span<const OpDef> scatter_ops() {
  return kOps;
}

}  // namespace skyline::ops
