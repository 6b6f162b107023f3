// f32 to f16 or bf16.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "quant/calibrate.h"
#include "quant/prepare.h"

namespace skyline::quant {
namespace {

constexpr int64_t kMostExamples = 16;
// Results may grow by this much on examples that were not seen.
constexpr double kHeadroom = 8;

// Operators that take the narrow type, and how many of their inputs are of it (the rest keep theirs).
struct Form {
  std::string_view op;
  size_t first, inputs;
};
constexpr size_t kAll = 1 << 20;
constexpr Form kForms[] = {
    {"Conv", 0, kAll},
    {"ConvTranspose", 0, kAll},
    {"Gemm", 0, kAll},
    {"MatMul", 0, kAll},
    {"Add", 0, kAll},
    {"Sub", 0, kAll},
    {"Mul", 0, kAll},
    {"Relu", 0, kAll},
    {"Clip", 0, kAll},
    {"LeakyRelu", 0, kAll},
    {"Sigmoid", 0, kAll},
    {"Tanh", 0, kAll},
    {"HardSigmoid", 0, kAll},
    {"HardSwish", 0, kAll},
    {"Gelu", 0, kAll},
    {"Erf", 0, kAll},
    {"Softmax", 0, kAll},
    {"LayerNormalization", 0, kAll},
    {"MaxPool", 0, kAll},
    {"AveragePool", 0, kAll},
    {"GlobalAveragePool", 0, kAll},
    {"GlobalMaxPool", 0, kAll},
    {"Concat", 0, kAll},
    {"Split", 0, 1},
    {"Slice", 0, 1},
    {"Reshape", 0, 1},
    {"Transpose", 0, 1},
    {"Flatten", 0, 1},
    {"Squeeze", 0, 1},
    {"Unsqueeze", 0, 1},
    {"Gather", 0, 1},
    {"Expand", 0, 1},
    {"Pad", 0, kAll},
    {"Min", 0, kAll},
    {"Max", 0, kAll},
    {"Neg", 0, kAll},
    {"Abs", 0, kAll},
    {"Where", 1, kAll},
    {"Resize", 0, 1},
    {"DepthToSpace", 0, kAll},
    {"SpaceToDepth", 0, kAll},
    {"Identity", 0, kAll},
    {"Tile", 0, 1},
    {"PRelu", 0, kAll},
};
const Form* form_of(const Node& n) {
  if (!n.op->domain.empty()) return nullptr;
  const auto* f =
      std::find_if(std::begin(kForms), std::end(kForms), [&](const Form& x) { return x.op == n.op->name; });
  return f == std::end(kForms) ? nullptr : f;
}

float narrow(float x, DType t) {
  return t == DType::f16 ? static_cast<float>(Half(x)) : static_cast<float>(BFloat16(x));
}
Tensor converted(const Tensor& t, DType type) {
  Tensor out(type, t.dims());
  for (int64_t i = 0; i < t.size(); ++i) {
    if (type == DType::f16) {
      out.mutable_data<Half>()[i] = Half(t.data<float>()[i]);
    } else {
      out.mutable_data<BFloat16>()[i] = BFloat16(t.data<float>()[i]);
    }
  }
  return out;
}

class Converter {
 public:
  Converter(Graph g, DType type, const HalfOptions& options)
      : g_(std::move(g)), type_(type), options_(options) {
    most_ = type == DType::f16 ? 65504.0 : static_cast<double>(std::numeric_limits<float>::max());
    low_.resize(g_.node_slots());
  }

  Result run() {
    const std::vector<NodeId> order = g_.order();
    check_names(order);
    for (NodeId id : order) choose(id);
    if (type_ == DType::f16 && options_.examples.count > 0 && options_.make_runner) watch(order);
    Result r;
    for (NodeId id : order) decide(id, r.decisions);
    for (NodeId id : order) rewire(id);
    outputs();
    for (NodeId id : g_.order()) {
      for (ValueId v : g_.node(id).outputs) {
        if (v != kNoValue) g_.value(v).fact = Fact();
      }
    }
    infer_graph(g_);
    g_.remove_dead_nodes();
    verify_graph(g_, true);
    r.graph = std::move(g_);
    return r;
  }

 private:
  size_t key(NodeId n) const { return static_cast<size_t>(n); }
  bool is_low(NodeId n) const { return n != kNoNode && key(n) < low_.size() && low_[key(n)].empty_reason(); }

  // Why a node stays f32; "" if it does not. Nodes without floats have none of both.
  struct State {
    bool floats = false;
    std::string reason;
    bool empty_reason() const { return floats && reason.empty(); }
  };

  void check_names(const std::vector<NodeId>& order) const {
    for (const std::string& k : options_.keep) {
      if (std::none_of(order.begin(), order.end(),
                       [&](NodeId id) { return g_.node(id).name == k || g_.node(id).op->name == k; }))
        throw Error(Code::invalid, "no node or operator is named '" + k + "'");
    }
  }

  bool takes(const Form& f, const Node& n, size_t slot) const {
    return slot >= f.first && slot < f.first + f.inputs && n.in(slot) != kNoValue &&
           g_.fact(n.in(slot)).dtype == DType::f32 && g_.fact(n.in(slot)).kind == Fact::Kind::tensor;
  }

  void choose(NodeId id) {
    const Node& n = g_.node(id);
    State& s = low_[key(id)];
    s.floats = std::any_of(n.outputs.begin(), n.outputs.end(),
                           [&](ValueId v) { return v != kNoValue && g_.fact(v).dtype == DType::f32; });
    if (!s.floats) return;
    const Form* f = form_of(n);
    const auto asked = [&](const std::string& k) { return k == n.name || k == n.op->name; };
    if (std::any_of(options_.keep.begin(), options_.keep.end(), asked)) {
      s.reason = "asked for";
    } else if (!f) {
      s.reason = reason_of(n);
    } else if (!takes(*f, n, f->first)) {
      s.reason = "it takes no f32 tensor";
    } else {
      for (size_t i = 0; i < n.inputs.size() && s.reason.empty(); ++i) {
        if (const Tensor* t = takes(*f, n, i) ? g_.constant(n.in(i)) : nullptr) s.reason = loss(*t);
      }
    }
  }
  std::string reason_of(const Node& n) const {
    for (const char* op :
         {"Pow", "Exp", "Log", "ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "Sqrt", "Div",
          "Reciprocal", "CumSum", "RMSNormalization", "InstanceNormalization"}) {
      if (n.is(op))
        return "squares, sums and quotients leave the range or the precision of " + std::string(name(type_));
    }
    return "no form in " + std::string(name(type_));
  }
  // What a constant loses beyond rounding; infinities are bounds and masks, which stay.
  std::string loss(const Tensor& t) const {
    int64_t vanish = 0;
    for (float x : t.span<float>()) {
      if (std::isinf(x)) continue;
      if (std::fabs(x) > most_) return "a constant of " + std::to_string(x) + " is out of range";
      vanish += x != 0 && narrow(x, type_) == 0;
    }
    // Of weights the smallest may go.
    return t.size() <= 16 && vanish > 0 ? "a constant becomes 0" : "";
  }

  void watch(const std::vector<NodeId>& order) {
    std::vector<Watch> watches;
    std::vector<NodeId> nodes;
    for (NodeId id : order) {
      if (!is_low(id)) continue;
      // Moves make nothing that was not there.
      const Node& n = g_.node(id);
      if (form_of(n)->inputs == 1 || n.is("Identity") || n.is("Concat") || n.is("MaxPool")) continue;
      watches.push_back({n.out(0), false, false});
      nodes.push_back(id);
    }
    Examples few = options_.examples;
    few.count = std::min(few.count, kMostExamples);
    const std::vector<Observation> seen = observe(g_, watches, few, options_.make_runner, options_.progress);
    for (size_t i = 0; i < nodes.size(); ++i) {
      const double most = std::max(-seen[i].histogram.min(), seen[i].histogram.max());
      if (most * kHeadroom > most_)
        low_[key(nodes[i])].reason =
            "its results reach " + std::to_string(most) + " of " + std::to_string(most_);
    }
  }

  void decide(NodeId id, std::vector<Decision>& to) const {
    const State& s = low_[key(id)];
    if (!s.floats) return;
    const Node& n = g_.node(id);
    const Precision p = type_ == DType::f16 ? Precision::f16 : Precision::bf16;
    to.push_back({n.name, std::string(n.op->name), s.reason.empty() ? p : Precision::f32, s.reason});
  }

  ValueId cast(ValueId v, DType to) {
    const std::string stem = g_.value(v).name + "_" + std::string(name(to));
    const ValueId y = g_.add_value(g_.fresh_name(stem));
    g_.add_node("Cast", g_.fresh_name(stem), {v}, {y}, {{"to", static_cast<int64_t>(to)}});
    return y;
  }
  // v, which is f32 in the model, in this type.
  ValueId as(ValueId v, DType to) {
    const DType now = is_low(g_.producer(v)) ? type_ : DType::f32;
    if (now == to) return v;
    auto& known = to == DType::f32 ? wide_ : narrow_;
    const auto it = known.find(static_cast<uint32_t>(v));
    if (it != known.end()) return it->second;
    const Tensor* t = g_.constant(v);
    const ValueId y =
        t ? g_.add_constant(g_.fresh_name(g_.value(v).name + "_" + std::string(name(to))), converted(*t, to))
          : cast(v, to);
    known.emplace(static_cast<uint32_t>(v), y);
    return y;
  }

  void rewire(NodeId id) {
    const Node n = g_.node(id);  // a copy: adding nodes moves them
    const Form* f = is_low(id) ? form_of(n) : nullptr;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.in(i);
      if (v == kNoValue || g_.fact(v).dtype != DType::f32 || g_.fact(v).kind != Fact::Kind::tensor) continue;
      g_.set_input(id, i, as(v, f && takes(*f, n, i) ? type_ : DType::f32));
    }
  }

  // The model's outputs keep their type.
  void outputs() {
    const std::vector<ValueId> all = g_.outputs();
    for (ValueId v : all) {
      if (!is_low(g_.producer(v)) || g_.fact(v).dtype != DType::f32 || !g_.is_output(v)) continue;
      const ValueId y = as(v, DType::f32);
      const std::vector<Use> uses = g_.value(v).uses;
      g_.replace_uses(v, y);
      for (const Use& u : uses) g_.set_input(u.node, u.slot, v);
    }
  }

  Graph g_;
  DType type_;
  const HalfOptions& options_;
  double most_ = 0;
  std::vector<State> low_;
  std::map<uint32_t, ValueId> narrow_, wide_;
};

}  // namespace

Result to_half(const Graph& model, DType type, const HalfOptions& options) {
  if (type != DType::f16 && type != DType::bf16)
    throw Error(Code::invalid, "half precision is f16 or bf16, not " + std::string(name(type)));
  return Converter(prepare(model), type, options).run();
}

}  // namespace skyline::quant
