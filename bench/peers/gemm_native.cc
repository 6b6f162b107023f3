// What bench/peers/gemm.py calls: our GEMM behind a C interface, clocks around calls of anybody's functions
// (so that no Python lies between two clock readings), and the machine's ceiling.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/dense.h"
#include "kernels/gemm/gemm.h"
#include "kernels/probe/probe.h"
#include "skyline/isa.h"
#include "skyline/status.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

int64_t now_ns() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// Calls until `ns` have passed, at least once and at most `most`; the duration of each call goes to
// times. Returns their number.
template <class Call>
int64_t time_calls(int64_t ns, int64_t most, int64_t* times, Call&& call) {
  const int64_t end = now_ns() + ns;
  int64_t count = 0;
  for (int64_t begin = now_ns(); count < most && (count < 1 || begin < end);) {
    call();
    const int64_t done = now_ns();
    times[count++] = done - begin;
    begin = done;
  }
  return count;
}

struct Ours {
  GemmPlan plan;
  AlignedBuffer packed, workspace;
  GemmArgs args;
  int threads;
};

#if defined(__x86_64__)
// 6 x 64 multiply-adds a step, their operands read from L1: the inner loop of a perfect f32 GEMM.
template <int M, int NV, class V>
__attribute__((always_inline)) inline void l1_loop(const float* a, const float* b, float* c, int64_t k) {
  constexpr int kLanes = sizeof(V) / 4;
  V acc[M][NV] = {};
  for (int64_t s = 0; s < k; ++s, b += NV * kLanes) {
    V vb[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) std::memcpy(&vb[j], b + j * kLanes, sizeof(V));
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] += a[i * k + s] * vb[j];
    }
  }
  std::memcpy(c, acc, sizeof acc);
}
using V16 = float __attribute__((vector_size(64)));
using V8 = float __attribute__((vector_size(32)));
__attribute__((target("avx512f"))) void ceiling_avx512(const float* a, const float* b, float* c, int64_t k) {
  l1_loop<6, 4, V16>(a, b, c, k);
}
__attribute__((target("avx2,fma"))) void ceiling_avx2(const float* a, const float* b, float* c, int64_t k) {
  l1_loop<6, 2, V8>(a, b, c, k);
}
#endif

}  // namespace

extern "C" {

// Returns null and writes the reason to `why` (256 bytes) on failure. modes: 1 A transposed, 2 B, 4 B is a
// weight. types: those of A, B and C, as DType numbers them. scale: one per column, for C of 8 bits.
__attribute__((visibility("default"))) void* gemm_open(int64_t batch, int64_t m, int64_t n, int64_t k,
                                                       int modes, const int* types, const char* precision,
                                                       const char* isa, int threads, const void* a,
                                                       const void* b, void* c, const float* scale,
                                                       char* why) {
  try {
    GemmProblem p{.m = m, .n = n, .k = k, .batch = batch};
    p.a = static_cast<DType>(types[0]);
    p.b = static_cast<DType>(types[1]);
    p.c = static_cast<DType>(types[2]);
    p.centered_b = p.b == DType::i8;
    p.precision = precision_from_name(precision);
    p.trans_a = modes & 1;
    p.trans_b = modes & 2;
    p.const_b = modes & 4;
    auto* o = new Ours{gemm_plan(p, isa_level(isa)), {}, {}, {}, threads};
    o->args = {
        .a = a, .lda = p.trans_a ? m : k, .b = b, .ldb = p.trans_b ? k : n, .c = c, .ldc = n, .epilogue = {}};
    o->args.epilogue.scale_n = scale;
    o->args.stride_a = m * k;
    o->args.stride_b = p.const_b ? 0 : k * n;
    o->args.stride_c = m * n;
    if (p.const_b) {
      o->packed = aligned_alloc_bytes(o->plan.packed_b_bytes);
      gemm_pack_b(o->plan, {.b = b, .ldb = o->args.ldb}, o->packed.get());
      o->args.b = o->packed.get();
    }
    o->workspace = aligned_alloc_bytes(gemm_workspace_bytes(o->plan, threads));
    return o;
  } catch (const Error& e) {
    std::strncpy(why, e.what(), 255);
    return nullptr;
  }
}
__attribute__((visibility("default"))) int64_t gemm_time(void* ours, int64_t ns, int64_t most,
                                                         int64_t* times) {
  auto* o = static_cast<Ours*>(ours);
  return time_calls(ns, most, times, [&] { gemm_run(o->plan, o->args, o->workspace.get(), o->threads); });
}
__attribute__((visibility("default"))) const char* gemm_kernel(void* ours) {
  return kernel_of(static_cast<Ours*>(ours)->plan).name.data();
}
__attribute__((visibility("default"))) void gemm_close(void* ours) {
  delete static_cast<Ours*>(ours);
}

// Any function of four pointer-sized arguments: dnnl_primitive_execute.
__attribute__((visibility("default"))) int64_t time_call4(void* fn, void* a, void* b, int64_t c, void* d,
                                                          int64_t ns, int64_t most, int64_t* times) {
  auto* call = reinterpret_cast<int (*)(void*, void*, int64_t, void*)>(fn);
  return time_calls(ns, most, times, [&] { call(a, b, c, d); });
}
// cblas_sgemm with 64-bit integers.
__attribute__((visibility("default"))) int64_t time_sgemm(void* fn, int64_t m, int64_t n, int64_t k,
                                                          int trans_a, int trans_b, const float* a,
                                                          const float* b, float* c, int64_t ns, int64_t most,
                                                          int64_t* times) {
  using Sgemm = void (*)(int, int, int, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*,
                         int64_t, float, float*, int64_t);
  auto* call = reinterpret_cast<Sgemm>(fn);
  constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;
  return time_calls(ns, most, times, [&] {
    call(kRowMajor, trans_a ? kTransposed : kPlain, trans_b ? kTransposed : kPlain, m, n, k, 1.0f, a,
         trans_a ? m : k, b, trans_b ? k : n, 0.0f, c, n);
  });
}

// The machine's limit for products of `type` (of A) on `threads` threads in GFLOP/s: of bytes and bf16 that
// of tiles on registers only, else that of the L1 loop in f32. The best of several runs; 0 where there is
// none.
__attribute__((visibility("default"))) double gemm_ceiling(const char* isa, int type, int threads,
                                                           int64_t ns) {
  double best = 0;
  const auto in = static_cast<DType>(type);
  if (in != DType::f32 && in != DType::f16) return probe_tile_products(isa_level(isa), in, threads);
#if defined(__x86_64__)
  const IsaSet set = isa_level(isa);
  const bool wide = set & kIsaAvx512;
  if (!wide && !(set & kIsaAvx2)) return 0;
  constexpr int64_t k = 96, rounds = 400;  // 6 x 96 of A and 96 x 64 of B: 27 KB
  const double flops = static_cast<double>(rounds) * k * 2 * 6 * (wide ? 64 : 16);
  const int64_t end = now_ns() + ns;
  struct alignas(64) Operands {
    float a[6 * k], b[k * 64], c[6 * 64];
  };
  std::vector<Operands> operands(static_cast<size_t>(threads));
  for (Operands& o : operands) {
    std::fill(o.a, o.a + 6 * k, 1.0f);
    std::fill(o.b, o.b + k * 64, 1.0f);
  }
  while (now_ns() < end) {
    const int64_t begin = now_ns();
    parallel_for(threads, threads, 1, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        Operands& o = operands[static_cast<size_t>(t)];
        for (int64_t i = 0; i < rounds; ++i) (wide ? ceiling_avx512 : ceiling_avx2)(o.a, o.b, o.c, k);
      }
    });
    const double speed = flops * threads / static_cast<double>(now_ns() - begin);
    best = speed > best ? speed : best;
  }
#else
  static_cast<void>(isa), static_cast<void>(threads), static_cast<void>(ns);
#endif
  return best;
}

}  // extern "C"
