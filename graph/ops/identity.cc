// Identity, and what inference makes one.
#include "graph/ops/families.h"
#include "graph/ops/util.h"

namespace skyline::ops {
namespace {

void eval_identity(EvalContext& c) {
  c.out(0, c.has(0) ? c.value(0) : Value());
}

constexpr OpDef kOps[] = {
    {.name = "Identity",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_same_as_first,
     .eval = eval_identity},
};

}  // namespace

std::span<const OpDef> identity_ops() {
  return kOps;
}

}  // namespace skyline::ops
