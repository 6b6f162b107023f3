// Depthwise convolution of bytes over whole images: packing, and which input rows each output row meets.
#include "kernels/conv/depthwise_bytes.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/conv/run.h"

namespace skyline::kernels {
namespace {

int64_t padded_channels(const ConvProblem& p) {
  return (p.oc + kByteChannels - 1) / kByteChannels * kByteChannels;
}
ByteTaps taps_of(const ConvProblem& p) {
  return byte_taps(p.kernel[0] * p.kernel[1], p.kernel[2], p.stride[2], p.dilation[2]);
}
size_t weight_bytes(const ConvProblem& p) {
  return static_cast<size_t>(padded_channels(p) / kByteChannels * taps_of(p).block_bytes());
}
// The channels of a block, over and over; place(channel, where it lies) in all.
template <class Place>
void each_place(const ConvProblem& p, Place&& place) {
  for (int64_t i = 0; i < byte_pixels(p.oc); ++i) {
    for (int64_t c = 0; c < p.oc; ++c) place(c, byte_channel(i * p.oc + c));
  }
}

// The parts of the workspace that all threads read.
struct Tables {
  int32_t* bias;
  float* scale;
  uint8_t* zeros;
  Tables(const ConvProblem& p, std::byte* image)
      : bias(reinterpret_cast<int32_t*>(image)),
        scale(reinterpret_cast<float*>(image) + padded_channels(p)),
        zeros(reinterpret_cast<uint8_t*>(image) + padded_channels(p) * 8) {}
};

void fill_tables(const ConvRun& run, const Tables& t) {
  const ConvProblem& p = run.plan.problem;
  const Epilogue& e = run.args.epilogue;
  const auto* sums = reinterpret_cast<const int32_t*>(run.args.w + weight_bytes(p));
  const uint32_t zero = static_cast<uint32_t>(run.args.x_zero) + (p.a == DType::i8 ? 128 : 0);
  std::memset(t.bias, 0, static_cast<size_t>(padded_channels(p)) * 8);
  each_place(p, [&](int64_t c, int64_t at) {
    const uint32_t bias = e.bias_i32 ? static_cast<uint32_t>(e.bias_i32[c]) : 0;
    t.bias[at] = static_cast<int32_t>(bias - zero * static_cast<uint32_t>(sums[c]));
    t.scale[at] = e.scale_n[c];
  });
  std::memset(t.zeros, run.args.x_zero, static_cast<size_t>(padded_channels(p)));
}

DepthwiseBytesRow common(const ConvRun& run, const Tables& t) {
  const ConvProblem& p = run.plan.problem;
  const Epilogue& e = run.args.epilogue;
  DepthwiseBytesRow d;
  d.rows = p.kernel[0] * p.kernel[1];
  d.zeros = t.zeros;
  d.w = reinterpret_cast<const int8_t*>(run.args.w);
  d.bias = t.bias;
  d.scale = t.scale;
  d.ldx = run.args.ldx;
  d.ldy = run.args.ldy;
  d.c = p.oc;
  d.iw = p.in[2];
  d.ow = p.out(2);
  d.kw = p.kernel[2];
  d.stride = p.stride[2];
  d.dilation = p.dilation[2];
  d.pad = p.pad_begin[2];
  d.x_signed = p.a == DType::i8;
  d.y_signed = p.c == DType::i8;
  d.zero_point = e.zero_point;
  const float least = d.y_signed ? -128.0f : 0.0f, zero = static_cast<float>(e.zero_point);
  d.low = least - zero;
  d.high = least + 255.0f - zero;
  const auto below_one = [](float s) { return s < 0.99f; };
  d.bounded = std::all_of(e.scale_n, e.scale_n + p.oc, below_one) && e.act.fn == Act::none;
  if (e.act.fn == Act::relu) d.low = std::max(d.low, 0.0f);
  if (e.act.fn == Act::clip) {
    d.low = std::max(d.low, e.act.a);
    d.high = std::min(d.high, e.act.b);
  }
  return d;
}

}  // namespace

size_t depthwise_bytes_packed(const ConvProblem& p) noexcept {
  return align_up(weight_bytes(p)) + align_up(static_cast<size_t>(p.oc * 4));
}

size_t depthwise_bytes_tables(const ConvProblem& p) noexcept {
  return align_up(static_cast<size_t>(padded_channels(p) * 9));
}

void pack_depthwise_bytes(const ConvProblem& p, const void* w, std::byte* packed) noexcept {
  auto* to = reinterpret_cast<int8_t*>(packed);
  auto* sums = reinterpret_cast<int32_t*>(packed + weight_bytes(p));
  const ByteTaps taps = taps_of(p);
  const int64_t kw = p.kernel[2], group = taps.group_bytes();
  std::memset(to, 0, weight_bytes(p));
  each_place(p, [&](int64_t c, int64_t at) {
    int8_t* const block = to + at / kByteChannels * taps.block_bytes() + at % kByteChannels * kByteTaps;
    const auto put = [&](int64_t first, int64_t t, int8_t value) {
      block[first + t / kByteTaps * group + t % kByteTaps] = value;
    };
    sums[c] = 0;
    for (int64_t t = 0; t < p.taps(); ++t) {
      const int64_t from = c * p.taps() + t;
      const int value =
          p.b == DType::u8 ? static_cast<const uint8_t*>(w)[from] - 128 : static_cast<const int8_t*>(w)[from];
      sums[c] += value;
      const int64_t row = taps.by_rows ? t / kw * taps.row_groups * group : 0;
      const int64_t place = taps.by_rows ? t % kw : t;
      put(row, place, static_cast<int8_t>(value));
      if (taps.in_pairs) put(row + group / 2, place + 1, static_cast<int8_t>(value));
    }
  });
}

void run_depthwise_bytes(const ConvRun& run) noexcept {
  const ConvProblem& p = run.plan.problem;
  const Tables tables(p, run.image);
  fill_tables(run, tables);
  const int64_t lines = p.out(0) * p.out(1), ow = p.out(2);
  const int64_t work = ow * p.oc * p.taps();  // a thread is worth some 2^20 multiply-adds
  auto* x = static_cast<const uint8_t*>(run.args.x);
  const DepthwiseBytesRow whole = common(run, tables);
  parallel_for(run.threads, p.n * lines, std::max<int64_t>(1, (1 << 20) / (work + 1)),
               [&](int64_t begin, int64_t end) {
                 const uint8_t* rows[kMaxByteTaps];
                 DepthwiseBytesRow d = whole;
                 d.x = rows;
                 for (int64_t line = begin; line < end; ++line) {
                   each_input_row(run.plan, line, [&](int64_t i, int64_t pixel) {
                     rows[i] = pixel < 0 ? nullptr : x + pixel * run.args.ldx;
                   });
                   d.y = static_cast<uint8_t*>(run.args.y) + line * ow * run.args.ldy;
                   run.plan.depthwise_bytes->run(d);
                 }
               });
}

}  // namespace skyline::kernels
