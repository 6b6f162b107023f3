#include "graph/ir/precision.h"

#include <set>

#include "graph/ir/op.h"
#include "skyline/status.h"

namespace skyline {
namespace {

constexpr std::string_view kAttr = "precision", kStore = "store", kKernel = "kernel";

// Calls f for every contraction, those of bodies included.
template <class F>
void for_contractions(Graph& g, F&& f) {
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
      for_contractions(*copy, f);
      n.attrs.set(key, GraphPtr(std::move(copy)));
    }
    if (has_precision(n)) f(n);
  }
}

[[noreturn]] void no_contraction(const std::string& name, const std::string& asked) {
  throw Error(Code::invalid, "no contraction (Conv, ConvTranspose, Gemm, MatMul) is named '" + name +
                                 "', for which " + asked + " was asked");
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
  for (const char* op : {"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedConvTranspose",
                         "FusedGemm", "FusedMatMul"}) {
    if (node.is(op)) return true;
  }
  return false;
}

void assign_precision(Graph& g, Precision all, const std::map<std::string, Precision>& nodes) {
  if (all == Precision::model && nodes.empty()) return;
  std::set<std::string> met;
  for_contractions(g, [&](Node& n) {
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
    if (!met.contains(name)) no_contraction(name, "precision " + std::string(skyline::name(p)));
  }
}

std::string wanted_kernel(const Node& node) {
  return node.attrs.text(kKernel, "");
}

void assign_kernels(Graph& g, const std::map<std::string, std::string>& nodes) {
  if (nodes.empty()) return;
  std::set<std::string> met;
  for_contractions(g, [&](Node& n) {
    const auto it = nodes.find(n.name);
    if (it == nodes.end()) return;
    met.insert(n.name);
    if (it->second.empty()) {
      n.attrs.erase(kKernel);
    } else {
      n.attrs.set(std::string(kKernel), it->second);
    }
  });
  for (const auto& [name, kernel] : nodes) {
    if (!met.contains(name)) no_contraction(name, "kernel " + kernel);
  }
}

}  // namespace skyline
