#pragma once
// Depthwise convolution of one or two output rows; the contract is in depthwise.h. A multiply-add needs one
// load of x, two of which the core does per cycle, so tiles only have to share the load of w: T pixels by one
// vector of channels.
#include "kernels/conv/depthwise.h"
#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

struct Clamp {
  F32 lo, hi;
};

// What x and y hold: f32, or bf16 as its bits. Sums are f32.
template <class In, class Out>
struct Form {
  template <bool Tail>
  static F32 get(const float* p, int n) {
    return Tail ? load_first(p, n) : load(p);
  }
#if defined(SKYLINE_ARCH_avx512)
  template <bool Tail>
  static F32 get(const uint16_t* p, int n) {
    const __m256i halves = _mm256_maskz_loadu_epi16(Tail ? first_lanes(n) : __mmask16{0xffff}, p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
#endif
#if defined(__AVX512BF16__)
  template <bool Tail>
  static void put(uint16_t* p, F32 x, int n) {
    const auto halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    _mm256_mask_storeu_epi16(p, Tail ? first_lanes(n) : __mmask16{0xffff}, halves);
  }
#endif
  template <bool Tail>
  static void put(float* p, F32 x, int n) {
    if constexpr (Tail) {
      store_first(p, x, n);
    } else {
      store(p, x);
    }
  }
  static const In* row(const DepthwiseRow& d, int64_t r) {
    return static_cast<const In*>(d.x[r]);
  }
  static Out* y(const DepthwiseRow& d) {
    return static_cast<Out*>(d.y);
  }

  // A line of T sums becomes that of results from `ox` of `line` on.
  template <int T, bool Tail>
  static __attribute__((always_inline)) void finish(const DepthwiseRow& d, F32 (&acc)[T], int64_t line,
                                                    int64_t ox, int64_t c, int n, const Clamp& clamp) {
    const Epilogue& e = d.epilogue;
    const int64_t pixel = line * d.ow + ox;
    Out* const to = y(d) + pixel * d.ldy + c;
    constexpr bool kHalves = sizeof(In) == 2 || sizeof(Out) == 2;
    if (e.residual) {
      const float* residual = e.residual + pixel * e.ldr + c;
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) acc[t] += get<Tail>(residual + t * e.ldr, n);
    }
    if constexpr (kHalves) {
      if (e.residual_bf16) {
        const uint16_t* residual = e.residual_bf16 + pixel * e.ldr + c;
        for (int t = 0; t < T; ++t) acc[t] += get<Tail>(residual + t * e.ldr, n);
      }
    }
    if constexpr (sizeof(Out) == 2) {
      if (e.act.fn > Act::clip) activate_sums(e.act, acc, T);
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) put<Tail>(to + t * d.ldy, clip(acc[t], clamp.lo, clamp.hi), n);
  }
  static __attribute__((noinline)) void activate_sums(Activation act, F32* acc, int count) {
    activate_rows(act, reinterpret_cast<float*>(acc), kLanes, count, kLanes);
  }
};

// T pixels from ox on by V vectors of channels from c on; a Tail has one vector of n channels. Kernel columns
// [k0, k1) are inside the row.
template <class F, int T, int V, bool Tail>
inline void tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, int64_t k0, int64_t k1,
                 const Clamp& clamp) {
  static_assert(!Tail || V == 1);
  const int64_t step = d.stride * d.ldx, tap = d.dilation * d.ldx;
  const int64_t x0 = (ox * d.stride - d.pad) * d.ldx + c;
  F32 acc[V][T];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    acc[v][0] = d.epilogue.bias_n ? F::template get<Tail>(d.epilogue.bias_n + c + v * kLanes, n) : F32(0.0f);
#pragma GCC unroll 8
    for (int t = 1; t < T; ++t) acc[v][t] = acc[v][0];
  }
  for (int64_t r = 0; r < d.rows; ++r) {
    if (!d.x[r]) continue;
    const auto* x = F::row(d, r) + x0 + k0 * tap;
    const float* w = d.w + (r * d.kw + k0) * d.w_stride + c;
    for (int64_t k = k0; k < k1; ++k, x += tap, w += d.w_stride) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const F32 vw = load(w + v * kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t)
          acc[v][t] = mul_add(F::template get<Tail>(x + t * step + v * kLanes, n), vw, acc[v][t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) F::template finish<T, Tail>(d, acc[v], 0, ox, c + v * kLanes, n, clamp);
}

template <class F, int T, int V>
inline void pixels(const DepthwiseRow& d, int64_t ox, int64_t k0, int64_t k1, const Clamp& clamp) {
  int64_t c = 0;
  for (; c + V * kLanes <= d.c; c += V * kLanes) tile<F, T, V, false>(d, ox, c, 0, k0, k1, clamp);
  if constexpr (V > 1) {
    for (; c + kLanes <= d.c; c += kLanes) tile<F, T, 1, false>(d, ox, c, 0, k0, k1, clamp);
  }
  if (c < d.c) tile<F, T, 1, true>(d, ox, c, static_cast<int>(d.c - c), k0, k1, clamp);
}

// The windows that the compiler knows: a row of w stays in registers, and a value of x is loaded once for all
// taps that meet it. T pixels by one vector of n channels; Edge: some columns may be outside the row.
// Longer tiles read more streams than the prefetchers follow: of 4, 7 and 14 pixels on a Xeon (model 143), 7
// was best for a window of 3, 14 for one of 5.
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
template <int Window, int Stride>
constexpr int kWindowTile = Window == 5 && Stride == 1 ? 14 : 7;
#else
template <int Window, int Stride>
constexpr int kWindowTile = 7;
#endif
alignas(64) constexpr float kZeros[kLanes] = {};

template <class F, int T, int Window, int Stride, bool Edge, bool Tail>
void window_tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, const Clamp& clamp) {
  constexpr int kColumns = (T - 1) * Stride + Window;
  const int64_t first = ox * Stride - d.pad;
  F32 acc[T];
  acc[0] = d.epilogue.bias_n ? F::template get<Tail>(d.epilogue.bias_n + c, n) : F32(0.0f);
#pragma GCC unroll 16
  for (int t = 1; t < T; ++t) acc[t] = acc[0];
  for (int64_t r = 0; r < d.rows; ++r) {
    if (!d.x[r]) continue;
    const auto* x = F::row(d, r) + first * d.ldx + c;
    F32 w[Window];
#pragma GCC unroll 5
    for (int k = 0; k < Window; ++k) w[k] = load(d.w + (r * Window + k) * d.w_stride + c);
#pragma GCC unroll 32
    for (int col = 0; col < kColumns; ++col, x += d.ldx) {
      const bool inside = !Edge || static_cast<uint64_t>(first + col) < static_cast<uint64_t>(d.iw);
      const F32 vx = F::template get<Tail>(inside ? x : reinterpret_cast<decltype(x)>(kZeros), n);
#pragma GCC unroll 5
      for (int k = col % Stride; k < Window; k += Stride) {
        const int t = (col - k) / Stride;
        if (col >= k && t < T) acc[t] = mul_add(vx, w[k], acc[t]);
      }
    }
  }
  F::template finish<T, Tail>(d, acc, 0, ox, c, n, clamp);
}

#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
// The same for two lines and a window of 3: a value of x is loaded once for both.
constexpr int kPairTile = 7;
template <class F, int T, bool Edge, bool Tail>
void pair_tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, const Clamp& clamp) {
  const int64_t first = ox - d.pad;
  F32 acc[2][T], w[3][3];
  acc[0][0] = d.epilogue.bias_n ? F::template get<Tail>(d.epilogue.bias_n + c, n) : F32(0.0f);
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) acc[0][t] = acc[1][t] = acc[0][0];
#pragma GCC unroll 3
  for (int r = 0; r < 3; ++r) {
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) w[r][k] = load(d.w + (r * 3 + k) * d.w_stride + c);
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    if (!d.x[r]) continue;
    const auto* x = F::row(d, r) + first * d.ldx + c;
#pragma GCC unroll 16
    for (int col = 0; col < T + 2; ++col, x += d.ldx) {
      const bool inside = !Edge || static_cast<uint64_t>(first + col) < static_cast<uint64_t>(d.iw);
      const F32 vx = F::template get<Tail>(inside ? x : reinterpret_cast<decltype(x)>(kZeros), n);
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) {
        const int t = col - k;
        if (t < 0 || t >= T) continue;
        if (r < 3) acc[0][t] = mul_add(vx, w[r][k], acc[0][t]);
        if (r > 0) acc[1][t] = mul_add(vx, w[r - 1][k], acc[1][t]);
      }
    }
  }
  F::template finish<T, Tail>(d, acc[0], 0, ox, c, n, clamp);
  F::template finish<T, Tail>(d, acc[1], 1, ox, c, n, clamp);
}
#endif

using WindowTile = void (*)(const DepthwiseRow&, int64_t ox, int64_t c, int n, const Clamp&);
// The functions for tiles of up to Most pixels.
template <int Most>
struct WindowTiles {
  static constexpr int kMost = Most;
  WindowTile inner[Most], edge[Most], tail[Most];
};
template <class F, int Window, int Stride, int T, int Most>
constexpr void fill(WindowTiles<Most>& tiles) {
  tiles.inner[T - 1] = window_tile<F, T, Window, Stride, false, false>;
  tiles.edge[T - 1] = window_tile<F, T, Window, Stride, true, false>;
  tiles.tail[T - 1] = window_tile<F, T, Window, Stride, true, true>;
  if constexpr (T > 1) fill<F, Window, Stride, T - 1>(tiles);
}
template <class F, int Window, int Stride>
constexpr auto make_tiles() {
  constexpr int kMost = kWindowTile<Window, Stride>;
  WindowTiles<kMost> tiles{};
  fill<F, Window, Stride, kMost>(tiles);
  return tiles;
}
template <class F, int Window, int Stride>
constexpr auto kTiles = make_tiles<F, Window, Stride>();

template <int Most>
void run_window(const DepthwiseRow& d, const Clamp& clamp, const WindowTiles<Most>& table, int64_t window) {
  const int64_t tiles = (d.ow + Most - 1) / Most;
  for (int64_t i = 0, ox = 0; i < tiles; ++i) {
    const int64_t next = d.ow * (i + 1) / tiles, t = next - ox - 1;
    const int64_t first = ox * d.stride - d.pad, last = (next - 1) * d.stride - d.pad + window;
    const bool inside = first >= 0 && last <= d.iw;
    const WindowTile whole = inside ? table.inner[t] : table.edge[t];
    int64_t c = 0;
    for (; c + kLanes <= d.c; c += kLanes) whole(d, ox, c, kLanes, clamp);
    if (c < d.c) table.tail[t](d, ox, c, static_cast<int>(d.c - c), clamp);
    ox = next;
  }
}

#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
template <class F, int T>
constexpr void fill_pairs(WindowTiles<kPairTile>& tiles) {
  tiles.inner[T - 1] = pair_tile<F, T, false, false>;
  tiles.edge[T - 1] = pair_tile<F, T, true, false>;
  tiles.tail[T - 1] = pair_tile<F, T, true, true>;
  if constexpr (T > 1) fill_pairs<F, T - 1>(tiles);
}
template <class F>
constexpr auto make_pairs() {
  WindowTiles<kPairTile> tiles{};
  fill_pairs<F, kPairTile>(tiles);
  return tiles;
}
template <class F>
constexpr auto kPairs = make_pairs<F>();
#endif

template <class F>
void run_any(const DepthwiseRow& d, const Clamp& clamp) {
  const int64_t reach = (d.kw - 1) * d.dilation;
  for (int64_t ox = 0; ox < d.ow;) {
    const int64_t x = ox * d.stride - d.pad;
    if (x >= 0 && x + reach < d.iw) {
      // Pixels from here on whose columns are all inside.
      const int64_t inside = (d.iw - 1 - reach - x) / d.stride + 1;
      const int64_t end = ox + inside < d.ow ? ox + inside : d.ow;
      for (; ox + 8 <= end; ox += 8) pixels<F, 8, 1>(d, ox, 0, d.kw, clamp);
      for (; ox + 4 <= end; ox += 4) pixels<F, 4, 2>(d, ox, 0, d.kw, clamp);
      for (; ox + 2 <= end; ox += 2) pixels<F, 2, 4>(d, ox, 0, d.kw, clamp);
      for (; ox < end; ++ox) pixels<F, 1, 4>(d, ox, 0, d.kw, clamp);
      continue;
    }
    int64_t k0 = x < 0 ? (-x + d.dilation - 1) / d.dilation : 0;
    int64_t k1 = x < d.iw ? (d.iw - 1 - x) / d.dilation + 1 : 0;
    k1 = k1 < d.kw ? k1 : d.kw;
    k0 = k0 < k1 ? k0 : k1;
    pixels<F, 1, 4>(d, ox, k0, k1, clamp);
    ++ox;
  }
}

template <class F>
void run_line(const DepthwiseRow& d, const Clamp& clamp) {
  if (d.dilation == 1 && d.kw == 3 && d.stride == 1) {
    run_window(d, clamp, kTiles<F, 3, 1>, 3);
  } else if (d.dilation == 1 && d.kw == 3 && d.stride == 2) {
    run_window(d, clamp, kTiles<F, 3, 2>, 3);
  } else if (d.dilation == 1 && d.kw == 5 && d.stride <= 2) {
    d.stride == 1 ? run_window(d, clamp, kTiles<F, 5, 1>, 5) : run_window(d, clamp, kTiles<F, 5, 2>, 5);
  } else {
    run_any<F>(d, clamp);
  }
}

template <class In, class Out>
void run_form(const DepthwiseRow& d) noexcept {
  using F = Form<In, Out>;
  Clamp clamp{F32(-__builtin_inff()), F32(__builtin_inff())};
  if (d.epilogue.act.fn == Act::relu) clamp.lo = F32(0.0f);
  if (d.epilogue.act.fn == Act::clip) clamp = {F32(d.epilogue.act.a), F32(d.epilogue.act.b)};
  bool paired = false;
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
  paired = d.lines == 2 && d.rows == 3 && d.kw == 3 && d.stride == 1 && d.row_step == 1 && d.dilation == 1;
  if (paired) run_window(d, clamp, kPairs<F>, 3);
#endif
  if (!paired) {
    DepthwiseRow line = d;
    for (int64_t i = 0; i < d.lines; ++i) {
      run_line<F>(line, clamp);
      line.x += d.row_step;
      line.y = F::y(line) + d.ow * d.ldy;
      if (line.epilogue.residual) line.epilogue.residual += d.ow * d.epilogue.ldr;
      if (line.epilogue.residual_bf16) line.epilogue.residual_bf16 += d.ow * d.epilogue.ldr;
    }
  }
  if constexpr (sizeof(Out) == 4) {
    if (d.epilogue.act.fn > Act::clip) activate_rows(d.epilogue.act, F::y(d), d.ldy, d.lines * d.ow, d.c);
  }
}

}  // namespace
}  // namespace skyline::kernels
