#include "graph/ir/op.h"

#include <algorithm>

namespace skyline {

std::string describe(const Node& node) {
  std::string type = node.op ? std::string(node.op->name) : "removed";
  if (node.op && !node.op->domain.empty()) type = std::string(node.op->domain) + "." + type;
  return "node " + (node.name.empty() ? std::string("(unnamed)") : node.name) + " (" + type + ")";
}

NodeId Graph::add_node(std::string_view op_name, std::string node_name, std::vector<ValueId> inputs,
                       std::vector<ValueId> outputs, Attrs attrs, std::string_view domain) {
  const OpDef* def = find_op(domain, op_name);
  if (!def)
    throw Error(Code::unsupported,
                "no operator '" + std::string(op_name) + "' in domain '" + std::string(domain) + "'");
  return add_node(*def, std::move(node_name), std::move(inputs), std::move(outputs), std::move(attrs));
}

namespace {
[[noreturn]] void missing_input(size_t i) {
  throw Error(Code::invalid, "input " + std::to_string(i) + " is missing");
}

Dims ints_of(const Tensor& t, size_t i) {
  Dims out;
  if (t.dtype() == DType::i64) {
    out.assign(t.data<int64_t>(), t.data<int64_t>() + t.size());
  } else if (t.dtype() == DType::i32) {
    out.assign(t.data<int32_t>(), t.data<int32_t>() + t.size());
  } else {
    throw Error(Code::invalid,
                "input " + std::to_string(i) + " must be i64 or i32, not " + std::string(name(t.dtype())));
  }
  return out;
}
}  // namespace

const Fact& InferContext::in(size_t i) const {
  if (!has(i)) missing_input(i);
  return in_[i];
}

const Tensor* InferContext::constant(size_t i) const {
  return i < constants_.size() ? constants_[i] : nullptr;
}

std::optional<Dims> InferContext::constant_ints(size_t i) const {
  const Tensor* t = constant(i);
  if (!t) return std::nullopt;
  return ints_of(*t, i);
}

const Value& EvalContext::value(size_t i) const {
  if (!has(i)) missing_input(i);
  return in_[i];
}

Dims EvalContext::ints(size_t i) const {
  return ints_of(in(i), i);
}

Tensor EvalContext::make(DType t, Dims dims) const {
  const int64_t bytes = byte_count(t, dims);
  if (bytes > limits.max_bytes) {
    throw Error(Code::limit, "a tensor of " + to_string(dims) + " takes " + std::to_string(bytes) +
                                 " bytes, above the limit of " + std::to_string(limits.max_bytes));
  }
  return Tensor(t, std::move(dims));
}

Work work_of(const Node& node, std::span<const Fact> in, std::span<const Fact> out) {
  Work w;
  if (node.op->work) {
    w = node.op->work(node, in, out);
  } else {
    for (const Fact& f : out) w.flops += std::max<int64_t>(f.elements(), 0);
  }
  if (w.bytes == 0) {
    for (const Fact& f : in) w.bytes += std::max<int64_t>(f.bytes(), 0);
    for (const Fact& f : out) w.bytes += std::max<int64_t>(f.bytes(), 0);
  }
  return w;
}

}  // namespace skyline
