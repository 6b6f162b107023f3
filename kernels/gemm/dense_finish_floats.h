#pragma once
// For *_amx.cc files: sums of floats become C, in whole rows of up to 32 columns. Bias by column, residual
// and activation are applied in registers, between the tile products of the next tile.
#include "kernels/gemm/activate.h"
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

// gelu_erf for results that are rounded to bf16, which is off by up to 2e-3: Phi within 5e-5. Beyond 3.9
// it counts as 0 or 1.
inline F32 rough_gelu(F32 x) {
  const F32 most(3.9f), least(-3.9f);
  const F32 z = clip(x, least, most), s = z * z;
  const F32 p =
      vec::horner(s, F32(0.398869395f), F32(-0.0662368685f), F32(9.71377362e-3f), F32(-1.06506643e-3f),
                  F32(8.36135005e-5f), F32(-4.37365316e-6f), F32(1.34464031e-7f), F32(-1.81757054e-9f));
  const F32 y = x * mul_add(z, p, F32(0.5f));
  const __mmask16 none = _mm512_cmp_ps_mask(x, least, _CMP_LT_OQ);
  return _mm512_mask_mov_ps(_mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, most, _CMP_GT_OQ), x), none,
                            _mm512_setzero_ps());
}

// Two vectors of a row. Numbers below 2^-126 become 0, as they do where they are read.
struct PairBf16 {
  static constexpr int64_t kSize = 2;
  static F32 gelu(F32 x) { return rough_gelu(x); }
  static void store(char* c, F32 x, F32 y) {
    _mm512_storeu_si512(c, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x)));
  }
  static void store(char* c, F32 x, F32 y, __mmask32 lanes) {
    _mm512_mask_storeu_epi16(c, lanes, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x)));
  }
};
struct PairF32 {
  static constexpr int64_t kSize = 4;
  static F32 gelu(F32 x) { return vec::gelu(x); }
  static void store(char* c, F32 x, F32 y) {
    _mm512_storeu_ps(c, x);
    _mm512_storeu_ps(c + 64, y);
  }
  static void store(char* c, F32 x, F32 y, __mmask32 lanes) {
    _mm512_mask_storeu_ps(c, static_cast<__mmask16>(lanes), x);
    _mm512_mask_storeu_ps(c + 64, static_cast<__mmask16>(lanes >> 16), y);
  }
};

// F: none is none, relu or clip.
template <class Pair, Act F>
struct FinishPairs {
  Rows c;
  const float *bias, *residual;
  const uint16_t* residual_bf16;
  int64_t ldr;
  F32 low, high;
  explicit FinishPairs(const DenseTile& t)
      : c(t),
        bias(t.epilogue.bias_n),
        residual(t.epilogue.residual),
        residual_bf16(t.epilogue.residual_bf16),
        ldr(t.epilogue.ldr),
        low(-std::numeric_limits<float>::infinity()),
        high(std::numeric_limits<float>::infinity()) {
    const Activation& act = t.epilogue.act;
    if (act.fn == Act::relu) low = F32(0.0f);
    if (act.fn == Act::clip) low = F32(act.a), high = F32(act.b);
  }
  static bool fits(const Epilogue& e) {
    if (e.bias_m) return false;
    return F == Act::none ? e.act.fn <= Act::clip : e.act.fn == F;
  }
  F32 activated(F32 x) const {
    if constexpr (F == Act::none) return clip(x, low, high);
    if constexpr (F == Act::gelu_erf) return Pair::gelu(x);
    return activate<F>(x, 0, 0);
  }

  // Tail: of columns `lanes` only.
  template <bool Tail>
  __attribute__((always_inline)) void run(int64_t row, int64_t col, int64_t rows, __mmask32 lanes,
                                          const std::byte* from) const {
    const __mmask16 first = Tail ? static_cast<__mmask16>(lanes) : __mmask16{0xffff},
                    second = Tail ? static_cast<__mmask16>(lanes >> 16) : __mmask16{0xffff};
    F32 left(0.0f), right(0.0f);
    if (bias) {
      left = _mm512_maskz_loadu_ps(first, bias + col);
      right = _mm512_maskz_loadu_ps(second, bias + col + kLanes);
    }
    auto* sums = reinterpret_cast<const float*>(from);
    for (int64_t i = row; i < row + rows; ++i, sums += 32) {
      char* const to = c.at(i, col * Pair::kSize);
      if (!to) continue;
      F32 x = F32::load_aligned(sums) + left, y = F32::load_aligned(sums + kLanes) + right;
      if (residual || residual_bf16) {
        const int64_t at = (c.offsets ? c.offsets[i] / c.c_stride : i) * ldr + col;
        x += residual_at(residual, residual_bf16, at, first);
        y += residual_at(residual, residual_bf16, at + kLanes, second);
      }
      x = activated(x);
      y = activated(y);
      if constexpr (Tail) {
        Pair::store(to, x, y, lanes);
      } else {
        Pair::store(to, x, y);
      }
    }
  }
  __attribute__((always_inline)) void operator()(int64_t row, int64_t col, int64_t rows,
                                                 const std::byte* from) const {
    run<false>(row, col, rows, ~__mmask32{0}, from);
  }
  static __attribute__((noinline)) void tail(const DenseTile& t, const Part& p, const std::byte* from) {
    const __mmask32 lanes = p.n == 32 ? ~__mmask32{0} : (__mmask32{1} << p.n) - 1;
    FinishPairs(t).run<true>(p.row, p.col, p.m, lanes, from);
  }
};

}  // namespace
}  // namespace skyline::kernels
