#include "engine/optimize/layout.h"

#include <algorithm>
#include <unordered_map>

#include "engine/optimize/layout_model.h"
#include "engine/optimize/measure.h"
#include "engine/optimize/pbqp.h"
#include "graph/ir/precision.h"

namespace skyline {
namespace {

using passes::Layout;
using passes::LayoutChoice;
using passes::LayoutForm;

constexpr double kNever = Pbqp::kForbidden;

// The form that was wished for; null: none, or one that the node does not have.
const LayoutForm* wished(const Graph& g, const LayoutChoice& choice) {
  const std::string wish = wanted_layout(g.node(choice.node));
  const auto it = std::find_if(choice.forms.begin(), choice.forms.end(),
                               [&](const LayoutForm& f) { return passes::name(f.kind) == wish; });
  return wish.empty() || it == choice.forms.end() ? nullptr : &*it;
}

// Who makes and reads a value, as nodes of the problem.
struct Value {
  int maker = -1;  // -1: a graph input, channels-first
  std::vector<int> readers;
  bool is_output = false;
};

class Problem {
 public:
  Problem(const Graph& g, LayoutCosts& costs) : g_(g), costs_(costs), values_(g.value_slots()) {}

  LayoutAssignment solve() {
    add_choices();
    for (uint32_t v = 0; v < values_.size(); ++v) {
      if (passes::has_layout(g_, ValueId{v})) add_value(ValueId{v});
    }
    return assignment();
  }

 private:
  Value& value(ValueId v) { return values_[static_cast<size_t>(v)]; }
  const LayoutForm& form(int node, int state) const {
    return choices_[static_cast<size_t>(node)].forms[static_cast<size_t>(state)];
  }

  void add_choices() {
    // From the last node to the first: the last of a channel shuffle speaks for the others.
    const std::vector<NodeId> order = g_.order();
    std::vector<bool> spoken_for(g_.node_slots(), false);
    for (size_t i = order.size(); i-- > 0;) {
      if (spoken_for[static_cast<size_t>(order[i])]) continue;
      LayoutChoice choice = passes::layout_choice(g_, order[i]);
      for (NodeId other : choice.others) spoken_for[static_cast<size_t>(other)] = true;
      if (const LayoutForm* only = wished(g_, choice)) choice.forms = {LayoutForm(*only)};
      std::vector<double> costs(choice.forms.size(), 0.0);
      for (size_t f = 0; costs.size() > 1 && f < costs.size(); ++f)
        costs[f] = costs_.node(g_, choice, choice.forms[f]);
      const int node = pbqp_.add_node(std::move(costs));
      for (const auto& o : choice.forms[0].reads) value(o.value).readers.push_back(node);
      for (const auto& o : choice.forms[0].writes) value(o.value).maker = node;
      choices_.push_back(std::move(choice));
    }
    for (ValueId v : g_.outputs()) value(v).is_output = true;
  }

  static Layout layout_in(std::span<const LayoutForm::Operand> operands, ValueId v) {
    const auto it =
        std::find_if(operands.begin(), operands.end(), [&](const auto& o) { return o.value == v; });
    return it == operands.end() ? Layout::first : it->layout;
  }
  int states(int node) const { return node < 0 ? 1 : pbqp_.states(node); }
  Layout made(int node, int state, ValueId v) const {
    return node < 0 ? Layout::first : layout_in(form(node, state).writes, v);
  }
  Layout read(int node, int state, ValueId v) const {
    return node < 0 ? Layout::first : layout_in(form(node, state).reads, v);
  }

  // Costs of the pairs of a value's maker and its one reader; -1 stands for the outside of the graph.
  void add_pair(ValueId v, int maker, int reader) {
    std::vector<double> costs;
    for (int i = 0; i < states(maker); ++i) {
      for (int j = 0; j < states(reader); ++j) {
        const Layout from = made(maker, i, v);
        costs.push_back(from == read(reader, j, v) ? 0.0 : costs_.move(g_.fact(v), from));
      }
    }
    if (maker < 0 || reader < 0) {
      const int inside = std::max(maker, reader);
      if (outside_ < 0) outside_ = pbqp_.add_node({0.0});
      if (inside >= 0) pbqp_.add_edge(inside, outside_, costs);
    } else if (states(maker) > 1 || states(reader) > 1) {
      pbqp_.add_edge(maker, reader, costs);
    }
  }

  void add_value(ValueId v) {
    Value& x = value(v);
    std::vector<int> readers = x.readers;
    if (x.is_output) readers.push_back(-1);
    const auto free = [&](int node) { return states(node) > 1; };
    if (!free(x.maker) && std::none_of(readers.begin(), readers.end(), free)) return;
    if (readers.size() == 1) return add_pair(v, x.maker, readers[0]);
    if (readers.empty()) return;
    // A node of its own: the layout that it is made in, and whether it is moved to the other as well.
    struct State {
      Layout made;
      bool both;
    };
    constexpr State kStates[] = {
        {Layout::first, false}, {Layout::first, true}, {Layout::last, false}, {Layout::last, true}};
    std::vector<double> own;
    for (const State& s : kStates) own.push_back(s.both ? costs_.move(g_.fact(v), s.made) : 0.0);
    const int node = pbqp_.add_node(own);
    const auto join = [&](int other, auto&& fits) {
      std::vector<double> costs;
      for (const State& s : kStates) {
        for (int j = 0; j < states(other); ++j) costs.push_back(fits(s, j) ? 0.0 : kNever);
      }
      if (outside_ < 0) outside_ = pbqp_.add_node({0.0});
      pbqp_.add_edge(node, other < 0 ? outside_ : other, costs);
    };
    join(x.maker, [&](const State& s, int j) { return s.made == made(x.maker, j, v); });
    for (int r : readers) join(r, [&](const State& s, int j) { return s.both || s.made == read(r, j, v); });
    shared_.push_back({node, v});
  }

  // The states of all nodes when those of the choices are given.
  std::vector<int> complete(std::vector<int> states) {
    states.resize(static_cast<size_t>(pbqp_.size()), 0);
    for (const auto& [node, v] : shared_) {
      const Value& x = value(v);
      const Layout from =
          x.maker < 0 ? Layout::first : made(x.maker, states[static_cast<size_t>(x.maker)], v);
      bool both = x.is_output && from != Layout::first;
      for (int r : x.readers) both = both || read(r, states[static_cast<size_t>(r)], v) != from;
      states[static_cast<size_t>(node)] = (from == Layout::last ? 2 : 0) + (both ? 1 : 0);
    }
    return states;
  }

  // All nodes in one layout, as far as they can.
  std::vector<int> uniform(Layout layout) {
    std::vector<int> states;
    for (const LayoutChoice& choice : choices_) {
      int state = 0;
      for (size_t f = 1; layout == Layout::last && f < choice.forms.size(); ++f) {
        if (choice.forms[f].kind != LayoutForm::Kind::plain) state = static_cast<int>(f);
      }
      states.push_back(state);
    }
    return complete(std::move(states));
  }

  LayoutAssignment assignment() {
    Pbqp::Solution best = pbqp_.solve();
    LayoutAssignment out;
    out.exact = best.exact;
    for (const Layout layout : {Layout::first, Layout::last}) {
      const std::vector<int> states = uniform(layout);
      const double cost = pbqp_.cost(states);
      (layout == Layout::first ? out.cost_first : out.cost_last) = cost;
      if (cost < best.cost) best = {states, cost, out.exact};
    }
    out.cost = best.cost;
    for (size_t n = 0; n < choices_.size(); ++n) {
      const LayoutForm& f = form(static_cast<int>(n), best.states[n]);
      if (f.kind == LayoutForm::Kind::last || f.kind == LayoutForm::Kind::planes)
        out.forms.emplace_back(choices_[n].node, f.kind);
    }
    return out;
  }

  const Graph& g_;
  LayoutCosts& costs_;
  std::vector<Value> values_;
  std::vector<LayoutChoice> choices_;            // by node of the problem, of which they are the first
  std::vector<std::pair<int, ValueId>> shared_;  // nodes of the problem that are values
  int outside_ = -1;                             // the graph's inputs and outputs
  Pbqp pbqp_;
};

}  // namespace

LayoutAssignment choose_layouts(const Graph& g, LayoutCosts& costs) {
  return Problem(g, costs).solve();
}

void assign_layouts(Graph& g, LayoutPolicy policy, IsaSet isa, int threads) {
  if (policy == LayoutPolicy::channels_first || policy == LayoutPolicy::channels_last) {
    if (policy == LayoutPolicy::channels_last) passes::assign_channels_last(g);
    for (NodeId id : g.order()) {
      const LayoutChoice choice = passes::layout_choice(g, id);
      if (const LayoutForm* form = wished(g, choice)) passes::assign_layout(g, id, form->kind);
    }
    return;
  }
  LayoutAssignment a;
  if (policy == LayoutPolicy::measured) {
    MeasuredLayoutCosts costs(isa, threads);
    a = choose_layouts(g, costs);
  } else {
    LayoutModel costs;
    a = choose_layouts(g, costs);
  }
  for (const auto& [node, kind] : a.forms) passes::assign_layout(g, node, kind);
}

}  // namespace skyline
