#include "graph/passes/match.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/ops/numeric.h"

namespace skyline::passes {

const Node* maker(const Graph& g, ValueId v, std::string_view op) {
  const NodeId id = g.producer(v);
  if (id == kNoNode) return nullptr;
  const Node& n = g.node(id);
  return n.is(op) && n.out(0) == v ? &n : nullptr;
}

const Node* sole_maker(const Graph& g, ValueId v, std::string_view op) {
  const Node* n = maker(g, v, op);
  return n && used_once(g, v) ? n : nullptr;
}

bool is_float(const Graph& g, ValueId v) {
  return v != kNoValue && skyline::is_float(g.fact(v).dtype);
}

bool same_value(const Graph& g, ValueId a, ValueId b) {
  if (a == b) return true;
  const Tensor *x = g.constant(a), *y = g.constant(b);
  if (!x || !y || x->dtype() != y->dtype() || x->dims() != y->dims() || x->dtype() == DType::string)
    return false;
  return x->raw() == y->raw() || std::memcmp(x->raw(), y->raw(), static_cast<size_t>(x->bytes())) == 0;
}

bool same_dims(const Fact& a, const Fact& b) {
  return a.kind == Fact::Kind::tensor && b.kind == Fact::Kind::tensor && a.ranked && b.ranked &&
         a.dims == b.dims;
}

bool same_type(const Graph& g, ValueId a, ValueId b) {
  const Fact &x = g.fact(a), &y = g.fact(b);
  return x.dtype != DType::undefined && x.dtype == y.dtype && same_dims(x, y);
}

int rank_of(const Graph& g, ValueId v) {
  const Fact& f = g.fact(v);
  return f.ranked && f.kind == Fact::Kind::tensor ? f.rank() : -1;
}

int64_t dim_of(const Graph& g, ValueId v, int axis) {
  const int rank = rank_of(g, v);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return -1;
  const Dim d = g.fact(v).dims[static_cast<size_t>(axis)];
  return d.known() ? d.value() : -1;
}

std::optional<Dims> static_dims(const Graph& g, ValueId v) {
  if (v == kNoValue || !g.fact(v).is_static()) return std::nullopt;
  return g.fact(v).static_dims();
}

std::optional<std::vector<double>> numbers(const Graph& g, ValueId v, int64_t most) {
  const Tensor* t = g.constant(v);
  if (!t || t->size() > most || !(skyline::is_float(t->dtype()) || is_int(t->dtype()))) return std::nullopt;
  return ops::to_doubles(*t);
}

std::optional<Dims> integers(const Graph& g, ValueId v) {
  const Tensor* t = g.constant(v);
  if (!t) return std::nullopt;
  if (t->dtype() == DType::i64) return Dims(t->span<int64_t>().begin(), t->span<int64_t>().end());
  if (t->dtype() == DType::i32) return Dims(t->span<int32_t>().begin(), t->span<int32_t>().end());
  return std::nullopt;
}

std::optional<double> uniform(const Graph& g, ValueId v) {
  const auto all = numbers(g, v, 1 << 14);
  if (!all || all->empty()) return std::nullopt;
  for (double x : *all) {
    if (x != all->front()) return std::nullopt;
  }
  return all->front();
}

bool is_near(double a, double b, double relative) {
  return std::abs(a - b) <= relative * std::abs(b);
}

bool is_uniform(const Graph& g, ValueId v, double wanted, double tolerance) {
  const auto x = uniform(g, v);
  return x && (*x == wanted || std::abs(*x - wanted) <= tolerance);
}

std::optional<WithConstant> with_constant(const Graph& g, const Node& n) {
  if (n.inputs.size() != 2 || n.in(0) == kNoValue || n.in(1) == kNoValue) return std::nullopt;
  const bool first = g.constant(n.inputs[0]), second = g.constant(n.inputs[1]);
  if (first == second) return std::nullopt;
  return WithConstant{n.inputs[first ? 1 : 0], n.inputs[first ? 0 : 1], first};
}

ValueId other_operand(const Node& n, ValueId v) {
  if (n.inputs.size() != 2 || n.inputs[0] == n.inputs[1]) return kNoValue;
  return n.inputs[0] == v ? n.inputs[1] : n.inputs[1] == v ? n.inputs[0] : kNoValue;
}

std::optional<std::vector<double>> along_axis(const Graph& g, ValueId v, int rank, int axis, int64_t count) {
  const Tensor* t = g.constant(v);
  if (!t || t->rank() > rank || !skyline::is_float(t->dtype())) return std::nullopt;
  if (t->size() != 1 && t->size() != count) return std::nullopt;
  const int lead = rank - t->rank();
  for (int i = 0; i < t->rank(); ++i) {
    if (t->dim(i) != 1 && (i + lead != axis || t->dim(i) != count)) return std::nullopt;
  }
  std::vector<double> out = ops::to_doubles(*t);
  if (t->size() == 1) out.assign(static_cast<size_t>(count), out[0]);
  return out;
}

namespace {

constexpr int kMaxDepth = 6;

void collect(const Graph& g, ValueId v, int depth, Product& out) {
  const NodeId id = g.producer(v);
  if (id != kNoNode && depth < kMaxDepth && (depth == 0 || used_once(g, v))) {
    const Node& n = g.node(id);
    if (n.is("Mul") && n.inputs.size() == 2) {
      for (ValueId in : n.inputs) {
        if (const auto c = uniform(g, in)) {
          out.constant *= *c;
        } else {
          collect(g, in, depth + 1, out);
        }
      }
      return;
    }
    if (n.is("Div") && n.inputs.size() == 2) {
      if (const auto c = uniform(g, n.inputs[1]); c && *c != 0) {
        out.constant /= *c;
        return collect(g, n.inputs[0], depth + 1, out);
      }
    }
  }
  out.factors.push_back(v);
}

}  // namespace

Product product_of(const Graph& g, ValueId v) {
  Product out;
  if (is_float(g, v)) {
    collect(g, v, 0, out);
  } else {
    out.factors.push_back(v);
  }
  return out;
}

std::optional<Sum> sum_of(const Graph& g, ValueId v) {
  const Node* n = maker(g, v, "Add");
  if (!n || !is_float(g, v)) return std::nullopt;
  const auto m = with_constant(g, *n);
  if (!m) return std::nullopt;
  const auto c = uniform(g, m->constant);
  if (!c) return std::nullopt;
  return Sum{m->x, *c};
}

Tensor tensor_of(DType t, Dims dims, const std::vector<double>& values) {
  Tensor out(t, std::move(dims));
  ops::from_doubles(values, out);
  return out;
}

bool all_finite(const Tensor& t) {
  const std::vector<double> all = ops::to_doubles(t);
  return std::all_of(all.begin(), all.end(), [](double x) { return std::isfinite(x); });
}

std::optional<std::vector<int>> axes_of(const Graph& g, const Node& n, int rank) {
  std::optional<Dims> axes;
  if (n.in(1) != kNoValue) {
    axes = integers(g, n.in(1));
  } else if (n.attrs.has("axes")) {
    axes = n.attrs.integers("axes");
  }
  if (!axes) return std::nullopt;
  std::vector<int> out;
  for (int64_t a : *axes) {
    if (a < -rank || a >= rank) return std::nullopt;
    out.push_back(static_cast<int>(a < 0 ? a + rank : a));
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) return std::nullopt;
  return out;
}

}  // namespace skyline::passes
