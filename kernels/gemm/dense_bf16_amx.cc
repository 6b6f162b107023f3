// Products of floats on AMX tiles: two by two tiles of 16x16 sums, 32 values of K at a time, each factor one,
// two or three bf16 numbers. The contract is in dense.h.
#include "kernels/gemm/bf16_planes.h"
#include "kernels/gemm/dense_tiles.h"

namespace skyline::kernels {
namespace {

template <int kDown, int kAcross>
inline void multiply() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (kAcross == 2) _tile_dpbf16ps(1, 4, 7);
  if constexpr (kDown == 2) _tile_dpbf16ps(2, 5, 6);
  if constexpr (kDown == 2 && kAcross == 2) _tile_dpbf16ps(3, 5, 7);
}

// Adds the products of 16 steps. Of two neighbours in this order one operand stays: with three planes 7 loads
// for 6 products.
template <int kPlanes, int kDown, int kAcross>
inline void block(const DenseTile& t, const std::byte* a, const std::byte* b) {
  const int64_t stride = t.b_stride, b_plane = kTile * stride;
  load_a<kDown>(a, t.a_stride);
  load_b<kAcross>(b + (kPlanes - 1) * b_plane, stride);
  multiply<kDown, kAcross>();  // first, last
  if constexpr (kPlanes == 1) return;
  load_b<kAcross>(b + (kPlanes - 2) * b_plane, stride);
  multiply<kDown, kAcross>();  // first, last but one
  load_a<kDown>(a + t.a_plane, t.a_stride);
  multiply<kDown, kAcross>();  // second, last but one
  if constexpr (kPlanes == 2) return;
  load_b<kAcross>(b, stride);
  multiply<kDown, kAcross>();  // second, first
  load_a<kDown>(a, t.a_stride);
  multiply<kDown, kAcross>();  // first, first
  load_a<kDown>(a + 2 * t.a_plane, t.a_stride);
  multiply<kDown, kAcross>();  // third, first
}

template <int kPlanes, int kDown, int kAcross>
void tile(const DenseTile& t) noexcept {
  alignas(64) float sums[2 * kTile][2 * kTile];
  zero_sums<kDown, kAcross>();
  const std::byte* b = t.b;
  const int64_t next = kPlanes * kTile * t.b_stride;
  for (int64_t i = 0, blocks = t.steps / kTile, line = 0, s = 0; i < t.lines * blocks; ++i, b += next) {
    const std::byte* a = t.a + line * t.line_stride + s * 64;
    if (++s == blocks) {
      s = 0;
      ++line;
    }
    block<kPlanes, kDown, kAcross>(t, a, b);
  }
  store_sums<kDown, kAcross>(sums);
  finish_floats(t, sums[0], 2 * kTile);
}

template <int kPlanes>
void run(const DenseTile& t) noexcept {
  if (!t.finite) {
    alignas(64) float sums[2 * kTile][2 * kTile];
    sum_whole_factors<kPlanes>(t, sums[0], 2 * kTile);
    finish_floats(t, sums[0], 2 * kTile);
  } else if (t.m > kTile) {
    t.n > kTile ? tile<kPlanes, 2, 2>(t) : tile<kPlanes, 2, 1>(t);
  } else {
    t.n > kTile ? tile<kPlanes, 1, 2>(t) : tile<kPlanes, 1, 1>(t);
  }
}

template <int kPlanes>
constexpr DenseKernel row(std::string_view name, int rate) {
  return {{.name = name,
           .op = "dense",
           .needs = kIsaAvx512 | kIsaBf16 | kIsaAmxBf16,
           .in = DType::bf16,
           .weights = DType::bf16,
           .acc = DType::f32,
           .out = DType::undefined},
          run<kPlanes>,
          2 * kTile,
          2 * kTile,
          kLanes,
          kTile,
          kTile,
          rate,
          enter_tiles,
          leave_tiles,
          kPlanes,
          2,
          split<kPlanes>,
          pack<kPlanes>};
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_bf16) = row<1>("dense_bf16_amx_32x32", 12);
constinit const DenseKernel SKYLINE_TAGGED(dense_bf16x3) = row<2>("dense_bf16x3_amx_32x32", 4);
constinit const DenseKernel SKYLINE_TAGGED(dense_bf16x6) = row<3>("dense_bf16x6_amx_32x32", 2);

}  // namespace skyline::kernels
