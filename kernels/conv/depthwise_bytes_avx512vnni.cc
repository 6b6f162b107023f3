// Depthwise convolution of bytes by AVX512-VNNI; the contract is in depthwise_bytes.h.
#include "kernels/base/simd.h"
#include "kernels/conv/depthwise_bytes.h"

namespace skyline::kernels {
namespace {

using Ints = __m512i;

// The pixels that the taps of one output pixel meet, as the weights are packed; what pads a group may be any.
struct Taps {
  const uint8_t* at[2 * kMaxByteTaps];
  int64_t groups;
};

inline void meet(const DepthwiseBytesRow& r, int64_t ox, Taps& taps) {
  const ByteTaps packed = r.packed();
  int64_t t = 0;
  for (int64_t row = 0; row < r.rows; ++row) {
    for (int64_t k = 0; k < r.kw; ++k, ++t) {
      const int64_t at = ox * r.stride - r.pad + k * r.dilation;
      taps.at[t] = r.x[row] && at >= 0 && at < r.iw ? r.x[row] + at * r.ldx : r.zeros;
    }
    if (!packed.by_rows) continue;
    for (; t < (row + 1) * packed.row_groups * kByteTaps; ++t) taps.at[t] = r.zeros;
  }
  for (; t < packed.groups * kByteTaps; ++t) taps.at[t] = r.zeros;
  taps.groups = packed.groups;
}

// 64 channels of a block, of which the mask has those that exist.
struct Block {
  int64_t c;
  __mmask64 mask;
  const int8_t* w;
  int64_t next;  // bytes between groups of weights
};

// kFull: all 64 exist; masked loads and stores of bytes take more than plain ones.
template <bool kSigned, bool kFull>
inline Ints load_pixel(const uint8_t* p, const Block& b) {
  const Ints x = kFull ? _mm512_loadu_si512(p + b.c) : _mm512_maskz_loadu_epi8(b.mask, p + b.c);
  return kSigned ? _mm512_xor_si512(x, _mm512_set1_epi8(static_cast<char>(0x80))) : x;
}

// Four pixels, four bytes of each channel side by side.
inline void unpack(const Ints (&x)[4], Ints (&v)[4]) {
  const Ints low01 = _mm512_unpacklo_epi8(x[0], x[1]), high01 = _mm512_unpackhi_epi8(x[0], x[1]);
  const Ints low23 = _mm512_unpacklo_epi8(x[2], x[3]), high23 = _mm512_unpackhi_epi8(x[2], x[3]);
  v[0] = _mm512_unpacklo_epi16(low01, low23);
  v[1] = _mm512_unpackhi_epi16(low01, low23);
  v[2] = _mm512_unpacklo_epi16(high01, high23);
  v[3] = _mm512_unpackhi_epi16(high01, high23);
}

inline void accumulate(Ints (&acc)[4], const Ints (&v)[4], const int8_t* w) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], v[i], _mm512_loadu_si512(w + i * 64));
}

inline void start(const DepthwiseBytesRow& r, int64_t c, Ints (&acc)[4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) acc[i] = _mm512_loadu_si512(r.bias + c + i * 16);
}

// Packing with saturation brings the channels back in order. kBounded: it is all the clamping there is to do.
template <bool kBounded, bool kFull = false>
inline void finish(const DepthwiseBytesRow& r, const Block& b, const Ints (&acc)[4], uint8_t* y) {
  const __m512 low = _mm512_set1_ps(r.low), high = _mm512_set1_ps(r.high);
  Ints q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), _mm512_loadu_ps(r.scale + b.c + i * 16));
    if constexpr (!kBounded) x = _mm512_min_ps(high, _mm512_max_ps(low, x));
    q[i] = _mm512_cvtps_epi32(x);
  }
  const Ints zero = _mm512_set1_epi16(static_cast<short>(r.zero_point));
  const Ints one = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), zero);
  const Ints two = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), zero);
  const Ints bytes = r.y_signed ? _mm512_packs_epi16(one, two) : _mm512_packus_epi16(one, two);
  if constexpr (kFull) return _mm512_storeu_si512(y + b.c, bytes);
  _mm512_mask_storeu_epi8(y + b.c, b.mask, bytes);
}

template <bool kSigned, bool kBounded>
inline void single(const DepthwiseBytesRow& r, const Block& b, const Taps& taps, uint8_t* y) {
  Ints acc[4];
  start(r, b.c, acc);
  const int8_t* w = b.w;
  for (int64_t g = 0; g < taps.groups; ++g, w += b.next) {
    Ints x[4], v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) x[i] = load_pixel<kSigned, false>(taps.at[g * 4 + i], b);
    unpack(x, v);
    accumulate(acc, v, w);
  }
  finish<kBounded>(r, b, acc, y);
}

// Output pixel ox, whose kernel lies inside the rows, and if kPair the next.
template <bool kSigned, bool kBounded, int kWidth, bool kPair, bool kFull>
inline void inside(const DepthwiseBytesRow& r, const Block& b, int64_t ox) {
  constexpr int kGroups = (kWidth + 4) / 4, kPixels = kWidth + kPair;
  Ints one[4], two[4];
  start(r, b.c, one);
  if constexpr (kPair) start(r, b.c, two);
  const int8_t* w = b.w;
  for (int64_t row = 0; row < r.rows; ++row) {
    const int64_t step = r.x[row] ? r.dilation * r.ldx : 0;
    const uint8_t* from = r.x[row] ? r.x[row] + (ox * r.stride - r.pad) * r.ldx : r.zeros;
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g, w += b.next) {
      Ints x[4], v[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int64_t pixel = g * 4 + i < kPixels ? g * 4 + i : 0;  // what is more meets weights of 0
        x[i] = load_pixel<kSigned, kFull>(from + pixel * step, b);
      }
      unpack(x, v);
      accumulate(one, v, w);
      if constexpr (kPair) accumulate(two, v, w + 4 * kByteChannels);
    }
  }
  finish<kBounded, kFull>(r, b, one, r.y + ox * r.ldy);
  if constexpr (kPair) finish<kBounded, kFull>(r, b, two, r.y + (ox + 1) * r.ldy);
}

// The output pixels whose kernels lie inside the rows.
struct Range {
  int64_t begin, end;
};
inline Range whole_kernels(const DepthwiseBytesRow& r) {
  const int64_t room = r.iw + r.pad - (r.kw - 1) * r.dilation;  // for an output times stride, exclusive
  Range x{r.pad <= 0 ? 0 : (r.pad + r.stride - 1) / r.stride,
          room <= 0 ? 0 : (room + r.stride - 1) / r.stride};
  if (x.end > r.ow) x.end = r.ow;
  if (x.begin > x.end) x.begin = x.end;
  return x;
}

// Calls visit(block) for each 64 channels.
template <class Visit>
inline void each_block(const DepthwiseBytesRow& r, Visit&& visit) {
  const ByteTaps packed = r.packed();
  const int8_t* w = r.w;
  for (int64_t c = 0; c < r.c; c += kByteChannels, w += packed.block_bytes()) {
    const int64_t left = r.c - c;
    const __mmask64 mask = left >= kByteChannels ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    visit(Block{c, mask, w, packed.group_bytes()});
  }
}

// Output pixels [begin, end), wherever their taps lie.
template <bool kSigned, bool kBounded>
void anywhere(const DepthwiseBytesRow& r, int64_t begin, int64_t end) {
  Taps taps;
  for (int64_t ox = begin; ox < end; ++ox) {
    meet(r, ox, taps);
    each_block(r, [&](const Block& b) { single<kSigned, kBounded>(r, b, taps, r.y + ox * r.ldy); });
  }
}

// Output pixels whose kernels, of kWidth columns, lie inside the rows: block by block, so that weights stay
// in L1. The few channels of a single block may be there for several neighbouring pixels at a time.
template <bool kSigned, bool kBounded, int kWidth, bool kFull>
void whole(const DepthwiseBytesRow& r, const Block& b, Range x, int64_t together) {
  if (r.packed().in_pairs && together == 1) {
    for (; x.begin + 2 <= x.end; x.begin += 2) inside<kSigned, kBounded, kWidth, true, kFull>(r, b, x.begin);
  }
  for (; x.begin + together <= x.end; x.begin += together)
    inside<kSigned, kBounded, kWidth, false, kFull>(r, b, x.begin);
}

template <bool kSigned, bool kBounded, int kWidth>
void whole(const DepthwiseBytesRow& r, Range x) {
  const int64_t together = byte_pixels(r.c);
  if (together > 1 && r.stride == 1 && r.ldx == r.c && r.ldy == r.c) {
    each_block(r, [&](const Block& b) { whole<kSigned, kBounded, kWidth, true>(r, b, x, together); });
    x.begin += (x.end - x.begin) / together * together;
  }
  each_block(r, [&](const Block& b) {
    if (b.mask == ~__mmask64{0}) {
      whole<kSigned, kBounded, kWidth, true>(r, b, x, 1);
    } else {
      whole<kSigned, kBounded, kWidth, false>(r, b, x, 1);
    }
  });
}

template <bool kSigned, bool kBounded>
void row(const DepthwiseBytesRow& r) {
  const Range x = r.packed().by_rows ? whole_kernels(r) : Range{r.ow, r.ow};
  anywhere<kSigned, kBounded>(r, 0, x.begin);
  if (r.kw == 3) {
    whole<kSigned, kBounded, 3>(r, x);
  } else {
    whole<kSigned, kBounded, 5>(r, x);
  }
  anywhere<kSigned, kBounded>(r, x.end, r.ow);
}

void run(const DepthwiseBytesRow& r) noexcept {
  if (r.bounded) {
    r.x_signed ? row<true, true>(r) : row<false, true>(r);
  } else {
    r.x_signed ? row<true, false>(r) : row<false, false>(r);
  }
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
