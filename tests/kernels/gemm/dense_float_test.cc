// Products of floats as sums of bf16 numbers, and in f16: exactly where the factors are small integers, else
// within the bounds of gemm.h.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/base/memory.h"
#include "kernels/gemm/dense.h"
#include "kernels/gemm/gemm.h"
#include "skyline/half.h"
#include "skyline/status.h"
#include "tests/kernels/guarded.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kMost = std::numeric_limits<float>::max();

std::vector<const DenseKernel*> rows() {
  std::vector<const DenseKernel*> out;
  for (const KernelInfo* k : all_kernels()) {
    if (k->op != "dense" || !usable(*k, isa_detected())) continue;
    if (static_cast<const DenseKernel*>(k)->floats()) out.push_back(static_cast<const DenseKernel*>(k));
  }
  return out;
}

Precision rung(const DenseKernel& k) {
  if (k.in == DType::f16) return Precision::f16;
  return k.planes == 1 ? Precision::bf16 : k.planes == 2 ? Precision::bf16x3 : Precision::bf16x6;
}

// Numbers of up to so many bits, either sign.
std::vector<float> integers(int64_t n, uint32_t seed, int bits) {
  std::vector<float> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (float& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int32_t>(s) >> (31 - bits));
  }
  return v;
}
std::vector<float> normals(int64_t n, uint32_t seed) {
  std::vector<float> v(static_cast<size_t>(n));
  uint64_t s = seed * 2654435761u + 1;
  for (float& x : v) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) {
      s = s * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(s >> 11) * 0x1p-53;
    }
    x = static_cast<float>(sum);
  }
  return v;
}

// f32 numbers as stored in the type; the tail is the end of a mapping.
struct Operand {
  Guarded<std::byte> bytes;
  Operand(const std::vector<float>& v, DType type) : bytes(stored(v, type)) {}
  static std::vector<std::byte> stored(const std::vector<float>& v, DType type) {
    std::vector<std::byte> out(v.size() * size_of(type));
    for (size_t i = 0; i < v.size(); ++i) {
      const uint16_t half = type == DType::f16 ? f32_to_f16_bits(v[i]) : f32_to_bf16_bits(v[i]);
      if (type == DType::f32) std::memcpy(&out[i * 4], &v[i], 4);
      if (type != DType::f32) std::memcpy(&out[i * 2], &half, 2);
    }
    return out;
  }
};

// Packs if B is constant, and runs; args.b is B as stored.
void run(const GemmPlan& plan, GemmArgs args, int threads) {
  AlignedBuffer packed;
  if (plan.problem.const_b) {
    packed = aligned_alloc_bytes(plan.packed_b_bytes);
    gemm_pack_b(plan, {.b = args.b, .ldb = args.ldb}, packed.get());
    args.b = packed.get();
  }
  const AlignedBuffer ws = aligned_alloc_bytes(gemm_workspace_bytes(plan, threads));
  gemm_run(plan, args, ws.get(), threads);
}

struct Shape {
  int64_t m, n, k;
};
struct Case {
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  bool trans_a = false, trans_b = false, const_b = true;
  int64_t extra = 0;  // between rows of A, B, C and the residual
  int64_t batch = 1;
  bool shared_b = false, bias_n = false, bias_m = false, residual = false;
  float alpha = 1;
  Activation act;
};

// Every operand ends where its mapping does.
void check_exact(const DenseKernel& kernel, const Shape& s, const Case& t, int threads) {
  GemmProblem p{.m = s.m, .n = s.n, .k = s.k, .batch = t.batch, .trans_a = t.trans_a, .trans_b = t.trans_b};
  p.const_b = t.const_b;
  p.alpha = t.alpha;
  p.a = t.a, p.b = t.b, p.c = t.c;
  p.precision = rung(kernel);
  const int64_t lda = (t.trans_a ? s.m : s.k) + t.extra, ldb = (t.trans_b ? s.k : s.n) + t.extra,
                ldc = s.n + t.extra;
  const int64_t a_rows = t.trans_a ? s.k : s.m, b_rows = t.trans_b ? s.n : s.k;
  const int64_t b_count = t.shared_b || t.const_b ? 1 : t.batch;
  // Products of 6-bit numbers are exact with one plane. With more, A takes all the bits that they hold, so
  // that each plane counts, and sums are exact below 2^24.
  const int more = s.k <= 512 ? 0 : 2;
  const bool f16 = kernel.in == DType::f16;  // runs of sums below 2^11
  const int a_bits = f16                                       ? 4
                     : kernel.planes == 1 || t.a != DType::f32 ? 6
                     : kernel.planes == 2                      ? 13 - more
                                                               : 18 - more;
  const int b_bits = f16 ? 1 : kernel.planes == 3 ? 1 : 3;
  Operand a(integers(t.batch * a_rows * lda - t.extra, 1, a_bits), t.a),
      b(integers(b_count * b_rows * ldb - t.extra, 2, b_bits), t.b);
  const auto c_bytes = static_cast<size_t>(t.batch * s.m * ldc - t.extra) * size_of(t.c);
  std::vector<std::byte> want(c_bytes, std::byte{0xff});
  Guarded<std::byte> c(want);
  Guarded<float> bias_n(integers(s.n, 3, 5)), bias_m(integers(s.m, 4, 5)),
      residual(integers(t.batch * s.m * ldc - t.extra, 5, 5));
  GemmArgs args{
      .a = a.bytes.data(), .lda = lda, .b = b.bytes.data(), .ldb = ldb, .c = want.data(), .ldc = ldc};
  args.stride_a = a_rows * lda;
  args.stride_b = b_count > 1 ? b_rows * ldb : 0;
  args.stride_c = s.m * ldc;
  if (t.bias_n) args.epilogue.bias_n = bias_n.data();
  if (t.bias_m) args.epilogue.bias_m = bias_m.data();
  if (t.residual) args.epilogue.residual = residual.data();
  args.epilogue.ldr = ldc;
  args.epilogue.stride_r = s.m * ldc;
  args.epilogue.act = t.act;
  gemm_reference(p, args);
  args.c = c.data();
  run(gemm_plan(p, kernel), args, threads);
  CAPTURE(kernel.name);
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  REQUIRE(std::memcmp(c.data(), want.data(), c_bytes) == 0);
}

struct Errors {
  double rms = 0, largest = 0;
};
// Relative to the sums of magnitudes.
Errors errors(const std::vector<float>& got, const std::vector<float>& a, const std::vector<float>& b,
              const Shape& s) {
  Errors e;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < s.k; ++k) {
        const double product = double{a[i * s.k + k]} * double{b[k * s.n + j]};
        sum += product;
        magnitude += std::fabs(product);
      }
      const double error = std::fabs(double{got[i * s.n + j]} - sum) / magnitude;
      e.rms += error * error / static_cast<double>(s.m * s.n);
      e.largest = std::max(e.largest, error);
    }
  }
  e.rms = std::sqrt(e.rms);
  return e;
}

std::vector<float> product(const GemmPlan& plan, const std::vector<float>& a, const std::vector<float>& b) {
  const GemmProblem& p = plan.problem;
  std::vector<float> c(static_cast<size_t>(p.m * p.n));
  run(plan, {.a = a.data(), .lda = p.k, .b = b.data(), .ldb = p.n, .c = c.data(), .ldc = p.n}, 1);
  return c;
}

GemmProblem problem(const Shape& s, Precision precision, bool const_b = true) {
  GemmProblem p{.m = s.m, .n = s.n, .k = s.k, .const_b = const_b};
  p.precision = precision;
  return p;
}

}  // namespace

TEST_CASE("bf16 products: every tail of M, N and K, exactly, and nothing past an end") {
  for (const DenseKernel* kernel : rows()) {
    for (int64_t m : {1, 2, 15, 16, 17, 31, 32, 33, 50, 64}) {
      for (int64_t n : {1, 15, 16, 17, 31, 32, 33, 65})
        check_exact(*kernel, {m, n, 32 + (m + n) % 5}, {.extra = m % 2}, 1);
    }
    for (int64_t k : {1, 2, 3, 15, 16, 31, 32, 33, 64, 160, 250}) {
      for (int64_t m : {1, 16, 37}) check_exact(*kernel, {m, 33, k}, {.extra = m % 3}, 1);
    }
  }
}

TEST_CASE("bf16 products: types, storage orders, epilogues, threads") {
  for (const DenseKernel* kernel : rows()) {
    for (DType a : {DType::f32, kernel->in}) {
      for (DType b : {DType::f32, kernel->in}) {
        if (kernel->planes > 1 && a != DType::f32 && b != DType::f32) continue;
        for (DType c : {DType::f32, kernel->in}) {
          for (int mode = 0; mode < 16; ++mode) {
            Case t{.a = a, .b = b, .c = c, .trans_a = (mode & 1) != 0, .trans_b = (mode & 2) != 0};
            t.const_b = (mode & 4) != 0;
            t.extra = mode % 4;
            t.bias_n = mode % 3 != 0;
            t.bias_m = mode % 5 == 1;
            t.residual = mode % 4 > 1;
            constexpr Activation kActs[] = {{}, {Act::relu}, {Act::leaky_relu, 0.25f}, {Act::clip, -3, 50}};
            t.act = kActs[mode % 3 == 2 ? 2 + mode / 3 % 2 : mode % 3];
            if (a != b) t.alpha = 0.5f;
            check_exact(*kernel, {45, 50, (mode & 8) != 0 ? 64 : 67}, t, 1 + mode % 3);
          }
        }
      }
    }
  }
}

TEST_CASE("bf16 products: batches, with one B and with many; large shapes on several threads") {
  for (const DenseKernel* kernel : rows()) {
    for (int threads : {1, 2, 8}) {
      check_exact(*kernel, {9, 20, 32}, {.const_b = false, .batch = 5, .residual = true}, threads);
      check_exact(*kernel, {9, 20, 32}, {.const_b = false, .batch = 5, .shared_b = true}, threads);
      check_exact(*kernel, {9, 20, 64}, {.batch = 2, .bias_m = true}, threads);
      check_exact(*kernel, {300, 130, 256}, {.c = kernel->in, .bias_n = true}, threads);
      check_exact(*kernel, {1, 300, 512}, {.residual = true}, threads);
      // K in parts, and many tiles that wait for the next one.
      check_exact(*kernel, {45, 600, 700}, {.bias_n = true, .residual = true, .act = {Act::relu}}, threads);
      check_exact(*kernel, {290, 70, 1300}, {.c = kernel->in, .extra = 4}, threads);
    }
  }
}

TEST_CASE("the error of sums of bf16 products stays below its bound, and with six that of a plain f32 loop") {
  for (const DenseKernel* kernel : rows()) {
    for (const Shape& s : {Shape{40, 48, 64}, Shape{33, 40, 768}, Shape{16, 32, 3072}}) {
      const auto a = normals(s.m * s.k, 1), b = normals(s.k * s.n, 2);
      const Errors ours = errors(product(gemm_plan(problem(s, rung(*kernel)), *kernel), a, b), a, b, s);
      std::vector<float> plain(static_cast<size_t>(s.m * s.n));
      for (int64_t i = 0; i < s.m; ++i) {
        for (int64_t k = 0; k < s.k; ++k) {
          for (int64_t j = 0; j < s.n; ++j) plain[i * s.n + j] += a[i * s.k + k] * b[k * s.n + j];
        }
      }
      const Errors loop = errors(plain, a, b, s);
      CAPTURE(kernel->name);
      CAPTURE(s.k);
      if (kernel->planes == 3) {
        CHECK(ours.rms < 4 * loop.rms);
        CHECK(ours.largest < 4 * loop.largest);
      } else {
        CHECK(ours.largest < (kernel->planes == 2 ? 0x1p-16 : 0x1p-8));
        CHECK(ours.rms < (kernel->planes == 2 ? 2e-6 : 4e-3));
      }
    }
  }
}

TEST_CASE("infinities, NaN and the largest numbers give what f32 gives") {
  const Shape s{35, 40, 70};
  for (const DenseKernel* kernel : rows()) {
    const float most = kernel->in == DType::f16 ? 65504.0f : kMost;
    const float odd[] = {kInf, -kInf, std::nanf(""), most, -most};
    for (int where = 0; where < 3; ++where) {  // A, B packed before, B packed now
      for (int round = 0; round < 10; ++round) {
        auto a = normals(s.m * s.k, 1), b = normals(s.k * s.n, 2);
        for (float& x : b) x = std::round(x);  // zeros too: they make NaN of an infinity
        auto& target = where == 0 ? a : b;
        for (int i = 0; i <= round % 4; ++i)
          target[static_cast<size_t>(round * 577 + i * 1291) % target.size()] = odd[(round + i) % 5];
        const GemmProblem p = problem(s, rung(*kernel), where < 2);
        const auto got = product(gemm_plan(p, *kernel), a, b);
        std::vector<float> want(got.size());
        gemm_reference(p,
                       {.a = a.data(), .lda = s.k, .b = b.data(), .ldb = s.n, .c = want.data(), .ldc = s.n});
        for (size_t i = 0; i < got.size(); ++i) {
          CAPTURE(kernel->name);
          CAPTURE(i);
          CAPTURE(where);
          CAPTURE(round);
          CAPTURE(got[i]);
          CAPTURE(want[i]);
          REQUIRE(std::isnan(got[i]) == std::isnan(want[i]));
          if (std::isnan(want[i]) || got[i] == want[i]) continue;
          // Near the end of the range rounding decides whether a sum overflows.
          if (std::isinf(got[i]) || std::isinf(want[i])) {
            const float other = std::isinf(got[i]) ? want[i] : got[i];
            REQUIRE(std::signbit(got[i]) == std::signbit(want[i]));
            REQUIRE(std::fabs(other) > kMost * 0.99f);
          } else {
            REQUIRE(std::fabs(got[i] - want[i]) <=
                    std::max(std::fabs(want[i]) * 0x1p-6f, kernel->planes == 1 ? 1.0f : 0x1p-8f));
          }
        }
      }
    }
  }
}

TEST_CASE("what is below 2^-126 counts as zero, in factors and their parts") {
  const Shape s{20, 20, 40};
  for (const DenseKernel* kernel : rows()) {
    if (kernel->in == DType::f16) continue;
    for (int exponent : {-149, -140, -127, -126, -120, -110, -100}) {
      auto a = normals(s.m * s.k, 1);
      const auto b = normals(s.k * s.n, 2);
      for (float& x : a) x = std::ldexp(x, exponent);
      const auto got = product(gemm_plan(problem(s, rung(*kernel)), *kernel), a, b);
      std::vector<float> want(got.size());
      gemm_reference(problem(s, rung(*kernel)),
                     {.a = a.data(), .lda = s.k, .b = b.data(), .ldb = s.n, .c = want.data(), .ldc = s.n});
      double most = 0;  // of |b|, for what each factor loses; and each product and sum may lose as much
      for (float x : b) most = std::max(most, std::fabs(double{x}));
      const double lost = 0x1p-126 * static_cast<double>(s.k) * kernel->planes * (most + 2);
      const double rounding = kernel->planes == 1 ? 0x1p-8 : kernel->planes == 2 ? 0x1p-15 : 0x1p-20;
      const double magnitude = std::ldexp(static_cast<double>(s.k) * 4 * most, exponent);
      for (size_t i = 0; i < got.size(); ++i)
        REQUIRE(std::fabs(double{got[i]} - double{want[i]}) <= lost + rounding * magnitude);
    }
  }
}

TEST_CASE("a rung is a permission: each is computed on every machine") {
  const Shape s{17, 19, 23};
  const auto a = integers(s.m * s.k, 1, 3), b = integers(s.k * s.n, 2, 3);
  std::vector<float> want(static_cast<size_t>(s.m * s.n));
  gemm_reference(problem(s, Precision::f32),
                 {.a = a.data(), .lda = s.k, .b = b.data(), .ldb = s.n, .c = want.data(), .ldc = s.n});
  for (Precision precision :
       {Precision::f32, Precision::bf16x6, Precision::bf16x3, Precision::bf16, Precision::f16}) {
    for (IsaSet isa : {isa_detected(), isa_detected() & ~static_cast<IsaSet>(kIsaAmxInt8 | kIsaAmxBf16)}) {
      const GemmPlan plan = gemm_plan(problem(s, precision), isa);
      CHECK(usable(kernel_of(plan), isa));
      CHECK(product(plan, a, b) == want);
    }
  }
  CHECK(gemm_plan(problem(s, Precision::f32), isa_detected()).dense == nullptr);
  for (const DenseKernel* kernel : rows()) {
    CHECK(gemm_plan(problem(s, rung(*kernel)), isa_detected()).dense == kernel);
    CHECK_THROWS_AS(gemm_plan(problem(s, Precision::f32), *kernel), Error);
  }
}

TEST_CASE("bf16 products: GELU of results in bf16, beside float64") {
  for (const DenseKernel* kernel : rows()) {
    if (kernel->in != DType::bf16) continue;
    const Shape s{40, 45, 1};
    const auto a = integers(s.m, 1, 6);
    std::vector<float> b(static_cast<size_t>(s.n), 0.125f), ones(static_cast<size_t>(s.n));
    for (int64_t j = 0; j < s.n; ++j) ones[static_cast<size_t>(j)] = static_cast<float>(j) / 64;
    b.back() = 2;  // far in both tails
    GemmProblem p = problem(s, rung(*kernel));
    for (const DType type : {DType::f32, DType::bf16}) {
      p.c = type;
      std::vector<std::byte> c(static_cast<size_t>(s.m * s.n) * size_of(type));
      GemmArgs args{.a = a.data(), .lda = s.k, .b = b.data(), .ldb = s.n, .c = c.data(), .ldc = s.n};
      args.epilogue.bias_n = ones.data();
      args.epilogue.act = {Act::gelu_erf};
      run(gemm_plan(p, *kernel), args, 1);
      bool good = true;
      for (int64_t i = 0; i < s.m * s.n; ++i) {
        const double x = double{a[static_cast<size_t>(i / s.n)]} * double{b[static_cast<size_t>(i % s.n)]} +
                         double{ones[static_cast<size_t>(i % s.n)]};
        const double exact = x * 0.5 * std::erfc(-x / std::sqrt(2.0));
        double got = 0, allowed = std::fabs(x) * 1e-6;
        if (type == DType::f32) {
          got = reinterpret_cast<const float*>(c.data())[i];
        } else {
          got = bf16_bits_to_f32(reinterpret_cast<const uint16_t*>(c.data())[i]);
          allowed = std::fabs(exact) * 0x1p-8 + std::fabs(x) * 1e-4;
        }
        good = good && std::fabs(got - exact) <= allowed;
      }
      CAPTURE(kernel->name);
      CAPTURE(type);
      CHECK(good);
    }
  }
}
