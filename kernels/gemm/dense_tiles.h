#pragma once
// For *_amx.cc files: products on tile registers. Tiles 0 to 3 hold the sums of two by two tiles of C, 4 and
// 5 rows of A, 6 and 7 columns of B; all are 16 rows of 64 bytes. The layout of a tile of B (rows of 4 bytes
// of K by 16 columns) is that of a packed panel.
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

constexpr int kTile = 16, kSide = 2 * kTile;
// Steps of 4 bytes: 32 rows of a part of K take 40 KB of the 48 KB of L1.
constexpr int64_t kCut = 320;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kConfig;

inline void enter_tiles() noexcept {
  _tile_loadconfig(&kConfig);
}
inline void leave_tiles() noexcept {
  _tile_release();
}

// kDown, kAcross: 1 or 2 tiles of rows and columns.
template <int kDown, int kAcross>
inline void zero_sums() {
  _tile_zero(0);
  if constexpr (kAcross == 2) _tile_zero(1);
  if constexpr (kDown == 2) _tile_zero(2);
  if constexpr (kDown == 2 && kAcross == 2) _tile_zero(3);
}
template <int kDown>
inline void load_a(const std::byte* a, int64_t stride) {
  _tile_loadd(4, a, stride);
  if constexpr (kDown == 2) _tile_loadd(5, a + kTile * stride, stride);
}
// A panel passes once for each tile's height of rows. Were it put into L1, it would drive out the rows, which
// meet all panels: with it bf16 at 512^3 ran at 0.52 of the peak instead of 0.65 (Xeon, model 143).
template <int kAcross>
inline void load_b(const std::byte* b, int64_t stride) {
  _tile_stream_loadd(6, b, stride);
  if constexpr (kAcross == 2) _tile_stream_loadd(7, b + 64, stride);
}

// Weights that were not used lately come from beyond L2, where loads of tiles wait for each line: they are
// asked for this far ahead, when the first rows meet them. The CPU's own prefetcher follows a stream in each
// page: what is asked for alternates between two pages, which read 1.4 times as fast as one after the other;
// four were no faster (Xeon, model 143).
constexpr int64_t kPage = 4 << 10;
// What stands for bytes [at, at + bytes) behind `first`: an even number of lines in two pages.
inline void fetch_b(const std::byte* first, int64_t at, int64_t bytes) {
  constexpr int64_t kWindow = 2 * kPage;
  while (bytes > 0) {
    const int64_t in = at % kWindow, n = bytes < kWindow - in ? bytes : kWindow - in;
    const std::byte* to = first + at - in + in / 2;
    for (const std::byte* const end = to + n / 2; to < end; to += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(to), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(to + kPage), _MM_HINT_T1);
    }
    at += n;
    bytes -= n;
  }
}

constexpr int64_t kSumsRow = kSide * 4;  // bytes

// kLeave: before a register of sums is used, what it holds goes to `to`, and it starts from what is at `from`
// or from zero. So the sums of one tile leave while the products of the next begin.
template <class Dot, int kDown, int kAcross, bool kLeave>
inline void multiply(std::byte* to, const std::byte* from) {
  constexpr int64_t kLower = kTile * kSumsRow;
  if constexpr (kLeave) {
    static_assert(kDown == 2 && kAcross == 2);
    _tile_stored(0, to, kSumsRow);
    if (from) {
      _tile_loadd(0, from, kSumsRow);
    } else {
      _tile_zero(0);
    }
    Dot::upper_left();
    _tile_stored(1, to + 64, kSumsRow);
    if (from) {
      _tile_loadd(1, from + 64, kSumsRow);
    } else {
      _tile_zero(1);
    }
    Dot::upper_right();
    _tile_stored(2, to + kLower, kSumsRow);
    if (from) {
      _tile_loadd(2, from + kLower, kSumsRow);
    } else {
      _tile_zero(2);
    }
    Dot::lower_left();
    _tile_stored(3, to + kLower + 64, kSumsRow);
    if (from) {
      _tile_loadd(3, from + kLower + 64, kSumsRow);
    } else {
      _tile_zero(3);
    }
    Dot::lower_right();
  } else {
    Dot::upper_left();
    if constexpr (kAcross == 2) Dot::upper_right();
    if constexpr (kDown == 2) Dot::lower_left();
    if constexpr (kDown == 2 && kAcross == 2) Dot::lower_right();
  }
}
inline void store_sums(std::byte* sums) {
  _tile_stored(0, sums, kSumsRow);
  _tile_stored(1, sums + 64, kSumsRow);
  _tile_stored(2, sums + kTile * kSumsRow, kSumsRow);
  _tile_stored(3, sums + kTile * kSumsRow + 64, kSumsRow);
}
inline void load_sums(const std::byte* sums) {
  _tile_loadd(0, sums, kSumsRow);
  _tile_loadd(1, sums + 64, kSumsRow);
  _tile_loadd(2, sums + kTile * kSumsRow, kSumsRow);
  _tile_loadd(3, sums + kTile * kSumsRow + 64, kSumsRow);
}

// All four products, and after the last of each operand the load that takes its place: in front of the next
// ones, a load from L2 would be waited for (bf16x6 ran at 0.7 of the peak in place of 0.8; Xeon, model 143).
template <class Dot>
inline void multiply_then_b(const std::byte* b, int64_t stride) {
  Dot::upper_left();
  Dot::lower_left();
  _tile_stream_loadd(6, b, stride);
  Dot::upper_right();
  Dot::lower_right();
  _tile_stream_loadd(7, b + 64, stride);
}
template <class Dot>
inline void multiply_then_a(const std::byte* a, int64_t stride) {
  Dot::upper_left();
  Dot::upper_right();
  _tile_loadd(4, a, stride);
  Dot::lower_left();
  Dot::lower_right();
  _tile_loadd(5, a + kTile * stride, stride);
}
// One product of planes, and then other rows or columns.
template <class Dot, int kDown, int kAcross, bool kLeave>
inline void then_b(std::byte* to, const std::byte* from, const std::byte* b, int64_t stride) {
  if constexpr (kDown == 2 && kAcross == 2 && !kLeave) return multiply_then_b<Dot>(b, stride);
  multiply<Dot, kDown, kAcross, kLeave>(to, from);
  load_b<kAcross>(b, stride);
}
template <class Dot, int kDown, int kAcross>
inline void then_a(const std::byte* a, int64_t stride) {
  if constexpr (kDown == 2 && kAcross == 2) return multiply_then_a<Dot>(a, stride);
  multiply<Dot, kDown, kAcross, false>(nullptr, nullptr);
  load_a<kDown>(a, stride);
}

// Adds the products of 16 steps: with one plane of each factor one product, with two 3, with three 6. Of two
// neighbours in this order one operand stays: 7 loads for 6 products.
template <class Dot, int kDown, int kAcross, bool kLeave>
inline void block(const DenseTile& t, const std::byte* a, const std::byte* b, int64_t stride,
                  std::byte* to = nullptr, const std::byte* from = nullptr) {
  constexpr int kPlanes = Dot::kPlanes;
  const int64_t b_plane = kTile * stride;
  load_a<kDown>(a, t.a_stride);
  load_b<kAcross>(b + (kPlanes - 1) * b_plane, stride);
  if constexpr (kPlanes == 1) {
    multiply<Dot, kDown, kAcross, kLeave>(to, from);
    return;
  }
  // The planes of A and B that meet: first and last; first and last but one; second and last but one;
  then_b<Dot, kDown, kAcross, kLeave>(to, from, b + (kPlanes - 2) * b_plane, stride);
  then_a<Dot, kDown, kAcross>(a + t.a_plane, t.a_stride);
  if constexpr (kPlanes == 3) {  // second and first; first and first; third and first
    then_b<Dot, kDown, kAcross, false>(nullptr, nullptr, b, stride);
    then_a<Dot, kDown, kAcross>(a, t.a_stride);
    then_a<Dot, kDown, kAcross>(a + 2 * t.a_plane, t.a_stride);
  }
  multiply<Dot, kDown, kAcross, false>(nullptr, nullptr);
}

// Few rows meet each weight so seldom that its way from memory takes longer than the products: a panel's rows
// of tiles come one after the other then, and the weights of the next panel come in all the while.
constexpr int64_t kFewRows = 2 * kSide;
inline bool few_rows(const DenseTile& t) {
  return t.cold && t.m > kSide && t.m <= kFewRows && !t.count;
}

// A run of tiles. The sums of each leave the registers, and become C, while the next is computed: tile
// products and vector instructions overlap.
// Finish: what makes C of whole rows, see dense_finish.h; Dot::finish of others.
// What the loops use is kept apart from `sums` and from what functions are given the address of, so that it
// can stay in registers: loads from the stack wait behind the many stores of sums that are under way.
template <class Dot, class Finish>
struct TileRun {
  const DenseTile& t;
  std::byte* const sums;
  Finish whole;
  Part last{0, 0, 0, 0};                 // whose sums are in the registers, and then in `sums`
  const std::byte* next_rows = nullptr;  // what of `sums` is not finished
  std::byte* to = nullptr;               // where they go
  std::byte* partial = t.partial;        // of the next tile
  bool any = false;
  const bool by_panels = few_rows(t);
  const int64_t blocks = t.steps / kTile, all = t.count ? t.count / kTile : t.lines * blocks;

  __attribute__((always_inline)) void finish(int64_t rows) {
    if (last.m <= 0) return;
    rows = rows < last.m ? rows : last.m;
    if (last.n == kSide) {
      whole(last.row, last.col, rows, next_rows);
    } else {
      Dot::finish(t, Part{last.row, last.col, rows, last.n}, next_rows);
    }
    next_rows += rows * kSumsRow;
    last.row += rows;
    last.m -= rows;
  }

  // In front of a block of `next` bytes.
  void ask(const Part& p, int64_t at, int64_t next, int64_t& asked, int64_t share) {
    if (!by_panels || (p.row == 0 && p.col == 0)) fetch_b(t.b, at + 2 * kPage, next);
    if (!by_panels) return;
    fetch_b(t.b, asked, share);
    asked += share;
  }

  template <int kDown, int kAcross>
  void tile(const Place& p) {
    const int64_t next = Dot::kPlanes * kTile * p.b_stride;
    // In even pieces over the blocks that are left.
    const int64_t even = all > 1 ? (kSide + all - 2) / (all - 1) : kSide;
    const int64_t rows = even < Dot::kRows ? Dot::kRows : even + even % 2;
    const std::byte *a = p.a + t.first * 4, *b = p.b + t.first * Dot::kPlanes * p.b_stride;
    const std::byte* const from = t.add ? partial : nullptr;
    const bool fetch = t.cold && (p.part.row == 0 || by_panels);
    int64_t asked = 0, share = 0;  // of the panel behind: where, and bytes for each block
    if (by_panels) {
      share = next / ((t.m + kSide - 1) / kSide) / 128 * 128;
      asked = b - t.b + all * (next + p.part.row / kSide * share);
    }
    next_rows = sums;
    if (fetch) ask(p.part, b - t.b, next, asked, share);
    if (any && kDown == 2 && kAcross == 2 && all > 0) {
      if constexpr (kDown == 2 && kAcross == 2) block<Dot, 2, 2, true>(t, a, b, p.b_stride, to, from);
    } else {
      if (any) store_sums(to);
      if (from) {
        load_sums(from);
      } else {
        zero_sums<kDown, kAcross>();
      }
      if (all > 0) block<Dot, kDown, kAcross, false>(t, a, b, p.b_stride);
    }
    for (int64_t i = 1, line = 0, s = 1; i < all; ++i, ++s) {
      a += 64;
      if (s == blocks) {
        s = 0;
        a = p.a + ++line * t.line_stride;
      }
      b += next;
      if (fetch) ask(p.part, b - t.b, next, asked, share);
      block<Dot, kDown, kAcross, false>(t, a, b, p.b_stride);
      finish(rows);
    }
    finish(kSide);
    last = p.part;
    to = sums;
    if (t.more) {
      last.m = 0;
      to = partial;
    }
    if (partial) partial += kSide * kSumsRow;
    any = true;
  }

  void operator()(const Place& p) {
    if (p.part.m > kTile) {
      p.part.n > kTile ? tile<2, 2>(p) : tile<2, 1>(p);
    } else {
      p.part.n > kTile ? tile<1, 2>(p) : tile<1, 1>(p);
    }
  }
  void end() {
    if (!any) return;
    store_sums(to);
    next_rows = sums;
    finish(kSide);
  }
};

// Like each_tile: all rows for each panel.
template <class Fn>
inline void each_panel(const DenseTile& t, int planes, Fn&& fn) {
  const std::byte* b = t.b;
  for (int64_t col = 0; col < t.n; col += kSide, b += t.lines * t.steps * planes * kSide * 4) {
    const int64_t left = t.n - col, width = (left + kTile - 1) / kTile * kTile;
    const std::byte* a = t.a;
    for (int64_t row = 0; row < t.m; row += kSide, a += kSide * t.a_stride) {
      const int64_t m = t.m - row < kSide ? t.m - row : kSide;
      fn(Place{a, b, (width < kSide ? width : kSide) * 4, {row, col, m, left < kSide ? left : kSide}});
    }
  }
}

template <class Dot, class Finish>
void run_tiles(const DenseTile& t) noexcept {
  alignas(64) std::byte sums[kSide * kSumsRow];
  TileRun<Dot, Finish> run{.t = t, .sums = sums, .whole = Finish(t)};
  if (run.by_panels) {
    each_panel(t, Dot::kPlanes, run);
  } else {
    each_tile(t, kSide, kSide, Dot::kPlanes, run);
  }
  run.end();
}

}  // namespace
}  // namespace skyline::kernels
