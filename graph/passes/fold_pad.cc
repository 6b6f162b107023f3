// Pad with constants around a Conv or pool => the operator's own padding, where that means the same.
#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

struct SpatialPad {
  Dims begin, end;  // per spatial axis
  double value = 0;
};

// A constant pad of spatial axes only, nowhere negative.
std::optional<SpatialPad> spatial_pad(const Graph& g, const Node& pad) {
  if (pad.attrs.text("mode", "constant") != "constant") return std::nullopt;
  const int rank = rank_of(g, pad.in(0));
  const auto pads = integers(g, pad.in(1));
  if (rank < 3 || !pads) return std::nullopt;
  Dims axes;
  if (pad.in(3) != kNoValue) {
    const auto given = integers(g, pad.in(3));
    if (!given) return std::nullopt;
    axes = *given;
  } else {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  if (pads->size() != 2 * axes.size()) return std::nullopt;
  SpatialPad out{Dims(static_cast<size_t>(rank) - 2), Dims(static_cast<size_t>(rank) - 2), 0};
  if (pad.in(2) != kNoValue) {
    const auto value = uniform(g, pad.in(2));
    if (!value) return std::nullopt;
    out.value = *value;
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    const int64_t begin = (*pads)[i], end = (*pads)[i + axes.size()];
    if (begin < 0 || end < 0 || axis < 0 || axis >= rank) return std::nullopt;
    if (axis < 2) {
      if (begin || end) return std::nullopt;
      continue;
    }
    out.begin[static_cast<size_t>(axis - 2)] += begin;
    out.end[static_cast<size_t>(axis - 2)] += end;
  }
  return out;
}

// The pads that the node has, in the form begin..., end...; nothing when they follow from the input's size.
std::optional<Dims> own_pads(const Node& n, size_t spatial) {
  const std::string mode = n.attrs.text("auto_pad", "NOTSET");
  if (mode == "VALID") return Dims(2 * spatial, 0);
  if (mode != "NOTSET") return std::nullopt;
  Dims pads = n.attrs.integers("pads", Dims(2 * spatial, 0));
  if (pads.size() != 2 * spatial) return std::nullopt;
  return pads;
}

bool is_never_negative(const Graph& g, ValueId v) {
  const NodeId id = g.producer(v);
  if (id == kNoNode) return false;
  const Node& n = g.node(id);
  if (n.is("Relu") || n.is("Sigmoid") || n.is("Exp") || n.is("Softmax") || n.is("HardSigmoid")) return true;
  if (n.is("Clip")) {
    const auto low = n.in(1) == kNoValue ? std::nullopt : uniform(g, n.in(1));
    return low && *low >= 0;
  }
  const std::string act = n.attrs.text("activation", "none");
  if (act == "relu" || act == "sigmoid" || act == "hard_sigmoid") return n.op->domain == "skyline";
  return false;
}

// Does the node treat its own padding as if it were these values?
bool pads_alike(const Graph& g, const Node& n, const SpatialPad& pad, const Dims& own, ValueId x) {
  const bool has_own = std::any_of(own.begin(), own.end(), [](int64_t p) { return p != 0; });
  if (n.is("Conv") || n.is("FusedConv")) return pad.value == 0;
  if (n.attrs.integer("ceil_mode", 0) != 0) return false;
  if (n.is("AveragePool")) {
    return pad.value == 0 && (!has_own || n.attrs.integer("count_include_pad", 0) != 0);
  }
  // MaxPool never picks its padding. Nor does it pick a pad of 0 over what is never negative, or of -inf, as
  // long as every window has a real element: pads smaller than the kernel.
  if (n.out(1) != kNoValue || (pad.value != -INFINITY && !(pad.value == 0 && is_never_negative(g, x))))
    return false;
  const Dims kernel = n.attrs.integers("kernel_shape", {});
  const Dims dilations = n.attrs.integers("dilations", Dims(kernel.size(), 1));
  if (kernel.size() != pad.begin.size()) return false;
  for (size_t i = 0; i < kernel.size(); ++i) {
    if (dilations[i] != 1 || pad.begin[i] + own[i] >= kernel[i] ||
        pad.end[i] + own[i + kernel.size()] >= kernel[i]) {
      return false;
    }
  }
  return true;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!(n.is("Conv") || n.is("FusedConv") || n.is("AveragePool") || n.is("MaxPool")) ||
      n.attrs.has("layout")) {
    return std::nullopt;
  }
  const Node* pad = maker(g, n.in(0), "Pad");
  if (!pad || !is_float(g, n.in(0))) return std::nullopt;
  const auto extra = spatial_pad(g, *pad);
  if (!extra) return std::nullopt;
  const size_t spatial = extra->begin.size();
  auto pads = own_pads(n, spatial);
  if (!pads || !pads_alike(g, n, *extra, *pads, pad->in(0))) return std::nullopt;
  for (size_t i = 0; i < spatial; ++i) {
    (*pads)[i] += extra->begin[i];
    (*pads)[i + spatial] += extra->end[i];
  }
  Attrs attrs = n.attrs;
  attrs.erase("auto_pad");
  attrs.set("pads", *pads);
  if (n.is("AveragePool")) attrs.set("count_include_pad", int64_t{1});
  std::vector<ValueId> in = n.inputs;
  in[0] = pad->in(0);
  Patch patch(g);
  patch.replace(n.out(0), patch.add(*n.op, in, attrs, n.name));
  return patch;
}

}  // namespace

constinit const Pass kFoldPad{"fold-pad", Stage::portable, run};

}  // namespace skyline::passes
