// The f32 micro-kernel, one body for every ISA level; the contract is in tile.h.
#include "kernels/gemm/activate.h"
#include "kernels/gemm/tile.h"
#include "kernels/gemm/tile_table.h"

namespace skyline::kernels {
namespace {

// Tile: mr x (nv vectors). The accumulators, nv vectors of B and one broadcast of A fill the register file:
// avx512 24 + 2 + 1 of 32, avx2 12 + 2 + 1 of 16, sse2 8 + 2 + 1 (+ a product) of 16, neon 16 + 2 + 1 of 32.
#if defined(SKYLINE_ARCH_avx512)
constexpr int kMr = 12, kNv = 2;
constexpr std::string_view kName = "gemm_f32_avx512_12x32";
constexpr IsaSet kNeeds = kIsaAvx512;
#elif defined(SKYLINE_ARCH_avx2)
constexpr int kMr = 6, kNv = 2;
constexpr std::string_view kName = "gemm_f32_avx2_6x16";
constexpr IsaSet kNeeds = kIsaAvx2;
#elif defined(SKYLINE_ARCH_neon)
constexpr int kMr = 8, kNv = 2;
constexpr std::string_view kName = "gemm_f32_neon_8x8";
constexpr IsaSet kNeeds = kIsaNeon;
#else
constexpr int kMr = 4, kNv = 2;
constexpr std::string_view kName = "gemm_f32_sse2_4x8";
constexpr IsaSet kNeeds = kIsaSse2;
#endif

// Lines into L2. A tile of few rows may be bound by memory: it asks for as much as it reads.
template <int Lines>
[[gnu::always_inline]] inline void prefetch(const std::byte* p) {
  for (int i = 0; i < Lines; ++i) __builtin_prefetch(p + i * 64, 0, 2);
}

template <int M, int NV>
inline void clear(F32 (&acc)[M][NV]) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 32
    for (int j = 0; j < NV; ++j) acc[i][j] = F32(0.0f);
  }
}

// sums += acc, or sums = acc the first time.
template <int M, int NV>
inline void flush(F32 (&acc)[M][NV], float* sums, bool first) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 32
    for (int j = 0; j < NV; ++j) {
      float* at = sums + (i * NV + j) * kLanes;
      (first ? acc[i][j] : acc[i][j] + F32::load_aligned(at)).store_aligned(at);
    }
  }
  clear<M, NV>(acc);
}

// What of an epilogue differs from panel to panel. Apart, because who copied all of it right after it was
// written would wait for the store buffer.
struct Columns {
  const float *bias, *residual;
  explicit Columns(const Epilogue& e) : bias(e.bias_n), residual(e.residual) {}
  void next(int64_t n) {
    if (bias) bias += n;
    if (residual) residual += n;
  }
};

template <int M, int NV>
inline void add_bias(F32 (&acc)[M][NV], const Epilogue& e, const Columns& at, int last) {
  if (at.bias) {
    F32 bias[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bias[j] = load_first(at.bias + j * kLanes, j == NV - 1 ? last : kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] += bias[j];
    }
  }
  if (!e.bias_m) return;
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] += F32(e.bias_m[i]);
  }
}

template <Act F, int M, int NV>
inline void activate_all(F32 (&acc)[M][NV], Activation f) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = activate<F>(acc[i][j], f.a, f.b);
  }
}

template <int M, int NV>
inline void add_rows(F32 (&acc)[M][NV], const float* p, int64_t stride, int last) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i, p += stride) {
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) acc[i][j] += F32::load_unaligned(p + j * kLanes);
    acc[i][NV - 1] += load_first(p + (NV - 1) * kLanes, last);
  }
}

template <int M, int NV>
inline void finish(F32 (&acc)[M][NV], const Epilogue& e, const Columns& at, int last) {
  if (at.residual) add_rows<M, NV>(acc, at.residual, e.ldr, last);
  if (e.act.fn == Act::relu) {
    activate_all<Act::relu>(acc, e.act);
  } else if (e.act.fn == Act::clip) {
    activate_all<Act::clip>(acc, e.act);
  }
}

// A: a pointer to each row, or m values side by side a step.
template <int M, bool Interleaved>
struct RowsOf {
  const float* at[Interleaved ? 1 : M];
  explicit RowsOf(const float* const* rows) {
#pragma GCC unroll 16
    for (int i = 0; i < (Interleaved ? 1 : M); ++i) at[i] = rows[i];
  }
  float value(int i, int64_t k) const {
    if constexpr (Interleaved) return at[0][k * M + i];
    return at[i][k];
  }
};

template <int M, int NV, class A>
[[gnu::always_inline]] inline void step(F32 (&acc)[M][NV], const A& a, int64_t k, const float* b) {
  F32 vb[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) vb[j] = F32::load_unaligned(b + j * kLanes);
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    const F32 va(a.value(i, k));
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = mul_add(va, vb[j], acc[i][j]);
  }
}

// What is fetched ahead; a step of 0: nothing.
struct Ahead {
  const std::byte* at;
  int64_t step;

  // A prefetch in vain costs: the loop is bound by its loads (2 % of 256^3 on a Xeon with AVX-512).
  template <int Lines>
  void fetch() {
    if (step == 0) return;
    prefetch<Lines>(at);
    at += step;
  }
};

// `steps` steps, from step k of A on; returns the next row of B.
template <int M, int NV, class A>
[[gnu::always_inline]] inline const float* multiply(F32 (&acc)[M][NV], const A& a, int64_t k, int64_t steps,
                                                    const float* b, int64_t ldb, Ahead& ahead) {
  const int64_t end = k + steps;
  for (; k + 1 < end; k += 2, b += 2 * ldb) {
    ahead.template fetch<M <= 4 ? NV : 1>();
    ahead.template fetch<M <= 4 ? NV : 1>();
    step(acc, a, k, b);
    step(acc, a, k + 1, b + ldb);
  }
  if (k == end) return b;
  step(acc, a, k, b);
  return b + ldb;
}

template <int M, int NV>
[[gnu::always_inline]] inline void finish_and_store(F32 (&acc)[M][NV], const GemmTile& t, const Columns& at,
                                                    float* c, int last) {
  const int64_t ldc = t.c_stride / 4;
  const Epilogue& e = t.epilogue;
  if (!t.more) {
    add_bias<M, NV>(acc, e, at, last);
    finish<M, NV>(acc, e, at, last);
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) acc[i][j].store_unaligned(c + i * ldc + j * kLanes);
    store_first(c + i * ldc + (NV - 1) * kLanes, acc[i][NV - 1], last);
  }
  if (e.act.fn > Act::clip && !t.more) activate_rows(e.act, c, ldc, M, t.n);
}

template <int M, int NV>
inline void load_sums(const float* c, int64_t ldc, int last, float* sums) {
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < NV; ++j) {
      load_first(c + i * ldc + j * kLanes, j == NV - 1 ? last : kLanes)
          .store_aligned(sums + (i * NV + j) * kLanes);
    }
  }
}

template <int M, int NV>
inline void add_sums(F32 (&acc)[M][NV], const float* sums) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] += F32::load_aligned(sums + (i * NV + j) * kLanes);
  }
}

// A sum of several taps.
template <int M, int NV>
void tile_of_taps(const GemmTile& t, const Columns& at, const float* b, float* c, Ahead& ahead) noexcept {
  const int last = static_cast<int>(t.n) - (NV - 1) * kLanes;  // columns in the last vector
  const int64_t ldc = t.c_stride / 4;
  F32 acc[M][NV];
  clear<M, NV>(acc);
  alignas(64) float sums[M * NV * kLanes];
  bool flushed = false;
  if (t.add) {  // it may have gone as far as L3
    for (int i = 0; i < M; ++i) prefetch<NV>(reinterpret_cast<const std::byte*>(c + i * ldc));
  }
  if (t.add && t.steps * t.taps > kChain) {
    load_sums<M, NV>(c, ldc, last, sums);
    flushed = true;
  }
  auto* rows = reinterpret_cast<const float* const*>(t.a);
  int64_t left = kChain;  // of the present chain
  for (int64_t tap = 0; tap < t.taps; ++tap, rows += M) {
    const RowsOf<M, false> a(rows);
    for (int64_t k = 0; k < t.steps;) {
      if (left == 0) {
        flush<M, NV>(acc, sums, !flushed);
        flushed = true;
        left = kChain;
      }
      const int64_t count = t.steps - k < left ? t.steps - k : left;
      b = multiply(acc, a, k, count, b, t.b_stride / 4, ahead);
      left -= count;
      k += count;
    }
  }
  if (flushed) {
    add_sums<M, NV>(acc, sums);
  } else if (t.add) {
    add_rows<M, NV>(acc, c, ldc, last);
  }
  finish_and_store(acc, t, at, c, last);
}

// One tap; a sum of one chain, or of several. Apart, because in a loop over panels that has nothing else GCC
// keeps all that it needs in registers: what a tile takes besides its products falls from 120 to 50 cycles,
// of 768 for 64 steps (a Xeon with AVX-512).
template <int M, int NV, bool Interleaved, bool Several>
void tiles_of_chains(const GemmTile& t, Ahead ahead) noexcept {
  const int last = static_cast<int>(t.n) - (NV - 1) * kLanes;
  const RowsOf<M, Interleaved> a(reinterpret_cast<const float* const*>(t.a));
  auto* b = static_cast<const float*>(t.b);
  auto* c = static_cast<float*>(t.c);
  Columns at(t.epilogue);
  for (int64_t p = 0; p < t.panels; ++p, b += t.panel_stride / 4, c += t.n, at.next(t.n)) {
    F32 acc[M][NV];
    clear<M, NV>(acc);
    if (Several) {
      alignas(64) float sums[M * NV * kLanes];
      if (t.add) load_sums<M, NV>(c, t.c_stride / 4, last, sums);
      const float* row = multiply(acc, a, 0, kChain, b, t.b_stride / 4, ahead);
      flush<M, NV>(acc, sums, !t.add);
      int64_t k = kChain;
      for (; t.steps - k > kChain; k += kChain) {
        row = multiply(acc, a, k, kChain, row, t.b_stride / 4, ahead);
        flush<M, NV>(acc, sums, false);
      }
      multiply(acc, a, k, t.steps - k, row, t.b_stride / 4, ahead);
      add_sums<M, NV>(acc, sums);
    } else {
      multiply(acc, a, 0, t.steps, b, t.b_stride / 4, ahead);
      if (t.add) add_rows<M, NV>(acc, c, t.c_stride / 4, last);
    }
    finish_and_store(acc, t, at, c, last);
  }
}

template <int M, int NV, bool Interleaved>
void tile(const GemmTile& t) noexcept {
  Ahead ahead{t.fetch, t.fetch ? t.fetch_step : 0};
  if (t.taps == 1) {
    return t.steps <= kChain ? tiles_of_chains<M, NV, Interleaved, false>(t, ahead)
                             : tiles_of_chains<M, NV, Interleaved, true>(t, ahead);
  }
  Columns at(t.epilogue);
  auto* b = static_cast<const float*>(t.b);
  auto* c = static_cast<float*>(t.c);
  for (int64_t p = 0; p < t.panels; ++p, b += t.panel_stride / 4, c += t.n, at.next(t.n)) {
    tile_of_taps<M, NV>(t, at, b, c, ahead);
  }
}

using TileFn = void (*)(const GemmTile&) noexcept;
template <int Mr, int Nv, bool Interleaved>
constexpr TileTable<TileFn, Mr, Nv> kTable([]<int M, int NV>() { return tile<M, NV, Interleaved>; });

template <int Mr, int Nv>
void run(const GemmTile& t) noexcept {
  (t.interleaved ? kTable<Mr, Nv, true> : kTable<Mr, Nv, false>).of(t.m, t.n)(t);
}

#if defined(SKYLINE_ARCH_avx512)
// Eight rows: four columns at a time, the upper four rows in the upper halves.
void interleave_8(const float* a, int64_t k, int64_t m_stride, float* to) noexcept {
  const auto halves = [&](const float* p) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4 * m_stride), 1);
  };
  for (; k >= 4; k -= 4, a += 4, to += 32) {
    const __m256 a0 = halves(a), a1 = halves(a + m_stride), a2 = halves(a + 2 * m_stride),
                 a3 = halves(a + 3 * m_stride);
    const __m256 b0 = _mm256_unpacklo_ps(a0, a1), b1 = _mm256_unpackhi_ps(a0, a1),
                 b2 = _mm256_unpacklo_ps(a2, a3), b3 = _mm256_unpackhi_ps(a2, a3);
    _mm256_storeu_ps(to, _mm256_shuffle_ps(b0, b2, 0x44));
    _mm256_storeu_ps(to + 8, _mm256_shuffle_ps(b0, b2, 0xee));
    _mm256_storeu_ps(to + 16, _mm256_shuffle_ps(b1, b3, 0x44));
    _mm256_storeu_ps(to + 24, _mm256_shuffle_ps(b1, b3, 0xee));
  }
  for (; k > 0; --k, ++a) {
    for (int i = 0; i < 8; ++i) *to++ = a[i * m_stride];
  }
}
#endif

// One row by P panels. Such a product is bound by memory, and a core reads several runs of memory side by
// side faster than one: the prefetchers follow each only so far. In caches it is bound by the latency of its
// accumulators, of which a panel alone has too few.
constexpr int kRowAhead = 8;  // steps
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
constexpr int kRowVectors = 24;  // accumulators
#else
constexpr int kRowVectors = 12;
#endif
template <int P, int NV, bool Far>
void row_by_panels(const GemmTile& t) noexcept {
  constexpr int kAll = P * NV;
  alignas(64) float sums[kAll * kLanes];
  const auto* a = *reinterpret_cast<const float* const*>(t.a);
  const auto* b = static_cast<const float*>(t.b);
  const int64_t ldb = t.b_stride / 4, next = t.panel_stride / 4;
  int64_t k = 0;
  do {
    F32 acc[kAll];
#pragma GCC unroll 32
    for (int j = 0; j < kAll; ++j) acc[j] = F32(0.0f);
    for (const int64_t end = t.steps - k < kChain ? t.steps : k + kChain; k < end; ++k, b += ldb) {
      const F32 va(a[k]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        if (Far)
          prefetch<(NV * kLanes + 15) / 16>(
              reinterpret_cast<const std::byte*>(b + p * next + kRowAhead * ldb));
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) {
          acc[p * NV + j] = mul_add(va, F32::load_unaligned(b + p * next + j * kLanes), acc[p * NV + j]);
        }
      }
    }
    flush<1, kAll>(reinterpret_cast<F32(&)[1][kAll]>(acc), sums, k <= kChain);
  } while (k < t.steps);
  auto* c = static_cast<float*>(t.c);
  Columns at(t.epilogue);
  for (int j = 0; j < kAll; ++j, c += kLanes, at.next(kLanes)) {
    F32 sum[1][1] = {{F32::load_aligned(sums + j * kLanes)}};
    add_bias<1, 1>(sum, t.epilogue, at, kLanes);
    finish<1, 1>(sum, t.epilogue, at, kLanes);
    sum[0][0].store_unaligned(c);
  }
  if (t.epilogue.act.fn > Act::clip) {
    activate_rows(t.epilogue.act, static_cast<float*>(t.c), t.n, 1, t.n);
  }
}

template <int NV, int P>
void run_row(const GemmTile& t) noexcept {
  if constexpr (P > 1) {
    if (t.panels < P) return run_row<NV, P - 1>(t);
  }
  t.fetch ? row_by_panels<P, NV, true>(t) : row_by_panels<P, NV, false>(t);
}

template <int Mr, int Nv>
constexpr GemmKernel row(std::string_view name, int max_n = 0,
                         decltype(GemmKernel::interleave) interleave = nullptr) {
  return {{.name = name, .op = "gemm", .needs = kNeeds, .weights = DType::f32, .acc = DType::f32},
          run<Mr, Nv>,
          Mr,
          Nv * kLanes,
          kLanes,
          1,
          max_n,
          true,
          interleave,
          run_row<Nv, kRowVectors / Nv>,
          kRowVectors / Nv};
}

}  // namespace

#if defined(SKYLINE_ARCH_avx512)
// One vector of columns: 12 rows would need more pointers than there are registers, and reloading them takes
// the load ports that the broadcasts need. 8 accumulators just cover the latency of two FMA ports.
constinit const GemmKernel SKYLINE_TAGGED(gemm_f32_narrow) = row<8, 1>("gemm_f32_avx512_8x16", kLanes);
constinit const GemmKernel SKYLINE_TAGGED(gemm_f32_square) = row<8, 3>("gemm_f32_avx512_8x48", 0,
                                                                       interleave_8);
constinit const GemmKernel SKYLINE_TAGGED(gemm_f32_wide) = row<6, 4>("gemm_f32_avx512_6x64");
#endif

constinit const GemmKernel SKYLINE_TAGGED(gemm_f32) = row<kMr, kNv>(kName);

}  // namespace skyline::kernels
