// TopK.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/lower/families.h"
#include "graph/ops/util.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"

namespace skyline::lower {
namespace {

using namespace kernels;

struct TopK {
  int64_t rows = 0, n = 0, inner = 1, k = 0;
  bool largest = true;

  // Rows [begin, end), by `order` of n.
  void run(const float* x, float* values, int64_t* indices, int32_t* order, int64_t begin,
           int64_t end) const noexcept {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row / inner * n * inner + row % inner;
      const int64_t to = row / inner * k * inner + row % inner;
      std::iota(order, order + n, 0);
      // NaN counts as the largest value; equal values keep the order of their indices.
      const auto first = [&](int32_t i, int32_t j) noexcept {
        const float a = from[i * inner], b = from[j * inner];
        if (a == b || (std::isnan(a) && std::isnan(b))) return i < j;
        const bool above = std::isnan(a) || (!std::isnan(b) && a > b);
        return above == largest;
      };
      std::partial_sort(order, order + k, order + n, first);
      for (int64_t i = 0; i < k; ++i) {
        values[to + i * inner] = from[order[i] * inner];
        indices[to + i * inner] = order[i];
      }
    }
  }
};

std::optional<Lowered> lower_top_k(Lowering& l) {
  const Dims x = l.in_dims(0);
  const auto k = l.constant_ints(1);
  if (l.in_type(0) != DType::f32 || !k || k->size() != 1 || x.empty() || element_count(l.out_dims()) == 0 ||
      l.node.out(0) == kNoValue || l.node.out(1) == kNoValue)
    return std::nullopt;
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis", -1), static_cast<int>(x.size())));
  TopK t{.n = x[axis], .k = (*k)[0], .largest = l.attrs().integer("largest", 1) != 0};
  t.rows = element_count(x) / t.n;
  for (size_t i = axis + 1; i < x.size(); ++i) t.inner *= x[i];
  if (t.n > INT32_MAX || t.k > t.n) return std::nullopt;
  const size_t order = align_up(static_cast<size_t>(t.n) * sizeof(int32_t));
  return Lowered{.code = step_code([t, order](const StepArgs& s) {
                   parallel_for(s.threads, t.rows, 8192 / t.n + 1, [&](int64_t begin, int64_t end) noexcept {
                     std::byte* mine = s.workspace + order * static_cast<size_t>(parallel_index());
                     t.run(s.input<float>(0), s.output<float>(0), s.output<int64_t>(1),
                           reinterpret_cast<int32_t*>(mine), begin, end);
                   });
                 }),
                 .kernel = "top_k_f32",
                 .workspace = order * static_cast<size_t>(l.threads)};
}

constexpr LowerRow kRows[] = {{"TopK", "", lower_top_k}};

}  // namespace

std::span<const LowerRow> select_rows() {
  return kRows;
}

}  // namespace skyline::lower
