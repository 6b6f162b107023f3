#include "graph/passes/permuted.h"

#include <algorithm>
#include <iterator>

namespace skyline::passes {
namespace {

int64_t axis_before(const AxisMove& m, int64_t axis) {
  const auto rank = static_cast<int64_t>(m.perm.size());
  return m.perm[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
}

bool axis_fits(const AxisMove& m, int64_t axis) {
  const auto rank = static_cast<int64_t>(m.perm.size());
  return axis >= -rank && axis < rank;
}

// ---- elementwise ----

bool is_one_number(const Graph& g, ValueId v) {
  return v == kNoValue || (g.constant(v) && g.constant(v)->size() == 1);
}

bool is_elementwise(const Graph& g, const Node& n) {
  if (n.is("QuantizeLinear") || n.is("DequantizeLinear")) {  // of one scale for the whole tensor
    return is_one_number(g, n.in(1)) && is_one_number(g, n.in(2));
  }
  const std::string_view name = n.op->name;  // quantized, with one scale for each tensor
  if (n.op->domain == "com.microsoft" && (name == "QLinearAdd" || name == "QLinearMul" ||
                                          name == "QLinearSigmoid" || name == "QLinearLeakyRelu")) {
    return true;
  }
  return (n.op->flags & kOpElementwise) || n.is("Cast") || n.is("Identity") || n.is("Lookup");
}

// An operand as the moved node wants it: with the axes of `m` before the move. Nothing if that costs a copy.
std::optional<ValueId> before(Patch& patch, const Graph& g, ValueId v, const AxisMove& m) {
  const int rank = static_cast<int>(m.perm.size()), own = rank_of(g, v);
  if (own == 0 || (g.constant(v) && g.constant(v)->size() == 1 && own <= rank)) return v;
  if (const Node* t = maker(g, v, "Transpose")) {
    const auto perm = perm_of(g, *t);
    if (perm && *perm == m.perm) return t->in(0);
  }
  const auto dims = static_dims(g, v);
  if (!dims || own > rank) return std::nullopt;
  Dims padded(static_cast<size_t>(rank - own), 1);
  padded.insert(padded.end(), dims->begin(), dims->end());
  const Fact fact = Fact::fixed(g.fact(v).dtype, padded);
  const Dims back = inverse(m.perm);
  const bool copied = m.copies && own == rank;
  if (!g.constant(v) && !copied && !keeps_order(fact, back)) return std::nullopt;
  const std::string name = g.value(v).name;
  if (own < rank) v = add_reshape(patch, v, padded, name);
  return add_transpose(patch, v, fact, back, name);
}

std::optional<Patch> through_elementwise(const Graph& g, const Node& n, const AxisMove& m) {
  if (n.outputs.size() != 1) return std::nullopt;
  if (rank_of(g, n.out(0)) != static_cast<int>(m.perm.size())) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in;
  for (ValueId v : n.inputs) {
    const auto now = v == kNoValue ? std::optional(v) : before(patch, g, v, m);
    if (!now) return std::nullopt;
    in.push_back(*now);
  }
  const ValueId y = patch.add(*n.op, in, n.attrs, n.name);
  patch.replace(n.out(0), patch.add(op("Transpose"), {y}, {{"perm", m.perm}}, m.name));
  return patch;
}

// ---- operators with an axis ----

// The node over the input before the move, its outputs moved afterwards.
Patch below(Patch patch, const Node& n, const OpDef& form, std::vector<ValueId> in, Attrs attrs,
            const AxisMove& m, const Dims& perm) {
  const std::vector<ValueId> out =
      patch.add_multi(form, std::move(in), n.outputs.size(), std::move(attrs), n.name);
  for (size_t i = 0; i < out.size(); ++i) {
    if (n.outputs[i] == kNoValue) continue;
    patch.replace(n.outputs[i], patch.add(op("Transpose"), {out[i]}, {{"perm", perm}}, m.name));
  }
  return patch;
}

// The same where the first input is the only one with axes.
std::optional<Patch> below_first(const Graph& g, const Node& n, const OpDef& form, Attrs attrs,
                                 const AxisMove& m) {
  Patch patch(g);
  const auto x = before(patch, g, n.in(0), m);
  if (!x) return std::nullopt;
  std::vector<ValueId> in = n.inputs;
  in[0] = *x;
  return below(std::move(patch), n, form, std::move(in), std::move(attrs), m, m.perm);
}

bool leads_to_channels_first(const AxisMove& m) {
  return m.perm.size() >= 3 && m.perm == to_channels_first(static_cast<int>(m.perm.size()));
}

std::optional<Patch> through_concat(const Graph& g, const Node& n, const AxisMove& m) {
  const int64_t axis = n.attrs.integer("axis", 0);
  if (!axis_fits(m, axis)) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in;
  for (ValueId v : n.inputs) {
    const auto now = rank_of(g, v) == static_cast<int>(m.perm.size()) ? before(patch, g, v, m) : std::nullopt;
    if (!now) return std::nullopt;
    in.push_back(*now);
  }
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(m, axis));
  return below(std::move(patch), n, *n.op, in, attrs, m, m.perm);
}

// Split, Softmax, LogSoftmax: one axis, the same rank.
std::optional<Patch> through_axis(const Graph& g, const Node& n, const AxisMove& m, int64_t fallback) {
  const int64_t axis = n.attrs.integer("axis", fallback);
  if (!axis_fits(m, axis)) return std::nullopt;
  const auto rank = static_cast<int64_t>(m.perm.size());
  const bool was_last = axis == -1 || axis == rank - 1, is_last = axis_before(m, axis) == rank - 1;
  if (!n.is("Split") && was_last && !is_last && !m.copies)
    return std::nullopt;  // rows that are contiguous are worth a move
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(m, axis));
  return below_first(g, n, *n.op, attrs, m);
}

// The axes that input 3 names, or the first `count`; nothing if they are not known.
std::optional<Dims> named_axes(const Graph& g, const Node& n, int64_t count) {
  if (n.in(3) != kNoValue) return integers(g, n.in(3));
  Dims axes;
  for (int64_t i = 0; i < count; ++i) axes.push_back(i);
  return axes;
}

std::optional<Patch> through_slice(const Graph& g, const Node& n, const AxisMove& m) {
  const auto given = named_axes(g, n, dim_of(g, n.in(1), 0));
  if (!given) return std::nullopt;
  Dims axes = *given;
  for (int64_t& a : axes) {
    if (!axis_fits(m, a)) return std::nullopt;
    a = axis_before(m, a);
  }
  Patch patch(g);
  const auto x = before(patch, g, n.in(0), m);
  if (!x) return std::nullopt;
  std::vector<ValueId> in = n.inputs;
  in.resize(std::max<size_t>(in.size(), 4), kNoValue);
  in[0] = *x;
  // The steps, starts and ends are of one type.
  Tensor t = Tensor::vector(axes);
  if (g.fact(n.in(1)).dtype == DType::i32) {
    t = Tensor::of<int32_t>({static_cast<int64_t>(axes.size())},
                            std::vector<int32_t>(axes.begin(), axes.end()));
  }
  in[3] = patch.constant(t, n.name + ".axes");
  return below(std::move(patch), n, *n.op, in, n.attrs, m, m.perm);
}

std::optional<Patch> through_pad(const Graph& g, const Node& n, const AxisMove& m) {
  const auto pads = integers(g, n.in(1));
  if (!pads) return std::nullopt;
  const size_t rank = m.perm.size();
  const auto given = named_axes(g, n, static_cast<int64_t>(rank));
  if (!given) return std::nullopt;
  const Dims& axes = *given;
  if (pads->size() != 2 * axes.size()) return std::nullopt;
  Dims full(2 * rank, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    if (!axis_fits(m, axes[i])) return std::nullopt;
    const auto axis = static_cast<size_t>(axis_before(m, axes[i]));
    full[axis] = (*pads)[i];
    full[axis + rank] = (*pads)[i + axes.size()];
  }
  Patch patch(g);
  const auto x = before(patch, g, n.in(0), m);
  if (!x) return std::nullopt;
  std::vector<ValueId> in = n.inputs;
  in.resize(std::min<size_t>(in.size(), 3));
  in[0] = *x;
  in[1] = patch.constant(Tensor::vector(full), n.name + ".pads");
  return below(std::move(patch), n, *n.op, in, n.attrs, m, m.perm);
}

std::optional<Patch> through_reduce(const Graph& g, const Node& n, const AxisMove& m) {
  const auto axes = axes_of(g, n, static_cast<int>(m.perm.size()));
  if (!axes || axes->empty()) return std::nullopt;
  Dims axes_before;
  std::vector<bool> reduced(m.perm.size(), false);  // by axis of the reader
  for (int a : *axes) {
    axes_before.push_back(axis_before(m, a));
    reduced[static_cast<size_t>(a)] = true;
  }
  std::sort(axes_before.begin(), axes_before.end());
  Dims perm = m.perm;
  if (n.attrs.integer("keepdims", 1) == 0) {
    perm.clear();
    for (size_t i = 0; i < m.perm.size(); ++i) {
      if (reduced[i]) continue;
      // Axes that go leave a gap that those behind them close.
      const int64_t gone =
          std::count_if(axes_before.begin(), axes_before.end(), [&](int64_t b) { return b < m.perm[i]; });
      perm.push_back(m.perm[i] - gone);
    }
  }
  Patch patch(g);
  const auto x = before(patch, g, n.in(0), m);
  if (!x) return std::nullopt;
  Attrs attrs = n.attrs;
  std::vector<ValueId> in{*x};
  if (attrs.has("axes")) {
    attrs.set("axes", axes_before);
  } else {
    in.push_back(patch.constant(Tensor::vector(axes_before), n.name + ".axes"));
  }
  if (perm.empty()) {
    patch.replace(n.out(0), patch.add(*n.op, in, attrs, n.name));
    return patch;
  }
  return below(std::move(patch), n, *n.op, in, attrs, m, perm);
}

// ---- pools, LRN and Resize ----

std::optional<Patch> through_pool(const Graph& g, const Node& n, const AxisMove& m) {
  if (n.attrs.has("layout") || m.perm.size() > 5 || n.out(1) != kNoValue) return std::nullopt;
  if (!leads_to_channels_first(m)) return std::nullopt;
  Attrs attrs = n.attrs;
  attrs.set("layout", std::string("NHWC"));
  return below_first(g, n, op(n.op->name, "skyline"), attrs, m);
}

std::optional<Patch> through_resize(const Graph& g, const Node& n, const AxisMove& m) {
  if (n.attrs.has("axes")) return std::nullopt;
  const size_t rank = m.perm.size();
  if (n.attrs.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize")
    return std::nullopt;
  Patch patch(g);
  const auto x = before(patch, g, n.in(0), m);
  if (!x) return std::nullopt;
  std::vector<ValueId> in{*x, kNoValue, kNoValue, kNoValue};
  const auto sizes = n.in(3) == kNoValue ? std::nullopt : integers(g, n.in(3));
  const auto scales = n.in(2) == kNoValue ? std::nullopt : numbers(g, n.in(2));
  if (sizes && sizes->size() == rank) {
    Dims moved(rank);
    for (size_t i = 0; i < rank; ++i) moved[static_cast<size_t>(m.perm[i])] = (*sizes)[i];
    in[3] = patch.constant(Tensor::vector(moved), n.name + ".sizes");
  } else if (scales && scales->size() == rank) {
    std::vector<float> moved(rank);
    for (size_t i = 0; i < rank; ++i)
      moved[static_cast<size_t>(m.perm[i])] = static_cast<float>((*scales)[i]);
    in[2] = patch.constant(Tensor::of<float>({static_cast<int64_t>(rank)}, moved), n.name + ".scales");
  } else {
    return std::nullopt;
  }
  return below(std::move(patch), n, *n.op, in, n.attrs, m, m.perm);
}

// ---- QLinearGlobalAveragePool and QLinearConcat of com.microsoft ----

std::optional<Patch> through_qlinear_pool(const Graph& g, const Node& n, const AxisMove& m) {
  if (!leads_to_channels_first(m) || n.attrs.integer("channels_last", 0) != 0) return std::nullopt;
  Attrs attrs = n.attrs;
  attrs.set("channels_last", int64_t{1});
  return below_first(g, n, *n.op, attrs, m);
}

// (Y_scale, Y_zero, then X, X_scale, X_zero for each tensor)
std::optional<Patch> through_qlinear_concat(const Graph& g, const Node& n, const AxisMove& m) {
  const int64_t axis = n.attrs.integer("axis", 0);
  if (!axis_fits(m, axis)) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  for (size_t i = 2; i < in.size(); i += 3) {
    const auto now =
        rank_of(g, in[i]) == static_cast<int>(m.perm.size()) ? before(patch, g, in[i], m) : std::nullopt;
    if (!now) return std::nullopt;
    in[i] = *now;
  }
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(m, axis));
  return below(std::move(patch), n, *n.op, in, attrs, m, m.perm);
}

// ---- channel shuffle: Reshape [N, g, k, ...], Transpose of g and k, Reshape back ----

std::optional<Patch> through_shuffle(const Graph& g, const Node& n, const AxisMove& m) {
  const auto s = channel_shuffle(g, n);
  if (!s || !leads_to_channels_first(m)) return std::nullopt;
  const Dims x = *static_dims(g, s->split->in(0)), wide = *static_dims(g, s->swap->in(0));
  Patch patch(g);
  const auto from = before(patch, g, s->split->in(0), m);
  if (!from) return std::nullopt;
  Dims joined{x[0]};
  joined.insert(joined.end(), x.begin() + 2, x.end());
  Dims apart = joined, perm;
  joined.push_back(x[1]);
  apart.insert(apart.end(), {wide[1], wide[2]});
  for (size_t i = 0; i < apart.size(); ++i) perm.push_back(static_cast<int64_t>(i));
  std::swap(perm[x.size() - 1], perm[x.size()]);
  ValueId v = add_reshape(patch, *from, apart, s->split->name);
  v = patch.add(op("Transpose"), {v}, {{"perm", perm}}, s->swap->name);
  v = add_reshape(patch, v, joined, n.name);
  patch.replace(n.out(0), patch.add(op("Transpose"), {v}, {{"perm", m.perm}}, m.name));
  return patch;
}

using Through = std::optional<Patch> (*)(const Graph&, const Node&, const AxisMove&);

// How the axes of the node are moved; null if they cannot be.
Through way_through(const Graph& g, const Node& n) {
  if (n.in(0) == kNoValue || n.out(0) == kNoValue) return nullptr;
  if (is_elementwise(g, n)) return through_elementwise;
  if (n.is("Concat")) return through_concat;
  if (n.is("Split")) {
    return [](const Graph& h, const Node& o, const AxisMove& m) { return through_axis(h, o, m, 0); };
  }
  if (n.is("Softmax") || n.is("LogSoftmax")) {
    return [](const Graph& h, const Node& o, const AxisMove& m) { return through_axis(h, o, m, -1); };
  }
  if (n.is("Slice")) return through_slice;
  if (n.is("Pad")) return through_pad;
  if (n.op->name.starts_with("Reduce")) return through_reduce;
  if (n.is("MaxPool") || n.is("AveragePool") || n.is("GlobalAveragePool") || n.is("GlobalMaxPool") ||
      n.is("LRN")) {
    return through_pool;
  }
  if (n.is("Resize")) return through_resize;
  if (n.is("Reshape")) return through_shuffle;
  if (n.op->domain != "com.microsoft") return nullptr;
  if (n.op->name == "QLinearGlobalAveragePool") return through_qlinear_pool;
  if (n.op->name == "QLinearConcat") return through_qlinear_concat;
  return nullptr;
}

}  // namespace

std::vector<ValueId> moved_operands(const Graph& g, const Node& n) {
  const Through way = way_through(g, n);
  if (!way) return {};
  std::vector<ValueId> out;
  if (way == through_elementwise) {
    std::copy_if(n.inputs.begin(), n.inputs.end(), std::back_inserter(out),
                 [](ValueId v) { return v != kNoValue; });
  } else if (way == through_shuffle) {
    if (const auto s = channel_shuffle(g, n)) out.push_back(s->split->in(0));
  } else {
    out.push_back(n.in(way == through_qlinear_concat ? 2 : 0));
  }
  return out;
}

std::optional<Patch> permuted(const Graph& g, const Node& n, const AxisMove& m) {
  const Through way = way_through(g, n);
  return way ? way(g, n, m) : std::nullopt;
}

std::optional<ChannelShuffle> channel_shuffle(const Graph& g, const Node& n) {
  const Node* swap = n.is("Reshape") ? sole_maker(g, n.in(0), "Transpose") : nullptr;
  const auto perm = swap ? perm_of(g, *swap) : std::nullopt;
  const Node* split = perm ? sole_maker(g, swap->in(0), "Reshape") : nullptr;
  if (!split) return std::nullopt;
  const auto x = static_dims(g, split->in(0)), wide = static_dims(g, swap->in(0)),
             y = static_dims(g, n.out(0));
  if (!x || x->size() < 3 || !wide || !y || *x != *y || wide->size() != x->size() + 1 ||
      (*wide)[0] != (*x)[0] || !std::equal(x->begin() + 2, x->end(), wide->begin() + 3))
    return std::nullopt;
  Dims swapped;
  for (size_t i = 0; i < wide->size(); ++i) swapped.push_back(static_cast<int64_t>(i));
  std::swap(swapped[1], swapped[2]);
  if (*perm != swapped) return std::nullopt;
  return ChannelShuffle{split, swap};
}

}  // namespace skyline::passes
