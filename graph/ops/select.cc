// Order and presence: NonZero, Unique, TopK, and the running CumSum and CumProd.
#include <algorithm>
#include <map>
#include <numeric>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- NonZero
// -----------------------------------------------------------------------------------------------------

void infer_non_zero(InferContext& c) {
  const Fact& x = c.in(0);
  c.out(0, Fact(DType::i64, {x.ranked ? Dim(x.rank()) : Dim::unknown(), Dim::unknown()}));
}

void eval_non_zero(EvalContext& c) {
  const Tensor& x = c.in(0);
  Dims at;  // flat positions
  const auto collect = [&]<class T>() {
    const T* p = x.data<T>();
    for (int64_t i = 0; i < x.size(); ++i) {
      if (p[i] != T(0.0f)) at.push_back(i);
    }
  };
  if (x.dtype() == DType::boolean) {
    collect.operator()<bool>();
  } else {
    visit_type(x.dtype(), NumericTypes{}, collect);
  }
  const auto n = static_cast<int64_t>(at.size());
  Tensor y = c.make(DType::i64, {x.rank(), n});
  int64_t* out = y.mutable_data<int64_t>();
  for (int64_t k = 0; k < n; ++k) {
    int64_t rest = at[static_cast<size_t>(k)];
    for (int a = x.rank(); a-- > 0; rest /= x.dim(a)) out[a * n + k] = rest % x.dim(a);
  }
  c.out(0, std::move(y));
}

// ---- Unique
// ------------------------------------------------------------------------------------------------------

void infer_unique(InferContext& c) {
  const Fact& x = c.in(0);
  const bool flat = !c.attrs().has("axis");
  Fact y = flat ? Fact(x.dtype, {Dim::unknown()}) : x;
  if (!flat && x.ranked)
    y.dims[static_cast<size_t>(normalize_axis(c.attrs().integer("axis"), x.rank()))] = Dim::unknown();
  c.out(0, std::move(y));
  for (size_t i = 1; i < 4; ++i) c.out(i, Fact(DType::i64, {Dim::unknown()}));
}

// Calls f with a comparable element type.
template <class F>
void visit_ordered(DType t, F&& f) {
  if (t == DType::string) return f.template operator()<std::string>();
  if (t == DType::boolean) return f.template operator()<bool>();
  visit_type(t, NumericTypes{}, f);
}

// Groups of equal slices along the axis.
struct Groups {
  Dims first, count, of;  // per group: its first slice, its size; per slice: its group
};

// In the order of first appearance, or of the slices' elements compared from the first on.
template <class T>
Groups group_slices(const Tensor& x, size_t axis, bool sorted) {
  const int64_t n = x.dims()[axis];
  const int64_t inner = row_major_strides(x.dims())[axis];
  const int64_t per = n == 0 ? 0 : x.size() / n;
  const T* p = static_cast<const T*>(x.raw());
  const auto at = [&](int64_t slice, int64_t k) -> const T& {
    return p[(k / inner * n + slice) * inner + k % inner];
  };
  const auto less = [&](int64_t a, int64_t b) {
    for (int64_t k = 0; k < per; ++k) {
      if (at(a, k) < at(b, k)) return true;
      if (at(b, k) < at(a, k)) return false;
    }
    return false;
  };
  Dims order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), less);
  Groups g;
  g.of.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || less(order[i - 1], order[i])) {
      g.first.push_back(order[i]);
      g.count.push_back(0);
    }
    ++g.count.back();
    g.of[static_cast<size_t>(order[i])] = static_cast<int64_t>(g.first.size()) - 1;
  }
  if (sorted) return g;
  Dims rank(g.first.size());
  std::iota(rank.begin(), rank.end(), 0);
  std::sort(rank.begin(), rank.end(), [&](int64_t a, int64_t b) {
    return g.first[static_cast<size_t>(a)] < g.first[static_cast<size_t>(b)];
  });
  Groups out;
  Dims renamed(rank.size());
  for (size_t i = 0; i < rank.size(); ++i) {
    const auto old = static_cast<size_t>(rank[i]);
    out.first.push_back(g.first[old]);
    out.count.push_back(g.count[old]);
    renamed[old] = static_cast<int64_t>(i);
  }
  for (int64_t group : g.of) out.of.push_back(renamed[static_cast<size_t>(group)]);
  return out;
}

void eval_unique(EvalContext& c) {
  const bool flat = !c.attrs().has("axis");
  const Tensor x = flat ? c.in(0).reshaped({c.in(0).size()}) : c.in(0);
  const auto axis = static_cast<size_t>(flat ? 0 : normalize_axis(c.attrs().integer("axis"), x.rank()));
  const bool sorted = c.attrs().integer("sorted", 1) != 0;
  Groups g;
  if (x.size() > 0) {
    // NaN compares equal to nothing; a sort needs a strict weak order, so every NaN would have to be one
    // value.
    if (is_float(x.dtype())) {
      for (double v : to_doubles(x)) {
        if (v != v) throw Error(Code::unsupported, "NaN among the elements");
      }
    }
    visit_ordered(x.dtype(), [&]<class T>() { g = group_slices<T>(x, axis, sorted); });
  }
  Dims dims = x.dims();
  dims[axis] = static_cast<int64_t>(g.first.size());
  Tensor y = c.make(x.dtype(), dims);
  const Dims strides = row_major_strides(x.dims()), to = row_major_strides(dims);
  Dims slice = dims;
  slice[axis] = 1;
  for (size_t i = 0; i < g.first.size(); ++i) {
    copy_elements(slice, x, {g.first[i] * strides[axis], strides}, y,
                  {static_cast<int64_t>(i) * to[axis], to});
  }
  c.out(0, std::move(y));
  c.out(1, Tensor::vector(g.first));
  c.out(2, Tensor::vector(g.of));
  c.out(3, Tensor::vector(g.count));
}

// ---- TopK
// --------------------------------------------------------------------------------------------------------

int64_t top_k(const Tensor& k) {
  const int64_t n = one_int(k, "K");
  if (n < 0) fail("K is " + str(n));
  return n;
}

void infer_top_k(InferContext& c) {
  Fact x = c.in(0);
  if (x.ranked) {
    const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis", -1), x.rank()));
    const Tensor* k = c.constant(1);
    if (k && x.dims[axis].known() && top_k(*k) > x.dims[axis].value())
      fail("K is " + str(top_k(*k)) + " of " + str(x.dims[axis].value()));
    x.dims[axis] = k ? Dim(top_k(*k)) : Dim::unknown();
  }
  c.out(0, x);
  c.out(1, with_dtype(x, DType::i64));
}

void eval_top_k(EvalContext& c) {
  const Tensor& x = c.in(0);
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis", -1), x.rank()));
  const bool largest = c.attrs().integer("largest", 1) != 0;
  const int64_t k = top_k(c.in(1)), n = x.dims()[axis];
  if (k > n) fail("K is " + str(k) + ", the axis has " + str(n));
  Dims dims = x.dims();
  dims[axis] = k;
  Tensor values = c.make(x.dtype(), dims), indices = c.make(DType::i64, dims);
  const int64_t inner = row_major_strides(x.dims())[axis];
  if (values.size() > 0) {
    visit_type(x.dtype(), NumericTypes{}, [&]<class T>() {
      const T* p = x.data<T>();
      T* v = values.mutable_data<T>();
      int64_t* ix = indices.mutable_data<int64_t>();
      Dims order(static_cast<size_t>(n));
      for (int64_t row = 0; row < x.size() / n; ++row) {
        const T* from = p + row / inner * n * inner + row % inner;
        const int64_t to = row / inner * k * inner + row % inner;
        std::iota(order.begin(), order.end(), 0);
        // NaN counts as the largest value; equal values keep the order of their indices.
        std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t i, int64_t j) {
          const auto a = widen(from[i * inner]), b = widen(from[j * inner]);
          const bool a_nan = a != a, b_nan = b != b;
          const bool below = a_nan ? false : b_nan || a < b, above = b_nan ? false : a_nan || a > b;
          return (largest ? above : below) || (!above && !below && i < j);
        });
        for (int64_t i = 0; i < k; ++i) {
          v[to + i * inner] = from[order[static_cast<size_t>(i)] * inner];
          ix[to + i * inner] = order[static_cast<size_t>(i)];
        }
      }
    });
  }
  c.out(0, std::move(values));
  c.out(1, std::move(indices));
}

// ---- CumSum, CumProd
// ---------------------------------------------------------------------------------------------

template <bool kProduct>
void eval_cumulative(EvalContext& c) {
  const Tensor& x = c.in(0);
  const auto axis = static_cast<size_t>(normalize_axis(one_int(c.in(1), "axis"), x.rank()));
  const bool exclusive = c.attrs().integer("exclusive", 0) != 0,
             reverse = c.attrs().integer("reverse", 0) != 0;
  Tensor y = c.make(x.dtype(), x.dims());
  const int64_t n = x.dims()[axis], inner = row_major_strides(x.dims())[axis];
  visit_type(x.dtype(), NumericTypes{}, [&]<class T>() {
    // Integers wrap around: unsigned arithmetic, as wide as need be.
    using A = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
    const T* p = x.data<T>();
    T* q = y.mutable_data<T>();
    for (int64_t row = 0; x.size() > 0 && row < x.size() / n; ++row) {
      const int64_t start = row / inner * n * inner + row % inner;
      A sum = kProduct ? 1 : 0;
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = start + (reverse ? n - 1 - i : i) * inner;
        const A v = static_cast<A>(widen(p[at]));
        const A next = kProduct ? sum * v : sum + v;
        q[at] = narrow<T>(exclusive ? sum : next);
        sum = next;
      }
    }
  });
  c.out(0, std::move(y));
}

Work top_k_work(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "NonZero",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_non_zero,
     .eval = eval_non_zero,
     .work = top_k_work},
    {.name = "Unique",
     .min_inputs = 1,
     .max_inputs = 1,
     .max_outputs = 4,
     .infer = infer_unique,
     .eval = eval_unique,
     .work = top_k_work},
    {.name = "TopK",
     .min_inputs = 2,
     .max_inputs = 2,
     .max_outputs = 2,
     .infer = infer_top_k,
     .eval = eval_top_k,
     .work = top_k_work},
    {.name = "CumSum",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_same_as_first,
     .eval = eval_cumulative<false>},
    {.name = "CumProd",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_same_as_first,
     .eval = eval_cumulative<true>},
};

}  // namespace

std::span<const OpDef> select_ops() {
  return kOps;
}

}  // namespace skyline::ops
