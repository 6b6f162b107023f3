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

// Values of K in packed B. Weights whose zero point is not the middle of their range are up to 255 less that,
// so there are lines of 8 bits that add up to them and read the same A.
inline constexpr int64_t kRestLines = 3;
inline int64_t dense_depth(const DenseKernel& kernel, int64_t k, bool centered) {
  return kernel.floats() || centered ? k : kRestLines * kernel.steps(k) * kernel.values;
}
// dense_pack for such weights: runs of one line, with the zero points of src.
void dense_pack_rest(const DenseKernel& kernel, const BSource& src, DenseRuns runs, int64_t n,
                     std::byte* to) noexcept;

// make_grid, told that a dense kernel multiplies faster. Its cycles are those of the products.
inline Grid dense_grid(const DenseKernel& kernel, int64_t m, int64_t n, int64_t k, int threads) noexcept {
  const GemmKernel tile{{}, nullptr, kernel.mr, kernel.nr, kernel.lanes, 4};
  return make_grid(tile, m, n, std::max<int64_t>(1, k / kernel.rate), threads);
}

}  // namespace skyline::kernels
