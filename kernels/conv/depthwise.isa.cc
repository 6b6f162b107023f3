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

void run(const DepthwiseRow& d) noexcept {
  Clamp clamp{F32(-__builtin_inff()), F32(__builtin_inff())};
  if (d.epilogue.act.fn == Act::relu) clamp.lo = F32(0.0f);
  if (d.epilogue.act.fn == Act::clip) clamp = {F32(d.epilogue.act.a), F32(d.epilogue.act.b)};
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
  if (d.epilogue.act.fn > Act::clip) activate_rows(d.epilogue.act, d.y, d.ldy, d.ow, d.c);
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
