// Direct convolution to few channels: a sum of products along the input instead of a vector of channels, of
// which most lanes would be empty. The contract is in direct.h.
#include "kernels/conv/direct.h"
#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
constexpr int kSums = 24, kMostColumns = 8;
#else
constexpr int kSums = 12, kMostColumns = 4;
#endif

inline float total(const F32& v) {
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_reduce_add_ps(v);
#else
  return sum_lanes(v);
#endif
}

// P pixels by N channels.
template <int P, int N>
struct Sums {
  F32 acc[P][N];

  Sums() {
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] = F32(0.0f);
    }
  }
  template <class Get>
  void step(const float* x, int64_t pixel, const float* w, int64_t row, Get&& get) {
    F32 vw[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) vw[j] = get(w + j * row);
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) {
      const F32 vx = get(x + i * pixel);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] = mul_add(vx, vw[j], acc[i][j]);
    }
  }
  // `count` values of each pixel and of each row of w.
  void add(const float* x, int64_t pixel, const float* w, int64_t row, int64_t count) {
    int64_t k = 0;
    for (; k + kLanes <= count; k += kLanes)
      step(x + k, pixel, w + k, row, [](const float* p) { return load(p); });
    if (const int rest = static_cast<int>(count - k))
      step(x + k, pixel, w + k, row, [rest](const float* p) { return load_first(p, rest); });
  }
  void finish(const DirectLine& d, int64_t first) const {
    const Epilogue& e = d.epilogue;
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) {
      float* y = d.y + (first + i) * d.ldy;
      const float* residual = e.residual ? e.residual + (first + i) * e.ldr : nullptr;
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        float sum = total(acc[i][j]);
        if (e.bias_n) sum += e.bias_n[j];
        if (residual) sum += residual[j];
        y[j] = sum;
      }
    }
  }
};

template <int P, int N>
void tile(const DirectLine& d, int64_t first) {
  const int64_t row = dots_row(d.taps * d.steps);
  const float* w = d.w;
  Sums<P, N> sums;
  for (int64_t r = 0; r < d.lines; ++r, w += N * row) {
    if (!d.x[r]) continue;
    const float* x = d.x[r] + d.x_offset + first * d.pixel;
    for (int64_t tap = 0; tap < d.taps; ++tap)
      sums.add(x + tap * d.tap_step, d.pixel, w + tap * d.steps, row, d.steps);
  }
  sums.finish(d, first);
}

template <int N>
void line(const DirectLine& d) {
  constexpr int kPixels = kSums / N < 8 ? kSums / N : 8;
  int64_t first = 0;
  for (; first + kPixels <= d.pixels; first += kPixels) tile<kPixels, N>(d, first);
  for (; first < d.pixels; ++first) tile<1, N>(d, first);
}

template <int N = 1>
void run_n(const DirectLine& d) {
  if constexpr (N < kMostColumns) {
    if (d.n > N) return run_n<N + 1>(d);
  }
  line<N>(d);
}

void run(const DirectLine& d) noexcept {
  run_n(d);
  const bool dense = d.ldy == d.n;
  activate_rows(d.epilogue.act, d.y, d.ldy, dense ? 1 : d.pixels, dense ? d.pixels * d.n : d.n);
}

}  // namespace

constinit const DirectKernel SKYLINE_TAGGED(dots_f32) = {{.name = SKYLINE_TEXT(SKYLINE_TAGGED(dots_f32)),
                                                          .op = "direct",
                                                          .needs = kLevelBit,
                                                          .weights = DType::f32,
                                                          .acc = DType::f32},
                                                         run,
                                                         kMostColumns,
                                                         kLanes,
                                                         0,
                                                         0,
                                                         0,
                                                         kMostColumns};

}  // namespace skyline::kernels
