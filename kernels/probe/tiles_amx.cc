// Tile products on registers only.
#include <immintrin.h>

#include "kernels/gemm/dense_tiles.h"
#include "kernels/probe/probe.h"

namespace skyline::kernels {
namespace {

constexpr int kRepeat = 8;

void enter_zeroed() {
  enter_tiles();
  zero_sums<2, 2>();
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

void bf16(int64_t rounds) noexcept {
  enter_zeroed();
  for (int64_t r = 0; r < rounds * kRepeat; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  leave_tiles();
}

void bytes(int64_t rounds) noexcept {
  enter_zeroed();
  for (int64_t r = 0; r < rounds * kRepeat; ++r) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  leave_tiles();
}

constexpr int64_t kSteps = int64_t{4} * kRepeat * kTile * kTile * 16;  // of 4 bytes a round

}  // namespace

constinit const TileProbe SKYLINE_TAGGED(probe_tiles) = {
    {.name = "probe_tiles_amx", .op = "probe_tiles", .needs = kIsaAvx512 | kIsaAmxInt8 | kIsaAmxBf16},
    bf16,
    2 * 2 * kSteps,
    bytes,
    2 * 4 * kSteps};

}  // namespace skyline::kernels
