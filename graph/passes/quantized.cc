// Parts of 8-bit regions that need no arithmetic: any function of one code is a table of 256, and what moves
// elements moves codes.
#include "graph/passes/quantized.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/ir/interpret.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

Tensor all_codes(DType t) {
  Tensor codes(t, {256});
  for (int i = 0; i < 256; ++i) static_cast<uint8_t*>(codes.mutable_raw())[i] = static_cast<uint8_t>(i);
  return codes;
}

// The nodes between a DequantizeLinear and v that compute every element from one code, evaluated for all
// codes.
class Function {
 public:
  explicit Function(const Graph& g) : g_(g) {}

  // [256], or nothing.
  std::optional<Value> at(ValueId v) {
    if (v == kNoValue || nodes_ > kMostNodes) return std::nullopt;
    if (const Tensor* c = g_.constant(v))
      return c->size() == 1 ? std::optional(Value(flat(*c))) : std::nullopt;
    const NodeId id = g_.producer(v);
    if (id == kNoNode) return std::nullopt;
    const Node& n = g_.node(id);
    ++nodes_;
    if (n.is("DequantizeLinear")) {
      const auto from = dequantized(g_, v);
      if (!from || (source_ && source_->q != from->q)) return std::nullopt;
      source_ = from;
      return run(n, {Value(all_codes(from->type)), Value(flat(*g_.constant(n.in(1)))), zero(n)});
    }
    const bool function = n.op->flags & kOpElementwise;
    if (!function || (n.op->flags & kOpNondeterministic) || n.outputs.size() != 1 ||
        g_.fact(v).dtype != DType::f32) {
      return std::nullopt;
    }
    std::vector<Value> in;
    for (ValueId i : n.inputs) {
      if (i == kNoValue) {
        in.emplace_back();
        continue;
      }
      auto value = at(i);
      if (!value) return std::nullopt;
      in.push_back(std::move(*value));
    }
    return run(n, in);
  }
  Value quantized(const Node& q, const Value& x) const {
    return run(q, {x, Value(flat(*g_.constant(q.in(1)))), zero(q)});
  }
  const std::optional<Quantized>& source() const { return source_; }

 private:
  static constexpr int kMostNodes = 16;

  Value zero(const Node& n) const {
    return n.in(2) == kNoValue ? Value() : Value(flat(*g_.constant(n.in(2))));
  }
  // A single number without axes broadcasts to what it meets.
  static Tensor flat(const Tensor& t) {
    Tensor out(t.dtype(), {});
    std::memcpy(out.mutable_raw(), t.raw(), static_cast<size_t>(t.bytes()));
    return out;
  }
  static Value run(const Node& n, const std::vector<Value>& in) { return evaluate_node(n, in, {}).at(0); }

  const Graph& g_;
  std::optional<Quantized> source_;
  int nodes_ = 0;
};

ValueId look_up(Patch& patch, ValueId codes, const Tensor& table, const std::string& name) {
  return patch.add(op("Lookup", "skyline"), {codes}, {{"table", table}}, name);
}

// Codes of x as codes of y.
std::optional<Tensor> requantized(const Graph& g, const Node& q, const Node& dq) {
  Function f(g);
  const auto x = f.at(dq.out(0));
  return x ? std::optional(f.quantized(q, *x).tensor()) : std::nullopt;
}

// The move on integers; nothing if it is none. In may be changed: constants of the moved type.
bool moves_codes(const Graph& g, const Node& n) {
  for (const char* name : {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "DepthToSpace",
                           "SpaceToDepth", "Expand", "Tile", "Identity"}) {
    if (n.is(name)) return true;
  }
  if (n.is("MaxPool")) return n.out(1) == kNoValue;
  if (n.is("Resize")) {
    return n.attrs.text("mode", "nearest") == "nearest" &&
           n.attrs.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize";
  }
  if (n.is("Gather")) return n.in(1) != kNoValue;
  return n.is("Pad") && (n.in(2) == kNoValue || uniform(g, n.in(2)));
}

// The code that a Pad fills with, as a constant.
ValueId pad_code(Patch& patch, const Graph& g, const Node& n, const Quantized& x) {
  const double value = n.in(2) == kNoValue ? 0 : *uniform(g, n.in(2));
  const double low = x.type == DType::u8 ? 0 : -128;
  Tensor t(x.type, {});
  const double code = std::clamp(std::nearbyint(value / x.scale) + x.zero, low, low + 255);
  *static_cast<uint8_t*>(t.mutable_raw()) = static_cast<uint8_t>(static_cast<int>(code));
  return patch.constant(std::move(t), n.name + ".fill");
}

// Which part of a Split v is, as a Slice's inputs.
std::optional<std::vector<ValueId>> slice_of(Patch& patch, const Graph& g, const Node& n, ValueId v) {
  const auto rank = rank_of(g, n.in(0));
  if (rank < 1) return std::nullopt;
  int64_t axis = n.attrs.integer("axis", 0);
  if (axis < 0) axis += rank;
  int64_t at = 0;
  for (ValueId part : n.outputs) {
    const int64_t size = part == kNoValue ? -1 : dim_of(g, part, static_cast<int>(axis));
    if (size < 0) return std::nullopt;
    if (part == v) {
      const auto number = [&](int64_t x) { return patch.constant(Tensor::vector({x}), n.name + ".bound"); };
      return std::vector<ValueId>{n.in(0), number(at), number(at + size), number(axis)};
    }
    at += size;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Patch> quantized_function(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  Patch patch(g);
  if (n.is("DequantizeLinear")) {
    const auto x = dequantized(g, q.in(0));
    if (x && x->same_grid(y)) {
      patch.replace(q.out(0), x->q);
      return patch;
    }
  }
  Function f(g);
  const auto values = f.at(q.in(0));
  if (!values || !f.source() || values->tensor().size() != 256) return std::nullopt;
  // Broadcasting against constants may have changed the shape of what there is.
  if (!same_dims(g.fact(f.source()->q), g.fact(q.out(0)))) return std::nullopt;
  const Value table = f.quantized(q, *values);
  patch.replace(q.out(0), look_up(patch, f.source()->q, table.tensor(), n.name));
  return patch;
}

std::optional<Patch> quantized_move(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  const bool split = n.is("Split");
  if (!split && !moves_codes(g, n)) return std::nullopt;
  const auto x = dequantized(g, n.in(0));
  if (!x) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  if (split) {
    const auto slice = slice_of(patch, g, n, q.in(0));
    if (!slice) return std::nullopt;
    in = *slice;
  }
  in[0] = x->q;
  if (n.is("Pad") && n.attrs.text("mode", "constant") == "constant") {
    in.resize(std::max<size_t>(in.size(), 3), kNoValue);
    in[2] = pad_code(patch, g, n, *x);
  }
  ValueId moved = patch.add(split ? op("Slice") : *n.op, in, split ? Attrs() : n.attrs, n.name);
  if (!x->same_grid(y)) {
    const auto table = requantized(g, q, *maker(g, n.in(0), "DequantizeLinear"));
    if (!table) return std::nullopt;
    moved = look_up(patch, moved, *table, n.name + ".requantized");
  }
  patch.replace(q.out(0), moved);
  return patch;
}

std::optional<Patch> quantized_concat(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  if (!n.is("Concat")) return std::nullopt;
  Patch patch(g);
  std::vector<ValueId> in = {y.scale_id, zero_of(patch, y.zero_id, y.type)}, codes;
  bool same = true;
  for (ValueId v : n.inputs) {
    const auto x = dequantized(g, v);
    if (!x || x->type != y.type) return std::nullopt;
    same = same && x->same_grid(y);
    codes.push_back(x->q);
    in.insert(in.end(), {x->q, x->scale_id, zero_of(patch, x->zero_id, x->type)});
  }
  if (same) {
    Patch plain(g);
    plain.replace(q.out(0), plain.add(*n.op, codes, n.attrs, n.name));
    return plain;
  }
  patch.replace(q.out(0), patch.add(op("QLinearConcat", "com.microsoft"), in, n.attrs, n.name));
  return patch;
}

std::optional<Patch> quantized_softmax(const Graph& g, const Node& q, const Quantized& y) {
  const Node& n = g.node(g.producer(q.in(0)));
  if (!n.is("Softmax")) return std::nullopt;
  const auto x = dequantized(g, n.in(0));
  if (!x || x->type != y.type) return std::nullopt;
  Patch patch(g);
  const Attrs attrs{{"axis", n.attrs.integer("axis", -1)}, {"opset", int64_t{13}}};
  patch.replace(q.out(0), patch.add(op("QLinearSoftmax", "com.microsoft"),
                                    {x->q, x->scale_id, zero_of(patch, x->zero_id, x->type), y.scale_id,
                                     zero_of(patch, y.zero_id, y.type)},
                                    attrs, n.name));
  return patch;
}

}  // namespace skyline::passes
