// A few rows of f32 by weights of 16, 8 and 4 bits, widened in registers. The contract is in gemv.h.
#include "kernels/gemm/gemv.h"

#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

// Each: kLanes weights as f32. `halves`: whether a row holds two of K, the first in the low half of a byte.
struct Bf16 {
  static constexpr bool kHalves = false;
  static constexpr int kBytes = 2;
  static F32 load(const std::byte* p) {
#if defined(SKYLINE_ARCH_avx512)
    const __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
#elif defined(SKYLINE_ARCH_avx2)
    const __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
#elif defined(SKYLINE_ARCH_neon)
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p)), 16));
#else
    const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), x));
#endif
  }
};

#if !defined(SKYLINE_ARCH_sse2)
struct F16 {
  static constexpr bool kHalves = false;
  static constexpr int kBytes = 2;
  static F32 load(const std::byte* p) {
#if defined(SKYLINE_ARCH_avx512)
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(SKYLINE_ARCH_avx2)
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
#endif
  }
};
#endif

// kLanes bytes with their signs.
inline I32 signed_bytes(const std::byte* p) {
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_avx2)
  return load_wide(reinterpret_cast<const int8_t*>(p));
#elif defined(SKYLINE_ARCH_neon)
  int32_t four;
  memcpy(&four, p, 4);
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
#else
  int32_t four;
  memcpy(&four, p, 4);
  __m128i x = _mm_cvtsi32_si128(four);
  x = _mm_unpacklo_epi8(x, x);
  return _mm_srai_epi32(_mm_unpacklo_epi16(x, x), 24);
#endif
}

struct I8 {
  static constexpr bool kHalves = false;
  static constexpr int kBytes = 1;
  static F32 load(const std::byte* p) { return xsimd::to_float(signed_bytes(p)); }
};

struct I4 {
  static constexpr bool kHalves = true;
  static constexpr int kBytes = 1;
  static F32 low(const I32& x) { return xsimd::to_float((x << 28) >> 28); }
  static F32 high(const I32& x) { return xsimd::to_float(x >> 4); }
};

template <int M>
struct Sums {
  F32 v[M][kGemvVectors];
  Sums() {
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kGemvVectors; ++j) v[i][j] = F32(0.0f);
    }
  }
};

template <int M>
inline void add(Sums<M>& s, int j, const float* x, int64_t ldx, const F32& w) {
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) s.v[i][j] = mul_add(F32(x[i * ldx]), w, s.v[i][j]);
}

// Two rows of K into sums of their own: twice as many chains of multiply-adds.
template <class W, int M>
inline const std::byte* add_pair(const GemvPanel& t, const float* x, const std::byte* w, Sums<M>& even,
                                 Sums<M>& odd) {
  constexpr int kRow = kGemvVectors * kLanes * W::kBytes;
#pragma GCC unroll 4
  for (int j = 0; j < kGemvVectors; ++j) {
    const std::byte* const at = w + j * kLanes * W::kBytes;
    if constexpr (W::kHalves) {
      const I32 both = signed_bytes(at);
      add(even, j, x, t.ldx, W::low(both));
      add(odd, j, x + 1, t.ldx, W::high(both));
    } else {
      add(even, j, x, t.ldx, W::load(at));
      add(odd, j, x + 1, t.ldx, W::load(at + kRow));
    }
  }
  return w + (W::kHalves ? kRow : 2 * kRow);
}
template <class W, int M>
inline const std::byte* add_last(const GemvPanel& t, const float* x, const std::byte* w, Sums<M>& even) {
  constexpr int kRow = kGemvVectors * kLanes * W::kBytes;
#pragma GCC unroll 4
  for (int j = 0; j < kGemvVectors; ++j) {
    const std::byte* const at = w + j * kLanes * W::kBytes;
    if constexpr (W::kHalves) {
      add(even, j, x, t.ldx, W::low(signed_bytes(at)));
    } else {
      add(even, j, x, t.ldx, W::load(at));
    }
  }
  return w + kRow;
}

// The sums of a block become part of the total.
template <int M>
inline void close_block(const GemvPanel& t, int64_t b, const float* x, int64_t k, Sums<M>& sums, Sums<M>& odd,
                        float (*total)[kGemvVectors * kLanes]) {
  for (int i = 0; i < M; ++i) {
    float all = 0;
    for (int64_t kk = 0; t.shift && kk < k; ++kk) all += x[i * t.ldx + kk];
    for (int j = 0; j < kGemvVectors; ++j) {
      float* const to = total[i] + j * kLanes;
      const F32 sum = sums.v[i][j] + odd.v[i][j];
      F32 out = F32::load_aligned(to);
      out = t.scale ? mul_add(sum, load(t.scale + b * t.ld_scale + j * kLanes), out) : out + sum;
      if (t.shift) out = mul_add(F32(all), load(t.shift + b * t.ld_scale + j * kLanes), out);
      out.store_aligned(to);
    }
  }
}

inline void store_row(const GemvPanel& t, int64_t i, const float* total) {
  const Epilogue& e = t.epilogue;
  for (int64_t j = 0; j < t.n; j += kLanes) {
    const int n = static_cast<int>(t.n - j < kLanes ? t.n - j : kLanes);
    F32 x = F32::load_aligned(total + j);
    if (e.bias_n) x += load_first(e.bias_n + j, n);
    if (e.residual) x += load_first(e.residual + i * e.ldr + j, n);
    store_first(t.y + i * t.ldy + j, x, n);
  }
}

template <class W, int M>
void rows(const GemvPanel& t) {
  alignas(64) float total[M][kGemvVectors * kLanes] = {};
  const std::byte* w = t.w;
  for (int64_t k = 0, b = 0; k < t.k; k += t.block, ++b) {
    const int64_t end = t.k - k < t.block ? t.k : k + t.block;
    Sums<M> even, odd;
    int64_t kk = k;
    for (; kk + 2 <= end; kk += 2) w = add_pair<W, M>(t, t.x + kk, w, even, odd);
    if (kk < end) w = add_last<W, M>(t, t.x + kk, w, even);
    close_block<M>(t, b, t.x + k, end - k, even, odd, total);
  }
  for (int i = 0; i < M; ++i) store_row(t, i, total[i]);
}

// Levels of 16 registers take two rows at a time: the second time the panel comes from L2.
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
constexpr int kMost = 4;
#else
constexpr int kMost = 2;
#endif

template <class W>
void run(const GemvPanel& all) noexcept {
  for (int64_t row = 0; row < all.m; row += kMost) {
    GemvPanel t = all;
    t.m = all.m - row < kMost ? all.m - row : kMost;
    t.x += row * t.ldx;
    t.y += row * t.ldy;
    if (t.epilogue.residual) t.epilogue.residual += row * t.epilogue.ldr;
    if (t.m == 1) rows<W, 1>(t);
    if (t.m == 2) rows<W, 2>(t);
    if constexpr (kMost == 4) {
      if (t.m == 3) rows<W, 3>(t);
      if (t.m == 4) rows<W, 4>(t);
    }
  }
  activate_rows(all.epilogue.act, all.y, all.ldy, all.m, all.n);
}

constexpr GemvKernel row(std::string_view name, DType weights, GemvFn fn) {
  return {{.name = name,
           .op = "gemv",
           .needs = kLevelBit,
           .in = DType::f32,
           .weights = weights,
           .acc = DType::f32,
           .out = DType::f32},
          fn,
          kLanes};
}

}  // namespace

constinit const GemvKernel SKYLINE_TAGGED(gemv)[] = {
    row("gemv_bf16_" SKYLINE_TEXT(SKYLINE_ARCH), DType::bf16, run<Bf16>),
    row("gemv_i8_" SKYLINE_TEXT(SKYLINE_ARCH), DType::i8, run<I8>),
    row("gemv_i4_" SKYLINE_TEXT(SKYLINE_ARCH), DType::i4, run<I4>),
#if !defined(SKYLINE_ARCH_sse2)
    row("gemv_f16_" SKYLINE_TEXT(SKYLINE_ARCH), DType::f16, run<F16>),
#endif
};

}  // namespace skyline::kernels
