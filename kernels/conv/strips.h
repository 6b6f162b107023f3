#pragma once
// A chain of convolutions computed strip by strip: a few rows of the last result at a time, and of each
// result before it only the rows that these need, in buffers that stay in L2. Rows that the next strip needs
// again are kept, so that nothing is computed twice, but for the borders between threads' parts.
//
// Depthwise-separable and inverted-residual blocks (MobileNet: Howard et al. 2017, Sandler et al. 2018) spend
// their time on moving large intermediates; here these never leave the core. Results are the bits of the
// convolutions run one by one, without Winograd.
#include <optional>
#include <span>
#include <vector>

#include "kernels/conv/conv.h"

namespace skyline::kernels {

struct StripStage {
  ConvProblem problem;    // f32, not transposed, over whole images; depth 1; only the first may be planar
  bool residual = false;  // a tensor of the result's shape is added
};

// One convolution of some rows. Before it, what its buffer (of the stage's results) holds moves up by `drop`
// rows, after which `kept` rows are left and the new ones follow.
struct StripCall {
  int32_t stage = 0, plan = 0;  // plan: in StripPlan::plans
  int64_t in_row = 0;           // first input row, of the image
  int64_t out_row = 0, out_rows = 0;
  int64_t drop = 0, kept = 0;
};

struct StripPlan {
  std::vector<StripStage> stages;
  std::vector<ConvPlan> plans;                 // distinct calls; the first of each stage has its packed form
  std::vector<int32_t> first_plan;             // per stage: the plan to pack by
  std::vector<std::vector<StripCall>> parts;   // of an image, each for one thread, in order of execution
  std::vector<int64_t> buffer_rows;            // per stage but the last
  std::vector<size_t> buffer_at;               // in bytes, in a thread's memory
  int64_t rows = 0;                            // of the last result per strip
  size_t buffer_bytes = 0, scratch_bytes = 0;  // per thread
};

// Null if the stages make no chain or are of a kind that strips cannot do. Strips are as high as lets the
// buffers of a thread fit into `cache` bytes, but at least a row. The first stage reads x, the last writes y.
// Throws as conv_plan.
std::optional<StripPlan> strip_plan(std::span<const StripStage> stages, IsaSet isa, int threads,
                                    int64_t cache);

struct StripOperands {
  const std::byte* w = nullptr;  // packed by conv_pack for plans[first_plan[stage]]
  const float* bias = nullptr;
  const float* residual = nullptr;  // whole images
  Activation act;
};
struct StripArgs {
  const float* x = nullptr;
  float* y = nullptr;
  std::span<const StripOperands> stages;
};
size_t strip_workspace_bytes(const StripPlan& plan, int threads) noexcept;
void strip_run(const StripPlan& plan, const StripArgs& args, std::byte* workspace, int threads) noexcept;

}  // namespace skyline::kernels
