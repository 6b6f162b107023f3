#pragma once
// The loops around the micro-kernel that dense GEMM and convolution share: the split over threads, and panels
// by tiles.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/pack.h"
#include "kernels/gemm/tile.h"

namespace skyline::kernels {

// One product, as far as the loops need to know it. B is packed (b, shape) except that `direct` reads its
// full panels as stored, rows direct_stride bytes apart; then only a last panel that needs padding is packed,
// and b points at it.
struct Product {
  const GemmKernel* kernel = nullptr;
  PanelShape shape;  // shape.steps counts taps * steps
  int64_t taps = 1, steps = 0;
  const std::byte* b = nullptr;
  const std::byte* direct = nullptr;
  int64_t direct_stride = 0;
  std::byte* c = nullptr;
  int64_t c_stride = 0;  // bytes
  DType out = DType::f32;
  Epilogue epilogue;
};

// A thread's share: rows [m0, m1) by panels [p0, p1).
struct Block {
  int64_t m0, m1, p0, p1;
};
// The split of m rows by `panels` panels into rows x columns blocks, at most `threads`.
struct Grid {
  int64_t m = 0, panels = 0, rows = 1, columns = 1;
  int mr = 1;
  int64_t blocks() const { return rows * columns; }
  Block block(int64_t i) const {
    const int64_t r = i / columns, c = i % columns, tiles = (m + mr - 1) / mr;
    return {std::min(m, tiles * r / rows * mr), std::min(m, tiles * (r + 1) / rows * mr),
            panels * c / columns, panels * (c + 1) / columns};
  }
};
// Balances the multiply-adds per thread against the bytes of A and B that each must read. k is the length of
// the sums.
Grid make_grid(const GemmKernel& kernel, int64_t m, int64_t n, int64_t k, int threads) noexcept;

inline bool panel_is_direct(const Product& g, int64_t p) {
  const int64_t left = g.shape.n - p * g.shape.nr;
  return g.direct && (left >= g.shape.nr || left % g.shape.lanes == 0);
}

inline Epilogue moved(Epilogue e, int64_t row, int64_t col) {
  if (e.bias_n) e.bias_n += col;
  if (e.bias_m) e.bias_m += row;
  if (e.residual) e.residual += row * e.ldr + col;
  if (e.bias_i32) e.bias_i32 += col;
  if (e.scale_n) e.scale_n += col;
  return e;
}

// The rows of a block are cut evenly into tiles, so that none is left tiny.
inline int64_t tile_count(const Block& b, int mr) {
  return (b.m1 - b.m0 + mr - 1) / mr;
}
inline int64_t tile_begin(const Block& b, int64_t tiles, int64_t i) {
  return b.m0 + (b.m1 - b.m0) * i / tiles;
}

// Runs a block, panel by panel. rows(row, m) gives the taps * m pointers of tile.h for the m rows from `row`
// on.
template <class Rows>
void run_block(const Product& g, const Block& block, Rows&& rows) noexcept {
  const int64_t tiles = tile_count(block, g.kernel->mr);
  const auto out_size = static_cast<int64_t>(size_of(g.out));
  GemmTile t;
  t.steps = g.steps;
  t.taps = g.taps;
  t.c_stride = g.c_stride;
  t.out = g.out;
  for (int64_t p = block.p0; p < block.p1; ++p) {
    const int64_t col = p * g.shape.nr;
    t.n = std::min<int64_t>(g.shape.nr, g.shape.n - col);
    if (panel_is_direct(g, p)) {
      t.b = g.direct + col * kStepBytes;
      t.b_stride = g.direct_stride;
    } else {
      t.b = g.direct ? g.b : g.b + g.shape.offset(p);
      t.b_stride = g.shape.stride(p);
    }
    const Epilogue base = moved(g.epilogue, 0, col);
    t.epilogue = base;
    for (int64_t i = 0, row = block.m0; i < tiles; ++i) {
      const int64_t next = tile_begin(block, tiles, i + 1);
      t.m = next - row;
      t.a = rows(row, t.m);
      t.c = g.c + row * g.c_stride + col * out_size;
      if (base.residual) t.epilogue.residual = base.residual + row * base.ldr;
      if (base.bias_m) t.epilogue.bias_m = base.bias_m + row;
      g.kernel->run(t);
      row = next;
    }
  }
}

}  // namespace skyline::kernels
