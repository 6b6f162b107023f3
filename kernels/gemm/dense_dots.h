#pragma once
// For dense kernels of integers that multiply vectors: the tile's loop.
#include "kernels/gemm/tile_table.h"
#if defined(SKYLINE_ARCH_avx512)
#include "kernels/gemm/dense_finish.h"
#else
#include "kernels/gemm/dense_finish_narrow.h"
#endif

namespace skyline::kernels {
namespace {

inline I32 four_bytes(const std::byte* a) {
  int32_t four;
  memcpy(&four, a, 4);
  return I32(four);
}

// Dot::add(sum, a, b): the four products of each lane, added to its sum.
template <class Dot, int M, int NV>
void dot_tile(const DenseTile& t, const Place& p) noexcept {
  constexpr int kNr = NV * kLanes;
  I32 acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = I32(0);
  }
  const std::byte* b = p.b;
  const int64_t stride = t.a_stride;
  for (int64_t line = 0; line < t.lines; ++line) {
    const std::byte* first = p.a + line * t.line_stride;
    for (int64_t s = 0; s < t.steps; ++s, b += p.b_stride) {
      I32 vb[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) vb[j] = load(reinterpret_cast<const int32_t*>(b) + j * kLanes);
      const std::byte* a = first + s * 4;
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i, a += stride) {
        const I32 va = four_bytes(a);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = Dot::add(acc[i][j], va, vb[j]);
      }
    }
  }
  alignas(64) int32_t sums[M][kNr];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j].store_aligned(sums[i] + j * kLanes);
  }
  finish_sums(t, p.part, sums[0], kNr);
}

template <class Dot, int Mr, int Nv>
constexpr TileTable<DenseTileFn, Mr, Nv> kDots([]<int M, int NV>() { return dot_tile<Dot, M, NV>; });

template <class Dot, int Mr, int Nv>
void run_dots(const DenseTile& t) noexcept {
  each_tile(t, Mr, Nv * kLanes, 1, [&](const Place& p) { kDots<Dot, Mr, Nv>.of(p.part.m, p.part.n)(t, p); });
}

}  // namespace
}  // namespace skyline::kernels
