// The integer micro-kernel: pairs of i16 products summed in i32, which is exact for all 8-bit values less any
// 8-bit zero point. The contract is in tile.h; a step is two values of K.
#include <string.h>

#include "kernels/gemm/requantize.h"
#include "kernels/gemm/tile.h"
#include "kernels/gemm/tile_table.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
constexpr int kMr = 12, kNv = 2;
constexpr std::string_view kName = "gemm_i16_avx512_12x32";
constexpr IsaSet kNeeds = kIsaAvx512;
inline I32 multiply_pairs(I32 a, I32 b) {
  return _mm512_madd_epi16(a, b);
}
#elif defined(SKYLINE_ARCH_avx2)
constexpr int kMr = 6, kNv = 2;
constexpr std::string_view kName = "gemm_i16_avx2_6x16";
constexpr IsaSet kNeeds = kIsaAvx2;
inline I32 multiply_pairs(I32 a, I32 b) {
  return _mm256_madd_epi16(a, b);
}
#elif defined(SKYLINE_ARCH_neon)
constexpr int kMr = 8, kNv = 2;
constexpr std::string_view kName = "gemm_i16_neon_8x8";
constexpr IsaSet kNeeds = kIsaNeon;
inline I32 multiply_pairs(I32 a, I32 b) {
  const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
  return vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
}
#else
constexpr int kMr = 4, kNv = 2;
constexpr std::string_view kName = "gemm_i16_sse2_4x8";
constexpr IsaSet kNeeds = kIsaSse2;
inline I32 multiply_pairs(I32 a, I32 b) {
  return _mm_madd_epi16(a, b);
}
#endif

template <int M, int NV>
void tile(const GemmTile& t) noexcept {
  const int last = static_cast<int>(t.n) - (NV - 1) * kLanes;
  I32 acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = I32(0);
  }
  auto* b = static_cast<const int32_t*>(t.b);
  const int64_t ldb = t.b_stride / 4, steps = t.steps;
  auto* rows = reinterpret_cast<const char* const*>(t.a);
  for (int64_t tap = 0; tap < t.taps; ++tap, rows += M) {
    const char* a[M];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) a[i] = rows[i];
    for (int64_t s = 0; s < steps; ++s, b += ldb) {
      I32 vb[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) vb[j] = I32::load_unaligned(b + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) {
        int32_t pair;
        memcpy(&pair, a[i] + s * 4, 4);
        const I32 va(pair);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) acc[i][j] += multiply_pairs(va, vb[j]);
      }
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < NV; ++j) {
      store_integers(static_cast<char*>(t.c) + i * t.c_stride, t.out, t.epilogue, acc[i][j], j * kLanes,
                     j == NV - 1 ? last : kLanes);
    }
  }
  if (t.out == DType::f32 && t.epilogue.act.fn != Act::none) {
    activate_rows(t.epilogue.act, static_cast<float*>(t.c), t.c_stride / 4, M, t.n);
  }
}

constexpr int kNr = kNv * kLanes;
using TileFn = void (*)(const GemmTile&) noexcept;
constexpr TileTable<TileFn, kMr, kNv> kTable([]<int M, int NV>() { return tile<M, NV>; });

void run(const GemmTile& t) noexcept {
  kTable.of(t.m, t.n)(t);
}

}  // namespace

constinit const GemmKernel SKYLINE_TAGGED(gemm_i16) = {{.name = kName,
                                                        .op = "gemm",
                                                        .needs = kNeeds,
                                                        .in = DType::i16,
                                                        .weights = DType::i16,
                                                        .acc = DType::i32,
                                                        .out = DType::undefined},
                                                       run,
                                                       kMr,
                                                       kNr,
                                                       kLanes,
                                                       2};

}  // namespace skyline::kernels
