#pragma once
// For *_amx.cc files: how the tile registers are used. Tiles 0 to 3 hold the sums of two by two tiles of C,
// 4 and 5 rows of A, 6 and 7 columns of B; all are 16 rows of 64 bytes.
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

constexpr int kTile = 16;

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
template <int kAcross>
inline void load_b(const std::byte* b, int64_t stride) {
  _tile_loadd(6, b, stride);
  if constexpr (kAcross == 2) _tile_loadd(7, b + 64, stride);
}
// sums: 2 * kTile words a row.
template <int kDown, int kAcross>
inline void store_sums(void* sums) {
  constexpr int64_t kRow = 2 * kTile * 4;
  auto* const to = static_cast<std::byte*>(sums);
  _tile_stored(0, to, kRow);
  if constexpr (kAcross == 2) _tile_stored(1, to + kRow / 2, kRow);
  if constexpr (kDown == 2) _tile_stored(2, to + kTile * kRow, kRow);
  if constexpr (kDown == 2 && kAcross == 2) _tile_stored(3, to + kTile * kRow + kRow / 2, kRow);
}

}  // namespace
}  // namespace skyline::kernels
