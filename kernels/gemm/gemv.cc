#include "kernels/gemm/gemv.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "skyline/half.h"
#include "skyline/status.h"

namespace skyline::kernels {
namespace {

// Values of K until a sum of floats begins anew: the error of a chain grows with its length.
constexpr int64_t kFloatBlock = 512;

bool is_half(DType t) {
  return t == DType::bf16 || t == DType::f16;
}
const GemvKernel* find(IsaSet isa, DType weights) {
  return find_kernel<GemvKernel>("gemv", isa, [&](const GemvKernel& k) { return k.weights == weights; });
}
// Bytes of a row of a panel, or of a pair of rows of i4.
int64_t row_bytes(const GemvPlan& plan) {
  return plan.kernel->lanes * kGemvVectors * (is_half(plan.problem.weights) ? 2 : 1);
}
int64_t columns(const GemvPlan& plan) {
  return plan.kernel->lanes * kGemvVectors;
}

void pack_panel(const GemvPlan& plan, const GemvSource& s, int64_t col, std::byte* to) {
  const GemvProblem& p = plan.problem;
  const int64_t n = std::min(columns(plan), p.n - col);
  for (int64_t k = 0; k < p.k; ++k) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t at = k * s.k_stride + (col + j) * s.n_stride;
      if (is_half(p.weights)) {
        const uint16_t half =
            p.weights == DType::bf16 ? f32_to_bf16_bits(s.floats[at]) : f32_to_f16_bits(s.floats[at]);
        std::memcpy(to + k * row_bytes(plan) + j * 2, &half, 2);
      } else if (p.weights == DType::i8) {
        to[k * row_bytes(plan) + j] = static_cast<std::byte>(s.codes[at]);
      } else {  // the first of a pair in the low half
        const auto nibble = static_cast<std::byte>(s.codes[at] & 15);
        to[k / 2 * row_bytes(plan) + j] |= k % 2 ? nibble << 4 : nibble;
      }
    }
  }
}

}  // namespace

bool gemv_has(IsaSet isa, DType weights) noexcept {
  return find(isa, weights) != nullptr;
}

GemvPlan gemv_plan(const GemvProblem& problem, IsaSet isa) {
  const GemvProblem& p = problem;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (p.n < 1 || p.k < 1 || p.n > kMost || p.k > kMost) throw Error(Code::invalid, "gemv: sizes");
  GemvPlan plan;
  plan.problem = p;
  plan.kernel = find(isa, p.weights);
  if (!plan.kernel) {
    throw Error(Code::unsupported, "gemv: no kernel for weights of " + std::string(name(p.weights)) + " on " +
                                       isa_to_string(isa));
  }
  if (is_half(p.weights)) {
    plan.problem.block = kFloatBlock;
    plan.problem.shifted = false;
  } else if (p.block < 1 || (p.weights == DType::i4 && p.block % 2 && p.block < p.k)) {
    throw Error(Code::invalid, "gemv: blocks of " + std::to_string(p.block) + " values");
  }
  plan.panels = (p.n + columns(plan) - 1) / columns(plan);
  plan.blocks = is_half(p.weights) ? 0 : (p.k + p.block - 1) / p.block;
  const int64_t rows = p.weights == DType::i4 ? (p.k + 1) / 2 : p.k;
  plan.panel_bytes = align_up(static_cast<size_t>(rows * row_bytes(plan)));
  plan.scales = plan.panel_bytes * static_cast<size_t>(plan.panels);
  const auto scales = static_cast<size_t>(plan.blocks * plan.panels * columns(plan)) * sizeof(float);
  plan.packed_bytes = plan.scales + scales * (p.shifted ? 2 : 1);
  return plan;
}

void gemv_pack(const GemvPlan& plan, const GemvSource& source, std::byte* packed) noexcept {
  const int64_t width = plan.panels * columns(plan);
  std::memset(packed, 0, plan.packed_bytes);
  for (int64_t p = 0; p < plan.panels; ++p)
    pack_panel(plan, source, p * columns(plan), packed + static_cast<size_t>(p) * plan.panel_bytes);
  auto* scale = reinterpret_cast<float*>(packed + plan.scales);
  for (int64_t b = 0; b < plan.blocks; ++b) {
    std::copy_n(source.scale + b * plan.problem.n, plan.problem.n, scale + b * width);
    if (plan.problem.shifted)
      std::copy_n(source.shift + b * plan.problem.n, plan.problem.n, scale + (plan.blocks + b) * width);
  }
}

void gemv_unpack(const GemvPlan& plan, const std::byte* packed, float* to, int threads) noexcept {
  const GemvProblem& p = plan.problem;
  const int64_t width = plan.panels * columns(plan);
  auto* const scales = reinterpret_cast<const float*>(packed + plan.scales);
  parallel_for(threads, p.k, 16, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t block = k / p.block;
      for (int64_t q = 0; q < plan.panels; ++q) {
        const int64_t col = q * columns(plan), n = std::min(columns(plan), p.n - col);
        const bool four = p.weights == DType::i4;
        auto* const codes =
            reinterpret_cast<const int8_t*>(packed + static_cast<size_t>(q) * plan.panel_bytes) +
            (four ? k / 2 : k) * row_bytes(plan);
        const float* const scale = scales + block * width + col;
        float* const row = to + k * p.n + col;
        for (int64_t j = 0; j < n; ++j) {
          const int low = static_cast<int8_t>(codes[j] << 4) >> 4;
          row[j] = static_cast<float>(!four ? codes[j] : k % 2 ? codes[j] >> 4 : low) * scale[j];
        }
        const float* const shift = scale + plan.blocks * width;
        for (int64_t j = 0; p.shifted && j < n; ++j) row[j] += shift[j];
      }
    }
  });
}

void gemv_run(const GemvPlan& plan, const GemvArgs& args, int threads) noexcept {
  const GemvProblem& p = plan.problem;
  const int64_t width = plan.panels * columns(plan);
  auto* const scale = reinterpret_cast<const float*>(args.w + plan.scales);
  // 64 KB of weights are worth a thread.
  const int64_t grain = std::max<int64_t>(1, (int64_t{64} << 10) / static_cast<int64_t>(plan.panel_bytes));
  parallel_for(threads, plan.panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const int64_t col = q * columns(plan);
      GemvPanel t;
      t.ldx = args.ldx;
      t.k = p.k;
      t.w = args.w + static_cast<size_t>(q) * plan.panel_bytes;
      t.block = p.block;
      t.scale = plan.blocks ? scale + col : nullptr;
      t.shift = p.shifted ? scale + plan.blocks * width + col : nullptr;
      t.ld_scale = width;
      t.ldy = args.ldy;
      t.n = std::min(columns(plan), p.n - col);
      for (int64_t row = 0; row < args.m; row += kGemvRows) {
        t.m = std::min<int64_t>(kGemvRows, args.m - row);
        t.x = args.x + row * args.ldx;
        t.y = args.y + row * args.ldy + col;
        t.epilogue = args.epilogue;
        if (t.epilogue.bias_n) t.epilogue.bias_n += col;
        if (t.epilogue.residual) t.epilogue.residual += row * t.epilogue.ldr + col;
        plan.kernel->run(t);
      }
    }
  });
}

}  // namespace skyline::kernels
