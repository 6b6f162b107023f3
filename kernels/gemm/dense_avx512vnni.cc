// 8-bit products by AVX512-VNNI (u8 times i8, no saturation between). The contract is in dense.h.
#include "kernels/gemm/dense_finish.h"

namespace skyline::kernels {
namespace {

constexpr int kMr = 12, kNv = 2, kNr = kNv * kLanes;

template <int M, int NV>
void tile(const DenseTile& t, const Place& p) noexcept {
  __m512i acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_setzero_si512();
  }
  const std::byte* b = p.b;
  const int64_t stride = t.a_stride;
  for (int64_t line = 0; line < t.lines; ++line) {
    const std::byte* first = p.a + line * t.line_stride;
    for (int64_t s = 0; s < t.steps; ++s, b += p.b_stride) {
      __m512i vb[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) vb[j] = _mm512_loadu_si512(b + j * 64);
      const std::byte* a = first + s * 4;
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i, a += stride) {
        int32_t four;
        memcpy(&four, a, 4);
        const __m512i va = _mm512_set1_epi32(four);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_dpbusd_epi32(acc[i][j], va, vb[j]);
      }
    }
  }
  alignas(64) int32_t sums[M][kNr];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) _mm512_store_si512(sums[i] + j * kLanes, acc[i][j]);
  }
  finish_sums(t, p.part, sums[0], kNr);
}

using TileFn = void (*)(const DenseTile&, const Place&) noexcept;
struct Table {
  TileFn fn[kMr][kNv];
};
template <int M>
constexpr void fill(Table& table) {
  table.fn[M - 1][0] = tile<M, 1>;
  table.fn[M - 1][1] = tile<M, 2>;
  if constexpr (M > 1) fill<M - 1>(table);
}
constexpr Table make_table() {
  Table table{};
  fill<kMr>(table);
  return table;
}
constexpr Table kTable = make_table();

void run(const DenseTile& t) noexcept {
  each_tile(t, kMr, kNr, 1, [&](const Place& p) { kTable.fn[p.part.m - 1][(p.part.n - 1) / kLanes](t, p); });
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = {{.name = "dense_u8_avx512vnni_12x32",
                                                         .op = "dense",
                                                         .needs = kIsaAvx512 | kIsaVnni,
                                                         .in = DType::u8,
                                                         .weights = DType::i8,
                                                         .acc = DType::i32,
                                                         .out = DType::undefined},
                                                        run,
                                                        kMr,
                                                        kNr,
                                                        kLanes,
                                                        1,
                                                        1,
                                                        4};

}  // namespace skyline::kernels
