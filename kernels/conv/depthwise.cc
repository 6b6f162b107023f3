// Depthwise convolution over whole images: which input rows each output row meets, and integers by way of
// f32.
#include "kernels/conv/depthwise.h"

#include <algorithm>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"
#include "kernels/gemm/drive.h"

namespace skyline::kernels {
namespace {

template <class T>
void to_f32(const ConvRun& run) {
  const ConvProblem& p = run.plan.problem;
  auto* to = reinterpret_cast<float*>(run.image);
  auto* x = static_cast<const T*>(run.args.x);
  parallel_for(run.threads, p.n * p.in_pixels(), std::max<int64_t>(1, 16384 / p.ic),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   for (int64_t c = 0; c < p.ic; ++c) {
                     to[i * p.ic + c] = static_cast<float>(x[i * run.args.ldx + c] - run.args.x_zero);
                   }
                 }
               });
}

}  // namespace

void run_depthwise(const ConvRun& run) noexcept {
  const ConvPlan& plan = run.plan;
  const ConvProblem& p = plan.problem;
  const ConvArgs& a = run.args;
  const bool f32 = p.a == DType::f32;
  if (p.a == DType::u8) to_f32<uint8_t>(run);
  if (p.a == DType::i8) to_f32<int8_t>(run);
  const float* x = f32 ? static_cast<const float*>(a.x) : reinterpret_cast<const float*>(run.image);
  const int64_t kz = p.kernel[0], ky = p.kernel[1], lines = p.out(0) * p.out(1);
  const int64_t ow = p.out(2), ldx = f32 ? a.ldx : p.ic;
  // Even parts, so that a thread meets the lines that it has made in the convolution before.
  constexpr int64_t kWorthAPart = 1 << 15;  // multiply-adds
  constexpr int64_t kMostParts = 4;         // for each thread
  const int64_t all = p.n * lines, worth = all * ow * p.oc * p.taps() / kWorthAPart;
  const int64_t parts = std::clamp<int64_t>(worth / run.threads, worth > 1 ? 1 : 0, kMostParts) * run.threads;
  const int64_t pieces = std::clamp<int64_t>(parts, 1, std::max<int64_t>(all, 1));
  parallel_for(run.threads, pieces, 1, [&](int64_t piece, int64_t end_piece) {
    const int64_t begin = all * piece / pieces, end = all * end_piece / pieces;
    auto** rows = reinterpret_cast<const float**>(run.scratch());
    auto* sums =
        reinterpret_cast<float*>(run.scratch() + align_up(static_cast<size_t>(kz * ky) * sizeof(void*)));
    for (int64_t line = begin; line < end; ++line) {
      each_input_row(plan, line,
                     [&](int64_t i, int64_t pixel) { rows[i] = pixel < 0 ? nullptr : x + pixel * ldx; });
      DepthwiseRow d;
      d.x = rows;
      d.rows = kz * ky;
      d.w = reinterpret_cast<const float*>(a.w);
      d.w_stride = static_cast<int64_t>(align_up(static_cast<size_t>(p.oc * 4)) / 4);
      d.ldx = ldx;
      d.c = p.oc;
      d.iw = p.in[2];
      d.ow = ow;
      d.kw = p.kernel[2];
      d.stride = p.stride[2];
      d.dilation = p.dilation[2];
      d.pad = p.pad_begin[2];
      const int64_t c_size = static_cast<int64_t>(size_of(p.c)), out_row = line * ow;
      std::byte* out = static_cast<std::byte*>(a.y) + out_row * a.ldy * c_size;
      if (f32) {
        d.y = reinterpret_cast<float*>(out);
        d.ldy = a.ldy;
        d.epilogue = moved(a.epilogue, out_row, 0);
        plan.depthwise->run(d);
      } else {
        d.y = sums;
        d.ldy = p.oc;
        plan.depthwise->run(d);
        plan.depthwise->finish(sums, ow, p.oc, out, a.ldy * c_size, p.c, a.epilogue);
      }
    }
  });
}

}  // namespace skyline::kernels
