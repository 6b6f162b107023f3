#pragma once
// Convolution in 1, 2 and 3 dimensions with a fused epilogue, plain and transposed, grouped and depthwise.
// Activations are channels-last (N [D] H W C); weights come as ONNX stores them and are packed once.
//
//   prepare once:   ConvProblem p{.ic = 32, .oc = 64}; p.in = {1, 56, 56}; p.kernel = {1, 3, 3}; ...
//                   ConvPlan plan = conv_plan(p, isa);
//                   AlignedBuffer w = aligned_alloc_bytes(plan.packed_bytes);
//                   conv_pack(plan, {.w = weights}, w.get());
//   run many times: ConvArgs args{.x = x, .w = w.get(), .y = y};
//                   args.epilogue.bias_n = bias;
//                   conv_run(plan, args, workspace, threads);  // of conv_workspace_bytes(plan, threads)
//
// A dimension that is not there has in = kernel = stride = dilation = 1 and no padding: 1-D data are
// {1, 1, w}. Types and exactness are those of gemm.h, and so is the epilogue: columns are output channels,
// rows output pixels (n, d, h, w flattened); bias_m must be null. Results are the same bits for any number of
// threads. Running allocates nothing and cannot fail. y overlaps neither x nor the workspace; the residual
// may be y itself.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/gemm/gemm.h"

namespace skyline::kernels {

using Dims3 = std::array<int64_t, 3>;  // depth, height, width

struct ConvProblem {
  int64_t n = 1, ic = 0, oc = 0, groups = 1;
  Dims3 in = {1, 1, 1}, kernel = {1, 1, 1}, stride = {1, 1, 1}, dilation = {1, 1, 1};
  Dims3 pad_begin = {0, 0, 0}, pad_end = {0, 0, 0};
  bool transposed = false;
  Dims3 output_padding = {0, 0, 0};  // transposed only
  bool planar = false;               // x is channels-first (y is not); direct method only
  bool centered_b = false;           // of the weights, as in GemmProblem
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  // As in GemmProblem; depthwise and grouped ones compute in f32, and others where that is faster. a and c
  // may be bf16 where a dense kernel takes the problem (see refusal of "patches"), or a depthwise one.
  Precision precision = Precision::f32;

  int64_t out(int axis) const noexcept;  // may be <= 0: then there is no output
  int64_t taps() const noexcept { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t in_pixels() const noexcept { return in[0] * in[1] * in[2]; }
  int64_t out_pixels() const noexcept { return out(0) * out(1) * out(2); }
};

// Along one axis, the output positions first, first + step, ... that share the same kernel positions (all of
// them for a plain convolution, one of `stride` phases for a transposed one), and the input position that
// each meets.
struct AxisPhase {
  int64_t first = 0, step = 1, count = 0;
  std::vector<int32_t> taps;   // positions in the kernel
  std::vector<int32_t> input;  // [count][taps]: position in the input times its distance in pixels; -1 in the
                               // padding. Empty along lines for methods that do not look it up
};

enum class ConvMethod : uint8_t {
  gemm,             // 1x1, stride 1: a matrix product as it stands
  depthwise_bytes,  // the same of 8-bit integers, four taps at a time
  depthwise,        // one input and one output channel per group
  winograd,         // 3x3 by a quarter or half of the products; worth it for many channels
  lines,            // dense kernels: tiles read a copy of the padded image
  patches,          // dense kernels: patches are copied side by side, rows of a product
  direct,           // lines of input, copied where there is padding: tiles need one address
  spread,           // transposed, the kernel as large as the stride: pixels make blocks of their own
  gather,           // few input channels: whole lines of the kernel are read in place, or copied at the edges
  indirect,         // the micro-kernel reads pixels in place, through pointers
};
struct ConvAlgorithm {
  std::string_view name;
  ConvMethod method;
  // Why it cannot take the problem; empty if it can.
  std::string_view (*refusal)(const ConvProblem&, IsaSet) noexcept;
  // Whether it is the choice among those that can and come after it; null: always.
  bool (*pays)(const ConvProblem&, IsaSet) noexcept;
  int tile = 0;  // winograd: outputs of a tile along an axis
};
// The best first; the last takes every problem.
std::span<const ConvAlgorithm> conv_algorithms() noexcept;

struct DepthwiseBytesKernel;
struct DepthwiseKernel;
struct DirectKernel;
struct WinogradKernel;

struct ConvPlan {
  ConvProblem problem;
  const ConvAlgorithm* algorithm = nullptr;
  const GemmKernel* kernel = nullptr;          // gemm, gather and indirect
  const DirectKernel* direct = nullptr;        // direct and spread, and winograd's products
  const WinogradKernel* winograd = nullptr;    // winograd only
  const DepthwiseKernel* depthwise = nullptr;  // depthwise only
  const DepthwiseBytesKernel* depthwise_bytes = nullptr;
  GemmPlan gemm;  // gemm; of patches only .dense
  std::array<std::vector<AxisPhase>, 3> axes;
  int64_t tap_steps = 0;              // steps of the micro-kernel per tap
  std::vector<size_t> packed_offset;  // of each phase's weights, see pack.cc
  std::vector<std::byte> zeros;       // what pixels of the padding read
  size_t packed_bytes = 0;
};

// Restricts the choice, for tests and for search.
struct ConvChoice {
  const ConvAlgorithm* algorithm = nullptr;
  const GemmKernel* kernel = nullptr;
  // Winograd may be chosen. Not where weights are packed at every run (that takes long), nor where some rows
  // are computed apart: its bits depend on where its tiles begin.
  bool winograd = true;
};
// Throws Error{invalid} if the sizes break a rule (groups, negative sizes), Error{unsupported} if no kernel
// has the types or a forced algorithm refuses, Error{limit} if a size is too large to index.
ConvPlan conv_plan(const ConvProblem& problem, IsaSet isa, const ConvChoice& choice = {});

struct ConvWeights {
  const void* w = nullptr;           // [oc][ic/groups][d][h][w], or transposed: [ic][oc/groups][d][h][w]
  const void* zero_point = nullptr;  // integers only: of w's type; null is 0
  bool zero_point_per_oc = false;
};
void conv_pack(const ConvPlan& plan, const ConvWeights& weights, std::byte* packed) noexcept;

struct ConvArgs {
  const void* x = nullptr;
  // Elements between pixels of x; 0 means ic. Of planar x: between its channels; 0 means in_pixels().
  int64_t ldx = 0;
  const std::byte* w = nullptr;  // packed
  void* y = nullptr;
  int64_t ldy =
      0;  // elements between pixels of y; 0 means oc. More lets several convolutions write one tensor
  Epilogue epilogue;   // ldr = 0 means oc; stride_r is not used
  int32_t x_zero = 0;  // integers only
};
size_t conv_workspace_bytes(const ConvPlan& plan, int threads) noexcept;
void conv_run(const ConvPlan& plan, const ConvArgs& args, std::byte* workspace, int threads) noexcept;

// The plain loops, for tests; args.w is as stored, with the zero points of `weights`.
void conv_reference(const ConvProblem& problem, const ConvArgs& args, const ConvWeights& weights) noexcept;

}  // namespace skyline::kernels
