#pragma once
// For the dense kernels: how a block is cut into tiles.
#include "kernels/base/lanes.h"
#include "kernels/gemm/dense.h"

namespace skyline::kernels {
namespace {

// Some rows and columns of a block.
struct Part {
  int64_t row, col, m, n;

  template <class T>
  char* row_of(const DenseTile& t, int64_t i) const {
    char* const c = t.row(row + i);
    return c ? c + col * static_cast<int64_t>(sizeof(T)) : nullptr;
  }
#if defined(SKYLINE_ARCH_avx512)
  __mmask16 lanes(int64_t j) const {
    return n - j < kLanes ? first_lanes(n - j) : __mmask16{0xffff};
  }
#endif
};

// Where a tile is: what it reads, and its place in the block.
struct Place {
  const std::byte *a, *b;
  int64_t b_stride;  // bytes between steps of its panel
  Part part;
};
using DenseTileFn = void (*)(const DenseTile&, const Place&) noexcept;

// Cuts a block into tiles of up to mr x nr: fn(place), all panels of some rows before the next rows. A full
// panel has `steps` rows.
template <class Fn>
inline void each_tile_of(const DenseTile& t, int mr, int nr, int64_t steps, Fn&& fn) {
  const int64_t panel = steps * nr * 4;
  const std::byte* a = t.a;
  for (int64_t row = 0; row < t.m; row += mr, a += mr * t.a_stride) {
    const std::byte* b = t.b;
    const int64_t m = t.m - row < mr ? t.m - row : mr;
    for (int64_t col = 0; col < t.n; col += nr, b += panel) {
      const int64_t left = t.n - col, width = (left + kLanes - 1) / kLanes * kLanes;
      fn(Place{a, b, (width < nr ? width : nr) * 4, {row, col, m, left < nr ? left : nr}});
    }
  }
}
template <class Fn>
inline void each_tile(const DenseTile& t, int mr, int nr, int planes, Fn&& fn) {
  each_tile_of(t, mr, nr, t.lines * t.steps * planes, fn);
}

}  // namespace
}  // namespace skyline::kernels
