// Products of few rows with weights of 16, 8 and 4 bits against sums in double.
#include "kernels/gemm/gemv.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/base/memory.h"
#include "skyline/half.h"
#include "skyline/status.h"
#include "tests/kernels/guarded.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

std::vector<float> floats(int64_t n, uint32_t seed) {
  std::vector<float> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (float& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<float>(s >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return v;
}

struct Case {
  int64_t m, n, k, block;
  bool shifted = false, turned = false;
  Activation act;
};

void check(const GemvKernel& kernel, const Case& c) {
  const bool half = kernel.weights == DType::bf16 || kernel.weights == DType::f16;
  if (half && c.shifted) return;
  const GemvProblem problem{c.n, c.k, kernel.weights, c.block, c.shifted};
  const GemvPlan plan = gemv_plan(problem, kernel.needs);
  REQUIRE(plan.kernel == &kernel);
  const int64_t blocks = (c.k + c.block - 1) / c.block, ldx = c.k + 3, ldy = c.n + 5;
  const int64_t k_stride = c.turned ? 1 : c.n, n_stride = c.turned ? c.k : 1;
  const std::vector<float> w = floats(c.n * c.k, 1), scale = floats(blocks * c.n, 2),
                           shift = floats(blocks * c.n, 3);
  std::vector<int8_t> codes;
  for (float x : w)
    codes.push_back(static_cast<int8_t>(std::lrint(x * (kernel.weights == DType::i4 ? 7.4f : 127))));
  AlignedBuffer packed = aligned_alloc_bytes(plan.packed_bytes);
  gemv_pack(plan, {w.data(), codes.data(), k_stride, n_stride, scale.data(), shift.data()}, packed.get());
  Guarded<float> x(floats(c.m * ldx - 3, 4)), bias(floats(c.n, 5)), residual(floats(c.m * ldy - 5, 6));
  Guarded<float> y(std::vector<float>(static_cast<size_t>(c.m * ldy - 5), 77.0f));
  GemvArgs args{x.data(), c.m, ldx, packed.get(), y.data(), ldy, {}};
  args.epilogue.bias_n = bias.data();
  args.epilogue.residual = residual.data();
  args.epilogue.ldr = ldy;
  args.epilogue.act = c.act;
  gemv_run(plan, args, 1);
  CAPTURE(kernel.name);
  CAPTURE(c.m);
  CAPTURE(c.n);
  CAPTURE(c.k);
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < c.k; ++k) {
        const auto at = static_cast<size_t>(k * k_stride + j * n_stride),
                   b = static_cast<size_t>(k / c.block * c.n + j);
        double value = codes[at] * static_cast<double>(scale[b]) + (c.shifted ? shift[b] : 0.0f);
        double most =
            std::fabs(codes[at] * static_cast<double>(scale[b])) + (c.shifted ? std::fabs(shift[b]) : 0.0f);
        if (kernel.weights == DType::bf16) value = bf16_bits_to_f32(f32_to_bf16_bits(w[at]));
        if (kernel.weights == DType::f16) value = f16_bits_to_f32(f32_to_f16_bits(w[at]));
        if (half) most = std::fabs(value);
        const double f = x.data()[i * ldx + k];
        sum += f * value;
        size += std::fabs(f) * most;
      }
      const double total = sum + static_cast<double>(bias.data()[j]) + residual.data()[i * ldy + j];
      const double want = c.act.fn == Act::relu ? std::max(total, 0.0) : total;
      // Terms of a plain chain of f32, and the few that close it.
      const double bound = (size + 2) * 0x1p-24 * (4 + std::sqrt(static_cast<double>(c.k)));
      REQUIRE(std::fabs(y.data()[i * ldy + j] - want) <= bound);
    }
    for (int64_t j = c.n; j < ldy && i * ldy + j < c.m * ldy - 5; ++j)
      REQUIRE(y.data()[i * ldy + j] == 77.0f);
  }
  if (!half) {
    std::vector<float> back(static_cast<size_t>(c.k * c.n));
    gemv_unpack(plan, packed.get(), back.data(), 2);
    for (int64_t k = 0; k < c.k; ++k) {
      for (int64_t j = 0; j < c.n; ++j) {
        const auto b = static_cast<size_t>(k / c.block * c.n + j);
        const float product =
            static_cast<float>(codes[static_cast<size_t>(k * k_stride + j * n_stride)]) * scale[b];
        REQUIRE(back[static_cast<size_t>(k * c.n + j)] == product + (c.shifted ? shift[b] : 0.0f));
      }
    }
  }
  std::vector<float> one(y.data(), y.data() + c.m * ldy - 5);
  for (int threads : {2, 5}) {
    std::fill(y.data(), y.data() + one.size(), 0.0f);
    gemv_run(plan, args, threads);
    bool same = true;
    for (int64_t i = 0; i < c.m; ++i) {
      const size_t bytes = static_cast<size_t>(c.n) * 4;
      same = same && std::memcmp(y.data() + i * ldy, one.data() + i * ldy, bytes) == 0;
    }
    REQUIRE(same);
  }
}

std::vector<const GemvKernel*> rows() {
  std::vector<const GemvKernel*> out;
  for (const KernelInfo* k : all_kernels()) {
    if (k->op == "gemv" && usable(*k, isa_detected())) out.push_back(static_cast<const GemvKernel*>(k));
  }
  return out;
}

}  // namespace

TEST_CASE("gemv: every tail of rows, columns and K, blocks, shifts, epilogues, threads") {
  REQUIRE(rows().size() >= 3);
  for (const GemvKernel* kernel : rows()) {
    for (int64_t m : {1, 2, 3, 4, 5, 9}) {
      for (int64_t n : {1, 15, 16, 33, 64, 67}) check(*kernel, {m, n, 20 + m % 2, 64});
    }
    for (int64_t k : {1, 2, 3, 32, 63, 700}) {
      check(*kernel, {2, 40, k, k});
      check(*kernel, {1, 130, k, 32, true});
      check(*kernel, {3, 21, k, 16, true, true, {Act::relu}});
    }
    check(*kernel, {1, 700, 600, 128, true});
  }
}

TEST_CASE("gemv: what it cannot take is an error") {
  CHECK_THROWS_AS(gemv_plan({.n = 4, .k = 4, .weights = DType::f32, .block = 4}, isa_detected()), Error);
  CHECK_THROWS_AS(gemv_plan({.n = 4, .k = 4, .weights = DType::i8}, isa_detected()), Error);
  CHECK_THROWS_AS(gemv_plan({.n = 4, .k = 8, .weights = DType::i4, .block = 3}, isa_detected()), Error);
  CHECK_THROWS_AS(gemv_plan({.n = 0, .k = 4, .weights = DType::i8, .block = 4}, isa_detected()), Error);
}
