// Products of floats in f16 arithmetic. A lane multiplies and adds every other value of K; after some steps
// the two lanes of a column are added to its sum in f32. The contract is in dense.h.
#include "kernels/gemm/dense_copy.h"
#include "kernels/gemm/tile_table.h"

namespace skyline::kernels {
namespace {

constexpr int kMr = 12, kNv = 2, kNr = kNv * kLanes;
// Steps until sums go to f32, so terms of a chain in f16.
constexpr int64_t kChain = 64;

// Sixteen numbers as f16.
struct Halves {
  static constexpr int kPlanes = 1;
  static constexpr bool kBf16 = false;
  __m256i halves[1];
  __mmask16 not_finite = 0;  // f16 arithmetic knows them

  explicit Halves(__m512 x) { halves[0] = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static __m512 value(const __m512i (&words)[1]) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words[0])); }
};

// Both lanes of each column, in f32.
inline __m512 sum_of_pairs(__m512h x) {
  const __m512i bits = _mm512_castph_si512(x);
  const __m512 even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits)),
               odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
  return _mm512_add_ps(even, odd);
}

// Up to kChain steps.
template <int M, int NV>
inline void chain(const std::byte* a, int64_t a_stride, const std::byte* b, int64_t b_stride, int64_t steps,
                  float (*sums)[kNr]) {
  __m512h acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_setzero_ph();
  }
  for (int64_t s = 0; s < steps; ++s, a += 4, b += b_stride) {
    __m512h vb[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) vb[j] = _mm512_loadu_ph(b + j * 64);
    const std::byte* row = a;
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i, row += a_stride) {
      int32_t two;
      memcpy(&two, row, 4);
      const __m512h va = _mm512_castsi512_ph(_mm512_set1_epi32(two));
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_fmadd_ph(va, vb[j], acc[i][j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      float* const sum = sums[i] + j * kLanes;
      _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), sum_of_pairs(acc[i][j])));
    }
  }
}

// f16 ends at 65504: what is not finite may be so only there.
inline bool all_finite(const float (*sums)[kNr], int64_t m, int64_t n) {
  unsigned odd = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; j += kLanes) {
      constexpr int kInfOrNan = 0x99;
      const __mmask16 lanes = n - j < kLanes ? first_lanes(n - j) : __mmask16{0xffff};
      odd |= _mm512_mask_fpclass_ps_mask(lanes, _mm512_load_ps(sums[i] + j), kInfOrNan);
    }
  }
  return odd == 0;
}

template <int M, int NV>
void tile(const DenseTile& t, const Place& p) noexcept {
  alignas(64) float sums[kMr][kNr] = {};
  const std::byte* b = p.b;
  for (int64_t line = 0; line < t.lines; ++line) {
    const std::byte* const a = p.a + line * t.line_stride;
    for (int64_t s = 0; s < t.steps; s += kChain) {
      const int64_t steps = t.steps - s < kChain ? t.steps - s : kChain;
      chain<M, NV>(a + s * 4, t.a_stride, b, p.b_stride, steps, sums);
      b += steps * p.b_stride;
    }
  }
  if (!all_finite(sums, p.part.m, p.part.n)) sum_whole_factors<Halves>(t, p, sums[0], kNr);
  finish_floats(t, p.part, sums[0], kNr);
}

constexpr TileTable<DenseTileFn, kMr, kNv> kTable([]<int M, int NV>() { return tile<M, NV>; });

void run(const DenseTile& t) noexcept {
  each_tile(t, kMr, kNr, 1, [&](const Place& p) { kTable.of(p.part.m, p.part.n)(t, p); });
}

constexpr DenseKernel row() {
  DenseKernel k{{.name = "dense_f16_avx512fp16_12x32",
                 .op = "dense",
                 .needs = kIsaAvx512 | kIsaFp16,
                 .in = DType::f16,
                 .weights = DType::f16,
                 .acc = DType::f32,
                 .out = DType::undefined},
                run,
                kMr,
                kNr,
                kLanes};
  k.rate = 2;
  k.values = 2;
  k.split = split<Halves>;
  k.pack = pack<Halves>;
  return k;
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_f16) = row();

}  // namespace skyline::kernels
