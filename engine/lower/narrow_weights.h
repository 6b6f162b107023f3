#pragma once
// Products of few rows, which cost what reading their weights costs.
#include "engine/lower/lowering.h"
#include "kernels/gemm/gemm.h"

namespace skyline::lower {

// A product with constant f32 weights whose precision permits to keep them in 16 bits; A is not transposed.
// bias: the input with one number per column; residual: like the result. Nothing where the rows are many, the
// precision is another, or the machine multiplies tiles of that type as fast as it reads them.
std::optional<Lowered> lower_halves(Lowering& l, const kernels::GemmProblem& problem,
                                    std::optional<size_t> bias, std::optional<size_t> residual,
                                    const kernels::Activation& act);

}  // namespace skyline::lower
