#pragma once
// Dense products behind gemm.h, and what convolution shares with them.
#include "kernels/gemm/dense.h"
#include "kernels/gemm/drive.h"
#include "kernels/gemm/gemm.h"

namespace skyline::kernels {

// Fills in what follows from plan.problem and plan.dense.
void dense_plan(GemmPlan& plan);
size_t dense_workspace_bytes(const GemmPlan& plan, int threads) noexcept;
// fold: the batch is one product of more rows.
void dense_run(const GemmPlan& plan, const GemmArgs& args, bool fold, std::byte* workspace,
               int threads) noexcept;

// make_grid, told that a dense kernel multiplies faster. Its cycles are those of the products.
inline Grid dense_grid(const DenseKernel& kernel, int64_t m, int64_t n, int64_t k, int threads) noexcept {
  const GemmKernel tile{{}, nullptr, kernel.mr, kernel.nr, kernel.lanes, 4};
  return make_grid(tile, m, n, std::max<int64_t>(1, k / kernel.rate), threads);
}

}  // namespace skyline::kernels
