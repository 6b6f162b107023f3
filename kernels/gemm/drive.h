#pragma once
// The loops around the micro-kernel that dense GEMM and convolution share: the split over threads, and panels
// by tiles.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/base/cpu.h"
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
  int64_t group = 1;  // panels that a tile of A meets one after the other: its rows stay in L1 meanwhile
};

// A thread's share: rows [m0, m1) by panels [p0, p1).
struct Block {
  int64_t m0, m1, p0, p1;
};
// The split of m rows by `panels` panels into rows x columns blocks, several for each thread.
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

inline int64_t l2_bytes() {
  return std::max<int64_t>(cpu_info().l2, 256 << 10);
}

// Panels in a group. A panel that fits into L1 beside a tile's rows stays there while rows stream by. Else
// the rows stay, and panels stream: as many as may share L2 with a block of A and what is fetched ahead. 512
// KB of 2 MiB was the best of 0, 512 and 1024 (Xeon with AVX-512): up to a fifth faster than one panel at a
// time where K is 2048.
inline int64_t panel_group(const GemmKernel& kernel, const PanelShape& shape) {
  const int64_t column = std::max<int64_t>(shape.steps, 1) * kStepBytes, panel = column * kernel.nr;
  if (shape.n <= kernel.nr || panel + column * kernel.mr <= cpu_info().l1d) return 1;
  return std::max<int64_t>(1, l2_bytes() / 4 / panel);
}

// What the tiles of a block should fetch ahead: those of the first group of panels rows of A that nobody has
// read yet, the others their share of the panels of the next group. Not what is small enough to be in L2
// anyway.
inline void fetch_ahead(const Product& g, const Block& block, const std::byte* a, bool far_b, int64_t p,
                        int64_t i, int64_t tiles, GemmTile& t) {
  t.fetch = nullptr;
  t.fetch_step = 0;
  if (tiles == 1) return;
  const int64_t steps = std::max<int64_t>(g.taps * g.steps, 1), next = p + g.group;
  if (p < block.p0 + g.group && a && i + 1 < tiles) {
    const int64_t share = std::min(g.group, block.p1 - block.p0), bytes = t.m * g.steps * kStepBytes;
    t.fetch = a + tile_begin(block, tiles, i + 1) * g.steps * kStepBytes + bytes * (p - block.p0) / share;
    t.fetch_step = t.m * kStepBytes / share;
  } else if (far_b && next < block.p1 && !g.direct) {
    const int64_t bytes = g.shape.stride(next) * steps, first = bytes * i / tiles;
    t.fetch = g.b + g.shape.offset(next) + first;
    t.fetch_step = (bytes * (i + 1) / tiles - first) / steps;
  }
}

// Runs a block: for each group of panels, for each tile of rows, the panels of the group. rows(row, m) gives
// the taps * m pointers of tile.h for the m rows from `row` on. `a`: A's first row, if the rows lie one after
// the other and should be fetched ahead.
template <class Rows>
void run_block(const Product& g, const Block& block, Rows&& rows, const std::byte* a = nullptr) noexcept {
  const int64_t tiles = tile_count(block, g.kernel->mr);
  const auto out_size = static_cast<int64_t>(size_of(g.out));
  const bool far_b = g.shape.n * g.shape.steps * kStepBytes > l2_bytes() / 2;
  GemmTile t;
  t.steps = g.steps;
  t.taps = g.taps;
  t.c_stride = g.c_stride;
  t.out = g.out;
  for (int64_t p0 = block.p0; p0 < block.p1; p0 += g.group) {
    const int64_t p1 = std::min(block.p1, p0 + g.group);
    for (int64_t i = 0, row = block.m0; i < tiles; ++i) {
      const int64_t next = tile_begin(block, tiles, i + 1);
      t.m = next - row;
      t.a = rows(row, t.m);
      for (int64_t p = p0; p < p1; ++p) {
        const int64_t col = p * g.shape.nr;
        t.n = std::min<int64_t>(g.shape.nr, g.shape.n - col);
        if (panel_is_direct(g, p)) {
          t.b = g.direct + col * kStepBytes;
          t.b_stride = g.direct_stride;
        } else {
          t.b = g.direct ? g.b : g.b + g.shape.offset(p);
          t.b_stride = g.shape.stride(p);
        }
        t.epilogue = moved(g.epilogue, row, col);
        t.c = g.c + row * g.c_stride + col * out_size;
        fetch_ahead(g, block, a, far_b, p, i, tiles, t);
        g.kernel->run(t);
      }
      row = next;
    }
  }
}

}  // namespace skyline::kernels
