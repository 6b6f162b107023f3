// skyline.Append: rows written behind those that a cache holds. Where the cache is an input of the graph, the
// plan writes into it: it belongs to whoever runs the plan (engine/runtime/recurrence.cc).
#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

size_t axis_of(const Node& n, int rank) {
  return static_cast<size_t>(normalize_axis(n.attrs.integer("axis"), rank));
}

// Inputs: cache, new rows, how many rows the cache holds (one i64). The result is the cache with the new rows
// in.
void infer_append(InferContext& c) {
  const Fact &cache = c.in(0), &rows = c.in(1);
  if (cache.dtype != rows.dtype) fail("the cache and the new rows have different types");
  if (cache.ranked && rows.ranked) {
    require(cache.rank() == rows.rank(), "the cache and the new rows have different ranks");
    const size_t axis = axis_of(c.node, cache.rank());
    for (size_t i = 0; i < cache.dims.size(); ++i) {
      const Dim have = cache.dims[i], add = rows.dims[i];
      if (!have.known() || !add.known()) continue;
      require(i == axis ? add.value() <= have.value() : add.value() == have.value(),
              "the new rows do not fit into the cache");
    }
  }
  c.out(0, cache);
}

void eval_append(EvalContext& c) {
  const Tensor &cache = c.in(0), &rows = c.in(1);
  require(cache.rank() == rows.rank(), "the cache and the new rows have different ranks");
  const size_t axis = axis_of(c.node, cache.rank());
  const int64_t at = one_int(c.in(2), "length");
  require(at >= 0 && at <= cache.dims()[axis] - rows.dims()[axis], "the cache is full");
  Tensor y = cache.clone();
  const Dims to = row_major_strides(y.dims());
  copy_elements(rows.dims(), rows, {0, row_major_strides(rows.dims())}, y, {at * to[axis], to});
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "Append",
     .domain = "skyline",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_append,
     .eval = eval_append,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> append_ops() {
  return kOps;
}

}  // namespace skyline::ops
