// Operators whose output is the input moved about, with some of it left out or filled in.
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- Pad
// ---------------------------------------------------------------------------------------------------------

enum class PadMode { constant, reflect, edge, wrap };

PadMode pad_mode(const Attrs& attrs) {
  const std::string mode = attrs.text("mode", "constant");
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "edge") return PadMode::edge;
  if (mode == "wrap") return PadMode::wrap;
  fail("mode is '" + mode + "', expected constant, reflect, edge or wrap");
}

// Elements to add (or, negative, to remove) before and after each axis.
struct Pads {
  Dims before, after;
};
Pads full_pads(const Dims& pads, const std::optional<Dims>& axes, int rank) {
  Dims list = axes.value_or(Dims{});
  if (!axes) {
    for (int i = 0; i < rank; ++i) list.push_back(i);
  }
  if (pads.size() != 2 * list.size())
    fail("pads has " + std::to_string(pads.size()) + " entries for " + std::to_string(list.size()) + " axes");
  Pads out{Dims(static_cast<size_t>(rank), 0), Dims(static_cast<size_t>(rank), 0)};
  const std::vector<int> where = normalize_axes(list, rank, "axes");
  for (size_t i = 0; i < where.size(); ++i) {
    out.before[static_cast<size_t>(where[i])] = pads[i];
    out.after[static_cast<size_t>(where[i])] = pads[i + where.size()];
  }
  return out;
}

int64_t padded(int64_t n, int64_t before, int64_t after) {
  const int64_t out = before < -n || after < -n ? -1 : checked_add(checked_add(n, before), after);
  if (out < 0)
    fail("pads " + str(before) + " and " + str(after) + " remove more than the " + str(n) +
         " elements there are");
  return out;
}

void infer_pad(InferContext& c) {
  const Fact& x = c.in(0);
  pad_mode(c.attrs());
  if (!x.ranked) return c.out(0, x);
  const auto pads = c.constant_ints(1), axes = c.constant_ints(3);
  Fact out = x;
  if (!pads || (c.has(3) && !axes)) {
    out.dims = unknown_dims(x.rank());
    return c.out(0, std::move(out));
  }
  const Pads p = full_pads(*pads, axes, x.rank());
  for (size_t a = 0; a < out.dims.size(); ++a) {
    if (out.dims[a].known()) {
      out.dims[a] = padded(out.dims[a].value(), p.before[a], p.after[a]);
    } else if (p.before[a] != 0 || p.after[a] != 0) {
      out.dims[a] = Dim::unknown();
    }
  }
  c.out(0, std::move(out));
}

int64_t modulo(int64_t a, int64_t n) {
  return (a % n + n) % n;
}

// Where each element along a padded axis of n elements comes from; -1: it is filled in. What negative pads
// remove is gone before the mode looks at the rest.
Dims pad_map(int64_t n, int64_t before, int64_t after, PadMode mode) {
  const int64_t low = std::min(n, std::max<int64_t>(0, -before));
  const int64_t have = std::max<int64_t>(0, n - low - std::max<int64_t>(0, -after));
  const int64_t out = padded(n, before, after);
  if (have == 0 && out > 0 && mode != PadMode::constant) fail("nothing to pad from: the axis is empty");
  Dims map;
  for (int64_t j = 0; j < out; ++j) {
    int64_t i = j - std::max<int64_t>(0, before);
    if (i < 0 || i >= have) {
      switch (mode) {
        case PadMode::constant:
          map.push_back(-1);
          continue;
        case PadMode::edge:
          i = std::clamp<int64_t>(i, 0, have - 1);
          break;
        case PadMode::wrap:
          i = modulo(i, have);
          break;
        case PadMode::reflect: {
          const int64_t period = std::max<int64_t>(1, 2 * (have - 1));
          i = modulo(i, period);
          if (i >= have) i = period - i;
        }
      }
    }
    map.push_back(low + i);
  }
  return map;
}

void eval_pad(EvalContext& c) {
  const Tensor& x = c.in(0);
  const PadMode mode = pad_mode(c.attrs());
  std::optional<Dims> axes;
  if (c.has(3)) axes = c.ints(3);
  const Pads p = full_pads(c.ints(1), axes, x.rank());
  const Tensor* value = nullptr;
  if (c.has(2)) {
    value = &c.in(2);
    require_dtype(*value, x.dtype(), "constant_value");
    if (value->size() != 1)
      fail("constant_value has shape " + to_string(value->dims()) + ", expected a scalar");
  }
  Dims dims;
  for (size_t a = 0; a < x.dims().size(); ++a) dims.push_back(padded(x.dims()[a], p.before[a], p.after[a]));
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() > 0) {
    std::vector<Dims> maps;
    for (size_t a = 0; a < dims.size(); ++a)
      maps.push_back(pad_map(x.dims()[a], p.before[a], p.after[a], mode));
    gather_by_axis(x, y, maps, value);
  }
  c.out(0, std::move(y));
}

// ---- CenterCropPad
// -----------------------------------------------------------------------------------------------

// The result's dims: those of x with the given axes replaced.
template <class D>
std::vector<D> crop_dims(std::vector<D> dims, const Attrs& attrs, const Dims& shape) {
  const int rank = static_cast<int>(dims.size());
  Dims axes = attrs.integers("axes", {});
  if (!attrs.has("axes")) {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  if (axes.size() != shape.size())
    fail("shape has " + std::to_string(shape.size()) + " entries for " + std::to_string(axes.size()) +
         " axes");
  const std::vector<int> where = normalize_axes(axes, rank, "axes");
  for (size_t i = 0; i < where.size(); ++i) {
    if (shape[i] < 0) fail("shape has " + str(shape[i]));
    dims[static_cast<size_t>(where[i])] = shape[i];
  }
  return dims;
}

void infer_center_crop_pad(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, x);
  const auto shape = c.constant_ints(1);
  Fact out = x;
  if (shape) {
    out.dims = crop_dims(x.dims, c.attrs(), *shape);
  } else if (c.attrs().has("axes")) {
    for (int a : normalize_axes(c.attrs().integers("axes"), x.rank(), "axes"))
      out.dims[static_cast<size_t>(a)] = Dim::unknown();
  } else {
    out.dims = unknown_dims(x.rank());
  }
  c.out(0, std::move(out));
}

void eval_center_crop_pad(EvalContext& c) {
  const Tensor& x = c.in(0);
  Tensor y = c.make(x.dtype(), crop_dims(x.dims(), c.attrs(), c.ints(1)));
  if (y.size() > 0) {
    std::vector<Dims> maps(x.dims().size());
    for (size_t a = 0; a < maps.size(); ++a) {
      const int64_t have = x.dims()[a], want = y.dims()[a];
      // Both halves round down: an odd pixel is cropped from, or added on, the right.
      const int64_t shift = want < have ? (have - want) / 2 : -((want - have) / 2);
      for (int64_t j = 0; j < want; ++j)
        maps[a].push_back(j + shift >= 0 && j + shift < have ? j + shift : -1);
    }
    gather_by_axis(x, y, maps);
  }
  c.out(0, std::move(y));
}

// ---- DepthToSpace, SpaceToDepth
// ----------------------------------------------------------------------------------

int64_t block_size(const Attrs& attrs) {
  const int64_t b = attrs.integer("blocksize");
  if (b < 1 || b > (1 << 20)) fail("blocksize is " + str(b));
  return b;
}

int64_t divide(int64_t n, int64_t by, const char* what) {
  if (n % by != 0) fail(std::string(what) + " " + str(n) + " is no multiple of " + str(by));
  return n / by;
}
Dim divide(Dim n, int64_t by, const char* what) {
  return n.known() ? Dim(divide(n.value(), by, what)) : Dim::unknown();
}

void infer_depth_to_space(InferContext& c) {
  const Fact& x = c.in(0);
  const int64_t b = block_size(c.attrs());
  if (!x.ranked) return c.out(0, Fact(x.dtype, unknown_dims(4)));
  if (x.rank() != 4) fail("input has rank " + str(x.rank()) + ", expected 4");
  c.out(0, Fact(x.dtype,
                {x.dims[0], divide(x.dims[1], b * b, "channels"), mul(x.dims[2], b), mul(x.dims[3], b)}));
}

void infer_space_to_depth(InferContext& c) {
  const Fact& x = c.in(0);
  const int64_t b = block_size(c.attrs());
  if (!x.ranked) return c.out(0, Fact(x.dtype, unknown_dims(4)));
  if (x.rank() != 4) fail("input has rank " + str(x.rank()) + ", expected 4");
  c.out(0, Fact(x.dtype, {x.dims[0], mul(x.dims[1], b * b), divide(x.dims[2], b, "height"),
                          divide(x.dims[3], b, "width")}));
}

// y[n, h, i, w, j of the C x H x W order given by `to`] = x in the order of `dims`: a transpose between 6-D
// views.
void eval_depth_to_space(EvalContext& c) {
  const Tensor& x = c.in(0);
  const int64_t b = block_size(c.attrs());
  require_rank(x, 4, "input");
  const std::string mode = c.attrs().text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") fail("mode is '" + mode + "', expected DCR or CRD");
  const int64_t depth = divide(x.dim(1), b * b, "channels"), h = x.dim(2), w = x.dim(3);
  Tensor y = c.make(x.dtype(), {x.dim(0), depth, checked_mul(h, b), checked_mul(w, b)});
  // The output as [n, depth, h, bh, w, bw], and the strides with which the input is read in that order.
  const Dims dims = {x.dim(0), depth, h, b, w, b};
  const int64_t plane = h * w, batch = x.dim(1) * plane;
  const Dims from = mode == "DCR" ? Dims{batch, plane, w, b * depth * plane, 1, depth * plane}
                                  : Dims{batch, b * b * plane, w, b * plane, 1, plane};
  if (y.size() > 0) copy_elements(dims, x, {0, from}, y, {0, row_major_strides(dims)});
  c.out(0, std::move(y));
}

void eval_space_to_depth(EvalContext& c) {
  const Tensor& x = c.in(0);
  const int64_t b = block_size(c.attrs());
  require_rank(x, 4, "input");
  const std::string mode = c.attrs().text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") fail("mode is '" + mode + "', expected DCR or CRD");
  const int64_t depth = x.dim(1), h = divide(x.dim(2), b, "height"), w = divide(x.dim(3), b, "width");
  Tensor y = c.make(x.dtype(), {x.dim(0), checked_mul(depth, b * b), h, w});
  // The input as [n, depth, h, bh, w, bw], and the strides with which the output is written in that order.
  const Dims dims = {x.dim(0), depth, h, b, w, b};
  const int64_t plane = h * w, batch = y.dim(1) * plane;
  const Dims to = mode == "DCR" ? Dims{batch, plane, w, b * depth * plane, 1, depth * plane}
                                : Dims{batch, b * b * plane, w, b * plane, 1, plane};
  if (y.size() > 0) copy_elements(dims, x, {0, row_major_strides(dims)}, y, {0, to});
  c.out(0, std::move(y));
}

// ---- ReverseSequence
// ---------------------------------------------------------------------------------------------

void eval_reverse_sequence(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims lengths = c.ints(1);
  if (x.rank() < 2) fail("input has rank " + str(x.rank()) + ", expected 2 or more");
  const auto batch =
      static_cast<size_t>(normalize_axis(c.attrs().integer("batch_axis", 1), x.rank(), "batch_axis"));
  const auto time =
      static_cast<size_t>(normalize_axis(c.attrs().integer("time_axis", 0), x.rank(), "time_axis"));
  require(batch != time, "batch_axis and time_axis are the same");
  if (static_cast<int64_t>(lengths.size()) != x.dims()[batch])
    fail("sequence_lens has " + std::to_string(lengths.size()) + " entries for a batch of " +
         str(x.dims()[batch]));
  for (int64_t n : lengths) {
    if (n < 0 || n > x.dims()[time])
      fail("sequence length " + str(n) + " is outside [0, " + str(x.dims()[time]) + "]");
  }
  Tensor y = c.make(x.dtype(), x.dims());
  const Dims strides = row_major_strides(x.dims());
  visit_size(x.dtype(), [&]<class T>() {
    const T* from = static_cast<const T*>(x.raw());
    T* to = static_cast<T*>(y.mutable_raw());
    for (NdIndex<1> it(x.dims(), {strides}); !it.done(); it.next()) {
      const int64_t n = lengths[static_cast<size_t>(it.index()[batch])], t = it.index()[time];
      to[it[0]] = from[it[0] + (t < n ? (n - 1 - 2 * t) * strides[time] : 0)];
    }
  });
  c.out(0, std::move(y));
}

// ---- Trilu
// -------------------------------------------------------------------------------------------------------

void eval_trilu(EvalContext& c) {
  const Tensor& x = c.in(0);
  if (x.rank() < 2) fail("input has rank " + str(x.rank()) + ", expected 2 or more");
  const bool upper = c.attrs().integer("upper", 1) != 0;
  const int64_t k = c.has(1) ? one_int(c.in(1), "k") : 0;
  const int64_t rows = x.dim(x.rank() - 2), cols = x.dim(x.rank() - 1);
  const int64_t diagonal = std::clamp(k, -rows - 1, cols + 1);  // beyond is the same, and cannot overflow
  Tensor y = c.make(x.dtype(), x.dims());
  visit_size(x.dtype(), [&]<class T>() {
    const T* from = static_cast<const T*>(x.raw());
    T* to = static_cast<T*>(y.mutable_raw());
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t col = i % cols, row = i / cols % rows;
      to[i] = (upper ? col - row >= diagonal : col - row <= diagonal) ? from[i] : T{};
    }
  });
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "Pad", .min_inputs = 2, .max_inputs = 4, .infer = infer_pad, .eval = eval_pad, .work = no_flops},
    {.name = "CenterCropPad",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_center_crop_pad,
     .eval = eval_center_crop_pad,
     .work = no_flops},
    {.name = "DepthToSpace",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_depth_to_space,
     .eval = eval_depth_to_space,
     .work = no_flops},
    {.name = "SpaceToDepth",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_space_to_depth,
     .eval = eval_space_to_depth,
     .work = no_flops},
    {.name = "ReverseSequence",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_same_as_first,
     .eval = eval_reverse_sequence,
     .work = no_flops},
    {.name = "Trilu",
     .min_inputs = 1,
     .max_inputs = 2,
     .infer = infer_same_as_first,
     .eval = eval_trilu,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> pad_ops() {
  return kOps;
}

}  // namespace skyline::ops
