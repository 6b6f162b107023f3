// Direct convolution with any window: a broadcast of x for each pixel, tap and channel. The contract is in
// direct.h.
#include "kernels/conv/direct_tile.h"

namespace skyline::kernels {
namespace {

// Tile: up to kWide pixels by two vectors of channels, or kNarrow by one. The accumulators, the vectors of w
// and a broadcast of x fill the register file; avx512 reads x as a memory operand where it is used once.
#if defined(SKYLINE_ARCH_avx512)
constexpr int kWide = 14, kNarrow = 28;
constexpr std::string_view kName = "direct_f32_avx512_14x32";
#elif defined(SKYLINE_ARCH_avx2)
constexpr int kWide = 6, kNarrow = 12;
constexpr std::string_view kName = "direct_f32_avx2_6x16";
#elif defined(SKYLINE_ARCH_neon)
constexpr int kWide = 10, kNarrow = 20;
constexpr std::string_view kName = "direct_f32_neon_10x8";
#else
constexpr int kWide = 4, kNarrow = 8;
constexpr std::string_view kName = "direct_f32_sse2_4x8";
#endif

// `steps` steps from x on; pixels are `distance` floats apart. Returns the next row of w.
template <int M, int NV>
inline const float* multiply(Tile<M, NV>& tile, const float* x, int64_t distance, const float* w,
                             int64_t steps, Ahead& ahead) {
  Spaced<M> pixels(x, distance);
  for (int64_t k = 0; k < steps; ++k, w += NV * kLanes) {
    pixels.hide();
    ahead.fetch();
    F32 vw[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) vw[j] = load(w + j * kLanes);
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
      const F32 vx = pixels.broadcast(i);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) tile.acc[i][j] = mul_add(vx, vw[j], tile.acc[i][j]);
    }
    pixels.next();
  }
  return w;
}

// Flat: one line and one tap, that is a 1x1 kernel.
template <int M, int NV, bool Flat>
void run_tile(const DirectLine& d, int64_t first, int64_t tiles, Ahead ahead) noexcept {
  const int last = static_cast<int>(d.n) - (NV - 1) * kLanes;  // columns in the last vector
  for (; tiles > 0; --tiles, first += M) {
    Tile<M, NV> tile;
    const float* w = d.w;
    for (int64_t r = 0; r < (Flat ? 1 : d.lines); ++r) {
      if (!Flat && !d.x[r]) {
        w += d.taps * d.steps * NV * kLanes;
        continue;
      }
      const float* x = d.x[r] + d.x_offset + first * d.pixel;
      for (int64_t tap = 0; tap < (Flat ? 1 : d.taps); ++tap, x += d.tap_step) {
        for (int64_t k = 0; k < d.steps;) {
          if (tile.left == 0) tile.flush();
          const int64_t most = tile.fetch(d, first), left = most < tile.left ? most : tile.left;
          const int64_t count = d.steps - k < left ? d.steps - k : left;
          w = multiply(tile, x + k, d.pixel, w, count, ahead);
          k += count;
          tile.left -= count;
        }
      }
    }
    tile.finish(d, first, last);
  }
}

template <int NV, int Most, bool Flat>
struct Table {
  TileFn fn[Most];
  template <int M = Most>
  constexpr void fill() {
    fn[M - 1] = run_tile<M, NV, Flat>;
    if constexpr (M > 1) fill<M - 1>();
  }
};
template <int NV, int Most, bool Flat>
constexpr Table<NV, Most, Flat> make_table() {
  Table<NV, Most, Flat> table{};
  table.fill();
  return table;
}
template <int NV, int Most, bool Flat>
constexpr auto kTable = make_table<NV, Most, Flat>();

template <int NV, int Most>
void run_vectors(const DirectLine& d) noexcept {
  const bool flat = d.lines == 1 && d.taps == 1 && d.x[0];
  run_tiles(d, flat ? kTable<NV, Most, true>.fn : kTable<NV, Most, false>.fn, Most);
}

void run(const DirectLine& d) noexcept {
  d.n > kLanes ? run_vectors<2, kWide>(d) : run_vectors<1, kNarrow>(d);
}

#if defined(SKYLINE_ARCH_avx512)
// Four vectors of channels: 10 loads for 24 multiply-adds instead of 16 for 28.
constexpr int kBroad = 6;

void run_broad(const DirectLine& d) noexcept {
  if (d.n <= 2 * kLanes) return run(d);
  d.n <= 3 * kLanes ? run_vectors<3, kBroad>(d) : run_vectors<4, kBroad>(d);
}
#endif

}  // namespace

#if defined(SKYLINE_ARCH_avx512)
constinit const DirectKernel SKYLINE_TAGGED(direct_f32_broad) = {{.name = "direct_f32_avx512_6x64",
                                                                  .op = "direct",
                                                                  .needs = kLevelBit,
                                                                  .weights = DType::f32,
                                                                  .acc = DType::f32},
                                                                 run_broad,
                                                                 4 * kLanes,
                                                                 kLanes,
                                                                 0,
                                                                 0,
                                                                 4 * kLanes};
#endif

constinit const DirectKernel SKYLINE_TAGGED(direct_f32) = {
    {.name = kName, .op = "direct", .needs = kLevelBit, .weights = DType::f32, .acc = DType::f32},
    run,
    2 * kLanes,
    kLanes,
    0,
    0,
    0};

}  // namespace skyline::kernels
