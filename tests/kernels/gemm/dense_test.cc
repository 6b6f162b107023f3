// Products on dot-product and tile instructions against the plain loops, exactly.
#include "kernels/gemm/dense.h"

#include <doctest/doctest.h>

#include <vector>

#include "kernels/base/memory.h"
#include "kernels/gemm/gemm.h"
#include "skyline/status.h"
#include "tests/kernels/guarded.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

std::vector<uint8_t> bytes(int64_t n, uint32_t seed) {
  std::vector<uint8_t> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (uint8_t& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<uint8_t>(s >> 24);
  }
  return v;
}

std::vector<const DenseKernel*> rows() {
  std::vector<const DenseKernel*> out;
  for (const KernelInfo* k : all_kernels()) {
    const auto* dense = static_cast<const DenseKernel*>(k);
    if (k->op == "dense" && usable(*k, isa_detected()) && !dense->floats()) out.push_back(dense);
  }
  return out;
}

struct Shape {
  int64_t m, n, k;
};
struct Case {
  DType a = DType::u8, b = DType::i8, c = DType::i32;
  bool trans_a = false, trans_b = false, const_b = true;
  int64_t extra = 0;  // between rows of A, B and C
  int32_t a_zero = 0;
  int64_t batch = 1;
  bool shared_b = false;
  Activation act;
  std::vector<uint8_t> b_zeros = {};  // of B, one or one per column; empty: centered
  bool mild = false;                  // weights of a trained model: small but for a few
};

bool takes(const DenseKernel& kernel, DType a) {
  return kernel.takes(a);
}

// Runs with every operand at the end of its mapping, and compares.
void check(const DenseKernel& kernel, const Shape& s, const Case& t, int threads) {
  GemmProblem p{.m = s.m, .n = s.n, .k = s.k, .batch = t.batch, .trans_a = t.trans_a, .trans_b = t.trans_b};
  p.const_b = t.const_b;
  p.centered_b = t.b_zeros.empty();
  p.a = t.a;
  p.b = t.b;
  p.c = t.c;
  const int64_t lda = (t.trans_a ? s.m : s.k) + t.extra, ldb = (t.trans_b ? s.k : s.n) + t.extra,
                ldc = s.n + t.extra;
  const int64_t a_rows = t.trans_a ? s.k : s.m, b_rows = t.trans_b ? s.n : s.k;
  const int64_t b_count = t.shared_b || t.const_b ? 1 : t.batch;
  Guarded<uint8_t> a(bytes(t.batch * a_rows * lda - t.extra, 1)), b(bytes(b_count * b_rows * ldb, 2));
  for (int64_t i = 0; t.mild && i < b_count * b_rows * ldb; ++i) {
    const int x = static_cast<int8_t>(b.data()[i]);
    const int small = i % 97 < 2 ? x : x / 4;
    b.data()[i] = static_cast<uint8_t>(t.b == DType::u8 ? small + 128 : small);
  }
  const auto c_bytes = static_cast<size_t>(t.batch * s.m * ldc - t.extra) * size_of(t.c);
  std::vector<std::byte> want(c_bytes, std::byte{0xff});
  Guarded<std::byte> c(want);
  std::vector<int32_t> bias(static_cast<size_t>(s.n));
  std::vector<float> scale(static_cast<size_t>(s.n)), bias_n(static_cast<size_t>(s.n));
  for (size_t j = 0; j < bias.size(); ++j) {
    bias[j] = static_cast<int32_t>(j * 37 % 1000) - 500;
    scale[j] = 0.00071f * static_cast<float>(1 + j % 5);
    bias_n[j] = static_cast<float>(j % 7) - 3;
  }
  Guarded<int32_t> guarded_bias(bias);
  Guarded<float> guarded_scale(scale);
  const uint8_t b_zero = t.b == DType::u8 ? 128 : 0;
  GemmArgs args{.a = a.data(), .lda = lda, .b = b.data(), .ldb = ldb, .c = want.data(), .ldc = ldc};
  args.a_zero = t.a_zero;
  args.b_info.zero_point = t.b_zeros.empty() ? &b_zero : t.b_zeros.data();
  args.b_info.zero_point_per_n = t.b_zeros.size() > 1;
  args.stride_a = a_rows * lda;
  args.stride_b = b_count > 1 ? b_rows * ldb : 0;
  args.stride_c = s.m * ldc;
  args.epilogue.bias_i32 = guarded_bias.data();
  args.epilogue.act = t.act;
  if (t.c != DType::i32) args.epilogue.scale_n = guarded_scale.data();
  if (t.c == DType::f32) args.epilogue.bias_n = bias_n.data();
  args.epilogue.zero_point = t.c == DType::u8 ? 101 : t.c == DType::i8 ? -7 : 0;
  gemm_reference(p, args);
  const GemmPlan plan = gemm_plan(p, kernel);
  AlignedBuffer packed;
  if (t.const_b) {
    packed = aligned_alloc_bytes(plan.packed_b_bytes);
    GemmWeights w = args.b_info;
    w.b = b.data();
    w.ldb = ldb;
    gemm_pack_b(plan, w, packed.get());
    args.b = packed.get();
  }
  args.c = c.data();
  const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(plan, threads));
  gemm_run(plan, args, ws.get(), threads);
  CAPTURE(kernel.name);
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  REQUIRE(std::memcmp(c.data(), want.data(), c_bytes) == 0);
}

}  // namespace

TEST_CASE("dense products: every tail of M, N and K, exactly, and nothing past an end") {
  for (const DenseKernel* kernel : rows()) {
    for (int64_t m : {1, 2, 11, 12, 13, 15, 16, 17, 31, 32, 33, 50, 64}) {
      for (int64_t n : {1, 15, 16, 17, 31, 32, 33, 65})
        check(*kernel, {m, n, 64 + (m + n) % 5}, {.a = kernel->in}, 1);
    }
    for (int64_t k : {1, 3, 4, 5, 31, 63, 64, 65, 128, 300}) {
      for (int64_t m : {1, 16, 37}) check(*kernel, {m, 33, k}, {.a = kernel->in, .extra = m % 3}, 1);
    }
  }
}

TEST_CASE("dense products: types, storage orders, zero points, outputs, threads") {
  for (const DenseKernel* kernel : rows()) {
    for (DType a : {DType::u8, DType::i8}) {
      if (!takes(*kernel, a)) continue;
      for (DType b : {DType::i8, DType::u8}) {
        for (DType c : {DType::i32, DType::f32, DType::u8, DType::i8}) {
          for (int mode = 0; mode < 8; ++mode) {
            Case t{.a = a, .b = b, .c = c, .trans_a = (mode & 1) != 0, .trans_b = (mode & 2) != 0};
            t.const_b = (mode & 4) != 0;
            t.extra = mode;
            t.a_zero = a == DType::u8 ? 119 : -3;
            if (mode == 3 && c != DType::i32) t.act = {Act::relu};
            if (mode == 4 && c != DType::i32) t.act = {Act::clip, -2.0f, 6.0f};
            if (mode == 5 && c == DType::f32) t.act = {Act::leaky_relu, 0.25f};
            check(*kernel, {45, 50, mode < 4 ? 64 : 67}, t, 1 + mode % 3);
          }
        }
      }
    }
  }
}

TEST_CASE("dense products: batches, with one B and with many; large shapes on several threads") {
  for (const DenseKernel* kernel : rows()) {
    for (int threads : {1, 2, 8}) {
      check(*kernel, {9, 20, 32}, {.a = kernel->in, .const_b = false, .batch = 5}, threads);
      check(*kernel, {9, 20, 32}, {.a = kernel->in, .const_b = false, .batch = 5, .shared_b = true}, threads);
      check(*kernel, {9, 20, 64}, {.a = kernel->in, .a_zero = 4, .batch = 2}, threads);
      check(*kernel, {700, 130, 512}, {.a = kernel->in, .c = DType::u8, .a_zero = 7}, threads);
      check(*kernel, {300, 40, 2048}, {.a = kernel->in}, threads);
      check(*kernel, {45, 600, 2600}, {.a = kernel->in, .c = DType::u8, .extra = 3}, threads);
    }
  }
}

TEST_CASE("dense products: weights with few large ones, and only the largest") {
  for (const DenseKernel* kernel : rows()) {
    for (int64_t k : {4, 63, 256, 700}) {
      for (int64_t n : {7, 32, 45, 130}) {
        check(*kernel, {29, n, k}, {.a = kernel->in, .mild = true}, 1);
        check(*kernel, {3, n, k}, {.a = kernel->in, .b = DType::u8, .a_zero = 3, .mild = true}, 2);
      }
    }
  }
}

TEST_CASE("dense products: weights with zero points off the middle of their range") {
  for (const DenseKernel* kernel : rows()) {
    if (kernel->pairs) continue;
    for (const Shape& s : {Shape{1, 1, 1}, {5, 16, 64}, {33, 45, 67}, {64, 70, 300}}) {
      for (DType b : {DType::u8, DType::i8}) {
        std::vector<uint8_t> one = {b == DType::u8 ? uint8_t{0} : uint8_t{0x80}};  // the farthest off
        check(*kernel, s, {.a = kernel->in, .b = b, .b_zeros = one}, 1);
        const std::vector<uint8_t> many = bytes(std::max<int64_t>(s.n, 2), 9);
        if (s.n > 1)
          check(*kernel, s, {.a = kernel->in, .b = b, .c = DType::u8, .a_zero = 5, .b_zeros = many}, 2);
      }
    }
  }
}

TEST_CASE("bound_pairs: pairs stay in 16 bits, and what is taken out says where it was") {
  constexpr int64_t kLanes = 8, kWidth = kLanes * 4, kLines = 2, kSteps = 20, kAll = kLines * kSteps;
  for (const bool mild : {false, true}) {
    for (int64_t stride : {kWidth, 2 * kWidth}) {
      std::vector<int8_t> panel(static_cast<size_t>(pair_rows(kAll) * stride));
      const auto values = bytes(kAll * stride, 5);
      for (size_t i = 0; i < values.size(); ++i)
        panel[i] = static_cast<int8_t>(i < 4                ? -128
                                       : mild && i % 61 > 2 ? values[i] % 64 - 32
                                                            : values[i] - 128);
      const std::vector<int8_t> before = panel;
      auto* const at = reinterpret_cast<std::byte*>(panel.data());
      bound_pairs(at, kLines, kSteps, stride, kLanes);
      std::vector<int> sum(values.size());
      for (size_t i = 0; i < sum.size(); i += 2) {
        const int x = panel[i], y = panel[i + 1];
        CHECK(std::max(x, 0) + std::max(y, 0) <= 128);
        CHECK(std::min(x, 0) + std::min(y, 0) >= -128);
        sum[i] = x;
        sum[i + 1] = y;
      }
      const auto* counts = reinterpret_cast<const int32_t*>(at + pair_counts(kAll, stride));
      for (int64_t v = 0; v * kWidth < stride; ++v) {
        CHECK((counts[v] < 0) == !mild);
        const auto* entries = panel.data() + pair_entries(kAll, stride, v, kLanes);
        const int64_t count = counts[v] < 0 ? kAll : counts[v];
        for (int64_t e = 0; e < count; ++e) {
          int32_t where = static_cast<int32_t>(e / kSteps << kPairLine | e % kSteps);
          if (counts[v] >= 0) std::memcpy(&where, entries + count * kWidth + e * 4, 4);
          const int64_t row = (where >> kPairLine) * kSteps + (where & ((1 << kPairLine) - 1));
          for (int64_t i = 0; i < kWidth; ++i)
            sum[static_cast<size_t>(row * stride + v * kWidth + i)] += entries[e * kWidth + i];
        }
      }
      for (size_t i = 0; i < sum.size(); ++i) REQUIRE(sum[i] == before[i]);
    }
  }
}

TEST_CASE("dense kernels are chosen for constant or centered weights only, and the best first") {
  const GemmProblem centered{.m = 64,
                             .n = 64,
                             .k = 64,
                             .const_b = true,
                             .centered_b = true,
                             .a = DType::u8,
                             .b = DType::i8,
                             .c = DType::i32};
  GemmProblem off = centered;
  off.centered_b = off.const_b = false;
  const auto all = rows();
  CHECK(gemm_plan(off, isa_detected()).dense == nullptr);
  if (all.empty()) return;
  CHECK(kernel_of(gemm_plan(centered, isa_detected())).op == "dense");
  CHECK_THROWS_AS(gemm_plan(off, *all.front()), Error);
#if defined(__x86_64__)
  if (usable(dense_i8_amx, isa_detected())) {
    CHECK(gemm_plan(centered, isa_detected()).dense == &dense_u8_amx);
    GemmProblem i8 = centered;
    i8.a = DType::i8;
    CHECK(gemm_plan(i8, isa_detected()).dense == &dense_i8_amx);
    CHECK_THROWS_AS(gemm_plan(centered, dense_i8_amx), Error);
    CHECK(gemm_plan(i8, isa_detected() & ~(kIsaAmxInt8 | kIsaAmxBf16)).dense == &dense_u8_avx512vnni);
  }
  if (usable(dense_u8_avxvnni, isa_detected()))
    CHECK(gemm_plan(centered, isa_level("avx2_vnni")).dense == &dense_u8_avxvnni);
  if (usable(dense_u8_avx512, isa_detected()))
    CHECK(gemm_plan(centered, isa_level("avx512")).dense == &dense_u8_avx512);
  if (usable(dense_u8_avx2, isa_detected()))
    CHECK(gemm_plan(centered, isa_level("avx2")).dense == &dense_u8_avx2);
  CHECK(gemm_plan(centered, isa_level("sse2")).dense == nullptr);
#endif
}
