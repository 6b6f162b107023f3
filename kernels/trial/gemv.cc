// Trials of products of few rows with narrow weights: in L2, and out of it, where they run at the bandwidth
// of memory.
#include "kernels/gemm/gemv.h"

#include <cmath>
#include <string>

#include "kernels/base/memory.h"
#include "kernels/trial/parts.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

float rounded(DType t, float x) {
  return t == DType::bf16 ? bf16_bits_to_f32(f32_to_bf16_bits(x)) : f16_bits_to_f32(f32_to_f16_bits(x));
}

struct Product {
  GemvPlan plan;
  std::vector<float> x, floats, scale, y;
  std::vector<int8_t> codes;
  AlignedBuffer packed;
  int64_t m;

  Product(const GemvProblem& p, int64_t m, IsaSet isa)
      : plan(gemv_plan(p, isa)),
        x(random_floats(m * p.k)),
        y(static_cast<size_t>(m * p.n)),
        packed(aligned_alloc_bytes(plan.packed_bytes)),
        m(m) {
    const int most = p.weights == DType::i4 ? 7 : 127;
    GemvSource from{.k_stride = p.n, .n_stride = 1};
    if (plan.blocks) {
      codes = random_integers<int8_t>(p.k * p.n, -most, most);
      scale = random_floats(plan.blocks * p.n, 0.001f, 0.01f);
      from.codes = codes.data();
      from.scale = scale.data();
    } else {
      floats = random_floats(p.k * p.n);
      from.floats = floats.data();
    }
    gemv_pack(plan, from, packed.get());
  }
  void run() {
    const GemvProblem& p = plan.problem;
    gemv_run(plan, {.x = x.data(), .m = m, .ldx = p.k, .w = packed.get(), .y = y.data(), .ldy = p.n}, 1);
  }
  double weight(int64_t k, int64_t j) const {
    const GemvProblem& p = plan.problem;
    const auto at = static_cast<size_t>(k * p.n + j);
    if (!plan.blocks) return rounded(p.weights, floats[at]);
    return static_cast<double>(codes[at]) * scale[static_cast<size_t>(k / p.block * p.n + j)];
  }
  std::vector<double> want() const {
    const GemvProblem& p = plan.problem;
    std::vector<double> out(y.size());
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t k = 0; k < p.k; ++k) {
        for (int64_t j = 0; j < p.n; ++j)
          out[static_cast<size_t>(i * p.n + j)] +=
              static_cast<double>(x[static_cast<size_t>(i * p.k + k)]) * weight(k, j);
      }
    }
    return out;
  }
};

}  // namespace

void add_gemv_trials(const KernelInfo& row, std::vector<Trial>& out) {
  struct Size {
    int64_t m, n, k;
  };
  for (const Size& s : {Size{1, 768, 768}, Size{4, 768, 768}, Size{1, 4096, 4096}}) {
    const int64_t block = row.weights == DType::i4 ? 32 : s.k;
    auto p = std::make_shared<Product>(
        GemvProblem{.n = s.n, .k = s.k, .weights = row.weights, .block = block}, s.m, row.needs);
    const double bits = row.weights == DType::i4 ? 4 : row.weights == DType::i8 ? 8 : 16;
    const auto elements = static_cast<double>(s.n) * static_cast<double>(s.k);
    const Work work{2 * elements * static_cast<double>(s.m), elements * bits / 8};
    // A chain of k terms of magnitude 1 and less.
    const double bound = 1e-7 * std::sqrt(static_cast<double>(s.k)) * 4;
    auto want = std::make_shared<std::vector<double>>();
    out.push_back(
        make_trial(row, std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k), work,
                   [p] { p->run(); },
                   {.n = s.m * s.n,
                    .got = [p](int64_t i) { return static_cast<double>(p->y[static_cast<size_t>(i)]); },
                    .want =
                        [p, want](int64_t i) {
                          if (want->empty()) *want = p->want();
                          return (*want)[static_cast<size_t>(i)];
                        },
                    .relative = bound,
                    .absolute = bound * std::sqrt(static_cast<double>(s.k))}));
  }
}

}  // namespace skyline::kernels
