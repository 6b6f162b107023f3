// Conv over [N, C, spatial...] => Transpose, the same over [N, spatial..., C], Transpose back. Our
// convolutions are channels-last, so a node that is not moves its data anyway; here the moves are nodes that
// meet and cancel.
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const bool transposed = n.is("ConvTranspose") || n.is("FusedConvTranspose");
  if (!(transposed || n.is("Conv") || n.is("FusedConv")) || n.attrs.has("layout") || !g.constant(n.in(1)))
    return std::nullopt;
  const int rank = rank_of(g, n.in(0));
  if (rank < 3 || rank > 5 || !is_float(g, n.in(0))) return std::nullopt;
  if (!g.fact(n.in(0)).is_static() || !g.fact(n.out(0)).is_static()) return std::nullopt;
  const Dims last = to_channels_last(rank), first = to_channels_first(rank);
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  for (size_t k : {size_t{0}, size_t{3}}) {
    if (n.in(k) != kNoValue)
      in[k] = add_transpose(patch, n.in(k), g.fact(n.in(k)), last, n.name + ".to_nhwc");
  }
  Attrs attrs = n.attrs;
  attrs.set("layout", std::string("NHWC"));
  const ValueId y =
      patch.add(op(transposed ? "FusedConvTranspose" : "FusedConv", "skyline"), in, attrs, n.name);
  Fact moved = g.fact(n.out(0));
  for (int i = 0; i < rank; ++i) {
    moved.dims[static_cast<size_t>(i)] =
        g.fact(n.out(0)).dims[static_cast<size_t>(last[static_cast<size_t>(i)])];
  }
  patch.replace(n.out(0), add_transpose(patch, y, moved, first, n.name + ".to_nchw"));
  return patch;
}

}  // namespace

constinit const Pass kLayoutNhwc{"layout-nhwc", Stage::target, run};

}  // namespace skyline::passes
