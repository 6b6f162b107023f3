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
  // A cut of the sums (kernels that cut K only): `steps` of them from first_step on.
  int64_t first_step = 0;
  bool interleaved = false, add = false, more = false;  // see GemmTile
  // Bytes that a block should bring into L2 meanwhile, from `fetch` on; null: what it will need of B.
  const std::byte* fetch = nullptr;
  int64_t fetch_bytes = 0;
};

// Multiply-adds that are worth another thread, of 50e9 or so a second. A helper that looks out for work comes
// within a microsecond, but what two threads share comes from the other's cache (a 2-core Xeon).
inline constexpr double kWorthAThread = 300e3;

// A thread's share: rows [m0, m1) by panels [p0, p1).
struct Block {
  int64_t m0, m1, p0, p1;
};
// The split of m rows by `panels` panels into rows x columns blocks, several for each thread. Neighbours
// share their part of B, so that it stays with a thread.
struct Grid {
  int64_t m = 0, panels = 0, rows = 1, columns = 1;
  int mr = 1;
  int64_t blocks() const { return rows * columns; }
  Block block(int64_t i) const {
    const int64_t r = i % rows, c = i / rows, tiles = (m + mr - 1) / mr;
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

// Points `to`, a copy of `from`, at another row and column. Only pointers are written: whoever copied the
// whole right after would wait for them to leave the store buffer.
inline void move_to(const Epilogue& from, int64_t row, int64_t col, Epilogue& to) {
  const auto add = [](auto* p, int64_t n) { return p ? p + n : p; };
  to.bias_n = add(from.bias_n, col);
  to.bias_m = add(from.bias_m, row);
  to.residual = add(from.residual, row * from.ldr + col);
  to.residual_bf16 = add(from.residual_bf16, row * from.ldr + col);
  to.bias_i32 = add(from.bias_i32, col);
  to.scale_n = add(from.scale_n, col);
}
inline Epilogue moved(const Epilogue& e, int64_t row, int64_t col) {
  Epilogue to = e;
  move_to(e, row, col, to);
  return to;
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

// Panels in a group, of `steps` steps. What fits into L1 beside a tile's rows stays there while rows stream
// by. Else the rows stay, and panels stream: as many as may share L2 with a block of A, of C and what is
// fetched ahead (an eighth of 2 MiB on a Xeon with AVX-512).
inline int64_t panel_group(const GemmKernel& kernel, int64_t steps) {
  const int64_t column = std::max<int64_t>(steps, 1) * kStepBytes, panel = column * kernel.nr;
  const int64_t l1 = cpu_info().l1d * 3 / 4 - column * kernel.mr;
  return std::max<int64_t>(1, (panel <= l1 ? l1 : l2_bytes() / 8) / panel);
}

// What the tiles of a block should fetch ahead: their share of what the block is asked to, or of the panels
// of the next group, or of the next steps of the first group, or of the next block; a single tile, that is
// one bound by memory, what it will read itself.
inline void fetch_ahead(const Product& g, const Block& block, int64_t group, int64_t p, int64_t i,
                        int64_t tiles, GemmTile& t) {
  constexpr int64_t kAhead = 16384;  // bytes
  const int64_t here = std::max<int64_t>(g.taps * g.steps, 1);
  t.fetch = nullptr;
  t.fetch_step = 0;
  if (g.fetch) {
    const int64_t calls = tiles * (block.p1 - block.p0), share = g.fetch_bytes / calls;
    t.fetch = g.fetch + share * (i * (block.p1 - block.p0) + p - block.p0);
    t.fetch_step = share / here;
    return;
  }
  if (tiles == 1) {
    if (t.m == 1) return;  // the processor's own prefetchers do better (3 % at 1024^2)
    t.fetch = static_cast<const std::byte*>(t.b) + kAhead;
    t.fetch_step = t.b_stride;
    return;
  }
  if (g.direct) return;
  int64_t next = p + g.group, first_step = g.first_step, steps = here;
  if (next >= block.p1) {
    next = block.p0 + p - group;
    if (g.more) {
      first_step += g.steps;
    } else {  // the block after this one is likely to be this thread's
      next += block.p1 - block.p0;
      first_step = 0;
      if (next >= g.shape.panels()) return;
    }
    steps = std::min(here, g.shape.steps - first_step);
  }
  const int64_t bytes = g.shape.stride(next) * steps, first = bytes * i / tiles;
  t.fetch = g.b + g.shape.offset(next) + first_step * g.shape.stride(next) + first;
  t.fetch_step = (bytes * (i + 1) / tiles - first) / here;
}

// Points a tile, whose epilogue is a copy of g's, at panel p, and at what it makes of C.
inline void set_panel(const Product& g, int64_t row, int64_t p, GemmTile& t) {
  const int64_t col = p * g.shape.nr;
  t.n = std::min<int64_t>(g.shape.nr, g.shape.n - col);
  if (panel_is_direct(g, p)) {
    t.b = g.direct + col * kStepBytes + g.first_step * g.direct_stride;
    t.b_stride = g.direct_stride;
  } else {
    t.b_stride = g.shape.stride(p);
    t.b = (g.direct ? g.b : g.b + g.shape.offset(p)) + g.first_step * t.b_stride;
  }
  move_to(g.epilogue, row, col, t.epilogue);
  t.c = g.c + row * g.c_stride + col * static_cast<int64_t>(size_of(g.out));
}

// Panels from p on, before `end`, that a tile may take in one call.
inline int64_t alike(const Product& g, int64_t p, int64_t end) {
  return g.kernel->cuts_k ? std::max<int64_t>(1, std::min(end, g.shape.n / g.shape.nr) - p) : 1;
}

// A block of one row: several panels at a time.
template <class Rows>
void run_row(const Product& g, const Block& block, bool far, GemmTile& t, Rows&& rows) noexcept {
  t.m = 1;
  t.a = rows(block.m0, 1);
  const int64_t full = std::min(block.p1, g.shape.n / g.shape.nr) - block.p0;
  const int64_t calls = (full + g.kernel->row_panels - 1) / g.kernel->row_panels;
  for (int64_t i = 0; i < calls; ++i) {
    const int64_t p = block.p0 + full * i / calls;
    set_panel(g, block.m0, p, t);
    t.panels = block.p0 + full * (i + 1) / calls - p;
    t.panel_stride = g.direct ? g.shape.nr * kStepBytes : g.shape.offset(p + 1) - g.shape.offset(p);
    t.n = t.panels * g.shape.nr;
    t.fetch = far ? static_cast<const std::byte*>(t.b) : nullptr;
    g.kernel->run_row(t);
  }
  t.fetch = nullptr;
  t.panels = 1;
  if (block.p0 + full == block.p1) return;
  set_panel(g, block.m0, block.p1 - 1, t);
  g.kernel->run(t);
}

// Runs a block: for each group of panels, for each tile of rows, the panels of the group. rows(row, m) gives
// the taps * m pointers of tile.h for the m rows from `row` on.
template <class Rows>
void run_block(const Product& g, const Block& block, Rows&& rows) noexcept {
  const int64_t tiles = tile_count(block, g.kernel->mr);
  // What is small enough is in L2 anyway.
  const bool far = g.fetch || g.shape.n * g.shape.steps * kStepBytes > l2_bytes() / 2;
  GemmTile t;
  t.steps = g.steps;
  t.taps = g.taps;
  t.c_stride = g.c_stride;
  t.out = g.out;
  t.epilogue = g.epilogue;
  t.interleaved = g.interleaved;
  t.add = g.add;
  t.more = g.more;
  if (block.m1 - block.m0 == 1 && g.taps == 1 && !g.add && !g.more && g.kernel->run_row) {
    return run_row(g, block, far, t, rows);
  }
  for (int64_t p0 = block.p0; p0 < block.p1; p0 += g.group) {
    const int64_t p1 = std::min(block.p1, p0 + g.group);
    for (int64_t i = 0, row = block.m0; i < tiles; ++i) {
      const int64_t next = tile_begin(block, tiles, i + 1);
      t.m = next - row;
      t.a = rows(row, t.m);
      for (int64_t p = p0; p < p1; p += t.panels) {
        set_panel(g, row, p, t);
        t.panels = far ? 1 : alike(g, p, p1);
        if (t.panels > 1)
          t.panel_stride = g.direct ? g.shape.nr * kStepBytes : g.shape.offset(p + 1) - g.shape.offset(p);
        if (far) fetch_ahead(g, block, p0, p, i, tiles, t);
        g.kernel->run(t);
      }
      row = next;
    }
  }
}

}  // namespace skyline::kernels
