// Products of floats on AMX tiles: two by two tiles of 16x16 sums, 32 values of K at a time, each factor one,
// two or three bf16 numbers. The contract is in dense.h.
#include "kernels/gemm/bf16_planes.h"
#include "kernels/gemm/dense_copy.h"
#include "kernels/gemm/dense_finish_floats.h"
#include "kernels/gemm/dense_tiles.h"

namespace skyline::kernels {
namespace {

template <int kCount, class Finish>
struct Bf16 {
  static constexpr int kPlanes = kCount;
  static void upper_left() { _tile_dpbf16ps(0, 4, 6); }
  static void upper_right() { _tile_dpbf16ps(1, 4, 7); }
  static void lower_left() { _tile_dpbf16ps(2, 5, 6); }
  static void lower_right() { _tile_dpbf16ps(3, 5, 7); }
  static constexpr int64_t kRows = 2;  // of C finished at a time
  static void finish(const DenseTile& t, const Part& p, const std::byte* sums) { Finish::tail(t, p, sums); }
};
struct FinishOther {
  const DenseTile& t;
  explicit FinishOther(const DenseTile& t) : t(t) {}
  static void tail(const DenseTile& t, const Part& p, const std::byte* sums) {
    finish_floats(t, p, reinterpret_cast<const float*>(sums), kSide);
  }
  void operator()(int64_t row, int64_t col, int64_t rows, const std::byte* from) {
    tail(t, {row, col, rows, kSide}, from);
  }
};

template <int kPlanes, class Finish>
void run_with(const DenseTile& t) noexcept {
  run_tiles<Bf16<kPlanes, Finish>, Finish>(t);
}
template <int kPlanes, class Pair>
void run_to(const DenseTile& t) noexcept {
  if (FinishPairs<Pair, Act::none>::fits(t.epilogue))
    return run_with<kPlanes, FinishPairs<Pair, Act::none>>(t);
  if (FinishPairs<Pair, Act::gelu_erf>::fits(t.epilogue))
    return run_with<kPlanes, FinishPairs<Pair, Act::gelu_erf>>(t);
  run_with<kPlanes, FinishOther>(t);
}

template <int kPlanes>
void run(const DenseTile& t) noexcept {
  if (t.finite) return t.out == DType::bf16 ? run_to<kPlanes, PairBf16>(t) : run_to<kPlanes, PairF32>(t);
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
