#include "graph/ir/dump.h"

#include "graph/ir/op.h"

namespace skyline {
namespace {

std::string escaped(std::string_view s) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (u < 0x20 || u == 0x7f) {
      out += {'\\', 'x', kHex[u >> 4], kHex[u & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

template <class T>
std::string list(const std::vector<T>& items, std::string (*show)(const T&)) {
  std::string s = "[";
  for (size_t i = 0; i < items.size() && i < 16; ++i) s += (i ? "," : "") + show(items[i]);
  return s + (items.size() > 16 ? ",...]" : "]");
}

std::string show(const AttrValue& v) {
  struct Shower {
    std::string operator()(int64_t x) const { return std::to_string(x); }
    std::string operator()(float x) const { return std::to_string(x); }
    std::string operator()(const std::string& x) const { return "\"" + escaped(x) + "\""; }
    std::string operator()(const Tensor& x) const {
      return std::string(name(x.dtype())) + to_string(x.dims());
    }
    std::string operator()(const GraphPtr&) const { return "<graph>"; }
    std::string operator()(const Dims& x) const {
      return list<int64_t>(x, [](const int64_t& e) { return std::to_string(e); });
    }
    std::string operator()(const std::vector<float>& x) const {
      return list<float>(x, [](const float& e) { return std::to_string(e); });
    }
    std::string operator()(const std::vector<std::string>& x) const {
      return list<std::string>(x, [](const std::string& e) { return "\"" + escaped(e) + "\""; });
    }
    std::string operator()(const std::vector<Tensor>& x) const {
      return std::to_string(x.size()) + " tensors";
    }
  };
  return std::visit(Shower{}, v);
}

std::string value_name(const Graph& g, ValueId v) {
  return v == kNoValue ? "_" : escaped(g.value(v).name);
}

void dump(const Graph& g, const std::string& indent, std::string& out) {
  for (ValueId v : g.inputs())
    out += indent + "input " + value_name(g, v) + ": " + to_string(g, g.fact(v)) + "\n";
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    out += indent;
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      out += (i ? ", " : "") + value_name(g, n.outputs[i]);
      if (n.outputs[i] != kNoValue) out += ": " + to_string(g, g.fact(n.outputs[i]));
    }
    out +=
        " = " + (n.op->domain.empty() ? "" : std::string(n.op->domain) + ".") + std::string(n.op->name) + "(";
    for (size_t i = 0; i < n.inputs.size(); ++i) out += (i ? ", " : "") + value_name(g, n.inputs[i]);
    out += ")";
    if (n.attrs.size()) {
      out += " {";
      bool first = true;
      for (const auto& [key, attr] : n.attrs) {
        out += (first ? "" : ", ") + key + "=" + show(attr);
        first = false;
      }
      out += "}";
    }
    out += n.name.empty() ? "\n" : "  # " + escaped(n.name) + "\n";
    for (const auto& [key, attr] : n.attrs) {
      if (const auto* body = std::get_if<GraphPtr>(&attr); body && *body) {
        out += indent + "  " + key + ":\n";
        dump(**body, indent + "    ", out);
      }
    }
  }
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    out += indent + "output " + escaped(g.output_names()[i]) + " = " + value_name(g, g.outputs()[i]) + ": " +
           to_string(g, g.fact(g.outputs()[i])) + "\n";
  }
}

}  // namespace

std::string dump_text(const Graph& g) {
  std::string out;
  dump(g, "", out);
  return out;
}

std::string dump_dot(const Graph& g) {
  std::string out =
      "digraph \"" + escaped(g.name) + "\" {\n  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];\n";
  auto edge = [&](ValueId v, const std::string& to) {
    const NodeId from = g.producer(v);
    const std::string tail = from == kNoNode ? "v" + std::to_string(static_cast<uint32_t>(v))
                                             : "n" + std::to_string(static_cast<uint32_t>(from));
    out += "  " + tail + " -> " + to + " [label=\"" + to_string(g, g.fact(v)) + "\"];\n";
  };
  for (ValueId v : g.inputs()) {
    out += "  v" + std::to_string(static_cast<uint32_t>(v)) + " [shape=ellipse, label=\"" + value_name(g, v) +
           "\"];\n";
  }
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    const std::string me = "n" + std::to_string(static_cast<uint32_t>(id));
    out += "  " + me + " [label=\"" + std::string(n.op->name) + "\\n" + escaped(n.name) + "\"];\n";
    for (ValueId v : n.inputs) {
      if (v != kNoValue && !g.constant(v)) edge(v, me);
    }
  }
  for (size_t i = 0; i < g.outputs().size(); ++i) {
    const std::string me = "o" + std::to_string(i);
    out += "  " + me + " [shape=ellipse, label=\"" + escaped(g.output_names()[i]) + "\"];\n";
    edge(g.outputs()[i], me);
  }
  return out + "}\n";
}

}  // namespace skyline
