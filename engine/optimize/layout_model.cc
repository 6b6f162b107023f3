#include "engine/optimize/layout_model.h"

#include <algorithm>

#include "engine/lower/lowering.h"
#include "engine/runtime/views.h"
#include "graph/ops/util.h"
#include "graph/passes/permutation.h"

namespace skyline {
namespace {

using passes::Layout;
using passes::LayoutChoice;
using passes::LayoutForm;

// Nanoseconds, on a Xeon (family 6, model 143) at one thread, fitted to what MeasuredLayoutCosts says of the
// nodes of 30 models. Moves within L2 and beyond; a step that is taken per piece of memory that lies
// together.
constexpr double kMoveStep = 300, kMoveNear = 0.09, kMoveFar = 0.13, kMoveFarPlanes = 0.25, kMovePages = 0.35,
                 kPixel = 4.5, kBytePixel = 0.6, kStep = 14;
constexpr double kRow = 3;
constexpr int64_t kManyPlanes = 96;
// Numbers in a row below which whoever reads or writes rows in a wider tensor pays a step for each.
constexpr int64_t kShortRow = 16;
constexpr double kNearBytes = 640 << 10;
// Per byte read and written: copies (one number at a time: per number); windows of a pool that lie across
// planes, and along channels.
constexpr double kCopy = 0.04, kGather = 1.4, kPoolPlain = 0.8, kPoolLast = 0.08;
constexpr double kResizePlain = 0.5, kResizeLast = 0.1, kGlobal = 0.02, kGlobalRow = 75, kLrnPlain = 0.15,
                 kLrnLast = 0.2;
constexpr double kFourChannels = 0.2;
constexpr double kSoftmaxRows = 0.15, kSoftmaxStrided = 0.16;

Dims stored_dims(const Graph& g, ValueId v, LayoutForm::Kind kind) {
  Dims dims = g.fact(v).static_dims();
  if (kind != LayoutForm::Kind::last || dims.size() < 3) return dims;
  Dims out;
  for (int64_t axis : passes::to_channels_last(static_cast<int>(dims.size())))
    out.push_back(dims[static_cast<size_t>(axis)]);
  return out;
}

// Where that axis is in memory.
size_t stored_axis(const Graph& g, ValueId v, int64_t axis, LayoutForm::Kind kind) {
  const int rank = g.fact(v).rank();
  const auto at = static_cast<size_t>(ops::normalize_axis(axis, rank));
  if (kind != LayoutForm::Kind::last || rank < 3) return at;
  return static_cast<size_t>(passes::inverse(passes::to_channels_last(rank))[at]);
}

double elements_from(const Dims& dims, size_t axis) {
  double n = 1;
  for (size_t i = axis; i < dims.size(); ++i) n *= static_cast<double>(dims[i]);
  return n;
}

double bytes_of(const Graph& g, const Node& n) {
  double sum = 0;
  for (const auto* list : {&n.inputs, &n.outputs}) {
    for (ValueId v : *list) {
      if (v != kNoValue && !g.constant(v)) sum += static_cast<double>(g.fact(v).bytes());
    }
  }
  return sum;
}

// Of the pieces of x that lie together in a tensor that is wider along `axis`, for whoever goes through them.
double step_cost(const Graph& g, ValueId x, int64_t axis, LayoutForm::Kind kind) {
  const Dims dims = stored_dims(g, x, kind);
  const double all = elements_from(dims, 0), piece = elements_from(dims, stored_axis(g, x, axis, kind));
  if (piece <= 0) return 0;
  return all / piece * (piece > 1 ? kStep : kGather);
}

// Of a binary operator: how often the walk over the result has to begin anew because an operand repeats.
double broadcast_runs(const Graph& g, const Node& n, LayoutForm::Kind kind) {
  const Dims y = stored_dims(g, n.out(0), kind);
  size_t from = 0;  // axes from here on are one run
  for (ValueId v : n.inputs) {
    if (v == kNoValue || g.fact(v).elements() <= 1 || g.fact(v).elements() == g.fact(n.out(0)).elements())
      continue;
    SymDims padded(y.size() - std::min<size_t>(y.size(), static_cast<size_t>(g.fact(v).rank())), Dim(1));
    const SymDims& own = g.fact(v).dims;
    padded.insert(padded.end(), own.begin(), own.end());
    Dims dims;
    for (Dim d : padded) dims.push_back(d.value());
    if (kind == LayoutForm::Kind::last && dims.size() >= 3) {
      const Dims given = dims;
      const Dims perm = passes::to_channels_last(static_cast<int>(given.size()));
      for (size_t i = 0; i < perm.size(); ++i) dims[i] = given[static_cast<size_t>(perm[i])];
    }
    size_t at = y.size();
    const bool repeats = dims.back() == 1;
    while (at > 0 && ((dims[at - 1] == 1) == repeats || y[at - 1] == 1)) --at;
    from = std::max(from, at);
  }
  return from == 0 ? 0 : elements_from(y, 0) / std::max(1.0, elements_from(y, from));
}

// Of a Slice that is no plain range: the innermost axis that it cuts ends what lies together.
double strided_slice_cost(const Graph& g, const Node& n, LayoutForm::Kind kind, double bytes) {
  const Dims x = stored_dims(g, n.in(0), kind), y = stored_dims(g, n.out(0), kind);
  size_t inner = y.size();
  while (inner > 0 && x[inner - 1] == y[inner - 1]) --inner;
  const double all = elements_from(y, 0);
  if (inner == y.size()) return all * kGather;
  return bytes * kCopy + kStep * all / std::max(1.0, elements_from(y, inner));
}

double copy_cost(const Graph& g, NodeId id, const LayoutForm& form, double bytes) {
  const Node& n = g.node(id);
  const auto range = n.is("Slice") ? slice_range(g, n) : std::nullopt;
  if (n.is("Slice") && !range) return strided_slice_cost(g, n, form.kind, bytes);
  const int64_t axis = range ? range->axis : n.attrs.integer("axis", 0);
  double steps = 0;
  for (ValueId v : n.is("Concat") ? n.inputs : n.outputs) {
    if (v != kNoValue) steps += step_cost(g, v, axis, form.kind);
  }
  const Copying c = copying_of(g, id, form);
  return c.share * (bytes * kCopy + steps) + 1e9 * c.in_rows;
}

// Nanoseconds by which a form is dearer than another, for the operators that care.
double form_cost(const Graph& g, NodeId id, const LayoutForm& form) {
  const Node& n = g.node(id);
  const bool last = form.kind == LayoutForm::Kind::last;
  const double bytes = bytes_of(g, n);
  if (n.is("MaxPool") || n.is("AveragePool")) return bytes * (last ? kPoolLast : kPoolPlain);
  if (n.is("Resize")) return bytes * (last ? kResizeLast : kResizePlain);
  if (n.is("GlobalAveragePool") || n.is("GlobalMaxPool"))  // channels-first sums a short row for each of them
    return bytes * kGlobal + (last ? 0 : kGlobalRow * static_cast<double>(g.fact(n.out(0)).elements()));
  if (n.is("LRN")) return bytes * (last ? kLrnLast : kLrnPlain);
  if (n.is("Softmax") || n.is("LogSoftmax")) {
    const Dims dims = stored_dims(g, n.in(0), form.kind);
    const size_t axis = stored_axis(g, n.in(0), n.attrs.integer("axis", -1), form.kind);
    if (axis + 1 < dims.size()) return bytes * kSoftmaxStrided;
    return bytes * kSoftmaxRows +
           kStep * elements_from(dims, 0) / static_cast<double>(std::max<int64_t>(1, dims.back()));
  }
  if (n.is("Concat") || n.is("Split") || n.is("Slice")) return copy_cost(g, id, form, bytes);
  if ((n.op->flags & kOpElementwise) && n.inputs.size() > 1) {
    const bool affine = last && (n.is("Add") || n.is("Mul"));  // a number per column: AffineRows
    return (affine ? kRow : kStep) * broadcast_runs(g, n, form.kind);
  }
  return 0;
}

}  // namespace

double LayoutModel::move(const Fact& fact, Layout from) {
  const auto bytes = static_cast<double>(fact.bytes());
  const int64_t channels = std::max<int64_t>(1, fact.dims[1].value());
  const int64_t pixels = fact.elements() / (channels * std::max<int64_t>(1, fact.dims[0].value()));
  // Pixels of one to three numbers move one by one; planes far apart, and lines at distances of whole pages,
  // evict each other.
  const int64_t all_pixels = fact.elements() / channels;
  // Two and three planes of bytes have code of their own (kernels/layout/transpose.cc).
  const double pixel = channels > 1 && size_of(fact.dtype) == 1 ? kBytePixel : kPixel;
  const double least = channels < 4 ? pixel * static_cast<double>(all_pixels) : 0;
  const bool pages = from == Layout::first ? channels % 256 == 0 : pixels % 1024 == 0;
  const double near = pages ? kMovePages : kMoveNear;
  const double far = pages ? kMovePages : channels < kManyPlanes ? kMoveFar : kMoveFarPlanes;
  return 1e-9 * (kMoveStep + std::max(least, near * std::min(bytes, kNearBytes) +
                                                 far * std::max(0.0, bytes - kNearBytes)));
}

namespace {

// Nanoseconds.
double conv_cost(const Graph& g, const LayoutChoice& choice, LayoutForm::Kind kind) {
  const Node& n = g.node(choice.node);
  if (choice.forms.size() < 3 || kind == LayoutForm::Kind::planes) return 0;
  // Four channels read channels-last are slower than as planes (mlsd_320_tiny: 1.6 ms against 0.9); with
  // three both are the same.
  return g.fact(n.in(0)).dims[1] == Dim(4) ? kFourChannels * static_cast<double>(g.fact(n.out(0)).bytes())
                                           : 0;
}

}  // namespace

double LayoutModel::node(const Graph& g, const LayoutChoice& choice, const LayoutForm& form) {
  const Node& n = g.node(choice.node);
  if (n.is("Transpose")) return transpose_cost(g, choice, form, *this);
  const bool plain = form.kind == LayoutForm::Kind::plain;
  // Of equals the channels-last form: its neighbours are more likely to want it.
  const double tie = plain ? 1e-12 : 0;
  if (!is_convolution(n)) return tie + 1e-9 * form_cost(g, choice.node, form);
  return tie + 1e-9 * conv_cost(g, choice, form.kind) + (plain ? moves_around(g, form, *this) : 0);
}

bool is_convolution(const Node& n) {
  return n.is("Conv") || n.is("FusedConv") || n.is("ConvTranspose") || n.is("FusedConvTranspose") ||
         n.is("QLinearConv");
}

double moves_around(const Graph& g, const LayoutForm& form, LayoutCosts& costs) {
  double sum = 0;
  for (const auto& o : form.reads) sum += costs.move(g.fact(o.value), Layout::first);
  for (const auto& o : form.writes) sum += costs.move(g.fact(o.value), Layout::last);
  return sum;
}

double transpose_cost(const Graph& g, const LayoutChoice& choice, const LayoutForm& form,
                      LayoutCosts& costs) {
  const Node& n = g.node(choice.node);
  const int rank = g.fact(n.in(0)).rank();
  Fact stored = g.fact(n.in(0));
  Dims perm = *passes::perm_of(g, n);
  if (!form.reads.empty() && form.reads[0].layout == Layout::last) {
    const Dims last = passes::to_channels_last(rank);
    for (size_t i = 0; i < last.size(); ++i)
      stored.dims[i] = g.fact(n.in(0)).dims[static_cast<size_t>(last[i])];
    perm = passes::then(passes::to_channels_first(rank), perm);
  }
  if (!form.writes.empty() && form.writes[0].layout == Layout::last)
    perm = passes::then(perm, passes::to_channels_last(rank));
  return passes::keeps_order(stored, perm) ? 0.0 : costs.move(g.fact(n.in(0)), Layout::first);
}

namespace {

bool takes_rows(const Node& n) {
  if (n.is("Resize") && n.attrs.text("mode", "nearest") != "nearest") return false;
  if (n.is("Conv") || n.is("ConvTranspose")) return true;
  for (const std::string_view domain : {std::string_view("skyline"), n.op->domain}) {
    const OpDef* form = find_op(domain, n.op->name);
    const LowerRow* row = form ? find_lowering(*form) : nullptr;
    if (row && row->rows) return true;
  }
  return false;
}

bool all_readers_take_rows(const Graph& g, ValueId v) {
  const auto& uses = g.value(v).uses;
  return !g.is_output(v) &&
         std::all_of(uses.begin(), uses.end(), [&](const Use& u) { return takes_rows(g.node(u.node)); });
}

}  // namespace

Copying copying_of(const Graph& g, NodeId id, const LayoutForm& form) {
  const Node& n = g.node(id);
  const bool concat = n.is("Concat");
  const ValueId whole = concat ? n.out(0) : n.in(0);
  if (!concat && !n.is("Split") && !n.is("Slice")) return {};
  int64_t axis = n.attrs.integer("axis", 0);
  if (n.is("Slice")) {
    const auto range = slice_range(g, n);
    if (!range) return {};
    axis = range->axis;
  }
  const Dims dims = stored_dims(g, whole, form.kind);
  const size_t at = stored_axis(g, whole, axis, form.kind);
  const bool contiguous = std::all_of(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(at),
                                      [](int64_t d) { return d == 1; });
  const bool rows = at + 1 == dims.size() && g.fact(whole).dtype == DType::f32;
  double copied = 0, all = 0;
  Copying out;
  for (ValueId v : concat ? n.inputs : n.outputs) {
    if (v == kNoValue) continue;
    const NodeId maker = g.producer(concat ? v : whole);
    const bool ours = maker != kNoNode && !g.constant(v) && !g.is_output(v);
    const bool in_rows =
        ours && rows && (!concat || takes_rows(g.node(maker))) && all_readers_take_rows(g, v);
    const auto bytes = static_cast<double>(g.fact(v).bytes());
    all += bytes;
    if (!ours || !(contiguous || in_rows)) {
      copied += bytes;
    } else if (!contiguous && stored_dims(g, v, form.kind).back() < kShortRow) {
      out.in_rows += 1e-9 * step_cost(g, v, axis, form.kind);
    }
  }
  out.share = all > 0 ? copied / all : 1;
  return out;
}

}  // namespace skyline
