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

// Channels at a time: the lines that several output lines meet then stay in L1 (a quarter faster at 14x14x384
// on a Xeon with AVX-512).
constexpr int64_t kChannels = 128;
int64_t channel_block(const ConvProblem& p) {
  const int64_t blocks = (p.oc + kChannels - 1) / kChannels;
  return static_cast<int64_t>(align_up(static_cast<size_t>((p.oc + blocks - 1) / blocks), 16));
}

struct Depthwise {
  const ConvRun& run;
  const ConvProblem& p;
  const std::byte* x;
  int64_t x_size, ldx;
  const void** rows;  // of a line, or of two
  float* sums;        // integers: a line; else null

  // Lines [line, line + count), 1 or 2 of them, of channels [c0, c1).
  void lines(int64_t line, int64_t count, int64_t c0, int64_t c1) const {
    const ConvArgs& a = run.args;
    DepthwiseRow d;
    d.x = rows;
    d.rows = p.kernel[0] * p.kernel[1];
    d.row_step = p.stride[1];
    d.lines = count;
    for (int64_t i = 0; i < count; ++i) {
      each_input_row(run.plan, line + i, [&](int64_t r, int64_t pixel) {
        rows[i * d.row_step + r] = pixel < 0 ? nullptr : x + (pixel * ldx + c0) * x_size;
      });
    }
    d.w = reinterpret_cast<const float*>(a.w) + c0;
    d.w_stride = static_cast<int64_t>(align_up(static_cast<size_t>(p.oc * 4)) / 4);
    d.ldx = ldx;
    d.c = c1 - c0;
    d.iw = p.in[2];
    d.ow = p.out(2);
    d.kw = p.kernel[2];
    d.stride = p.stride[2];
    d.dilation = p.dilation[2];
    d.pad = p.pad_begin[2];
    const int64_t first = line * d.ow;
    const DepthwiseKernel& kernel = *run.plan.depthwise;
    if (!sums) {
      d.y = static_cast<std::byte*>(a.y) + (first * a.ldy + c0) * static_cast<int64_t>(size_of(p.c));
      d.ldy = a.ldy;
      d.epilogue = moved(a.epilogue, first, c0);
      kernel.run(d);
      return;
    }
    d.y = sums;
    d.ldy = p.oc;
    kernel.run(d);
    const int64_t ldy = a.ldy * static_cast<int64_t>(size_of(p.c));
    kernel.finish(sums, d.ow, p.oc, static_cast<std::byte*>(a.y) + first * ldy, ldy, p.c, a.epilogue);
  }

  void share(int64_t begin, int64_t end) const {
    const bool floats = sums == nullptr;
    const int64_t block = floats ? channel_block(p) : p.oc, height = p.out(1);
    // Two lines of one image and depth meet rows that overlap.
    const bool pairs = floats && p.kernel[0] == 1 && p.dilation[1] == 1;
    for (int64_t c = 0; c < p.oc; c += block) {
      for (int64_t line = begin, count = 1; line < end; line += count) {
        count = pairs && line + 1 < end && (line + 1) % height != 0 ? 2 : 1;
        lines(line, count, c, std::min(p.oc, c + block));
      }
    }
  }
};

}  // namespace

const DepthwiseKernel* find_depthwise(DType x, DType y, IsaSet isa) noexcept {
  const auto stored = [](DType t) { return t == DType::bf16 ? t : DType::f32; };
  return find_kernel<DepthwiseKernel>(
      "depthwise", isa, [&](const DepthwiseKernel& k) { return k.in == stored(x) && k.out == stored(y); });
}

size_t depthwise_rows_bytes(const ConvProblem& p) noexcept {
  return align_up(static_cast<size_t>(p.kernel[0] * p.kernel[1] + p.stride[1]) * sizeof(void*));
}

void run_depthwise(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const bool floats = p.a == DType::f32 || p.a == DType::bf16;
  if (p.a == DType::u8) to_f32<uint8_t>(run);
  if (p.a == DType::i8) to_f32<int8_t>(run);
  const std::byte* x = floats ? static_cast<const std::byte*>(run.args.x) : run.image;
  const auto x_size = static_cast<int64_t>(floats ? size_of(p.a) : sizeof(float));
  // Even parts, so that a thread meets the lines that it has made in the convolution before.
  constexpr int64_t kWorthAPart = 1 << 15;  // multiply-adds
  constexpr int64_t kMostParts = 4;         // for each thread
  const int64_t all = p.n * p.out(0) * p.out(1), worth = all * p.out(2) * p.oc * p.taps() / kWorthAPart;
  const int64_t parts = std::clamp<int64_t>(worth / run.threads, worth > 1 ? 1 : 0, kMostParts) * run.threads;
  const int64_t pieces = std::clamp<int64_t>(parts, 1, std::max<int64_t>(all, 1));
  parallel_for(run.threads, pieces, 1, [&](int64_t begin, int64_t end) {
    std::byte* const scratch = run.scratch();
    const Depthwise depthwise{run,
                              p,
                              x,
                              x_size,
                              floats ? run.args.ldx : p.ic,
                              reinterpret_cast<const void**>(scratch),
                              floats ? nullptr : reinterpret_cast<float*>(scratch + depthwise_rows_bytes(p))};
    depthwise.share(all * begin / pieces, all * end / pieces);
  });
}

}  // namespace skyline::kernels
