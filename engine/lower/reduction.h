#pragma once
// The step that reductions and global pools share.
#include "engine/lower/lowering.h"
#include "kernels/reduce/reduce.h"

namespace skyline::lower {

// Reduces f32 input 0 as `plan` says, into output 0.
inline Lowered reduction_f32(const Lowering& l, kernels::ReduceOp op, const kernels::ReducePlan& plan) {
  const kernels::ReduceTable& table = kernels::reduce_kernels(l.isa);
  return {.code = step_code([&table, op, plan](const StepArgs& s) {
            kernels::reduce_f32(table, op, plan, s.input<float>(0), s.output<float>(0), s.workspace,
                                s.threads);
          }),
          .kernel = "reduce_f32",
          .workspace = plan.scratch_bytes()};
}

}  // namespace skyline::lower
