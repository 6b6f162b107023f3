// Operators that read or write at indices: Gather*, Scatter*, OneHot, and the running or triangular CumSum
// and Trilu. Indices are checked as they are used: a bad one ends the run with an error.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/lower/families.h"
#include "graph/ops/util.h"
#include "kernels/layout/layout.h"
#include "kernels/reduce/reduce.h"

namespace skyline::lower {
namespace {

using namespace kernels;

constexpr char kOutOfRange[] = "an index is outside the axis that it selects from";

bool movable(DType t) {
  return t != DType::string && (size_of(t) == 1 || size_of(t) == 2 || size_of(t) == 4 || size_of(t) == 8);
}
bool is_index(DType t) {
  return t == DType::i64 || t == DType::i32;
}

// Entry i of an index tensor of either type.
struct Indices {
  const void* at;
  bool wide;
  int64_t operator[](int64_t i) const noexcept {
    return wide ? static_cast<const int64_t*>(at)[i] : static_cast<const int32_t*>(at)[i];
  }
};

// An element of the given size, moved.
inline void move_element(std::byte* to, const std::byte* from, size_t bytes) noexcept {
  switch (bytes) {
    case 1:
      *to = *from;
      return;
    case 2:
      std::memcpy(to, from, 2);
      return;
    case 4:
      std::memcpy(to, from, 4);
      return;
    default:
      std::memcpy(to, from, 8);
  }
}

// i made nonnegative, or -1.
inline int64_t checked(int64_t i, int64_t n) noexcept {
  if (i < 0) i += n;
  return i >= 0 && i < n ? i : -1;
}

// ---- Gather

std::optional<Lowered> lower_gather(Lowering& l) {
  if (l.in_type(0) == DType::string || storage_bits(l.in_type(0)) < 8 || !is_index(l.in_type(1)))
    return std::nullopt;
  const Dims x = l.in_dims(0);
  if (element_count(l.out_dims()) == 0) return std::nullopt;
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", 0), static_cast<int>(x.size())));
  int64_t outer = 1;
  size_t row = size_of(l.in_type(0));
  for (size_t i = 0; i < axis; ++i) outer *= x[i];
  for (size_t i = axis + 1; i < x.size(); ++i) row *= static_cast<size_t>(x[i]);
  const int64_t n = x[axis], count = element_count(l.in_dims(1));
  const bool wide = l.in_type(1) == DType::i64;
  return Lowered{
      .code = step_code([=](const StepArgs& s) {
        const bool good =
            wide ? gather_rows(s.in[0], s.out[0], outer, n, row, s.input<int64_t>(1), count, s.threads)
                 : gather_rows(s.in[0], s.out[0], outer, n, row, s.input<int32_t>(1), count, s.threads);
        if (!good) s.fail(kOutOfRange);
      }),
      .kernel = "gather"};
}

// ---- GatherElements, ScatterElements

// Positions of x that an index tensor of dims `index` meets when its own axis is left out.
struct ElementPlan {
  NdPlan plan;
  int64_t n = 0, stride = 0, step = 0;  // the axis: its size, its stride in x, and its innermost step
};
std::optional<ElementPlan> element_plan(const Dims& x, const Dims& index, size_t axis) {
  if (x.size() != index.size()) return std::nullopt;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i != axis && index[i] > x[i]) return std::nullopt;
  }
  ElementPlan p;
  Dims strides = row_major_strides(x);
  p.n = x[axis];
  p.stride = strides[axis];
  strides[axis] = 0;
  const int64_t* const all[] = {strides.data()};
  if (!make_nd_plan(index, all, &p.plan)) return std::nullopt;
  p.step = p.plan.strides[0][p.plan.rank - 1];
  return p;
}
// Calls f(position in the index tensor, position in x) for each index; false at the first bad one.
template <class F>
bool for_elements(const ElementPlan& p, Indices index, F&& f) noexcept {
  bool good = true;
  for_rows(p.plan, 0, p.plan.size, [&](int64_t at, const int64_t* offsets, int64_t count) noexcept {
    for (int64_t i = 0; i < count && good; ++i) {
      const int64_t k = checked(index[at + i], p.n);
      good = k >= 0;
      if (good) f(at + i, offsets[0] + i * p.step + k * p.stride);
    }
  });
  return good;
}

std::optional<Lowered> lower_gather_elements(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (!movable(l.in_type(0)) || !is_index(l.in_type(1)) || x.empty() || element_count(l.out_dims()) == 0)
    return std::nullopt;
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", 0), static_cast<int>(x.size())));
  const auto plan = element_plan(x, l.in_dims(1), axis);
  if (!plan) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0));
  const bool wide = l.in_type(1) == DType::i64;
  return Lowered{.code = step_code([=, plan = *plan](const StepArgs& s) {
                   const auto* from = s.input<std::byte>(0);
                   auto* to = s.output<std::byte>(0);
                   const auto b = static_cast<int64_t>(bytes);
                   if (!for_elements(plan, {s.in[1], wide}, [&](int64_t at, int64_t position) noexcept {
                         move_element(to + at * b, from + position * b, bytes);
                       }))
                     s.fail(kOutOfRange);
                 }),
                 .kernel = "gather_elements"};
}

// ---- what an update does to an element

enum class Update { none, add, mul, max, min };

std::optional<Update> update_of(const Attrs& attrs) {
  constexpr std::pair<std::string_view, Update> kNames[] = {{"none", Update::none},
                                                            {"add", Update::add},
                                                            {"mul", Update::mul},
                                                            {"max", Update::max},
                                                            {"min", Update::min}};
  const std::string name = attrs.text("reduction", "none");
  for (const auto& [text, update] : kNames) {
    if (name == text) return update;
  }
  return std::nullopt;
}

// to[i] = f(to[i], from[i]) for n elements.
using UpdateFn = void (*)(std::byte* to, const std::byte* from, size_t n);
template <class T, Update U>
void update_elements(std::byte* to, const std::byte* from, size_t n) {
  // Integers wrap around.
  using A =
      typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  auto* a = reinterpret_cast<T*>(to);
  auto* b = reinterpret_cast<const T*>(from);
  for (size_t i = 0; i < n; ++i) {
    const T x = a[i], y = b[i];
    if constexpr (U == Update::add) a[i] = static_cast<T>(static_cast<A>(x) + static_cast<A>(y));
    if constexpr (U == Update::mul) a[i] = static_cast<T>(static_cast<A>(x) * static_cast<A>(y));
    // A NaN stays, from whichever side it comes.
    if constexpr (U == Update::max) a[i] = x > y || x != x ? x : y;
    if constexpr (U == Update::min) a[i] = x < y || x != x ? x : y;
  }
}
template <class T>
UpdateFn update_fn(Update u) {
  switch (u) {
    case Update::add:
      return update_elements<T, Update::add>;
    case Update::mul:
      return update_elements<T, Update::mul>;
    case Update::max:
      return update_elements<T, Update::max>;
    case Update::min:
      return update_elements<T, Update::min>;
    case Update::none:
      break;
  }
  return nullptr;
}
// How to update elements of that type; a null function copies. Nothing if there is no code for it.
std::optional<UpdateFn> update_fn(const Lowering& l) {
  const auto u = update_of(l.attrs());
  if (!u) return std::nullopt;
  if (*u == Update::none) return UpdateFn{nullptr};
  if (l.in_type(0) == DType::f32) return update_fn<float>(*u);
  if (l.in_type(0) == DType::i64) return update_fn<int64_t>(*u);
  if (l.in_type(0) == DType::i32) return update_fn<int32_t>(*u);
  return std::nullopt;
}

void copy_base(const StepArgs& s, size_t bytes) {
  if (s.in[0] != s.out[0]) std::memcpy(s.out[0], s.in[0], bytes);
}

std::optional<Lowered> lower_scatter_elements(Lowering& l) {
  const Dims x = l.in_dims(0), index = l.in_dims(1);
  if (!movable(l.in_type(0)) || !is_index(l.in_type(1)) || x.empty() || element_count(x) == 0 ||
      l.in_dims(2) != index)
    return std::nullopt;
  const auto update = update_fn(l);
  if (!update) return std::nullopt;
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", 0), static_cast<int>(x.size())));
  const auto plan = element_plan(x, index, axis);
  if (!plan) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0)), all = bytes * static_cast<size_t>(element_count(x));
  const bool wide = l.in_type(1) == DType::i64;
  return Lowered{.code = step_code([=, plan = *plan, update = *update](const StepArgs& s) {
                   copy_base(s, all);
                   const auto* from = s.input<std::byte>(2);
                   auto* to = s.output<std::byte>(0);
                   const auto b = static_cast<int64_t>(bytes);
                   if (!for_elements(plan, {s.in[1], wide}, [&](int64_t at, int64_t position) noexcept {
                         if (update) {
                           update(to + position * b, from + at * b, 1);
                         } else {
                           move_element(to + position * b, from + at * b, bytes);
                         }
                       }))
                     s.fail(kOutOfRange);
                 }),
                 .kernel = "scatter_elements",
                 .in_place = 0};
}

// ---- GatherND, ScatterND

// Rows of `depth` indices, each naming a slice of x, after `batch` leading dims that both share.
struct TuplePlan {
  int64_t tuples = 1, per_batch = 1, batch_stride = 0, depth = 0;
  size_t slice = 1;  // bytes
  std::array<int64_t, kernels::kMaxRank> dims{}, strides{};

  // The offset in elements that tuple t names, or -1.
  int64_t offset(int64_t t, Indices index) const noexcept {
    int64_t at = t / per_batch * batch_stride;
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t i = checked(index[t * depth + k], dims[static_cast<size_t>(k)]);
      if (i < 0) return -1;
      at += i * strides[static_cast<size_t>(k)];
    }
    return at;
  }
};
std::optional<TuplePlan> tuple_plan(const Dims& x, const Dims& index, int64_t batch, size_t bytes) {
  if (index.empty() || element_count(x) == 0 || element_count(index) == 0) return std::nullopt;
  TuplePlan p;
  p.depth = index.back();
  const auto rank = static_cast<int64_t>(x.size());
  if (p.depth < 1 || p.depth > kernels::kMaxRank || batch + p.depth > rank ||
      batch >= static_cast<int64_t>(index.size()))
    return std::nullopt;
  const Dims strides = row_major_strides(x);
  int64_t batches = 1;
  for (size_t i = 0; i + 1 < index.size(); ++i) {
    p.tuples *= index[i];
    if (static_cast<int64_t>(i) >= batch) continue;
    if (index[i] != x[i]) return std::nullopt;
    batches *= index[i];
  }
  p.per_batch = p.tuples / batches;
  p.batch_stride = element_count(x) / batches;
  p.slice = bytes;
  for (int64_t i = batch; i < rank; ++i) {
    const auto k = static_cast<size_t>(i - batch), a = static_cast<size_t>(i);
    if (i < batch + p.depth) {
      p.dims[k] = x[a];
      p.strides[k] = strides[a];
    } else {
      p.slice *= static_cast<size_t>(x[a]);
    }
  }
  return p;
}

std::optional<Lowered> lower_gather_nd(Lowering& l) {
  if (!movable(l.in_type(0)) || !is_index(l.in_type(1))) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0));
  const auto plan = tuple_plan(l.in_dims(0), l.in_dims(1), l.attrs().integer("batch_dims", 0), bytes);
  if (!plan) return std::nullopt;
  const bool wide = l.in_type(1) == DType::i64;
  return Lowered{.code = step_code([=, p = *plan](const StepArgs& s) {
                   for (int64_t t = 0; t < p.tuples; ++t) {
                     const int64_t at = p.offset(t, {s.in[1], wide});
                     if (at < 0) return s.fail(kOutOfRange);
                     std::memcpy(s.output<std::byte>(0) + static_cast<size_t>(t) * p.slice,
                                 s.input<std::byte>(0) + static_cast<size_t>(at) * bytes, p.slice);
                   }
                 }),
                 .kernel = "gather_nd"};
}

std::optional<Lowered> lower_scatter_nd(Lowering& l) {
  const Dims x = l.in_dims(0);
  const auto update = update_fn(l);
  if (!movable(l.in_type(0)) || !is_index(l.in_type(1)) || !update) return std::nullopt;
  const size_t bytes = size_of(l.in_type(0)), all = bytes * static_cast<size_t>(element_count(x));
  const auto plan = tuple_plan(x, l.in_dims(1), 0, bytes);
  if (!plan || static_cast<size_t>(plan->tuples) * plan->slice !=
                   static_cast<size_t>(element_count(l.in_dims(2))) * bytes)
    return std::nullopt;
  const bool wide = l.in_type(1) == DType::i64;
  return Lowered{.code = step_code([=, p = *plan, update = *update](const StepArgs& s) {
                   copy_base(s, all);
                   for (int64_t t = 0; t < p.tuples; ++t) {
                     const int64_t at = p.offset(t, {s.in[1], wide});
                     if (at < 0) return s.fail(kOutOfRange);
                     std::byte* to = s.output<std::byte>(0) + static_cast<size_t>(at) * bytes;
                     const std::byte* from = s.input<std::byte>(2) + static_cast<size_t>(t) * p.slice;
                     if (update) {
                       update(to, from, p.slice / bytes);
                     } else {
                       std::memcpy(to, from, p.slice);
                     }
                   }
                 }),
                 .kernel = "scatter_nd",
                 .in_place = 0};
}

// ---- OneHot, Trilu, CumSum

std::optional<Lowered> lower_one_hot(Lowering& l) {
  const Dims x = l.in_dims(0), y = l.out_dims();
  if (!is_index(l.in_type(0)) || !movable(l.out_type()) || element_count(l.in_dims(2)) != 2)
    return std::nullopt;
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", -1), static_cast<int>(y.size())));
  const int64_t depth = y[axis], count = element_count(x), size = element_count(y);
  int64_t inner = 1;
  for (size_t i = axis; i < x.size(); ++i) inner *= x[i];
  const size_t bytes = size_of(l.out_type());
  const bool wide = l.in_type(0) == DType::i64;
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   const auto* values = s.input<std::byte>(2);
                   auto* to = s.output<std::byte>(0);
                   fill(to, values, bytes, size, s.threads);
                   const Indices index{s.in[0], wide};
                   for (int64_t i = 0; i < count; ++i) {  // an index out of range is legal: all "off"
                     const int64_t k = checked(index[i], depth);
                     if (k < 0) continue;
                     const int64_t at = (i / inner * depth + k) * inner + i % inner;
                     move_element(to + static_cast<size_t>(at) * bytes, values + bytes, bytes);
                   }
                 }),
                 .kernel = "one_hot"};
}

std::optional<Lowered> lower_trilu(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (!movable(l.in_type(0)) || x.size() < 2) return std::nullopt;
  int64_t k = 0;
  if (l.has(1)) {
    const auto given = l.constant_ints(1);
    if (!given || given->size() != 1) return std::nullopt;
    k = (*given)[0];
  }
  const int64_t columns = x[x.size() - 1], rows = x[x.size() - 2], all = element_count(x);
  if (all == 0) return std::nullopt;
  k = std::clamp<int64_t>(k, -rows, columns);
  const bool upper = l.attrs().integer("upper", 1) != 0;
  const size_t bytes = size_of(l.in_type(0));
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   const auto* from = s.input<std::byte>(0);
                   auto* to = s.output<std::byte>(0);
                   const size_t width = static_cast<size_t>(columns) * bytes;
                   for (int64_t r = 0; r < all / columns; ++r, from += width, to += width) {
                     // Columns before the split are the lower part; the diagonal belongs to either.
                     const int64_t split = r % rows + k + (upper ? 0 : 1);
                     const size_t cut = static_cast<size_t>(std::clamp<int64_t>(split, 0, columns)) * bytes;
                     const size_t begin = upper ? cut : 0, end = upper ? width : cut;
                     if (from != to) std::memcpy(to + begin, from + begin, end - begin);
                     if (upper) {
                       std::memset(to, 0, cut);
                     } else {
                       std::memset(to + cut, 0, width - cut);
                     }
                   }
                 }),
                 .kernel = "trilu",
                 .in_place = 0};
}

std::optional<Lowered> lower_cumsum(Lowering& l) {
  const Dims x = l.in_dims(0);
  const auto given = l.constant_ints(1);
  if (!given || given->size() != 1 || x.empty() || element_count(x) == 0) return std::nullopt;
  const int axis = ops::normalize_axis((*given)[0], static_cast<int>(x.size()));
  int64_t outer = 1, n = 1, inner = 1;
  for (int i = 0; i < static_cast<int>(x.size()); ++i)
    (i < axis ? outer : i == axis ? n : inner) *= x[static_cast<size_t>(i)];
  const bool exclusive = l.attrs().integer("exclusive", 0) != 0, back = l.attrs().integer("reverse", 0) != 0;
  const auto make = [&]<class T>(void (*fn)(const T*, T*, int64_t, int64_t, int64_t, bool, bool) noexcept) {
    return Lowered{.code = step_code([=](const StepArgs& s) {
                     fn(s.input<T>(0), s.output<T>(0), outer, n, inner, exclusive, back);
                   }),
                   .kernel = "cumsum"};
  };
  if (l.in_type(0) == DType::f32) return make.operator()<float>(cumsum_f32);
  if (l.in_type(0) == DType::i64) return make.operator()<int64_t>(cumsum_i64);
  if (l.in_type(0) == DType::i32) return make.operator()<int32_t>(cumsum_i32);
  return std::nullopt;
}

constexpr LowerRow kRows[] = {
    {"Gather", "", lower_gather},        {"GatherElements", "", lower_gather_elements},
    {"GatherND", "", lower_gather_nd},   {"ScatterElements", "", lower_scatter_elements},
    {"ScatterND", "", lower_scatter_nd}, {"OneHot", "", lower_one_hot},
    {"Trilu", "", lower_trilu},          {"CumSum", "", lower_cumsum},
};

}  // namespace

std::span<const LowerRow> index_rows() {
  return kRows;
}

}  // namespace skyline::lower
