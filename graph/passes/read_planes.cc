// FusedConv of few channels over the channels-last Transpose of x => the same over x as it is: such a
// convolution reads its input plane by plane as fast, and the conversion is a pass over the whole input.
#include "graph/passes/passes.h"
#include "graph/passes/permutation.h"

namespace skyline::passes {
namespace {

// With more channels a line of pixels serves the kernels better (window.isa.cc).
constexpr int64_t kMostChannels = 4;

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!n.is("FusedConv") || n.attrs.text("layout", "NCHW") != "NHWC") return std::nullopt;
  if (n.attrs.has("input_layout") || n.attrs.integer("group", 1) != 1) return std::nullopt;
  const int64_t channels = dim_of(g, n.in(0), -1);
  if (channels < 1 || channels > kMostChannels || g.fact(n.in(0)).dtype != DType::f32) return std::nullopt;
  const Node* move = maker(g, n.in(0), "Transpose");
  if (!move || perm_of(g, *move) != to_channels_last(rank_of(g, n.in(0)))) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  in[0] = move->in(0);
  Attrs attrs = n.attrs;
  attrs.set("input_layout", std::string("NCHW"));
  patch.replace(n.out(0), patch.add(op("FusedConv", "skyline"), in, attrs, n.name));
  return patch;
}

}  // namespace

constinit const Pass kReadPlanes{"read-planes", Stage::target, run};

}  // namespace skyline::passes
