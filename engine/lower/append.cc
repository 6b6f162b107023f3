// skyline.Append, into the cache itself.
#include <cstring>

#include "engine/lower/families.h"
#include "graph/ops/util.h"

namespace skyline::lower {
namespace {

std::optional<Lowered> lower_append(Lowering& l) {
  if (l.in_type(2) != DType::i64 || element_count(l.in_dims(2)) != 1 || l.in_type(0) == DType::string)
    return std::nullopt;
  // Nobody sees the cache as it was: an input of the graph, which is the owner's, and that only this node
  // reads.
  if (!l.graph.is_input(l.node.in(0)) || l.graph.use_count(l.node.in(0)) != 1) return std::nullopt;
  const Dims cache = l.in_dims(0), rows = l.in_dims(1);
  const auto axis =
      static_cast<size_t>(ops::normalize_axis(l.attrs().integer("axis"), static_cast<int>(cache.size())));
  int64_t outer = 1, inner = static_cast<int64_t>(size_of(l.in_type(0)));
  for (size_t i = 0; i < cache.size(); ++i) {
    if (i != axis) (i < axis ? outer : inner) *= cache[i];
  }
  const int64_t room = cache[axis], count = rows[axis];
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   const int64_t at = s.input<int64_t>(2)[0];
                   if (at < 0 || at > room - count) return s.fail("the cache is full");
                   const auto* from = s.input<std::byte>(1);
                   auto* to = s.output<std::byte>(0) + at * inner;
                   for (int64_t i = 0; i < outer; ++i, from += count * inner, to += room * inner)
                     std::memcpy(to, from, static_cast<size_t>(count * inner));
                 }),
                 .kernel = "append",
                 .alias = 0};
}

constexpr LowerRow kRows[] = {{"Append", "skyline", lower_append}};

}  // namespace

std::span<const LowerRow> append_rows() {
  return kRows;
}

}  // namespace skyline::lower
