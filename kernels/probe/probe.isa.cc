// Loops of known work. Everything is unrolled far enough that neither latencies nor the loop's own
// instructions count; empty asm keeps compilers from turning the stores into calls of memset and memcpy.
#include "kernels/probe/probe.h"

#include "kernels/base/lanes.h"

namespace skyline::kernels {
namespace {

// Two multiply-adds of latency 4 start in each cycle, so at least 8 chains; all registers but two, so that it
// also holds where there are more ports.
#if defined(SKYLINE_ARCH_avx512) || defined(SKYLINE_ARCH_neon)
constexpr int kChains = 24;
constexpr int kVectors = 4;
#else
constexpr int kChains = 12;
constexpr int kVectors = 2;
#endif
constexpr int kRepeat = 8;
constexpr int kRows = 6;
constexpr int kDepth = 64;  // 64 x 64 floats of b: a third of an L1 of 48 KiB
constexpr int kColumns = kVectors * kLanes;

float fma(int64_t rounds) noexcept {
  F32 sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = F32(1.0f + static_cast<float>(i));
  const F32 factor(0.999f), term(0.5f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 8
    for (int k = 0; k < kRepeat; ++k) {
#pragma GCC unroll 24
      for (int i = 0; i < kChains; ++i) sum[i] = mul_add(sum[i], factor, term);
    }
  }
  F32 all = sum[0];
  for (int i = 1; i < kChains; ++i) all += sum[i];
  return sum_lanes(all);
}

float tile(const float* a, const float* b, int64_t rounds) noexcept {
  F32 sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sum[i][j] = F32(0.0f);
  }
  for (int64_t r = 0; r < rounds; ++r) {
    const float *pa = a, *pb = b;
#pragma GCC unroll 4
    for (int k = 0; k < kDepth; ++k, pa += kRows, pb += kColumns) {
      F32 v[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) v[j] = load(pb + j * kLanes);
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
        const F32 x(pa[i]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = mul_add(x, v[j], sum[i][j]);
      }
    }
  }
  F32 all(0.0f);
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) all += sum[i][j];
  }
  return sum_lanes(all);
}

constexpr int kUnroll = 8;
constexpr int64_t kStride = kUnroll * kLanes;

int32_t read(const float* x, int64_t n) noexcept {
  I32 seen[kUnroll];
  for (I32& s : seen) s = I32(0);
  const auto* p = reinterpret_cast<const int32_t*>(x);
  for (int64_t i = 0; i < n; i += kStride) {
#pragma GCC unroll 8
    for (int k = 0; k < kUnroll; ++k) seen[k] = seen[k] ^ load(p + i + k * kLanes);
  }
  I32 all = seen[0];
  for (int k = 1; k < kUnroll; ++k) all = all ^ seen[k];
  alignas(64) int32_t lanes[kLanes];
  all.store_aligned(lanes);
  int32_t result = 0;
  for (int32_t lane : lanes) result ^= lane;
  return result;
}

void write(float* y, int64_t n) noexcept {
  const F32 v(1.25f);
  for (int64_t i = 0; i < n; i += kStride) {
#pragma GCC unroll 8
    for (int k = 0; k < kUnroll; ++k) store(y + i + k * kLanes, v);
    asm volatile("" ::: "memory");
  }
}

void copy(const float* x, float* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; i += kStride) {
#pragma GCC unroll 8
    for (int k = 0; k < kUnroll; ++k) store(y + i + k * kLanes, load(x + i + k * kLanes));
    asm volatile("" ::: "memory");
  }
}

inline void store_past_caches(float* p, const F32& v) noexcept {
#if defined(SKYLINE_ARCH_avx512)
  _mm512_stream_ps(p, v);
#elif defined(SKYLINE_ARCH_avx2)
  _mm256_stream_ps(p, v);
#elif defined(SKYLINE_ARCH_sse2)
  _mm_stream_ps(p, v);
#else
  store(p, v);
#endif
}

void stream(float* y, int64_t n) noexcept {
  const F32 v(1.25f);
  for (int64_t i = 0; i < n; i += kStride) {
#pragma GCC unroll 8
    for (int k = 0; k < kUnroll; ++k) store_past_caches(y + i + k * kLanes, v);
  }
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace

constinit const ProbeTable SKYLINE_TAGGED(probe) = {table_row(SKYLINE_TEXT(SKYLINE_TAGGED(probe)), "probe"),
                                                    fma,
                                                    int64_t{2} * kRepeat* kChains* kLanes,
                                                    tile,
                                                    kRows,
                                                    kColumns,
                                                    kDepth,
                                                    read,
                                                    write,
                                                    copy,
                                                    stream};

}  // namespace skyline::kernels
