// The f32 micro-kernel, one body for every ISA level; the contract is in tile.h.
#include "kernels/gemm/activate.h"
#include "kernels/gemm/tile.h"

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

// Steps in one chain of multiply-adds. Longer sums are cut into such chains, which are then added up: the
// rounding error of a chain grows with its length. A flush costs some 40 cycles, a step 12 on AVX-512: at 64
// steps that showed (5 %), at 256 it does not.
constexpr int64_t kChain = 256;

template <int M, int NV>
inline void clear(F32 (&acc)[M][NV]) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = F32(0.0f);
  }
}

// sums += acc, or sums = acc the first time.
template <int M, int NV>
inline void flush(F32 (&acc)[M][NV], float* sums, bool first) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      float* at = sums + (i * NV + j) * kLanes;
      (first ? acc[i][j] : acc[i][j] + F32::load_aligned(at)).store_aligned(at);
    }
  }
  clear<M, NV>(acc);
}

template <int M, int NV>
inline void add_bias(F32 (&acc)[M][NV], const Epilogue& e, int last) {
  if (e.bias_n) {
    F32 bias[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) bias[j] = load_first(e.bias_n + j * kLanes, j == NV - 1 ? last : kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) acc[i][j] += bias[j];
    }
  }
  if (!e.bias_m) return;
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] += F32(e.bias_m[i]);
  }
}

template <Act F, int M, int NV>
inline void activate_all(F32 (&acc)[M][NV], Activation f) {
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = activate<F>(acc[i][j], f.a, f.b);
  }
}

template <int M, int NV>
inline void finish(F32 (&acc)[M][NV], const Epilogue& e, int last) {
  if (e.residual) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const float* p = e.residual + i * e.ldr;
#pragma GCC unroll 2
      for (int j = 0; j < NV - 1; ++j) acc[i][j] += F32::load_unaligned(p + j * kLanes);
      acc[i][NV - 1] += load_first(p + (NV - 1) * kLanes, last);
    }
  }
  if (e.act.fn == Act::relu) {
    activate_all<Act::relu>(acc, e.act);
  } else if (e.act.fn == Act::clip) {
    activate_all<Act::clip>(acc, e.act);
  }
}

template <int M, int NV>
void tile(const GemmTile& t) noexcept {
  const int last = static_cast<int>(t.n) - (NV - 1) * kLanes;  // columns in the last vector
  const int64_t ldc = t.c_stride / 4;
  auto* c = static_cast<float*>(t.c);
  F32 acc[M][NV];
  clear<M, NV>(acc);
  alignas(64) float sums[M * NV * kLanes];
  bool flushed = false;
  auto* b = static_cast<const float*>(t.b);
  const int64_t ldb = t.b_stride / 4, steps = t.steps;
  auto* rows = reinterpret_cast<const float* const*>(t.a);
  int64_t left = kChain;  // of the present chain
  const std::byte* fetch = t.fetch ? t.fetch : static_cast<const std::byte*>(t.b);
  const int64_t fetch_step = t.fetch_step;
  for (int64_t tap = 0; tap < t.taps; ++tap, rows += M) {
    const float* a[M];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) a[i] = rows[i];
    for (int64_t k = 0; k < steps;) {
      if (left == 0) {
        flush<M, NV>(acc, sums, !flushed);
        flushed = true;
        left = kChain;
      }
      const int64_t end = steps - k < left ? steps : k + left;
      left -= end - k;
      for (; k < end; ++k, b += ldb) {
        __builtin_prefetch(fetch, 0, 2);  // into L2
        fetch += fetch_step;
        F32 vb[NV];
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) vb[j] = F32::load_unaligned(b + j * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < M; ++i) {
          const F32 va(a[i][k]);
#pragma GCC unroll 2
          for (int j = 0; j < NV; ++j) acc[i][j] = mul_add(va, vb[j], acc[i][j]);
        }
      }
    }
  }
  if (flushed) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) acc[i][j] += F32::load_aligned(sums + (i * NV + j) * kLanes);
    }
  }
  add_bias<M, NV>(acc, t.epilogue, last);
  finish<M, NV>(acc, t.epilogue, last);
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV - 1; ++j) acc[i][j].store_unaligned(c + i * ldc + j * kLanes);
    store_first(c + i * ldc + (NV - 1) * kLanes, acc[i][NV - 1], last);
  }
  if (t.epilogue.act.fn > Act::clip) activate_rows(t.epilogue.act, c, ldc, M, t.n);
}

constexpr int kNr = kNv * kLanes;
using TileFn = void (*)(const GemmTile&) noexcept;
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

void run(const GemmTile& t) noexcept {
  kTable.fn[t.m - 1][(t.n - 1) / kLanes](t);
}

#if defined(SKYLINE_ARCH_avx512)
// One vector of columns: 12 rows would need more pointers than there are registers, and reloading them takes
// the load ports that the broadcasts need. 8 accumulators just cover the latency of two FMA ports.
constexpr int kNarrowMr = 8;
void run_narrow(const GemmTile& t) noexcept {
  kTable.fn[t.m - 1][0](t);
}
#endif

}  // namespace

#if defined(SKYLINE_ARCH_avx512)
constinit const GemmKernel SKYLINE_TAGGED(gemm_f32_narrow) = {
    {.name = "gemm_f32_avx512_8x16", .op = "gemm", .needs = kNeeds, .weights = DType::f32, .acc = DType::f32},
    run_narrow,
    kNarrowMr,
    kLanes,
    kLanes,
    1,
    kLanes};
#endif

constinit const GemmKernel SKYLINE_TAGGED(gemm_f32) = {
    {.name = kName, .op = "gemm", .needs = kNeeds, .weights = DType::f32, .acc = DType::f32},
    run,
    kMr,
    kNr,
    kLanes,
    1};

}  // namespace skyline::kernels
