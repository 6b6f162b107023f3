// Pooling. In domain "skyline" the same operators take an attribute layout = NCHW | NHWC.
#include <cmath>
#include <functional>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/numeric.h"
#include "graph/ops/window.h"

namespace skyline::ops {
namespace {

int pooled_rank(int rank) {
  if (rank < 3) reject("input of rank " + std::to_string(rank) + ", expected [N, C, spatial...]");
  return rank - 2;
}

Window pool_window(const Attrs& a, int spatial) {
  const Dims& kernel = a.integers("kernel_shape");
  if (static_cast<int>(kernel.size()) != spatial) {
    reject("attribute kernel_shape has " + std::to_string(kernel.size()) + " entries, expected " +
           std::to_string(spatial));
  }
  return parse_window(a, kernel);
}

SymDims pooled_dims(const SymDims& x, const Node& node) {
  const bool last = is_channels_last(node);
  const SymDims d = channels_first(x, last);
  Window w = pool_window(node.attrs, pooled_rank(static_cast<int>(d.size())));
  SymDims out{d[0], d[1]};
  for (const Dim o : w.fit(SymDims(d.begin() + 2, d.end()))) out.push_back(o);
  return channels_last(out, last);
}

Fact infer_pooled(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) {
    const auto spatial = c.attrs().integers("kernel_shape").size();
    return Fact(x.dtype, SymDims(2 + spatial));
  }
  return Fact(x.dtype, pooled_dims(x.dims, c.node));
}

void infer_pool(InferContext& c) {
  require_float(c.in(0).dtype, "input");
  c.out(0, infer_pooled(c));
}

void infer_max_pool(InferContext& c) {
  const DType t = c.in(0).dtype;
  if (t != DType::i8 && t != DType::u8) require_float(t, "input");
  const Fact y = infer_pooled(c);
  c.out(0, y);
  c.out(1, with_dtype(y, DType::i64));
}

void infer_global_pool(InferContext& c) {
  const Fact& x = c.in(0);
  require_float(x.dtype, "input");
  if (!x.ranked) return c.out(0, x);
  pooled_rank(x.rank());
  const bool last = is_channels_last(c.node);
  SymDims d = channels_first(x.dims, last);
  for (size_t i = 2; i < d.size(); ++i) d[i] = 1;
  c.out(0, Fact(x.dtype, channels_last(d, last)));
}

// A pool over planes of channels-first doubles.
struct Problem {
  Window window;
  int64_t n = 0, c = 0;
  Dims in, out;  // spatial
  Dims dims;     // of the result, in the node's layout
  bool last = false;
  std::vector<double> x;
  int64_t in_size() const { return span_count(in, 0, static_cast<int>(in.size())); }
  int64_t out_size() const { return span_count(out, 0, static_cast<int>(out.size())); }
};

Problem make_problem(EvalContext& c) {
  Problem p;
  const Tensor& x = c.in(0);
  p.last = is_channels_last(c.node);
  const Dims d = channels_first(x.dims(), p.last);
  p.window = pool_window(c.attrs(), pooled_rank(x.rank()));
  p.n = d[0];
  p.c = d[1];
  p.in.assign(d.begin() + 2, d.end());
  p.out = p.window.fit(p.in);
  p.dims = {p.n, p.c};
  p.dims.insert(p.dims.end(), p.out.begin(), p.out.end());
  p.dims = channels_last(p.dims, p.last);
  c.make(x.dtype(), p.dims);
  p.x = to_doubles(x);
  if (p.last) p.x = move_channels(p.x, p.n, p.c, p.in_size(), false);
  return p;
}

// What one window covers: offsets into the plane of the elements inside the input, and how many of the
// kernel's taps lie within the padded input.
struct Cover {
  std::vector<int64_t> inside;
  int64_t padded = 0;
};

Cover cover_of(const Problem& p, const Dims& at, const Dims& in_strides) {
  const Window& w = p.window;
  // Along each axis: the positions inside, and how many lie in the input or its padding.
  Cover cover{{0}, 1};
  for (size_t axis = 0; axis < p.in.size(); ++axis) {
    std::vector<int64_t> next;
    int64_t padded = 0;
    const int64_t start = at[axis] * w.strides[axis] - w.begin[axis];
    // Positions outside the padded input come last, so counting stops there; kernel taps before `in` are few.
    for (int64_t k = 0; k < w.kernel[axis]; ++k) {
      const int64_t pos = start + k * w.dilations[axis];
      if (pos >= p.in[axis] + w.end[axis]) break;
      ++padded;
      if (pos < 0 || pos >= p.in[axis]) continue;
      for (int64_t base : cover.inside) next.push_back(base + pos * in_strides[axis]);
    }
    cover.inside = std::move(next);
    cover.padded *= padded;
  }
  return cover;
}

// Calls plane_fn(plane of x, plane index, output offset, cover) for every window of every plane.
template <class F>
void for_each_window(const Problem& p, const EvalLimits& limits, F&& plane_fn) {
  const Dims in_strides = row_major_strides(p.in), out_strides = row_major_strides(p.out);
  const int64_t planes = p.n * p.c, in_size = p.in_size(), out_size = p.out_size();
  for (NdIndex<1> it(p.out, {out_strides}); planes > 0 && !it.done(); it.next()) {
    poll(limits);
    Cover cover = cover_of(p, it.index(), in_strides);
    std::sort(cover.inside.begin(), cover.inside.end());
    for (int64_t plane = 0; plane < planes; ++plane) {
      plane_fn(p.x.data() + plane * in_size, plane, plane * out_size + it[0], cover);
    }
  }
}

void put(EvalContext& c, const Problem& p, std::vector<double> y) {
  if (p.last) y = move_channels(y, p.n, p.c, p.out_size(), true);
  c.out(0, make_from(c, c.in(0).dtype(), p.dims, y));
}

// The index that MaxPool reports: row-major over the whole input, or with storage_order 1 column-major within
// a plane.
int64_t reported_index(int64_t offset, const Dims& in, bool column_major) {
  if (!column_major) return offset;
  int64_t out = 0, scale = 1;
  Dims index(in.size());
  for (size_t i = in.size(); i-- > 0;) {
    index[i] = offset % in[i];
    offset /= in[i];
  }
  for (size_t i = 0; i < in.size(); ++i) {
    out += index[i] * scale;
    scale *= in[i];
  }
  return out;
}

void eval_max_pool(EvalContext& c) {
  const DType t = c.in(0).dtype();
  if (t != DType::i8 && t != DType::u8) require_float(t, "input");
  const bool column_major = flag(c.attrs(), "storage_order");
  const Problem p = make_problem(c);
  if (c.wants(1) && p.last) refuse("MaxPool with Indices in layout NHWC");
  const double lowest = t == DType::i8 ? -128 : t == DType::u8 ? 0 : -std::numeric_limits<double>::infinity();
  std::vector<double> y(static_cast<size_t>(p.n * p.c * p.out_size()));
  std::vector<int64_t> where(c.wants(1) ? y.size() : 0);
  const int64_t plane_size = p.in_size();
  for_each_window(p, c.limits, [&](const double* x, int64_t plane, int64_t to, const Cover& cover) {
    double best = lowest;
    int64_t at = cover.inside.empty() ? -1 : cover.inside[0];
    for (int64_t i : cover.inside) {
      if (x[i] > best || (std::isnan(x[i]) && !std::isnan(best))) {
        best = x[i];
        at = i;
      }
    }
    y[static_cast<size_t>(to)] = best;
    if (!where.empty()) {
      where[static_cast<size_t>(to)] =
          at < 0 ? -1 : plane * plane_size + reported_index(at, p.in, column_major);
    }
  });
  put(c, p, std::move(y));
  if (c.wants(1)) {
    Tensor indices = c.make(DType::i64, p.dims);
    std::copy(where.begin(), where.end(), indices.mutable_data<int64_t>());
    c.out(1, indices);
  }
}

void eval_average_pool(EvalContext& c) {
  require_float(c.in(0).dtype(), "input");
  const bool include_pad = flag(c.attrs(), "count_include_pad");
  const Problem p = make_problem(c);
  std::vector<double> y(static_cast<size_t>(p.n * p.c * p.out_size()));
  for_each_window(p, c.limits, [&](const double* x, int64_t, int64_t to, const Cover& cover) {
    double sum = 0;
    for (int64_t i : cover.inside) sum += x[i];
    const int64_t count = include_pad ? cover.padded : static_cast<int64_t>(cover.inside.size());
    y[static_cast<size_t>(to)] = count > 0 ? sum / static_cast<double>(count) : 0;
  });
  put(c, p, std::move(y));
}

double power_of(const Attrs& a) {
  const int64_t p = a.integer("p", 2);
  if (p < 1) reject("attribute p is " + std::to_string(p) + ", expected at least 1");
  return static_cast<double>(p);
}

void eval_lp_pool(EvalContext& c) {
  require_float(c.in(0).dtype(), "input");
  const double power = power_of(c.attrs());
  const Problem p = make_problem(c);
  std::vector<double> y(static_cast<size_t>(p.n * p.c * p.out_size()));
  for_each_window(p, c.limits, [&](const double* x, int64_t, int64_t to, const Cover& cover) {
    double sum = 0;
    for (int64_t i : cover.inside) sum += std::pow(std::fabs(x[i]), power);
    y[static_cast<size_t>(to)] = std::pow(sum, 1 / power);
  });
  put(c, p, std::move(y));
}

// Reduces each plane to one number with reduce(plane, size).
template <class F>
void eval_global(EvalContext& c, F&& reduce) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  pooled_rank(x.rank());
  const bool last = is_channels_last(c.node);
  Dims d = channels_first(x.dims(), last);
  const int64_t planes = d[0] * d[1], size = span_count(d, 2, x.rank());
  if (size == 0) reject("input has empty spatial axes");
  std::vector<double> v = to_doubles(x);
  if (last) v = move_channels(v, d[0], d[1], size, false);
  std::vector<double> y(static_cast<size_t>(planes));
  for (int64_t i = 0; i < planes; ++i) y[static_cast<size_t>(i)] = reduce(v.data() + i * size, size);
  std::fill(d.begin() + 2, d.end(), 1);
  c.out(0, make_from(c, x.dtype(), channels_last(d, last), y));
}

void eval_global_average(EvalContext& c) {
  eval_global(c, [](const double* x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    return sum / static_cast<double>(n);
  });
}

void eval_global_max(EvalContext& c) {
  eval_global(c, [](const double* x, int64_t n) {
    double best = x[0];
    for (int64_t i = 1; i < n; ++i) {
      if (x[i] > best || std::isnan(x[i])) best = x[i];
    }
    return best;
  });
}

void eval_global_lp(EvalContext& c) {
  const double power = power_of(c.attrs());
  eval_global(c, [power](const double* x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::pow(std::fabs(x[i]), power);
    return std::pow(sum, 1 / power);
  });
}

Work work_pool(const Node& node, std::span<const Fact>, std::span<const Fact> out) {
  int64_t taps = 1;
  for (int64_t k : node.attrs.integers("kernel_shape")) taps *= k;
  return {.flops = out[0].elements() * taps};
}

Work work_global(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

constexpr OpDef row(std::string_view name, std::string_view domain, InferFn infer, EvalFn eval, WorkFn work) {
  return {.name = name,
          .domain = domain,
          .min_inputs = 1,
          .max_inputs = 1,
          .infer = infer,
          .eval = eval,
          .work = work};
}

constexpr OpDef kOps[] = {
    {.name = "MaxPool",
     .min_inputs = 1,
     .max_inputs = 1,
     .max_outputs = 2,
     .infer = infer_max_pool,
     .eval = eval_max_pool,
     .work = work_pool},
    row("AveragePool", "", infer_pool, eval_average_pool, work_pool),
    row("LpPool", "", infer_pool, eval_lp_pool, work_pool),
    row("GlobalAveragePool", "", infer_global_pool, eval_global_average, work_global),
    row("GlobalMaxPool", "", infer_global_pool, eval_global_max, work_global),
    row("GlobalLpPool", "", infer_global_pool, eval_global_lp, work_global),
    row("MaxPool", "skyline", infer_max_pool, eval_max_pool, work_pool),
    row("AveragePool", "skyline", infer_pool, eval_average_pool, work_pool),
    row("LpPool", "skyline", infer_pool, eval_lp_pool, work_pool),
    row("GlobalAveragePool", "skyline", infer_global_pool, eval_global_average, work_global),
    row("GlobalMaxPool", "skyline", infer_global_pool, eval_global_max, work_global),
    row("GlobalLpPool", "skyline", infer_global_pool, eval_global_lp, work_global),
};

}  // namespace

std::span<const OpDef> pool_ops() {
  return kOps;
}

}  // namespace skyline::ops
