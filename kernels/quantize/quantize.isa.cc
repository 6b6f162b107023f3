// Quantization. Clamping comes before rounding (the bounds are integers, so the result is the same), which
// keeps the conversion to int32 in range on every ISA.
#include "kernels/quantize/quantize.h"

#include <math.h>

#include "kernels/base/lanes.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGrain = 8192;  // elements worth a thread

template <class T>
struct Range;
template <>
struct Range<uint8_t> {
  static constexpr float lo = 0, hi = 255;
};
template <>
struct Range<int8_t> {
  static constexpr float lo = -128, hi = 127;
};
template <>
struct Range<uint16_t> {
  static constexpr float lo = 0, hi = 65535;
};
template <>
struct Range<int16_t> {
  static constexpr float lo = -32768, hi = 32767;
};

// saturate(round(v) + zero); NaN gives the least value. zero as float: exact, |zero| <= 65535.
template <class T>
inline I32 saturate(F32 v, F32 zero, I32 zero_int) noexcept {
  const F32 lo = F32(Range<T>::lo) - zero, hi = F32(Range<T>::hi) - zero;
  v = xsimd::select(v > lo, v, lo);
  return round_i32(xsimd::min(v, hi)) + zero_int;
}

template <class T>
inline I32 get_wide(const T* p, int64_t count) noexcept {
  return count == kLanes ? load_wide(p) : load_wide(p, count);
}
inline I32 get_wide(const int32_t* p, int64_t count) noexcept {
  if (count == kLanes) return load(p);
  alignas(64) int32_t lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return I32::load_aligned(lanes);
}
template <class T>
inline void put_narrow(T* p, I32 v, int64_t count) noexcept {
  if (count == kLanes) {
    store_narrow(p, v);
  } else {
    store_narrow(p, v, count);
  }
}

// Calls row(at, channel, n) for pieces with one channel each, or, where inner is 1, for rows of all channels.
template <class F>
inline void for_channels(int64_t outer, int64_t channels, int64_t inner, int threads, F&& row) noexcept {
  if (channels == 1) {  // one run: cut anywhere
    parallel_for(threads, outer * inner, kGrain,
                 [&](int64_t begin, int64_t end) noexcept { row(begin, 0, end - begin); });
    return;
  }
  const int64_t pieces = inner == 1 ? outer : outer * channels, length = inner == 1 ? channels : inner;
  parallel_for(threads, pieces, kGrain / (length + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) row(k * length, inner == 1 ? 0 : k % channels, length);
  });
}

template <class T>
void quantize(const float* x, void* q, const float* scale, const int32_t* zero, int64_t outer,
              int64_t channels, int64_t inner, int threads) noexcept {
  T* out = static_cast<T*>(q);
  const bool last = inner == 1 && channels > 1;
  for_channels(outer, channels, inner, threads, [&](int64_t at, int64_t c, int64_t n) noexcept {
    const F32 s0(scale[c]);
    const I32 z0(zero ? zero[c] : 0);
    const F32 z0_float = xsimd::to_float(z0);
    for_vectors(n, [&](int64_t i, int64_t count) noexcept {
      const F32 v = get(x + at + i, count);
      if (last) {
        const I32 z = zero ? get_wide(zero + i, count) : I32(0);
        put_narrow(out + at + i, saturate<T>(v / get(scale + i, count), xsimd::to_float(z), z), count);
      } else {
        put_narrow(out + at + i, saturate<T>(v / s0, z0_float, z0), count);
      }
    });
  });
}

template <class T>
void dequantize(const void* q, float* x, const float* scale, const int32_t* zero, int64_t outer,
                int64_t channels, int64_t inner, int threads) noexcept {
  const T* in = static_cast<const T*>(q);
  const bool last = inner == 1 && channels > 1;
  for_channels(outer, channels, inner, threads, [&](int64_t at, int64_t c, int64_t n) noexcept {
    const F32 s0(scale[c]);
    const I32 z0(zero ? zero[c] : 0);
    for_vectors(n, [&](int64_t i, int64_t count) noexcept {
      const I32 v = get_wide(in + at + i, count);
      if (last) {
        const I32 z = zero ? get_wide(zero + i, count) : I32(0);
        put(x + at + i, xsimd::to_float(v - z) * get(scale + i, count), count);
      } else {
        put(x + at + i, xsimd::to_float(v - z0) * s0, count);
      }
    });
  });
}

template <class T>
void requantize(const int32_t* a, void* q, const float* multiplier, bool per_channel, int32_t zero,
                int64_t rows, int64_t channels, int threads) noexcept {
  T* out = static_cast<T*>(q);
  const I32 z(zero);
  const F32 z_float = xsimd::to_float(z), m0(multiplier[0]);
  parallel_for(threads, rows, kGrain / (channels + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t r = begin; r < end; ++r) {
      const int32_t* in = a + r * channels;
      for_vectors(channels, [&](int64_t i, int64_t count) noexcept {
        const F32 m = per_channel ? get(multiplier + i, count) : m0;
        const F32 v = xsimd::to_float(get_wide(in + i, count)) * m;
        put_narrow(out + r * channels + i, saturate<T>(v, z_float, z), count);
      });
    }
  });
}

// a * b + c, rounded once even where the ISA has no such instruction: the integers are the same everywhere.
inline F32 fused(F32 a, F32 b, F32 c) noexcept {
#if defined(SKYLINE_ARCH_sse2)
  alignas(64) float x[kLanes], y[kLanes], z[kLanes];
  a.store_aligned(x);
  b.store_aligned(y);
  c.store_aligned(z);
  for (int i = 0; i < kLanes; ++i) z[i] = fmaf(x[i], y[i], z[i]);
  return F32::load_aligned(z);
#else
  return mul_add(a, b, c);
#endif
}

#if defined(SKYLINE_ARCH_avx512)
// The same as saturate, for 64 bytes at a time: packing with saturation bounds what is too small (and makes a
// NaN, which converts to the least integer, the least value). Returns how many it did.
template <class T, class Op>
inline int64_t whole_bytes(const T* u, const T* v, T* y, int64_t n, Op&& op) noexcept {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const F32 most(Range<T>::hi);
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512i q[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const F32 r =
          op(xsimd::to_float(load_wide(u + i + k * 16)), xsimd::to_float(load_wide(v + i + k * 16)));
      q[k] = _mm512_cvtps_epi32(_mm512_min_ps(most, r));
    }
    const __m512i low = _mm512_packs_epi32(q[0], q[1]), high = _mm512_packs_epi32(q[2], q[3]);
    const __m512i bytes =
        std::is_signed_v<T> ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high);
    _mm512_storeu_si512(y + i, _mm512_permutexvar_epi32(order, bytes));
  }
  return i;
}
#endif

template <class T, bool Add>
void binary(const void* a, const void* b, void* y, int64_t n, int step_a, int step_b,
            const void* params) noexcept {
  const QBinaryParams& p = *static_cast<const QBinaryParams*>(params);
  const T *u = static_cast<const T*>(a), *v = static_cast<const T*>(b);
  T* out = static_cast<T*>(y);
  if (n <= 0) return;
  const float zero_a = static_cast<float>(p.a.zero), zero_b = static_cast<float>(p.b.zero),
              zero_y = static_cast<float>(p.y.zero);
  const float ra = p.a.scale / p.y.scale, rb = p.b.scale / p.y.scale;
  const F32 fixed(zero_y - (ra * zero_a + rb * zero_b));
  const F32 ratio(p.a.scale * p.b.scale / p.y.scale);
  const F32 u0(static_cast<float>(u[0])), v0(static_cast<float>(v[0]));
  const auto op = [&](F32 left, F32 right) noexcept {
    if constexpr (Add) return fused(right, F32(rb), fused(left, F32(ra), fixed));
    // The product is exact: under 18 bits.
    return (left - F32(zero_a)) * (right - F32(zero_b)) * ratio + F32(zero_y);
  };
  int64_t done = 0;
#if defined(SKYLINE_ARCH_avx512)
  if (step_a && step_b) done = whole_bytes(u, v, out, n, op);
#endif
  for_vectors(n - done, [&](int64_t at, int64_t count) noexcept {
    const int64_t i = done + at;
    const F32 left = step_a ? xsimd::to_float(get_wide(u + i, count)) : u0;
    const F32 right = step_b ? xsimd::to_float(get_wide(v + i, count)) : v0;
    put_narrow(out + i, saturate<T>(op(left, right), F32(0.0f), I32(0)), count);
  });
}

// Chunks of fixed size, so that even the sign of a zero does not depend on the threads.
void min_max(const float* x, int64_t n, float* smallest, float* largest, int threads) noexcept {
  constexpr int kMaxChunks = 64;
  int64_t chunk = (n + kMaxChunks - 1) / kMaxChunks;
  if (chunk < 16384) chunk = 16384;
  const int64_t chunks = (n + chunk - 1) / chunk;
  float lows[kMaxChunks], highs[kMaxChunks];
  parallel_for(threads, chunks, 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t left = n - k * chunk, count = left < chunk ? left : chunk;
      const float* in = x + k * chunk;
      F32 lo(INFINITY), hi(-INFINITY);
      int64_t i = 0;
      for (; i + kLanes <= count; i += kLanes) {
        const F32 v = load(in + i);
        lo = xsimd::select(v < lo, v, lo);
        hi = xsimd::select(v > hi, v, hi);
      }
      alignas(64) float l[kLanes], h[kLanes];
      lo.store_aligned(l);
      hi.store_aligned(h);
      for (int j = 1; j < kLanes; ++j) {
        l[0] = l[j] < l[0] ? l[j] : l[0];
        h[0] = h[j] > h[0] ? h[j] : h[0];
      }
      for (; i < count; ++i) {
        l[0] = in[i] < l[0] ? in[i] : l[0];
        h[0] = in[i] > h[0] ? in[i] : h[0];
      }
      lows[k] = l[0];
      highs[k] = h[0];
    }
  });
  *smallest = lows[0];
  *largest = highs[0];
  for (int64_t k = 1; k < chunks; ++k) {
    *smallest = lows[k] < *smallest ? lows[k] : *smallest;
    *largest = highs[k] > *largest ? highs[k] : *largest;
  }
}

}  // namespace

constinit const QuantizeTable SKYLINE_TAGGED(quantize) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(quantize)), "quantize"),
    .quantize = {quantize<uint8_t>, quantize<int8_t>, quantize<uint16_t>, quantize<int16_t>},
    .dequantize = {dequantize<uint8_t>, dequantize<int8_t>, dequantize<uint16_t>, dequantize<int16_t>},
    .requantize = {requantize<uint8_t>, requantize<int8_t>},
    .add = {binary<uint8_t, true>, binary<int8_t, true>},
    .mul = {binary<uint8_t, false>, binary<int8_t, false>},
    .min_max = min_max,
    .dequantize_i32 = dequantize<int32_t>,
};

}  // namespace skyline::kernels
