// 8-bit products on AMX tiles: two by two tiles of 16x16 sums, 64 values of K at a time. The contract is in
// dense.h; the layout of a tile of B (rows of 4 values of K by 16 columns) is that of a packed panel.
#include "kernels/gemm/dense_tiles.h"

namespace skyline::kernels {
namespace {

template <bool kSigned, int kDown, int kAcross>
void tile(const DenseTile& t) noexcept {
  alignas(64) int32_t sums[2 * kTile][2 * kTile];
  zero_sums<kDown, kAcross>();
  const std::byte* b = t.b;
  const int64_t next = kTile * t.b_stride;
  for (int64_t i = 0, blocks = t.steps / kTile, line = 0, s = 0; i < t.lines * blocks; ++i, b += next) {
    const std::byte* a = t.a + line * t.line_stride + s * 64;
    if (++s == blocks) {
      s = 0;
      ++line;
    }
    load_a<kDown>(a, t.a_stride);
    load_b<kAcross>(b, t.b_stride);
    if constexpr (kSigned) {
      _tile_dpbssd(0, 4, 6);
      if constexpr (kAcross == 2) _tile_dpbssd(1, 4, 7);
      if constexpr (kDown == 2) _tile_dpbssd(2, 5, 6);
      if constexpr (kDown == 2 && kAcross == 2) _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      if constexpr (kAcross == 2) _tile_dpbusd(1, 4, 7);
      if constexpr (kDown == 2) _tile_dpbusd(2, 5, 6);
      if constexpr (kDown == 2 && kAcross == 2) _tile_dpbusd(3, 5, 7);
    }
  }
  store_sums<kDown, kAcross>(sums);
  finish_sums(t, sums[0], 2 * kTile);
}

template <bool kSigned>
void run(const DenseTile& t) noexcept {
  if (t.m > kTile) {
    t.n > kTile ? tile<kSigned, 2, 2>(t) : tile<kSigned, 2, 1>(t);
  } else {
    t.n > kTile ? tile<kSigned, 1, 2>(t) : tile<kSigned, 1, 1>(t);
  }
}

constexpr DenseKernel row(std::string_view name, DType in, void (*run)(const DenseTile&) noexcept) {
  return {{.name = name,
           .op = "dense",
           .needs = kIsaAvx512 | kIsaAmxInt8,
           .in = in,
           .weights = DType::i8,
           .acc = DType::i32,
           .out = DType::undefined},
          run,
          2 * kTile,
          2 * kTile,
          kLanes,
          kTile,
          kTile,
          16,
          enter_tiles,
          leave_tiles};
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = row("dense_u8_amx_32x32", DType::u8, run<false>);
constinit const DenseKernel SKYLINE_TAGGED(dense_i8) = row("dense_i8_amx_32x32", DType::i8, run<true>);

}  // namespace skyline::kernels
