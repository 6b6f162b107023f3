// 8-bit products without VNNI: u8 times i8, two at a time summed in 16 bits, then in 32. Weights are bounded
// so that no pair saturates, and what that takes off them is multiplied apart (dense_pairs.h). The contract
// is in dense.h. For levels that have the instruction.
#if defined(SKYLINE_ARCH_avx512)
#include "kernels/gemm/dense_finish.h"
#elif defined(SKYLINE_ARCH_avx2)
#include "kernels/gemm/dense_finish_narrow.h"
#endif
#include "kernels/gemm/tile_table.h"

#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_avx2)
namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
constexpr int kMr = 12, kNv = 2;
constexpr std::string_view kName = "dense_u8_avx512_12x32";
using Vector = __m512i;
inline Vector four_sums(Vector a, Vector b) {
  return _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1));
}
inline Vector sum_of(Vector a, Vector b) {
  return _mm512_add_epi32(a, b);
}
inline void keep(Vector& x) {
  __asm__("" : "+v"(x));
}
#else
constexpr int kMr = 6, kNv = 2;
constexpr std::string_view kName = "dense_u8_avx2_6x16";
using Vector = __m256i;
inline Vector four_sums(Vector a, Vector b) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1));
}
inline Vector sum_of(Vector a, Vector b) {
  return _mm256_add_epi32(a, b);
}
// Else GCC 12 computes products first and adds them later, from memory: two thirds of the speed.
inline void keep(Vector& x) {
  __asm__("" : "+x"(x));
}
#endif
constexpr int kNr = kNv * kLanes;

inline Vector load_vector(const std::byte* p) {
  Vector v;
  memcpy(&v, p, sizeof v);
  return v;
}
inline Vector broadcast(const std::byte* a) {
  int32_t four;
  memcpy(&four, a, 4);
#if defined(SKYLINE_ARCH_avx512)
  return _mm512_set1_epi32(four);
#else
  return _mm256_set1_epi32(four);
#endif
}

// One vector of columns at one place in K.
template <int M, int NV, int J>
inline void add_excess(const std::byte* a, int64_t stride, const std::byte* b, Vector (&acc)[M][NV]) {
  const Vector vb = load_vector(b);
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i, a += stride) {
    acc[i][J] = sum_of(acc[i][J], four_sums(broadcast(a), vb));
    keep(acc[i][J]);
  }
}
template <int M, int NV, int J>
inline void add_entries(const DenseTile& t, const Place& p, Vector (&acc)[M][NV]) {
  constexpr int64_t kWidth = sizeof(Vector);
  const int64_t all = t.lines * t.steps;
  int32_t count;
  memcpy(&count, p.b + pair_counts(all, p.b_stride) + J * 4, 4);
  const std::byte* b = p.b + pair_entries(all, p.b_stride, J, kLanes);
  if (count < 0) {
    for (int64_t line = 0; line < t.lines; ++line) {
      const std::byte* a = p.a + line * t.line_stride;
      for (int64_t s = 0; s < t.steps; ++s, a += 4, b += kWidth) add_excess<M, NV, J>(a, t.a_stride, b, acc);
    }
    return;
  }
  const std::byte* place = b + count * kWidth;
  for (int32_t i = 0; i < count; ++i, b += kWidth, place += 4) {
    uint32_t where;
    memcpy(&where, place, 4);
    const int64_t line = where >> kPairLine, step = where & ((1u << kPairLine) - 1);
    add_excess<M, NV, J>(p.a + line * t.line_stride + step * 4, t.a_stride, b, acc);
  }
}

template <int M, int NV>
void tile(const DenseTile& t, const Place& p) noexcept {
  Vector acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = Vector{};
  }
  const std::byte* b = p.b;
  const int64_t stride = t.a_stride;
  for (int64_t line = 0; line < t.lines; ++line) {
    const std::byte* first = p.a + line * t.line_stride;
    for (int64_t s = 0; s < t.steps; ++s, b += p.b_stride) {
      Vector vb[NV];
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) vb[j] = load_vector(b + j * static_cast<int64_t>(sizeof(Vector)));
      const std::byte* a = first + s * 4;
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i, a += stride) {
        const Vector va = broadcast(a);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) {
          acc[i][j] = sum_of(acc[i][j], four_sums(va, vb[j]));
          keep(acc[i][j]);
        }
      }
    }
  }
  add_entries<M, NV, 0>(t, p, acc);
  if constexpr (NV == 2) add_entries<M, NV, 1>(t, p, acc);
  alignas(64) int32_t sums[M][kNr];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) memcpy(sums[i] + j * kLanes, &acc[i][j], sizeof(Vector));
  }
  finish_sums(t, p.part, sums[0], kNr);
}

constexpr TileTable<DenseTileFn, kMr, kNv> kTable([]<int M, int NV>() { return tile<M, NV>; });

void run(const DenseTile& t) noexcept {
  each_tile_of(t, kMr, kNr, pair_rows(t.lines * t.steps),
               [&](const Place& p) { kTable.of(p.part.m, p.part.n)(t, p); });
}

constexpr DenseKernel row() {
  DenseKernel k{{.name = kName,
                 .op = "dense",
                 .needs = kLevelBit,
                 .in = DType::u8,
                 .weights = DType::i8,
                 .acc = DType::i32,
                 .out = DType::undefined},
                run,
                kMr,
                kNr,
                kLanes};
  k.rate = 2;
  k.pairs = true;
  return k;
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = row();

}  // namespace skyline::kernels
#endif
