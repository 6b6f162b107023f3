// skyline inspect: what is in a model, and what of it we cannot run.
#include <fmt/format.h>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"
#include "graph/ir/dump.h"
#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "graph/onnx/file.h"
#include "graph/passes/passes.h"

namespace skyline::cli {
namespace {

struct Flags {
  std::string model, dot;
  bool json = false, text = false, optimized = false;
  int64_t stop_after = -1;
};

struct Summary {
  std::map<std::string, int> ops;
  int64_t nodes = 0, parameters = 0, bytes = 0, flops = 0;
  bool flops_known = true;
};

void visit(const Graph& g, Summary& s) {
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    ++s.nodes;
    ++s.ops[(n.op->domain.empty() ? "" : std::string(n.op->domain) + ".") + std::string(n.op->name)];
    std::vector<Fact> in, out;
    bool fixed = true;
    for (ValueId v : n.inputs) in.push_back(v == kNoValue ? Fact() : g.fact(v));
    for (ValueId v : n.outputs) out.push_back(v == kNoValue ? Fact() : g.fact(v));
    for (size_t i = 0; i < in.size(); ++i) fixed &= n.inputs[i] == kNoValue || in[i].is_static();
    for (size_t i = 0; i < out.size(); ++i) fixed &= n.outputs[i] == kNoValue || out[i].is_static();
    if (fixed) s.flops += work_of(n, in, out).flops;
    s.flops_known &= fixed;
    for (const auto& [key, attr] : n.attrs) {
      if (const auto* body = std::get_if<GraphPtr>(&attr); body && *body) visit(**body, s);
    }
  }
  for (uint32_t v = 0; v < g.value_slots(); ++v) {
    const Tensor& c = g.value(ValueId{v}).constant;
    if (!c.defined()) continue;
    s.parameters += c.size();
    s.bytes += c.bytes();
  }
}

Json describe_ports(const Graph& g, const std::vector<Port>& ports) {
  Json out = Json::array();
  for (const Port& p : ports) {
    Json shape = nullptr;
    if (p.fact.ranked) {
      shape = Json::array();
      for (Dim d : p.fact.dims) shape.push_back(d.known() ? Json(d.value()) : Json(g.dim_name(d)));
    }
    out.push_back(
        {{"name", p.name}, {"dtype", name(p.fact.dtype)}, {"shape", shape}, {"type", to_string(g, p.fact)}});
  }
  return out;
}

// The rewrites of the portable passes, in the order in which they were applied.
struct Rewrite {
  std::string pass, node;
};
std::vector<Rewrite> optimize(Graph& g, int64_t stop_after) {
  std::vector<Rewrite> applied;
  run_passes(g, portable_passes(),
             {.stop_after = stop_after, .log = [&](std::string_view pass, std::string_view node) {
                applied.push_back({std::string(pass), std::string(node)});
              }});
  return applied;
}

// How often each pass fired, and where: all of it, in order.
Json describe_rewrites(const std::vector<Rewrite>& applied) {
  Json passes = Json::object(), rewrites = Json::array();
  for (const Rewrite& r : applied) {
    passes[r.pass] = passes.value(r.pass, 0) + 1;
    rewrites.push_back({{"pass", r.pass}, {"node", r.node}});
  }
  return {{"count", applied.size()}, {"passes", passes}, {"applied", rewrites}};
}

std::string rewrites_as_text(const std::vector<Rewrite>& applied) {
  std::string text = fmt::format("  {} rewrites\n", applied.size());
  const Json described = describe_rewrites(applied);
  for (const auto& [pass, count] : described["passes"].items())
    text += fmt::format("  {:5} {}\n", count.get<int64_t>(), pass);
  for (size_t i = 0; i < applied.size(); ++i)
    text += fmt::format("  {:5} {} at {}\n", i + 1, applied[i].pass, printable(applied[i].node));
  return text;
}

void inspect(const Flags& flags) {
  const Model model = Model::load(flags.model);
  Graph g = model.graph();
  infer_graph(g);
  const bool optimized = flags.optimized || flags.stop_after >= 0;
  std::vector<Rewrite> rewrites;
  if (optimized) rewrites = optimize(g, flags.stop_after);
  if (!flags.dot.empty()) onnx::write_file(flags.dot, dump_dot(g));
  if (flags.text) return print(dump_text(g));
  Summary s;
  visit(g, s);
  const ModelInfo& info = model.info();
  const auto bad = Json::error_handler_t::replace;
  Json out{{"model", flags.model},
           {"ir_version", info.ir_version},
           {"producer", info.producer_name},
           {"graph", info.graph_name}};
  for (const auto& [domain, version] : info.opsets)
    out["opsets"][domain.empty() ? "ai.onnx" : domain] = version;
  out["inputs"] = describe_ports(g, model.inputs());
  out["outputs"] = describe_ports(g, model.outputs());
  out["nodes"] = s.nodes;
  out["parameters"] = s.parameters;
  out["parameter_bytes"] = s.bytes;
  out["flops"] = s.flops_known ? Json(s.flops) : Json(nullptr);
  out["flops_of_static_nodes"] = s.flops;
  out["ops"] = s.ops;
  if (optimized) out["rewrites"] = describe_rewrites(rewrites);
  if (flags.json) return print(out.dump(2, ' ', false, bad) + "\n");
  std::string text = fmt::format("{}: IR {}, producer {}\n", printable(flags.model), info.ir_version,
                                 printable(info.producer_name));
  for (const auto& [domain, version] : info.opsets)
    text += fmt::format("  opset {} {}\n", domain.empty() ? "ai.onnx" : printable(domain), version);
  for (const auto& p : out["inputs"])
    text += fmt::format("  input  {}: {}\n", printable(p["name"].get<std::string>()),
                        p["type"].get<std::string>());
  for (const auto& p : out["outputs"])
    text += fmt::format("  output {}: {}\n", printable(p["name"].get<std::string>()),
                        p["type"].get<std::string>());
  text += fmt::format("  {} nodes, {} parameters ({:.2f} MB), {:.4g} Mflop{}\n", s.nodes, s.parameters,
                      static_cast<double>(s.bytes) / 1e6, static_cast<double>(s.flops) / 1e6,
                      s.flops_known ? "" : " in the nodes with static shapes");
  for (const auto& [op, count] : s.ops) text += fmt::format("  {:5} {}\n", count, printable(op));
  if (flags.stop_after >= 0) text += rewrites_as_text(rewrites);
  print(text);
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c =
      app.add_subcommand("inspect", "Operators, shapes, parameters, flops; every node that cannot be run");
  c->add_option("model", flags->model, "ONNX file")->required();
  c->add_flag("--json", flags->json, "One JSON object");
  c->add_flag("--text", flags->text, "The graph, one line a node");
  c->add_flag("--optimized", flags->optimized, "After the portable passes");
  c->add_option("--stop-after", flags->stop_after,
                "After so many rewrites of the portable passes, and which: pass, node, count");
  c->add_option("--dot", flags->dot, "Write the graph for Graphviz to this file");
  c->callback([flags] { inspect(*flags); });
}

}  // namespace skyline::cli
