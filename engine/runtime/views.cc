#include "engine/runtime/views.h"

#include <algorithm>

#include "engine/lower/lowering.h"
#include "graph/ops/util.h"

namespace skyline {
namespace {

class Finder {
 public:
  Finder(const Graph& g, std::span<const NodeId> order, const std::function<bool(ValueId)>& planned)
      : g_(g), order_(order), planned_(planned), views_(g.value_slots()) {}

  std::vector<RowView> find() && {
    // From the last Concat to the first: one whose result is a piece of another writes into that one.
    for (size_t i = order_.size(); i-- > 0;) {
      const Node& n = g_.node(order_[i]);
      if (n.is("Concat")) pieces_of(n, order_[i]);
    }
    for (NodeId id : order_) {
      const Node& n = g_.node(id);
      if (n.is("Split")) parts_of_split(n);
      if (n.is("Slice")) part_of_slice(n);
    }
    return std::move(views_);
  }

 private:
  RowView& view(ValueId v) { return views_[static_cast<size_t>(v)]; }
  bool is_view(ValueId v) const { return views_[static_cast<size_t>(v)].whole != kNoValue; }

  // Has memory that the plan places, and that nobody else has a say in.
  bool movable(ValueId v) const {
    return v != kNoValue && planned_(v) && g_.producer(v) != kNoNode && !g_.constant(v) && !g_.is_output(v) &&
           !is_view(v);
  }
  bool takes_rows(NodeId id, Side side, size_t index) const {
    const Node& n = g_.node(id);
    for (const auto* list : {&n.inputs, &n.outputs}) {
      if (std::any_of(list->begin(), list->end(), [&](ValueId v) { return v != kNoValue && !planned_(v); }))
        return false;
    }
    const LowerRow* row = find_lowering(*n.op);
    return row && row->rows && row->rows(g_, n, side, index);
  }
  bool readers_take_rows(ValueId v, NodeId except) const {
    const auto& uses = g_.value(v).uses;
    return std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
      return u.node == except || takes_rows(u.node, Side::in, u.slot);
    });
  }
  bool producer_takes_rows(ValueId v) const {
    const NodeId id = g_.producer(v);
    const Node& n = g_.node(id);
    const auto it = std::find(n.outputs.begin(), n.outputs.end(), v);
    return takes_rows(id, Side::out, static_cast<size_t>(it - n.outputs.begin()));
  }

  // Rows of the last axis, more than one of them.
  bool along_rows(ValueId v, int64_t axis) const {
    if (v == kNoValue || !planned_(v)) return false;
    const Dims dims = g_.fact(v).static_dims();
    const auto rank = static_cast<int64_t>(dims.size());
    return rank >= 2 && (axis == -1 || axis == rank - 1) && dims.back() > 0 &&
           element_count(dims) > dims.back();
  }
  int64_t width(ValueId v) const { return g_.fact(v).static_dims().back(); }
  // Where elements of v from `offset` of each row on are.
  RowView inside(ValueId v, int64_t offset) {
    const RowView& own = view(v);
    if (own.whole == kNoValue) return {v, offset, width(v)};
    return {own.whole, own.offset + offset, own.ld};
  }

  void pieces_of(const Node& n, NodeId id) {
    const ValueId y = n.out(0);
    if (!along_rows(y, n.attrs.integer("axis", 0)) || !takes_rows(id, Side::out, 0)) return;
    int64_t at = 0;
    for (ValueId x : n.inputs) {
      if (movable(x) && std::count(n.inputs.begin(), n.inputs.end(), x) == 1 && producer_takes_rows(x) &&
          readers_take_rows(x, id)) {
        view(x) = inside(y, at);
      }
      at += width(x);
    }
  }

  bool is_source(ValueId v) const {
    return v != kNoValue && planned_(v) && g_.producer(v) != kNoNode && !g_.constant(v);
  }

  void parts_of_split(const Node& n) {
    if (!along_rows(n.in(0), n.attrs.integer("axis", 0)) || !is_source(n.in(0))) return;
    int64_t at = 0;
    for (ValueId y : n.outputs) {
      if (y == kNoValue) return;
      if (movable(y) && readers_take_rows(y, kNoNode)) view(y) = inside(n.in(0), at);
      at += width(y);
    }
  }

  void part_of_slice(const Node& n) {
    const ValueId y = n.out(0);
    if (!is_source(n.in(0)) || !movable(y) || !readers_take_rows(y, kNoNode)) return;
    const auto range = slice_range(g_, n);
    if (range && along_rows(n.in(0), range->axis)) view(y) = inside(n.in(0), range->first);
  }

  const Graph& g_;
  std::span<const NodeId> order_;
  const std::function<bool(ValueId)>& planned_;
  std::vector<RowView> views_;
};

std::optional<Dims> integers(const Graph& g, ValueId v) {
  const Tensor* t = g.constant(v);
  if (!t) return std::nullopt;
  if (t->dtype() == DType::i64) return Dims(t->data<int64_t>(), t->data<int64_t>() + t->size());
  if (t->dtype() == DType::i32) return Dims(t->data<int32_t>(), t->data<int32_t>() + t->size());
  return std::nullopt;
}

}  // namespace

std::vector<RowView> find_row_views(const Graph& g, std::span<const NodeId> order,
                                    const std::function<bool(ValueId)>& planned) {
  return Finder(g, order, planned).find();
}

std::optional<Range> slice_range(const Graph& g, const Node& slice) {
  const auto starts = integers(g, slice.in(1));
  if (!starts || starts->size() != 1 || !g.fact(slice.in(0)).is_static()) return std::nullopt;
  const Dims dims = g.fact(slice.in(0)).static_dims();
  Range r;
  if (slice.in(3) != kNoValue) {
    const auto axes = integers(g, slice.in(3));
    if (!axes || axes->size() != 1) return std::nullopt;
    r.axis = ops::normalize_axis((*axes)[0], static_cast<int>(dims.size()));
  }
  if (slice.in(4) != kNoValue && integers(g, slice.in(4)) != Dims{1}) return std::nullopt;
  const int64_t n = dims[static_cast<size_t>(r.axis)], start = (*starts)[0];
  r.first = std::clamp<int64_t>(start < 0 ? start + n : start, 0, n);
  return r;
}

}  // namespace skyline
