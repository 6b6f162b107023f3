// Reductions along axes, ArgMax and ArgMin.
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

enum class Kind { sum, mean, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };

// Which axes go: all when none are named, unless noop_with_empty_axes says that then none do.
std::vector<bool> reduced_axes(const Dims& axes, int rank, bool noop_when_empty) {
  if (axes.empty()) return std::vector<bool>(static_cast<size_t>(rank), !noop_when_empty);
  std::vector<bool> out(static_cast<size_t>(rank), false);
  for (int a : normalize_axes(axes, rank)) out[static_cast<size_t>(a)] = true;
  return out;
}

template <class D>
std::vector<D> reduced_dims(const std::vector<D>& dims, const std::vector<bool>& gone, bool keep) {
  std::vector<D> out;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!gone[i]) {
      out.push_back(dims[i]);
    } else if (keep) {
      out.push_back(D(1));
    }
  }
  return out;
}

void infer_reduce(InferContext& c) {
  const Fact& x = c.in(0);
  const bool keep = flag(c.attrs(), "keepdims", true), noop = flag(c.attrs(), "noop_with_empty_axes");
  const auto axes = c.has(1) ? c.constant_ints(1) : std::optional<Dims>(Dims());
  if (!x.ranked) return c.out(0, Fact::unranked(x.dtype));
  if (axes) return c.out(0, Fact(x.dtype, reduced_dims(x.dims, reduced_axes(*axes, x.rank(), noop), keep)));
  if (keep) return c.out(0, Fact(x.dtype, SymDims(x.dims.size())));
  // Axes known in number only.
  const Fact& a = c.in(1);
  if (a.ranked && a.rank() == 1 && a.dims[0].known() && a.dims[0].value() > 0 &&
      a.dims[0].value() <= x.rank()) {
    return c.out(0, Fact(x.dtype, SymDims(x.dims.size() - static_cast<size_t>(a.dims[0].value()))));
  }
  c.out(0, Fact::unranked(x.dtype));
}

// Where each input element goes.
struct Problem {
  Dims dims, strides;  // of the input; strides into the output, 0 along what is reduced
  Dims out;            // as the node gives it
  int64_t count = 1;   // elements reduced into one
};

Problem make_problem(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims axes = c.has(1) ? c.ints(1) : Dims();
  const std::vector<bool> gone = reduced_axes(axes, x.rank(), flag(c.attrs(), "noop_with_empty_axes"));
  Problem p;
  p.dims = x.dims();
  const Dims kept = reduced_dims(x.dims(), gone, true);
  p.strides = row_major_strides(kept);
  for (size_t i = 0; i < gone.size(); ++i) {
    if (gone[i]) {
      p.strides[i] = 0;
      p.count *= x.dims()[i];
    }
  }
  p.out = reduced_dims(x.dims(), gone, flag(c.attrs(), "keepdims", true));
  return p;
}

// out[o(i)] = f(out[o(i)], x[i]) in order of i.
template <class A, class T, class F>
void fold(const Problem& p, std::vector<A>& out, const T* x, F&& f) {
  if (p.dims.empty()) {
    out[0] = f(out[0], x[0]);
    return;
  }
  const Dims outer(p.dims.begin(), p.dims.end() - 1), outer_strides(p.strides.begin(), p.strides.end() - 1);
  const int64_t n = p.dims.back(), step = p.strides.back();
  if (n == 0) return;
  for (NdIndex<1> it(outer, {outer_strides}); !it.done(); it.next()) {
    A* to = out.data() + it[0];
    for (int64_t i = 0; i < n; ++i) to[i * step] = f(to[i * step], x[i]);
    x += n;
  }
}

double start_of(Kind k) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return k == Kind::prod ? 1 : k == Kind::max ? -kInfinity : k == Kind::min ? kInfinity : 0;
}

double fold_one(Kind k, double a, double x) {
  switch (k) {
    case Kind::sum:
    case Kind::mean:
    case Kind::log_sum:
      return a + x;
    case Kind::max:
      return x > a || std::isnan(x) ? x : a;
    case Kind::min:
      return x < a || std::isnan(x) ? x : a;
    case Kind::prod:
      return a * x;
    case Kind::l1:
      return a + std::fabs(x);
    case Kind::l2:
    case Kind::sum_square:
      return a + x * x;
    case Kind::log_sum_exp:
      return a;
  }
  return a;
}

// Relative to the largest element, so that exp does not overflow.
void log_sum_exp(const Problem& p, const std::vector<double>& x, std::vector<double>& out) {
  std::vector<double> top(out.size(), -std::numeric_limits<double>::infinity());
  fold(p, top, x.data(), [](double a, double v) { return v > a || std::isnan(v) ? v : a; });
  std::vector<double> shifted(x);
  size_t i = 0;
  for (NdIndex<1> it(p.dims, {p.strides}); !it.done(); it.next(), ++i) {
    const double m = top[static_cast<size_t>(it[0])];
    shifted[i] = std::isinf(m) ? (x[i] == m ? 1 : 0) : std::exp(x[i] - m);
    if (std::isnan(x[i])) shifted[i] = x[i];
  }
  fold(p, out, shifted.data(), [](double a, double v) { return a + v; });
  for (size_t o = 0; o < out.size(); ++o) out[o] = std::isinf(top[o]) ? top[o] : top[o] + std::log(out[o]);
}

void reduce_floats(EvalContext& c, Kind kind, const Problem& p, Tensor& y) {
  const std::vector<double> x = to_doubles(c.in(0));
  std::vector<double> out(static_cast<size_t>(y.size()), start_of(kind));
  if (kind == Kind::log_sum_exp) {
    log_sum_exp(p, x, out);
  } else {
    // One dispatch per call, not per element.
    const auto run = [&]<Kind K>() {
      fold(p, out, x.data(), [](double a, double v) { return fold_one(K, a, v); });
    };
    switch (kind) {
      case Kind::max:
        run.operator()<Kind::max>();
        break;
      case Kind::min:
        run.operator()<Kind::min>();
        break;
      case Kind::prod:
        run.operator()<Kind::prod>();
        break;
      case Kind::l1:
        run.operator()<Kind::l1>();
        break;
      case Kind::l2:
      case Kind::sum_square:
        run.operator()<Kind::sum_square>();
        break;
      default:
        run.operator()<Kind::sum>();
        break;
    }
  }
  for (double& v : out) {
    if (kind == Kind::mean) v /= static_cast<double>(p.count);
    if (kind == Kind::l2) v = std::sqrt(v);
    if (kind == Kind::log_sum) v = std::log(v);
  }
  from_doubles(out, y);
}

// Integer results of kinds that are not closed over the integers are truncated; sums and products wrap.
template <class T>
void reduce_integers(EvalContext& c, Kind kind, const Problem& p, Tensor& y) {
  const T* x = c.in(0).data<T>();
  const auto size = static_cast<size_t>(y.size());
  T* to = y.mutable_data<T>();
  if (kind == Kind::max || kind == Kind::min) {
    std::vector<T> out(size,
                       kind == Kind::max ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max());
    if (kind == Kind::max) {
      fold(p, out, x, [](T a, T v) { return v > a ? v : a; });
    } else {
      fold(p, out, x, [](T a, T v) { return v < a ? v : a; });
    }
    std::copy(out.begin(), out.end(), to);
    return;
  }
  if (kind == Kind::log_sum || kind == Kind::log_sum_exp || kind == Kind::l2) {
    const std::vector<double> values = to_doubles(c.in(0));
    std::vector<double> out(size, 0);
    if (kind == Kind::log_sum_exp) {
      log_sum_exp(p, values, out);
    } else {
      fold(p, out, values.data(), [&](double a, double v) { return fold_one(kind, a, v); });
      for (double& v : out) v = kind == Kind::l2 ? std::sqrt(v) : std::log(v);
    }
    for (size_t i = 0; i < size; ++i) {
      // Not a number of this type: the logarithm of an empty or negative sum.
      const bool fits = out[i] >= static_cast<double>(std::numeric_limits<T>::lowest()) &&
                        out[i] < static_cast<double>(std::numeric_limits<T>::max());
      to[i] = fits ? static_cast<T>(out[i]) : T{0};
    }
    return;
  }
  std::vector<uint64_t> out(size, kind == Kind::prod ? 1 : 0);
  fold(p, out, x, [kind](uint64_t a, T v) {
    const auto u = static_cast<uint64_t>(v);
    switch (kind) {
      case Kind::prod:
        return a * u;
      case Kind::sum_square:
        return a + u * u;
      case Kind::l1:
        return a + (std::is_signed_v<T> && v < T{0} ? uint64_t{0} - u : u);
      default:
        return a + u;
    }
  });
  for (size_t i = 0; i < size; ++i) {
    to[i] = static_cast<T>(out[i]);
    if (kind != Kind::mean) continue;
    if (p.count == 0) {
      to[i] = 0;
    } else if constexpr (std::is_signed_v<T>) {
      to[i] = static_cast<T>(static_cast<int64_t>(out[i]) / p.count);
    } else {
      to[i] = static_cast<T>(out[i] / static_cast<uint64_t>(p.count));
    }
  }
}

template <Kind K>
void eval_reduce(EvalContext& c) {
  const DType t = c.in(0).dtype();
  const bool extreme = K == Kind::max || K == Kind::min;
  const bool wide = t == DType::i32 || t == DType::i64 || t == DType::u32 || t == DType::u64;
  const bool narrow_type = t == DType::i8 || t == DType::u8 || t == DType::boolean;
  if (!is_float(t) && !wide && !(extreme && narrow_type)) unsupported_type(t);
  const Problem p = make_problem(c);
  Tensor y = c.make(t, p.out);
  if (is_float(t)) {
    reduce_floats(c, K, p, y);
  } else if (t == DType::boolean) {
    const bool* x = c.in(0).data<bool>();
    std::vector<uint8_t> out(static_cast<size_t>(y.size()), K == Kind::max ? 0 : 1);
    fold(p, out, x, [](uint8_t a, bool v) -> uint8_t { return K == Kind::max ? (a | v) : (a & v); });
    std::copy(out.begin(), out.end(), y.mutable_data<bool>());
  } else {
    visit_type(t, TypeList<int32_t, int64_t, uint32_t, uint64_t, int8_t, uint8_t>{},
               [&]<class T>() { reduce_integers<T>(c, K, p, y); });
  }
  c.out(0, y);
}

// ---- ArgMax, ArgMin
// --------------------------------------------------------------------------------------------------

void infer_arg(InferContext& c) {
  const Fact& x = c.in(0);
  const bool keep = flag(c.attrs(), "keepdims", true);
  const int64_t axis = c.attrs().integer("axis", 0);
  if (!x.ranked) return c.out(0, Fact::unranked(DType::i64));
  if (x.rank() == 0) {
    if (axis != 0 && axis != -1) normalize_axis(axis, 1);
    return c.out(0, Fact(DType::i64, {}));
  }
  std::vector<bool> gone(x.dims.size(), false);
  gone[static_cast<size_t>(normalize_axis(axis, x.rank()))] = true;
  c.out(0, Fact(DType::i64, reduced_dims(x.dims, gone, keep)));
}

template <bool kMax>
void eval_arg(EvalContext& c) {
  const Tensor& x = c.in(0);
  const bool keep = flag(c.attrs(), "keepdims", true), prefer_last = flag(c.attrs(), "select_last_index");
  const int axis = normalize_axis(c.attrs().integer("axis", 0), std::max(1, x.rank()));
  const Dims dims = x.rank() == 0 ? Dims{1} : x.dims();
  const int rank = static_cast<int>(dims.size());
  const int64_t n = dims[static_cast<size_t>(axis)];
  if (n == 0) reject("axis " + std::to_string(axis) + " is empty");
  std::vector<bool> gone(dims.size(), false);
  gone[static_cast<size_t>(axis)] = true;
  Tensor y = c.make(DType::i64, x.rank() == 0 ? Dims{} : reduced_dims(dims, gone, keep));
  int64_t* to = y.mutable_data<int64_t>();
  const int64_t outer = span_count(dims, 0, axis), inner = span_count(dims, axis + 1, rank);
  visit_type(x.dtype(), NumericTypes{}, [&]<class T>() {
    const T* v = x.data<T>();
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        const T* line = v + o * n * inner + i;
        int64_t at = 0;
        for (int64_t k = 1; k < n; ++k) {
          const Wide<T> a = widen(line[k * inner]), best = widen(line[at * inner]);
          if ((kMax ? a > best : a < best) || (prefer_last && a == best)) at = k;
        }
        *to++ = at;
      }
    }
  });
  c.out(0, y);
}

Work work_reduce(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

template <Kind K>
constexpr OpDef row(std::string_view name) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 2,
          .infer = infer_reduce,
          .eval = eval_reduce<K>,
          .work = work_reduce};
}

constexpr OpDef kOps[] = {
    row<Kind::sum>("ReduceSum"),
    row<Kind::mean>("ReduceMean"),
    row<Kind::max>("ReduceMax"),
    row<Kind::min>("ReduceMin"),
    row<Kind::prod>("ReduceProd"),
    row<Kind::l1>("ReduceL1"),
    row<Kind::l2>("ReduceL2"),
    row<Kind::log_sum>("ReduceLogSum"),
    row<Kind::log_sum_exp>("ReduceLogSumExp"),
    row<Kind::sum_square>("ReduceSumSquare"),
    {.name = "ArgMax",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_arg,
     .eval = eval_arg<true>,
     .work = work_reduce},
    {.name = "ArgMin",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_arg,
     .eval = eval_arg<false>,
     .work = work_reduce},
};

}  // namespace

std::span<const OpDef> reduce_ops() {
  return kOps;
}

}  // namespace skyline::ops
