#include "quant/select.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "graph/passes/match.h"

namespace skyline::quant {
namespace {

using passes::rank_of;
using passes::used_once;

bool is_activation(const Graph& g, ValueId v) {
  return v != kNoValue && !g.constant(v) && g.fact(v).dtype == DType::f32;
}

class Selector {
 public:
  Selector(const Graph& g, const std::vector<std::string>& keep) : g_(g), keep_(keep) {
    s_.roles.resize(g.node_slots());
    s_.rounded.resize(g.value_slots());
    s_.on_grid.resize(g.value_slots());
    wanted_.resize(g.value_slots());
    reasons_.resize(g.node_slots());
    leaves_.resize(g.value_slots());
  }

  Selection run() {
    for (NodeId id : g_.order()) names_.insert(g_.node(id).name);
    check_names();
    const std::vector<NodeId> order = g_.order();
    find_results(order);
    for (NodeId id : order) choose_product(id);
    for (auto id = order.rbegin(); id != order.rend(); ++id) want(*id);
    for (NodeId id : order) spread(id);
    for (NodeId id : order) round_inputs(id);
    for (NodeId id : order) decide(id);
    return std::move(s_);
  }

 private:
  size_t key(NodeId n) const { return static_cast<size_t>(n); }
  size_t key(ValueId v) const { return static_cast<size_t>(v); }

  bool kept(const Node& n) const {
    return std::any_of(keep_.begin(), keep_.end(), [&](const std::string& k) {
      return k == n.name || (k == n.op->name && !names_.contains(k));
    });
  }
  void check_names() const {
    for (const std::string& k : keep_) {
      bool known = names_.contains(k);
      for (NodeId id : g_.order()) known |= g_.node(id).op->name == k;
      if (!known) throw Error(Code::invalid, "no node or operator is named '" + k + "'");
    }
  }

  // leaves_[v]: v reaches an output of the model with nothing between that sums over many of its elements.
  void find_results(const std::vector<NodeId>& order) {
    for (ValueId v : g_.outputs()) leaves_[key(v)] = true;
    for (auto id = order.rbegin(); id != order.rend(); ++id) {
      const Node& n = g_.node(*id);
      if (is_product(n) || n.is("GlobalAveragePool") || n.is("AveragePool") || n.is("ReduceMean") ||
          n.is("LSTM") || n.is("GRU") || n.is("LayerNormalization") || n.is("RMSNormalization"))
        continue;
      const bool leaves = std::any_of(n.outputs.begin(), n.outputs.end(),
                                      [&](ValueId v) { return v != kNoValue && leaves_[key(v)]; });
      if (!leaves) continue;
      for (ValueId v : n.inputs) {
        if (v != kNoValue) leaves_[key(v)] = true;
      }
    }
  }

  void choose_product(NodeId id) {
    const Node& n = g_.node(id);
    if (!is_product(n)) return;
    std::string& why = reasons_[key(id)];
    const Tensor* w = g_.constant(n.in(1));
    if (kept(n)) {
      why = "asked for";
    } else if (g_.fact(n.out(0)).dtype != DType::f32) {
      why = "it computes in " + std::string(name(g_.fact(n.out(0)).dtype)) + " already";
    } else if (!w) {
      why = "both factors are activations";
    } else if (n.is("ConvTranspose")) {
      why = "ConvTranspose has no form on integers";
    } else if (!is_activation(g_, n.in(0)) || w->size() == 0) {
      why = "it has no activation to quantize";
    } else if (n.is("MatMul") ? w->rank() != 2 : n.is("Conv") && w->rank() < 3) {
      why = "its weights are not a matrix";
    } else if (n.is("Gemm") && (n.attrs.real("alpha", 1) != 1 || n.attrs.real("beta", 1) != 1 ||
                                n.attrs.integer("transA", 0) != 0 || !bias_fits(n, *w))) {
      why = "the product has factors that integers do not take";
    } else if (n.is("Conv") && n.in(2) != kNoValue && !g_.constant(n.in(2))) {
      why = "its bias is not a constant";
    } else if (n.is("Conv") && leaves_[key(n.out(0))]) {
      why = "its result leaves the model, which would then have 256 levels";
    } else {
      s_.roles[key(id)] = Role::product;
    }
  }

  bool bias_fits(const Node& n, const Tensor& w) const {
    if (n.in(2) == kNoValue) return true;
    const Tensor* b = g_.constant(n.in(2));
    return b && b->size() == w.dim(output_axis(n)) && b->dim(b->rank() - 1) == b->size();
  }

  bool is_move(const Node& n) const {
    for (const char* name : {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split",
                             "DepthToSpace", "SpaceToDepth"}) {
      if (n.is(name)) return true;
    }
    // 0 is on every grid.
    if (n.is("Pad")) return n.in(2) == kNoValue || passes::is_uniform(g_, n.in(2), 0);
    if (n.is("Resize")) {
      return n.attrs.text("mode", "nearest") == "nearest" &&
             n.attrs.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize";
    }
    return n.is("MaxPool") && n.outputs.size() == 1;
  }
  // A function of one element with bounded slopes: what rounding its input loses does not grow.
  bool is_table(const Node& n) const {
    for (const char* name : {"Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish",
                             "Gelu", "Erf", "Softplus", "Softsign", "Abs", "Neg"}) {
      if (n.is(name)) return true;
    }
    return n.is("Clip") && (n.in(1) == kNoValue || passes::uniform(g_, n.in(1))) &&
           (n.in(2) == kNoValue || passes::uniform(g_, n.in(2)));
  }
  bool is_concat(const Node& n) const {
    return n.is("Concat") &&
           std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return is_activation(g_, v); });
  }
  // Somebody reads one of the outputs as integers, and none leaves the model.
  bool is_wanted(const Node& n) const {
    const bool leaves = std::any_of(n.outputs.begin(), n.outputs.end(),
                                    [&](ValueId v) { return v != kNoValue && g_.is_output(v); });
    return !leaves && std::any_of(n.outputs.begin(), n.outputs.end(),
                                  [&](ValueId v) { return v != kNoValue && wanted_[key(v)]; });
  }
  bool is_join(const Node& n) const {
    return (n.is("Add") || n.is("Mul")) && n.in(0) != n.in(1) && is_activation(g_, n.in(0)) &&
           is_activation(g_, n.in(1));
  }

  // wanted_[v]: somebody would read it as integers.
  void want(NodeId id) {
    const Node& n = g_.node(id);
    if (s_.role(id) == Role::product) {
      wanted_[key(n.in(0))] = true;
      return;
    }
    if (n.out(0) == kNoValue || kept(n) || g_.fact(n.out(0)).dtype != DType::f32) return;
    const ValueId y = after_activation(g_, n.out(0));
    const bool absorbed = g_.producer(n.in(0)) != kNoNode && after_activation(g_, n.in(0)) != n.in(0);
    if (is_move(n) && is_wanted(n)) wanted_[key(n.in(0))] = true;
    if (!wanted_[key(y)] || g_.is_output(y)) return;
    if (is_concat(n)) {
      for (ValueId v : n.inputs) wanted_[key(v)] = true;
    } else if (absorbed || is_table(n) || n.is("GlobalAveragePool") || n.is("AveragePool")) {
      wanted_[key(n.in(0))] = true;
    } else if (is_join(n)) {
      wanted_[key(n.in(0))] = wanted_[key(n.in(1))] = true;
    }
  }

  // Every reader of v takes it as integers.
  bool all_want(ValueId v) const {
    const auto& uses = g_.value(v).uses;
    return !g_.is_output(v) && !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](const Use& u) {
      return s_.role(u.node) == Role::product && u.slot == 0;
    });
  }

  // Forwards: what quantized nodes make is on the grid, and so is what the cheap ones make of it.
  void spread(NodeId id) {
    const Node& n = g_.node(id);
    if (n.out(0) == kNoValue) return;
    if (s_.role(id) == Role::product) {
      const ValueId y = after_activation(g_, n.out(0));
      if (n.is("Conv") || all_want(y)) s_.on_grid[key(y)] = true;
      return;
    }
    const ValueId y = after_activation(g_, n.out(0));
    const auto grid = [&](size_t i) { return s_.is_on_grid(n.in(i)); };
    if (is_move(n)) {
      if (kept(n) || !is_wanted(n) || !grid(0)) return;
      s_.roles[key(id)] = Role::move;
      for (ValueId v : n.outputs) {
        if (v != kNoValue) s_.on_grid[key(v)] = true;
      }
      return;
    }
    if (kept(n) || !wanted_[key(y)] || g_.is_output(y)) return;
    Role role = Role::none;
    if (is_concat(n) &&
        std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return s_.is_on_grid(v); })) {
      role = Role::concat;
    } else if (is_table(n) && grid(0) && !s_.is_on_grid(n.out(0))) {
      role = Role::table;
    } else if ((n.is("GlobalAveragePool") || n.is("AveragePool")) && grid(0)) {
      role = Role::pool;
    } else if (is_join(n) && joins(n)) {
      role = Role::join;
    }
    if (role == Role::none) return;
    s_.roles[key(id)] = role;
    s_.on_grid[key(y)] = true;
  }

  // Both are on the grid, or one is and the other is small beside it: a gate per channel.
  bool joins(const Node& n) const {
    for (size_t i : {0u, 1u}) {
      if (!s_.is_on_grid(n.in(i))) continue;
      if (s_.is_on_grid(n.in(1 - i))) return true;
      const int rank = rank_of(g_, n.in(i));
      if (n.is("Mul") && rank == 4 && rank_of(g_, n.in(1 - i)) == 4 &&
          passes::dim_of(g_, n.in(1 - i), 2) == 1 && passes::dim_of(g_, n.in(1 - i), 3) == 1) {
        return true;
      }
    }
    return false;
  }

  void round_inputs(NodeId id) {
    const Node& n = g_.node(id);
    const Role role = s_.role(id);
    if (role == Role::none) return;
    s_.rounded[key(n.in(0))] = true;
    if (role == Role::join) s_.rounded[key(n.in(1))] = true;
    if (role == Role::concat) {
      for (ValueId v : n.inputs) s_.rounded[key(v)] = true;
    }
    for (ValueId v : n.outputs) {
      for (ValueId w : {v, after_activation(g_, v)}) {
        if (s_.is_on_grid(w)) s_.rounded[key(w)] = true;
      }
    }
  }

  void decide(NodeId id) {
    const Node& n = g_.node(id);
    if (n.out(0) == kNoValue || g_.fact(n.out(0)).dtype != DType::f32) return;
    Decision d{n.name, std::string(n.op->name), Precision::int8, ""};
    const bool absorbed = n.in(0) != kNoValue && s_.is_on_grid(n.out(0)) && s_.role(id) == Role::none;
    if (s_.role(id) == Role::none && !absorbed) {
      d.precision = Precision::f32;
      d.reason = reasons_[key(id)].empty() ? why(n) : reasons_[key(id)];
    }
    s_.decisions.push_back(std::move(d));
  }
  std::string why(const Node& n) const {
    if (kept(n)) return "asked for";
    if (n.is("Softmax") || n.is("LogSoftmax") || n.is("Exp"))
      return "what it makes spans more than 8 bits can";
    for (const char* norm : {"LayerNormalization", "RMSNormalization", "InstanceNormalization", "ReduceMean",
                             "Sqrt", "Pow", "Div"}) {
      if (n.is(norm)) return "normalization needs the small differences that 8 bits leave out";
    }
    if (is_move(n) || is_join(n) || is_table(n) || is_concat(n) || n.is("AveragePool") ||
        n.is("GlobalAveragePool"))
      return "what it reads, or who reads it, is f32";
    return "no form on integers";
  }

  const Graph& g_;
  std::set<std::string> names_;  // of nodes
  const std::vector<std::string>& keep_;
  Selection s_;
  std::vector<bool> wanted_, leaves_;
  std::vector<std::string> reasons_;
};

}  // namespace

bool is_product(const Node& n) {
  return n.is("Conv") || n.is("MatMul") || n.is("Gemm") || n.is("ConvTranspose");
}

int output_axis(const Node& n) {
  return n.is("MatMul") || (n.is("Gemm") && n.attrs.integer("transB", 0) == 0) ? 1 : 0;
}

ValueId after_activation(const Graph& g, ValueId v) {
  if (v == kNoValue || !used_once(g, v) || g.is_output(v)) return v;
  const NodeId id = g.producer(v);
  if (id == kNoNode) return v;
  // Moves keep their input's range; what they move has been rounded already.
  const Node& made_by = g.node(id);
  if (!is_product(made_by) && !made_by.is("Add")) return v;
  const Node& n = g.node(g.value(v).uses[0].node);
  if (n.is("Relu")) return n.out(0);
  if (!n.is("Clip") || n.in(0) != v) return v;
  const auto low = n.in(1) == kNoValue ? std::optional<double>(-INFINITY) : passes::uniform(g, n.in(1));
  const auto high = n.in(2) == kNoValue ? std::optional<double>(INFINITY) : passes::uniform(g, n.in(2));
  return low && high && *low <= 0 && *high > 0 ? n.out(0) : v;
}

Selection select_int8(const Graph& g, const std::vector<std::string>& keep) {
  return Selector(g, keep).run();
}

}  // namespace skyline::quant
