// Depthwise convolution of one output row; the contract is in depthwise.h. A multiply-add needs one load of
// x, two of which the core does per cycle, so tiles only have to share the load of w: T pixels by one vector
// of channels.
#include "kernels/conv/depthwise.h"

#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
constexpr std::string_view kName = "depthwise_f32_avx512";
constexpr IsaSet kNeeds = kIsaAvx512;
#elif defined(SKYLINE_ARCH_avx2)
constexpr std::string_view kName = "depthwise_f32_avx2";
constexpr IsaSet kNeeds = kIsaAvx2;
#elif defined(SKYLINE_ARCH_neon)
constexpr std::string_view kName = "depthwise_f32_neon";
constexpr IsaSet kNeeds = kIsaNeon;
#else
constexpr std::string_view kName = "depthwise_f32_sse2";
constexpr IsaSet kNeeds = kIsaSse2;
#endif

struct Clamp {
  F32 lo, hi;
};

// T pixels from ox on by V vectors of channels from c on; a Tail has one vector of n channels. Kernel columns
// [k0, k1) are inside the row.
template <int T, int V, bool Tail>
inline void tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, int64_t k0, int64_t k1,
                 const Clamp& clamp) {
  static_assert(!Tail || V == 1);
  const auto get = [n](const float* p) { return Tail ? load_first(p, n) : load(p); };
  const int64_t step = d.stride * d.ldx, tap = d.dilation * d.ldx;
  const int64_t x0 = (ox * d.stride - d.pad) * d.ldx + c;
  const Epilogue& e = d.epilogue;
  F32 acc[T][V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    acc[0][v] = e.bias_n ? get(e.bias_n + c + v * kLanes) : F32(0.0f);
#pragma GCC unroll 8
    for (int t = 1; t < T; ++t) acc[t][v] = acc[0][v];
  }
  for (int64_t r = 0; r < d.rows; ++r) {
    if (!d.x[r]) continue;
    const float* x = d.x[r] + x0 + k0 * tap;
    const float* w = d.w + (r * d.kw + k0) * d.w_stride + c;
    for (int64_t k = k0; k < k1; ++k, x += tap, w += d.w_stride) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const F32 vw = load(w + v * kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) acc[t][v] = mul_add(get(x + t * step + v * kLanes), vw, acc[t][v]);
      }
    }
  }
  float* y = d.y + ox * d.ldy + c;
  const float* residual = e.residual ? e.residual + ox * e.ldr + c : nullptr;
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      if (residual) acc[t][v] += get(residual + t * e.ldr + v * kLanes);
      const F32 out = clip(acc[t][v], clamp.lo, clamp.hi);
      if constexpr (Tail) {
        store_first(y + t * d.ldy, out, n);
      } else {
        store(y + t * d.ldy + v * kLanes, out);
      }
    }
  }
}

template <int T, int V>
inline void pixels(const DepthwiseRow& d, int64_t ox, int64_t k0, int64_t k1, const Clamp& clamp) {
  int64_t c = 0;
  for (; c + V * kLanes <= d.c; c += V * kLanes) tile<T, V, false>(d, ox, c, 0, k0, k1, clamp);
  if constexpr (V > 1) {
    for (; c + kLanes <= d.c; c += kLanes) tile<T, 1, false>(d, ox, c, 0, k0, k1, clamp);
  }
  if (c < d.c) tile<T, 1, true>(d, ox, c, static_cast<int>(d.c - c), k0, k1, clamp);
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

template <int T, int Window, int Stride, bool Edge, bool Tail>
void window_tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, const Clamp& clamp) {
  constexpr int kColumns = (T - 1) * Stride + Window;
  const auto get = [n](const float* p) { return Tail ? load_first(p, n) : load(p); };
  const Epilogue& e = d.epilogue;
  const int64_t first = ox * Stride - d.pad;
  F32 acc[T];
  acc[0] = e.bias_n ? get(e.bias_n + c) : F32(0.0f);
#pragma GCC unroll 16
  for (int t = 1; t < T; ++t) acc[t] = acc[0];
  for (int64_t r = 0; r < d.rows; ++r) {
    if (!d.x[r]) continue;
    const float* x = d.x[r] + first * d.ldx + c;
    F32 w[Window];
#pragma GCC unroll 5
    for (int k = 0; k < Window; ++k) w[k] = load(d.w + (r * Window + k) * d.w_stride + c);
#pragma GCC unroll 32
    for (int col = 0; col < kColumns; ++col, x += d.ldx) {
      const bool inside = !Edge || static_cast<uint64_t>(first + col) < static_cast<uint64_t>(d.iw);
      const F32 vx = get(inside ? x : kZeros);
#pragma GCC unroll 5
      for (int k = col % Stride; k < Window; k += Stride) {
        const int t = (col - k) / Stride;
        if (col >= k && t < T) acc[t] = mul_add(vx, w[k], acc[t]);
      }
    }
  }
  float* y = d.y + ox * d.ldy + c;
  const float* residual = e.residual ? e.residual + ox * e.ldr + c : nullptr;
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    if (residual) acc[t] += get(residual + t * e.ldr);
    const F32 out = clip(acc[t], clamp.lo, clamp.hi);
    if constexpr (Tail) {
      store_first(y + t * d.ldy, out, n);
    } else {
      store(y + t * d.ldy, out);
    }
  }
}

#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
// The same for two lines and a window of 3: a value of x is loaded once for both.
constexpr int kPairTile = 7;
template <int T, bool Edge, bool Tail>
void pair_tile(const DepthwiseRow& d, int64_t ox, int64_t c, int n, const Clamp& clamp) {
  const auto get = [n](const float* p) { return Tail ? load_first(p, n) : load(p); };
  const Epilogue& e = d.epilogue;
  const int64_t first = ox - d.pad;
  F32 acc[2][T], w[3][3];
  acc[0][0] = e.bias_n ? get(e.bias_n + c) : F32(0.0f);
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
    const float* x = d.x[r] + first * d.ldx + c;
#pragma GCC unroll 16
    for (int col = 0; col < T + 2; ++col, x += d.ldx) {
      const bool inside = !Edge || static_cast<uint64_t>(first + col) < static_cast<uint64_t>(d.iw);
      const F32 vx = get(inside ? x : kZeros);
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) {
        const int t = col - k;
        if (t < 0 || t >= T) continue;
        if (r < 3) acc[0][t] = mul_add(vx, w[r][k], acc[0][t]);
        if (r > 0) acc[1][t] = mul_add(vx, w[r - 1][k], acc[1][t]);
      }
    }
  }
#pragma GCC unroll 2
  for (int line = 0; line < 2; ++line) {
    float* y = d.y + (line * d.ow + ox) * d.ldy + c;
    const float* residual = e.residual ? e.residual + (line * d.ow + ox) * e.ldr + c : nullptr;
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      if (residual) acc[line][t] += get(residual + t * e.ldr);
      const F32 out = clip(acc[line][t], clamp.lo, clamp.hi);
      if constexpr (Tail) {
        store_first(y + t * d.ldy, out, n);
      } else {
        store(y + t * d.ldy, out);
      }
    }
  }
}
#endif

using WindowTile = void (*)(const DepthwiseRow&, int64_t ox, int64_t c, int n, const Clamp&);
// The functions for tiles of up to Most pixels.
template <int Most>
struct WindowTiles {
  static constexpr int kMost = Most;
  WindowTile inner[Most], edge[Most], tail[Most];
};
template <int Window, int Stride, int T, int Most>
constexpr void fill(WindowTiles<Most>& tiles) {
  tiles.inner[T - 1] = window_tile<T, Window, Stride, false, false>;
  tiles.edge[T - 1] = window_tile<T, Window, Stride, true, false>;
  tiles.tail[T - 1] = window_tile<T, Window, Stride, true, true>;
  if constexpr (T > 1) fill<Window, Stride, T - 1>(tiles);
}
template <int Window, int Stride>
constexpr auto make_tiles() {
  constexpr int kMost = kWindowTile<Window, Stride>;
  WindowTiles<kMost> tiles{};
  fill<Window, Stride, kMost>(tiles);
  return tiles;
}
template <int Window, int Stride>
constexpr auto kTiles = make_tiles<Window, Stride>();

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
template <int T>
constexpr void fill_pairs(WindowTiles<kPairTile>& tiles) {
  tiles.inner[T - 1] = pair_tile<T, false, false>;
  tiles.edge[T - 1] = pair_tile<T, true, false>;
  tiles.tail[T - 1] = pair_tile<T, true, true>;
  if constexpr (T > 1) fill_pairs<T - 1>(tiles);
}
constexpr auto make_pairs() {
  WindowTiles<kPairTile> tiles{};
  fill_pairs<kPairTile>(tiles);
  return tiles;
}
constexpr auto kPairs = make_pairs();
#endif

void run_any(const DepthwiseRow& d, const Clamp& clamp) {
  const int64_t reach = (d.kw - 1) * d.dilation;
  for (int64_t ox = 0; ox < d.ow;) {
    const int64_t x = ox * d.stride - d.pad;
    if (x >= 0 && x + reach < d.iw) {
      // Pixels from here on whose columns are all inside.
      const int64_t inside = (d.iw - 1 - reach - x) / d.stride + 1;
      const int64_t end = ox + inside < d.ow ? ox + inside : d.ow;
      for (; ox + 8 <= end; ox += 8) pixels<8, 1>(d, ox, 0, d.kw, clamp);
      for (; ox + 4 <= end; ox += 4) pixels<4, 2>(d, ox, 0, d.kw, clamp);
      for (; ox + 2 <= end; ox += 2) pixels<2, 4>(d, ox, 0, d.kw, clamp);
      for (; ox < end; ++ox) pixels<1, 4>(d, ox, 0, d.kw, clamp);
      continue;
    }
    int64_t k0 = x < 0 ? (-x + d.dilation - 1) / d.dilation : 0;
    int64_t k1 = x < d.iw ? (d.iw - 1 - x) / d.dilation + 1 : 0;
    k1 = k1 < d.kw ? k1 : d.kw;
    k0 = k0 < k1 ? k0 : k1;
    pixels<1, 4>(d, ox, k0, k1, clamp);
    ++ox;
  }
}

void run_line(const DepthwiseRow& d, const Clamp& clamp) {
  if (d.dilation == 1 && d.kw == 3 && d.stride == 1) {
    run_window(d, clamp, kTiles<3, 1>, 3);
  } else if (d.dilation == 1 && d.kw == 3 && d.stride == 2) {
    run_window(d, clamp, kTiles<3, 2>, 3);
  } else if (d.dilation == 1 && d.kw == 5 && d.stride <= 2) {
    d.stride == 1 ? run_window(d, clamp, kTiles<5, 1>, 5) : run_window(d, clamp, kTiles<5, 2>, 5);
  } else {
    run_any(d, clamp);
  }
}

void run(const DepthwiseRow& d) noexcept {
  Clamp clamp{F32(-__builtin_inff()), F32(__builtin_inff())};
  if (d.epilogue.act.fn == Act::relu) clamp.lo = F32(0.0f);
  if (d.epilogue.act.fn == Act::clip) clamp = {F32(d.epilogue.act.a), F32(d.epilogue.act.b)};
  bool paired = false;
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
  paired = d.lines == 2 && d.rows == 3 && d.kw == 3 && d.stride == 1 && d.row_step == 1 && d.dilation == 1;
  if (paired) run_window(d, clamp, kPairs, 3);
#endif
  if (!paired) {
    DepthwiseRow line = d;
    for (int64_t i = 0; i < d.lines; ++i) {
      run_line(line, clamp);
      line.x += d.row_step;
      line.y += d.ow * d.ldy;
      if (line.epilogue.residual) line.epilogue.residual += d.ow * d.epilogue.ldr;
    }
  }
  if (d.epilogue.act.fn > Act::clip) activate_rows(d.epilogue.act, d.y, d.ldy, d.lines * d.ow, d.c);
}

void finish(const float* sums, int64_t m, int64_t n, void* c, int64_t c_stride, DType out,
            const Epilogue& e) noexcept {
  for (int64_t i = 0; i < m; ++i, sums += n) {
    char* row = static_cast<char*>(c) + i * c_stride;
    for (int64_t j = 0; j < n; j += kLanes) {
      const int lanes = n - j < kLanes ? static_cast<int>(n - j) : kLanes;
      store_integers(row, out, e, xsimd::to_int(load_first(sums + j, lanes)), j, lanes);
    }
  }
  if (out == DType::f32 && e.act.fn != Act::none)
    activate_rows(e.act, static_cast<float*>(c), c_stride / 4, m, n);
}

}  // namespace

constinit const DepthwiseKernel SKYLINE_TAGGED(depthwise_f32) = {
    {.name = kName, .op = "depthwise", .needs = kNeeds, .weights = DType::f32, .acc = DType::f32},
    run,
    finish};

}  // namespace skyline::kernels
