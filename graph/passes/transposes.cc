// Transposes sink towards the outputs, through whatever does not care about the order of axes, until they
// meet their inverse and both vanish.
#include <algorithm>

#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

struct Moved {
  const Node* node;
  Dims perm;
  ValueId x;  // before the move
};

// The Transpose that makes v, if moving it below a reader of v is wanted. One that has other readers stays
// for them, so it is moved only if it leads out of channels-last, where the others will want the same.
std::optional<Moved> movable(const Graph& g, ValueId v) {
  const Node* t = maker(g, v, "Transpose");
  auto perm = t ? perm_of(g, *t) : std::nullopt;
  if (!perm || keeps_order(g.fact(t->in(0)), *perm)) return std::nullopt;
  if (!used_once(g, v) && (perm->size() < 3 || *perm != to_channels_first(static_cast<int>(perm->size())))) {
    return std::nullopt;
  }
  return Moved{t, *perm, t->in(0)};
}

int64_t axis_before(const Moved& m, int64_t axis) {
  const auto rank = static_cast<int64_t>(m.perm.size());
  return m.perm[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
}

bool axis_fits(const Moved& m, int64_t axis) {
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
  return (n.op->flags & kOpElementwise) || n.is("Cast") || n.is("Identity");
}

// An operand as the moved node wants it: with the axes of `m` before the move. Nothing if that costs a copy.
std::optional<ValueId> operand_before(Patch& patch, const Graph& g, ValueId v, const Moved& m) {
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
  if (!g.constant(v) && !keeps_order(fact, back)) return std::nullopt;
  const std::string name = g.value(v).name;
  if (own < rank) v = add_reshape(patch, v, padded, name);
  return add_transpose(patch, v, fact, back, name);
}

std::optional<Patch> through_elementwise(const Graph& g, const Node& n) {
  if (n.outputs.size() != 1) return std::nullopt;
  std::optional<Moved> m;
  for (ValueId v : n.inputs) {
    if (v != kNoValue && !m) m = movable(g, v);
  }
  if (!m || rank_of(g, n.out(0)) != static_cast<int>(m->perm.size())) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in;
  for (ValueId v : n.inputs) {
    const auto now = v == kNoValue ? std::optional(v) : operand_before(patch, g, v, *m);
    if (!now) return std::nullopt;
    in.push_back(*now);
  }
  const ValueId y = patch.add(*n.op, in, n.attrs, n.name);
  patch.replace(n.out(0), patch.add(op("Transpose"), {y}, {{"perm", m->perm}}, m->node->name));
  return patch;
}

// ---- operators with an axis ----

// The node over the input before the move, its outputs moved afterwards.
Patch below(Patch patch, const Node& n, const OpDef& form, std::vector<ValueId> in, Attrs attrs,
            const Moved& m, const Dims& perm) {
  const std::vector<ValueId> out =
      patch.add_multi(form, std::move(in), n.outputs.size(), std::move(attrs), n.name);
  for (size_t i = 0; i < out.size(); ++i) {
    if (n.outputs[i] == kNoValue) continue;
    patch.replace(n.outputs[i], patch.add(op("Transpose"), {out[i]}, {{"perm", perm}}, m.node->name));
  }
  return patch;
}

std::optional<Patch> through_concat(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  const int64_t axis = n.attrs.integer("axis", 0);
  if (!m || !axis_fits(*m, axis)) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in;
  for (ValueId v : n.inputs) {
    const auto now =
        rank_of(g, v) == static_cast<int>(m->perm.size()) ? operand_before(patch, g, v, *m) : std::nullopt;
    if (!now) return std::nullopt;
    in.push_back(*now);
  }
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(*m, axis));
  return below(std::move(patch), n, *n.op, in, attrs, *m, m->perm);
}

// Split, Softmax, LogSoftmax: one axis, the same rank.
std::optional<Patch> through_axis(const Graph& g, const Node& n, int64_t fallback) {
  const auto m = movable(g, n.in(0));
  const int64_t axis = n.attrs.integer("axis", fallback);
  if (!m || !axis_fits(*m, axis)) return std::nullopt;
  const auto rank = static_cast<int64_t>(m->perm.size());
  const bool was_last = axis == -1 || axis == rank - 1, is_last = axis_before(*m, axis) == rank - 1;
  if (!n.is("Split") && was_last && !is_last)
    return std::nullopt;  // rows that are contiguous are worth a move
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(*m, axis));
  std::vector<ValueId> in = n.inputs;
  in[0] = m->x;
  return below(Patch(g), n, *n.op, in, attrs, *m, m->perm);
}

std::optional<Patch> through_slice(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  if (!m) return std::nullopt;
  Dims axes;
  if (n.in(3) != kNoValue) {
    const auto given = integers(g, n.in(3));
    if (!given) return std::nullopt;
    axes = *given;
  } else {
    const int64_t count = dim_of(g, n.in(1), 0);
    for (int64_t i = 0; i < count; ++i) axes.push_back(i);
  }
  for (int64_t& a : axes) {
    if (!axis_fits(*m, a)) return std::nullopt;
    a = axis_before(*m, a);
  }
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  in.resize(std::max<size_t>(in.size(), 4), kNoValue);
  in[0] = m->x;
  // The steps, starts and ends are of one type.
  Tensor t = Tensor::vector(axes);
  if (g.fact(n.in(1)).dtype == DType::i32) {
    t = Tensor::of<int32_t>({static_cast<int64_t>(axes.size())},
                            std::vector<int32_t>(axes.begin(), axes.end()));
  }
  in[3] = patch.constant(t, n.name + ".axes");
  return below(std::move(patch), n, *n.op, in, n.attrs, *m, m->perm);
}

std::optional<Patch> through_pad(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  const auto pads = integers(g, n.in(1));
  if (!m || !pads) return std::nullopt;
  const size_t rank = m->perm.size();
  Dims axes;
  if (n.in(3) != kNoValue) {
    const auto given = integers(g, n.in(3));
    if (!given) return std::nullopt;
    axes = *given;
  } else {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (pads->size() != 2 * axes.size()) return std::nullopt;
  Dims full(2 * rank, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    if (!axis_fits(*m, axes[i])) return std::nullopt;
    const auto axis = static_cast<size_t>(axis_before(*m, axes[i]));
    full[axis] = (*pads)[i];
    full[axis + rank] = (*pads)[i + axes.size()];
  }
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  in.resize(std::min<size_t>(in.size(), 3));
  in[0] = m->x;
  in[1] = patch.constant(Tensor::vector(full), n.name + ".pads");
  return below(std::move(patch), n, *n.op, in, n.attrs, *m, m->perm);
}

std::optional<Patch> through_reduce(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  if (!m) return std::nullopt;
  const auto axes = axes_of(g, n, static_cast<int>(m->perm.size()));
  if (!axes || axes->empty()) return std::nullopt;
  Dims before;
  std::vector<bool> reduced(m->perm.size(), false);  // by axis of the reader
  for (int a : *axes) {
    before.push_back(axis_before(*m, a));
    reduced[static_cast<size_t>(a)] = true;
  }
  std::sort(before.begin(), before.end());
  Dims perm = m->perm;
  if (n.attrs.integer("keepdims", 1) == 0) {
    perm.clear();
    for (size_t i = 0; i < m->perm.size(); ++i) {
      if (reduced[i]) continue;
      // Axes that go leave a gap that those behind them close.
      const int64_t gone =
          std::count_if(before.begin(), before.end(), [&](int64_t b) { return b < m->perm[i]; });
      perm.push_back(m->perm[i] - gone);
    }
  }
  Patch patch(g);
  Attrs attrs = n.attrs;
  std::vector<ValueId> in{m->x};
  if (attrs.has("axes")) {
    attrs.set("axes", before);
  } else {
    in.push_back(patch.constant(Tensor::vector(before), n.name + ".axes"));
  }
  if (perm.empty()) {
    patch.replace(n.out(0), patch.add(*n.op, in, attrs, n.name));
    return patch;
  }
  return below(std::move(patch), n, *n.op, in, attrs, *m, perm);
}

// ---- pools, LRN and Resize ----

std::optional<Patch> through_pool(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  if (!m || n.attrs.has("layout") || m->perm.size() < 3 || m->perm.size() > 5 || n.out(1) != kNoValue) {
    return std::nullopt;
  }
  if (m->perm != to_channels_first(static_cast<int>(m->perm.size()))) return std::nullopt;
  Attrs attrs = n.attrs;
  attrs.set("layout", std::string("NHWC"));
  return below(Patch(g), n, op(n.op->name, "skyline"), {m->x}, attrs, *m, m->perm);
}

std::optional<Patch> through_resize(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  if (!m || n.attrs.has("axes")) return std::nullopt;
  const size_t rank = m->perm.size();
  if (n.attrs.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize")
    return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in{m->x, kNoValue, kNoValue, kNoValue};
  const auto sizes = n.in(3) == kNoValue ? std::nullopt : integers(g, n.in(3));
  const auto scales = n.in(2) == kNoValue ? std::nullopt : numbers(g, n.in(2));
  if (sizes && sizes->size() == rank) {
    Dims moved(rank);
    for (size_t i = 0; i < rank; ++i) moved[static_cast<size_t>(m->perm[i])] = (*sizes)[i];
    in[3] = patch.constant(Tensor::vector(moved), n.name + ".sizes");
  } else if (scales && scales->size() == rank) {
    std::vector<float> moved(rank);
    for (size_t i = 0; i < rank; ++i)
      moved[static_cast<size_t>(m->perm[i])] = static_cast<float>((*scales)[i]);
    in[2] = patch.constant(Tensor::of<float>({static_cast<int64_t>(rank)}, moved), n.name + ".scales");
  } else {
    return std::nullopt;
  }
  return below(std::move(patch), n, *n.op, in, n.attrs, *m, m->perm);
}

// ---- QLinearGlobalAveragePool and QLinearConcat of com.microsoft ----

std::optional<Patch> through_qlinear_pool(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(0));
  if (!m || m->perm.size() < 3 || m->perm != to_channels_first(static_cast<int>(m->perm.size())) ||
      n.attrs.integer("channels_last", 0) != 0) {
    return std::nullopt;
  }
  Attrs attrs = n.attrs;
  attrs.set("channels_last", int64_t{1});
  std::vector<ValueId> in = n.inputs;
  in[0] = m->x;
  return below(Patch(g), n, *n.op, in, attrs, *m, m->perm);
}

// (Y_scale, Y_zero, then X, X_scale, X_zero for each tensor)
std::optional<Patch> through_qlinear_concat(const Graph& g, const Node& n) {
  const auto m = movable(g, n.in(2));
  const int64_t axis = n.attrs.integer("axis", 0);
  if (!m || !axis_fits(*m, axis)) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  for (size_t i = 2; i < in.size(); i += 3) {
    const auto now = rank_of(g, in[i]) == static_cast<int>(m->perm.size())
                         ? operand_before(patch, g, in[i], *m)
                         : std::nullopt;
    if (!now) return std::nullopt;
    in[i] = *now;
  }
  Attrs attrs = n.attrs;
  attrs.set("axis", axis_before(*m, axis));
  return below(std::move(patch), n, *n.op, in, attrs, *m, m->perm);
}

// ---- channel shuffle: Reshape [N, g, k, ...], Transpose of g and k, Reshape back ----

std::optional<Patch> through_shuffle(const Graph& g, const Node& n) {
  const Node* t = sole_maker(g, n.in(0), "Transpose");
  const auto perm = t ? perm_of(g, *t) : std::nullopt;
  const Node* split = perm ? sole_maker(g, t->in(0), "Reshape") : nullptr;
  const auto m = split ? movable(g, split->in(0)) : std::nullopt;
  if (!m || m->perm.size() < 3 || m->perm != to_channels_first(static_cast<int>(m->perm.size())))
    return std::nullopt;
  const auto x = static_dims(g, split->in(0)), wide = static_dims(g, t->in(0)), y = static_dims(g, n.out(0));
  const size_t rank = m->perm.size();
  if (!x || !wide || !y || *x != *y || wide->size() != rank + 1 || (*wide)[0] != (*x)[0] ||
      !std::equal(x->begin() + 2, x->end(), wide->begin() + 3)) {
    return std::nullopt;
  }
  Dims swapped, now;
  for (size_t i = 0; i <= rank; ++i) swapped.push_back(static_cast<int64_t>(i));
  now = swapped;
  std::swap(swapped[1], swapped[2]);
  std::swap(now[rank - 1], now[rank]);
  if (*perm != swapped) return std::nullopt;
  Dims joined{(*x)[0]};
  joined.insert(joined.end(), x->begin() + 2, x->end());
  Dims apart = joined;
  joined.push_back((*x)[1]);
  apart.insert(apart.end(), {(*wide)[1], (*wide)[2]});
  Patch patch(g);
  ValueId v = add_reshape(patch, m->x, apart, split->name);
  v = patch.add(op("Transpose"), {v}, {{"perm", now}}, t->name);
  v = add_reshape(patch, v, joined, n.name);
  patch.replace(n.out(0), patch.add(op("Transpose"), {v}, {{"perm", m->perm}}, m->node->name));
  return patch;
}

std::optional<Patch> sink(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (n.in(0) == kNoValue || n.out(0) == kNoValue) return std::nullopt;
  if (is_elementwise(g, n)) return through_elementwise(g, n);
  if (n.is("Concat")) return through_concat(g, n);
  if (n.is("Split")) return through_axis(g, n, 0);
  if (n.is("Softmax") || n.is("LogSoftmax")) return through_axis(g, n, -1);
  if (n.is("Slice")) return through_slice(g, n);
  if (n.is("Pad")) return through_pad(g, n);
  if (n.op->name.starts_with("Reduce")) return through_reduce(g, n);
  if (n.is("MaxPool") || n.is("AveragePool") || n.is("GlobalAveragePool") || n.is("GlobalMaxPool") ||
      n.is("LRN")) {
    return through_pool(g, n);
  }
  if (n.is("Resize")) return through_resize(g, n);
  if (n.is("Reshape")) return through_shuffle(g, n);
  if (n.op->domain != "com.microsoft") return std::nullopt;
  if (n.op->name == "QLinearGlobalAveragePool") return through_qlinear_pool(g, n);
  if (n.op->name == "QLinearConcat") return through_qlinear_concat(g, n);
  return std::nullopt;
}

std::optional<Patch> merge(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("Transpose")) return std::nullopt;
  const Node* inner = maker(g, n.in(0), "Transpose");
  const auto p = inner ? perm_of(g, *inner) : std::nullopt, q = perm_of(g, n);
  if (!p || !q) return std::nullopt;
  const Dims both = then(*p, *q);
  Patch patch(g);
  if (std::is_sorted(both.begin(), both.end())) {
    patch.replace(n.out(0), inner->in(0));
  } else {
    patch.replace(n.out(0), patch.add(op("Transpose"), {inner->in(0)}, {{"perm", both}}, n.name));
  }
  return patch;
}

}  // namespace

constinit const Pass kSinkTransposes{"sink-transposes", Stage::portable, sink};
constinit const Pass kMergeTransposes{"merge-transposes", Stage::portable, merge};

}  // namespace skyline::passes
