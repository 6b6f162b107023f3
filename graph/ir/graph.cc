#include "skyline/graph.h"

#include <algorithm>
#include <queue>

#include "graph/ir/op.h"

namespace skyline {

bool Fact::is_static() const {
  return kind == Kind::tensor && dtype != DType::undefined && ranked &&
         std::all_of(dims.begin(), dims.end(), [](Dim d) { return d.known(); });
}
Dims Fact::static_dims() const {
  Dims out;
  for (Dim d : dims) out.push_back(d.value());
  return out;
}
int64_t Fact::elements() const {
  if (kind != Kind::tensor || !ranked) return -1;
  for (Dim d : dims) {
    if (!d.known()) return -1;
  }
  return element_count(static_dims());
}
int64_t Fact::bytes() const {
  return is_static() ? byte_count(dtype, static_dims()) : -1;
}

bool Node::is(std::string_view op_name) const {
  return op && op->name == op_name && (op->domain.empty() || op->domain == "skyline");
}

ValueId Graph::add_value(std::string value_name) {
  values_.push_back({.name = std::move(value_name)});
  return ValueId{static_cast<uint32_t>(values_.size() - 1)};
}

ValueId Graph::add_input(std::string value_name, Fact fact) {
  const ValueId v = add_value(std::move(value_name));
  value(v).fact = std::move(fact);
  inputs_.push_back(v);
  return v;
}

ValueId Graph::add_constant(std::string value_name, Tensor tensor) {
  const ValueId v = add_value(std::move(value_name));
  value(v).fact = Fact::of(tensor);
  value(v).constant = std::move(tensor);
  return v;
}

NodeId Graph::add_node(const OpDef& op, std::string node_name, std::vector<ValueId> inputs,
                       std::vector<ValueId> outputs, Attrs attrs) {
  const NodeId id{static_cast<uint32_t>(nodes_.size())};
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  while (!outputs.empty() && outputs.back() == kNoValue) outputs.pop_back();
  for (uint32_t slot = 0; slot < inputs.size(); ++slot) {
    if (inputs[slot] != kNoValue) value(inputs[slot]).uses.push_back({id, slot});
  }
  for (ValueId v : outputs) {
    if (v != kNoValue) value(v).producer = id;
  }
  nodes_.push_back({&op, std::move(node_name), std::move(inputs), std::move(outputs), std::move(attrs)});
  ++live_nodes_;
  return id;
}

void Graph::add_output(ValueId v, std::string as_name) {
  outputs_.push_back(v);
  output_names_.push_back(std::move(as_name));
}

void Graph::remove_output(size_t i) {
  outputs_.erase(outputs_.begin() + static_cast<std::ptrdiff_t>(i));
  output_names_.erase(output_names_.begin() + static_cast<std::ptrdiff_t>(i));
}

bool Graph::is_output(ValueId id) const {
  return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end();
}
bool Graph::is_input(ValueId id) const {
  return std::find(inputs_.begin(), inputs_.end(), id) != inputs_.end();
}

size_t Graph::use_count(ValueId id) const {
  return value(id).uses.size() + static_cast<size_t>(std::count(outputs_.begin(), outputs_.end(), id));
}

std::vector<NodeId> Graph::order() const {
  // Kahn's algorithm; the heap keeps ties in order of creation, so that a graph that was in order stays as it
  // was.
  std::vector<uint32_t> waiting(nodes_.size(), 0);
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (!nodes_[n].op) continue;
    for (ValueId v : nodes_[n].inputs) waiting[n] += producer(v) != kNoNode;
    if (!waiting[n]) ready.push(n);
  }
  std::vector<NodeId> out;
  out.reserve(live_nodes_);
  while (!ready.empty()) {
    const uint32_t n = ready.top();
    ready.pop();
    out.push_back(NodeId{n});
    for (ValueId v : nodes_[n].outputs) {
      if (v == kNoValue) continue;
      for (const Use& use : value(v).uses) {
        if (--waiting[static_cast<size_t>(use.node)] == 0) ready.push(static_cast<uint32_t>(use.node));
      }
    }
  }
  if (out.size() == live_nodes_) return out;
  std::string names;
  int shown = 0;
  for (uint32_t n = 0; n < nodes_.size() && shown < 5; ++n) {
    if (nodes_[n].op && waiting[n]) names += (shown++ ? ", " : "") + describe(nodes_[n]);
  }
  throw Error(Code::invalid, "the graph has a cycle through or before: " + names);
}

void Graph::set_input(NodeId n, size_t slot, ValueId v) {
  ValueId& place = node(n).inputs[slot];
  if (place == v) return;
  if (place != kNoValue) {
    std::erase_if(value(place).uses, [&](const Use& u) { return u.node == n && u.slot == slot; });
  }
  place = v;
  if (v != kNoValue) value(v).uses.push_back({n, static_cast<uint32_t>(slot)});
}

void Graph::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  for (const Use& u : std::exchange(value(from).uses, {})) {
    node(u.node).inputs[u.slot] = to;
    value(to).uses.push_back(u);
  }
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

void Graph::make_constant(ValueId v, Tensor t) {
  ValueInfo& info = value(v);
  if (info.producer != kNoNode) {
    Node& from = node(info.producer);
    std::replace(from.outputs.begin(), from.outputs.end(), v, kNoValue);
    info.producer = kNoNode;
  }
  info.fact = Fact::of(t);
  info.constant = std::move(t);
}

void Graph::remove_node(NodeId n) {
  Node& dead = node(n);
  for (uint32_t slot = 0; slot < dead.inputs.size(); ++slot) {
    const ValueId v = dead.inputs[slot];
    if (v == kNoValue) continue;
    std::erase_if(value(v).uses, [&](const Use& u) { return u.node == n && u.slot == slot; });
  }
  for (ValueId v : dead.outputs) {
    if (v != kNoValue) value(v).producer = kNoNode;
  }
  dead = Node{};
  --live_nodes_;
}

size_t Graph::remove_dead_nodes() {
  std::vector<NodeId> work;
  auto is_dead = [&](NodeId id) {
    return alive(id) && std::all_of(node(id).outputs.begin(), node(id).outputs.end(),
                                    [&](ValueId v) { return v == kNoValue || use_count(v) == 0; });
  };
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (is_dead(NodeId{n})) work.push_back(NodeId{n});
  }
  size_t removed = 0;
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    if (!is_dead(id)) continue;
    const std::vector<ValueId> inputs = node(id).inputs;
    remove_node(id);
    ++removed;
    for (ValueId v : inputs) {
      if (v == kNoValue) continue;
      if (producer(v) != kNoNode && is_dead(producer(v))) work.push_back(producer(v));
    }
  }
  for (ValueInfo& info : values_) {  // let go of constants that nobody reads any more
    if (info.constant.defined() && info.uses.empty() &&
        !is_output(ValueId{static_cast<uint32_t>(&info - values_.data())})) {
      info.constant = Tensor();
    }
  }
  return removed;
}

std::string Graph::fresh_name(std::string_view stem) {
  return std::string(stem) + "#" + std::to_string(++fresh_);
}

Dim Graph::symbol(std::string_view symbol_name) {
  auto it = std::find(symbols_.begin(), symbols_.end(), symbol_name);
  if (it == symbols_.end()) it = symbols_.insert(symbols_.end(), std::string(symbol_name));
  return Dim::symbol(static_cast<int>(it - symbols_.begin()));
}

std::string Graph::dim_name(Dim d) const {
  if (d.known()) return std::to_string(d.value());
  const auto index = static_cast<size_t>(d.symbol_index());
  return d.is_symbol() && index < symbols_.size() ? symbols_[index] : "?";
}

std::string to_string(const Graph& g, const Fact& f) {
  std::string s = f.kind == Fact::Kind::sequence ? "seq(" : f.kind == Fact::Kind::optional ? "optional(" : "";
  s += name(f.dtype);
  if (!f.ranked) {
    s += "[...]";
  } else {
    s += "[";
    for (size_t i = 0; i < f.dims.size(); ++i) s += (i ? "," : "") + g.dim_name(f.dims[i]);
    s += "]";
  }
  return f.kind == Fact::Kind::tensor ? s : s + ")";
}

}  // namespace skyline
