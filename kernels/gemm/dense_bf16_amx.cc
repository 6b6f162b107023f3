// Products of floats on AMX tiles: two by two tiles of 16x16 sums, 32 values of K at a time, each factor one,
// two or three bf16 numbers. The contract is in dense.h.
#include "kernels/gemm/bf16_planes.h"
#include "kernels/gemm/dense_copy.h"
#include "kernels/gemm/dense_tiles.h"

namespace skyline::kernels {
namespace {

template <int kCount>
struct Bf16 {
  static constexpr int kPlanes = kCount;
  static void upper_left() { _tile_dpbf16ps(0, 4, 6); }
  static void upper_right() { _tile_dpbf16ps(1, 4, 7); }
  static void lower_left() { _tile_dpbf16ps(2, 5, 6); }
  static void lower_right() { _tile_dpbf16ps(3, 5, 7); }
  static constexpr int64_t kRows = 2;  // of C finished at a time
  static void finish(const DenseTile& t, const Part& p, const std::byte* sums) {
    finish_floats(t, p, reinterpret_cast<const float*>(sums), kSide);
  }
};
struct FinishOther {
  const DenseTile& t;
  explicit FinishOther(const DenseTile& t) : t(t) {}
  void operator()(int64_t row, int64_t col, int64_t rows, const std::byte* from) {
    finish_floats(t, {row, col, rows, kSide}, reinterpret_cast<const float*>(from), kSide);
  }
};

template <int kPlanes>
void run(const DenseTile& t) noexcept {
  using Dot = Bf16<kPlanes>;
  if (t.finite) {
    if (!FinishFloats<StoreF32>::fits(t.epilogue)) return run_tiles<Dot, FinishOther>(t);
    if (t.out == DType::bf16) return run_tiles<Dot, FinishFloats<StoreBf16>>(t);
    return run_tiles<Dot, FinishFloats<StoreF32>>(t);
  }
  each_tile(t, kSide, kSide, kPlanes, [&](const Place& p) {
    alignas(64) float sums[kSide][kSide];
    sum_whole_factors<Planes<kPlanes>>(t, p, sums[0], kSide);
    finish_floats(t, p.part, sums[0], kSide);
  });
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
          kSide,
          kSide,
          kLanes,
          kTile,
          kTile,
          rate,
          enter_tiles,
          leave_tiles,
          kPlanes,
          2,
          kCut / kPlanes / kTile * kTile,
          split<Planes<kPlanes>>,
          pack<Planes<kPlanes>>};
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_bf16) = row<1>("dense_bf16_amx_32x32", 12);
constinit const DenseKernel SKYLINE_TAGGED(dense_bf16x3) = row<2>("dense_bf16x3_amx_32x32", 4);
constinit const DenseKernel SKYLINE_TAGGED(dense_bf16x6) = row<3>("dense_bf16x6_amx_32x32", 2);

}  // namespace skyline::kernels
