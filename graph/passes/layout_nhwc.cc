// Conv over [N, C, spatial...] => Transpose, the same over [N, spatial..., C], Transpose back. Our
// convolutions are channels-last, so a node that is not moves its data anyway; here the moves are nodes that
// meet and cancel.
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

struct Form {
  const OpDef* op;
  size_t weights;
  std::optional<size_t> residual;
};
// The channels-last operator of a convolution.
std::optional<Form> channels_last_form(const Node& n) {
  if (n.is("Conv") || n.is("FusedConv")) return Form{&op("FusedConv", "skyline"), 1, 3};
  if (n.is("ConvTranspose") || n.is("FusedConvTranspose"))
    return Form{&op("FusedConvTranspose", "skyline"), 1, 3};
  if (n.is("QLinearConv")) return Form{&op("QLinearConv", "skyline"), 3, std::nullopt};
  return std::nullopt;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  const auto form = channels_last_form(n);
  if (!form || n.attrs.has("layout") || !g.constant(n.in(form->weights))) return std::nullopt;
  const int rank = rank_of(g, n.in(0));
  if (rank < 3 || rank > 5 || (!is_float(g, n.in(0)) && !n.is("QLinearConv"))) return std::nullopt;
  if (!g.fact(n.in(0)).is_static() || !g.fact(n.out(0)).is_static()) return std::nullopt;
  const Dims last = to_channels_last(rank), first = to_channels_first(rank);
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  const auto move = [&](size_t k) {
    in[k] = add_transpose(patch, n.in(k), g.fact(n.in(k)), last, n.name + ".to_nhwc");
  };
  move(0);
  if (form->residual && n.in(*form->residual) != kNoValue) move(*form->residual);
  Attrs attrs = n.attrs;
  attrs.set("layout", std::string("NHWC"));
  const ValueId y = patch.add(*form->op, in, attrs, n.name);
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
