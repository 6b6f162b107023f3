// FusedConv over the result of FusedConv, one of them depthwise, the result between them channels-last and
// too large for L2 => Strips, which computes both a few rows at a time. Two at a time; the driver makes
// chains. Dense convolutions do enough with every byte to stay apart: ResNet-50's lost 4 % in strips.
#include "graph/ir/infer.h"
#include "graph/ir/precision.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

// An intermediate of fewer bytes stays in L2 anyway, where strips only make products smaller: on a Xeon
// (family 6, model 143) with 2 MiB of L2, MobileNetV2's blocks of 600 KiB lost 8 % and those of 800 KiB and
// more won.
constexpr int64_t kLeastBytes = 768 << 10;
// What a chain may hold per output row, and its weights, which are read again for every strip.
constexpr int64_t kMostRowBytes = 512 << 10, kMostWeightBytes = 512 << 10;
constexpr size_t kMostConvs = 16;

bool reads_planes(const Node& conv) {
  return conv.attrs.text("input_layout", "NHWC") == "NCHW";
}

bool is_strip_conv(const Graph& g, const Node& n) {
  if (!n.is("FusedConv") || n.op->domain != "skyline" || n.attrs.text("layout", "NCHW") != "NHWC")
    return false;
  if (rank_of(g, n.in(0)) != 4 || !g.constant(n.in(1)) || (n.in(2) != kNoValue && !g.constant(n.in(2))))
    return false;
  if (precision_of(n) != Precision::f32 || !wanted_kernel(n).empty()) return false;
  for (ValueId v : n.inputs) {
    if (v != kNoValue && (!g.fact(v).is_static() || g.fact(v).dtype != DType::f32)) return false;
  }
  const Dims kernel = g.constant(n.in(1))->dims(), x = g.fact(n.in(0)).static_dims();
  const Dims dilation = n.attrs.integers("dilations", {1, 1}), pads = n.attrs.integers("pads", {0, 0, 0, 0});
  if (n.attrs.text("auto_pad", "NOTSET") != "NOTSET" || x[0] < 1) return false;
  const int64_t reach = (kernel[2] - 1) * dilation[0] + 1;
  const int64_t height = x[reads_planes(n) ? 2 : 1];
  return pads[0] >= 0 && pads[2] >= 0 && pads[0] < reach && pads[2] < reach && height >= reach;
}

bool is_link(const Graph& g, const Node& n) {
  return n.is("Strips") || is_strip_conv(g, n);
}

bool is_depthwise(const Graph& g, const Node& conv) {
  return g.fact(conv.in(1)).dims[1].value() == 1 && conv.attrs.integer("group", 1) > 1;
}

// Whether the first or the last convolution of a link is depthwise.
bool is_depthwise_at(const Graph& g, const Node& link, bool last) {
  if (!link.is("Strips")) return is_depthwise(g, link);
  const Graph& body = link.attrs.graph("body");
  const std::vector<NodeId> convs = body.order();
  return is_depthwise(body, body.node(last ? convs.back() : convs.front()));
}

// A closed graph that grows node by node, with the values of the outer graph that it takes as inputs.
struct Body {
  const Graph& outer;
  Graph graph;
  std::vector<ValueId> inputs;                         // of the outer graph, by input of `graph`
  std::vector<std::pair<ValueId, ValueId>> made = {};  // outer value -> value of `graph`

  ValueId of(ValueId v) {
    if (v == kNoValue) return v;
    for (const auto& [theirs, ours] : made) {
      if (theirs == v) return ours;
    }
    inputs.push_back(v);
    made.emplace_back(v, graph.add_input(graph.fresh_name(outer.value(v).name), outer.fact(v)));
    return made.back().second;
  }

  void add_conv(const Node& n, std::vector<ValueId> in, ValueId out) {
    graph.add_node(*n.op, graph.fresh_name(n.name), std::move(in), {out}, n.attrs);
  }

  // A link of the outer graph.
  ValueId add(const Node& n) {
    std::vector<ValueId> in;
    for (ValueId v : n.inputs) in.push_back(of(v));
    ValueId out = graph.add_value(graph.fresh_name(outer.value(n.out(0)).name));
    if (!n.is("Strips")) {
      add_conv(n, in, out);
    } else {
      const Graph& body = n.attrs.graph("body");
      std::vector<ValueId> mapped(body.value_slots(), kNoValue);
      for (size_t i = 0; i < in.size(); ++i) mapped[static_cast<size_t>(body.inputs()[i])] = in[i];
      for (NodeId id : body.order()) {
        const Node& conv = body.node(id);
        std::vector<ValueId> conv_in;
        for (ValueId v : conv.inputs) conv_in.push_back(v == kNoValue ? v : mapped[static_cast<size_t>(v)]);
        const ValueId result = conv.out(0) == body.outputs()[0]
                                   ? out
                                   : graph.add_value(graph.fresh_name(body.value(conv.out(0)).name));
        mapped[static_cast<size_t>(conv.out(0))] = result;
        add_conv(conv, conv_in, result);
      }
    }
    made.emplace_back(n.out(0), out);
    return out;
  }
};

// Whether one-row strips of the chain and its weights are small enough.
bool is_small(const Graph& body) {
  if (body.node_count() > kMostConvs) return false;
  int64_t rows = 0, weights = 0;
  for (NodeId id : body.order()) {
    const Node& n = body.node(id);
    const Fact &x = body.fact(n.in(0)), &w = body.fact(n.in(1));
    weights += w.bytes();
    if (body.is_input(n.in(0))) continue;
    rows += w.dims[2].value() * x.dims[2].value() * x.dims[3].value() * 4;
  }
  return rows <= kMostRowBytes && weights <= kMostWeightBytes;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& then = g.node(id);
  if (then.inputs.empty() || !is_link(g, then) || reads_planes(then)) return std::nullopt;
  const ValueId x = then.in(0);
  const NodeId from = g.producer(x);
  if (from == kNoNode || !used_once(g, x) || !is_link(g, g.node(from))) return std::nullopt;
  if (g.fact(x).bytes() / g.fact(x).dims[0].value() < kLeastBytes) return std::nullopt;
  const Node& first = g.node(from);
  if (!is_depthwise_at(g, first, true) && !is_depthwise_at(g, then, false)) return std::nullopt;
  Body body{g, {}, {}};
  body.graph.name = first.name + "+" + then.name;
  body.add(first);
  body.graph.add_output(body.add(then), g.value(then.out(0)).name);
  infer_graph(body.graph);
  if (!is_small(body.graph)) return std::nullopt;
  Patch patch(g);
  const std::string name = body.graph.name;
  patch.replace(then.out(0),
                patch.add(op("Strips", "skyline"), body.inputs,
                          {{"body", std::make_shared<const Graph>(std::move(body.graph))}}, name));
  return patch;
}

}  // namespace

constinit const Pass kFuseStrips{"fuse-strips", Stage::target, run};

}  // namespace skyline::passes
