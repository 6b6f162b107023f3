#pragma once
// The methods behind conv_run, and the scratch that they share.
#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/gemm/dense.h"

namespace skyline::kernels {

// Scratch of one conv_run: first the input as the kernel reads it (integers only: widened, less the zero
// point), then an equal part per thread.
struct ConvScratch {
  size_t image = 0, per_thread = 0;
};
ConvScratch conv_scratch(const ConvPlan& plan) noexcept;

// The arguments with the defaults filled in.
struct ConvRun {
  const ConvPlan& plan;
  ConvArgs args;
  std::byte* image;
  std::byte* thread_area;
  size_t per_thread;
  int threads;
  std::byte* scratch() const noexcept;  // of the calling thread
};
// The input rows (depth and height) that output line `line` of all images meets, as pixels from the start of
// the input to column 0 of each, or -1 for one in the padding: row(its number, that).
template <class Row>
void each_input_row(const ConvPlan& plan, int64_t line, Row&& row) noexcept {
  const ConvProblem& p = plan.problem;
  const AxisPhase &z = plan.axes[0][0], &y = plan.axes[1][0];
  const int64_t kz = p.kernel[0], ky = p.kernel[1], lines = z.count * y.count;
  const int64_t image = line / lines, oz = line % lines / y.count, oy = line % y.count;
  for (int64_t i = 0; i < kz; ++i) {
    for (int64_t j = 0; j < ky; ++j) {
      const int32_t in_z = z.input[static_cast<size_t>(oz * kz + i)],
                    in_y = y.input[static_cast<size_t>(oy * ky + j)];
      row(i * ky + j, (in_z | in_y) < 0 ? int64_t{-1} : image * p.in_pixels() + in_z + in_y);
    }
  }
}

void run_depthwise(const ConvRun& run) noexcept;
size_t depthwise_rows_bytes(const ConvProblem& p) noexcept;  // scratch for pointers, per thread
void run_depthwise_bytes(const ConvRun& run) noexcept;
size_t depthwise_bytes_packed(const ConvProblem& p) noexcept;
size_t depthwise_bytes_tables(const ConvProblem& p) noexcept;
void pack_depthwise_bytes(const ConvProblem& p, const void* w, std::byte* packed) noexcept;
void run_direct(const ConvRun& run) noexcept;
size_t direct_scratch(const ConvProblem& p) noexcept;  // per thread
size_t dots_packed(const ConvProblem& p) noexcept;     // weights of a direct kernel for few channels
void run_winograd(const ConvRun& run) noexcept;
size_t winograd_scratch(const ConvPlan& plan) noexcept;  // per thread
// Packed weights: a matrix of panels of pack.h per product, input channels by output channels.
int64_t winograd_panel_bytes(const ConvPlan& plan) noexcept;
void pack_winograd(const ConvPlan& plan, const float* w, std::byte* packed) noexcept;
// Whether, and why not, lines of the padded image can be read in place.
std::string_view refusal_lines(const ConvProblem& p) noexcept;
bool lines_pay(const ConvProblem& p, const DenseKernel& kernel) noexcept;
DenseRuns lines_runs(const ConvProblem& p) noexcept;
size_t lines_image(const ConvPlan& plan) noexcept;
void run_lines(const ConvRun& run) noexcept;
// All of y as a product of sums of k values, in lines of line_k. Of integers the first oc i32 of run.image
// hold its bias.
DenseProduct dense_product(const ConvRun& run, int64_t k, int64_t line_k) noexcept;
inline size_t dense_bias_bytes(const ConvProblem& p) {
  return align_up(static_cast<size_t>(p.oc * 4));
}
size_t patches_image(const ConvPlan& plan) noexcept;
void run_patches(const ConvRun& run) noexcept;
size_t patches_scratch(const ConvPlan& plan) noexcept;  // per thread
// Transposed, kernel and stride alike: the 1x1 convolution that a line of the kernel is; see spread.cc.
std::string_view refusal_spread(const ConvProblem& p) noexcept;
ConvProblem spread_product(const ConvProblem& p) noexcept;
size_t spread_packed(const ConvPlan& plan) noexcept;
void pack_spread(const ConvPlan& plan, const float* w, std::byte* packed) noexcept;
size_t spread_image(const ConvProblem& p) noexcept;
size_t spread_scratch(const ConvProblem& p) noexcept;  // per thread
void run_spread(const ConvRun& run) noexcept;
void run_on_tiles(const ConvRun& run) noexcept;  // gather and indirect

}  // namespace skyline::kernels
