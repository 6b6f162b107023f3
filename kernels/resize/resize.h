#pragma once
// Resize (ONNX Resize, Upsample): any rank, one axis after the other, from tables made beforehand.
//
// How to use: make a ResizeAxis for each axis that changes (at compile of a session), list them in a
// ResizePlan as [outer, axes..., inner], call run_resize with its scratch. Channels first: outer = N * C,
// inner = 1. Channels last: outer = N, inner = C. Nearest moves elements of any size; the others compute in
// f32.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "skyline/kernel.h"

namespace skyline::kernels {

enum class ResizeMode : uint8_t { nearest, linear, cubic };
enum class ResizeCoordinates : uint8_t {
  half_pixel,
  half_pixel_symmetric,
  pytorch_half_pixel,
  align_corners,
  asymmetric,
  tf_half_pixel_for_nn,
  tf_crop_and_resize
};
enum class ResizeNearest : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil };

struct ResizeOptions {
  ResizeMode mode = ResizeMode::nearest;
  ResizeCoordinates coordinates = ResizeCoordinates::half_pixel;
  ResizeNearest nearest = ResizeNearest::round_prefer_floor;
  float cubic_a = -0.75f;
  bool exclude_outside = false;
  bool antialias = false;
  float roi_start = 0, roi_end = 1;  // tf_crop_and_resize
};

// out[j] = sum over t of weight[j * taps + t] * in[index[j * taps + t]]. index -1 (tf_crop_and_resize): the
// whole output element is the extrapolation value. Nearest has one tap and no weights.
struct ResizeAxis {
  int64_t in = 1, out = 1;
  int taps = 1;
  std::vector<int32_t> index;
  std::vector<float> weight;
};
// scale: as ONNX has it, out / in before out was rounded down. in, out >= 1.
ResizeAxis make_resize_axis(int64_t in, int64_t out, double scale, const ResizeOptions& options);

struct ResizePlan {
  int64_t outer = 1, inner = 1;
  std::vector<ResizeAxis> axes;  // outermost first; axes that do not change may be left in (in == out, 1 tap)
  float extrapolation = 0;
  // Nearest only, without extrapolation: elements between rows of `inner`, where they lie in wider tensors; 0
  // means inner.
  int64_t ldx = 0, ldy = 0;
};
// Bytes of scratch of run_resize_f32, for this many threads.
size_t resize_scratch_bytes(const ResizePlan& plan, int threads) noexcept;

struct ResizeTaps {
  const int32_t* index;
  const float* weight;
  int taps;
};
struct ResizeTable {
  KernelInfo info;  // the table as a row of all_kernels()
  // y[j, i] = sum over t of weight[j, t] * x[index[j, t], i], for j in [begin, end) and i in [0, inner).
  void (*axis)(const ResizeTaps& a, const float* x, float* y, int64_t begin, int64_t end, int64_t inner,
               float extrapolation) noexcept;
};
const ResizeTable& resize_kernels(IsaSet isa) noexcept;
extern const ResizeTable resize_sse2, resize_avx2, resize_avx512, resize_neon;  // of this architecture only

// Linear and cubic (and nearest, where it is mixed with them).
void run_resize_f32(const ResizeTable& t, const ResizePlan& plan, const float* x, float* y, void* scratch,
                    int threads) noexcept;
// All axes nearest. bytes: size of an element; `extrapolation` points at one (may be null when no index is
// -1).
void run_resize_nearest(const ResizePlan& plan, size_t bytes, const void* x, void* y,
                        const void* extrapolation, int threads) noexcept;

}  // namespace skyline::kernels
