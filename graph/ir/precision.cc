#include "graph/ir/precision.h"

#include <algorithm>
#include <set>

#include "graph/ir/op.h"
#include "skyline/status.h"

namespace skyline {
namespace {

constexpr std::string_view kAttr = "precision", kStore = "store", kKernel = "kernel",
                           kLayout = "wanted_layout";

// Calls f for every node, those of bodies included.
template <class F>
void for_nodes(Graph& g, F&& f) {
  for (NodeId id : g.order()) {
    Node& n = g.node(id);
    // A body is shared and immutable: the node gets another.
    std::vector<std::pair<std::string, GraphPtr>> bodies;
    for (const auto& [key, value] : n.attrs) {
      const auto* body = std::get_if<GraphPtr>(&value);
      if (body && *body) bodies.emplace_back(key, *body);
    }
    for (auto& [key, body] : bodies) {
      auto copy = std::make_shared<Graph>(*body);
      for_nodes(*copy, f);
      n.attrs.set(key, GraphPtr(std::move(copy)));
    }
    f(n);
  }
}

constexpr const char* kContraction = "contraction (Conv, ConvTranspose, Gemm, MatMul)";

[[noreturn]] void no_node(const std::string& what, const std::string& name, const std::string& asked) {
  throw Error(Code::invalid, "no " + what + " is named '" + name + "', for which " + asked + " was asked");
}

// Sets the attribute of the nodes named, where it is not to be "".
void assign_wishes(Graph& g, std::string_view attribute, const std::map<std::string, std::string>& nodes,
                   bool contractions, const std::string& what) {
  if (nodes.empty()) return;
  std::set<std::string> met;
  for_nodes(g, [&](Node& n) {
    const auto it = nodes.find(n.name);
    if (it == nodes.end() || (contractions && !has_precision(n))) return;
    met.insert(n.name);
    if (it->second.empty()) {
      n.attrs.erase(attribute);
    } else {
      n.attrs.set(std::string(attribute), it->second);
    }
  });
  for (const auto& [name, wish] : nodes) {
    if (!met.contains(name)) no_node(contractions ? kContraction : "node", name, what + " " + wish);
  }
}

}  // namespace

Precision precision_of(const Node& node) {
  const AttrValue* value = node.attrs.find(kAttr);
  return value ? precision_from_name(node.attrs.text(kAttr)) : Precision::f32;
}

DType stored_as(const Node& node, DType weights) {
  const std::string type = node.attrs.text(kStore, "");
  if (type.empty()) return weights;
  for (DType t : {DType::bf16, DType::f16, DType::f32}) {
    if (type == name(t)) return t;
  }
  throw Error(Code::invalid, "attribute store is '" + type + "', not bf16, f16 or f32");
}

void store_as(Node& node, DType t) {
  node.attrs.set(std::string(kStore), std::string(name(t)));
}

bool takes_mixed_types(const Node& node) {
  return node.op->domain == "skyline" && node.attrs.has(kAttr);
}

bool has_precision(const Node& node) {
  if (node.op->domain == "com.microsoft") return node.op->name == "FusedMatMul";
  return node.is(node.op->name) && is_contraction(node.op->name);
}

bool is_contraction(std::string_view op) {
  constexpr std::string_view kOps[] = {"Conv",      "ConvTranspose",      "Gemm",      "MatMul",
                                       "FusedConv", "FusedConvTranspose", "FusedGemm", "FusedMatMul"};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

void assign_precision(Graph& g, Precision all, const std::map<std::string, Precision>& nodes) {
  if (all == Precision::model && nodes.empty()) return;
  std::set<std::string> met;
  for_nodes(g, [&](Node& n) {
    if (!has_precision(n)) return;
    const auto it = nodes.find(n.name);
    if (it == nodes.end() && all == Precision::model) return;
    const Precision p = it == nodes.end() ? all : it->second;
    if (it != nodes.end()) met.insert(n.name);
    if (p == Precision::f32 || p == Precision::model) {
      n.attrs.erase(kAttr);
    } else {
      n.attrs.set(std::string(kAttr), std::string(name(p)));
    }
  });
  for (const auto& [name, p] : nodes) {
    if (!met.contains(name)) no_node(kContraction, name, "precision " + std::string(skyline::name(p)));
  }
}

std::string wanted_kernel(const Node& node) {
  return node.attrs.text(kKernel, "");
}

void assign_kernels(Graph& g, const std::map<std::string, std::string>& nodes) {
  assign_wishes(g, kKernel, nodes, true, "kernel");
}

std::string wanted_layout(const Node& node) {
  return node.attrs.text(kLayout, "");
}

void assign_wanted_layouts(Graph& g, const std::map<std::string, std::string>& nodes) {
  assign_wishes(g, kLayout, nodes, false, "layout");
}

}  // namespace skyline
