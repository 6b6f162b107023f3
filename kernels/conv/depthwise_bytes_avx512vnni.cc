// Depthwise convolution of bytes by AVX512-VNNI; the contract is in depthwise_bytes.h.
#include "kernels/base/simd.h"
#include "kernels/conv/depthwise_bytes.h"

namespace skyline::kernels {
namespace {

using Ints = __m512i;

// The pixels that the taps of one output pixel meet.
struct Taps {
  const uint8_t* at[kMaxByteTaps];
  int64_t count;  // padded to a multiple of 4
};

inline void meet(const DepthwiseBytesRow& r, int64_t ox, Taps& taps) {
  int64_t t = 0;
  for (int64_t row = 0; row < r.rows; ++row) {
    for (int64_t k = 0; k < r.kw; ++k, ++t) {
      const int64_t at = ox * r.stride - r.pad + k * r.dilation;
      taps.at[t] = r.x[row] && at >= 0 && at < r.iw ? r.x[row] + at * r.ldx : r.zeros;
    }
  }
  for (; t < taps.count; ++t) taps.at[t] = r.zeros;
}

// 64 channels, of which the mask has the ones that exist.
template <bool kSigned>
inline void sums(const DepthwiseBytesRow& r, const Taps& taps, int64_t c, __mmask64 mask, const int8_t* w,
                 Ints (&acc)[4]) {
  const Ints flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int i = 0; i < 4; ++i) acc[i] = _mm512_loadu_si512(r.bias + c + i * 16);
  for (int64_t t = 0; t < taps.count; t += 4, w += 256) {
    Ints x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm512_maskz_loadu_epi8(mask, taps.at[t + i] + c);
      if constexpr (kSigned) x[i] = _mm512_xor_si512(x[i], flip);
    }
    const Ints low01 = _mm512_unpacklo_epi8(x[0], x[1]), high01 = _mm512_unpackhi_epi8(x[0], x[1]);
    const Ints low23 = _mm512_unpacklo_epi8(x[2], x[3]), high23 = _mm512_unpackhi_epi8(x[2], x[3]);
    acc[0] = _mm512_dpbusd_epi32(acc[0], _mm512_unpacklo_epi16(low01, low23), _mm512_loadu_si512(w));
    acc[1] = _mm512_dpbusd_epi32(acc[1], _mm512_unpackhi_epi16(low01, low23), _mm512_loadu_si512(w + 64));
    acc[2] = _mm512_dpbusd_epi32(acc[2], _mm512_unpacklo_epi16(high01, high23), _mm512_loadu_si512(w + 128));
    acc[3] = _mm512_dpbusd_epi32(acc[3], _mm512_unpackhi_epi16(high01, high23), _mm512_loadu_si512(w + 192));
  }
}

// Packing with saturation brings the channels back in order.
inline Ints narrow(const DepthwiseBytesRow& r, int64_t c, const Ints (&acc)[4]) {
  const F32 low(r.low), high(r.high);
  Ints q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const F32 x = F32(_mm512_cvtepi32_ps(acc[i])) * F32::load_unaligned(r.scale + c + i * 16);
    q[i] = _mm512_cvtps_epi32(xsimd::min(high, xsimd::max(low, x)));
  }
  const Ints zero = _mm512_set1_epi16(static_cast<short>(r.zero_point));
  const Ints a = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), zero);
  const Ints b = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), zero);
  return r.y_signed ? _mm512_packs_epi16(a, b) : _mm512_packus_epi16(a, b);
}

template <bool kSigned>
void row(const DepthwiseBytesRow& r) noexcept {
  Taps taps;
  taps.count = (r.taps() + 3) / 4 * 4;
  for (int64_t ox = 0; ox < r.ow; ++ox) {
    meet(r, ox, taps);
    uint8_t* y = r.y + ox * r.ldy;
    const int8_t* w = r.w;
    for (int64_t c = 0; c < r.c; c += kByteChannels, w += taps.count * kByteChannels) {
      const int64_t left = r.c - c;
      const __mmask64 mask = left >= kByteChannels ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
      Ints acc[4];
      sums<kSigned>(r, taps, c, mask, w, acc);
      _mm512_mask_storeu_epi8(y + c, mask, narrow(r, c, acc));
    }
  }
}

void run(const DepthwiseBytesRow& r) noexcept {
  r.x_signed ? row<true>(r) : row<false>(r);
}

}  // namespace

constinit const DepthwiseBytesKernel SKYLINE_TAGGED(depthwise_bytes) = {{.name = "depthwise_bytes_avx512vnni",
                                                                         .op = "depthwise_bytes",
                                                                         .needs = kIsaAvx512 | kIsaVnni,
                                                                         .in = DType::u8,
                                                                         .weights = DType::i8,
                                                                         .acc = DType::i32,
                                                                         .out = DType::u8},
                                                                        run};

}  // namespace skyline::kernels
