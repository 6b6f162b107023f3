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
};

bool takes(const DenseKernel& kernel, DType a) {
  return kernel.in == a || kernel.in == DType::u8;
}

// Runs with every operand at the end of its mapping, and compares.
void check(const DenseKernel& kernel, const Shape& s, const Case& t, int threads) {
  GemmProblem p{.m = s.m, .n = s.n, .k = s.k, .batch = t.batch, .trans_a = t.trans_a, .trans_b = t.trans_b};
  p.const_b = t.const_b;
  p.centered_b = true;
  p.a = t.a;
  p.b = t.b;
  p.c = t.c;
  const int64_t lda = (t.trans_a ? s.m : s.k) + t.extra, ldb = (t.trans_b ? s.k : s.n) + t.extra,
                ldc = s.n + t.extra;
  const int64_t a_rows = t.trans_a ? s.k : s.m, b_rows = t.trans_b ? s.n : s.k;
  const int64_t b_count = t.shared_b || t.const_b ? 1 : t.batch;
  Guarded<uint8_t> a(bytes(t.batch * a_rows * lda - t.extra, 1)), b(bytes(b_count * b_rows * ldb, 2));
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
  args.b_info.zero_point = &b_zero;
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

TEST_CASE("dense kernels are chosen for centered weights only, and the best first") {
  const GemmProblem centered{.m = 64,
                             .n = 64,
                             .k = 64,
                             .const_b = true,
                             .centered_b = true,
                             .a = DType::u8,
                             .b = DType::i8,
                             .c = DType::i32};
  GemmProblem off = centered;
  off.centered_b = false;
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
#endif
}
