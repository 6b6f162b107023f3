// Direct convolution with a window of 3, 5 or 6 columns known to the compiler: a value of x is broadcast once
// and used for all taps that meet it, from weights kept in registers. That is one load for up to 3 or 5
// multiply-adds, where a plain tile has one for each vector of channels. The contract is in direct.h.
#include "kernels/conv/direct_tile.h"

namespace skyline::kernels {
namespace {

// Pixels of a tile of one and of two vectors of channels: with `Window` vectors of w for each and a broadcast
// of x they fill the register file. A level with 16 registers has no room for tiles of two vectors.
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
constexpr int kRegisters = 32, kVectors = 2;
#else
constexpr int kRegisters = 16, kVectors = 1;
#endif
// A strided window has Stride times the columns, so that more pointers are needed: 14 is what fits.
template <int Window, int Stride, int NV>
constexpr int kMost = (kRegisters - 1 - Window * NV) / NV < (Stride == 1 ? 28 : 14)
                          ? (kRegisters - 1 - Window * NV) / NV
                          : (Stride == 1 ? 28 : 14);

// Unit: the columns are adjacent floats, and there is one step.
template <int M, int NV, int Window, int Stride, bool Unit>
inline const float* multiply(Tile<M, NV>& tile, const float* x, int64_t distance, const float* w,
                             int64_t steps, Ahead& ahead) {
  constexpr int kColumns = (M - 1) * Stride + Window;
  std::conditional_t<Unit, Adjacent, Spaced<kColumns>> columns(x, distance);
  for (int64_t k = 0; k < (Unit ? 1 : steps); ++k, w += Window * NV * kLanes) {
    columns.hide();
    if constexpr (!Unit) ahead.fetch();
    F32 vw[Window][NV];
#pragma GCC unroll 6
    for (int t = 0; t < Window; ++t) {
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) vw[t][j] = load(w + (t * NV + j) * kLanes);
    }
#pragma GCC unroll 64
    for (int c = 0; c < kColumns; ++c) {
      const F32 vx = columns.broadcast(c);
#pragma GCC unroll 6
      for (int t = c % Stride; t < Window; t += Stride) {
        const int i = (c - t) / Stride;
        if (c < t || i >= M) continue;
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) tile.acc[i][j] = mul_add(vx, vw[t][j], tile.acc[i][j]);
      }
    }
    columns.next();
  }
  return w;
}

template <int M, int NV, int Window, int Stride, bool Unit>
void run_tile(const DirectLine& d, int64_t first, int64_t tiles, Ahead ahead) noexcept {
  constexpr int64_t kSteps = kChain / Window;  // of a chain
  const int last = static_cast<int>(d.n) - (NV - 1) * kLanes;
  for (; tiles > 0; --tiles, first += M) {
    Tile<M, NV> tile;
    tile.left = kSteps;
    const float* w = d.w;
    for (int64_t r = 0; r < d.lines; ++r) {
      if (!d.x[r]) {
        w += Window * d.steps * NV * kLanes;
        continue;
      }
      const float* x = d.x[r] + d.x_offset + first * d.pixel;
      for (int64_t k = 0; k < (Unit ? 1 : d.steps);) {
        if (tile.left == 0) {
          tile.flush();
          tile.left = kSteps;
        }
        const int64_t count = Unit ? 1 : d.steps - k < tile.left ? d.steps - k : tile.left;
        w = multiply<M, NV, Window, Stride, Unit>(tile, x + k, d.tap_step, w, count, ahead);
        k += count;
        tile.left -= count;
      }
    }
    tile.finish(d, first, last);
  }
}

template <int Window, int Stride, int NV, bool Unit>
struct Table {
  static constexpr int kCount = kMost<Window, Stride, NV>;
  TileFn fn[kCount];
  template <int M = kCount>
  constexpr void fill() {
    fn[M - 1] = run_tile<M, NV, Window, Stride, Unit>;
    if constexpr (M > 1) fill<M - 1>();
  }
};
template <int Window, int Stride, int NV, bool Unit>
constexpr Table<Window, Stride, NV, Unit> make_table() {
  Table<Window, Stride, NV, Unit> table{};
  table.fill();
  return table;
}
template <int Window, int Stride, int NV, bool Unit>
constexpr auto kTable = make_table<Window, Stride, NV, Unit>();

template <int Window, int Stride, int NV>
void run_vectors(const DirectLine& d) noexcept {
  constexpr int kCount = kMost<Window, Stride, NV>;
  run_tiles(d,
            d.tap_step == 1 && d.steps == 1 ? kTable<Window, Stride, NV, true>.fn
                                            : kTable<Window, Stride, NV, false>.fn,
            kCount, true);
}

template <int Window, int Stride>
void run(const DirectLine& d) noexcept {
  if constexpr (kVectors == 2) {
    if (d.n > kLanes) return run_vectors<Window, Stride, 2>(d);
  }
  run_vectors<Window, Stride, 1>(d);
}

constexpr DirectKernel row(const char* name, void (*run)(const DirectLine&) noexcept, int window,
                           int stride) {
  return {{.name = name, .op = "direct", .needs = kLevelBit, .weights = DType::f32, .acc = DType::f32},
          run,
          kVectors * kLanes,
          kLanes,
          window,
          stride,
          0};
}

}  // namespace

constinit const DirectKernel SKYLINE_TAGGED(window3_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(window3_f32)),
                                                               run<3, 1>, 3, 1);
constinit const DirectKernel SKYLINE_TAGGED(window3s2_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(window3s2_f32)),
                                                                 run<3, 2>, 3, 2);
constinit const DirectKernel SKYLINE_TAGGED(window5_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(window5_f32)),
                                                               run<5, 1>, 5, 1);
constinit const DirectKernel SKYLINE_TAGGED(window5s2_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(window5s2_f32)),
                                                                 run<5, 2>, 5, 2);
// What becomes of a 3x3 window over pixels gathered two by two (YOLO's Focus).
constinit const DirectKernel SKYLINE_TAGGED(window6s2_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(window6s2_f32)),
                                                                 run<6, 2>, 6, 2);

}  // namespace skyline::kernels
