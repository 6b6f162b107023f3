// 8-bit products on AMX tiles: two by two tiles of 16x16 sums, 64 values of K at a time. The contract is in
// dense.h.
#include "kernels/gemm/dense_tiles.h"

namespace skyline::kernels {
namespace {

struct Bytes {
  static constexpr int kPlanes = 1;
  static constexpr int64_t kRows = 4;  // of C finished at a time: two pairs of rows, see FinishBytes
  static void finish(const DenseTile& t, const Part& p, const std::byte* sums) {
    finish_sums(t, p, reinterpret_cast<const int32_t*>(sums), kSide);
  }
};
struct Unsigned : Bytes {
  static void upper_left() { _tile_dpbusd(0, 4, 6); }
  static void upper_right() { _tile_dpbusd(1, 4, 7); }
  static void lower_left() { _tile_dpbusd(2, 5, 6); }
  static void lower_right() { _tile_dpbusd(3, 5, 7); }
};
struct Signed : Bytes {
  static void upper_left() { _tile_dpbssd(0, 4, 6); }
  static void upper_right() { _tile_dpbssd(1, 4, 7); }
  static void lower_left() { _tile_dpbssd(2, 5, 6); }
  static void lower_right() { _tile_dpbssd(3, 5, 7); }
};

struct FinishOther {
  const DenseTile& t;
  explicit FinishOther(const DenseTile& t) : t(t) {}
  void operator()(int64_t row, int64_t col, int64_t rows, const std::byte* from) {
    finish_sums(t, {row, col, rows, kSide}, reinterpret_cast<const int32_t*>(from), kSide);
  }
};

template <class Dot, class T>
void run_bytes(const DenseTile& t) {
  ByteScaling s;
  const bool bounded = set_limits<T>(t.epilogue, s) && scales_are_small(t.epilogue, 0, t.n);
  if (!bounded) return run_tiles<Dot, FinishBytes<T, false, true>>(t);
  t.epilogue.zero_point ? run_tiles<Dot, FinishBytes<T, true, true>>(t)
                        : run_tiles<Dot, FinishBytes<T, true, false>>(t);
}
template <class Dot>
void run(const DenseTile& t) noexcept {
  if (t.out == DType::u8) return run_bytes<Dot, uint8_t>(t);
  if (t.out == DType::i8) return run_bytes<Dot, int8_t>(t);
  t.out == DType::i32 ? run_tiles<Dot, FinishWords>(t) : run_tiles<Dot, FinishOther>(t);
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
          kSide,
          kSide,
          kLanes,
          kTile,
          kTile,
          16,
          enter_tiles,
          leave_tiles,
          1,
          4,
          kCut};
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = row("dense_u8_amx_32x32", DType::u8, run<Unsigned>);
constinit const DenseKernel SKYLINE_TAGGED(dense_i8) = row("dense_i8_amx_32x32", DType::i8, run<Signed>);

}  // namespace skyline::kernels
