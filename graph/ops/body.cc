#include <string>

#include "graph/ir/infer.h"
#include "graph/ops/control.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

// How many bodies deep inference is right now. Looking for the best facts of a loop means inferring its body
// several times, which multiplies with each level of nesting: deep down one careful round has to do.
thread_local int depth = 0;
constexpr int kCarefulDepth = 3;

struct Level {
  Level() { ++depth; }
  ~Level() { --depth; }
};

Fact without_symbols(Fact f) {
  for (Dim& d : f.dims) {
    if (d.is_symbol()) d = Dim::unknown();
  }
  return f;
}

bool same(const Fact& a, const Fact& b) {
  if (a.kind != b.kind || a.dtype != b.dtype || a.ranked != b.ranked || a.dims.size() != b.dims.size())
    return false;
  for (size_t i = 0; i < a.dims.size(); ++i) {
    if (a.dims[i].known() != b.dims[i].known()) return false;
    if (a.dims[i].known() && a.dims[i].value() != b.dims[i].value()) return false;
  }
  return true;
}

}  // namespace

std::vector<Fact> infer_body(const Graph& body, std::span<const Fact> in,
                             std::span<const Tensor* const> constants) {
  if (body.inputs().size() != in.size()) {
    reject("body '" + body.name + "' takes " + std::to_string(body.inputs().size()) +
           " inputs, the node gives " + std::to_string(in.size()));
  }
  const Level level;
  Graph g = body;
  for (size_t i = 0; i < in.size(); ++i) {
    ValueInfo& v = g.value(g.inputs()[i]);
    auto merged = merge_facts(v.fact, without_symbols(in[i]));
    if (!merged)
      reject("input '" + v.name + "' of body '" + body.name + "' does not fit what the node gives");
    v.fact = std::move(*merged);
    if (i < constants.size() && constants[i]) v.constant = *constants[i];
  }
  infer_graph(g);
  std::vector<Fact> out;
  for (ValueId v : g.outputs()) out.push_back(without_symbols(g.fact(v)));
  return out;
}

std::vector<Fact> infer_rounds(const Graph& body, std::vector<Fact>& in,
                               std::span<const Tensor* const> constants, size_t first_state,
                               size_t first_output, size_t states) {
  for (Fact& f : in) f = without_symbols(f);
  const auto loosen = [&](size_t s) {
    Fact& f = in[first_state + s];
    const DType t = f.dtype;
    const Fact::Kind kind = f.kind;
    f = Fact::unranked(t);
    f.kind = kind;
  };
  if (depth < kCarefulDepth) {
    for (int round = 0; round < 3; ++round) {
      std::vector<Fact> out = infer_body(body, in, constants);
      bool stable = true;
      for (size_t s = 0; s < states; ++s) {
        Fact joined = join_facts(in[first_state + s], out.at(first_output + s));
        // The dtype of a state cannot change, so an unknown one on one side is the other's.
        if (joined.dtype == DType::undefined) joined.dtype = in[first_state + s].dtype;
        stable = stable && same(joined, in[first_state + s]);
        in[first_state + s] = std::move(joined);
      }
      if (stable) return out;
    }
  }
  for (size_t s = 0; s < states; ++s) loosen(s);
  return infer_body(body, in, constants);
}

size_t capture_count(const Node& node, size_t fixed) {
  const int64_t n = node.attrs.integer("captures", 0);
  const auto total = static_cast<int64_t>(node.inputs.size());
  if (n < 0 || (n > 0 && n > total - static_cast<int64_t>(fixed))) {
    reject("attribute captures is " + std::to_string(n) + " with " + std::to_string(total) + " inputs");
  }
  return static_cast<size_t>(n);
}

void require_body(const Graph& body, size_t inputs, size_t outputs) {
  if (body.inputs().size() != inputs || body.outputs().size() != outputs) {
    reject("body '" + body.name + "' has " + std::to_string(body.inputs().size()) + " inputs and " +
           std::to_string(body.outputs().size()) + " outputs, expected " + std::to_string(inputs) + " and " +
           std::to_string(outputs));
  }
}

Fact fact_of(const Value& v) {
  if (v.is_tensor()) return Fact::of(v.tensor());
  Fact f;
  f.dtype = v.element_type();
  f.kind = v.is_sequence() ? Fact::Kind::sequence : Fact::Kind::optional;
  return f;
}

bool scalar_bool(const Tensor& t, std::string_view what) {
  if (t.dtype() != DType::boolean || t.size() != 1) {
    reject(std::string(what) + " is not one bool but " + std::string(name(t.dtype())) + to_string(t.dims()));
  }
  return t.data<bool>()[0];
}

}  // namespace skyline::ops
