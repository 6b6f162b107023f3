#include "kernels/gemm/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/base/memory.h"
#include "skyline/status.h"
#include "tests/kernels/guarded.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

// Small integers, so that every f32 sum is exact and results compare bit by bit.
template <class T>
std::vector<T> fill(int64_t n, uint32_t seed, int lo = -4, int hi = 4) {
  std::vector<T> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (T& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<T>(lo + static_cast<int>((s >> 8) % static_cast<uint32_t>(hi - lo + 1)));
  }
  return v;
}

struct Outcome {
  GemmPlan plan;
  std::vector<std::byte> c;
};
// Plans, packs and runs; C starts as 0xff bytes (NaN), so reading it or missing an element shows.
Outcome run(const GemmProblem& p, GemmArgs args, size_t c_elements, const GemmKernel& kernel, int threads) {
  Outcome o{gemm_plan(p, isa_detected(), &kernel), {}};
  o.c.assign(c_elements * size_of(p.c), std::byte{0xff});
  args.c = o.c.data();
  AlignedBuffer packed;
  if (p.const_b) {
    packed = aligned_alloc_bytes(o.plan.packed_b_bytes);
    GemmWeights w = args.b_info;
    w.b = args.b;
    w.ldb = args.ldb;
    gemm_pack_b(o.plan, w, packed.get());
    args.b = packed.get();
  }
  const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(o.plan, threads));
  gemm_run(o.plan, args, ws.get(), threads);
  return o;
}
std::vector<std::byte> expected(const GemmProblem& p, GemmArgs args, size_t c_elements) {
  std::vector<std::byte> c(c_elements * size_of(p.c), std::byte{0xff});
  args.c = c.data();
  gemm_reference(p, args);
  return c;
}

std::vector<const GemmKernel*> kernels_of(DType in) {
  std::vector<const GemmKernel*> rows;
  for (const KernelInfo* k : all_kernels()) {
    if (k->op == "gemm" && k->in == in && usable(*k, isa_detected()))
      rows.push_back(static_cast<const GemmKernel*>(k));
  }
  return rows;
}

struct Sides {
  int64_t lda, ldb, ldc;
};
Sides sides(const GemmProblem& p, int64_t extra) {
  return {(p.trans_a ? p.m : p.k) + extra, (p.trans_b ? p.k : p.n) + extra, p.n + extra};
}

void check_f32(const GemmProblem& p, const GemmKernel& kernel, const Epilogue& e, int64_t extra,
               int threads) {
  const Sides s = sides(p, extra);
  const auto a = fill<float>((p.trans_a ? p.k : p.m) * s.lda, 1),
             b = fill<float>((p.trans_b ? p.n : p.k) * s.ldb, 2);
  const GemmArgs args{.a = a.data(), .lda = s.lda, .b = b.data(), .ldb = s.ldb, .ldc = s.ldc, .epilogue = e};
  const auto count = static_cast<size_t>(p.m * s.ldc);
  const Outcome got = run(p, args, count, kernel, threads);
  CAPTURE(kernel.name);
  CAPTURE(p.m);
  CAPTURE(p.n);
  CAPTURE(p.k);
  CAPTURE(threads);
  REQUIRE(got.c == expected(p, args, count));
}

}  // namespace

TEST_CASE("f32 gemm: every tile tail of every kernel, exactly") {
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (int64_t m = 1; m <= 2 * kernel->mr + 1; ++m) {
      for (int64_t n : {1, kernel->lanes - 1, kernel->lanes, kernel->lanes + 1, kernel->nr - 1, kernel->nr,
                        kernel->nr + 1, 2 * kernel->nr + 3}) {
        check_f32({.m = m, .n = n, .k = 1 + m % 7, .const_b = true}, *kernel, {}, m % 3, 1);
      }
    }
  }
}

TEST_CASE("gemm touches nothing past the ends of A, B, C, bias, residual and scales") {
  for (DType type : {DType::f32, DType::i16}) {
    const bool f32 = type == DType::f32;
    for (const GemmKernel* kernel : kernels_of(type)) {
      for (int64_t m : {1, 5, 17}) {
        for (int64_t n : {1, 7, 13, 31, 50}) {
          const int64_t k = 1 + (m + n) % 6;
          const size_t size = f32 ? 4 : 1;
          Guarded<std::byte> a(static_cast<size_t>(m * k) * size), b(static_cast<size_t>(k * n) * size),
              c(static_cast<size_t>(m * n) * size);
          Guarded<float> bias(fill<float>(n, 1)), residual(fill<float>(m * n, 2));
          Guarded<int32_t> bias_i32(fill<int32_t>(n, 3));
          const DType io = f32 ? DType::f32 : DType::u8;
          const GemmPlan plan =
              gemm_plan({.m = m, .n = n, .k = k, .a = io, .b = io, .c = io}, isa_detected(), kernel);
          const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(plan, 1));
          GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = n, .c = c.data(), .ldc = n};
          args.epilogue.act.fn = Act::relu;
          if (f32) {
            args.epilogue.bias_n = bias.data();
            args.epilogue.residual = residual.data();
            args.epilogue.ldr = n;
          } else {
            args.epilogue.scale_n = bias.data();
            args.epilogue.bias_i32 = bias_i32.data();
          }
          gemm_run(plan, args, ws.get(), 1);
        }
      }
    }
  }
  CHECK(true);
}

TEST_CASE("f32 gemm: K tails, storage orders, B packed before, packed per run, and read as stored") {
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (int64_t k : {0, 1, 2, 3, 5, 17, 64}) {
      for (int mode = 0; mode < 8; ++mode) {
        for (int64_t m : {3, 61}) {
          GemmProblem p{.m = m, .n = 37, .k = k};
          p.trans_a = mode & 1;
          p.trans_b = mode & 2;
          p.const_b = mode & 4;
          check_f32(p, *kernel, {}, 2, 1);
          p.alpha = 0.5f;
          check_f32(p, *kernel, {}, 0, 2);
        }
      }
    }
  }
}

TEST_CASE("f32 gemm: bias, residual and activations in the epilogue") {
  const int64_t m = 29, n = 45, k = 9;
  const auto bias_n = fill<float>(n, 3), bias_m = fill<float>(m, 4), residual = fill<float>(m * (n + 5), 5);
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (Act act : {Act::none, Act::relu, Act::clip, Act::leaky_relu}) {
      for (int mask = 0; mask < 8; ++mask) {
        Epilogue e;
        if (mask & 1) e.bias_n = bias_n.data();
        if (mask & 2) e.bias_m = bias_m.data();
        if (mask & 4) e.residual = residual.data();
        e.ldr = n + 5;
        e.act = {act, act == Act::clip ? -3.0f : 0.25f, 6.0f};
        check_f32({.m = m, .n = n, .k = k, .const_b = (mask & 1) == 0}, *kernel, e, mask, 1 + mask % 3);
      }
    }
  }
}

TEST_CASE("f32 gemm: K in several slices, with and without rows interleaved, exactly") {
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    int turn = 0;
    for (int64_t k : {kChain + 1, kSlice, kSlice + 1, 2 * kSlice + kChain + 88}) {
      for (int64_t n : {kernel->nr + 3, 8 * kernel->nr + 5}) {
        for (int64_t m : {1, 5, 9}) {
          const int mode = turn++ % 5;  // so that every mode meets every size of some kernel
          const auto bias = fill<float>(n, 3), residual = fill<float>(m * (n + 2), 5);
          Epilogue e;
          if (mode & 1) e.bias_n = bias.data();
          if (mode & 1) e.act.fn = Act::relu;
          if (mode & 2) e.residual = residual.data();
          e.ldr = n + 2;
          GemmProblem p{.m = m, .n = n, .k = k, .const_b = m != 5};
          p.trans_a = mode == 3;
          check_f32(p, *kernel, e, mode, 1 + mode % 3);
        }
      }
    }
  }
}

TEST_CASE("f32 gemm: the residual in C's place, K in several slices") {
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (int64_t n : {kernel->nr + 3, 8 * kernel->nr}) {
      const int64_t m = 19, k = 2 * kSlice + 3;
      const auto a = fill<float>(m * k, 1), b = fill<float>(k * n, 2), residual = fill<float>(m * n, 3);
      GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = n, .ldc = n};
      args.epilogue.residual = residual.data();
      args.epilogue.ldr = n;
      const GemmProblem problem{.m = m, .n = n, .k = k};
      const auto want = expected(problem, args, residual.size());
      const GemmPlan plan = gemm_plan(problem, isa_detected(), kernel);
      const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(plan, 2));
      std::vector<float> c = residual;
      args.c = c.data();
      args.epilogue.residual = c.data();
      gemm_run(plan, args, ws.get(), 2);
      CAPTURE(kernel->name);
      CHECK(std::memcmp(c.data(), want.data(), want.size()) == 0);
    }
  }
}

TEST_CASE("f32 gemm: one row by any number of panels has the bits of two rows") {
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (int64_t panels : {1, 2, 5, 7, 8, 9, 12, 17}) {
      for (int64_t tail : {0, 3, kernel->lanes}) {
        const int64_t n = panels * kernel->nr + tail, k = 1 + (panels * 97 + tail) % 1000;
        std::vector<float> a(static_cast<size_t>(2 * k)), b(static_cast<size_t>(k * n)),
            bias(fill<float>(n, 1)), residual(fill<float>(2 * n, 2));
        for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<float>(i));
        for (size_t i = 0; i < b.size(); ++i) b[i] = std::cos(static_cast<float>(i));
        Epilogue e{.bias_n = bias.data(), .residual = residual.data(), .ldr = n};
        e.act.fn = panels == 5 ? Act::tanh : panels == 7 ? Act::relu : Act::none;
        const GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = n, .ldc = n, .epilogue = e};
        for (bool const_b : {false, true}) {
          const auto count = static_cast<size_t>(n);
          auto two = run({.m = 2, .n = n, .k = k, .const_b = const_b}, args, 2 * count, *kernel, 1);
          two.c.resize(count * sizeof(float));
          for (int threads : {1, 3}) {
            CAPTURE(kernel->name);
            CAPTURE(n);
            CAPTURE(k);
            REQUIRE(run({.m = 1, .n = n, .k = k, .const_b = const_b}, args, count, *kernel, threads).c ==
                    two.c);
          }
        }
      }
    }
  }
}

TEST_CASE("f32 gemm: smooth activations agree with the C library") {
  const int64_t m = 13, n = 37, k = 3;
  const auto a = fill<float>(m * k, 6), b = fill<float>(k * n, 7, -3, 3);
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (Act act : {Act::hard_sigmoid, Act::hard_swish, Act::sigmoid, Act::silu, Act::tanh, Act::gelu_erf,
                    Act::gelu_tanh}) {
      const GemmProblem p{.m = m, .n = n, .k = k, .const_b = true, .alpha = 0.125f};
      const GemmArgs args{
          .a = a.data(), .lda = k, .b = b.data(), .ldb = n, .ldc = n, .epilogue = {.act = {act, 0.2f, 0.5f}}};
      const Outcome got = run(p, args, static_cast<size_t>(m * n), *kernel, 1);
      const auto want = expected(p, args, static_cast<size_t>(m * n));
      for (size_t i = 0; i < static_cast<size_t>(m * n); ++i) {
        const float g = reinterpret_cast<const float*>(got.c.data())[i];
        const float w = reinterpret_cast<const float*>(want.data())[i];
        CHECK(std::abs(g - w) <= 2e-6f * std::max(1.0f, std::abs(w)));
      }
    }
  }
}

TEST_CASE("f32 gemm: NaN passes through relu and clip, and the residual may be C itself") {
  const float nan = std::nanf("");
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    const std::vector<float> a = {nan, 1, 2}, b = {1, 2};
    for (Act act : {Act::relu, Act::clip}) {
      const GemmArgs args{
          .a = a.data(), .lda = 1, .b = b.data(), .ldb = 2, .ldc = 2, .epilogue = {.act = {act, 0.0f, 3.0f}}};
      const Outcome got = run({.m = 3, .n = 2, .k = 1, .const_b = true}, args, 6, *kernel, 1);
      auto* c = reinterpret_cast<const float*>(got.c.data());
      CHECK(std::isnan(c[0]));
      CHECK(std::isnan(c[1]));
      CHECK(c[2] == 1.0f);
      CHECK(c[5] == (act == Act::clip ? 3.0f : 4.0f));
    }
    std::vector<float> c = {10, 20, 30, 40, 50, 60};
    const std::vector<float> ones = {1, 1, 1};
    const GemmPlan plan = gemm_plan({.m = 3, .n = 2, .k = 1}, isa_detected(), kernel);
    const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(plan, 1));
    gemm_run(plan,
             {.a = ones.data(),
              .lda = 1,
              .b = b.data(),
              .ldb = 2,
              .c = c.data(),
              .ldc = 2,
              .epilogue = {.residual = c.data(), .ldr = 2}},
             ws.get(), 1);
    CHECK(c == std::vector<float>{11, 22, 31, 42, 51, 62});
  }
}

TEST_CASE("f32 gemm: batches by stride, by offsets and with a shared B") {
  const int64_t m = 7, n = 19, k = 5, batch = 6;
  const auto a = fill<float>(batch * m * k, 8), b = fill<float>(batch * k * n, 9);
  const std::vector<int64_t> a_offsets = {0, 0, m * k, m * k, 3 * m * k, 0},
                             b_offsets = {0, k * n, 0, k * n, 0, 5 * k * n};
  const auto count = static_cast<size_t>(batch * m * n);
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (int threads : {1, 2, 3, 8}) {
      for (bool trans_b : {false, true}) {
        const GemmProblem p{.m = m, .n = n, .k = k, .batch = batch, .trans_b = trans_b};
        GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = trans_b ? k : n, .ldc = n};
        args.stride_a = m * k;
        args.stride_c = m * n;
        CHECK(run(p, args, count, *kernel, threads).c == expected(p, args, count));  // B shared
        args.stride_b = k * n;
        CHECK(run(p, args, count, *kernel, threads).c == expected(p, args, count));
        args.a_offsets = a_offsets.data();
        args.b_offsets = b_offsets.data();
        CHECK(run(p, args, count, *kernel, threads).c == expected(p, args, count));
      }
    }
  }
}

TEST_CASE("f32 gemm: the same bits for any number of threads, and on all ISAs with FMA") {
  const int64_t m = 150, n = 150, k = 300;
  std::vector<float> a = fill<float>(m * k, 10, -1000, 1000), b = fill<float>(k * n, 11, -1000, 1000);
  for (float& x : a) x *= 0.00123f;
  std::vector<std::byte> fused;
  for (const GemmKernel* kernel : kernels_of(DType::f32)) {
    for (bool const_b : {false, true}) {
      const GemmProblem p{.m = m, .n = n, .k = k, .const_b = const_b};
      const GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = n, .ldc = n};
      const auto one = run(p, args, static_cast<size_t>(m * n), *kernel, 1).c;
      for (int threads : {2, 3, 8}) {
        CHECK(run(p, args, static_cast<size_t>(m * n), *kernel, threads).c == one);
      }
      if (kernel->needs == kIsaSse2) continue;
      if (fused.empty()) fused = one;
      CHECK(fused == one);
    }
  }
}

TEST_CASE("f32 gemm: the error against float64 is within 4 times that of a plain f32 loop") {
  const int64_t m = 14, n = 33;
  for (int64_t k : {16, 257, 383, 385, 600, 1152, 5000}) {
    std::vector<float> a = fill<float>(m * k, 12, -1000, 1000), b = fill<float>(k * n, 13, -900, 1000);
    for (float& x : a) x *= 0.00123f;
    for (float& x : b) x *= 0.00079f;
    std::vector<double> exact(static_cast<size_t>(m * n));
    double plain_worst = 0, plain_sum = 0;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        float plain = 0;
        double& sum = exact[static_cast<size_t>(i * n + j)];
        for (int64_t s = 0; s < k; ++s) {
          const float x = a[static_cast<size_t>(i * k + s)], y = b[static_cast<size_t>(s * n + j)];
          plain += x * y;
          sum += static_cast<double>(x) * y;
        }
        plain_worst = std::max(plain_worst, std::abs(plain - sum));
        plain_sum += std::abs(plain - sum);
      }
    }
    for (const GemmKernel* kernel : kernels_of(DType::f32)) {
      for (bool const_b : {false, true}) {
        const GemmArgs args{.a = a.data(), .lda = k, .b = b.data(), .ldb = n, .ldc = n};
        const auto c = run({.m = m, .n = n, .k = k, .const_b = const_b}, args, exact.size(), *kernel, 1).c;
        double worst = 0, sum = 0;
        for (size_t i = 0; i < exact.size(); ++i) {
          const double error = std::abs(reinterpret_cast<const float*>(c.data())[i] - exact[i]);
          worst = std::max(worst, error);
          sum += error;
        }
        CAPTURE(kernel->name);
        CAPTURE(k);
        CHECK(worst <= 4 * plain_worst);
        CHECK(sum <= 4 * plain_sum);
      }
    }
  }
}

TEST_CASE("int8 gemm: exact with zero points, per column and per row, all outputs") {
  const int64_t m = 27, n = 41;
  const auto bias = fill<int32_t>(n, 12, -1000, 1000), a_zero_m = fill<int32_t>(m, 13, 0, 9);
  auto scale = fill<float>(n, 14, 1, 9);
  for (float& s : scale) s *= 0.000301f;
  const auto bias_f = fill<float>(n, 15);
  for (const GemmKernel* kernel : kernels_of(DType::i16)) {
    for (DType ta : {DType::u8, DType::i8}) {
      for (DType tb : {DType::u8, DType::i8}) {
        for (DType tc : {DType::i32, DType::u8, DType::i8, DType::f32}) {
          for (int64_t k : {1, 2, 31, 64}) {
            const int a0 = ta == DType::u8 ? 0 : -128, b0 = tb == DType::u8 ? 0 : -128;
            const auto a = fill<uint8_t>(m * k, 16, a0, a0 + 255), b = fill<uint8_t>(k * n, 17, b0, b0 + 255);
            const auto zeros = fill<uint8_t>(n, 18, b0, b0 + 255);
            const bool const_b = k & 1, trans_b = k == 2, trans_a = k == 31;
            const GemmProblem p{.m = m,
                                .n = n,
                                .k = k,
                                .trans_a = trans_a,
                                .trans_b = trans_b,
                                .const_b = const_b,
                                .a = ta,
                                .b = tb,
                                .c = tc};
            GemmArgs args{
                .a = a.data(), .lda = trans_a ? m : k, .b = b.data(), .ldb = trans_b ? k : n, .ldc = n};
            args.a_zero = 3;
            if (k == 64) args.a_zero_m = a_zero_m.data();
            args.b_info.zero_point = zeros.data();
            args.b_info.zero_point_per_n = k != 31;
            args.epilogue = {
                .bias_i32 = bias.data(), .scale_n = scale.data(), .zero_point = tc == DType::u8 ? 100 : 5};
            if (tc == DType::f32) args.epilogue.bias_n = bias_f.data();
            if (k == 2) args.epilogue.act.fn = Act::relu;
            const auto count = static_cast<size_t>(m * n);
            CAPTURE(kernel->name);
            CAPTURE(k);
            for (int threads : {1, 3}) {
              REQUIRE(run(p, args, count, *kernel, threads).c == expected(p, args, count));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("gemm: the default kernel is the best that the ISA level has, and a lack is an error") {
  CHECK_THROWS_AS(gemm_plan({.m = 1, .n = 1, .k = 1, .a = DType::f64}, isa_detected()), Error);
  CHECK_THROWS_AS(gemm_plan({.m = -1, .n = 1, .k = 1}, isa_detected()), Error);
  CHECK_THROWS_AS(gemm_plan({.m = INT64_MAX, .n = INT64_MAX, .k = 1}, isa_detected()), Error);
#if defined(__x86_64__)
  CHECK(gemm_plan({.m = 1, .n = 1, .k = 1}, kIsaSse2).kernel->name == "gemm_f32_sse2_4x8");
  CHECK(gemm_plan({.m = 1, .n = 1, .k = 1}, kIsaSse2 | kIsaAvx2).kernel->name == "gemm_f32_avx2_6x16");
  const IsaSet avx512 = kIsaSse2 | kIsaAvx2 | kIsaAvx512;
  CHECK(gemm_plan({.m = 1, .n = 16, .k = 1}, avx512).kernel->name == "gemm_f32_avx512_8x16");
  CHECK(gemm_plan({.m = 1, .n = 17, .k = 1}, avx512).kernel->name == "gemm_f32_avx512_6x64");
  CHECK(gemm_plan({.m = 1, .n = 64, .k = 1}, avx512).kernel->name == "gemm_f32_avx512_6x64");
#else
  CHECK(gemm_plan({.m = 1, .n = 1, .k = 1}, kIsaNeon).kernel->name == "gemm_f32_neon_8x8");
#endif
}
